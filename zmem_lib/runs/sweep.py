"""A batch of runs: every parameter file with every combination of a grid's values, each a run of its own.

A run is named after its file's `run` with the grid's values behind it. All parameters are checked before the first
run; what is finished is skipped, what was stopped goes on, and a run that fails does not keep the others from theirs.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from zmem_lib.chapters import chapters_of
from zmem_lib.files import BadInput, ChapterFailed, held
from zmem_lib.meter import about
from zmem_lib.params import Params, read_params
from zmem_lib.runs.duration import expected_seconds
from zmem_lib.runs.environment import unwound_by_signals
from zmem_lib.runs.pipeline import Say, is_done, run_chapters, say_now

NOT_IN_A_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Job:
    """One run of a batch: its parameter file, the `key=value` put over it (the run's name last), its parameters."""

    file: Path
    overrides: tuple[str, ...]
    params: Params


def read_grid(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Values by parameter from texts such as `corpus.documents=500,2000`; raises BadInput."""
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, sign, values = (word.strip() for word in text.partition("="))
        if not sign or not key or not values:
            raise BadInput(f"grid {text!r} is not KEY=VALUE,VALUE: write for instance corpus.documents=500,2000")
        if key == "run":
            raise BadInput(f"grid {text!r}: a run is named after its file and its values: give other parameters")
        if key in grid:
            raise BadInput(f"grid {text!r}: {key} stands there twice: put all of its values behind one --grid")
        grid[key] = tuple(dict.fromkeys(value.strip() for value in values.split(",")))
    return grid


def batch_jobs(files: Sequence[Path], grid: Mapping[str, Sequence[str]], overrides: Sequence[str] = ()) -> list[Job]:
    """The runs of every file with every combination of the grid, file by file; raises BadInput for the first fault."""
    for override in overrides:
        if (key := override.partition("=")[0].strip()) in grid:
            raise BadInput(f"{key} stands in --set and in --grid: leave one of them out")
    jobs: dict[str, Job] = {}
    for file, values in product(files, product(*grid.values())):
        changes = dict(zip(grid, values, strict=True))
        given = (*overrides, *(f"{key}={value}" for key, value in changes.items()))
        name = run_name(read_params(file, given).run, changes)
        if name in jobs:
            raise BadInput(
                f"{file} with {' '.join(given) or 'nothing changed'} and {jobs[name].file} make two runs of one "
                f"name, {name}: give the files another `run`, or the grid values whose names differ"
            )
        given = (*given, f"run={name}")
        jobs[name] = Job(file, given, read_params(file, given))
    return list(jobs.values())


def run_name(run: str, changes: Mapping[str, str]) -> str:
    """A run's name with its values behind it, such as tiny-corpus.documents-500; of a path only its last name."""
    parts = [f"{key}-{NOT_IN_A_NAME.sub('-', value.rstrip('/').rpartition('/')[2])}" for key, value in changes.items()]
    return "-".join([run, *parts])


def is_whole(params: Params, runs: Path) -> bool:
    """Whether every chapter of a run is done."""
    return all(is_done(runs / params.run, number, params) for number in chapters_of(params))


def list_lines(jobs: Sequence[Job], runs: Path) -> list[str]:
    """Every run, how long what is left of it will about take on this machine, and their sum."""
    lines, sum_seconds, width = [], 0.0, max(len(job.params.run) for job in jobs)
    for params in (job.params for job in jobs):
        numbers = chapters_of(params)
        left = [number for number in numbers if not is_done(runs / params.run, number, params)]
        sum_seconds += (seconds := sum(expected_seconds(params, number, runs) for number in left))
        begun = f", {len(numbers) - len(left)} of its chapters are done" if 0 < len(left) < len(numbers) else ""
        lines.append(f"{params.run:{width}}  {f'{about(seconds)}{begun}' if left else 'finished'}")
    return [*lines, f"{'in all, one after the other':{width}}  {about(sum_seconds) if sum_seconds else 'finished'}"]


def sweep_here(
    jobs: Sequence[Job], runs: Path, notebooks: Path, *, execute: Callable = run_chapters, say: Say = say_now
) -> dict[str, str]:
    """Execute the runs one after the other; return why those that failed did, by name."""
    failures: dict[str, str] = {}
    for place, job in enumerate(jobs, 1):
        name, head = job.params.run, f"{job.params.run} ({place} of {len(jobs)})"
        if is_whole(job.params, runs):
            say(f"{head}: finished before, skipped")
            continue
        say(f"{head}: {job.file} with {' '.join(job.overrides[:-1]) or 'its own values'}")
        try:
            with unwound_by_signals(), held(runs / name):  # inside: a kernel's death by Ctrl-C is no failure
                execute(job.params, runs, notebooks=notebooks, say=say)
        except (BadInput, ChapterFailed, OSError, RuntimeError) as error:  # said here and at the end
            failures[name] = " ".join(str(error).split())
            say(f"{name}: failed: {failures[name]}")
    return failures

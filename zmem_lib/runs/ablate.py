"""The ablation of a parameter file: the runs that fill its rows (ablation.py), kept one by one under results/.

What a row finds is kept as soon as its run is done, so the same command goes on where it was stopped, and rows may be
made on several days. A row that other parameters or other code made is made again.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from zmem_lib.ablation import ROWS, is_off
from zmem_lib.combinations import refuse_memoryless, refuse_untested
from zmem_lib.files import BadInput, held
from zmem_lib.params import Params, check_params, flat
from zmem_lib.report.results import changed_params, is_of_present_code, keep_row, read_manifest, row_folder
from zmem_lib.runs.pipeline import Say, run_chapters, say_now, start_over

LAST = 6  # chapter; the report, 07, is made for whole runs only
ASIDE = {  # what an ablation does not ask: opponents and judges that say nothing of the memory
    "answer.rerank_model": "", "answer.rerank_depth": 0, "answer.long_context_tokens": 0, "answer.noise_questions": 0,
    "evaluate.judge": "none",
}  # fmt: skip
KEPT, OTHER_CODE, OTHER_PARAMS = "kept", "of other code", "of other parameters"


@dataclass(frozen=True)
class Study:
    """An ablation that was asked for: parameters of its file, names of rows, seeds, and where runs and results lie."""

    params: Params
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: Path
    results: Path
    again: bool = False  # remove first what an earlier run left of a row that is not kept


@dataclass(frozen=True)
class Job:
    """One run of an ablation: its row, the parameters, and the folder in which it is kept."""

    row: str
    params: Params
    target: Path


def ablate(study: Study, *, execute: Callable[..., Path] = run_chapters, say: Say = say_now) -> None:
    """Execute chapters 01 to 06 of every row and seed that is not kept yet, and keep what they found.

    A row that is off in the file is skipped, which is said; all parameters are checked before the first run.
    """
    refuse_memoryless(study.params, "an ablation")
    refuse_untested(study.params, "an ablation")
    for name in off_rows(study):
        say(f"row {name}: off in this file already, skipped")
    work = jobs(study)
    for place, job in enumerate(work, 1):
        folder, name, state = study.runs / job.params.run, f"{job.params.run} ({place} of {len(work)})", state_of(job)
        if state == KEPT:
            say(f"{name}: kept in {job.target}, skipped")
            continue
        say(f"{name}: {ROWS[job.row][1]}" + (f" (again: what is kept is {state})" if state else ""))
        with held(folder):
            if study.again:
                start_over(folder, say)
            execute(job.params, study.runs, last=LAST, say=say)
            about = {"row": job.row, "seed": job.params.seed, "overrides": ROWS[job.row][0]}
            keep_row(folder, job.params, job.target, about)
        say(f"{name}: kept in {job.target}")


def jobs(study: Study) -> list[Job]:
    """The runs of a study, row by row and seed by seed, without the rows that are off in the file already."""
    off, name, found = off_rows(study), study.params.run, []
    for row, seed in product([row for row in study.rows if row not in off], study.seeds):
        own = {"seed": seed, "run": f"ablation-{name}-{row}-{seed}"}
        params = check_params({**flat(study.params), **ASIDE, **ROWS[row][0], **own}, f"row {row} of the ablation")
        found.append(Job(row, params, row_folder(study.results, name, row, seed)))
    return found


def off_rows(study: Study) -> list[str]:
    """Those of the study's rows that the file has already, so that they would be another row a second time."""
    return [name for name in study.rows if is_off(flat(study.params), name)]


def state_of(job: Job) -> str:
    """Whether a run is kept, or one that other parameters or other code made; empty where none is."""
    manifest = read_manifest(job.target)
    if manifest is None:
        return ""
    if changed_params(manifest["params"], job.params):
        return OTHER_PARAMS
    return KEPT if is_of_present_code(manifest, job.params) else OTHER_CODE


def known_rows(names: Sequence[str]) -> tuple[str, ...]:
    """The names in the order of ROWS, all of them where none is given; raises BadInput for one that is no row."""
    for name in names:
        if name not in ROWS:
            near = difflib.get_close_matches(name, ROWS, n=1, cutoff=0.0)[0]
            raise BadInput(f"the ablation has no row {name!r}: did you mean {near!r} (--list names them all)")
    return tuple(name for name in ROWS if name in names or not names)


def row_lines(study: Study) -> list[str]:
    """Every row of the study with what it shows, what it replaces in the file, and how many seeds are kept."""
    off, values, lines = off_rows(study), flat(study.params), []
    width = max(len(row) for row in study.rows)
    for row in study.rows:
        states = [state_of(job) for job in jobs(study) if job.row == row]
        old = [f"{states.count(state)} {state}" for state in (OTHER_CODE, OTHER_PARAMS) if state in states]
        there = ", ".join([f"kept: {states.count(KEPT)} of {len(study.seeds)} seeds", *old])
        lines.append(f"{row:{width}}  {ROWS[row][1]} ({'off in this file' if row in off else there})")
        changes = [f"{key}={value}" for key, value in ROWS[row][0].items() if values[key] != value]
        lines += [f"{'':{width}}  {' '.join(changes)}"] if changes and row not in off else []
    return lines

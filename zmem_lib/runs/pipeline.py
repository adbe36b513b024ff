"""The chapters of one run, in order; resumes where an earlier run stopped.

Leaves executed copies and what the chapters write in runs/NAME/, and the parameters, resolved, in params.yaml.
"""

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from zmem_lib.chapters import CHAPTERS, EVALUATION, NOTEBOOKS, changes, chapters_of, is_finished, is_whole
from zmem_lib.files import LOCK, BadInput, drop_temporaries, write_atomic, writing
from zmem_lib.fingerprint import git_revision
from zmem_lib.meter import about
from zmem_lib.params import LATE, Params, dumped, flat, read_params
from zmem_lib.report.results import PREVIOUS, keep_previous
from zmem_lib.runs.before import ask_texts, fetch
from zmem_lib.runs.duration import expected_seconds
from zmem_lib.runs.environment import kernel_environment
from zmem_lib.runs.kernel import run_chapter

Say = Callable[[str], None]
say_now: Say = partial(print, flush=True)  # through a pipe too
OTHER_NAME = "give this one another name (--set run=NAME) or throw that one away (--start-over)"


def run_chapters(
    params: Params, runs: Path, *, first: int = 0, last: int = 7, notebooks: Path = NOTEBOOKS, say: Say = say_now
) -> Path:
    """Execute the chapters up to `last` that are not finished, return the run's folder.

    With `first`, those from it on are executed again, and those before it stay as they are, be it of other code, as
    long as they are whole.
    """
    folder = runs / params.run
    write_params(params, folder)
    drop_temporaries(folder)
    if not git_revision():
        say("no git, or no repository around the library: the run will not say of which revision it is")
    with kernel_environment():
        for number, name in chapters_of(params).items():
            if number > last:
                break
            if (not first or number < first) and is_done(folder, number, params):
                say(f"{name}: finished before, skipped")
                continue
            reason = changes(folder, number, params)
            if number < first:
                if not (has_copy(folder, number) and is_whole(folder, number, params)):
                    raise BadInput(f"chapter {name} of {folder} is not finished: run without --from")
                say(f"{name}: left as it is{reason and f', though {reason}'}")
                continue
            if reason:
                say(f"{name}: runs again, {reason}")
            fetch(params, number)
            if number == 1 and not params.tests:
                say(f"{params.lm.name} asks itself about the texts ...")
                ask_texts(params, folder)
            if number == EVALUATION and has_copy(folder, number):  # else it was stopped
                keep_previous(folder)
            say(f"{name}: {about(expected_seconds(params, number, runs))} ...")
            began = time.time()
            run_chapter(number, params, runs, notebooks=notebooks)
            say(f"{name}: done in {time.time() - began:.0f} s")
    return folder


def is_done(folder: Path, number: int, params: Params) -> bool:
    """Whether a chapter is finished and its executed copy is there."""
    return has_copy(folder, number) and is_finished(folder, number, params)


def has_copy(folder: Path, number: int) -> bool:
    """Whether a chapter's executed copy is there."""
    return (folder / f"{CHAPTERS[number]}.ipynb").is_file()


def write_params(params: Params, folder: Path) -> None:
    """Write params.yaml into the run's folder; refuse a folder of other parameters, naming what differs.

    Those that only later chapters look at may differ: the chapters from theirs on are then executed again.
    """
    path = folder / "params.yaml"
    if path.is_file():
        try:
            there, here = flat(read_params(path)), flat(params)
        except BadInput as error:
            raise BadInput(f"{folder} holds a run whose parameters cannot be read ({error}): {OTHER_NAME}") from error
        differ = [key for key in here if here[key] != there[key]]
        other = [f"{key} ({there[key]!r} there, {here[key]!r} now)" for key in differ if not key.startswith(LATE)]
        if other:
            raise BadInput(f"{folder} holds a run of other parameters: {', '.join(other)}: {OTHER_NAME}")
        if not differ:
            return
    text = f"# resolved by zmem at revision {git_revision() or 'unknown'}\n{dumped(params)}"
    write_atomic(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def start_over(folder: Path, say: Say = say_now) -> None:
    """Remove what lies in a run's folder after saying so, but not its former summary; refuse any other folder."""
    there = [path for path in folder.iterdir() if path.name not in (LOCK, PREVIOUS)] if folder.is_dir() else []
    if not there:
        return
    if not (folder / "params.yaml").is_file() and not list(folder.glob("manifest_*.json")):
        raise BadInput(f"{folder} is not the folder of a run (it has no params.yaml): remove it by hand if you want to")
    say(f"starting over: removing what is in {folder}")
    keep_previous(folder)
    for path in sorted(there, key=lambda path: path.name == "params.yaml"):  # last: it says whose the others are
        with writing(path):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

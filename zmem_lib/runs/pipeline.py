"""Runs the chapters of one run by papermill, in order, and resumes where an earlier run stopped.

Takes parameters, a runs folder and a folder of notebook templates; leaves executed copies and what the chapters
write in runs/NAME/. A copy gets its name only when its chapter went through; a failed one is kept as
NN_name.failed.ipynb.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from traitlets.config import Config

from zmem_lib.meter import PROGRESS_ENV
from zmem_lib.files import drop_temporaries, write_atomic
from zmem_lib.chapters import is_finished
from zmem_lib.chapters import CHAPTERS, chapters_of, git_revision
from zmem_lib.files import BadInput, ChapterFailed, disk_refusal, writing
from zmem_lib.hub import find_judge, find_lm, find_reranker
from zmem_lib.files import LOCK
from zmem_lib.report.previous import FOLDER as PREVIOUS
from zmem_lib.report.previous import keep_previous
from zmem_lib.report.notebooks import cells_of, read_template, tidy_copy, translate
from zmem_lib.params import LATE, Params, changed, dumped, flat, read_params
from zmem_lib.runs.machine import this_machine
from zmem_lib.runs.plan import earlier_seconds, estimate_seconds
from zmem_lib.text import about

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PAPERMILL = {
    "kernel_name": "python3",  # with kernel_environment: that of the interpreter that runs this
    "progress_bar": False,
    "shutdown_kernel": "immediate",  # a kernel that is asked to end while it computes prints a traceback
    "config": Config({"KernelManager": {"transport_encryption": "auto"}}),  # without, the kernel prints a warning
}
USING_LM = (3, 4, 5, 6)  # chapters
EVALUATION, FINDINGS = 6, 7


def say_now(line: str) -> None:
    """Print a line at once, through a pipe too."""
    print(line, flush=True)


def run_chapters(
    params: Params,
    runs: Path,
    *,
    first: int | None = None,
    last: int = 7,
    notebooks: Path = NOTEBOOKS,
    say: Callable[[str], None] = say_now,
) -> Path:
    """Execute the chapters up to `last`, return the run's folder.

    With `first` None, chapters that were finished with these parameters are skipped; else those from `first` on are
    executed again and those before it must be finished.
    """
    folder = runs / params.run
    write_params(params, folder)
    drop_temporaries(folder)
    machine = None
    with kernel_environment():
        for number in (number for number in chapters_of(params) if number <= last):
            if is_done(folder, number, params) and (first is None or number < first):
                say(f"{CHAPTERS[number]}: finished before, skipped")
                continue
            if first is not None and number < first:
                raise BadInput(f"chapter {CHAPTERS[number]} of {folder} is not finished: run without --from")
            fetch(params, number)
            if number == EVALUATION and (folder / f"{CHAPTERS[number]}.ipynb").is_file():  # else it was stopped
                keep_previous(folder)
            seconds = earlier_seconds(runs, params, number)
            if seconds is None:
                machine = machine or this_machine(params)
                seconds = estimate_seconds(as_counted(params, folder), number, machine)
            say(f"{CHAPTERS[number]}: {about(seconds)} ...")
            began = time.time()
            run_chapter(number, params, runs, notebooks=notebooks)
            say(f"{CHAPTERS[number]}: done in {time.time() - began:.0f} s")
    return folder


def as_counted(params: Params, folder: Path) -> Params:
    """The parameters with as many documents as chapter 01 found, where a named subset has fewer than were asked for."""
    path = folder / "docs.parquet"
    if not params.corpus.subset or not path.is_file():
        return params
    import pandas as pd

    seen = int((pd.read_parquet(path, columns=["part"])["part"] == "seen").sum())
    return changed(params, {"corpus.documents": max(seen, 1)})


def fetch(params: Params, number: int) -> None:
    """Look for what a chapter needs from outside before it begins, and download it here, where its bars are seen."""
    from zmem_lib.data.corpus import fetch_corpus

    if number == 1:
        fetch_corpus(params)
    if params.evaluate.judge == "nli" and number in (1, 6):
        find_judge(params.evaluate.judge_model)
    if params.has_lm and params.lm.name != "scratch" and (number in USING_LM or os.environ.get("HF_HUB_OFFLINE")):
        find_lm(params.lm.name, params.lm.revision)
    if params.answer.rerank_model and params.answer.rerank_depth and (number in USING_LM or os.environ.get("HF_HUB_OFFLINE")):
        find_reranker(params.answer.rerank_model)
    if params.machine.device == "cuda":  # no other can be missing
        from zmem_lib.memory.base_lm import pick_device  # imports transformers, which takes seconds

        pick_device(params.machine.device)


def is_done(folder: Path, number: int, params: Params) -> bool:
    """Whether the chapter's artifacts are as it left them and its executed copy is there."""
    return (folder / f"{CHAPTERS[number]}.ipynb").is_file() and is_finished(folder, number, params)


def write_params(params: Params, folder: Path) -> None:
    """Write params.yaml into the run's folder; refuse a folder of other parameters, naming what differs.

    Those that only later chapters look at may differ: the chapters from theirs on are then executed again.
    """
    path = folder / "params.yaml"
    if path.is_file():
        try:
            there, here = flat(read_params(path)), flat(params)
        except BadInput as error:
            raise BadInput(
                f"{folder} holds a run whose parameters cannot be read ({error}): "
                "give this one another name (--set run=NAME) or throw that one away (--start-over)"
            ) from error
        differ = [key for key in here if here[key] != there[key]]
        other = [f"{key} ({there[key]!r} there, {here[key]!r} now)" for key in differ if not key.startswith(LATE)]
        if other:
            raise BadInput(
                f"{folder} holds a run of other parameters: {', '.join(other)}: "
                "give this one another name (--set run=NAME) or throw that one away (--start-over)"
            )
        if not differ:
            return
    text = f"# resolved by zmem at revision {git_revision() or 'unknown'}\n{dumped(params)}"
    write_atomic(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def start_over(folder: Path, say: Callable[[str], None] = say_now) -> None:
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


def run_chapter(number: int, params: Params, runs: Path, *, notebooks: Path = NOTEBOOKS) -> Path:
    """Execute one template into the run's folder and return the copy; raises ChapterFailed or BadInput."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    name, folder = CHAPTERS[number], runs / params.run
    values = {"run": params.run, "runs": "..", "params_file": "params.yaml"}  # seen from the copy
    template = read_template(notebooks / f"{name}.ipynb", set(values))
    template.cells = cells_of(template.cells, has_lm=params.has_lm)
    if number == FINDINGS:
        translate(template, params.report.language)
    under_way, failed, copy = (folder / f"{stem}.ipynb" for stem in (f".{name}", f"{name}.failed", name))
    copy.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(template, str(under_way), values, cwd=str(folder), **PAPERMILL)
        tidy_copy(under_way)
        under_way.replace(copy)
    except PapermillExecutionError as error:
        under_way.replace(failed)
        raise explained(error, name, failed) from error
    except OSError as error:
        if sentence := disk_refusal(str(error), copy):
            raise BadInput(sentence) from error
        raise
    except RuntimeError as error:  # nbclient's, while the kernel computes, or jupyter_client's, while it starts
        if "Kernel died" not in str(error):
            raise
        if under_way.exists():
            under_way.replace(failed)
        raise ChapterFailed(
            f"chapter {name} lost its kernel, most often for want of memory: lower machine.micro_batch, "
            "write_batch, scan_batch or answer_batch (--set machine.NAME=N) and give the same command again, which resumes"
        ) from error
    finally:
        under_way.unlink(missing_ok=True)
    return copy


def explained(error: Exception, name: str, failed: Path) -> Exception:
    """The exception to raise for a failed cell: BadInput where the chapter raised it, else ChapterFailed."""
    told = " ".join(error.evalue.split())
    if error.ename == BadInput.__name__:
        return BadInput(f"{told} (chapter {name}, cell [{error.exec_count}])")
    if sentence := disk_refusal(told, failed.parent):
        return BadInput(f"{sentence} (chapter {name}, cell [{error.exec_count}])")
    return ChapterFailed(
        f"chapter {name} failed in cell [{error.exec_count}]: {error.ename}: {told} "
        f"(the whole traceback stands in {failed})"
    )


@contextmanager
def kernel_environment() -> Iterator[None]:
    """What kernels inherit while this lasts: no other environment, no call home, bars on this terminal or none.

    What a command imports of the library outside a kernel, it imports in here as well.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an optional package at import
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(min(cores, 2), min(cores // 2, 16))  # LOG.md says why
    wanted = {
        "JUPYTER_PREFER_ENV_PATH": "1",  # a python3 kernel in the home folder may be of another environment
        "RAGAS_DO_NOT_TRACK": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # those of transformers too
        "TOKENIZERS_PARALLELISM": "false",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "10000"),  # on shared cores, do not spin for long
        PROGRESS_ENV: os.ttyname(sys.stderr.fileno()) if sys.stderr.isatty() else "",
    }
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value

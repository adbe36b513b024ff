"""The command line: `zmem run`, `params`, `plan`, `ask` and the others of COMMANDS. Nothing imports it.

What --help says of a command is its function's docstring. Bad input ends with one sentence and exit code 2, a failed
chapter with one sentence and 1, Ctrl-C with 130, SIGTERM with 143.
"""

import argparse
import inspect
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from zmem_lib.chapters import CHAPTERS, NOTEBOOKS
from zmem_lib.files import BadInput, ChapterFailed, disk_refusal, held, write_atomic
from zmem_lib.params import param_lines, read_params

ABOUT = "A small language model with one learned vector block per document, in the place of RAG's vector database."
EXAMPLE = "example:\n  zmem run params/squad.yaml --set corpus.path=my_corpus corpus.documents=200 run=mine"


def command_run(options: Namespace) -> None:
    """Execute the chapters 01 to 07 with the parameters of a YAML file.

    What they write lies in DIR/NAME, where NAME is the parameter `run`. A chapter that the same parameters, code and
    packages finished is skipped, so the same command resumes. With --from the chapters before it stay as they are.
    """
    from zmem_lib.runs.environment import unwound_by_signals
    from zmem_lib.runs.pipeline import run_chapters, start_over

    if options.first and options.first > options.last:
        raise BadInput(f"--from {options.first:02d} comes after --to {options.last:02d}: exchange them")
    if options.book and options.last < 7:
        raise BadInput("--book needs chapter 07: leave out --to")
    params = read_params(options.params, options.set)
    folder, chapters = options.runs / params.run, {"first": options.first or 0, "last": options.last}
    with unwound_by_signals(), held(folder):
        if options.start_over:
            start_over(folder)
        run_chapters(params, options.runs, **chapters, notebooks=options.notebooks)
    if options.last == 7:
        from zmem_lib.report.chapter_tables import printed_summary

        untested = f"\nnothing is measured, as these texts came without questions; zmem ask {params.run} asks them\n"
        print(printed_summary(folder) if params.tests else untested)
    if options.book:
        from zmem_lib.report.book import finished_runs

        _build(list(dict.fromkeys([params.run, *finished_runs(options.runs)])), options)


def command_school(options: Namespace) -> None:
    """Teach a pretrained model on other text to write evidence, to find and to read, before it meets a corpus.

    It learns on the documents of PARAMS.yaml and is measured on the dev questions about its new documents, which it
    never learns, at the start and whenever its rows have doubled. DIR/NAME/lm is then what `lm.adapter` takes. The same
    command goes on where it was stopped.
    """
    from zmem_lib.runs.environment import unwound_by_signals
    from zmem_lib.runs.pipeline import start_over
    from zmem_lib.runs.school import school

    params = read_params(options.params, options.set)
    folder = options.runs / params.run
    with unwound_by_signals(), held(folder):
        if options.start_over:
            start_over(folder)
        print(f"schooled: set lm.adapter={school(params, options.runs, notebooks=options.notebooks)}")


def command_params(options: Namespace) -> None:
    """Print each parameter of a file, with its meaning, its bounds, and where its value comes from."""
    _print(param_lines(options.params, options.set))


def command_plan(options: Namespace) -> None:
    """Say what a run will about need, before anything is downloaded.

    GPU memory by chapter and part, disk, download, and time and cost on an NVIDIA L4 with 24 GB (GCP's G2). --measure
    lets random weights of the same shape train and write here for a few steps at full length, and compares.
    """
    if not options.price >= 0:
        raise BadInput(f"--price must be zero or more dollars an hour, not {options.price}")
    if options.measure and len(options.params) > 1:
        raise BadInput("--measure takes one parameter file: name the one to measure")
    runs = [read_params(path, options.set) for path in options.params]
    from zmem_lib.runs.plan import plan_lines, summary_lines

    _print(plan_lines(runs[0], options.price) if len(runs) == 1 else summary_lines(runs, options.price))
    if options.measure:
        from zmem_lib.runs.measure import measure_lines

        _print(["", *measure_lines(runs[0])])


def command_ask(options: Namespace) -> None:
    """Ask the documents of a finished run a question, or one after the other until an empty line.

    Which documents z-memory chooses, what evidence it writes from the memory of each, what BM25 and dense retrieval
    bring, and what the reader answers on each.
    """
    from zmem_lib.text import unprintable

    if options.question is not None and not options.question.strip():
        raise BadInput("the question is empty: give one in quotes")
    if sign := unprintable(options.question or ""):
        raise BadInput(f"the question has {sign}: leave it out")
    if options.top_k is not None and options.top_k < 1:
        raise BadInput(f"--top-k must be at least 1, not {options.top_k}")
    from zmem_lib.systems.ask import answer_lines
    from zmem_lib.systems.collection import open_collection

    collection = open_collection(options.run, options.runs)
    typed = iter(lambda: input("question: ").strip(), "")
    with suppress(EOFError):
        for question in typed if options.question is None else [options.question]:
            _print(answer_lines(collection, question, options.top_k))


def command_add(options: Namespace) -> None:
    """Write further documents into the memory of a finished run, its model frozen, as chapter 04 does.

    FILE holds one JSON object a line with doc_id, text and, if there is one, title, as corpus.jsonl of a corpus does.
    What the chapters left stays as it is, and so does every other document; `zmem ask` finds the new ones at once.
    """
    from zmem_lib.systems.ask import add_documents

    _print(add_documents(options.runs / options.run, options.file, replacing=options.replace))


def command_delete(options: Namespace) -> None:
    """Take documents out of the memory of a finished run; nothing else changes.

    Of a document that came with `zmem add`, text and memory are removed. One of the run's own is no longer found, but
    its text stays in the tables, and what the model learned with it in the model: execute the run without it.
    """
    from zmem_lib.systems.ask import delete_documents

    _print(delete_documents(options.runs / options.run, options.doc_id))


def command_score(options: Namespace) -> None:
    """Answer all test questions of a finished run, where its chapters take a sample of `answer.questions`.

    Prints the share of right answers, of evidence that holds them, and of documents found first, with intervals, and
    the primary tests between these systems. Systems that are given their document need chapters 01 to 04 alone.
    """
    if options.questions < 0:
        raise BadInput(f"--questions must be 0 (all) or more, not {options.questions}")
    from zmem_lib.evaluation.scoring import score_run, scored_lines

    asked = {"questions": options.questions, "blocks": options.blocks, "reads": not options.unread}
    table = score_run(options.runs / options.run, options.systems, **asked)
    _print(scored_lines(table))
    if options.csv:
        write_atomic(options.csv, lambda temporary: table.round(4).to_csv(temporary, index=False))


def command_book(options: Namespace) -> None:
    """Build the HTML book from the executed notebooks of one run or several.

    The first one's findings are the front page. Without a name: all that went through to chapter 07, the newest first.
    """
    from zmem_lib.report.book import finished_runs

    if not (names := options.run or finished_runs(options.runs)):
        raise BadInput(f"no run in {options.runs} went through to chapter 07: execute one first (zmem run PARAMS.yaml)")
    _build(names, options)


def command_ablate(options: Namespace) -> None:
    """Execute and keep the rows of an ablation that are not kept yet.

    One run of the chapters 01 to 06, DIR/ablation-NAME-ROW-SEED, for each row and seed; what it finds is kept under
    results/ablations/NAME/. The same command goes on where it was stopped. Rows of other parameters or of other code
    are made again, and so is one whose two folders are removed.
    """
    params = read_params(options.params, options.set)
    from zmem_lib.report.results import RESULTS
    from zmem_lib.runs.ablate import Study, ablate, known_rows, row_lines
    from zmem_lib.runs.environment import unwound_by_signals

    seeds, results = tuple(dict.fromkeys(options.seeds)), options.results or RESULTS
    study = Study(params, known_rows(options.rows), seeds, options.runs, results, again=options.start_over)
    if options.list:
        return _print(row_lines(study))
    with unwound_by_signals():
        ablate(study)


def command_sweep(options: Namespace) -> None:
    """Execute a batch of runs: every parameter file with every combination of the values of all --grid.

    Each has a name such as tiny-corpus.documents-500. All parameters are checked first. What is finished is skipped, a
    run that fails does not stop the others, and the same command goes on where it was stopped.
    """
    from zmem_lib.runs.cluster import sweep_on_ray
    from zmem_lib.runs.sweep import batch_jobs, list_lines, read_grid, sweep_here

    jobs = batch_jobs(options.params, read_grid(options.grid), options.set)
    if options.list:
        return _print(list_lines(jobs, options.runs))
    failures = (sweep_on_ray if options.on == "ray" else sweep_here)(jobs, options.runs, options.notebooks)
    if options.book and (done := [job.params.run for job in jobs if job.params.run not in failures]):
        _build(done, options)
    if failures:
        again = "the same command skips what is done and goes on with the others"
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise ChapterFailed(f"{len(failures)} of {len(jobs)} runs failed ({again}): {reasons}")


def command_keep(options: Namespace) -> None:
    """Keep the tables of a finished run under results/runs/NAME/, for the book to show.

    Means, counts, costs, the thinned training log and the manifest; no text, no question, no id.
    """
    from zmem_lib.report.results import RESULTS, keep_run

    name = options.name or options.run
    if not re.fullmatch(r"\w[\w.-]*", name):
        signs = "letters, digits, '-', '_' and '.'"
        raise BadInput(f"{name!r} names a folder in results/runs: use {signs} only (--as NAME)")
    target = (options.results or RESULTS) / "runs" / name
    keep_run(options.runs / options.run, target)
    print(f"kept in {target}")


def _build(names: list[str], options: Namespace) -> None:
    from zmem_lib.report.book import BOOK, build_book

    print(f"book: building from {', '.join(names)} ...")
    print(f"book: open {build_book(options.runs, names, out=options.out or BOOK)}")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _option(*names: str, **settings: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, settings


PARAMS = _option("params", metavar="PARAMS.yaml", help="a parameter file, such as params/tiny.yaml")
FILES = _option("params", nargs="+", type=Path, metavar="PARAMS.yaml", help="parameter files")
SET = _option("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="put values over the file's")
RUN = _option("run", metavar="RUN", help="name of the run, such as tiny")
RUNS = _option("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
OUT = _option("--out", type=Path, metavar="DIR", help="the book is built in DIR/_build (default: book)")
RESULTS = _option("--results", type=Path, metavar="DIR", help="default: results/ of the project")
TEMPLATES = _option("--notebooks", type=Path, default=NOTEBOOKS, metavar="DIR", help=argparse.SUPPRESS)
AGAIN = _option("--start-over", action="store_true", help="remove what an earlier run of this name left, if not kept")
LIST = _option("--list", action="store_true", help="say what there is, done or to do; execute nothing")
BOOK = _option("--book", action="store_true", help="then build the book, with this run first")
COMMANDS: dict[str, tuple] = {  # its function, whose docstring is its help, and its options
    "run": (
        command_run, PARAMS, SET, RUNS, OUT, TEMPLATES, AGAIN, BOOK,
        _option("--from", dest="first", type=int, choices=CHAPTERS, metavar="NN", help="execute again from here on"),
        _option("--to", dest="last", type=int, choices=CHAPTERS, metavar="NN", default=7, help="stop after this one"),
    ),
    "school": (command_school, PARAMS, SET, RUNS, TEMPLATES, AGAIN),
    "params": (command_params, PARAMS, SET),
    "plan": (
        command_plan, FILES, SET,
        _option("--price", type=float, default=0.85, metavar="DOLLARS", help="of an hour (default: 0.85)"),
        _option("--measure", action="store_true", help="train a few steps with random weights, and compare"),
    ),
    "ask": (
        command_ask, RUN, RUNS,
        _option("question", nargs="?", metavar="QUESTION", help="in quotes; without one, they are asked for"),
        _option("--top-k", type=int, metavar="N", help="documents that the reader gets (default: the run's)"),
    ),
    "add": (
        command_add, RUN, RUNS,
        _option("file", type=Path, metavar="FILE", help="the documents, such as corpus.jsonl (or with .gz)"),
        _option("--replace", action="store_true", help="put a document in the place of one with the same id"),
    ),
    "delete": (command_delete, RUN, RUNS, _option("doc_id", nargs="+", metavar="DOC_ID", help="ids of documents")),
    "score": (
        command_score, RUN, RUNS,
        _option("--systems", nargs="+", default=["zmem", "zmem-oracle"], metavar="NAME",
                help="default: zmem zmem-oracle; an unknown name lists them all"),
        _option("--questions", type=int, default=0, metavar="N", help="of each part and kind (default: all)"),
        _option("--unread", action="store_true", help="score the evidence alone, which nobody reads"),
        _option("--blocks", choices=("joint",), default="", help="those of seen documents that training left"),
        _option("--csv", type=Path, metavar="FILE", help="write the table there"),
    ),
    "book": (command_book, _option("run", nargs="*", metavar="RUN", help="names of runs"), RUNS, OUT),
    "ablate": (
        command_ablate, PARAMS, SET, RUNS, RESULTS, AGAIN, LIST,
        _option("--rows", nargs="+", default=[], metavar="NAME", help="default: all (--list names them)"),
        _option("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2"),
    ),
    "sweep": (
        command_sweep, FILES, SET, RUNS, OUT, TEMPLATES, LIST, BOOK,
        _option("--grid", nargs="+", action="extend", default=[], metavar="KEY=VALUE,...", help="a run for each value"),
        _option("--on", choices=("here", "ray"), default="here", help="ray: RAY_ADDRESS, or one that is started here"),
    ),
    "keep": (command_keep, RUN, RUNS, RESULTS, _option("--as", dest="name", metavar="NAME", help="to keep it by")),
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    as_written = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser("zmem", description=ABOUT, epilog=EXAMPLE, formatter_class=as_written)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (function, *options) in COMMANDS.items():
        text = inspect.getdoc(function) or ""
        command = commands.add_parser(name, help=text.partition("\n")[0].rstrip("."), description=text)
        for names, settings in options:
            command.add_argument(*names, **settings)
        command.set_defaults(command=function)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = parser().parse_args(arguments)
    from zmem_lib.runs.environment import kernel_environment  # after --help, which is at once

    with kernel_environment():
        return reported(lambda: options.command(options))


def reported(work: Callable[[], object]) -> int:
    """Do the work and return the exit code; whatever ends it early is said in one sentence on standard error."""
    try:
        work()
    except (BadInput, ChapterFailed) as error:
        print(f"zmem: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    except (KeyboardInterrupt, SystemExit) as stop:
        after = "\n" if sys.stderr.isatty() else ""  # of the ^C that a terminal shows
        print(f"{after}zmem: stopped; give the same command again to resume where it was", file=sys.stderr)
        return int(stop.code or 0) if isinstance(stop, SystemExit) else 130
    except BrokenPipeError:  # who reads what is printed, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # of the disk or the machine, so the user's to put right
        place = error.filename or "the run's folder"
        said = f"{place}: {error.strerror or error}: put that right and try again"
        print(f"zmem: {' '.join((disk_refusal(str(error), place) or said).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line: `zmem run`, `plan`, `ask`, `book`, and those of commands.py. Nothing imports it.

Bad input ends with one sentence and exit code 2, a failed chapter with one sentence and 1, Ctrl-C with 130, SIGTERM
with 143.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zmem_lib.commands import (
    add_result_commands,
    add_runs,
    add_scale_command,
    add_score_command,
    add_set,
    add_upkeep_commands,
)
from zmem_lib.files import BadInput, ChapterFailed, disk_refusal
from zmem_lib.params import read_params

RUN_TEXT = """Execute the chapters 01 to 07 with the parameters of a YAML file. What they write lies in DIR/NAME, where
NAME is the parameter `run`. A chapter that was finished with the same parameters is skipped, so the same command
resumes a run that was stopped."""
PLAN_TEXT = """What a run will about need, before anything is downloaded: GPU memory by chapter and part, disk,
download, and time and cost on an NVIDIA L4 with 24 GB (GCP's G2). With --measure, a model of the same shape with random
weights trains and writes on this machine for a few steps at full length, and what it took stands beside the plan."""
ASK_TEXT = """Ask the documents of a finished run one question: which documents z-memory chooses, what evidence it
writes from the memory of each, what BM25 and dense retrieval bring, and what the reader answers on each."""
BOOK_TEXT = """Build the HTML book from the executed notebooks of one run or several. The first one's findings are the
front page. Without a name: all runs that went through to chapter 07, the newest first."""
EXAMPLES = """examples:
  zmem run params/tiny.yaml
  zmem run params/squad.yaml --set corpus_path=my_corpus n_documents=200 run=mine
  zmem run params/tiny.yaml --from 06
  zmem plan params/qwen2.5-3b.yaml --set batch_tuples=8
  zmem ask tiny "Where does Ada Lind live?" --top-k 3
  zmem add tiny more.jsonl
  zmem delete tiny person-0007 person-0012
  zmem book tiny squad
  zmem ablate params/tiny.yaml --rows full key --seeds 0 1 2
  zmem keep squad
  zmem score tiny --systems zmem zmem-oracle bm25
  zmem sweep params/tiny.yaml --grid n_documents=100,200,400 --book"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = parser().parse_args(arguments)
    return reported(lambda: options.command(options))


def reported(work: Callable[[], object]) -> int:
    """Do the work and return the exit code; whatever ends it early is said in one sentence on standard error."""
    try:
        work()
    except BadInput as error:
        print(f"zmem: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit) as stop:
        after = "\n" if sys.stderr.isatty() else ""  # of the ^C that a terminal shows
        print(f"{after}zmem: stopped; give the same command again to resume where it was", file=sys.stderr)
        return stop.code if isinstance(stop, SystemExit) else 130
    except ChapterFailed as error:
        print(f"zmem: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # of the disk or the machine, so the user's to put right
        place = error.filename or "the run's folder"
        said = disk_refusal(str(error), place) or f"{place}: {error.strerror or error}: put that right and try again"
        print(f"zmem: {' '.join(said.split())}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="zmem",
        description="A small language model with one learned vector block per document, in the place of RAG's "
        "vector database.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="execute the chapters of one parameter file", description=RUN_TEXT)
    run.add_argument("--from", dest="first", type=_chapter, metavar="NN", help="execute again from this chapter on")
    run.add_argument("--to", dest="last", type=_chapter, metavar="NN", default=7, help="stop after this chapter")
    run.add_argument("--start-over", action="store_true", help="remove what an earlier run of this name left")
    run.add_argument("--book", action="store_true", help="then build the book, with this run first")
    run.set_defaults(command=command_run)
    plan = commands.add_parser("plan", help="say what a run will need", description=PLAN_TEXT)
    plan.add_argument("--price", type=float, default=0.85, metavar="DOLLARS", help="of an hour (default: 0.85)")
    plan.add_argument("--measure", action="store_true", help="train a few steps with random weights, and compare")
    plan.set_defaults(command=command_plan)
    ask = commands.add_parser("ask", help="ask the documents of a finished run a question", description=ASK_TEXT)
    ask.add_argument("run", metavar="RUN", help="name of the run, such as tiny")
    ask.add_argument("question", metavar="QUESTION", help="the question, in quotes")
    ask.add_argument("--top-k", type=int, metavar="N", help="documents that the reader gets (default: the run's)")
    ask.set_defaults(command=command_ask)
    book = commands.add_parser("book", help="build the HTML book", description=BOOK_TEXT)
    book.add_argument("run", nargs="*", metavar="RUN", help="names of runs")
    book.set_defaults(command=command_book)
    add_upkeep_commands(commands)
    add_scale_command(commands)
    add_score_command(commands)
    add_result_commands(commands, unwound_by_signals)
    run.add_argument("params", metavar="PARAMS.yaml", help="a parameter file, such as params/tiny.yaml")
    plan.add_argument("params", nargs="+", metavar="PARAMS.yaml", help="a parameter file; several make one table")
    for command in (run, plan):
        add_set(command)
    for command in (run, ask, book):
        add_runs(command)
    for command in (run, book):
        command.add_argument("--out", type=Path, metavar="DIR", help="the book is built in DIR/_build (default: book)")
    run.add_argument("--notebooks", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    return top


def command_run(options: argparse.Namespace) -> None:
    """`zmem run`: execute the chapters, print the summary, build the book where that was asked for."""
    from zmem_lib.files import held
    from zmem_lib.runs.pipeline import NOTEBOOKS, run_chapters, start_over

    if options.first and options.first > options.last:
        raise BadInput(f"--from {options.first:02d} comes after --to {options.last:02d}: exchange them")
    if options.book and options.last < 7:
        raise BadInput("--book needs chapter 07: leave out --to")
    params = read_params(options.params, options.set)
    for logger in ("papermill", "asyncio"):  # what they log comes as an exception too
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    with unwound_by_signals(), held(options.runs / params.run):
        if options.start_over:
            start_over(options.runs / params.run)
        notebooks = options.notebooks or NOTEBOOKS
        folder = run_chapters(params, options.runs, first=options.first, last=options.last, notebooks=notebooks)
    if options.last < 7:
        return
    from zmem_lib.report.chapter_tables import printed_summary

    print(printed_summary(folder))
    if options.book:
        from zmem_lib.report.book import finished_runs

        others = [name for name in finished_runs(options.runs) if name != params.run]
        _build([params.run, *others], options)


def command_plan(options: argparse.Namespace) -> None:
    """`zmem plan`: what a run will need, and beside it, where that is asked for, what it takes here."""
    if not options.price >= 0:
        raise BadInput(f"--price must be zero or more dollars an hour, not {options.price}")
    if options.measure and len(options.params) > 1:
        raise BadInput("--measure takes one parameter file: name the one to measure")
    runs = [read_params(path, options.set) for path in options.params]
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else torch's profiler says when it starts
    from zmem_lib.runs.pipeline import kernel_environment

    with kernel_environment():
        from zmem_lib.runs.budget import plan_lines, summary_lines

        lines = plan_lines(runs[0], options.price) if len(runs) == 1 else summary_lines(runs, options.price)
        print("\n".join(lines), flush=True)
        if options.measure:
            from zmem_lib.runs.measure import measure_lines

            print("", *measure_lines(runs[0]), sep="\n")


def command_ask(options: argparse.Namespace) -> None:
    """`zmem ask`: what z-memory, BM25 and dense retrieval make of one question."""
    from zmem_lib.runs.pipeline import kernel_environment
    from zmem_lib.text import unprintable

    if not options.question.strip():
        raise BadInput("the question is empty: give one in quotes")
    if found := unprintable(options.question):
        raise BadInput(f"the question has {found}: leave it out")
    if options.top_k is not None and options.top_k < 1:
        raise BadInput(f"--top-k must be at least 1, not {options.top_k}")
    with kernel_environment():
        from zmem_lib.systems.ask import answer_lines
        from zmem_lib.systems.collection import open_collection

        for line in answer_lines(open_collection(options.run, options.runs), options.question, options.top_k):
            print(line)


def command_book(options: argparse.Namespace) -> None:
    """`zmem book`: build the book from the named runs, or from all that are finished."""
    from zmem_lib.report.book import finished_runs

    names = options.run or finished_runs(options.runs)
    if not names:
        raise BadInput(f"no run in {options.runs} went through to chapter 07: execute one first (zmem run PARAMS.yaml)")
    _build(names, options)


def _build(names: list[str], options: argparse.Namespace) -> None:
    from zmem_lib.report.book import BOOK, build_book

    print(f"book: building from {', '.join(names)} ...")
    print(f"book: open {build_book(options.runs, names, out=options.out or BOOK)}")


def _chapter(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 7:
        raise argparse.ArgumentTypeError(f"{text!r} is no chapter: give 01 to 07")
    return int(text)


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the kernel and unwind this block, and nothing that fails on the way hide them.

    An exception raised by a signal is lost where it meets a callback; the kernel's death is not.
    """
    import psutil

    received: list[int] = []

    def end(signum: int, frame: object) -> None:
        received.append(signum)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        raise stopped()

    def stopped() -> BaseException:
        return KeyboardInterrupt() if received[0] == signal.SIGINT else SystemExit(128 + received[0])

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception as error:
        if received:
            raise stopped() from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise stopped()


if __name__ == "__main__":
    sys.exit(main())

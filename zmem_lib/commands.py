"""Further commands, their options and what they call.

`zmem ablate` and `zmem keep` fill results/; `zmem add` and `zmem delete` change the documents of a finished run; `zmem
scale` measures whether a training step takes longer with more documents, `zmem score` asks all test questions, `zmem
sweep` executes a batch of runs.
"""

import argparse
import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from zmem_lib.files import BadInput
from zmem_lib.params import read_params
from zmem_lib.systems.systems import SYSTEMS

Unwound = Callable[[], AbstractContextManager]
ABLATE_TEXT = """Execute the rows of an ablation that are not kept yet, one run of the chapters 01 to 06 for each row
and seed, and keep what they find under results/ablations/NAME/, where NAME is the parameter `run` of the file. The
same command goes on where it was stopped. Rows kept with other parameters are made again. To make a row of the same
parameters again, remove its folder there and its run, DIR/ablation-NAME-ROW-SEED."""
KEEP_TEXT = """Keep the tables of a finished run under results/runs/NAME/, for the book to show: means, counts, costs,
the thinned training log and the manifest; no text, no question, no id."""
ADD_TEXT = """Write further documents into the memory of a finished run, its model frozen, as chapter 04 does. FILE
holds one JSON object a line with doc_id, text and, if there is one, title, as corpus.jsonl does in a corpus of your
own. What the chapters left stays as it is, and so does every other document; `zmem ask` finds the new ones at once."""
DELETE_TEXT = """Take documents out of the memory of a finished run; nothing else changes. Of a document that came with
`zmem add`, text and memory are removed. One of the run's own is only marked, so that `zmem ask` no longer finds it: its
text stays in the tables of the chapters, and what the model learned with it in the model. To be rid of these as well,
execute the run without it."""
SCORE_TEXT = """Answer all test questions of a finished run, where its chapters take a sample of `answer.questions`, and
print the share of right answers, and of documents found first, with intervals. Nothing is kept."""
SCORED = f"default: zmem zmem-oracle; of {', '.join(SYSTEMS)}"
SCALE_TEXT = """Train a few steps with tables of different length, in turn, and say how long a step took with each: in
memory, and for the longest table also on disk. Nothing is kept."""
SWEEP_TEXT = """Execute a batch of runs: every parameter file with every combination of the values of all --grid, each a
run named after its file and its values, such as tiny-n_documents-500. All parameters are checked first. What is
finished is skipped, a run that fails does not stop the others, and the same command goes on where it was stopped."""


def add_set(command: argparse.ArgumentParser) -> None:
    """Add to a command that takes a parameter file the option that puts values over the file's."""
    command.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="put a value over the file's"
    )


def add_runs(command: argparse.ArgumentParser) -> None:
    """Add to a command the option that names the folder of runs."""
    command.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")


def add_result_commands(commands: argparse._SubParsersAction, unwound: Unwound) -> None:
    """Add `ablate` and `keep` to the command line; `unwound` is the context in which signals end a run."""
    ablate = commands.add_parser("ablate", help="execute and keep the rows of an ablation", description=ABLATE_TEXT)
    ablate.add_argument("params", metavar="PARAMS.yaml", help="a parameter file, such as params/tiny.yaml")
    ablate.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="default: all (--list names them)")
    ablate.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add_set(ablate)
    ablate.add_argument("--start-over", action="store_true", help="remove what runs of rows that are not kept left")
    ablate.add_argument("--list", action="store_true", help="say what the rows are and which are kept; execute nothing")
    ablate.set_defaults(command=partial(command_ablate, unwound=unwound))
    keep = commands.add_parser("keep", help="keep the tables of a finished run in results/", description=KEEP_TEXT)
    keep.add_argument("run", metavar="RUN", help="name of the run, such as tiny")
    keep.add_argument("--as", dest="name", metavar="NAME", help="name to keep it by (default: the run's)")
    keep.set_defaults(command=command_keep)
    for command in (ablate, keep):
        add_runs(command)
        command.add_argument("--results", type=Path, metavar="DIR", help="default: results/ of the project")
    add_sweep_command(commands, unwound)


def add_sweep_command(commands: argparse._SubParsersAction, unwound: Unwound) -> None:
    """Add `sweep` to the command line; `unwound` is the context in which signals end a run."""
    sweep = commands.add_parser("sweep", help="execute a batch of runs", description=SWEEP_TEXT)
    sweep.add_argument("params", nargs="+", type=Path, metavar="PARAMS.yaml", help="parameter files")
    grid = "values of a parameter, each for runs of its own; may be given for several parameters"
    sweep.add_argument("--grid", nargs="+", action="extend", default=[], metavar="KEY=VALUE,VALUE", help=grid)
    add_set(sweep)
    add_runs(sweep)
    where = "here, one after the other (default), or ray: the cluster of RAY_ADDRESS, else a Ray that is started here"
    sweep.add_argument("--on", choices=("here", "ray"), default="here", help=where)
    sweep.add_argument("--list", action="store_true", help="say which runs and how long they take; execute nothing")
    sweep.add_argument("--book", action="store_true", help="then build the book of these runs, compared")
    sweep.add_argument("--out", type=Path, metavar="DIR", help="the book is built in DIR/_build (default: book)")
    sweep.add_argument("--notebooks", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    sweep.set_defaults(command=partial(command_sweep, unwound=unwound))


def add_upkeep_commands(commands: argparse._SubParsersAction) -> None:
    """Add `add` and `delete` to the command line."""
    add = commands.add_parser("add", help="write further documents into a finished run", description=ADD_TEXT)
    add.add_argument("run", metavar="RUN", help="name of the run, such as tiny")
    add.add_argument("file", type=Path, metavar="FILE", help="the documents, such as corpus.jsonl (or with .gz)")
    add.add_argument("--replace", action="store_true", help="put a document in the place of one with the same id")
    add.set_defaults(command=command_add)
    delete = commands.add_parser("delete", help="take documents out of a finished run", description=DELETE_TEXT)
    delete.add_argument("run", metavar="RUN", help="name of the run, such as tiny")
    delete.add_argument("doc_id", nargs="+", metavar="DOC_ID", help="ids of documents")
    delete.set_defaults(command=command_delete)
    for command in (add, delete):
        add_runs(command)


def add_score_command(commands: argparse._SubParsersAction) -> None:
    """Add `score` to the command line."""
    score = commands.add_parser("score", help="ask a finished run all of its test questions", description=SCORE_TEXT)
    score.add_argument("run", metavar="RUN", help="name of the run, such as tiny")
    score.add_argument("--systems", nargs="+", default=["zmem", "zmem-oracle"], metavar="NAME", help=SCORED)
    score.add_argument("--questions", type=int, default=0, metavar="N", help="of each part and kind (default: all)")
    add_runs(score)
    score.set_defaults(command=command_score)


def add_scale_command(commands: argparse._SubParsersAction) -> None:
    """Add `scale` to the command line."""
    scale = commands.add_parser(
        "scale", help="time a training step with few and many documents", description=SCALE_TEXT
    )
    scale.add_argument("params", metavar="PARAMS.yaml", help="a parameter file, such as params/tiny.yaml")
    scale.add_argument(
        "--documents", nargs="+", type=int, default=[1000, 100_000], metavar="N", help="default: 1000 100000"
    )
    scale.add_argument("--steps", type=int, default=20, metavar="N", help="that count, of each (default: 20)")
    add_set(scale)
    scale.set_defaults(command=command_scale)


def command_scale(options: argparse.Namespace) -> None:
    """`zmem scale`: the time of a step against the number of documents."""
    if min([*options.documents, options.steps]) < 1:
        raise BadInput("--documents and --steps must be at least 1")
    params = read_params(options.params, options.set)
    from zmem_lib.runs.pipeline import kernel_environment

    with kernel_environment():
        from zmem_lib.runs.scaling import scale_lines

        print("\n".join(scale_lines(params, options.documents, steps=options.steps)))


def command_score(options: argparse.Namespace) -> None:
    """`zmem score`: what the systems make of all test questions."""
    if options.questions < 0:
        raise BadInput(f"--questions must be 0 (all) or more, not {options.questions}")
    from zmem_lib.runs.pipeline import kernel_environment

    with kernel_environment():
        from zmem_lib.evaluation.score import score_lines

        for line in score_lines(options.runs / options.run, options.systems, options.questions):
            print(line)


def command_ablate(options: argparse.Namespace, *, unwound: Unwound) -> None:
    """`zmem ablate`: execute and keep rows, or list them."""
    params = read_params(options.params, options.set)
    from zmem_lib.report.results import RESULTS
    from zmem_lib.runs.ablate import Study, ablate, known_rows, row_lines

    seeds = tuple(dict.fromkeys(options.seeds))
    results, again = options.results or RESULTS, options.start_over
    study = Study(params, known_rows(options.rows), seeds, options.runs, results, again=again)
    if options.list:
        print("\n".join(row_lines(study)))
        return
    for logger in ("papermill", "asyncio"):  # what they log comes as an exception too
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    with unwound():
        ablate(study)


def command_sweep(options: argparse.Namespace, *, unwound: Unwound) -> None:
    """`zmem sweep`: execute the runs of a grid, or list them."""
    from zmem_lib.runs.cluster import sweep_on_ray
    from zmem_lib.runs.pipeline import NOTEBOOKS, kernel_environment
    from zmem_lib.runs.sweep import Batch, batch_jobs, plan_lines, read_grid, refuse_failures, sweep_here

    jobs = batch_jobs(options.params, read_grid(options.grid), options.set)
    batch = Batch(tuple(jobs), options.runs, options.notebooks or NOTEBOOKS)
    if options.list:
        with kernel_environment():
            print("\n".join(plan_lines(batch)))
        return
    for logger in ("papermill", "asyncio"):  # what they log comes as an exception too
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    failures = sweep_on_ray(batch) if options.on == "ray" else sweep_here(batch, unwound=unwound)
    if options.book and (done := [job.params.run for job in jobs if job.params.run not in failures]):
        from zmem_lib.report.book import BOOK, build_book

        print(f"book: open {build_book(options.runs, done, out=options.out or BOOK)}")
    refuse_failures(failures, batch)


def command_keep(options: argparse.Namespace) -> None:
    """`zmem keep`: copy what matters of a finished run."""
    from zmem_lib.report.results import RESULTS, keep_run

    name = options.name or options.run
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise BadInput(
            f"{name!r} names a folder in results/runs: use letters, digits, '-', '_' and '.' only (--as NAME)"
        )
    target = (options.results or RESULTS) / "runs" / name
    keep_run(options.runs / options.run, target)
    print(f"kept in {target}")


def command_add(options: argparse.Namespace) -> None:
    """`zmem add`: write documents into a run's memory."""
    from zmem_lib.runs.pipeline import kernel_environment

    with kernel_environment():
        from zmem_lib.systems.ask import add_documents

        print("\n".join(add_documents(options.runs / options.run, options.file, replacing=options.replace)))


def command_delete(options: argparse.Namespace) -> None:
    """`zmem delete`: take documents out of a run's memory."""
    from zmem_lib.systems.ask import delete_documents

    print("\n".join(delete_documents(options.runs / options.run, options.doc_id)))

"""Several finished runs side by side, as data frames, from the tables, manifests and parameters on disk.

Takes a runs folder and names; a run whose tables or parameters are of another version, or not there, is left out and
the reason given. Nothing is executed. A run without a language model has no rows of z-memory, and its cells are empty.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.chapters import CHAPTERS
from zmem_lib.files import BadInput, must_exist, read_json
from zmem_lib.memory.shape import model_shape
from zmem_lib.params import Params, flat, read_params
from zmem_lib.report.results import without_places
from zmem_lib.report.wording import RIVALS
from zmem_lib.tables import COMPARED, TEST_PARTS, in_order, read_table

RETRIEVERS = tuple(system for system in RIVALS if system not in ("text-twin", "long-context"))
BEST = "best retriever"  # stands for the one of RETRIEVERS that finds most documents in that run and part
MEASURES = {  # name in tables: system, metric
    "recall@1, z-memory": ("zmem", "recall@1"),
    "recall@1, best retriever": (BEST, "recall@1"),
    "evidence, z-memory": ("zmem", "answer_in_evidence"),
    "evidence, right z": ("zmem-oracle", "answer_in_evidence"),
    "evidence, best retriever": (BEST, "answer_in_evidence"),
    "exact, z-memory": ("zmem", "em"),
    "exact, best retriever": (BEST, "em"),
}
SIZE = {"corpus.documents", "corpus.subset"}  # parameters that say how much of one corpus is taken
ASIDE = ("run", "machine.")  # begin the names of parameters that change nothing of what a run finds
SAME_CORPUS = ("corpus.name", "corpus.path", "corpus.revision", "corpus.new_path", "corpus.new_documents", "seed")
COSTS = {"bytes_stored": 1e6, "seconds_per_question": 1.0}  # and the unit in which they are shown


@dataclass(frozen=True)
class Run:
    """A finished run: its tables, seconds by chapter, and documents by part."""

    name: str
    params: Params
    summary: pd.DataFrame
    costs: pd.DataFrame
    seconds: Mapping[int, float]
    documents: Mapping[str, int]

    @property
    def size(self) -> int:
        """Documents among which a question's is sought."""
        return sum(self.documents.values())


def read_runs(runs: Path, names: Iterable[str]) -> tuple[list[Run], dict[str, str]]:
    """The named runs, and why others of them cannot be compared."""
    found, left_out = [], {}
    for name in names:
        try:
            found.append(read_run(runs / name))
        except BadInput as error:
            left_out[name] = str(error)
    return found, left_out


def read_run(folder: Path) -> Run:
    """One run from its folder; raises BadInput where a table is missing or of another version."""
    manifests = {number: folder / f"manifest_{number:02d}.json" for number in CHAPTERS}
    return Run(
        name=folder.name,
        params=read_params(folder / "params.yaml"),
        summary=read_table(folder / "summary.parquet", "summary"),
        costs=read_table(folder / "costs.parquet", "costs"),
        seconds={number: read_json(path)["seconds"] for number, path in manifests.items() if path.is_file()},
        documents=pd.read_parquet(must_exist(folder / "docs.parquet"), columns=["part"]).value_counts("part").to_dict(),
    )


def overview(runs: Sequence[Run]) -> pd.DataFrame:
    """A row per run: model, its weights, documents, seconds of training, writing and answering, megabytes stored."""
    rows = {}
    for run in runs:
        stored = run.costs.set_index("system")["bytes_stored"] / 1e6
        rows[run.name] = {
            "model": without_places(flat(run.params))["lm.name"],
            "weights": weights(run.params),
            "seen": run.documents.get("seen", 0),
            "new": run.documents.get("new", 0),
            "training (s)": run.seconds.get(3),
            "writing (s)": run.seconds.get(4),
            "answering (s)": run.seconds.get(5),
            **{f"{system} (MB)": stored.get(system) for system in ("zmem", "bm25", "dense")},
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def weights(params: Params) -> int | None:
    """Weights of a run's language model; None where there is none, or its configuration is not here any more."""
    if not params.has_lm:
        return None
    try:
        shape = model_shape(params)
    except BadInput:
        return None
    return shape.linear + shape.other


def measures(runs: Sequence[Run]) -> pd.DataFrame:
    """The MEASURES of every run and part of test questions that there are: system, value, its interval, n."""
    frames = []
    for run in runs:
        for part in in_order(run.summary["part"], TEST_PARTS):
            mine = run.summary[(run.summary["part"] == part) & (run.summary["n"] > 0)]
            best = best_retriever(mine)
            for measure, (system, metric) in MEASURES.items():
                rows = mine[(mine["system"] == (best if system == BEST else system)) & (mine["metric"] == metric)]
                frames.append(rows.assign(run=run.name, measure=measure))
    found = pd.concat(frames, ignore_index=True)
    found = found[found["part"].isin(TEST_PARTS)]
    return found[["run", "part", "measure", "system", "value", "ci_low", "ci_high", "n"]]


def best_retriever(summary: pd.DataFrame) -> str | None:
    """The retriever with the highest recall@1 in a summary of one part, the first of equals; None where none is."""
    rows = summary[(summary["metric"] == "recall@1") & summary["system"].isin(RETRIEVERS)].dropna(subset=["value"])
    rows = rows.set_index("system")["value"].reindex([name for name in RETRIEVERS if name in set(rows["system"])])
    return None if rows.empty else str(rows.idxmax())


def size_groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in nothing but how much of a corpus they take, of two sizes at least, the smaller first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        values = {
            key: value for key, value in flat(run.params).items() if key not in SIZE and not key.startswith(ASIDE)
        }
        groups.setdefault(str(values), []).append(run)
    sorted_groups = (sorted(group, key=lambda run: run.size) for group in groups.values())
    return [group for group in sorted_groups if len({run.size for run in group}) > 1]


def size_curves(group: Sequence[Run]) -> pd.DataFrame:
    """What each of the systems compared finds and costs: documents, system, what, value, ci_low, ci_high, n.

    `what` is recall@1 with its part behind it, or one of COSTS, which have no interval.
    """
    frames = []
    for run in group:
        found = run.summary[(run.summary["metric"] == "recall@1") & run.summary["part"].isin(TEST_PARTS)]
        frames.append(found.assign(what="recall@1, " + found["part"], documents=run.size))
        for cost, unit in COSTS.items():
            frames.append(run.costs.assign(what=cost, value=run.costs[cost] / unit, documents=run.size))
    curves = pd.concat(frames, ignore_index=True)
    curves = curves[curves["system"].isin(COMPARED) & (curves["n"] > 0)]
    return curves[["documents", "system", "what", "value", "ci_low", "ci_high", "n"]]


def model_groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs with a language model on one corpus, where there is more than one model."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.params.has_lm:
            groups.setdefault(tuple(flat(run.params)[key] for key in SAME_CORPUS), []).append(run)
    return [group for group in groups.values() if len({model_name(run) for run in group}) > 1]


def model_name(run: Run) -> str:
    """A run's model and its number of weights."""
    many, name = weights(run.params), without_places(flat(run.params))["lm.name"]
    return name if many is None else f"{name}, {spoken_count(many)} weights"


def spoken_count(number: float) -> str:
    """A large number as one says it: 2.1 M, 494 M, 3.1 B."""
    size, unit = (number / 1e9, "B") if number >= 1e9 else (number / 1e6, "M")
    return f"{size:.0f} {unit}" if size >= 99.5 else f"{size:.1f} {unit}"


def parameters(runs: Sequence[Run]) -> tuple[pd.DataFrame, set[str]]:
    """Parameters by runs, those in which the runs differ first, and the names of these; the runs' own names apart."""
    columns: dict[str, dict[str, Any]] = {run.name: flat(run.params) for run in runs}
    names = [name for name in next(iter(columns.values())) if name != "run"]
    differ = [name for name in names if len({repr(values[name]) for values in columns.values()}) > 1]
    shown = {run: without_places(values) for run, values in columns.items()}
    order = differ + [name for name in names if name not in differ]
    return pd.DataFrame({run: [values[name] for name in order] for run, values in shown.items()}, index=order), set(
        differ
    )

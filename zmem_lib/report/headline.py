"""What page one shows, as data frames: the headline table, what each system costs step by step, the main systems.

Takes the tables summary, pairs, costs and write_curve of a run, or those that results/ keeps of one. Nothing is worded
here: the columns are names of measures, the marks are those of the tests of pairs.py.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from zmem_lib.evaluation.stats import LEVEL
from zmem_lib.files import read_json
from zmem_lib.params import Params
from zmem_lib.tables import COMPARED, MEASURES, SYSTEMS, TEST_PARTS, in_order

BESIDE = ("zmem-oracle", "zmem-shuffled", "gold-passage", "closed-book")  # the main controls
MAIN = ("zmem", "zmem-oracle", "bm25", "dense", "hybrid")  # of the plots
MOST_DRAWN = 7
MARKS = {"better": "▲", "worse": "▼", "same": "="}  # beside another system's value: better than the reference, ...
TOKENS = "evidence_tokens"


def reference(summary: pd.DataFrame) -> str:
    """The system that all others are held against: z-memory, or BM25 in a run that has no memory."""
    return "zmem" if (summary["system"] == "zmem").any() else "bm25"


def headline(summary: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Every compared system and the main controls, in long form: one row for each system, part and measure.

    Columns: system, part, metric (MEASURES and evidence_tokens), value, ci_low, ci_high, n, mark (of MARKS, by the
    test of its pair with `reference`, corrected after Holm; empty where none was made).
    """
    rows = summary[summary["part"].isin(TEST_PARTS) & summary["metric"].isin((*MEASURES, TOKENS))]
    rows = rows[rows["system"].isin((*COMPARED, *BESIDE)) & (rows["n"] > 0)]
    marks = marks_of(pairs, reference(summary))
    found = [marks.get((row.part, row.metric, row.system), "") for row in rows.itertuples()]
    rows = rows.assign(mark=pd.Series(found, index=rows.index, dtype=str))
    order = {"system": SYSTEMS, "part": TEST_PARTS, "metric": (*MEASURES, TOKENS)}
    ranks = {name: rows[name].map(places.index) for name, places in order.items()}
    return rows.iloc[np.lexsort([ranks["metric"], ranks["part"], ranks["system"]])].reset_index(drop=True)


def marks_of(pairs: pd.DataFrame, system: str) -> dict[tuple[str, str, str], str]:
    """By part, measure and other system: whether the other is better than `system`, worse, or not told apart."""
    marks = {}
    for row in pairs[(pairs["first"] == system) | (pairs["second"] == system)].itertuples():
        other, gap = (row.second, -row.value) if row.first == system else (row.first, row.value)
        side = "same" if row.p_holm >= 1 - LEVEL else "better" if gap > 0 else "worse"
        marks[row.part, row.metric, other] = MARKS[side]
    return marks


def evidence_items(params: Params) -> dict[str, float]:
    """Evidence items that each system hands the reader for a question; NaN: as many as fit."""
    items = dict.fromkeys(COMPARED, float(params.answer.top_k))
    given = {"zmem-oracle": 1.0, "zmem-shuffled": 1.0, "gold-passage": 1.0, "closed-book": 0.0, "long-context": np.nan}
    return items | given


def costs_by_step(
    costs: pd.DataFrame, summary: pd.DataFrame, write_curve: pd.DataFrame, *, train_seconds: float, start: str
) -> pd.DataFrame:
    """What each compared system and main control costs: one row each, NaN where nothing was measured.

    Columns: system, train_seconds (chapter 03, of the model that reranks too where it learned there), write_seconds
    (per new document, from the start `start`), index_seconds, answer_seconds (per question), bytes_stored,
    peak_memory_bytes, input_tokens, output_tokens (per question), money (dollars per question), n (questions).
    """
    rows = costs[costs["system"].isin((*COMPARED, *BESIDE))].set_index("system")
    rows = rows.loc[in_order(pd.Series(rows.index, dtype=str), SYSTEMS)]
    remembers = np.array([uses_memory(system) for system in rows.index], dtype=bool)
    learned = (rows.index == "lm-rerank") & (rows["build_seconds"] >= train_seconds)  # its model, in chapter 03
    built = rows["build_seconds"].where(~remembers) - np.where(learned, train_seconds, 0.0)
    table = pd.DataFrame(
        {
            "train_seconds": np.where(remembers | learned, train_seconds, np.nan),
            "write_seconds": np.where(remembers, write_seconds(write_curve, start), np.nan),
            "index_seconds": built.where(built > 0),
            "answer_seconds": rows["seconds_per_question"],
            "bytes_stored": rows["bytes_stored"].astype(float),
            "peak_memory_bytes": rows["peak_memory_bytes"].astype(float),
            "input_tokens": mean_tokens(summary, "input_tokens").reindex(rows.index),
            "output_tokens": mean_tokens(summary, "output_tokens").reindex(rows.index),
            "money": rows["money_per_question"],
            "n": rows["n"],
        }
    )
    return table.rename_axis("system").reset_index()


def uses_memory(system: str) -> bool:
    """Whether a system needs the trained table of z or its keys."""
    return system.startswith("zmem") or system == "text-twin"


def write_seconds(write_curve: pd.DataFrame, start: str) -> float:
    """Seconds in which a new document was written, its start included; NaN where none was."""
    mine = write_curve[write_curve["start"] == start]
    return float(mine.loc[mine["step"].idxmax(), "seconds_per_document"]) if len(mine) else np.nan


def mean_tokens(summary: pd.DataFrame, metric: str) -> pd.Series:
    """The mean of a count of tokens over all test questions, by system."""
    rows = summary[(summary["metric"] == metric) & summary["part"].isin(TEST_PARTS) & (summary["n"] > 0)]
    sums = rows.assign(total=rows["value"] * rows["n"]).groupby("system")[["total", "n"]].sum()
    return sums["total"] / sums["n"]


def train_seconds(folder: Path) -> float:
    """Seconds of chapter 03 of the run in a folder; NaN where it was not executed."""
    path = folder / "manifest_03.json"
    return float(read_json(path)["seconds"]) if path.is_file() else np.nan


def main_systems(summary: pd.DataFrame, most: int = MOST_DRAWN) -> list[str]:
    """The systems that page one draws: the main ones, and those of the others that find or answer most."""
    there = in_order(summary.loc[summary["part"].isin(TEST_PARTS), "system"], SYSTEMS)
    main = [system for system in MAIN if system in there]
    others = [system for system in there if system in COMPARED and system not in main]
    scores = strengths(summary)
    others.sort(key=lambda system: -scores.get(system, 0.0))
    chosen = {*main, *others[: max(0, most - len(main))]}
    return [system for system in SYSTEMS if system in chosen]


def strengths(summary: pd.DataFrame) -> Mapping[str, float]:
    """The mean of recall@1 and exact match over the parts, by system: what the plots choose by."""
    rows = summary[summary["metric"].isin(["recall@1", "em"]) & summary["part"].isin(TEST_PARTS)]
    return rows.groupby("system")["value"].mean().to_dict()

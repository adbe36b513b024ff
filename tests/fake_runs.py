"""Finished runs that nobody executed: tables and manifests of the chapters 01 to 06, with chosen values."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd

from zmem_lib.chapters import finish_step, start_step
from zmem_lib.params import Params
from zmem_lib.runs.pipeline import run_chapters, write_params
from zmem_lib.tables import CONTEXTS, TABLES, write_table

SYSTEMS = ("zmem", "zmem-oracle", "zmem-shuffled", "bm25", "dense", "gold-passage", "closed-book")
SECRET = "Ada Lind lives in Lund"  # stands for the text of a document
MADE_IN = {
    "train_log": 3, "damage": 3, "costs": 5, "noise": 6, "summary": 6, "write_curve": 6, "failures": 6, "selectors": 6,
    "right_z": 6, "abstention": 6, "pairs": 6, "scores": 6, "primary": 6, "contexts": 6,
}  # fmt: skip


def fake_run(params: Params, runs: Path, *, value: float = 0.5) -> Path:
    """Leave in runs/params.run what the chapters would; every metric of every system and part has the same value."""
    folder = runs / params.run
    write_params(params, folder)
    for number in range(1, 7):
        step = start_step(number, params, runs)
        names = [name for name, chapter in MADE_IN.items() if chapter == number]
        for name in names:
            rows = pd.DataFrame(made_up(value)[name], columns=list(TABLES[name]))
            write_table(rows, folder / f"{name}.parquet", name)
        finish_step(step, [], [f"{name}.parquet" for name in names])
    return folder


def made_up(value: float) -> dict[str, list[tuple]]:
    metrics = ("em", "f1", "answer_in_evidence", "recall@1", "mrr@10", "seconds")
    parts = ("seen", "rephrased", "unasked", "new")
    places = [(system, part, metric) for system in SYSTEMS for part in parts for metric in metrics]
    curve = [("mean", step, 0.1, 2.0, "answer_in_evidence", value, 0.0, 1.0, 30, 15) for step in (0, 1, 20)]
    return {
        "train_log": [(step, "evidence", "train", 1.0 + step, 0.1) for step in range(250)],
        "costs": [(system, 0.0, 0.0, 1.0, *[0.03] * 3, 0.1, *[1000] * 4, 2000, 0.0, 10) for system in SYSTEMS],
        "summary": [(*place, value, value - 0.1, value + 0.1, 40, 20) for place in places],
        "write_curve": curve,
        "damage": [("before", 9.0, 8.0, 10.0, 64, 64)],
        "noise": [("zmem", "seen", "changed answer", 0.2, "em", value, value - 0.1, value + 0.1, 40, 20)],
        "selectors": [
            ("key", "seen", name, value, value - 0.1, value + 0.1, 40, 20) for name in ("recall@1", "seconds")
        ],
        "pairs": [
            ("seen", "em", "zmem", "bm25", value, value - 0.1, value + 0.1, 40, 20, 0.01, 0.02, 0.1, "exploratory")
        ],
        "primary": [
            ("zmem", "seen", "bm25", "seen", "recall@1", 0.1, 0.0, 0.2, 40, 20, 0.01, 0.02, 0.1, 0.3, 0.05, 0.2),
            ("zmem", "new", "bm25", "new", "recall@1", *[np.nan] * 3, 0, 0, *[np.nan] * 4, 0.05, np.nan),
        ],
        "contexts": [("seen", "zmem", "gold-passage", CONTEXTS[0], value, value - 0.1, value + 0.1, 40, 20)],
        "right_z": [("seen", "gold+sentence", "retention", value, value - 0.1, value + 0.1, 40, 20)],
        "abstention": [("zmem", "seen", "margin", "auroc", value, value - 0.1, value + 0.1, 40, 20)],
        "scores": [
            (f"q{i}", system, part, "", metric, value - 0.2 * (part == "new"), f"person-{i % 20}")
            for system, part, metric in places
            if part in ("seen", "new")
            for i in range(40)
        ],
        "failures": [(SECRET, "zmem", "seen", kind) for kind in ("right", "right", "wrong z")],
    }


def executor(values: Callable[[Params], float], called: list[str]) -> Callable[..., Path]:
    """What stands in for pipeline.run_chapters: notes the run's name and fakes it with the value of its parameters."""

    def execute(params: Params, runs: Path, *, last: int, say: Callable[[str], None]) -> Path:
        assert last == 6
        signature(run_chapters).bind(params, runs, last=last, say=say)  # the driver takes this call too
        called.append(params.run)
        return fake_run(params, runs, value=values(params))

    return execute

"""Page one's data frames on kept runs: marks, costs by step, the systems that are drawn."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zmem_lib.params import read_params
from zmem_lib.report.headline import (
    BESIDE,
    costs_by_step,
    evidence_items,
    headline,
    main_systems,
    marks_of,
    train_seconds,
)
from zmem_lib.report.results import read_kept
from zmem_lib.tables import COMPARED, MEASURES, SYSTEMS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kept():
    folder = ROOT / "results/runs/sleepqa"
    return {name: read_kept(folder, name) for name in ("summary", "pairs", "costs", "write_curve")}


def test_the_headline_has_every_compared_system_and_marks_those_that_the_test_tells_apart(kept):
    rows = headline(kept["summary"], kept["pairs"])
    systems = list(dict.fromkeys(rows["system"]))
    assert systems == [name for name in SYSTEMS if name in systems] and set(systems) <= {*COMPARED, *BESIDE}
    assert set(rows["metric"]) == {*MEASURES, "evidence_tokens"} and set(rows["part"]) == {"unasked-document", "new"}
    at = rows.set_index(["system", "part", "metric"])["mark"]
    assert at["bm25", "unasked-document", "recall@1"] == "▲" and at["bm25", "unasked-document", "em"] == "="
    assert at["text-twin", "unasked-document", "recall@1"] == "="
    assert (rows.loc[rows["system"].isin(["zmem", *BESIDE]), "mark"] == "").all()
    assert (rows["n"] > 0).all() and rows[["ci_low", "ci_high"]].notna().all().all()


def test_marks_are_of_the_other_system_and_by_holm_alone():
    row = {"part": "seen", "metric": "em", "first": "zmem", "value": 0.3, "p": 0.001, "p_holm": 0.2}
    pairs = pd.DataFrame([row | {"second": "bm25"}, row | {"second": "dense", "p_holm": 0.01}])
    assert marks_of(pairs, "zmem") == {("seen", "em", "bm25"): "=", ("seen", "em", "dense"): "▼"}
    assert marks_of(pairs, "dense") == {("seen", "em", "zmem"): "▲"}


def test_costs_say_what_was_measured_and_nothing_else(kept):
    costs = costs_by_step(kept["costs"], kept["summary"], kept["write_curve"], train_seconds=100.0, start="mean")
    at = costs.set_index("system")
    assert at.at["zmem", "train_seconds"] == 100 and pd.isna(at.at["zmem", "index_seconds"])
    curve = kept["write_curve"].query("start == 'mean'")
    assert at.at["zmem", "write_seconds"] == curve.loc[curve["step"].idxmax(), "seconds_per_document"]
    assert pd.isna(at.at["bm25", "train_seconds"]) and pd.isna(at.at["bm25", "write_seconds"])
    assert at.at["bm25", "index_seconds"] == pytest.approx(0.299629)
    ordered = kept["costs"].assign(system=kept["costs"]["system"].replace("hybrid", "lm-rerank"))
    ordered.loc[ordered["system"] == "lm-rerank", "build_seconds"] = 107.0
    taught, untaught = (
        costs_by_step(ordered, kept["summary"], kept["write_curve"], train_seconds=seconds, start="mean")
        .set_index("system")
        .loc["lm-rerank", ["train_seconds", "index_seconds"]]
        for seconds in (100.0, 200.0)
    )
    assert list(taught) == [100, 7] and untaught["index_seconds"] == 107 and pd.isna(untaught["train_seconds"])
    assert pd.isna(at.at["closed-book", "index_seconds"]) and at.at["closed-book", "bytes_stored"] == 0
    assert at["money"].eq(0).all() and at["input_tokens"].gt(0).all()
    unwritten = costs_by_step(
        kept["costs"], kept["summary"], kept["write_curve"].iloc[:0], train_seconds=np.nan, start="mean"
    )
    assert unwritten["write_seconds"].isna().all() and unwritten["train_seconds"].isna().all()


def test_few_systems_are_drawn_and_the_best_of_the_others_are_among_them(kept):
    drawn = main_systems(kept["summary"])
    assert drawn == ["zmem", "zmem-oracle", "bm25", "bm25-asked", "dense", "hybrid-rrf", "hybrid"]
    assert main_systems(kept["summary"], most=5) == ["zmem", "zmem-oracle", "bm25", "dense", "hybrid"]


def test_every_compared_system_has_the_same_number_of_items():
    items = evidence_items(read_params(ROOT / "params/tiny.yaml", ["answer.top_k=3", "memory.evidence_tokens=40"]))
    assert {items[name] for name in COMPARED if name != "long-context"} == {3.0}
    assert items["closed-book"] == 0 and items["gold-passage"] == 1 and np.isnan(items["long-context"])


def test_seconds_of_training_come_from_its_manifest(tmp_path):
    assert np.isnan(train_seconds(tmp_path))
    (tmp_path / "manifest_03.json").write_text('{"seconds": 12.5}')
    assert train_seconds(tmp_path) == 12.5

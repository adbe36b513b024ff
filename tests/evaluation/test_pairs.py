"""Every pair of compared systems: the table, its families of tests, what the page says of them."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest

from zmem_lib.evaluation.pairs import experiment, pair_table
from zmem_lib.evaluation.scoring import summarise
from zmem_lib.files import BadInput
from zmem_lib.report.chapter_tables import pair_tables
from zmem_lib.report.findings import compare
from zmem_lib.tables import TABLES

SHARES = {"zmem": 0.5, "bm25": 0.9, "dense": 0.52, "gold-passage": 1.0}
N = 100


@pytest.fixture(scope="module")
def scores():
    order = np.random.default_rng(0).permutation(N)
    rows = [
        (f"q{i}", system, "seen", "", metric, float(order[i] < share * N), f"d{i}")
        for system, share in SHARES.items()
        for metric in ("em", "seconds")
        for i in range(N)
    ]
    rows += [(f"n{i}", "zmem", "new", "", "em", 1.0, f"n{i}") for i in range(5)]
    return pd.DataFrame(rows, columns=list(TABLES["scores"]))


def test_pairs_are_those_of_compared_systems_over_the_same_questions(scores):
    pairs = pair_table(scores, 200, seed=1)
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [
        ("zmem", "bm25"),
        ("zmem", "dense"),
        ("bm25", "dense"),
    ], "no control, no part with one system, no measure of cost"
    assert pairs["value"].tolist() == pytest.approx([-0.4, -0.02, 0.38])
    assert (pairs["n"] == N).all() and (pairs["ci_low"] <= pairs["value"]).all()
    assert pairs["p"].tolist() == pytest.approx([1e-4, 0.5, 1e-4], abs=0.02)
    assert pairs["p_holm"].tolist() == pytest.approx([3e-4, 0.5, 3e-4], abs=0.02), "three tests are one family"


def four_questions(metric="f1", **values):
    """Scores of systems, each with its values for the same four questions; None where it did not answer."""
    rows = [
        (f"q{i}", system, "seen", "", metric, value, f"d{i}")
        for system, four in values.items()
        for i, value in enumerate(four)
        if value is not None
    ]
    return pd.DataFrame(rows, columns=list(TABLES["scores"]))


def test_an_experiment_holds_every_system_against_the_baseline():
    """By hand: of the 16 signs of 1, 1, 1, 1 two give so large a sum, of 1, 0, 0, 0 all; holm doubles the smaller p."""
    f1 = four_questions(dense=[1.0, 0.0, 0.0, 0.0], bm25=[0.0] * 4, zmem=[1.0] * 4)
    found = four_questions("recall@1", bm25=[1.0, 0.0, 1.0, 0.0], dense=[1.0, 1.0, 1.0, None])
    table = experiment(pd.concat([f1, found]), ["f1", "recall@1"], baseline="bm25", correction="holm")
    assert list(table.index) == ["bm25", "zmem", "dense"] and list(table) == [
        (metric, what)
        for metric in ("f1", "recall@1")
        for what in ("mean", "difference", "low", "high", "p", "n", "clusters")
    ]
    assert table["f1"].loc["zmem", ["mean", "difference", "low", "high"]].tolist() == [1.0] * 4
    assert table["f1"]["mean"].tolist() == [0.0, 1.0, 0.25] and (table["f1"]["n"] == 4).all()
    assert table["f1"]["p"].tolist() == pytest.approx([np.nan, 0.25, 1.0], abs=0.02, nan_ok=True)
    assert table["f1"].loc["bm25", ["difference", "low", "high"]].isna().all(), "none with itself"
    ranked = table["recall@1"]
    assert ranked.loc["dense", ["mean", "n"]].tolist() == [1.0, 3] and ranked.loc["bm25", "mean"] == 2 / 3
    assert np.isnan(ranked.loc["zmem", "mean"]), "it ranked nothing"
    for correction, p in (("bonferroni", 0.25), ("none", 0.125)):
        again = experiment(f1, ["f1"], correction=correction)
        assert again["f1"].loc["zmem", "p"] == pytest.approx(p, abs=0.02)


def test_an_experiment_says_which_baseline_or_correction_there_is():
    f1 = four_questions(zmem=[1.0] * 4, dense=[0.0] * 4)
    with pytest.raises(BadInput, match="baseline 'bm25' has no f1 in these scores: choose from zmem, dense"):
        experiment(f1, ["f1"])
    with pytest.raises(BadInput, match="no correction 'fdr': choose from holm, bonferroni, none"):
        experiment(f1, ["f1"], baseline="zmem", correction="fdr")
    assert list(experiment(f1[f1["system"] == "zmem"], ["f1"], baseline="zmem")["f1"]["mean"]) == [1.0]


def test_questions_that_only_one_system_answered_are_left_out(scores):
    missing = scores[~((scores["system"] == "bm25") & scores["question_id"].isin(["q0", "q1"]))]
    assert (pair_table(missing, 50, seed=1)["n"] == N - 2).all()
    assert pair_table(scores[scores["system"] == "zmem"], 50, seed=1).empty


def test_the_matrix_is_row_minus_column_and_bold_where_told_apart(scores):
    html = pair_tables(pair_table(scores, 50, seed=1)).data
    (table,) = pd.read_html(StringIO(html), index_col=0)
    assert table.loc["zmem", "bm25"] == "−40" and int(table.loc["bm25", "zmem"]) == 40
    assert pd.isna(table.loc["zmem", "zmem"])
    assert html.count("font-weight: bold") == 1 and "p &lt; 0.05 after Holm for the 3 exploratory pairs" in html
    bold = html.split("{\n  font-weight: bold")[0].split("<style")[-1]
    assert "row0_col1" in bold and "row1_col0" in bold and "row0_col2" not in bold


def test_the_sentence_says_who_is_better_who_worse_and_what_n_could_show(scores):
    summary, pairs = summarise(scores, 50, seed=1), pair_table(scores, 50, seed=1)
    said = compare(summary, pairs, "seen")
    assert said.startswith(
        "**Answers, seen documents** (n = 100 from 100 documents; exploratory permutation tests, Holm"
    )
    assert "Holm over 3 pairs). z-memory answers" in said
    assert "exactly: worse than BM25 (−0.40 [" in said and "; not told apart from dense retrieval (−0.02 [" in said
    assert said.endswith("So many documents show a difference of 0.05 to 0.16 in 80 % of all studies.")
    assert compare(summary, pairs, "new") == ""
    assert "So many documents" not in compare(summary, pairs.assign(detectable=float("nan")), "seen")
    assert "a difference of more than 1 in" in compare(summary, pairs.assign(detectable=float("inf")), "seen")
    turned = scores.replace({"system": {"zmem": "bm25", "bm25": "zmem"}})
    said = compare(summarise(turned, 50, seed=1), pair_table(turned, 50, seed=1), "seen")
    assert "better than BM25 (+0.40 [" in said and "Most right" not in said

"""Every pair of compared systems: the table, its families of tests, what the page says of them."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest

from zmem_lib.evaluation.pairs import pair_table
from zmem_lib.evaluation.scoring import summarise
from zmem_lib.report.chapter_tables import pair_tables
from zmem_lib.report.findings import compare
from zmem_lib.tables import TABLES

SHARES = {"zmem": 0.5, "bm25": 0.9, "dense": 0.52, "gold-passage": 1.0}
N = 100


@pytest.fixture(scope="module")
def scores():
    order = np.random.default_rng(0).permutation(N)
    rows = [
        (f"q{i}", system, "seen", "", metric, float(order[i] < share * N))
        for system, share in SHARES.items()
        for metric in ("em", "seconds")
        for i in range(N)
    ]
    rows += [(f"n{i}", "zmem", "new", "", "em", 1.0) for i in range(5)]
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


def test_questions_that_only_one_system_answered_are_left_out(scores):
    missing = scores[~((scores["system"] == "bm25") & scores["question_id"].isin(["q0", "q1"]))]
    assert (pair_table(missing, 50, seed=1)["n"] == N - 2).all()
    assert pair_table(scores[scores["system"] == "zmem"], 50, seed=1).empty


def test_the_matrix_is_row_minus_column_and_bold_where_told_apart(scores):
    html = pair_tables(pair_table(scores, 50, seed=1)).data
    (table,) = pd.read_html(StringIO(html), index_col=0)
    assert table.loc["zmem", "bm25"] == "−40" and int(table.loc["bm25", "zmem"]) == 40
    assert pd.isna(table.loc["zmem", "zmem"])
    assert html.count("font-weight: bold") == 1 and "p &lt; 0.05 after Holm for all 3 pairs" in html
    bold = html.split("{\n  font-weight: bold")[0].split("<style")[-1]
    assert "row0_col1" in bold and "row1_col0" in bold and "row0_col2" not in bold


def test_the_sentence_says_who_is_better_who_worse_and_what_n_could_show(scores):
    summary, pairs = summarise(scores, 50, seed=1), pair_table(scores, 50, seed=1)
    said = compare(summary, pairs, "seen")
    assert said.startswith(
        "**Answers, seen documents** (n = 100; permutation tests, Holm over 3 pairs). z-memory answers"
    )
    assert "exactly: worse than BM25 (−0.40 [" in said and "; not told apart from dense retrieval (−0.02 [" in said
    assert said.endswith("So many questions show a difference of 0.05 to 0.16 in 80 % of all studies.")
    assert compare(summary, pairs, "new") == ""
    assert "So many questions" not in compare(summary, pairs.assign(detectable=float("nan")), "seen")
    assert "a difference of more than 1 in" in compare(summary, pairs.assign(detectable=float("inf")), "seen")
    turned = scores.replace({"system": {"zmem": "bm25", "bm25": "zmem"}})
    said = compare(summarise(turned, 50, seed=1), pair_table(turned, 50, seed=1), "seen")
    assert "better than BM25 (+0.40 [" in said and "Most right" not in said

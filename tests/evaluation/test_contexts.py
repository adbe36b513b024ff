"""MIRAGE's measures, against its code's rules worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from zmem_lib.evaluation.metrics import accuracy, em_loose, em_strict, f1_all
from zmem_lib.evaluation.pairs import context_table
from zmem_lib.report.chapter_tables import context_overview
from zmem_lib.tables import CONTEXTS, TABLES


@pytest.mark.parametrize(
    ("answer", "golds", "loose", "strict", "f1", "accurate"),
    [
        ("Paris", ["paris"], 1, 1, 1.0, 0),
        ("It is Paris.", ["Paris"], 1, 0, 0.0, 1),  # its F1 keeps the full stop
        ("the paris", ["Paris"], 1, 0, 2 / 3, 0),
        ("New York City", ["New York", "NYC"], 1, 0, 2 * 2 / (3 + 3), 1),  # all aliases' words together
        ("the the cat", ["the cat"], 1, 0, 1.0, 1),  # distinct words
        ("", ["Paris"], 0, 0, 0.0, 0),
        ("Paris", [], 0, 0, 0.0, 0),
        ("Parisian", ["Paris"], 1, 0, 0.0, 1),  # part of a word counts
        ("서울에서", ["서울"], 1, 0, 0.0, 1),
        ("", [""], 1, 1, 0.0, 1),  # an empty alias is part of every answer
        ("PARIS", ["x", "Paris", "paris"], 1, 1, 2 / 3, 0),  # 1 of 1 word, of 2 distinct ones
        ("Straße", ["STRASSE"], 0, 0, 0.0, 0),  # lower case, not case folding
        ("Paris, France", ["Paris France"], 0, 0, 2 * 1 / 4, 0),  # punctuation stays
        ("a b", ["A  B"], 0, 0, 1.0, 0),  # F1 splits at any space
    ],
)
def test_answers_are_counted_as_mirage_and_self_rag_do(answer, golds, loose, strict, f1, accurate):
    assert (em_loose(answer, golds), em_strict(answer, golds), accuracy(answer, golds)) == (loose, strict, accurate)
    assert f1_all(answer, golds) == pytest.approx(f1)


def test_every_question_is_of_exactly_one_of_the_four():
    named = []
    for b, o, m in np.ndindex(2, 2, 2):  # 000, 001, 010, ...
        table = context_table(scores_of(closed_book=[b], gold_passage=[o], bm25=[m]), 10, seed=1)
        assert len(table) == 4 and sorted(table["value"]) == [0.0, 0.0, 0.0, 1.0]
        named.append(table.loc[table["value"].idxmax(), "metric"].split()[-1])
    assert named == ["insensitivity"] * 2 + ["vulnerability", "acceptability"] + ["misinterpretation"] * 2 + [
        "vulnerability",
        "acceptability",
    ]


def scores_of(**right):
    rows = [
        (f"q{i}", system.replace("_", "-"), "seen", "", "em_loose", float(value), f"d{i}")
        for system, values in right.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=list(TABLES["scores"]))


def test_shares_by_system_and_right_context():
    scores = scores_of(
        closed_book=[1, 0, 0, 0],
        gold_passage=[0, 0, 1, 1],
        zmem_oracle=[1, 1, 1, 0],
        zmem=[0, 0, 1, 0],
        bm25=[0, 0, 1, 1],
    )
    table = context_table(scores, 50, seed=1)
    found = table.pivot(index=["system", "right"], columns="metric", values="value")[list(CONTEXTS)]
    assert found.loc[("bm25", "gold-passage")].tolist() == [0.0, 0.5, 0.25, 0.25]
    assert found.loc[("zmem", "gold-passage")].tolist() == [0.25, 0.25, 0.25, 0.25]
    assert found.loc[("zmem", "zmem-oracle")].tolist() == [0.5, 0.25, 0.25, 0.0]
    assert len(found) == 3 and (table["n"] == 4).all()
    html = context_overview(table).data
    assert html.index("noise vulnerability") < html.index("context misinterpretation") and "0.25<br>" in html


def test_without_closed_book_or_the_right_context_there_is_nothing():
    assert context_table(scores_of(zmem=[1], gold_passage=[1]), 10, seed=1).empty
    assert context_table(scores_of(zmem=[1], closed_book=[1]), 10, seed=1).empty

"""Fusion of two rankings, by hand."""

import json

import pandas as pd
import pytest

from zmem_lib.opponents.fusion import (
    CONSTANT,
    WEIGHT_FILE,
    WEIGHTS,
    best_weight,
    choose_weight,
    reciprocal_ranks,
    stretched,
    try_weights,
    weighted_sum,
)
from zmem_lib.opponents.retrieve import build_bm25

FIRST = ([["a", "b", "c"], ["x"]], [[9.0, 8.0, 1.0], [3.0]])
SECOND = ([["b", "d"], ["y", "x"]], [[0.6, 0.2], [0.9, 0.4]])


def test_reciprocal_ranks_by_hand():
    ids, scores = reciprocal_ranks(FIRST, SECOND, 3)
    assert ids == [["b", "a", "d"], ["x", "y"]]
    assert scores[0] == pytest.approx([1 / (CONSTANT + 2) + 1 / (CONSTANT + 1), 1 / (CONSTANT + 1), 1 / (CONSTANT + 2)])


def test_weighted_sum_by_hand():
    ids, scores = weighted_sum(FIRST, SECOND, 0.25, 4)
    assert ids == [["b", "a", "c", "d"], ["x", "y"]], "equal ones in the order of the first ranking"
    assert scores[0] == pytest.approx([0.75 * 7 / 8 + 0.25, 0.75, 0.0, 0.0])
    assert scores[1] == pytest.approx([0.75, 0.25])
    assert weighted_sum(FIRST, SECOND, 0.0, 2)[0][0] == ["a", "b"]
    assert weighted_sum(FIRST, SECOND, 1.0, 1)[0] == [["b"], ["y"]]


def test_scores_of_one_size_and_none():
    assert stretched([4.0, 2.0, 0.0]) == [1.0, 0.5, 0.0]
    assert stretched([2.0, 2.0]) == [1.0, 1.0] and stretched([]) == []
    assert weighted_sum(([[]], [[]]), ([["a"]], [[0.3]]), 0.5, 5) == ([["a"]], [[0.5]])


def test_the_weight_is_the_best_on_dev_questions():
    right, wrong = ([["g", "o"]] * 4, [[1.0, 0.0]] * 4), ([["o", "g"]] * 4, [[1.0, 0.0]] * 4)
    tried = try_weights(wrong, right, [["g"]] * 4)
    assert list(tried["weight"]) == list(WEIGHTS)
    assert tried.loc[tried["weight"] < 0.5, "recall@1"].eq(0).all()
    assert tried.loc[tried["weight"] > 0.5, "recall@1"].eq(1).all()
    assert best_weight(tried) == pytest.approx(0.8), "the middle of those that are as good"
    same = try_weights(right, right, [["g"]] * 4)
    assert best_weight(same) == pytest.approx(0.5)


def test_the_weight_is_written_and_without_dev_questions_both_count_alike(tmp_path, monkeypatch):
    monkeypatch.setattr("zmem_lib.opponents.fusion.rank_dense", lambda *_: ([["g", "o"]] * 3, [[0.9, 0.1]] * 3))
    index = build_bm25(["g", "o", "p"], ["a b", "c d", "e f"], tokens="words")
    dev = pd.DataFrame({"question": ["c", "c", "d"], "gold_doc_ids": [["g"]] * 3})
    tried = choose_weight(dev, index, None, None, folder=tmp_path, seed=1)
    written = json.loads((tmp_path / WEIGHT_FILE).read_text())
    assert written["n"] == 3 and written["weight"] == best_weight(tried) > 0.5
    monkeypatch.setattr("zmem_lib.opponents.fusion.rank_dense", lambda *_: ([], []))
    assert best_weight(choose_weight(dev[:0], index, None, None, folder=tmp_path, seed=1)) == 0.5

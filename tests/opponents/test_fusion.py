"""Fusion of two rankings, by hand."""

import pandas as pd
import pytest

from zmem_lib.evaluation.metrics import retrieval_scores
from zmem_lib.opponents.fusion import (
    CONSTANT,
    WEIGHTS,
    choose_weight,
    reciprocal_ranks,
    stretched,
    weighted_sum,
)

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


def test_a_reranker_is_a_second_ranking_of_the_first_ones_beginning():
    first, second = ([["a", "b", "c"]], [[10.0, 5.0, 0.0]]), ([["b", "a"]], [[-1.0, -9.0]])
    assert weighted_sum(first, second, 0.3, 3)[0] == [["a", "b", "c"]], "b is ahead from a third on: .7 < .35 + .3"
    ids, scores = weighted_sum(first, second, 0.5, 3)
    assert ids == [["b", "a", "c"]]
    assert scores[0] == pytest.approx([0.5 * 0.5 + 0.5 * 1.0, 0.5, 0.0])


def test_the_weight_is_the_best_on_dev_questions():
    right, wrong = ([["g", "o"]] * 4, [[1.0, 0.0]] * 4), ([["o", "g"]] * 4, [[1.0, 0.0]] * 4)
    chosen, tried = choose_weight(wrong, right, [["g"]] * 4)
    assert list(tried["weight"]) == list(WEIGHTS)
    assert tried.loc[tried["weight"] < 0.5, "recall@1"].eq(0).all()
    assert tried.loc[tried["weight"] > 0.5, "recall@1"].eq(1).all()
    assert chosen == pytest.approx(0.8), "the middle of those that are as good"
    assert choose_weight(right, right, [["g"]] * 4)[0] == pytest.approx(0.5)


def test_without_dev_questions_both_count_alike():
    chosen, tried = choose_weight(([], []), ([], []), [])
    assert chosen == 0.5
    assert tried[["recall@1", "mrr@10"]].isna().all(axis=None)


def test_weights_are_tried_by_the_measures_of_the_field():
    gold = [["c"], ["y", "q"], ["nowhere"]]
    first = ([*FIRST[0], ["a", "b"]], [*FIRST[1], [2.0, 1.0]])
    second = ([*SECOND[0], ["b", "c"]], [*SECOND[1], [2.0, 1.0]])
    tried = choose_weight(first, second, gold)[1].set_index("weight")
    for weight in WEIGHTS:
        ranked = weighted_sum(first, second, weight, 10)[0]
        rows = pd.DataFrame({"question_id": ["0", "1", "2"], "gold_doc_ids": gold, "ranked_doc_ids": ranked})
        means = retrieval_scores(rows).groupby("metric")["value"].mean()
        assert tried.loc[weight].to_dict() == pytest.approx({name: means[name] for name in ("recall@1", "mrr@10")})

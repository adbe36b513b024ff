"""RAGChecker's and RAGBench's figures against cases worked by hand, and what must hold of any."""

import numpy as np
import pytest

from zmem_lib.judges.figures import CHECKER, TRACE, checker, keyed, trace


def matrix(rows, columns):
    return np.array(rows, dtype=float).reshape(len(rows), columns)


def test_eleven_figures_by_hand():
    """Four claims of the answer: right and read; wrong, from the good chunk; wrong, from the bad one; made up.

    Three of the gold answer: two in the first chunk, of which the answer says one; one nowhere, which it says too.
    """
    answer_by_gold = np.array([1.0, 0, 0, 0])
    gold_by_answer = np.array([1.0, 0, 1])
    answer_by_chunks = matrix([[1, 0], [1, 0], [0, 1], [0, 0]], 2)
    gold_by_chunks = matrix([[1, 0], [1, 0], [0, 0]], 2)
    found = checker(answer_by_gold, gold_by_answer, answer_by_chunks, gold_by_chunks)
    assert len(CHECKER) == 11 and list(found) == list(CHECKER)
    expected = {
        "precision": 1 / 4, "recall": 2 / 3, "f1": 2 * (1 / 4) * (2 / 3) / (1 / 4 + 2 / 3), "claim_recall": 2 / 3,
        "context_precision": 1 / 2, "context_utilization": 1 / 2, "noise_sensitivity_relevant": 1 / 4,
        "noise_sensitivity_irrelevant": 1 / 4, "hallucination": 1 / 4, "self_knowledge": 0.0, "faithfulness": 3 / 4,
    }  # fmt: skip
    assert found == pytest.approx(expected)


def test_a_wrong_claim_in_both_kinds_of_chunk_counts_as_of_the_relevant_one():
    found = checker(np.array([0.0]), np.array([0.0]), matrix([[1, 1]], 2), matrix([[1, 0]], 2))
    assert (found["noise_sensitivity_relevant"], found["noise_sensitivity_irrelevant"]) == (1, 0)
    assert found["f1"] == 0 and found["context_utilization"] == 0


def test_right_without_evidence_is_self_knowledge():
    found = checker(np.ones(2), np.ones(1), matrix([[], []], 0), matrix([[]], 0))
    assert (found["self_knowledge"], found["faithfulness"], found["hallucination"], found["claim_recall"]) == (
        1, 0, 0, 0,
    )  # fmt: skip
    assert np.isnan(found["context_precision"]) and np.isnan(found["context_utilization"])


def test_nothing_to_count_is_not_zero():
    no_answer = checker(np.zeros(0), np.zeros(2), np.zeros((0, 1)), matrix([[1], [0]], 1))
    missing = {name for name, value in no_answer.items() if np.isnan(value)}
    assert missing == {"precision", "f1", "noise_sensitivity_relevant", "noise_sensitivity_irrelevant",
                       "hallucination", "self_knowledge", "faithfulness"}  # fmt: skip
    assert (no_answer["recall"], no_answer["claim_recall"], no_answer["context_precision"]) == (0, 0.5, 1)
    no_gold = checker(np.zeros(1), np.zeros(0), np.ones((1, 1)), np.zeros((0, 1)))
    missing = {name for name, value in no_gold.items() if np.isnan(value)}
    assert missing == {"recall", "f1", "claim_recall", "context_precision", "context_utilization"}


def test_what_was_not_judged_spoils_what_needs_it_and_nothing_else():
    args = [np.ones(1), np.ones(1), np.ones((1, 1)), np.ones((1, 1))]
    spoilt = []
    for place in range(4):
        some = [np.full_like(arg, np.nan) if i == place else arg for i, arg in enumerate(args)]
        spoilt.append({name for name, value in checker(*some).items() if np.isnan(value)})
    noise = {"noise_sensitivity_relevant", "noise_sensitivity_irrelevant"}
    assert spoilt[0] == {"precision", "f1", "hallucination", "self_knowledge"} | noise
    assert spoilt[1] == {"recall", "f1", "context_utilization"}
    assert spoilt[2] == {"hallucination", "self_knowledge", "faithfulness"} | noise
    assert spoilt[3] == {"claim_recall", "context_precision", "context_utilization"} | noise


def test_shares_of_the_answer_add_up():
    generator = np.random.default_rng(0)
    for _ in range(50):
        r, g, c = generator.integers(1, 5, 3)
        one = [generator.integers(0, 2, shape).astype(float) for shape in ((r,), (g,), (r, c), (g, c))]
        found = checker(*one)
        noise = found["noise_sensitivity_relevant"] + found["noise_sensitivity_irrelevant"]
        assert found["precision"] + noise + found["hallucination"] == pytest.approx(1)
        assert found["faithfulness"] + found["hallucination"] + found["self_knowledge"] == pytest.approx(1)
        assert min(value for value in found.values() if not np.isnan(value)) >= 0


CONTEXT = {"1.1": "one two three", "1.2": "four", "2.1": "five six seven eight"}  # 3, 1 and 4 words
ANSWER = {"1r1": "Yes.", "1r2": "It is so."}


def test_keys_count_texts_and_sentences():
    assert keyed(["One here. Two!", "", "Three"], ".") == {"1.1": "One here.", "1.2": "Two!", "3.1": "Three"}
    assert keyed([], ".") == keyed([" "], ".") == {}


def test_the_four_of_a_trace_by_hand():
    found = trace(CONTEXT, ANSWER, relevant=["1.1", "1.2"], used=["1.2", "2.1", "2.1"], supported=["1r1", "1r2"])
    assert found == pytest.approx({"relevance": 4 / 8, "utilization": 5 / 8, "completeness": 1 / 4, "adherence": 1})
    assert list(found) == list(TRACE)
    assert trace(CONTEXT, ANSWER, relevant=["1.1"], used=[], supported=["1r2"])["adherence"] == 0


def test_nothing_to_count_of_a_trace_is_not_zero():
    empty = trace({}, ANSWER, relevant=[], used=[], supported=[])
    assert all(np.isnan(empty[name]) for name in TRACE[:3]) and empty["adherence"] == 0
    silent = trace(CONTEXT, {}, relevant=[], used=[], supported=[])
    assert np.isnan(silent["adherence"]) and np.isnan(silent["completeness"])
    assert (silent["relevance"], silent["utilization"]) == (0, 0)

"""RAGBench's four figures, worked by hand."""

import math

import pytest

from zmem_lib.judges.trace import TRACE, keyed, trace

CONTEXT = {"1.1": "one two three", "1.2": "four", "2.1": "five six seven eight"}  # 3, 1 and 4 words
ANSWER = {"1r1": "Yes.", "1r2": "It is so."}


def test_keys_count_texts_and_sentences():
    assert keyed(["One here. Two!", "", "Three"], ".") == {"1.1": "One here.", "1.2": "Two!", "3.1": "Three"}
    assert keyed([], ".") == keyed([" "], ".") == {}


def test_four_figures_by_hand():
    found = trace(CONTEXT, ANSWER, relevant=["1.1", "1.2"], used=["1.2", "2.1", "2.1"], supported=["1r1", "1r2"])
    assert found == pytest.approx({"relevance": 4 / 8, "utilization": 5 / 8, "completeness": 1 / 4, "adherence": 1})
    assert list(found) == list(TRACE)
    assert trace(CONTEXT, ANSWER, relevant=["1.1"], used=[], supported=["1r2"])["adherence"] == 0


def test_nothing_to_count_is_not_zero():
    empty = trace({}, ANSWER, relevant=[], used=[], supported=[])
    assert all(math.isnan(empty[name]) for name in TRACE[:3]) and empty["adherence"] == 0
    silent = trace(CONTEXT, {}, relevant=[], used=[], supported=[])
    assert math.isnan(silent["adherence"]) and math.isnan(silent["completeness"])
    assert (silent["relevance"], silent["utilization"]) == (0, 0)

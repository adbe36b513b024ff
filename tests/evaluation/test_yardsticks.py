"""How hard a corpus is without a model, counted by hand on three passages."""

import pandas as pd
import pytest

from zmem_lib.evaluation.yardsticks import overlap, yardsticks

DOCS = pd.DataFrame({
    "doc_id": ["fox", "owl", "eel"],
    "title": ["Fox", "Owl", "Eel"],
    "text": [
        "The red fox sleeps in the old barn. The fox eats plums of the garden.",
        "The white owl sings at night. The owl was seen near the river.",
        "The eel swims. The eel is of the dark river. The eel was caught.",
    ],
})  # fmt: skip
QUESTIONS = pd.DataFrame({
    "question": ["What is it that the fox eats?", "Where was the owl seen?", "Which zzz?"],
    "answers": [["plums"], ["the river", "river"], ["dark"]],
    "gold_doc_ids": [["fox"], ["owl"], ["eel"]],
})  # fmt: skip


def test_measures_by_hand():
    table = yardsticks(DOCS, QUESTIONS, "squad").set_index("measure")
    value = table["value"]
    assert value["words of a passage"] == pytest.approx((15 + 13 + 14) / 3)
    assert value["sentences of a passage"] == pytest.approx(7 / 3)
    # fox, eat: both there; owl, seen: both there; zzz: not
    assert value["content words of the question in its passage"] == pytest.approx(2 / 3, abs=0.01)
    assert value["questions with at most a third of them there"] == pytest.approx(1 / 3)
    assert value["BM25: recall@1"] == pytest.approx(2 / 3)
    assert value["answer in a random sentence of the passage"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)
    assert value["answer in the sentence nearest by idf"] == pytest.approx(2 / 3)
    assert list(table["n"]) == [3] * len(table)


def test_a_question_of_stop_words_counts_nowhere():
    assert pd.isna(overlap(set(), {"fox"}))
    table = yardsticks(DOCS, QUESTIONS.head(0), "squad").set_index("measure")
    assert table.loc["BM25: recall@1", "n"] == 0 and pd.isna(table.loc["BM25: recall@1", "value"])
    assert table.loc["words of a passage", "n"] == 3

"""The sentence nearest to a question, one drawn at random, and another question about the same document."""

from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
import torch
from tiny_models import small_params

from zmem_lib.params import changed
from zmem_lib.systems.evidence import nearest_sentence, random_sentence, with_another
from zmem_lib.systems.holdings import Holdings
from zmem_lib.tables import write_table
from zmem_lib.text import idf_of_terms, passages

TEXT = "The fox sleeps. The owl sings. The fox eats."
DOCS = pd.DataFrame({"doc_id": ["a", "b", "c"], "title": "", "text": [TEXT, "The fox runs.", "The owl flies."]})


@pytest.fixture
def held(tmp_path):
    return Holdings(tmp_path, small_params({"lm.name": "none"}), DOCS, torch.empty(0), torch.empty(0))


def test_a_word_weighs_the_more_the_fewer_passages_have_it(held):
    idf = idf_of_terms(passages(held.docs))
    assert idf["the"] == pytest.approx(0.1335, abs=1e-4)  # log(1 + 0.5 / 3.5): in all three
    assert idf["fox"] == pytest.approx(0.4700, abs=1e-4)  # log(1 + 1.5 / 2.5)
    assert idf["sings"] == pytest.approx(0.9808, abs=1e-4)  # log(1 + 2.5 / 1.5)


@pytest.mark.parametrize(
    ("question", "nearest"),
    [
        ("What sings?", "The owl sings."),
        ("Does the fox, THE FOX, the fox sing as it sings?", "The owl sings."),  # .13 + .98 against .13 + .47
        ("Is it the fox?", "The fox sleeps."),  # the first of two equal ones
        ("Why?", "The fox sleeps."),  # no word in common
    ],
)
def test_the_nearest_sentence_shares_the_heaviest_words(held, question, nearest):
    assert nearest_sentence(question, TEXT, held) == nearest


def test_a_text_without_a_sentence_is_its_own(held):
    assert nearest_sentence("Who?", "", held) == random_sentence("q", "", held) == ""


def test_each_sentence_is_drawn_as_often_and_by_the_question_alone(held):
    drawn = Counter(random_sentence(f"q{i}", TEXT, held) for i in range(300))
    assert set(drawn) == {"The fox sleeps.", "The owl sings.", "The fox eats."}
    assert min(drawn.values()) > 70  # of 100 expected, more than three standard deviations below
    assert random_sentence("q7", TEXT, held) == random_sentence("q7", TEXT, held)


def test_another_question_has_other_words_and_another_answer(held):
    rows = [
        ("one", "Who sleeps?", ["fox"], ["a"], "test"),
        ("again", "who  sleeps", ["cat"], ["a"], "train"),  # the same words
        ("reworded", "Which animal is asleep?", ["The fox", "dog"], ["a"], "train"),  # the same answer
        ("other", "Who sings?", ["owl"], ["a", "b"], "dev"),
        ("elsewhere", "Who runs?", ["vixen"], ["b", "a"], "train"),  # about b in the first place
    ]
    table = pd.DataFrame(rows, columns=["question_id", "question", "answers", "gold_doc_ids", "split"])
    write_table(table.assign(kind="", answer_start=-1, evidence=""), held.folder / "questions.parquet", "questions")
    seeds = [replace(held, params=changed(held.params, {"seed": seed})) for seed in range(20)]
    found = pd.DataFrame([with_another(table, one).set_index("question_id")["another"] for one in seeds])
    assert set(found["one"]) == {"Who sings?"}
    assert set(found["reworded"]) == {"who  sleeps", "Who sings?"}
    assert set(found["other"]) == {"Who sleeps?", "who  sleeps", "Which animal is asleep?"}
    assert "elsewhere" not in found  # the only one about b
    assert with_another(table.iloc[3:4], seeds[0])["another"].item() == found["other"].iloc[0], "whatever else is asked"

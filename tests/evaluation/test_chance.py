"""Chance: counted by hand, over other documents only."""

import pandas as pd
import pytest

from zmem_lib.evaluation.chance import chance_scores

QUESTIONS = [
    ("q0", "Where was Ada born?", ["Oslo"], ["a"], "rephrased"),
    ("q1", "What did Ada do?", ["smith"], ["a"], "unasked"),
    ("q2", "Where was Bob born?", ["Oslo"], ["b"], ""),
    ("q3", "What did Bob do?", ["baker"], ["b"], ""),
]
EVIDENCE = {"q0": "Ada came from Oslo.", "q1": "She was a smith.", "q2": "Oslo was his home.", "q3": "A baker."}


@pytest.fixture
def scores(monkeypatch):
    monkeypatch.setattr("zmem_lib.evaluation.chance.ALIKE", 1)
    questions = pd.DataFrame(QUESTIONS, columns=["question_id", "question", "answers", "gold_doc_ids", "kind"])
    tuples = questions.assign(doc_id=[ids[0] for ids in questions["gold_doc_ids"]], evidence=list(EVIDENCE.values()))
    asked = questions[["question_id"]].assign(part=["seen", "seen", "new", "new"])
    table = chance_scores(questions, tuples, asked, rule="squad", seed=1)
    assert dict(zip(table["question_id"], table["kind"], strict=True)) == {row[0]: row[4] for row in QUESTIONS}
    return table.set_index(["system", "part", "question_id"])["value"]


def test_the_evidence_is_of_other_documents(scores):
    assert scores["chance"]["seen"].to_dict() == {"q0": 0.5, "q1": 0.0}  # of b: Oslo once in two, no smith
    assert scores["chance"]["new"].to_dict() == {"q2": 0.5, "q3": 0.0}


def test_questions_worded_alike_ask_for_the_same_kind_of_thing(scores):
    assert scores["chance-alike"]["seen"].to_dict() == {"q0": 1.0, "q1": 0.0}


def test_with_one_document_there_is_no_chance():
    questions = pd.DataFrame(QUESTIONS[:2], columns=["question_id", "question", "answers", "gold_doc_ids", "kind"])
    tuples = questions.assign(doc_id="a", evidence="Oslo smith")
    table = chance_scores(questions, tuples, questions[["question_id"]].assign(part="seen"), rule="squad", seed=1)
    assert table["value"].isna().all()

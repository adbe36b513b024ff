"""What the right z keeps of its text, by hand; and which evidence from the text dev questions choose."""

import numpy as np
import pandas as pd
import pytest
from tiny_collection import small_collection, small_docs, small_questions
from tiny_models import small_params

from zmem_lib.evaluation.retention import FILE, OTHER, RANDOM, RIGHT, choose_from_text, right_z_table
from zmem_lib.files import read_json
from zmem_lib.systems.choosing import right
from zmem_lib.systems.evidence import HANDED
from zmem_lib.systems.systems import SYSTEMS

TEXT = "gold+sentence"
VALUES = {
    RIGHT: [1.0, 1.0, 0.0, 0.0], TEXT: [1.0, 1.0, 1.0, 0.0], RANDOM: [0.0, 1.0, 0.0, 0.0],
    OTHER: [1.0, np.nan, 0.0, 0.0],
}  # fmt: skip


def scores_of(values):
    rows = [
        (f"q{i}", name, "seen", "rephrased" if i < 2 else "", "answer_in_evidence", value)
        for name, some in values.items()
        for i, value in enumerate(some)
    ]
    scores = pd.DataFrame(rows, columns=["question_id", "system", "part", "kind", "metric", "value"])
    return scores.assign(cluster=scores["question_id"].replace({"q1": "q0"}))  # the first two about one document


def by_other(table, part="seen"):
    return {row.against: row for row in table[table["part"] == part].itertuples()}


def test_strict_retention_is_the_right_z_over_the_text():
    row = by_other(right_z_table(scores_of(VALUES), TEXT, 500, seed=1))[TEXT]
    assert (row.measure, row.n, row.clusters) == ("retention", 4, 3)
    assert row.value == pytest.approx(0.5 / 0.75)
    assert row.ci_low < row.value <= row.ci_high
    same = scores_of(VALUES | {RIGHT: VALUES[TEXT]})
    row = by_other(right_z_table(same, TEXT, 500, seed=1))[TEXT]
    assert (row.value, row.ci_low, row.ci_high) == (1, 1, 1), "both are resampled together"


def test_the_controls_are_differences_over_the_questions_that_both_answered():
    found = by_other(right_z_table(scores_of(VALUES), TEXT, 500, seed=1))
    assert (found[RANDOM].measure, found[RANDOM].value, found[RANDOM].n) == ("difference", 0.25, 4)
    assert (found[OTHER].value, found[OTHER].n) == (0.0, 3), "the question without another one is in neither"


def test_kinds_of_questions_stand_apart():
    row = by_other(right_z_table(scores_of(VALUES), TEXT, 50, seed=1), "rephrased")[TEXT]
    assert (row.value, row.n) == (1.0, 2)


def test_a_share_of_next_to_nothing_is_not_defined():
    few = {RIGHT: [0.0] * 20, TEXT: [1.0] + [0.0] * 19, RANDOM: [0.0] * 20}
    found = by_other(right_z_table(scores_of(few), TEXT, 50, seed=1))
    assert np.isnan(found[TEXT].value) and found[TEXT].n == 20
    assert found[RANDOM].value == 0.0 and OTHER not in found


def test_without_a_memory_there_is_no_row():
    assert right_z_table(scores_of({TEXT: [1.0, 0.0]}), TEXT, 50, seed=1).empty


def test_dev_questions_choose_the_better_evidence_from_the_text(tmp_path):
    params = small_params({"train.text_weight": 0.5, "answer.evidence_tokens": 4})
    held = small_collection(params, small_docs(3), tmp_path)
    questions = small_questions(3)
    chosen = right(questions, held)[0]
    for name, other in (("gold+sentence", "text-evidence"), ("text-evidence", "gold+sentence")):
        items = HANDED[SYSTEMS[name].hands](questions, held, chosen)[0]
        shares = choose_from_text(questions.assign(answers=items), held)
        assert read_json(tmp_path / FILE)["system"] == name
        assert shares[name] == 1.0 > shares[other]
    assert read_json(tmp_path / FILE)["n"] == 3
    choose_from_text(questions.assign(answers=[["nowhere"]] * 3), held)
    assert read_json(tmp_path / FILE)["system"] == "gold+sentence", "of equal ones that which needs no model"
    choose_from_text(questions.iloc[:0].assign(answers=[]), held)
    assert read_json(tmp_path / FILE)["system"] == "gold+sentence"

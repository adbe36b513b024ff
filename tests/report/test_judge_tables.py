"""The section Judges: its sentences and tables, from made-up verdicts."""

import pandas as pd
import pytest

from zmem_lib.judges.corrected import judged_table
from zmem_lib.params import changed, read_params
from zmem_lib.report.chapter_tables import judged_tables, judges_said

ABOUT = {
    "judge": "api", "model": "judge`x", "answers": 60, "asked": 500, "unanswered": 7, "unreadable": 3,
    "conversations": 480, "input_tokens": 9000, "output_tokens": 800, "money": 1.234,
}  # fmt: skip
COLUMNS = ["question_id", "system", "part", "metric", "value", "cluster"]


@pytest.fixture
def params():
    return changed(read_params("params/tiny.yaml"), {"evaluate.judge": "api", "evaluate.bootstrap_samples": 50})


def judged(params, labels=()):
    rows = [
        (
            f"q{i}",
            system,
            part,
            metric,
            float("nan") if metric == "ragas_faithfulness" and i < fails else float(i % 2),
            f"d{i}",
        )
        for part in ("seen", "unasked")
        for system, fails in (("bm25", 30), ("zmem", 4))
        for metric in ("checker_claim_recall", "ragas_faithfulness")
        for i in range(30)
    ]
    labels = pd.DataFrame(labels, columns=["question_id", "system", "metric", "value"]).astype({"value": float})
    return judged_table(pd.DataFrame(rows, columns=COLUMNS), labels, params)


def test_without_a_judge_one_sentence_and_no_table(params):
    assert judges_said({"judge": "none"}, judged(params).iloc[:0], params).data == "No judge was asked (`judge: none`)."
    assert judged_tables(judged(params).iloc[:0]) == []


def test_who_judged_what_failed_and_what_it_cost(params, tmp_path):
    text = judges_said(ABOUT, judged(params), params).data
    assert "The judge is `judge'x`" in text and "60 answers" in text
    assert "Of 500 questions to it 7 got no reply and 3 none that could be used" in text and "$1.23" in text
    assert "No share is corrected by people's verdicts (`evaluate.human_labels` names no file)" in text
    later = judges_said(ABOUT, judged(params), changed(params, {"evaluate.human_labels": "some/later.csv"})).data
    assert "`later.csv` is not there yet" in later
    local = judges_said({"judge": "nli", "model": str(tmp_path), "answers": 6}, judged(params), params).data
    assert f"The judge is `{tmp_path.name}`, a local model of entailment" in local and "$" not in local


def test_tables_show_coverage_and_never_a_zero_for_what_was_not_judged(params):
    found = [table.data for table in judged_tables(judged(params))]
    assert len(found) == 2 and all("seen documents" in table for table in found), "kinds have no table of their own"
    ragas, checker = found
    assert "none<br><small>0 of 30</small>" in ragas and "26 of 30" in ragas
    assert "30 of 30" in checker and "claim recall" in checker and "*" not in checker
    assert checker.index(">zmem<") < checker.index(">bm25<")


def test_corrected_shares_are_marked_and_said(params):
    some = [(f"q{i}", "zmem", "checker_claim_recall", 1.0) for i in range(12)]
    every = [(f"q{i}", "bm25", "checker_claim_recall", 1.0) for i in range(30)]
    table = judged(params, [*some, *every])
    text = judges_said(ABOUT, table, params).data
    assert "People gave 42 of these verdicts too" in text, "those of a kind are not counted twice"
    checker = judged_tables(table)[1].data
    assert checker.count("*<br>") == 1 and "1.00†" in checker

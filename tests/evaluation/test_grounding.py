"""Evidence held against the document that it was written from, and numbers, on tables counted by hand."""

import numpy as np
import pandas as pd
import pytest

from zmem_lib.evaluation.grounding import evidence_overlap, evidence_substring, further_scores
from zmem_lib.params import changed, read_params

PASSAGE = "Ada Barnes\nAda Barnes was born in Velmoor. She was a smith in Velmoor."


@pytest.mark.parametrize(
    ("evidence", "overlap", "run"),
    [
        ("Ada Barnes was born in Velmoor.", 1, 1),
        ("ADA BARNES: was born in velmoor!", 1, 1),  # signs and case do not count
        ("Velmoor was born in Ada.", 1, 3 / 5),  # all its words, in another order: "was born in"
        ("Velmoor Velmoor Velmoor", 2 / 3, 1 / 3),  # a word as often as the passage has it
        ("She was a smith in Harrow.", 5 / 6, 5 / 6),
        ("smith in Velmoor, born in Velmoor", 1, 3 / 6),  # two runs of three: the longest counts
        ("Quite another matter", 0, 0),
        ("", np.nan, np.nan),
        ("…?!", np.nan, np.nan),
    ],
)
def test_measures_by_hand(evidence, overlap, run):
    found = evidence_overlap(evidence, PASSAGE), evidence_substring(evidence, PASSAGE)
    assert found == pytest.approx((overlap, run), nan_ok=True)


def test_korean_words_count_whole():
    assert evidence_overlap("제주도에서 태어났다", "그는 제주도에서 태어났다.") == 1
    assert evidence_overlap("제주도", "그는 제주도에서 태어났다.") == 0


def answers(evidence, ranked, said=("1,200", "7")):
    return pd.DataFrame(
        {"question_id": ["s", "n"], "part": ["seen", "new"], "ranked_doc_ids": ranked, "evidence": evidence,
         "answer": list(said)}
    )  # fmt: skip


def tables():
    docs = pd.DataFrame({"doc_id": ["a", "b"], "title": ["", "B"], "text": ["one two three", "four five"]})
    docs["part"] = ["seen", "new"]
    questions = pd.DataFrame(
        {"question_id": ["s", "n"], "answers": [["1200"], ["8"]], "gold_doc_ids": [["b"], ["a"]],
         "kind": ["unasked", ""]}
    )  # fmt: skip
    systems = {
        "zmem": answers(["one two\nthree nine", "b four"], [["a", "b"], ["b"]]),
        "zmem-oracle": answers(["one two", "one two"], [[], []]),
        "bm25": answers(["four five", "one"], [["b"], ["a"]]),
    }
    return questions, docs, systems


def wide(params):
    return further_scores(*tables(), params).pivot(index=["system", "part"], columns="metric", values="value")


def test_the_document_is_the_chosen_one_or_the_gold_one_and_text_is_not_asked():
    params = read_params("params/tiny.yaml")
    found = wide(params)
    assert list(found.columns) == ["evidence_overlap", "evidence_substring", "new_first"]
    assert set(found.index) == {(s, p) for s in tables()[2] for p in ("seen", "unasked", "new")}
    first = found["new_first"].unstack()
    assert first.loc["zmem"].to_dict() == {"seen": 0, "unasked": 0, "new": 1}
    assert first.loc["bm25"].to_dict() == {"seen": 1, "unasked": 1, "new": 0} and first.loc["zmem-oracle"].isna().all()
    found = found.drop(columns="new_first")
    assert found.loc["bm25"].isna().all(axis=None)
    assert found.loc[("zmem", "seen")].tolist() == [0.75, 0.75] == found.loc[("zmem", "unasked")].tolist()
    assert found.loc[("zmem", "new")].tolist() == [1, 1]  # the title counts
    assert found.loc[("zmem-oracle", "seen")].tolist() == [0, 0]  # against b
    assert found.loc[("zmem-oracle", "new")].tolist() == [1, 1]
    several = wide(changed(params, {"answer.top_k": 2})).drop(columns="new_first")
    assert several.loc[("zmem", "seen")].tolist() == [1, 1], "the first item alone"
    assert several.loc[("zmem-oracle", "new")].tolist() == [1, 1]


def test_numbers_are_matched_for_their_corpus_only():
    found = wide(changed(read_params("params/tiny.yaml"), {"corpus.name": "t2ragbench"}))
    assert found.loc[("bm25", "seen"), ["number_match", "number_match_strict"]].tolist() == [1, 1]
    assert found.loc[("zmem", "new"), ["number_match", "number_match_strict"]].tolist() == [0, 0]


def test_without_such_systems_there_is_nothing():
    questions, docs, systems = tables()
    given = {"gold-passage": systems["zmem-oracle"]}
    table = further_scores(questions, docs, given, read_params("params/tiny.yaml"))
    assert table.empty and table["value"].dtype == float

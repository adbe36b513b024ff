"""Metrics against cases worked by hand and against the packages of the field."""

import math
import os
import unicodedata
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from zmem_lib.evaluation.metrics import (
    METRICS,
    answer_in_evidence,
    em,
    evidence_overlap,
    evidence_substring,
    f1,
    ragas_scores,
    retrieval_scores,
)  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "golds", "expected"),
    [
        ("The Harbour!", ["harbour"], 1.0),
        ("harbour town", ["harbour"], 0.0),
        ("b", ["a dog", "B."], 1.0),
        ("", ["the"], 0.0),
        ("x", [], 0.0),
        ("제주도", ["제주도."], 1.0),
    ],
)
def test_em(answer, golds, expected):
    assert em(answer, golds, "squad") == expected


@pytest.mark.parametrize(
    ("answer", "golds", "expected"),
    [
        ("old harbour town", ["the harbour"], 0.5),  # 1 common word, precision 1/3, recall 1
        ("harbour harbour", ["harbour"], 2 / 3),  # a word counts as often as the gold answer has it
        ("cat", ["dog", "black cat"], 2 / 3),  # best over the gold answers
        ("cat", ["dog"], 0.0),
        ("", [""], 1.0),
        ("", ["cat"], 0.0),
    ],
)
def test_f1(answer, golds, expected):
    assert f1(answer, golds, "squad") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("evidence", "golds", "expected"),
    [
        ("She was born in Velmoor, in 1901.", ["velmoor"], 1.0),
        ("She was born in Velmoorshire.", ["Velmoor"], 0.0),  # whole words only
        ("She was born in the old town.", ["an old town"], 1.0),
        ("She was born.", ["the", ""], 0.0),  # nothing is left of these answers
        ("", ["x"], 0.0),
        ("He paid 1,200 crowns.", ["5", "1,200 crowns"], 1.0),
    ],
)
def test_answer_in_evidence(evidence, golds, expected):
    assert answer_in_evidence(evidence, golds, "squad") == expected


def rows_of(gold, ranked):
    columns = {"question_id": list(gold), "gold_doc_ids": list(gold.values())}
    return pd.DataFrame(columns | {"ranked_doc_ids": [ranked[question] for question in gold]})


def test_retrieval_by_hand():
    gold = {"q1": ["d1"], "q2": ["d1", "d2"], "q3": ["d1"], "q4": ["d1"]}
    ranked = {"q1": ["d1", "d5"], "q2": ["d9", "d2", "d7", "d1"], "q3": [f"x{i}" for i in range(10)] + ["d1"], "q4": []}
    wide = retrieval_scores(rows_of(gold, ranked)).pivot(index="question_id", columns="metric", values="value")
    assert wide["recall@1"].tolist() == [1, 0, 0, 0]
    assert wide["recall@5"].tolist() == [1, 1, 0, 0]  # q2: any of its two gold documents
    assert wide["recall@20"].tolist() == [1, 1, 1, 0]
    assert wide["mrr@10"].tolist() == [1, 0.5, 0, 0]
    ideal = 1 + 1 / math.log2(3)
    assert wide.loc["q2", "ndcg@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)


def test_retrieval_takes_the_order_as_it_is():
    """Equal scores must not let document ids decide: the last id in the alphabet comes first here."""
    scores = retrieval_scores(rows_of({"q": ["z"]}, {"q": ["z", "y", "a"]}))
    assert scores.loc[scores["metric"] == "recall@1", "value"].item() == 1


def test_ragas_without_judge(monkeypatch):
    monkeypatch.delenv("RAGAS_DO_NOT_TRACK", raising=False)
    reference = "Ada Barnes was born in Velmoor."
    items = pd.DataFrame(
        {
            "question_id": ["both", "none", "empty", "bare"],
            "answer": ["in Velmoor", "", "Velmoor", "Velmoor"],
            "answers": [["Velmoor"], ["Velmoor"], ["Velmoor"], []],
            "evidence": [
                ["Nothing of the kind at all here!", reference],
                ["Quite another matter, he said?"],
                [],
                ["x"],
            ],
            "reference_contexts": [[reference], [reference], [reference], []],
        }
    )
    wide = ragas_scores(items).pivot(index="question_id", columns="metric", values="value").loc[items["question_id"]]
    assert os.environ["RAGAS_DO_NOT_TRACK"] == "true"
    np.testing.assert_allclose(wide["ragas_context_recall"], [1, 0, 0, np.nan])
    np.testing.assert_allclose(wide["ragas_context_precision"], [0.5, 0, 0, np.nan], atol=1e-6)  # second of two
    np.testing.assert_allclose(wide["ragas_string_presence"], [1, 0, 1, np.nan])
    np.testing.assert_allclose(wide["ragas_string_similarity"], [0.7, 0, 1, np.nan])  # 3 edits of 10 letters


def test_f1_equals_the_package_of_the_field():
    """SQuAD's own F1 as precision and recall, on random word bags."""
    generator = np.random.default_rng(0)
    words = np.array(["red", "blue", "green", "old", "town"])
    for _ in range(50):
        answer, gold = (list(generator.choice(words, generator.integers(1, 6))) for _ in range(2))
        common = sum(min(answer.count(word), gold.count(word)) for word in set(answer))
        precision, recall = common / len(answer), common / len(gold)
        expected = 2 * precision * recall / (precision + recall) if common else 0.0
        assert f1(" ".join(answer), [" ".join(gold)], "squad") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "golds", "exact", "overlap", "inside"),
    [
        ("《서울》 특별시", ["서울 특별시"], 1.0, 1.0, 1.0),  # brackets are spaces
        ("제주도", ["제주도에서"], 0.0, 0.75, 0.0),  # 3 of 5 characters: 2 * 3 / 8
        ("제주도에서", ["제주도"], 0.0, 0.75, 1.0),  # a particle joined to the word
        ("The 'U.S.'", ["the us"], 1.0, 1.0, 1.0),  # articles stay, full stops go
        ("us", ["the us"], 0.0, 4 / 7, 0.0),
        ("도주제", ["제주도"], 0.0, 1.0, 0.0),  # characters in any order
        ("", ["제주도"], 0.0, 0.0, 0.0),
        ("부산", ["서울", "부산"], 1.0, 1.0, 1.0),
    ],
)
def test_korquad(answer, golds, exact, overlap, inside):
    assert em(answer, golds, "korquad") == exact
    assert f1(answer, golds, "korquad") == pytest.approx(overlap)
    assert answer_in_evidence(answer, golds, "korquad") == inside


def test_the_two_rules_differ_where_they_should():
    assert em("the harbour", ["harbour"], "squad") == 1 and em("the harbour", ["harbour"], "korquad") == 0
    assert answer_in_evidence("임수경을 보았다.", ["임수경"], "squad") == 0
    assert answer_in_evidence("임수경을 보았다.", ["임수경"], "korquad") == 1
    assert answer_in_evidence("x", ["'"], "korquad") == 0  # nothing is left of this answer
    assert f1("부 산", ["부산"], "korquad") == 1 and f1("부 산", ["부산"], "squad") == 0


def official_squad(answer, gold):
    """The rules of SQuAD v1.1's script in their order: case, punctuation, articles, spaces; EM, then bags of words.

    Of composed letters.
    """
    import re
    import string
    import unicodedata

    def told(text):
        text = unicodedata.normalize("NFC", text)
        kept = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", kept).split()

    said, right = told(answer), told(gold)
    same = sum(min(said.count(word), right.count(word)) for word in set(said))
    if not same:
        return float(said == right), None if said == right else 0.0  # its F1 of two empty texts: see below
    precision, recall = same / len(said), same / len(right)
    return float(said == right), 2 * precision * recall / (precision + recall)


STRANGE = (
    "", " ", "the", "The U.S.", "us", "a-b", "ab", "a b", "Zürich’s", "Zürichs", "“Rome”", "rome", "İstanbul",
    "3,000", "3000", "$3,000", "an  an apple", "apple\n", "theatre", "the.atre", "제주도.", "e\u0301", "\u00e9", "½",
)  # fmt: skip


@pytest.mark.parametrize("gold", STRANGE)
def test_squad_rules_on_strange_texts(gold):
    emptied = ("the", " ")  # by the rules: see below
    for answer in STRANGE:
        if gold in emptied or answer in emptied:
            continue
        exact, overlap = official_squad(answer, gold)
        assert em(answer, [gold], "squad") == exact, answer
        assert f1(answer, [gold], "squad") == pytest.approx(1.0 if overlap is None else overlap), answer


@pytest.mark.parametrize(
    ("gold", "rule"),
    [("A", "squad"), ("The", "squad"), ("?", "squad"), ("$", "squad"), ("++", "squad"), ("《》", "korquad")],
)
def test_an_answer_that_the_rules_empty_is_compared_as_it_is(gold, rule):
    assert em(gold, [gold], rule) == f1(gold, [gold], rule) == 1
    assert em(gold.lower(), [gold], rule) == 1
    assert em("", [gold], rule) == f1("", [gold], rule) == 0
    assert em("B", [gold], rule) == f1("B", [gold], rule) == 0
    assert em("an", [gold], rule) == 0
    assert answer_in_evidence("", [gold], rule) == 0


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        ("서울", unicodedata.normalize("NFD", "서울"), "korquad"),  # six jamo
        ("Zürich", "Zu\u0308rich", "squad"),
        ("1990", "１９９０", "squad"),
        ("NATO", "ＮＡＴＯ", "squad"),
    ],
)
def test_unicode_forms_of_one_answer_are_one(one, other, rule):
    for answer, gold in ((one, other), (other, one)):
        assert em(answer, [gold], rule) == f1(answer, [gold], rule) == 1
        assert answer_in_evidence(f"x {answer} y", [gold], rule) == 1
        assert METRICS["em_strict"].count(row_of(answer, gold), rule) == 1
        assert METRICS["em_loose"].count(row_of(answer, gold), rule) == 1
        assert METRICS["f1_all"].count(row_of(answer, gold), rule) == 1
        assert METRICS["accuracy"].count(row_of(answer, gold), rule) == 1
        assert evidence_overlap(answer, f"x {gold} y") == 1


def row_of(answer, gold):
    return SimpleNamespace(answer=answer, answers=[gold])


def test_several_aliases_the_best_counts_for_each_measure_by_itself():
    golds = ["New York City", "NYC", "the Big Apple"]
    assert (em("nyc", golds, "squad"), f1("nyc", golds, "squad")) == (1, 1)
    assert em("York", golds, "squad") == 0 and f1("York", golds, "squad") == pytest.approx(0.5)
    assert f1("big New", golds, "squad") == pytest.approx(0.5)  # 1 of 2 and 2, not words of two aliases together
    assert em("", [], "squad") == f1("", [], "squad") == 0
    assert em("", ["", "x"], "squad") == 1


def test_typographic_marks_stay_and_ascii_ones_go():
    assert em("rome", ["“Rome”"], "squad") == 0 and em("rome", ['"Rome"'], "squad") == 1
    assert em("the-atre", ["theatre"], "squad") == 1, "punctuation goes before the articles"


@pytest.mark.parametrize(
    ("answer", "golds", "exact", "overlap"),
    [
        ("〈제주도〉", ["제주도"], 1.0, 1.0),
        ("제주도 ", ["제 주 도"], 0.0, 1.0),  # F1 knows no spaces, exact match does
        ("1,000명", ["1000명"], 1.0, 1.0),
        ("제주", ["제주도", "제주시청"], 0.0, 2 * 2 / 5),
        ("'제주'도", ["제주도"], 0.0, 1.0),  # a quote becomes a space
        ("", [""], 1.0, 1.0),
    ],
)
def test_korquad_rules_on_strange_texts(answer, golds, exact, overlap):
    assert em(answer, golds, "korquad") == exact
    assert f1(answer, golds, "korquad") == pytest.approx(overlap)


def test_retrieval_with_several_gold_documents_ties_and_strange_ids():
    ranked = {"문1": ["b", "a", "가"], "q2": ["a"], "q3": ["a", "b"]}
    gold = {"문1": ["가", "a"], "q2": ["nowhere"], "q3": ["b", "a"]}
    wide = retrieval_scores(rows_of(gold, ranked)).pivot(index="question_id", columns="metric", values="value")
    assert wide["recall@1"].to_dict() == {"문1": 0, "q2": 0, "q3": 1}
    assert wide["mrr@10"].to_dict() == {"문1": 0.5, "q2": 0, "q3": 1}
    assert wide["ndcg@10"]["q3"] == 1, "both gold documents first, in whichever order"
    first, second, third = (1 / math.log2(place + 1) for place in (1, 2, 3))
    assert wide["ndcg@10"]["문1"] == pytest.approx((second + third) / (first + second))


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
def test_written_evidence_is_held_against_its_document_by_hand(evidence, overlap, run):
    found = evidence_overlap(evidence, PASSAGE), evidence_substring(evidence, PASSAGE)
    assert found == pytest.approx((overlap, run), nan_ok=True)


def test_korean_words_count_whole():
    assert evidence_overlap("제주도에서 태어났다", "그는 제주도에서 태어났다.") == 1
    assert evidence_overlap("제주도", "그는 제주도에서 태어났다.") == 0


def test_of_scripts_without_spaces_letters_count():
    assert evidence_overlap("北京是首都", "首都是北京。") == 1
    assert evidence_substring("北京是首都", "首都是北京。") == pytest.approx(2 / 5)


def test_every_measure_has_a_label_of_its_own():
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
    assert [name for name, metric in METRICS.items() if metric.tested] == [
        "em", "f1", "answer_in_evidence", "recall@1", "mrr@10",
    ]  # fmt: skip

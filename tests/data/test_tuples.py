"""Tuples: which evidence a question gets from each of its gold documents, and which pairs make none."""

import unicodedata

import pandas as pd
import pytest
from conftest import CORPORA
from folders import load

from zmem_lib.data.synthetic import generate
from zmem_lib.data.tuples import count_pairs, find_answer, find_evidence, make_tuples

TEXT = "Ten men came. In 2010 he saw 10 men. He left. The 10 stayed."
DOCS = pd.DataFrame(
    {"doc_id": ["a", "b", "c"], "title": "", "text": [TEXT, "It was 10 then. Or not.", "None."], "part": "seen"}
)


def question(**values) -> dict:
    base = {"question_id": "q", "question": "How many?", "answers": ["10"], "gold_doc_ids": ["a"], "split": "train"}
    return base | {"kind": "", "answer_start": -1, "evidence": ""} | values


def tuples_of(*questions: dict, window: int = 0) -> pd.DataFrame:
    return make_tuples(DOCS, pd.DataFrame(list(questions)), window)


def test_evidence_is_the_sentence_at_the_offset():
    row = tuples_of(question(answer_start=TEXT.rindex("10"))).iloc[0]
    assert (row.evidence, row.evidence_start) == ("The 10 stayed.", TEXT.index("The 10"))
    assert row.tuple_id == "q@a"


def test_without_an_offset_it_is_the_first_place_as_whole_words():
    assert tuples_of(question()).evidence[0] == "In 2010 he saw 10 men."
    assert TEXT.index("10") < find_answer(TEXT, ["10"])[0], "the 10 in 2010 must not count"


def test_the_window_adds_sentences_on_each_side():
    assert tuples_of(question(), window=1).evidence[0] == "Ten men came. In 2010 he saw 10 men. He left."


def test_part_of_a_word_counts_where_no_whole_word_does():
    assert find_answer("임수경을 보았다.", ["임수경"]) == (0, 3)
    assert find_answer("2010", ["10"]) == (2, 4)
    assert find_answer("In OSLO.", ["Oslo"]) == (3, 7)
    assert find_answer("nothing", ["10"]) is None


def test_the_data_sets_own_evidence_wins():
    rows = tuples_of(question(evidence="He left."), question(question_id="r", evidence="Said elsewhere."))
    assert list(rows["evidence"]) == ["He left.", "Said elsewhere."]
    assert list(rows["evidence_start"]) == [TEXT.index("He left."), -1]


def test_of_evidence_with_several_lines_a_document_gets_its_own():
    several = question(gold_doc_ids=["a", "b", "c"], evidence="He left.\nTen men came.\nOr not.")
    rows = tuples_of(several)
    assert list(rows["evidence"])[:2] == ["He left. Ten men came.", "Or not."]
    assert list(rows["evidence_start"]) == [TEXT.index("He left."), DOCS["text"][1].index("Or not."), -1]
    whole = question(evidence="Two\nlines")
    assert find_evidence(whole, "x Two\nlines y", -1, 0) == ("Two\nlines", 2)


def test_every_gold_document_makes_a_tuple_if_it_holds_an_answer():
    several = question(gold_doc_ids=["a", "b", "c"], answer_start=TEXT.rindex("10"))
    rows = tuples_of(several)
    assert list(rows["tuple_id"]) == ["q@a", "q@b"]
    assert list(rows["evidence"]) == ["The 10 stayed.", "It was 10 then."]
    assert count_pairs(pd.DataFrame([several])).to_dict() == {"train": 3}


def test_no_tuple_is_without_evidence_and_none_at_all_is_an_empty_table():
    assert len(tuples_of(question(answers=["eleven"]))) == 0


def test_synthetic_tuples_are_their_own_sentences():
    docs, questions = generate(20, 4, seed=1)
    tuples, texts = make_tuples(docs, questions, 0), dict(zip(docs["doc_id"], docs["text"], strict=True))
    assert len(tuples) == len(questions) and tuples["tuple_id"].is_unique
    for row in tuples.itertuples():
        assert texts[row.doc_id].startswith(row.evidence, row.evidence_start) and row.answers[0] in row.evidence


@pytest.mark.parametrize("name", ["squad11-dev", "korquad"])
def test_real_tuples_hold_their_answer(name):
    if not (CORPORA / name).is_dir():
        pytest.skip(f"{CORPORA / name} is not there")
    corpus = load(CORPORA / name, {"corpus.documents": 50, "corpus.new_documents": 10})
    tuples = make_tuples(corpus.docs, corpus.questions, 0)
    assert len(tuples) == len(corpus.questions)
    assert all(row.answers[0] in row.evidence for row in tuples.itertuples())


def test_an_answer_in_another_unicode_form_is_found_at_its_place():
    text = unicodedata.normalize("NFD", "Er kam. In Zürich war er 1990. 서울을 보았다.")
    start = text.index("Zu")
    assert find_answer(text, ["Zürich"]) == (start, start + 7)
    assert find_answer(text, ["１９９０"]) == (text.index("1990"), text.index("1990") + 4)
    first, last = find_answer(text, ["서울"])
    assert unicodedata.normalize("NFC", text[first:last]) == "서울"
    evidence = find_evidence(question(answers=["Zürich"]), text, start, 0)
    assert evidence == (unicodedata.normalize("NFD", "In Zürich war er 1990."), text.index("In"))


def test_a_vowel_sign_belongs_to_its_word():
    assert find_answer("रामायण और राम", ["राम"]) == (10, 13), "not the beginning of another word"

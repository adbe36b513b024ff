"""The almanac: frozen, written by its rules, and about as hard as a corpus that people wrote."""

import hashlib
import json
from collections import Counter
from itertools import pairwise

import pytest
from folders import params_of

from zmem_lib.data.absent import absent_questions
from zmem_lib.data.corpus import load_corpus, whole_corpus
from zmem_lib.data.folder import ALMANAC
from zmem_lib.data.tuples import make_tuples
from zmem_lib.evaluation.yardsticks import yardsticks
from zmem_lib.files import BadInput

FROZEN = {  # before any memory had read it
    "en/corpus.jsonl": "a5fe13dddc99c510841fb08f203afb50b775461ef482ab13930da13fdc6d8b1a",
    "en/facts.jsonl": "2c23d13494630e0f5d26dd84fc7210a4ac4cca8a67acac2b7b4e0af2cd874cdd",
    "en/questions.jsonl": "1a7bdfabfaa27171d0052e26462bdbd11d39bfe702c8c0ef84b52a9c8a9dae0f",
    "en/two_passages.jsonl": "695ea14573b7f0c45caa0130069893f7c2a55d0932edba6513ff7f2493b43806",
    "en/unanswerable.jsonl": "8972f40117e27672782a9139e6d836581e27fe80c82554294816b45310e76aa8",
    "ko/corpus.jsonl": "7b73e21aaede2ac3d699abb86ef72f6b14ab69214eccaf30e9b481b7975f3395",
    "ko/facts.jsonl": "990f736b3f149a443d482fbb18c5fedc73d6ba6d2b31f70b4a0935691e74d496",
    "ko/questions.jsonl": "7165f3af03425258bd7d4626e4dec194b3fd2037f0cc80d6b2540b93b7a440b6",
}


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (ALMANAC / name).read_text(encoding="utf-8").splitlines()]


def almanac(**values: object):
    return params_of({"corpus.name": "almanac", "corpus.documents": 120, "corpus.new_documents": 40} | values)


@pytest.mark.parametrize("name", FROZEN)
def test_it_is_frozen(name):
    assert hashlib.sha256((ALMANAC / name).read_bytes()).hexdigest() == FROZEN[name]


@pytest.mark.parametrize(("part", "many", "facts", "splits"), [
    ("en", 160, 10, {"train": 3, "dev": 1, "test": 3}), ("ko", 40, 8, {"train": 2, "dev": 1, "test": 2}),
])  # fmt: skip
def test_every_fact_is_told_once_and_every_question_answered_where_its_fact_is_told(part, many, facts, splits):
    text_of = {row["doc_id"]: row["text"] for row in lines(f"{part}/corpus.jsonl")}
    assert len(text_of) == many
    fact_of = {row["fact_id"]: row for row in lines(f"{part}/facts.jsonl")}
    doc_of = {fact_id: fact_id.rsplit("-", 1)[0] for fact_id in fact_of}
    assert set(Counter(doc_of.values()).values()) == {facts} and set(doc_of.values()) == set(text_of)
    for doc_id, text in text_of.items():
        places = sorted({(fact_of[one]["start"], fact_of[one]["end"]) for one in fact_of if doc_of[one] == doc_id})
        assert places[0][0] == 0 and places[-1][1] == len(text)
        assert all(end + 1 == start for (_, end), (start, _) in pairwise(places)), "nothing but facts is told"
    questions = lines(f"{part}/questions.jsonl")
    for row in questions:
        fact = fact_of[row["fact_id"]]
        assert fact["start"] <= row["answer_start"] < fact["end"] and doc_of[row["fact_id"]] == row["doc_id"]
        assert text_of[row["doc_id"]].startswith(row["answers"][0], row["answer_start"])
    by_doc = {doc_id: [row for row in questions if row["doc_id"] == doc_id] for doc_id in text_of}
    assert all(Counter(row["split"] for row in rows) == splits for rows in by_doc.values())


def test_two_of_three_test_questions_ask_what_no_training_question_touches():
    corpus = load_corpus(almanac(**{"corpus.documents": 160, "corpus.new_documents": 0}))
    assert len(corpus.questions) == 1120 and not any(corpus.dropped.values())
    test = corpus.questions[corpus.questions["split"] == "test"]
    assert dict(Counter(test["kind"])) == {"unasked": 320, "rephrased": 160}
    tuples = make_tuples(corpus.docs, corpus.questions, 0)
    fact_of = {row["question_id"]: row["fact_id"] for row in lines("en/questions.jsonl")}
    place_of = {row["fact_id"]: row for row in lines("en/facts.jsonl")}
    text_of = dict(zip(corpus.docs["doc_id"], corpus.docs["text"], strict=True))
    for row in tuples.to_dict("records"):
        place = place_of[fact_of[row["question_id"]]]
        assert row["evidence"] == text_of[row["doc_id"]][place["start"] : place["end"]]


def test_questions_that_no_passage_answers_and_that_need_two():
    params = almanac(**{"corpus.absent_questions": 30})
    corpus = load_corpus(params)
    absent = absent_questions(params, corpus.docs, corpus.questions)
    assert Counter(absent["kind"])["unanswerable"] == 30  # nothing is left out of 160
    ids = {row["doc_id"] for row in lines("en/corpus.jsonl")}
    two = lines("en/two_passages.jsonl")
    assert len(two) == 100 and all(len(set(row["gold_doc_ids"]) & ids) == 2 for row in two)
    assert len({row["doc_id"] for row in lines("en/unanswerable.jsonl")} & ids) == 80


def test_words_give_away_about_as_much_as_in_squad():
    corpus = whole_corpus(almanac())
    asked = corpus.questions[corpus.questions["split"] != "train"]
    value = yardsticks(corpus.docs, asked, "squad").set_index("measure")["value"]
    assert 90 <= value["words of a passage"] <= 180
    assert 0.70 <= value["BM25: recall@1"] <= 0.90
    assert value["answer in a random sentence of the passage"] < value["answer in the sentence nearest by idf"] < 0.8


def test_it_takes_no_path_and_one_subset():
    korean = whole_corpus(almanac(**{"corpus.subset": "ko"}))
    assert len(korean.docs) == 40 and korean.source.endswith("ko") and "does not exist" in korean.licence
    for values in ({"corpus.path": "somewhere"}, {"corpus.subset": "fr"}):
        with pytest.raises(BadInput, match=r"almanac takes no corpus\.path"):
            whole_corpus(almanac(**values))

"""A corpus without what a test corpus has: passages by their 8-grams, questions by their words."""

import json

import pandas as pd
import pytest
from tiny_models import small_params

from zmem_lib.data.corpus import ASKED, SHARED, apart_from, grams, load_corpus
from zmem_lib.data.rows import Corpus
from zmem_lib.files import BadInput
from zmem_lib.fingerprint import sources_of

ALPHABET = [chr(ord("a") + i) * 3 for i in range(26)]  # aaa bbb ccc ...


def made(texts, questions):
    """A corpus of numbered texts, and of (question, number of its text)."""
    docs = pd.DataFrame({"doc_id": [f"d{i}" for i in range(len(texts))], "title": "", "text": texts})
    rows = [{"question": question, "gold_doc_ids": [f"d{i}"]} for question, i in questions]
    return Corpus(docs, pd.DataFrame(rows, columns=["question", "gold_doc_ids"]), "here", {"before": 1})


def test_a_passage_that_shares_most_of_its_8_grams_is_left_out_with_its_questions():
    whole, half, less, short = ALPHABET[:20], ALPHABET[:14], ALPHABET[:13], ALPHABET[:3]
    own = ["".join(word) + "x" for word in ALPHABET]
    texts = [
        " ".join(whole).upper(),  # all 13 grams
        " ".join([*half, *own[:6]]),  # 7 of 13
        " ".join([*less, *own[:7]]),  # 6 of 13
        " ".join(short),  # no test passage is this short: its only gram is not there
    ]
    corpus = made(texts, [("Of the first?", 0), ("Of the second?", 1), ("Of the third?", 2), ("Of the last?", 3)])
    kept = apart_from(corpus, [made([" ".join(whole)], [])])
    assert list(kept.docs["doc_id"]) == ["d2", "d3"] and list(kept.questions["question"]) == [
        "Of the third?",
        "Of the last?",
    ]
    assert kept.dropped == {"before": 1, SHARED: 2, ASKED: 2}


def test_a_recurring_question_is_left_out_and_its_passage_stays():
    corpus = made(["one two three", "four five six"], [("Who  IS it?", 0), ("Who was it?", 1)])
    kept = apart_from(corpus, [made(["nothing of it"], [("who is it?", 0)]), made(["nor of that"], [])])
    assert len(kept.docs) == 2 and list(kept.questions["question"]) == ["Who was it?"] and kept.dropped[ASKED] == 1


def test_grams_of_a_short_text():
    assert grams("One two.") == {("one", "two")} and len(grams(" ".join(ALPHABET[:9]))) == 2


def test_a_run_leaves_out_what_a_test_corpus_has(tmp_path):
    for name, texts in {
        "first": ["Ada was born in Ghent.", "Bo lives in Bruges."],
        "test": ["Ada was born in Ghent!"],
    }.items():
        (tmp_path / name).mkdir()
        rows = [{"doc_id": f"{name}{i}", "text": text} for i, text in enumerate(texts)]
        asked = [
            {
                "question_id": f"q{i}",
                "question": f"Where, {text}",
                "answers": [text[-7:-1]],
                "doc_id": f"{name}{i}",
                "split": "train",
            }
            for i, text in enumerate(texts)
        ]
        for file, lines in {"corpus": rows, "questions": asked}.items():
            (tmp_path / name / f"{file}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = {
        "corpus.name": "folder",
        "corpus.path": str(tmp_path / "first"),
        "corpus.documents": 1,
        "corpus.new_documents": 0,
    }
    params = small_params(values | {"corpus.apart_from": f" {tmp_path / 'test'} ; "})
    corpus = load_corpus(params)
    assert list(corpus.docs["doc_id"]) == ["first1"] and corpus.dropped[SHARED] == 1
    assert {"test/corpus.jsonl", "test/questions.jsonl"} <= set(sources_of(params, 1))
    with pytest.raises(BadInput, match=r"^corpus\.apart_from: "):
        load_corpus(small_params(values | {"corpus.apart_from": str(tmp_path / "nowhere")}))

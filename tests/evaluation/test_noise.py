"""The noise experiment: what is replaced, by what, that nothing is read twice, and what the tables say."""

import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_collection import small_collection
from tiny_models import random_blocks, sentence, small_params

from zmem_lib.cache import Cache
from zmem_lib.evaluation import noise
from zmem_lib.evaluation.metrics import f1
from zmem_lib.evaluation.noise import (
    CHANGED,
    KINDS,
    NEGATIVE,
    SHARES,
    exchanged,
    hard_negatives,
    noisy_questions,
    replaced,
)
from zmem_lib.params import changed
from zmem_lib.systems import evidence
from zmem_lib.systems.choosing import nearest
from zmem_lib.systems.collection import Collection
from zmem_lib.systems.evidence import answers_of
from zmem_lib.tables import TABLES
from zmem_lib.text import passages

PARAMS = small_params(
    {"memory.evidence_tokens": 12, "answer.answer_tokens": 3, "answer.top_k": 1, "answer.noise_questions": 3}
)
N = 8
CITIES = ("Lund", "Oslo", "Graz", "Bern", "Pisa", "Kyiv", "Riga", "Gent")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    docs = [
        (f"d{i}", f"Person {i}", f"{city} is home of person {i}. {sentence(i, 6)}") for i, city in enumerate(CITIES)
    ]
    docs = pd.DataFrame(docs, columns=["doc_id", "title", "text"])
    vectors = torch.eye(N)[:, :4].numpy() + np.arange(N)[:, None] / 10  # (N,4)
    return small_collection(PARAMS, docs, tmp_path_factory.mktemp("run"), vectors=vectors)


@pytest.fixture(scope="module", name="test")
def make_test():
    rows = [
        {"question_id": f"q{i}", "question": f"Where is the home of person {i}?", "answers": [city],
         "gold_doc_ids": [f"d{i}"], "part": "seen" if i % 2 else "new"} for i, city in enumerate(CITIES)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def written(monkeypatch):
    """Blocks in the place of writing, by which documents were to be written."""
    asked = []

    def write(self, docs, *, cache):
        assert (docs["part"] == "new").all()
        asked.append(docs)
        return random_blocks(len(docs), PARAMS, seed=9), None, None

    monkeypatch.setattr(Collection, "write_documents", write)
    return asked


def mark(answer):
    """A number by which answers are told apart: no answer of a random model is right."""
    return float(zlib.crc32(answer.encode()) % 997)


def answered(test, collection, names=("zmem", "bm25", "zmem-oracle", "gold-passage", "closed-book")):
    return {name: answers_of(name, test, collection) for name in names}


def test_items_are_replaced_by_part_nested_and_the_same_for_every_system():
    parts = ["seen"] * 10 + ["new"] * 5
    sets = [replaced(parts, [1] * 15, share, 7) for share in SHARES]
    assert [len({q for q, _ in chosen if q < 10}) for chosen in sets] == [0, 2, 4, 6, 8]
    assert [len({q for q, _ in chosen if q >= 10}) for chosen in sets] == [0, 1, 2, 3, 4]
    assert all(smaller < larger for smaller, larger in pairwise(sets))
    assert sets[2] != replaced(parts, [1] * 15, 0.4, 8), "the seed draws them"
    three = replaced(parts, [3] * 15, 0.4, 7)
    assert len(three) == 18 and {place for _, place in three} == {0, 1, 2}
    unlike = replaced(["seen"] * 2, [4, 1], 0.6, 7)
    assert len(unlike) == 3 and all(place < [4, 1][q] for q, place in unlike)


def test_answers_are_exchanged_whole_longest_first_and_inside_words_in_korean():
    said = "New York, new york's Yorkers, York."
    assert exchanged(said, ["York", "New York"], r"Oslo\1", "squad") == r"Oslo\1, Oslo\1's Yorkers, Oslo\1."
    assert exchanged("서울에 산다", ["서울", ""], "부산", "korquad") == "부산에 산다"
    assert exchanged("서울에 산다", ["서울"], "부산", "squad") == "서울에 산다"


def test_a_question_gets_the_answer_of_one_like_it_and_one_without_its_answer_is_passed_over(collection, test):
    more = pd.DataFrame([
        {"question_id": "year", "question": "Where is the home of person 1 in 1999?", "answers": ["1999"],
         "gold_doc_ids": ["x"]},
        {"question_id": "far", "question": "Who cooks?", "answers": ["Ann"], "gold_doc_ids": ["y"]},
    ])  # fmt: skip
    silent = test.assign(answers=[["Nowhere"] if i == 3 else answers for i, answers in enumerate(test["answers"])])
    noisy = noisy_questions(silent, pd.concat([more, test]), collection)
    assert noisy["part"].value_counts().to_dict() == {"seen": 3, "new": 3} and "q3" not in set(noisy["question_id"])
    for row in noisy.itertuples():
        city = CITIES[int(row.question_id[1:])]
        assert city not in row.text and any(other in row.text for other in CITIES), "another city, no year, not Ann"
        assert row.title == f"Person {row.question_id[1:]}"
    again = noisy_questions(silent, pd.concat([more, test]), collection)
    assert again.equals(noisy)
    numbers = noisy_questions(test.assign(answers=[[str(i)] for i in range(N)]), pd.concat([test, more]), collection)
    assert all("1999" in text for text in numbers["text"]), "a number for a number"


def test_hard_negatives_are_near_not_gold_and_without_the_answer_first(collection, test):
    some = test.iloc[[2]].assign(gold_doc_ids=[["d2", "d7"]], answers=[["person 6"]])
    (found,) = hard_negatives(some, collection)
    near = nearest(collection, [["d2"]], N)[0]
    assert "d7" in near and found == [doc_id for doc_id in near if doc_id not in ("d7", "d6")] + ["d6"]
    assert len(near) == N - 1 and near[0] == nearest(collection, [["d2"]], 1)[0][0]


def test_a_share_of_items_is_read_anew_and_the_others_are_not(collection, test, written, monkeypatch):
    answers, read = answered(test, collection), []
    plain = noise.answer
    monkeypatch.setattr(noise, "METRICS", {"em": lambda text, *_: mark(text), "f1": f1})
    monkeypatch.setattr(
        noise, "answer", lambda asked, *rest, **more: read.append((asked, *rest)) or plain(asked, *rest, **more)
    )
    scores = noise.noise_scores(test, test, answers, collection)
    table = noise.noise_table(scores, 20, seed=1)
    assert scores.groupby(["system", "kind", "share", "metric"])["question_id"].nunique().eq(6).all()
    assert set(table["system"]) == {"zmem", "bm25", "zmem-oracle", "gold-passage"}
    assert len(table) == 4 * 2 * len(KINDS) * len(SHARES) * 2 and set(table["n"]) == {3}
    keys = [(q, *items) for asked, _, sets in read for q, items in zip(asked["question_id"], sets, strict=True)]
    assert len(keys) == len(set(keys)), "nothing is read twice"
    noisy = noisy_questions(test, test, collection)
    due = [q for q, _ in sorted(replaced(noisy["part"], [1] * len(noisy), SHARES[-1], PARAMS.seed))]
    (docs,) = written
    assert list(docs["text"]) == list(noisy["text"].iloc[due]), "what replaces nothing is not written"
    negatives = [ids[0] for ids in hard_negatives(noisy, collection)]
    texts = dict(zip(collection.docs.doc_id, passages(collection.docs), strict=True))
    z = random_blocks(len(docs), PARAMS, seed=9)
    takes = {
        ("gold-passage", NEGATIVE): [[texts[doc_id]] for doc_id in negatives],
        ("gold-passage", CHANGED): [[text] for text in passages(noisy)],
        ("zmem-oracle", NEGATIVE): evidence.written(noisy, collection, [[doc_id] for doc_id in negatives])[0],
    }
    rows = evidence.from_blocks(noisy, collection, due, z)[0]
    takes["zmem-oracle", CHANGED] = rows
    for (name, kind), items in takes.items():
        own = answers[name].set_index("question_id").loc[noisy["question_id"], "answer"].tolist()
        for share in SHARES:
            places = {q for q, _ in replaced(noisy["part"], [1] * len(noisy), share, PARAMS.seed)}
            said = evidence.answer(noisy, collection, [mine or [""] for mine in items], began=0.0)["answer"].tolist()
            mixed = [said[q] if q in places else own[q] for q in range(len(noisy))]
            right = [mark(text) for text in mixed]
            found = table[
                (table.system == name) & (table.kind == kind) & (table.share == share) & (table.metric == "em")
            ]
            by_part = pd.Series(right).groupby(noisy["part"]).mean()
            assert found.set_index("part")["value"].to_dict() == pytest.approx(by_part.to_dict())


def test_a_reader_that_repeats_its_evidence_falls_as_items_are_replaced(collection, test, written, monkeypatch):
    """An ideal reader: it says the city that stands in the evidence, so what it says tells what it was given."""

    def read(asked, _, items, *, began):
        said = ["|".join(city for city in CITIES if city in " ".join(mine)) for mine in items]
        return pd.DataFrame({"answer": said})

    monkeypatch.setattr(noise, "answer", read)
    golds = [f"d{i}" for i in range(N)]
    right = pd.DataFrame({"question_id": test["question_id"], "answer": CITIES, "evidence": [[""]] * N,
                          "ranked_doc_ids": [[doc_id] for doc_id in golds]})  # fmt: skip
    four = replace(collection, params=changed(PARAMS, {"answer.noise_questions": 4}))
    table = noise.noise_table(noise.noise_scores(test, test, {"bm25": right, "gold-passage": right}, four), 20, seed=1)
    for (_, _, _), some in table[table["metric"] == "em"].groupby(["system", "part", "kind"]):
        assert some["value"].tolist() == [1.0, 0.75, 0.5, 0.5, 0.25], "of four: 0, 1, 2, 2, 3 replaced"
    several = replace(collection, params=changed(PARAMS, {"answer.top_k": 2, "answer.long_context_tokens": 60}))
    two = right.assign(ranked_doc_ids=[[doc_id, golds[i - 1]] for i, doc_id in enumerate(golds)])
    found = noise.noise_scores(test, test, {"hybrid": two, "long-context": two}, several)
    assert len(found) == 2 * len(KINDS) * len(SHARES) * 2 * 6


def test_several_items_from_z_are_those_that_the_answers_hold(test, collection, written):
    """Of two items that z wrote, those at the places drawn are replaced, and the others stay as they were read."""
    two = replace(collection, params=changed(PARAMS, {"answer.top_k": 2}))
    own = answers_of("zmem", test, two)
    items = noise.own_items("zmem", own, test, two)
    assert items == own["evidence"].map(list).tolist() and set(map(len, items)) == {2}
    assert len(noise.noise_scores(test, test, {"zmem": own}, two)) == len(KINDS) * len(SHARES) * 2 * 6


def test_what_was_kept_is_not_made_again(collection, test, written, monkeypatch, tmp_path):
    answers = answered(test, collection, ("bm25", "gold-passage"))
    kept = replace(collection, cache=Cache(tmp_path, "these"))
    first = noise.noise_scores(test, test, answers, kept)
    monkeypatch.setattr(noise, "answer", None)
    monkeypatch.setattr(Collection, "write_documents", None)
    assert noise.noise_scores(test, test, answers, kept).equals(first)
    (tmp_path / "noise_bm25.parquet").unlink()
    with pytest.raises(TypeError):
        noise.noise_scores(test, test, answers, kept)


def test_without_questions_the_table_is_empty_and_nothing_is_made(collection, test, written):
    off = replace(collection, params=changed(PARAMS, {"answer.noise_questions": 0}))
    scores = noise.noise_scores(test, test, {"bm25": None}, off)
    table = noise.noise_table(scores, 20, seed=1)
    for name, frame in (("noise_scores", scores), ("noise", table)):
        assert frame.empty and list(frame) == list(TABLES[name])
    assert written == []

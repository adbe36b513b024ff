"""The noise experiment: what is replaced, by what, that nothing is read twice, and what the table says."""

import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import random_blocks, sentence, small_lm, small_params

from zmem_lib.cache import Cache
from zmem_lib.evaluation import noise, noise_items
from zmem_lib.evaluation.metrics import f1
from zmem_lib.evaluation.noise_items import (
    CHANGED,
    KINDS,
    NEGATIVE,
    SHARES,
    exchanged,
    hard_negatives,
    noisy_questions,
    replaced,
)
from zmem_lib.opponents.index import build_flat
from zmem_lib.opponents.retrieve import DenseIndex, build_bm25
from zmem_lib.params import changed
from zmem_lib.systems import controls, evidence, systems
from zmem_lib.systems.collection import Bench
from zmem_lib.text import passages

PARAMS = small_params(
    {
        "memory.evidence_tokens": 12,
        "answer.answer_tokens": 3,
        "answer.top_k": 1,
        "answer.noise_questions": 3,
        "evaluate.bootstrap_samples": 20,
    }
)
N = 8
CITIES = ("Lund", "Oslo", "Graz", "Bern", "Pisa", "Kyiv", "Riga", "Gent")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    docs = [
        (f"d{i}", f"Person {i}", f"{city} is home of person {i}. {sentence(i, 6)}") for i, city in enumerate(CITIES)
    ]
    docs = pd.DataFrame(docs, columns=["doc_id", "title", "text"])
    vectors = torch.eye(N)[:, :4].numpy() + np.arange(N)[:, None] / 10  # (N,4)
    dense = DenseIndex(list(docs.doc_id), build_flat(vectors))
    bm25 = build_bm25(list(docs.doc_id), passages(docs), tokens="words")
    z, folder = random_blocks(N, PARAMS), tmp_path_factory.mktemp("run")
    keys = torch.zeros(N, 0)
    return Bench(PARAMS, small_lm(PARAMS), docs, z, keys, bm25=bm25, dense=dense, encoder=None, folder=folder)


@pytest.fixture(scope="module", name="test")
def make_test():
    rows = [
        {"question_id": f"q{i}", "question": f"Where is the home of person {i}?", "answers": [city],
         "gold_doc_ids": [f"d{i}"], "part": "seen" if i % 2 else "new"} for i, city in enumerate(CITIES)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def written(monkeypatch, bench):
    """Blocks in the place of writing, by which documents were to be written."""
    asked = []

    def write(folder, docs, params, keep, memory_lm):
        assert folder == bench.folder and memory_lm is bench.memory_lm and (docs["part"] == "new").all()
        asked.append(docs)
        return random_blocks(len(docs), PARAMS, seed=9), None, ""

    monkeypatch.setattr(noise_items, "write_documents", write)
    return asked


def mark(answer):
    """A number by which answers are told apart: no answer of a random model is right."""
    return float(zlib.crc32(answer.encode()) % 997)


def answered(test, bench, names=("zmem", "bm25", "zmem-oracle", "gold-passage", "closed-book")):
    by_name = {"zmem": systems.zmem, "bm25": systems.bm25, "zmem-oracle": controls.zmem_oracle,
               "gold-passage": systems.gold_passage, "closed-book": systems.closed_book}  # fmt: skip
    return {name: by_name[name](test, bench) for name in names}


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


def test_a_question_gets_the_answer_of_one_like_it_and_one_without_its_answer_is_passed_over(bench, test):
    more = pd.DataFrame([
        {"question_id": "year", "question": "Where is the home of person 1 in 1999?", "answers": ["1999"],
         "gold_doc_ids": ["x"]},
        {"question_id": "far", "question": "Who cooks?", "answers": ["Ann"], "gold_doc_ids": ["y"]},
    ])  # fmt: skip
    silent = test.assign(answers=[["Nowhere"] if i == 3 else answers for i, answers in enumerate(test["answers"])])
    noisy = noisy_questions(silent, pd.concat([more, test]), bench)
    assert noisy["part"].value_counts().to_dict() == {"seen": 3, "new": 3} and "q3" not in set(noisy["question_id"])
    for row in noisy.itertuples():
        city = CITIES[int(row.question_id[1:])]
        assert city not in row.text and any(other in row.text for other in CITIES), "another city, no year, not Ann"
        assert row.title == f"Person {row.question_id[1:]}"
    again = noisy_questions(silent, pd.concat([more, test]), bench)
    assert again.equals(noisy)
    numbers = noisy_questions(test.assign(answers=[[str(i)] for i in range(N)]), pd.concat([test, more]), bench)
    assert all("1999" in text for text in numbers["text"]), "a number for a number"


def test_hard_negatives_are_near_not_gold_and_without_the_answer_first(bench, test):
    some = test.iloc[[2]].assign(gold_doc_ids=[["d2", "d7"]], answers=[["person 6"]])
    (found,) = hard_negatives(some, bench)
    near = controls.nearest(bench, ["d2"], N)[0]
    assert "d7" in near and found == [doc_id for doc_id in near if doc_id not in ("d7", "d6")] + ["d6"]
    assert len(near) == N - 1 and near[0] == controls.nearest(bench, ["d2"], 1)[0][0]


def test_a_share_of_items_is_read_anew_and_the_others_are_not(bench, test, written, monkeypatch):
    answers, read = answered(test, bench), []
    plain = noise.answer
    monkeypatch.setattr(noise, "METRICS", {"em": lambda text, *_: mark(text), "f1": f1})
    monkeypatch.setattr(
        noise, "answer", lambda asked, *rest, **more: read.append((asked, *rest)) or plain(asked, *rest, **more)
    )
    table = noise.noise_table(test, test, answers, bench)
    assert set(table["system"]) == {"zmem", "bm25", "zmem-oracle", "gold-passage"}
    assert len(table) == 4 * 2 * len(KINDS) * len(SHARES) * 2 and set(table["n"]) == {3}
    keys = [(q, *items) for asked, _, sets in read for q, items in zip(asked["question_id"], sets, strict=True)]
    assert len(keys) == len(set(keys)), "nothing is read twice"
    noisy = noisy_questions(test, test, bench)
    due = [q for q, _ in sorted(replaced(noisy["part"], [1] * len(noisy), SHARES[-1], PARAMS.seed))]
    (docs,) = written
    assert list(docs["text"]) == list(noisy["text"].iloc[due]), "what replaces nothing is not written"
    negatives = [ids[0] for ids in hard_negatives(noisy, bench)]
    texts = dict(zip(bench.docs.doc_id, passages(bench.docs), strict=True))
    z = random_blocks(len(docs), PARAMS, seed=9)
    takes = {
        ("gold-passage", NEGATIVE): [[texts[doc_id]] for doc_id in negatives],
        ("gold-passage", CHANGED): [[text] for text in passages(noisy)],
        ("zmem-oracle", NEGATIVE): evidence.recall(noisy, bench, [[doc_id] for doc_id in negatives])[0],
    }
    rows = evidence.from_blocks(noisy, bench, [(q, q) for q in due], z)[0]
    takes["zmem-oracle", CHANGED] = rows
    for (name, kind), items in takes.items():
        own = answers[name].set_index("question_id").loc[noisy["question_id"], "answer"].tolist()
        for share in SHARES:
            places = {q for q, _ in replaced(noisy["part"], [1] * len(noisy), share, PARAMS.seed)}
            said = evidence.answer(noisy, bench, [mine or [""] for mine in items], began=0.0)["answer"].tolist()
            mixed = [said[q] if q in places else own[q] for q in range(len(noisy))]
            right = [mark(text) for text in mixed]
            found = table[
                (table.system == name) & (table.kind == kind) & (table.share == share) & (table.metric == "em")
            ]
            by_part = pd.Series(right).groupby(noisy["part"]).mean()
            assert found.set_index("part")["value"].to_dict() == pytest.approx(by_part.to_dict())


def test_a_reader_that_repeats_its_evidence_falls_as_items_are_replaced(bench, test, written, monkeypatch):
    """An ideal reader: it says the city that stands in the evidence, so what it says tells what it was given."""

    def read(asked, _, items, *, began):
        said = ["|".join(city for city in CITIES if city in " ".join(mine)) for mine in items]
        return pd.DataFrame({"answer": said})

    monkeypatch.setattr(noise, "answer", read)
    golds = [f"d{i}" for i in range(N)]
    right = pd.DataFrame({"question_id": test["question_id"], "answer": CITIES, "evidence": "",
                          "ranked_doc_ids": [[doc_id] for doc_id in golds]})  # fmt: skip
    table = noise.noise_table(
        test,
        test,
        {"bm25": right, "gold-passage": right},
        replace(bench, params=changed(PARAMS, {"answer.noise_questions": 4})),
    )
    for (_, _, _), some in table[table["metric"] == "em"].groupby(["system", "part", "kind"]):
        assert some["value"].tolist() == [1.0, 0.75, 0.5, 0.5, 0.25], "of four: 0, 1, 2, 2, 3 replaced"
    several = replace(bench, params=changed(PARAMS, {"answer.top_k": 2, "answer.long_context_tokens": 60}))
    two = right.assign(ranked_doc_ids=[[doc_id, golds[i - 1]] for i, doc_id in enumerate(golds)])
    found = noise.noise_table(test, test, {"hybrid": two, "long-context": two}, several)
    assert len(found) == 2 * 2 * len(KINDS) * len(SHARES) * 2


def test_what_was_kept_is_not_made_again(bench, test, written, monkeypatch, tmp_path):
    answers = answered(test, bench, ("bm25", "gold-passage"))
    kept = replace(bench, keep=Cache(tmp_path, "these"))
    first = noise.noise_table(test, test, answers, kept)
    monkeypatch.setattr(noise, "answer", None)
    monkeypatch.setattr(noise_items, "write_documents", None)
    assert noise.noise_table(test, test, answers, kept).equals(first)
    (tmp_path / "noise_bm25.safetensors").unlink()
    with pytest.raises(TypeError):
        noise.noise_table(test, test, answers, kept)


def test_without_questions_the_table_is_empty_and_nothing_is_made(bench, test, written):
    off = replace(bench, params=changed(PARAMS, {"answer.noise_questions": 0}))
    table = noise.noise_table(test, test, {"bm25": None}, off)
    assert table.empty and list(table) == list(noise.TABLES["noise"]) and written == []

"""bm25s in the place of rank_bm25: the same rankings of made-up and of real texts, ties and common terms included."""

import json

import numpy as np
import pytest
from conftest import CORPORA

from zmem_lib.opponents import bm25
from zmem_lib.opponents.bm25 import best_rows, build_bm25, load_bm25, rank_bm25, save_bm25

REAL = CORPORA / "squad11-dev"
WORDS = [f"w{i}" for i in range(40)]


def both(monkeypatch, doc_ids, passages, tokens="words"):
    """The index of rank_bm25, and that of bm25s over the same passages."""
    monkeypatch.setattr(bm25, "LARGE", len(passages))
    reference = build_bm25(doc_ids, passages, tokens=tokens)
    monkeypatch.setattr(bm25, "LARGE", len(passages) - 1)
    return reference, build_bm25(doc_ids, passages, tokens=tokens)


def made_up(n: int, seed: int) -> list[str]:
    """Passages over few words, so that some stand in most passages, many passages are alike, and one is empty."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0.9, 0.02, len(WORDS))
    rows = [" ".join(np.repeat(WORDS, (rng.random(len(WORDS)) < share) * rng.integers(1, 4))) for _ in range(n)]
    return ["", *rows, *rows[:20]]


@pytest.mark.parametrize("seed", [1, 2])
def test_rankings_and_scores_are_the_same_with_common_terms_and_ties(seed, monkeypatch):
    passages = made_up(150, seed)
    doc_ids = [f"d{i}" for i in range(len(passages))]
    reference, large = both(monkeypatch, doc_ids, passages)
    assert reference.scores.__qualname__.startswith("BM25Okapi") and "large_scorer" in large.scores.__qualname__
    having = [sum(word in passage.split() for passage in passages) for word in WORDS]
    assert max(having) > len(passages) / 2 > min(having), "terms in more than half of the documents, and others"
    rng = np.random.default_rng(seed)
    asked = [" ".join(rng.choice(WORDS, 5)) for _ in range(40)] + ["w0", "w0 w0 w39", "unknown", "", " ".join(WORDS)]
    for depth in (1, 20, 500):
        ids, scores = rank_bm25(reference, asked, depth)
        same_ids, same_scores = rank_bm25(large, asked, depth)
        assert same_ids == ids
        np.testing.assert_allclose(np.array(same_scores), np.array(scores), atol=1.1e-6)
    place = {doc_id: row for row, doc_id in enumerate(doc_ids)}
    ties = [
        (first, second)
        for line, row in zip(ids, scores, strict=True)
        for first, second, a, b in zip(line, line[1:], row, row[1:], strict=False)
        if a == b
    ]
    assert len(ties) > 100 and all(place[first] < place[second] for first, second in ties)


def test_a_saved_index_of_a_large_corpus_is_read_as_one(monkeypatch, tmp_path):
    passages = made_up(60, 3)
    _, large = both(monkeypatch, [f"d{i}" for i in range(len(passages))], passages)
    save_bm25(large, tmp_path / "bm25")
    again = load_bm25(tmp_path / "bm25")
    assert "large_scorer" in again.scores.__qualname__
    assert rank_bm25(again, ["w3 w30"], 9) == rank_bm25(large, ["w3 w30"], 9)


def test_the_best_rows_are_those_of_a_whole_sort():
    rng = np.random.default_rng(0)
    for depth in (1, 3, 50, 99):
        scores = rng.integers(0, 6, 50).astype(float)
        assert best_rows(scores, depth).tolist() == np.argsort(-scores, kind="stable")[:depth].tolist()


@pytest.mark.skipif(not REAL.is_dir(), reason="the passages of SQuAD are not on this machine")
@pytest.mark.parametrize("tokens", ["words", "bigrams"])
def test_rankings_of_real_text_are_the_same(tokens, monkeypatch):
    docs = [json.loads(line) for line in (REAL / "corpus.jsonl").read_text(encoding="utf-8").splitlines()][:600]
    lines = (REAL / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line)["question"] for line in lines[:: 100 if tokens == "words" else 400]]
    passages = [f"{doc['title']}\n{doc['text']}" for doc in docs]
    reference, large = both(monkeypatch, [doc["doc_id"] for doc in docs], passages, tokens)
    ids, scores = rank_bm25(reference, asked, 100)
    same_ids, same_scores = rank_bm25(large, asked, 100)
    assert same_ids == ids and len(ids) == len(asked) > 20
    np.testing.assert_allclose(same_scores, scores, atol=1.1e-6)

"""BM25: Okapi's formula by hand, and the rankings of the package rank_bm25, ties and common terms included."""

import json
import math

import numpy as np
import pytest
from conftest import CORPORA
from rank_bm25 import BM25Okapi

from zmem_lib.files import BadInput
from zmem_lib.opponents.bm25 import (
    DECIMALS,
    EPSILON,
    K1,
    B,
    best_rows,
    build_bm25,
    load_bm25,
    rank_bm25,
    save_bm25,
    split_terms,
)

REAL = CORPORA / "squad11-dev"
WORDS = [f"w{i}" for i in range(40)]
IDS = ["one", "two", "three", "four", "five"]
PASSAGES = ["The harp is old", "A cello, a viola", "rowing in Oslo", "stew and stew", "rowing in Oslo"]


def reference(doc_ids, passages, questions, depth, tokens="words"):
    """What rank_bm25 makes of the same terms: ids and scores."""
    okapi = BM25Okapi([split_terms(text, tokens) for text in passages], k1=K1, b=B, epsilon=EPSILON)
    scores = [okapi.get_scores(split_terms(question, tokens)).round(DECIMALS) for question in questions]
    order = [np.argsort(-values, kind="stable")[:depth] for values in scores]
    return [[doc_ids[row] for row in rows] for rows in order], [v[rows] for v, rows in zip(scores, order, strict=True)]


def made_up(n: int, seed: int) -> list[str]:
    """Passages over few words, so that some stand in most passages, many passages are alike, and one is empty."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0.9, 0.02, len(WORDS))
    rows = [" ".join(np.repeat(WORDS, (rng.random(len(WORDS)) < share) * rng.integers(1, 4))) for _ in range(n)]
    return ["", *rows, *rows[:20]]


@pytest.mark.parametrize("seed", [1, 2])
def test_rankings_and_scores_are_the_same_with_common_terms_and_ties(seed):
    passages = made_up(150, seed)
    doc_ids = [f"d{i}" for i in range(len(passages))]
    index = build_bm25(doc_ids, passages, tokens="words")
    having = [sum(word in passage.split() for passage in passages) for word in WORDS]
    assert max(having) > len(passages) / 2 > min(having), "terms in more than half of the documents, and others"
    rng = np.random.default_rng(seed)
    asked = [" ".join(rng.choice(WORDS, 5)) for _ in range(40)] + ["w0", "w0 w0 w39", "unknown", "", " ".join(WORDS)]
    for depth in (1, 20, 500):
        ids, scores = rank_bm25(index, asked, depth)
        same_ids, same_scores = reference(doc_ids, passages, asked, depth)
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


def test_the_best_rows_are_those_of_a_whole_sort():
    rng = np.random.default_rng(0)
    for depth in (1, 3, 50, 99):
        scores = rng.integers(0, 6, 50).astype(float)
        assert best_rows(scores, depth).tolist() == np.argsort(-scores, kind="stable")[:depth].tolist()


@pytest.mark.skipif(not REAL.is_dir(), reason="the passages of SQuAD are not on this machine")
@pytest.mark.parametrize("tokens", ["words", "bigrams"])
def test_rankings_of_real_text_are_the_same(tokens):
    docs = [json.loads(line) for line in (REAL / "corpus.jsonl").read_text(encoding="utf-8").splitlines()][:600]
    lines = (REAL / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line)["question"] for line in lines[:: 100 if tokens == "words" else 400]]
    passages = [f"{doc['title']}\n{doc['text']}" for doc in docs]
    doc_ids = [doc["doc_id"] for doc in docs]
    ids, scores = rank_bm25(build_bm25(doc_ids, passages, tokens=tokens), asked, 100)
    same_ids, same_scores = reference(doc_ids, passages, asked, 100, tokens)
    assert same_ids == ids and len(ids) == len(asked) > 20
    np.testing.assert_allclose(same_scores, scores, atol=1.1e-6)


def test_terms_are_lower_case_words_or_their_character_pairs():
    assert split_terms("The Cat's 3 Äpfel!", "words") == ["the", "cat", "s", "3", "äpfel"]
    assert split_terms("임수경을 a", "bigrams") == ["임수", "수경", "경을", "a"]


def test_bm25_is_okapis_formula():
    passages = ["harp", "stew stew bread", "bread", "harp bread bread bread"]
    _, scores = rank_bm25(build_bm25(["a", "b", "c", "d"], passages, tokens="words"), ["stew"], 1)
    frequency, length, mean_length = 2, 3, 9 / 4
    idf = math.log((4 - 1 + 0.5) / (1 + 0.5))
    by_hand = idf * frequency * 2.5 / (frequency + 1.5 * (1 - 0.75 + 0.75 * length / mean_length))
    assert scores == [[pytest.approx(by_hand)]]


def test_bm25_finds_ranks_ties_in_corpus_order_and_stops_at_the_corpus():
    ids, scores = rank_bm25(
        build_bm25(IDS, PASSAGES, tokens="words"), ["who plays a cello?", "rowing", "nothing here"], 99
    )
    assert ids[0][0] == "two" and ids[1][:2] == ["three", "five"]
    assert ids[2] == IDS, "no word in common: the corpus's order"
    assert all(len(row) == 5 and sorted(row, reverse=True) == row for row in scores)


def test_equal_bm25_scores_come_in_corpus_order():
    ids = [f"d{i}" for i in range(60)]
    ranked, _ = rank_bm25(build_bm25(ids, ["harp", "stew", "cello"] * 20, tokens="words"), ["stew"], 60)
    assert ranked == [[*ids[1::3], *sorted(set(ids) - set(ids[1::3]), key=ids.index)]]


def test_bigrams_find_a_word_that_has_grown_a_particle():
    passages = ["임수경을 보았다", "서울에 갔다", "부산에 살았다"]
    for tokens, found in (("words", 0.0), ("bigrams", 1.0)):
        ids, scores = rank_bm25(build_bm25(["a", "b", "c"], passages, tokens=tokens), ["임수경은 누구"], 1)
        assert ids == [["a"]] and (scores[0][0] > 0) == bool(found)


def test_bm25_is_the_same_after_saving(tmp_path):
    index = build_bm25(IDS, PASSAGES, tokens="bigrams")
    save_bm25(index, tmp_path / "bm25")
    assert rank_bm25(load_bm25(tmp_path / "bm25"), ["stew in Oslo"], 5) == rank_bm25(index, ["stew in Oslo"], 5)
    assert {path.suffix for path in (tmp_path / "bm25").iterdir()} == {".parquet", ".json"}


def test_bm25_over_nothing_is_refused(tmp_path):
    with pytest.raises(BadInput, match="at least one passage"):
        build_bm25(["a"], ["…"], tokens="words")
    with pytest.raises(BadInput, match="does not exist"):
        load_bm25(tmp_path / "nowhere")

"""BM25: Lucene's formula by hand, ties and common terms included; terms by language; k1 and b chosen on dev."""

import json
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from conftest import CORPORA

from zmem_lib.files import BadInput, read_json, write_json
from zmem_lib.opponents.bm25 import (
    DECIMALS,
    K1,
    STOP_WORDS,
    B,
    best_rows,
    build_bm25,
    choose_bm25,
    language_of,
    load_bm25,
    rank_bm25,
    save_bm25,
    settings_of,
    split_terms,
)

WORDS = [f"w{i}" for i in range(40)]
IDS = ["one", "two", "three", "four", "five"]
PASSAGES = ["The harp is old", "A cello, a viola", "rowing in Oslo", "stew and stew", "rowing in Oslo"]


def reference(doc_ids, passages, questions, depth, *, language="", k1=K1, b=B):
    """Lucene's BM25 term by term: ids and scores."""
    documents = [Counter(split_terms(text, language)) for text in passages]
    lengths = np.array([document.total() for document in documents])
    having = Counter(term for document in documents for term in document)
    ids, values = [], []
    for question in questions:
        scores = np.zeros(len(documents))
        for term in split_terms(question, language):
            idf = math.log(1 + (len(documents) - having[term] + 0.5) / (having[term] + 0.5))
            times = np.array([document[term] for document in documents])
            scores += idf * times / (times + k1 * (1 - b + b * lengths / lengths.mean()))
        scores = scores.round(DECIMALS)
        order = np.argsort(-scores, kind="stable")[:depth]
        ids.append([doc_ids[row] for row in order])
        values.append(scores[order].tolist())
    return ids, values


def made_up(n: int, seed: int) -> list[str]:
    """Passages over few words, so that some stand in most passages, many passages are alike, and one is empty."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0.9, 0.02, len(WORDS))
    rows = [" ".join(np.repeat(WORDS, (rng.random(len(WORDS)) < share) * rng.integers(1, 4))) for _ in range(n)]
    return ["", *rows, *rows[:20]]


@pytest.mark.parametrize(("seed", "k1", "b"), [(1, K1, B), (2, 0.3, 0.9)])
def test_rankings_and_scores_are_lucenes_with_common_terms_and_ties(seed, k1, b):
    passages = made_up(150, seed)
    doc_ids = [f"d{i}" for i in range(len(passages))]
    index = build_bm25(doc_ids, passages, k1=k1, b=b)
    having = [sum(word in passage.split() for passage in passages) for word in WORDS]
    assert max(having) > len(passages) / 2 > min(having), "terms in more than half of the documents, and others"
    rng = np.random.default_rng(seed)
    asked = [" ".join(rng.choice(WORDS, 5)) for _ in range(40)] + ["w0", "w0 w0 w39", "unknown", "", " ".join(WORDS)]
    for depth in (1, 20, 500):
        ids, scores = rank_bm25(index, asked, depth)
        same_ids, same_scores = reference(doc_ids, passages, asked, depth, k1=k1, b=b)
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


@pytest.mark.parametrize(("name", "language"), [("squad11-dev", "english"), ("korquad", "")])
def test_rankings_of_real_text_are_lucenes(name, language):
    folder = CORPORA / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    docs = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()][:200]
    lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line)["question"] for line in lines[::300]]
    passages = [f"{doc['title']}\n{doc['text']}" for doc in docs]
    doc_ids = [doc["doc_id"] for doc in docs]
    index = build_bm25(doc_ids, passages)
    assert index.language == language
    ids, scores = rank_bm25(index, asked, 100)
    same_ids, same_scores = reference(doc_ids, passages, asked, 100, language=language)
    assert same_ids == ids and len(ids) == len(asked) >= 20
    np.testing.assert_allclose(same_scores, scores, atol=1.1e-6)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The Cat's 3 Äpfel!", "", ["the", "cat", "s", "3", "äpfel"]),
        ("Who was running to the cities?", "english", ["run", "citi"]),
        ("Wo liefen die Häuser?", "german", ["lief", "haus"]),
        ("임수경을 a", "", ["임", "수", "경", "을", "임수", "수경", "경을", "a"]),
        ("GPT는 running", "english", ["gpt", "는", "run"]),
        ("हिन्दी में", "", ["हिन्दी", "में"]),
        ("", "english", []),
    ],
)
def test_terms(text, language, expected):
    assert split_terms(text, language) == expected


@pytest.mark.parametrize(
    ("passages", "language"),
    [
        (["The town is by the sea, and it was old."], "english"),
        (["Die Stadt liegt an der See und sie ist alt."], "german"),
        (["La ville est au bord de la mer, et elle est vieille."], "french"),
        (["서울은 대한민국의 수도이며 그 남쪽에는 강이 있다. The Band."], ""),
        (["harp", "stew bread"], ""),
        ([""], ""),
    ],
)
def test_the_language_is_found_from_stop_words(passages, language):
    assert language_of(passages) == language


def test_every_language_has_a_stemmer_and_stop_words():
    for language in STOP_WORDS:
        assert split_terms("zebras", language)[0].startswith("zebra"[:4])
        assert len(split_terms(" ".join(STOP_WORDS[language]), language)) == 0


def test_bm25_is_lucenes_formula():
    passages = ["harp", "stew stew bread", "bread", "harp bread bread bread"]
    _, scores = rank_bm25(build_bm25(["a", "b", "c", "d"], passages, k1=1.5, b=0.75), ["stew"], 1)
    frequency, length, mean_length = 2, 3, 9 / 4
    idf = math.log(1 + (4 - 1 + 0.5) / (1 + 0.5))
    by_hand = idf * frequency / (frequency + 1.5 * (1 - 0.75 + 0.75 * length / mean_length))
    assert scores == [[pytest.approx(by_hand)]]


def test_a_term_of_half_of_the_documents_counts_for_those_that_have_it():
    ids, scores = rank_bm25(build_bm25(["a", "b"], ["harp", "stew"]), ["stew", "harp"], 2)
    assert ids == [["b", "a"], ["a", "b"]]
    assert scores[0] == [pytest.approx(math.log(2) / (1 + K1)), 0]


def test_bm25_finds_ranks_ties_in_corpus_order_and_stops_at_the_corpus():
    ids, scores = rank_bm25(build_bm25(IDS, PASSAGES), ["who plays a cello?", "rowing", "nothing here"], 99)
    assert ids[0][0] == "two" and ids[1][:2] == ["three", "five"]
    assert ids[2] == IDS, "no word in common: the corpus's order"
    assert all(len(row) == 5 and sorted(row, reverse=True) == row for row in scores)


def test_equal_bm25_scores_come_in_corpus_order():
    ids = [f"d{i}" for i in range(60)]
    ranked, _ = rank_bm25(build_bm25(ids, ["harp", "stew", "cello"] * 20), ["stew"], 60)
    assert ranked == [[*ids[1::3], *sorted(set(ids) - set(ids[1::3]), key=ids.index)]]


@pytest.mark.parametrize(
    ("passages", "question"),
    [
        (["서울에 갔다", "임수경을 보았다"], "임수경은 누구"),  # a word that has grown a particle
        (["빛의 까닭은 흡수이다", "물이 파란 까닭은 빛의 흡수이다."], "물은 무엇인가?"),  # one letter
        (["天津很大", "北京很大"], "北京在哪里"),
        (["คนมา", "แมวไป"], "แมว"),
        (["GPT는 빠르다", "BERT는 느리다"], "bert가 뭐야"),
        (["वह गया", "हिन्दी"], "हिन्दी क्या"),
        (["Zug", "Zu\u0308rich"], "zürich"),  # a letter in two forms
        (["1989", "１９９０"], "1990"),
        (["the towns are old", "the city was old"], "cities"),
    ],
)
def test_words_are_found_in_every_script(passages, question):
    ids, scores = rank_bm25(build_bm25(["a", "b"], passages), [question], 2)
    assert ids[0][0] == "b"
    assert scores[0][0] > scores[0][1]


def dev_questions(n: int) -> tuple[list[str], pd.DataFrame]:
    """Passages of which every other one is long and repeats a word; questions about the short ones that have it."""
    passages = [f"w{i // 2} " + ("pad " * 60 + f"w{i // 2} w{i // 2}" if i % 2 else "") for i in range(2 * n)]
    rows = [(f"w{i}", [f"d{2 * i}"]) for i in range(n)]
    return passages, pd.DataFrame(rows, columns=["question", "gold_doc_ids"])


def test_k1_and_b_are_those_that_rank_dev_questions_best():
    passages, dev = dev_questions(8)
    index = build_bm25([f"d{i}" for i in range(16)], passages, k1=1.6, b=0.1)
    assert rank_bm25(index, ["w3"], 1)[0] == [["d7"]], "the long one has the word more often"
    chosen, tried = choose_bm25(index, dev, seed=1)
    assert rank_bm25(chosen, ["w3"], 1)[0] == [["d6"]]
    best = tried.set_index(["k1", "b"])["mrr@10"]
    assert best[chosen.k1, chosen.b] == best.max() == 1
    assert set(tried["n"]) == {8}


def test_of_equal_settings_lucenes_stay():
    passages = ["harp", "stew", "bread"]
    dev = pd.DataFrame({"question": ["stew"], "gold_doc_ids": [["b"]]})
    chosen, tried = choose_bm25(build_bm25(["a", "b", "c"], passages), dev, seed=1)
    assert (chosen.k1, chosen.b) == (K1, B)
    assert (tried["recall@1"] == 1).all()


def test_without_dev_questions_the_index_stays():
    index = build_bm25(IDS, PASSAGES)
    chosen, tried = choose_bm25(index, pd.DataFrame({"question": [], "gold_doc_ids": []}), seed=1)
    assert chosen is index and tried.empty


def test_bm25_is_the_same_after_saving(tmp_path):
    passages, dev = dev_questions(5)
    index, tried = choose_bm25(build_bm25([f"d{i}" for i in range(10)], passages), dev, seed=1)
    save_bm25(index, tmp_path / "bm25", tried)
    assert rank_bm25(load_bm25(tmp_path / "bm25"), ["w1 pad", "w2"], 5) == rank_bm25(index, ["w1 pad", "w2"], 5)
    assert settings_of(tmp_path / "bm25") == {"language": index.language, "k1": index.k1, "b": index.b}
    assert read_json(tmp_path / "bm25/settings.json")["tried"]["mrr@10"] == tried["mrr@10"].tolist()
    assert {path.suffix for path in (tmp_path / "bm25").iterdir()} == {".parquet", ".json"}


def test_bm25_over_nothing_and_of_before_is_refused(tmp_path):
    with pytest.raises(BadInput, match="at least one passage"):
        build_bm25(["a"], ["…"])
    with pytest.raises(BadInput, match="does not exist"):
        load_bm25(tmp_path / "nowhere")
    save_bm25(build_bm25(IDS, PASSAGES), tmp_path / "bm25")
    write_json({"tokens": "words", "k1": 1.5, "b": 0.75}, tmp_path / "bm25/settings.json")
    with pytest.raises(BadInput, match="chapters from 05"):
        load_bm25(tmp_path / "bm25")

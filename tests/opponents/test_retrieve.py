"""BM25, the dense index and the encoder: right by hand, the same after saving, ties in the corpus's order."""

import math
from pathlib import Path

import numpy as np
import pytest

from zmem_lib.files import BadInput
from zmem_lib.opponents.index import build_flat, search
from zmem_lib.opponents.retrieve import (
    build_bm25,
    build_dense,
    load_bm25,
    load_dense,
    load_encoder,
    rank_bm25,
    rank_dense,
    save_bm25,
    save_dense,
    split_terms,
)

IDS = ["one", "two", "three", "four", "five"]
PASSAGES = ["The harp is old", "A cello, a viola", "rowing in Oslo", "stew and stew", "rowing in Oslo"]


class LetterEncoder:
    """Stands in for a sentence encoder: unit vectors of letter counts."""

    def encode(self, texts, **_options):
        counts = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


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


def test_bm25_over_nothing_is_refused():
    with pytest.raises(BadInput, match="at least one passage"):
        build_bm25(["a"], ["…"], tokens="words")


def test_dense_ranks_by_cosine_and_is_the_same_after_saving(tmp_path):
    encoder = LetterEncoder()
    index = build_dense(encoder, IDS, PASSAGES)
    ids, scores = rank_dense(index, encoder, ["Oslo rowing in", "stew and stew"], 3)
    assert ids[0][:2] == ["three", "five"] and ids[1][0] == "four"
    assert scores[0][0] == pytest.approx(1.0, abs=1e-6) and len(ids[0]) == 3
    save_dense(index, tmp_path / "dense.faiss")
    assert rank_dense(load_dense(tmp_path / "dense.faiss"), encoder, ["stew"], 9) == rank_dense(
        index, encoder, ["stew"], 9
    )
    assert rank_dense(index, encoder, [], 3) == ([], [])


def test_equal_scores_come_in_row_order_whatever_faiss_does():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)  # (12,3)
    rows, scores = search(build_flat(vectors), np.eye(3, dtype=np.float32)[[1]], 99)
    assert rows.tolist() == [[4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11]]
    assert scores[0, :4].tolist() == [1.0] * 4


def test_a_missing_encoder_folder_is_refused_at_once(tmp_path: Path):
    with pytest.raises(BadInput, match="is not a folder: give a model's folder"):
        load_encoder(str(tmp_path / "nowhere"), "cpu")
    with pytest.raises(BadInput, match="does not exist"):
        load_bm25(tmp_path / "nowhere")


def test_the_packaged_encoder_works_without_a_network(capfd):
    encoder = load_encoder("packaged", "cpu")
    capfd.readouterr()
    index = build_dense(encoder, IDS, PASSAGES)
    ids, _ = rank_dense(index, encoder, ["a string instrument of the orchestra", "soup"], 2)
    assert ids[0][0] in ("one", "two") and ids[1][0] == "four"
    assert capfd.readouterr() == ("", ""), "no progress bar in a chapter"

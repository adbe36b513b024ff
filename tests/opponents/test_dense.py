"""The sentence encoder: what stands before its texts, how its vectors are compared, and what is kept of its work."""

import json
from pathlib import Path

import numpy as np
import pytest

from zmem_lib.files import BadInput
from zmem_lib.opponents import dense
from zmem_lib.opponents.dense import (
    DOCUMENT,
    PACKAGED,
    QUERY,
    build_dense,
    encode_passages,
    encodings_folder,
    load_dense,
    load_encoder,
    prompts_of,
    rank_dense,
    save_dense,
    updated_dense,
    windows,
)
from zmem_lib.opponents.index import vectors_of

IDS = ["one", "two", "three", "four", "five"]
PASSAGES = ["The harp is old", "A cello, a viola", "rowing in Oslo", "stew and stew", "rowing in Oslo"]
E5 = {QUERY: "query: ", DOCUMENT: "passage: "}
NONE = {QUERY: "", DOCUMENT: ""}
BGE = {QUERY: "Represent this sentence for searching relevant passages: ", DOCUMENT: ""}


class Counting:
    """Stands in for a sentence encoder: letter counts, and a note of every text with what was put before it."""

    def __init__(self, prompts=None, similarity="cosine", stop_at=None):
        self.prompts, self.similarity_fn_name, self.stop_at = prompts or NONE, similarity, stop_at
        self.seen, self.calls = [], 0
        self.max_seq_length = None  # it reads any length

    def encode(self, texts, *, prompt, normalize_embeddings, **_options):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.seen += [prompt + text for text in texts]
        counts = np.array([[text.count(letter) for letter in "abcde"] for text in texts], dtype=np.float32) + 0.1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True) if normalize_embeddings else counts


@pytest.mark.parametrize(
    ("configured", "name", "wanted"),
    [
        ({QUERY: None, DOCUMENT: None}, "intfloat/multilingual-e5-small", E5),
        ({}, "/models/e5-large-v2/", E5),
        ({QUERY: "", DOCUMENT: ""}, "BAAI/bge-base-en-v1.5", BGE),
        ({}, "intfloat/multilingual-e5-large-instruct", NONE),
        ({}, PACKAGED, NONE),
        ({}, "sentence-transformers/all-MiniLM-L6-v2", NONE),
        ({QUERY: "ask: ", "passage": "text: "}, "e5-small", {QUERY: "ask: ", DOCUMENT: "text: "}),
        ({QUERY: "ask: "}, "mine", {QUERY: "ask: ", DOCUMENT: ""}),
    ],
)
def test_prefixes_are_the_configuration_s_or_go_by_name(configured, name, wanted):
    assert prompts_of(configured, name) == wanted


def test_questions_and_passages_get_their_own_prefix():
    encoder = Counting(E5)
    index = build_dense(encoder, ["x", "y"], ["aab", "cde"])
    rank_dense(index, encoder, ["a"], 1)
    assert encoder.seen == ["passage: aab", "passage: cde", "query: a"]


def test_an_inner_product_is_not_made_a_cosine():
    for similarity, best in (("cosine", "short"), ("dot", "long")):
        encoder = Counting(similarity=similarity)
        index = build_dense(encoder, ["short", "long"], ["a", "aaaaaab"])
        assert rank_dense(index, encoder, ["a"], 1)[0] == [[best]]


def test_the_prefix_changes_a_real_encoder_s_vectors_and_is_saved_with_it(tmp_path: Path):
    encoder = load_encoder(PACKAGED, "cpu")
    assert encoder.prompts == NONE and dense.by_cosine(encoder)
    plain = dense.encode(encoder, ["harp"], QUERY)
    encoder.prompts = dict(E5)
    asked, passage = (dense.encode(encoder, ["harp"], role) for role in (QUERY, DOCUMENT))
    assert np.linalg.norm(asked - plain) > 0.05 and np.linalg.norm(asked - passage) > 0.05
    encoder.prompts["none"] = ""
    assert dense.encode(encoder, ["query: harp"], "none")[0] == pytest.approx(asked[0], abs=1e-5)
    encoder.save(str(tmp_path / "mine"), create_model_card=False)
    assert load_encoder(str(tmp_path / "mine"), "cpu").prompts == E5
    settings = tmp_path / "mine/config_sentence_transformers.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"similarity_fn_name": "euclidean"}))
    with pytest.raises(BadInput, match="compares by euclidean: give one"):
        load_encoder(str(tmp_path / "mine"), "cpu")


def test_what_was_encoded_is_kept_by_model_prefix_and_text(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(dense, "PIECE", 2)
    texts, first = ["ab", "b", "c", "dd", "e"], Counting()
    vectors, spared = encode_passages(first, texts, tmp_path)
    assert len(vectors) == 5 and spared == 0.0 and first.calls == 3
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".made_with", ".safetensors"], "the pieces are gone"
    again = Counting()
    assert (encode_passages(again, texts, tmp_path)[0] == vectors).all() and again.calls == 0
    for other, changed in ((Counting(E5), texts), (Counting(similarity="dot"), texts), (Counting(), texts[::-1])):
        encode_passages(other, changed, tmp_path)
        assert other.calls == 3
    assert len(list(tmp_path.glob("*.safetensors"))) == 4
    assert encode_passages(Counting(), texts, None)[0].shape == (5, 5)


def test_a_killed_encoding_loses_one_piece_and_no_second_of_the_cost(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(dense, "PIECE", 2)
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(dense.time, "perf_counter", lambda: next(clock))
    texts, stopped = ["ab", "b", "c", "dd", "e"], Counting(stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        encode_passages(stopped, texts, tmp_path)
    resumed = Counting()
    vectors, _ = encode_passages(resumed, texts, tmp_path)
    assert resumed.seen == ["e"], "only the piece that was under way"
    assert (vectors == encode_passages(Counting(), texts, None)[0]).all()
    _, spared = encode_passages(Counting(), texts, tmp_path)
    assert spared == 3 * 10 - 10, "three pieces of ten seconds, less the ten that reading took"


def test_encodings_are_apart_for_every_model_and_every_change_of_it(tmp_path: Path):
    for name, weights in (("mine", "1"), ("other", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(weights)
    places = [encodings_folder(tmp_path / "runs", str(tmp_path / name)) for name in ("mine", "other")]
    (tmp_path / "mine/model.safetensors").write_text("2")
    places.append(encodings_folder(tmp_path / "runs", str(tmp_path / "mine")))
    assert len(set(places)) == 3 and {place.parent for place in places} == {tmp_path / "runs/encodings"}
    assert places[0].name.startswith("mine-")


class LetterEncoder:
    """Stands in for a sentence encoder: unit vectors of letter counts."""

    prompts, similarity_fn_name, max_seq_length = NONE, "cosine", None

    def encode(self, texts, **_options):
        counts = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


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


def test_a_missing_encoder_folder_is_refused_at_once(tmp_path: Path):
    with pytest.raises(BadInput, match="is not a folder: give a model's folder"):
        load_encoder(str(tmp_path / "nowhere"), "cpu")


def test_the_packaged_encoder_works_without_a_network(capfd):
    encoder = load_encoder("packaged", "cpu")
    capfd.readouterr()
    index = build_dense(encoder, IDS, PASSAGES)
    ids, _ = rank_dense(index, encoder, ["a string instrument of the orchestra", "soup"], 2)
    assert ids[0][0] in ("one", "two") and ids[1][0] == "four"
    assert capfd.readouterr() == ("", ""), "no progress bar in a chapter"


def test_an_updated_index_encodes_only_what_is_new_and_is_that_of_all():
    before, now = dict(zip(IDS, PASSAGES, strict=True)), {"two": "A cello, a viola", "four": "soup", "new": "a harp"}
    encoder = Counting()
    index = updated_dense(build_dense(encoder, IDS, PASSAGES), encoder, before=before, now=now)
    assert encoder.seen[len(IDS) :] == ["soup", "a harp"]
    whole = build_dense(encoder, list(now), list(now.values()))
    assert rank_dense(index, encoder, ["ace", "bad"], 3) == rank_dense(whole, encoder, ["ace", "bad"], 3)


@pytest.fixture(scope="module")
def short_sighted():
    """The packaged encoder, made to read six tokens and its two special ones."""
    encoder = load_encoder(PACKAGED, "cpu")
    encoder.max_seq_length = 8
    return encoder


LONG = "harp cello viola flute drum horn stew soup bread"


def test_a_passage_that_is_too_long_is_cut_into_overlapping_windows(short_sighted):
    assert windows(short_sighted, "harp cello viola flute drum horn") == ["harp cello viola flute drum horn"]
    assert windows(short_sighted, LONG) == ["harp cello viola flute drum horn", "flute drum horn stew soup bread"]
    assert windows(short_sighted, f"{LONG} fish")[1:] == ["flute drum horn stew soup bread", "stew soup bread fish"]
    assert windows(short_sighted, "") == [""]
    before = short_sighted.prompts
    short_sighted.prompts = {QUERY: "", DOCUMENT: "text: "}  # two tokens
    assert windows(short_sighted, LONG)[0] == "harp cello viola flute"
    short_sighted.prompts = before
    assert windows(load_encoder(PACKAGED, "cpu"), LONG) == [LONG]


def test_a_document_scores_what_its_best_window_does(short_sighted, tmp_path):
    texts = {"long": LONG, "short": "a boat race", "other": "cello and viola"}
    index = build_dense(short_sighted, list(texts), list(texts.values()))
    assert index.doc_ids == ["long", "long", "short", "other"]
    assert index.cut == 1
    ids, scores = rank_dense(index, short_sighted, ["stew soup bread"], 2)
    asked = dense.encode(short_sighted, ["stew soup bread"], QUERY)[0]
    both = dense.encode(short_sighted, windows(short_sighted, LONG), DOCUMENT) @ asked
    assert ids[0][0] == "long" and len(set(ids[0])) == 2
    assert scores[0][0] == pytest.approx(both.max(), abs=1e-5)
    assert both.max() > both.min() + 0.1, "the case must tell the best window from the first"
    assert rank_dense(index, short_sighted, ["boat"], 9)[0][0][0] == "short"
    assert sorted(rank_dense(index, short_sighted, ["boat"], 9)[0][0]) == ["long", "other", "short"]
    save_dense(index, tmp_path / "dense.faiss")
    assert load_dense(tmp_path / "dense.faiss").doc_ids == index.doc_ids


def test_an_updated_index_of_windows_is_that_of_all(short_sighted):
    before = {"long": LONG, "short": "a boat race", "gone": f"{LONG} of old"}
    now = {"new": f"soup {LONG}", "long": LONG, "short": f"a boat race {LONG}"}
    index = build_dense(short_sighted, list(before), list(before.values()))
    updated = updated_dense(index, short_sighted, before=before, now=now)
    whole = build_dense(short_sighted, list(now), list(now.values()))
    assert updated.doc_ids == whole.doc_ids
    assert np.allclose(vectors_of(updated.flat), vectors_of(whole.flat), atol=1e-5)

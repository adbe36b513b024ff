"""The write curve: every measure of every snapshot, of a model with random weights and of one that is known."""

import pandas as pd
import pytest
import torch
from tiny_models import random_blocks, sentence, small_lm, small_params

from zmem_lib.evaluation import write_curve
from zmem_lib.files import BadInput, write_json
from zmem_lib.memory.encoder import question_vectors
from zmem_lib.memory.table import save_z, unit
from zmem_lib.params import changed
from zmem_lib.systems.choosing import WEIGHTS
from zmem_lib.systems.collection import open_collection
from zmem_lib.tables import write_table

PARAMS = small_params(
    {
        "memory.evidence_tokens": 6,
        "answer.answer_tokens": 3,
        "evaluate.bootstrap_samples": 50,
        "answer.shortlist": 3,
        "memory.key_width": 4,
    }
)
SEEN, NEW = ["s0", "s1"], ["n1", "n2"]
QUESTIONS = [("s", "test", "s0", "x"), ("v1", "new-dev", "n2", "amber"), ("v2", "new-dev", "n1", "bird")]


@pytest.fixture
def folder(tmp_path):
    questions = pd.DataFrame(
        [
            {
                "question_id": name,
                "question": sentence(i, 4),
                "answers": [answer],
                "gold_doc_ids": [gold],
                "split": split,
            }
            for i, (name, split, gold, answer) in enumerate(QUESTIONS)
        ]
    )
    write_table(questions.assign(kind="", answer_start=-1, evidence=""), tmp_path / "questions.parquet", "questions")
    docs = [(doc_id, "t", sentence(i, 8), "seen" if doc_id in SEEN else "new") for i, doc_id in enumerate(SEEN + NEW)]
    docs = pd.DataFrame(docs, columns=["doc_id", "title", "text", "part"])
    write_table(docs, tmp_path / "docs.parquet", "docs")
    write_json({"key_then_likelihood": {"weight": 0.5}}, tmp_path / WEIGHTS)
    log = [(start, step, 5.0 - step, 0.1, 1.0, 0.1 * step, 2) for start in ("encode", "mean") for step in (0, 1, 2)]
    columns = ["start", "step", "nll", "recited", "writing", "seconds_per_document", "n"]
    write_table(pd.DataFrame(log, columns=columns), tmp_path / "write_log.parquet", "write_log")
    keys = unit(torch.randn(4, 4, generator=torch.Generator().manual_seed(3)))
    save_z(SEEN, random_blocks(2, PARAMS, seed=1), tmp_path / "z_seen.safetensors", keys[:2])
    for path in ("z_new", "z_new_steps/encode_00000", "z_new_steps/encode_00002", "z_new_steps/mean_00002"):
        save_z(NEW, random_blocks(2, PARAMS, seed=len(path)), tmp_path / f"{path}.safetensors", keys[2:])
    return tmp_path


def collection_of(folder, params=PARAMS):
    held = open_collection(folder, params=params, added=False)
    held.loaded["lm"] = small_lm(PARAMS)
    return held


def test_every_snapshot_has_every_measure(folder):
    curve = write_curve.write_curve(collection_of(folder))
    assert len(curve) == 3 * len(write_curve.CURVE_METRICS) and set(curve["metric"]) == set(write_curve.CURVE_METRICS)
    places = list(dict.fromkeys(zip(curve["start"], curve["step"], strict=True)))
    assert places == [("encode", 0), ("encode", 2), ("mean", 2)]
    one = curve[curve["metric"] == "em"]
    assert one["recite_nll"].tolist() == [5, 3, 3] and one["seconds_per_document"].tolist() == [0, 0.2, 0.2]
    assert (curve["n"] == 2).all() and curve["value"].between(0, 1).all()
    assert (curve["ci_low"] <= curve["value"]).all() and (curve["value"] <= curve["ci_high"]).all()


def test_what_is_measured_is_the_gold_documents_block(folder, monkeypatch):
    written = []

    def from_z(memory_lm, z, questions, params):
        written.append(z)
        return ["moss amber", "moss fern"]

    monkeypatch.setattr(write_curve, "generate_evidence", from_z)
    curve = write_curve.write_curve(collection_of(folder)).set_index(["start", "step", "metric"])["value"]
    assert (curve[:, :, "answer_in_evidence"] == 0.5).all()
    first = random_blocks(2, PARAMS, seed=len("z_new_steps/encode_00000"))
    torch.testing.assert_close(written[0], first[[1, 0]])  # n2, then n1


@pytest.mark.parametrize("key_width", [0, 4])
def test_documents_are_found_among_seen_and_new_ones(folder, key_width, monkeypatch):
    """With keys by a shortlist of all, in the order of likelihood and key together."""
    params = changed(PARAMS, {"memory.key_width": key_width, "answer.shortlist": 4})
    held, asked = collection_of(folder, params), []
    memory_lm = held.memory_lm
    questions = pd.DataFrame({"question": [sentence(i, 4) for i in range(3)]})
    z = random_blocks(1, PARAMS, seed=5)
    plain = question_vectors
    monkeypatch.setattr(write_curve, "question_vectors", lambda *args: asked.append(args) or plain(*args))
    find = write_curve.finder(held, questions)
    before = held.z.clone()
    with_it = torch.cat([held.z[:3], z])  # of n2, the last
    scores = write_curve.score_questions(memory_lm, with_it, list(questions["question"]), batch=8)
    if key_width:
        vectors = question_vectors(memory_lm, list(questions["question"]))
        cosines = vectors @ unit(held.keys).T  # (Q,N), as the likelihood all in the shortlist
        scores = sum((one - one.amin(1, True)) / (one.amax(1, True) - one.amin(1, True)) for one in (scores, cosines))
    found = [(SEEN + NEW)[place] for place in scores.argmax(1)]
    assert find(["n2"], z) == find(["n2"], z) == found and torch.equal(held.z, before)
    assert len(asked) == bool(key_width), "vectors are made once for all snapshots"


def test_a_curve_without_new_documents_is_empty_and_without_a_log_refused(folder):
    log = pd.read_parquet(folder / "write_log.parquet")
    write_table(log[log["start"] == "mean"], folder / "write_log.parquet", "write_log")
    with pytest.raises(BadInput, match="'encode' up to step 0"):
        write_curve.write_curve(collection_of(folder))
    questions = pd.read_parquet(folder / "questions.parquet").query("split == 'test'")
    write_table(questions, folder / "questions.parquet", "questions")
    assert write_curve.write_curve(open_collection(folder, params=PARAMS, added=False)).empty

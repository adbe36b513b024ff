"""The systems: the same questions and reader for all, the right document for each, what is sampled, and one record."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from tiny_collection import small_collection, small_docs, small_questions
from tiny_models import one_by_one, save_cross_encoder, small_params

from zmem_lib.files import write_json
from zmem_lib.memory.encoder import TEMPERATURE
from zmem_lib.memory.table import save_z, shuffle_index
from zmem_lib.opponents.index import vectors_of
from zmem_lib.params import changed
from zmem_lib.systems import cost, evidence
from zmem_lib.systems.choosing import by_key, by_text
from zmem_lib.systems.evidence import answers_of, pick_questions
from zmem_lib.systems.systems import SYSTEMS, Z, compared, possible_systems, which

PARAMS = small_params(
    {
        "memory.evidence_tokens": 6, "answer.answer_tokens": 3, "answer.top_k": 2, "memory.key_width": 8,
        "answer.shortlist": 4, "answer.rerank_depth": 3, "answer.long_context_tokens": 30, "train.text_weight": 0.5,
        "answer.dense_steps": 1,
    }
)  # fmt: skip
N = 6


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    held = small_collection(PARAMS, small_docs(N), tmp_path_factory.mktemp("run"))
    reranker = save_cross_encoder(held.folder / "reranker")
    held.params = changed(PARAMS, {"answer.rerank_model": reranker})
    held.loaded |= {"bm25_asked": held.bm25(), "dense_tuned": held.dense(), "encoder dense_tuned": held.encoder()}
    return held


@pytest.fixture(scope="module")
def questions():
    return small_questions(N)


@pytest.fixture(scope="module")
def answers(collection, questions):
    return {name: answers_of(name, questions, collection) for name in SYSTEMS}


def as_read(collection, texts):
    """Texts cut as the reader sees them."""
    prompts = collection.memory_lm.prompts
    return [prompts.decode(prompts.encode(text, PARAMS.memory.evidence_tokens)) for text in texts]


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_keeps_the_questions_and_the_token_budget(name, answers, questions):
    table, system = answers[name], SYSTEMS[name]
    assert list(table.question_id) == list(questions.question_id)
    items = {"nothing": 0, "": 2}.get(system.given, 2 if system.hands == "z and text" else 1)
    if system.hands == "packed":
        assert table.evidence.map(len).gt(2).all() and table.evidence_tokens.max() < PARAMS.answer.long_context_tokens
    else:
        assert table.evidence.map(len).eq(items).all()
        assert table.evidence_tokens.max() <= items * PARAMS.memory.evidence_tokens
    assert (table.evidence_tokens.max() == 0) == (system.given == "nothing")
    assert table.ranked_doc_ids.map(len).astype(bool).all() == system.compared
    assert (table.input_tokens > 0).all() and (table.output_tokens > 0).all() and (table.seconds > 0).all()


def test_the_records_say_what_a_run_has(collection):
    assert (
        set(possible_systems(collection.params)) == set(SYSTEMS) == {*compared(), *which(lambda system: system.given)}
    )
    without = {"answer.dense_steps": 0, "train.text_weight": 0.0, "answer.rerank_model": "", "answer.rerank_depth": 0,
               "answer.long_context_tokens": 0, "memory.key_width": 0}  # fmt: skip
    left = {
        key: set(SYSTEMS) - set(possible_systems(changed(collection.params, {key: value})))
        for key, value in without.items()
    }
    assert left == {
        "answer.dense_steps": {"dense-tuned"}, "train.text_weight": {"text-twin", "lm-rerank"},
        "answer.rerank_model": {"hybrid+rerank"}, "answer.rerank_depth": {"hybrid+rerank", "lm-rerank"},
        "answer.long_context_tokens": {"long-context"}, "memory.key_width": {"text-twin"},
    }  # fmt: skip
    pretrained = {"train.text_weight": 0.0, "lm.name": "org/model"}
    assert "lm-rerank" in possible_systems(changed(collection.params, pretrained)), "it knows questions by itself"
    alone = possible_systems(changed(collection.params, {"lm.name": "none"}))
    assert alone == ("bm25", "bm25-asked", "dense", "dense-tuned", "hybrid-rrf", "hybrid", "hybrid+rerank")
    assert len({system.colour for system in SYSTEMS.values()}) == len(SYSTEMS)


def test_stored_evidence_is_what_the_reader_saw(answers, collection):
    for (cut,), text in zip(answers["gold-passage"].evidence, collection.docs.text, strict=True):
        assert cut.startswith("t") and len(cut) < len(text)


def test_oracle_and_shuffled_write_from_the_right_and_from_a_wrong_block(answers, collection, questions):
    oracle, shuffled = (answers[name].evidence.map(list).tolist() for name in ("zmem-oracle", "zmem-shuffled"))
    direct = evidence.generate_evidence(collection.memory_lm, collection.z, list(questions.question), PARAMS)
    assert oracle == [[text] for text in as_read(collection, direct)]
    moved = dataclasses.replace(collection, z=collection.z[shuffle_index(N, PARAMS.seed)])
    assert shuffled == answers_of("zmem-oracle", questions, moved).evidence.map(list).tolist() != oracle


def test_the_most_similar_other_document_is_the_nearest_but_itself(answers, collection, questions):
    vectors = vectors_of(collection.dense().flat)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    moved = dataclasses.replace(collection, z=collection.z[likeness.argmax(1)])
    right = answers_of("zmem-oracle", questions, moved)
    assert answers["zmem-similar"].evidence.map(list).tolist() == right.evidence.map(list).tolist()


def test_z_and_text_are_two_items_of_which_the_second_is_the_passage(answers):
    both, z, text = (answers[name].evidence.map(list) for name in ("zmem-text", "zmem-oracle", "gold-passage"))
    assert list(both) == list(z + text)


def test_the_text_twin_orders_the_shortlist_by_what_the_text_makes_of_the_question(collection, questions):
    ids, scores = by_text(questions, collection)
    shortlist, cosines = by_key(questions, collection)
    prompts, text_of = collection.memory_lm.prompts, collection.text_of
    for q, question in enumerate(questions.question[:2]):
        row = prompts.question(question)
        plain = {}
        for doc_id, cosine in list(zip(shortlist[q], cosines[q], strict=True))[: PARAMS.answer.shortlist]:
            text = prompts.text(text_of[doc_id], PARAMS.memory.document_tokens)
            log_p = one_by_one(collection.memory_lm, text + row.ids, len(text) + len(prompts.marks["question"]))
            plain[doc_id] = log_p + cosine / TEMPERATURE
        assert ids[q] == sorted(plain, key=plain.get, reverse=True)
        assert scores[q] == pytest.approx([plain[doc_id] for doc_id in ids[q]], abs=1e-3)


def test_what_a_system_stores_is_counted(collection, tmp_path):
    for name in Z:
        save_z(["a", "b", "c"], collection.z[:3], tmp_path / name, collection.keys[:3])
    (tmp_path / "dense.faiss").write_bytes(b"x" * 1000)
    at = dataclasses.replace(collection, folder=tmp_path)
    size = {name: cost.bytes_stored(name, at) for name in SYSTEMS}
    texts = sum(len(f"{row.title}\n{row.text}".encode()) for row in collection.docs.itertuples())
    z = sum((tmp_path / name).stat().st_size for name in Z)
    assert z >= 6 * 4 * (collection.z[0].numel() + PARAMS.memory.key_width)
    assert size["zmem"] == size["zmem-random"] == size["zmem-similar"] == z and size["zmem-text"] == z + texts
    assert size["text-twin"] == texts + 6 * 4 * PARAMS.memory.key_width
    assert size["zmem+text"] == z + texts and size["zmem+bm25"] == z
    assert size["hybrid"] == size["hybrid+rerank"] == size["lm-rerank"] == size["long-context"] == 1000 + texts
    assert size["dense"] == 1000 + texts and size["gold-passage"] == texts and size["closed-book"] == 0


def test_what_a_system_rests_on_counts_as_its_building(tmp_path):
    for number, seconds in ((3, 100.0), (4, 20.0)):
        write_json({"seconds": seconds}, tmp_path / f"manifest_{number:02d}.json")
    built = {"bm25": 1.0, "dense": 3.0, "hybrid weight": 1.0, "z weight": 2.0, "bm25 asked": 7.0}
    plain, lesson = (small_params({"train.text_weight": weight}) for weight in (0.0, 0.5))
    took = {name: cost.build_seconds(name, built, tmp_path, plain) for name in SYSTEMS}
    assert took["zmem"] == took["zmem-random"] == took["text-twin"] == 120.0 and took["zmem+bm25"] == 123.0
    assert took["hybrid-rrf"] == 4.0 and took["hybrid"] == took["hybrid+rerank"] == took["long-context"] == 5.0
    assert took["lm-rerank"] == 5.0 and cost.build_seconds("lm-rerank", built, tmp_path, lesson) == 105.0
    assert took["bm25-asked"] == 7.0 and took["gold-passage"] == took["closed-book"] == took["dense-tuned"] == 0.0
    alone = small_params({"lm.name": "none"})
    assert cost.build_seconds("hybrid", built, tmp_path / "without manifests", alone) == 5.0


def test_zmem_hands_the_reader_the_evidence_of_its_best_blocks(answers, collection, questions):
    first = answers["zmem"].iloc[0]
    rows = [collection.row_of[doc_id] for doc_id in first.ranked_doc_ids[:2]]
    asked = [questions.question[0]] * 2
    written = evidence.generate_evidence(collection.memory_lm, collection.z[rows], asked, PARAMS)
    assert first.evidence == as_read(collection, written)
    assert list(first.ranked_scores) == sorted(first.ranked_scores, reverse=True) and len(first.ranked_doc_ids) == N


def test_the_sample_is_fixed_and_has_kinds_as_often_as_they_occur():
    rows = [("test", "rephrased"), ("test", "unasked"), ("new-test", ""), ("train", ""), ("dev", "rephrased")]
    table = pd.DataFrame(
        [
            {"question_id": f"{s}{k}{i}", "split": s, "kind": k, "question": "?",
             "gold_doc_ids": [f"{s == 'new-test'}{i}"]} for s, k in rows for i in range(9)
        ]
    )  # fmt: skip
    picked = pick_questions(table, small_params({"answer.questions": 4}))
    assert picked["part"].value_counts().to_dict() == {"seen": 2 * 4, "new": 4, "trained": 4}
    assert set(picked.loc[picked["part"] == "seen", "kind"]) == {"rephrased", "unasked"}
    rare = table[(table["kind"] != "rephrased") | table["question_id"].str.endswith("0")]
    kinds = [pick_questions(rare, small_params({"answer.questions": 4, "seed": s})) for s in range(20)]
    shares = [(some["kind"] == "rephrased").sum() / (some["part"] == "seen").sum() for some in kinds]
    assert 0.05 <= sum(shares) / 20 <= 0.15, "one of ten"
    assert len(pick_questions(table, small_params({"answer.questions": 0}))) == 36
    assert picked.equals(pick_questions(table, small_params({"answer.questions": 4})))


def test_test_questions_about_documents_that_training_never_names_are_a_part_of_their_own():
    rows = [("t", "train", ["a"]), ("s", "test", ["b", "a"]), ("u", "test", ["b"]), ("d", "dev", ["b"])]
    rows += [("n", "new-test", ["c"]), ("m", "new-dev", ["c"])]
    table = pd.DataFrame(rows, columns=["question_id", "split", "gold_doc_ids"]).assign(kind="", question="?")
    picked = pick_questions(table, small_params({"answer.questions": 0}))
    assert picked.set_index("question_id")["part"].to_dict() == {
        "n": "new", "s": "seen", "t": "trained", "u": "unasked-document",
    }  # fmt: skip


def test_answers_carry_the_kind_of_their_question(collection, questions):
    kinds = ["rephrased", "unasked"] * 3
    assert answers_of("closed-book", questions.assign(kind=kinds), collection).kind.tolist() == kinds


ADDED = """
import sys
from pathlib import Path
from zmem_lib.systems.systems import SYSTEMS, System

def last_first(questions, held):  # a way of choosing: the corpus, turned round
    ids = list(held.docs["doc_id"])[::-1]
    return [ids for _ in questions["question"]], [[float(-i) for i in range(len(ids))] for _ in questions["question"]]

SYSTEMS["turned-round"] = System(last_first, "#123456", stores=("texts",), rests_on=("bm25",))

import pandas as pd
from tiny_collection import small_collection, small_docs, small_questions
from tiny_models import small_params
from zmem_lib.evaluation import noise, pairs, scoring
from zmem_lib.params import changed
from zmem_lib.report import figures, chapter_tables
from zmem_lib.systems import cost
from zmem_lib.systems.systems import possible_systems

NAME, N = "turned-round", 4
params = small_params({"memory.evidence_tokens": 6, "answer.answer_tokens": 2, "answer.noise_questions": 2,
                       "memory.key_width": 4, "evaluate.bootstrap_samples": 20})
alone = changed(params, {"lm.name": "none"})  # nothing was trained
collection = small_collection(params, small_docs(N), Path(sys.argv[1]))
asked = small_questions(N).assign(answers=[["amber"]] * N, kind="")
assert possible_systems(params)[-1] == NAME
answers, costs = {}, []
for name in ("zmem", "bm25", NAME):
    answers[name], row = cost.answered(name, asked, collection)
    costs.append(row | {"build_seconds": cost.build_seconds(name, {"bm25": 2.0}, collection.folder, alone)})
assert list(answers[NAME]["ranked_doc_ids"][0]) == ["d3", "d2", "d1", "d0"]
table = collection.ask("who?", [NAME, "bm25"])
assert list(table["system"]) == [NAME, "bm25"] and table["ranked_doc_ids"][0][0] == "d3"
assert costs[-1]["system"] == NAME and costs[-1]["build_seconds"] == 2.0 and costs[-1]["bytes_stored"] > 0
scores = scoring.score_answers(asked, collection.docs, answers, params, ragas=False)
mine = scores[(scores["system"] == NAME) & (scores["metric"] == "recall@1")]
assert mine["value"].tolist() == [0.0, 0.0, 0.0, 1.0]
summary = scoring.summarise(scores, 20, seed=1)
assert NAME in set(summary["system"])
assert NAME in set(pairs.pair_table(scores, 20, seed=1)["second"])
assert set(scoring.failures(asked, answers, top_k=1, rule="squad").query("system == @NAME")["part"]) == {"seen"}
assert NAME in chapter_tables.answers_overview(answers).index
shown = chapter_tables.summary_tables(summary).data
assert NAME in shown and f"Bold: best of zmem, bm25, {NAME}." in shown
drawn = figures.quality_bars(summary, "recall@1")
from matplotlib.colors import to_hex
bars = [bars for axis in drawn.axes for bars in axis.containers if hasattr(bars, "patches")]
bars = {one.get_label(): to_hex(one.patches[0].get_facecolor()) for one in bars}
assert bars[NAME] == "#123456", bars
print("found everywhere")
"""


def test_a_new_system_is_one_record(tmp_path):
    """In a process of its own, as if the record stood in the file."""
    there = {"cwd": ROOT / "tests", "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    done = subprocess.run(
        [sys.executable, "-c", ADDED, str(tmp_path)], capture_output=True, text=True, check=False, **there
    )
    assert done.stdout == "found everywhere\n", done.stderr

"""The systems: the same questions and reader for all, the right document for each, what is sampled, and one record."""

import dataclasses
import gzip
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from tiny_collection import small_collection, small_docs, small_questions
from tiny_models import one_by_one, save_cross_encoder, sentence, small_params

from zmem_lib.memory.table import save_z, shuffle_index
from zmem_lib.opponents.index import vectors_of
from zmem_lib.params import changed
from zmem_lib.systems import cost, evidence
from zmem_lib.systems.choosing import by_key, by_text
from zmem_lib.systems.evidence import answers_of, pick_questions
from zmem_lib.systems.systems import SYSTEMS, Z, compared, possible_systems, which
from zmem_lib.tables import TABLES, write_table

PARAMS = small_params(
    {
        "memory.evidence_tokens": 6, "answer.answer_tokens": 3, "answer.top_k": 2, "memory.key_width": 8,
        "answer.shortlist": 4, "answer.rerank_depth": 3, "answer.long_context_tokens": 30, "train.text_weight": 0.5,
        "answer.dense_epochs": 1, "answer.evidence_tokens": 4,
    }
)  # fmt: skip
N = 6


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    held = small_collection(PARAMS, small_docs(N), tmp_path_factory.mktemp("run"))
    reranker = save_cross_encoder(held.folder / "reranker")
    held.params = changed(PARAMS, {"answer.rerank_model": reranker})
    asked = pd.concat([small_questions(N), other_questions(N)])
    asked = asked.assign(answers=[["a"]] * N + [["b"]] * N, split="train", answer_start=-1, evidence="")
    write_table(asked, held.folder / "questions.parquet", "questions")
    held.loaded |= {"bm25_asked": held.bm25(), "dense_tuned": held.dense(), "encoder dense_tuned": held.encoder()}
    return held


def other_questions(n):
    """A second question about each of the documents."""
    return small_questions(n).assign(
        question_id=[f"o{i}" for i in range(n)], question=[sentence(50 + i, 3) for i in range(n)]
    )


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
        limit = PARAMS.answer.evidence_tokens if system.brief else PARAMS.memory.evidence_tokens
        assert table.evidence_tokens.max() <= items * limit
    assert (table.evidence_tokens.max() == 0) == (system.given == "nothing")
    assert table.ranked_doc_ids.map(len).astype(bool).all() == system.compared
    assert (table.input_tokens > 0).all() and (table.output_tokens > 0).all() and (table.seconds > 0).all()


def test_the_records_say_what_a_run_has(collection):
    assert (
        set(possible_systems(collection.params)) == set(SYSTEMS) == {*compared(), *which(lambda system: system.given)}
    )
    without = {"answer.dense_epochs": 0, "train.text_weight": 0.0, "answer.rerank_model": "", "answer.rerank_depth": 0,
               "answer.long_context_tokens": 0, "memory.key_width": 0}  # fmt: skip
    left = {
        key: set(SYSTEMS) - set(possible_systems(changed(collection.params, {key: value})))
        for key, value in without.items()
    }
    assert left == {
        "answer.dense_epochs": {"dense-tuned"}, "train.text_weight": {"text-twin", "lm-rerank", "text-evidence"},
        "answer.rerank_model": {"hybrid+rerank"}, "answer.rerank_depth": {"hybrid+rerank", "lm-rerank"},
        "answer.long_context_tokens": {"long-context"}, "memory.key_width": {"text-twin"},
    }  # fmt: skip
    pretrained = {"train.text_weight": 0.0, "lm.name": "org/model"}
    by_itself = possible_systems(changed(collection.params, pretrained))
    assert {"lm-rerank", "text-evidence"} <= set(by_itself), "it knows questions and answers by itself"
    alone = possible_systems(changed(collection.params, {"lm.name": "none"}))
    assert alone == (
        "bm25", "bm25-asked", "bm25+sentence", "dense", "dense-tuned", "hybrid-rrf", "hybrid", "hybrid+sentence",
        "hybrid+rerank", "gold+sentence", "gold+random-sentence",
    )  # fmt: skip
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


def test_another_question_is_asked_of_the_right_block_and_the_reader_gets_its_own(answers, collection, questions):
    asked = list(other_questions(N).question)
    direct = evidence.generate_evidence(collection.memory_lm, collection.z, asked, collection.params)
    items = [[text] for text in as_read(collection, direct)]
    assert answers["zmem-other-question"].evidence.map(list).tolist() == items
    assert items != answers["zmem-oracle"].evidence.map(list).tolist()
    read = evidence.answer(questions, collection, items, began=0.0)
    assert answers["zmem-other-question"].answer.tolist() == read.answer.tolist()


def test_evidence_from_text_is_what_the_model_writes_behind_the_text_twins_prompt(answers, collection, questions):
    prompts, lm = collection.memory_lm.prompts, collection.memory_lm.lm
    limit, texts, items = PARAMS.answer.evidence_tokens, collection.text_of.values(), answers["text-evidence"].evidence
    for text, question, (item,) in zip(texts, questions.question, items, strict=True):
        before = prompts.text(text, PARAMS.memory.document_tokens) + prompts.asked(question)
        written = lm.generate(torch.tensor([before]), max_new_tokens=limit)[0, len(before) :]
        assert item == evidence.shortened(prompts, prompts.decode(written), limit)


def test_cut_text_has_as_many_tokens_of_the_passage_as_z_has(answers, collection):
    prompts, k = collection.memory_lm.prompts, min(PARAMS.memory.z_tokens, PARAMS.answer.evidence_tokens)
    for doc_id, (item,) in zip(collection.docs.doc_id, answers["cut-text"].evidence, strict=True):
        assert len(prompts.encode(item)) <= k and collection.text_of[doc_id].startswith(item)


def test_a_sentence_is_of_the_documents_that_the_retriever_brings(answers, collection):
    prompts, text_of = collection.memory_lm.prompts, collection.docs.set_index("doc_id").text
    for name, retriever in (("bm25+sentence", "bm25"), ("hybrid+sentence", "hybrid"), ("gold+sentence", "")):
        found = answers[retriever].ranked_doc_ids if retriever else pd.Series([[f"d{i}"] for i in range(N)])
        texts = [[text_of[doc_id] for doc_id in ids[: PARAMS.answer.top_k]] for ids in found]
        assert answers[name].evidence.map(list).tolist() == [
            [prompts.cut(text, PARAMS.answer.evidence_tokens) for text in some] for some in texts
        ]  # each text is one sentence


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


def test_the_text_twin_weighs_the_key_with_what_the_text_makes_of_the_question(collection, questions):
    ids, scores = by_text(questions, collection)
    by_keys, prompts, text_of = by_key(questions, collection), collection.memory_lm.prompts, collection.text_of
    for q, question in enumerate(questions.question[:2]):
        row, log_p = prompts.question(question), {}
        for doc_id in by_keys[0][q][: PARAMS.answer.shortlist]:
            text = prompts.text(text_of[doc_id], PARAMS.memory.document_tokens)
            log_p[doc_id] = one_by_one(collection.memory_lm, text + row.ids, len(text) + len(prompts.marks["question"]))
        low, high, last, first = min(log_p.values()), max(log_p.values()), by_keys[1][q][-1], by_keys[1][q][0]
        wanted = {
            doc_id: 0.5 * (cosine - last) / (first - last) + 0.5 * (log_p.get(doc_id, low) - low) / (high - low)
            for doc_id, cosine in zip(by_keys[0][q], by_keys[1][q], strict=True)
        }
        assert ids[q] == sorted(wanted, key=wanted.get, reverse=True)
        assert scores[q] == pytest.approx([wanted[doc_id] for doc_id in ids[q]], abs=1e-3)


def test_what_a_system_stores_and_learned_is_counted(collection, tmp_path):
    for name in Z:
        save_z(["a", "b", "c"], collection.z[:3], tmp_path / name, collection.keys[:3])
    (tmp_path / "dense.faiss").write_bytes(b"x" * 1000)
    for folder, size in (("lm", 700), ("dense_tuned", 90)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.safetensors").write_bytes(b"x" * size)
        (tmp_path / folder / "tokenizer.json").write_bytes(b"x" * 5000)
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
    learned = {name: cost.bytes_of(name, at)["bytes_learned"] for name in SYSTEMS}
    assert learned["zmem"] == learned["zmem+bm25"] == learned["text-twin"] == learned["lm-rerank"] == 700
    assert learned["dense-tuned"] == 90
    assert learned["bm25"] == learned["hybrid"] == learned["closed-book"] == learned["gold-passage"] == 0
    untaught = dataclasses.replace(at, params=changed(at.params, {"train.text_weight": 0.0}))
    assert cost.bytes_of("lm-rerank", untaught)["bytes_learned"] == 0, "it reads with its adapter off"
    text = "\n".join(f"{row.title}\n{row.text}" for row in collection.docs.itertuples()).encode()
    assert cost.bytes_of("bm25", at)["bytes_text"] == len(text)
    assert cost.bytes_of("bm25", at)["bytes_gzip"] == len(gzip.compress(text))


def write_logs(folder, *, trained, started):
    """The tables from which building a memory is counted: three new documents, and what each start took of one."""
    log = [(1, "evidence", "train", 2.0, trained / 2), (2, "evidence", "train", 1.0, trained)]
    log = pd.DataFrame(log, columns=list(TABLES["train_log"]))
    write_table(log, folder / "train_log.parquet", "train_log")
    rows = [(start, step, 1.0, 0.1, 1.0, seconds * step, 3) for start, seconds in started.items() for step in (0, 2)]
    write_table(pd.DataFrame(rows, columns=list(TABLES["write_log"])), folder / "write_log.parquet", "write_log")
    docs = small_docs(5).assign(part=["seen", "seen", "new", "new", "new"])
    write_table(docs, folder / "docs.parquet", "docs")


def test_what_a_system_rests_on_counts_as_its_building(tmp_path):
    write_logs(tmp_path, trained=100.0, started={"mean": 10 / 3, "random": 1000.0})
    built = {"bm25": 1.0, "dense": 3.0, "weight of hybrid": 1.0, "bm25 asked": 7.0}
    built |= {"weight of zmem+bm25": 2.0, "weight of lm-rerank": 4.0, "weight of text-twin": 8.0}
    plain, lesson = (small_params({"train.text_weight": weight, "write.start": "mean"}) for weight in (0.0, 0.5))
    parts = {name: cost.build_seconds(name, built, tmp_path, plain) for name in SYSTEMS}
    took = {name: round(seconds["build_seconds"], 6) for name, seconds in parts.items()}
    assert took["zmem"] == took["zmem-random"] == 120.0, "the start that is kept, of three documents, and no other"
    assert parts["zmem"] == {"train_seconds": 100.0, "write_seconds": 20.0, "build_seconds": 120.0}
    assert took["text-twin"] == 128.0 and took["zmem+bm25"] == 123.0
    assert took["hybrid-rrf"] == 4.0 and took["hybrid"] == took["hybrid+rerank"] == took["long-context"] == 5.0
    assert parts["hybrid"]["train_seconds"] == parts["hybrid"]["write_seconds"] == 0.0
    assert took["lm-rerank"] == 9.0 and parts["lm-rerank"]["train_seconds"] == 0.0
    taught = cost.build_seconds("lm-rerank", built, tmp_path, lesson)
    assert taught == {"train_seconds": 100.0, "write_seconds": 0.0, "build_seconds": 109.0}
    keyed = changed(plain, {"answer.select": "key_then_likelihood", "memory.key_width": 4})
    by_key_too = built | {"weight of key_then_likelihood": 16.0}
    assert round(cost.build_seconds("zmem", by_key_too, tmp_path, keyed)["build_seconds"], 6) == 136.0
    assert round(cost.build_seconds("zmem", by_key_too, tmp_path, plain)["build_seconds"], 6) == 120.0, "by a full scan"
    assert took["bm25-asked"] == 7.0 and took["gold-passage"] == took["closed-book"] == took["dense-tuned"] == 0.0
    alone = small_params({"lm.name": "none"})
    assert cost.build_seconds("hybrid", built, tmp_path / "without tables", alone)["build_seconds"] == 5.0


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
    costs.append(row | cost.build_seconds(name, {"bm25": 2.0}, collection.folder, alone))
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

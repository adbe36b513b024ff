"""z-memory with text and with BM25, the two rerankers, the long context: what each puts first and hands the reader."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from families import save_family
from test_families import FAMILIES, stir
from test_systems import one_by_one
from tiny_models import random_blocks, save_cross_encoder, sentence, small_lm, small_params

from zmem_lib.evaluation.score import score_lines
from zmem_lib.files import BadInput
from zmem_lib.memory.lm import make_memory_lm
from zmem_lib.opponents import fusion, rerank, retrieve
from zmem_lib.opponents.index import build_flat
from zmem_lib.params import changed
from zmem_lib.systems import collection, evidence, systems
from zmem_lib.systems.collection import Bench, by_hybrid, by_z, choose_z_weight, texts_of
from zmem_lib.systems.cost import built_on_others
from zmem_lib.text import passages

PARAMS = small_params(
    {
        "memory.evidence_tokens": 10,
        "answer.answer_tokens": 3,
        "answer.top_k": 2,
        "answer.rerank_depth": 3,
        "answer.long_context_tokens": 29,
    }
)
N = 6


class Encoder:
    """Stands in for the sentence encoder: a vector by the text's letters."""

    def encode(self, texts, **_):
        found = np.array([[text.count(letter) for letter in "abcde"] for text in texts], dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-6)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bench of six documents whose fused rankings weigh both sides alike, and a folder for it."""
    folder = tmp_path_factory.mktemp("run")
    docs = pd.DataFrame([{"doc_id": f"d{i}", "title": f"t{i}", "text": sentence(i, 6 + 2 * i)} for i in range(N)])
    bm25 = retrieve.build_bm25(list(docs.doc_id), passages(docs), tokens="words")
    dense = retrieve.DenseIndex(list(docs.doc_id), build_flat(Encoder().encode(list(docs.text))))
    for name in (fusion.WEIGHT_FILE, collection.Z_WEIGHT_FILE):
        (folder / name).write_text(json.dumps({"weight": 0.5}))
    z, keys = random_blocks(N, PARAMS), torch.zeros(N, 0)
    return Bench(PARAMS, small_lm(PARAMS), docs, z, keys, bm25=bm25, dense=dense, encoder=Encoder(), folder=folder)


@pytest.fixture(scope="module")
def questions():
    rows = [{"question_id": f"q{i}", "question": sentence(i, 4), "gold_doc_ids": [f"d{i}"]} for i in range(4)]
    return pd.DataFrame(rows).assign(part="seen")


def passages_read(made, ids):
    prompts, text_of = made.memory_lm.prompts, texts_of(made)
    return "\n".join(prompts.decode(prompts.encode(text_of[doc_id], PARAMS.memory.evidence_tokens)) for doc_id in ids)


def test_what_z_chooses_is_read_as_text(made, questions):
    text, z = systems.zmem_then_text(questions, made), systems.zmem(questions, made)
    assert list(map(list, text.ranked_doc_ids)) == list(map(list, z.ranked_doc_ids))
    for row in text.itertuples():
        assert row.evidence == passages_read(made, row.ranked_doc_ids[:2])
    assert (text.input_tokens <= z.input_tokens).all(), "nothing is written on the way"


def test_z_and_bm25_are_fused_and_the_evidence_is_written_from_z(made, questions):
    fused = systems.zmem_and_bm25(questions, made)
    both = by_z(list(questions.question), made), retrieve.rank_bm25(made.bm25, list(questions.question), N)
    assert list(map(list, fused.ranked_doc_ids)) == fusion.weighted_sum(*both, 0.5, N)[0]
    assert list(map(list, fused.ranked_doc_ids)) != both[0][0], "the case must tell fused from not fused"
    written, _ = evidence.recall(questions, made, [list(ids[:2]) for ids in fused.ranked_doc_ids])
    assert fused.evidence.tolist() == evidence.answer(questions, made, written, began=0.0).evidence.tolist()


def test_the_weight_of_bm25_is_chosen_on_dev_questions_and_kept(made, tmp_path, monkeypatch):
    at = replace(made, folder=tmp_path)
    dev = pd.DataFrame([{"question": f"t{i}", "gold_doc_ids": [f"d{i}"]} for i in range(N)])
    monkeypatch.setattr(collection, "Z_DEV_SAMPLE", 4)
    tried = choose_z_weight(dev, at)
    written = json.loads((tmp_path / collection.Z_WEIGHT_FILE).read_text())
    assert written["n"] == 4 and written["weight"] == fusion.best_weight(tried) > 0, "BM25 knows these, z does not"
    assert tried["mrr@10"].iloc[-1] == 1.0 > tried["mrr@10"].iloc[0]
    assert fusion.best_weight(choose_z_weight(dev[:0], at)) == 0.5


def test_the_language_model_orders_the_hybrids_first_and_the_others_follow(made, questions):
    asked = list(questions.question)
    ids, scores = collection.by_lm(asked, made)
    before, prompts, text_of = by_hybrid(asked, made)[0], made.memory_lm.prompts, texts_of(made)
    for q, question in enumerate(asked):
        plain = {}
        for doc_id in before[q][:3]:
            text = prompts.text(text_of[doc_id], PARAMS.memory.document_tokens)
            given = len(text) + len(prompts.marks["question"])
            plain[doc_id] = one_by_one(made.memory_lm, text + prompts.question(question).ids, given)
        assert ids[q] == [*sorted(plain, key=plain.get, reverse=True), *before[q][3:]]
        assert scores[q][:3] == pytest.approx(sorted(plain.values(), reverse=True), abs=1e-3)
        assert scores[q] == sorted(scores[q], reverse=True)
    assert [mine[:3] for mine in ids] != [mine[:3] for mine in before], "the case must tell ordered from not ordered"
    assert systems.lm_rerank(questions, made).evidence[0] == passages_read(made, ids[0][:2])


def test_a_pretrained_model_that_never_learned_it_is_told_to_ask_with_its_adapter_off(tmp_path):
    params = small_params({"lm.name": save_family(FAMILIES["qwen2"], tmp_path), "memory.document_tokens": 6})
    memory_lm = make_memory_lm(params, [])
    stir(memory_lm)
    question, text = "amber bird?", "cloud dust ember fern grove hill iris <|im_end|>"
    row = rerank.instructed_row(memory_lm.prompts, question, text, 6)
    asked = sum(term > 0 for term in row.terms)
    said = memory_lm.prompts.tokenizer.decode(row.ids)
    assert said.endswith(f"{rerank.INSTRUCTION}<|im_end|>\n<|im_start|>assistant\n{question}") and "iris" not in said
    with memory_lm.lm.disable_adapter():
        off = one_by_one(memory_lm, row.ids, len(row.ids) - asked)
    assert rerank.log_p_given_text(memory_lm, [(question, text)], params) == pytest.approx([off], rel=1e-3)
    lesson = rerank.lesson_row(memory_lm.prompts, question, text, 6)
    on = one_by_one(memory_lm, lesson.ids, len(lesson.ids) - asked)
    learned = changed(params, {"train.text_weight": 0.5})
    assert rerank.log_p_given_text(memory_lm, [(question, text)], learned) == pytest.approx([on], rel=1e-3)
    assert abs(on - off) > 0.1
    memory_lm.prompts.tokenizer.chat_template = None
    row = rerank.instructed_row(memory_lm.prompts, question, text, 6)
    assert memory_lm.prompts.decode(row.ids).endswith(f"{rerank.INSTRUCTION}\nQuestion: {question}")


def test_the_cross_encoder_orders_by_its_score_of_question_and_passage(made, questions, tmp_path):
    at = replace(made, params=changed(PARAMS, {"answer.rerank_model": save_cross_encoder(tmp_path)}))
    model, text_of = retrieve.load_cross_encoder(str(tmp_path), "cpu"), texts_of(made)
    asked = list(questions.question)
    ids, _ = collection.by_cross_encoder(asked, at)
    before = by_hybrid(asked, at)[0]
    for q, question in enumerate(asked):
        pairs = model.tokenizer([question] * 3, [text_of[doc_id] for doc_id in before[q][:3]])
        raw = [model.model(**{k: torch.tensor([v[i]]) for k, v in pairs.items()}).logits.item() for i in range(3)]
        assert ids[q] == [*(before[q][i] for i in np.argsort(-np.array(raw), kind="stable")), *before[q][3:]]
    assert ids != before
    assert systems.hybrid_rerank(questions, at).evidence[1] == passages_read(made, ids[1][:2])


def test_a_cross_encoder_that_is_none_is_refused_in_one_sentence(tmp_path):
    for name, sentence_said in [
        (str(tmp_path / "nowhere"), "is not a folder: give the folder of a cross-encoder"),
        ("some/reranker", "rerank_model"),
        (save_cross_encoder(tmp_path / "two", labels=2), "gives 2 scores"),
        (str(tmp_path), "cannot be loaded"),
    ]:
        with pytest.raises(BadInput, match=sentence_said):
            retrieve.load_cross_encoder(name, "cpu")


def test_a_long_context_is_filled_in_rank_order_and_never_more(made, questions):
    answers, prompts, text_of = systems.long_context(questions, made), made.memory_lm.prompts, texts_of(made)
    before = by_hybrid(list(questions.question), made)[0]
    for row, ranked in zip(answers.itertuples(), before, strict=True):
        given = list(row.ranked_doc_ids)
        assert given == ranked[: len(given)] and 2 < len(given) < N, "as many as fit"
        items = evidence.packed(made, [text_of[doc_id] for doc_id in ranked])
        sizes = [len(prompts.encode(item)) for item in items]
        assert len(sizes) == len(given) and sizes[-1] <= PARAMS.memory.evidence_tokens
        assert all(
            size == min(len(prompts.encode(text_of[doc_id])), PARAMS.memory.evidence_tokens)
            for size, doc_id in zip(sizes[:-1], given, strict=False)
        )
        assert row.evidence_tokens == sum(sizes) == PARAMS.answer.long_context_tokens - len(items), "a mark before each"
    batch = evidence.wide(made).params.machine.answer_batch
    assert (
        batch * PARAMS.answer.long_context_tokens
        <= PARAMS.machine.answer_batch * PARAMS.answer.top_k * PARAMS.memory.evidence_tokens
    )


def test_what_is_cut_inside_a_character_stays_short():
    prompts = small_lm(PARAMS).prompts
    text = "한국어는 " * 5
    for limit in range(1, 12):
        assert len(prompts.encode(evidence.shortened(prompts, text, limit))) <= limit
    assert evidence.shortened(prompts, "amber  bird", 50) == "amber  bird"


def test_parameters_say_which_systems_there_are(tmp_path, monkeypatch):
    whole = small_params(
        {
            "train.text_weight": 0.5,
            "memory.key_width": 4,
            "answer.dense_steps": 1,
            "answer.rerank_model": "a",
            "answer.rerank_depth": 2,
        }
    )
    names = ("dense-tuned", "text-twin", "hybrid+rerank", "lm-rerank", "long-context")
    assert all(systems.possible(name, whole) for name in (*names, "zmem", "zmem+text"))
    without = {"dense_steps": 0, "text_weight": 0.0, "rerank_model": "", "rerank_depth": 0, "long_context_tokens": 0}
    left = {
        key: {name for name in names if not systems.possible(name, replace(whole, **{key: value}))}
        for key, value in without.items()
    }
    assert left == {
        "dense_steps": {"dense-tuned"}, "text_weight": {"text-twin", "lm-rerank"}, "rerank_model": {"hybrid+rerank"},
        "rerank_depth": {"hybrid+rerank", "lm-rerank"}, "long_context_tokens": {"long-context"},
    }  # fmt: skip
    assert systems.possible("lm-rerank", changed(whole, {"train.text_weight": 0.0, "lm.name": "org/model"}))
    monkeypatch.setattr(
        "zmem_lib.evaluation.score.finished_params", lambda folder: changed(whole, {"answer.long_context_tokens": 0})
    )
    with pytest.raises(BadInput, match="leave long-context out"):
        next(score_lines(tmp_path, ["zmem", "long-context"]))


def test_what_is_built_on_others_took_as_long_as_these(tmp_path):
    (tmp_path / "manifest_03.json").write_text(json.dumps({"seconds": 100.0}))
    built = {"zmem": 50.0, "bm25": 1.0, "hybrid": 5.0}
    found = built_on_others(built, 2.0, tmp_path, small_params({"train.text_weight": 0.0}))
    assert found == {"hybrid+rerank": 5.0, "lm-rerank": 5.0, "long-context": 5.0, "zmem+bm25": 53.0}
    assert built_on_others(built, 2.0, tmp_path, small_params({"train.text_weight": 0.5}))["lm-rerank"] == 105.0

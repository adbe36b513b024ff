"""z-memory with text and with BM25, the two rerankers, the long context: what each puts first and hands the reader."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from families import save_family
from test_families import FAMILIES, stir
from tiny_collection import small_collection, small_docs, small_questions
from tiny_models import one_by_one, save_cross_encoder, small_lm, small_params

from zmem_lib.evaluation.scoring import score_run
from zmem_lib.files import BadInput, read_json, write_json
from zmem_lib.memory.lm import make_memory_lm
from zmem_lib.opponents import fusion, rerank
from zmem_lib.opponents.bm25 import rank_bm25
from zmem_lib.opponents.dense import load_cross_encoder
from zmem_lib.params import changed
from zmem_lib.systems import choosing, evidence
from zmem_lib.systems.choosing import WEIGHTS, by_hybrid, by_select_anew
from zmem_lib.systems.evidence import answers_of

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


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    return small_collection(PARAMS, small_docs(N), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def questions():
    return small_questions(4)


def passages_read(held, ids):
    prompts, limit = held.memory_lm.prompts, PARAMS.memory.evidence_tokens
    return [prompts.decode(prompts.encode(held.text_of[doc_id], limit)) for doc_id in ids]


def test_what_z_chooses_is_read_as_text(held, questions):
    text, z = answers_of("zmem+text", questions, held), answers_of("zmem", questions, held)
    assert list(map(list, text.ranked_doc_ids)) == list(map(list, z.ranked_doc_ids))
    for row in text.itertuples():
        assert list(row.evidence) == passages_read(held, row.ranked_doc_ids[:2])
    assert (text.input_tokens <= z.input_tokens).all(), "nothing is written on the way"


def test_z_and_bm25_are_fused_and_the_evidence_is_written_from_z(held, questions):
    fused = answers_of("zmem+bm25", questions, held)
    both = by_select_anew(questions, held), rank_bm25(held.bm25(), list(questions.question), N)
    assert list(map(list, fused.ranked_doc_ids)) == fusion.weighted_sum(*both, 0.5, N)[0]
    assert list(map(list, fused.ranked_doc_ids)) != both[0][0], "the case must tell fused from not fused"
    items, _ = evidence.written(questions, held, [list(ids[:2]) for ids in fused.ranked_doc_ids])
    assert fused.evidence.tolist() == evidence.answer(questions, held, items, began=0.0).evidence.tolist()


def test_every_weight_is_chosen_on_dev_questions_and_kept_in_one_file(held, tmp_path, monkeypatch):
    names = ["hybrid", "lm-rerank", "zmem+bm25"]
    at = replace(held, folder=tmp_path, params=changed(PARAMS, {"train.text_weight": 0.5}))
    dev = pd.DataFrame([{"question": f"t{i}", "gold_doc_ids": [f"d{i}"]} for i in range(N)])
    few = {name: replace(one, dev_sample=4) for name, one in choosing.FUSIONS.items()}
    monkeypatch.setattr(choosing, "FUSIONS", few)
    table = choosing.choose_weights(dev, at).set_index("fusion")
    written = read_json(tmp_path / WEIGHTS)
    assert list(table.index) == list(written) == names, "no keys, so neither what rests on them"
    assert {one["n"] for one in written.values()} == set(table["n"]) == {4}
    assert {name: one["weight"] for name, one in written.items()} == table["weight"].to_dict()
    tried = pd.DataFrame(written["zmem+bm25"]["tried"])["mrr@10"]
    assert written["zmem+bm25"]["weight"] > 0, "BM25 knows these, z does not"
    assert table.loc["zmem+bm25", ["mrr@10, 0", "mrr@10, 1"]].tolist() == [tried.iloc[0], tried.iloc[-1]]
    assert tried.iloc[-1] == 1.0 > tried.iloc[0]
    assert table.loc["zmem+bm25", "mrr@10, chosen"] == 1.0
    choosing.choose_weights(dev[:0], at)
    assert {one["weight"] for one in read_json(tmp_path / WEIGHTS).values()} == {0.5}


def test_a_weight_that_is_another_gives_another_order(held, questions, tmp_path):
    at = replace(held, folder=tmp_path)
    for weight, side in ((0.0, 0), (1.0, 1)):
        write_json({name: {"weight": weight} for name in choosing.FUSIONS}, tmp_path / WEIGHTS)
        both = choosing.FUSIONS["zmem+bm25"].both(questions, at)
        assert choosing.by_z_and_bm25(questions, at)[0] == both[side][0]
        second = choosing.hybrid_and_lm(questions, at)[side][0]
        assert [ids[:3] for ids in choosing.by_lm(questions, at)[0]] == [ids[:3] for ids in second]


def test_the_language_model_is_weighed_with_the_hybrid_over_its_first(held, questions):
    ids, scores = choosing.by_lm(questions, held)
    before, prompts, text_of = by_hybrid(questions, held), held.memory_lm.prompts, held.text_of
    plain = []
    for q, question in enumerate(questions.question):
        log_p = {}
        for doc_id in before[0][q][:3]:
            text = prompts.text(text_of[doc_id], PARAMS.memory.document_tokens)
            given = len(text) + len(prompts.marks["question"])
            log_p[doc_id] = one_by_one(held.memory_lm, text + prompts.question(question).ids, given)
        plain.append(sorted(log_p.items(), key=lambda pair: -pair[1]))
    second = [[doc_id for doc_id, _ in best] for best in plain], [[value for _, value in best] for best in plain]
    wanted, values = fusion.weighted_sum(before, second, 0.5, N)
    assert ids == wanted
    assert np.allclose(scores, values, atol=1e-4)
    assert ids != before[0], "the case must tell ordered from not ordered"
    assert answers_of("lm-rerank", questions, held).evidence[0] == passages_read(held, ids[0][:2])


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
    on = one_by_one(memory_lm, lesson.ids, len(lesson.ids) - sum(term > 0 for term in lesson.terms))
    learned = changed(params, {"train.text_weight": 0.5})
    assert rerank.log_p_given_text(memory_lm, [(question, text)], learned) == pytest.approx([on], rel=1e-3)
    assert abs(on - off) > 0.1
    memory_lm.prompts.tokenizer.chat_template = None
    row = rerank.instructed_row(memory_lm.prompts, question, text, 6)
    assert memory_lm.prompts.decode(row.ids).endswith(f"{rerank.INSTRUCTION}\nQuestion: {question}")


def test_the_cross_encoder_is_weighed_with_the_hybrid_over_its_first(held, questions, tmp_path):
    at = replace(held, params=changed(PARAMS, {"answer.rerank_model": save_cross_encoder(tmp_path)}))
    model, text_of = load_cross_encoder(str(tmp_path), "cpu"), held.text_of
    ids, _ = choosing.by_cross_encoder(questions, at)
    before, second = by_hybrid(questions, at), ([], [])
    for q, question in enumerate(questions.question):
        first = before[0][q][:3]
        pairs = model.tokenizer([question] * 3, [text_of[doc_id] for doc_id in first])
        raw = [model.model(**{k: torch.tensor([v[i]]) for k, v in pairs.items()}).logits.item() for i in range(3)]
        order = np.argsort(-np.array(raw), kind="stable")
        second[0].append([first[i] for i in order])
        second[1].append([raw[i] for i in order])
    assert ids == fusion.weighted_sum(before, second, 0.5, N)[0]
    assert ids != before[0]
    assert answers_of("hybrid+rerank", questions, at).evidence[1] == passages_read(held, ids[1][:2])


def test_a_cross_encoder_that_is_none_is_refused_in_one_sentence(tmp_path):
    for name, sentence_said in [
        (str(tmp_path / "nowhere"), "is not a folder: give the folder of a cross-encoder"),
        ("some/reranker", "rerank_model"),
        (save_cross_encoder(tmp_path / "two", labels=2), "gives 2 scores"),
        (str(tmp_path), "cannot be loaded"),
    ]:
        with pytest.raises(BadInput, match=sentence_said):
            load_cross_encoder(name, "cpu")


def test_a_long_context_is_filled_in_rank_order_and_never_more(held, questions):
    answers, prompts, text_of = answers_of("long-context", questions, held), held.memory_lm.prompts, held.text_of
    before = by_hybrid(questions, held)[0]
    for row, ranked in zip(answers.itertuples(), before, strict=True):
        given = list(row.ranked_doc_ids)
        assert given == ranked[: len(given)] and 2 < len(given) < N, "as many as fit"
        items = evidence.packed(held, [text_of[doc_id] for doc_id in ranked])
        sizes = [len(prompts.encode(item)) for item in items]
        assert len(sizes) == len(given) and sizes[-1] <= PARAMS.memory.evidence_tokens
        assert all(
            size == min(len(prompts.encode(text_of[doc_id])), PARAMS.memory.evidence_tokens)
            for size, doc_id in zip(sizes[:-1], given, strict=False)
        )
        assert row.evidence_tokens == sum(sizes) == PARAMS.answer.long_context_tokens - len(items), "a mark before each"
    batch = evidence.wide(held).params.machine.answer_batch
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


@pytest.mark.parametrize("budget", [1, 2, 5])
def test_a_budget_below_the_marker_still_gives_the_first_words(held, questions, budget):
    at = replace(held, params=changed(PARAMS, {"answer.long_context_tokens": budget}))
    answers = answers_of("long-context", questions, at)
    for row, ranked in zip(answers.itertuples(), by_hybrid(questions, held)[0], strict=True):
        (item,) = row.evidence
        assert list(row.ranked_doc_ids) == ranked[:1] and held.text_of[ranked[0]].startswith(item.split()[0])
        assert 0 < row.evidence_tokens <= evidence.FIRST_TOKENS


def test_what_the_parameters_leave_out_is_not_scored(tmp_path, monkeypatch):
    held = held_without(tmp_path)
    monkeypatch.setattr("zmem_lib.evaluation.scoring.finished_params", lambda *_: held.params)
    monkeypatch.setattr("zmem_lib.evaluation.scoring.open_collection", lambda *_, **__: held)
    monkeypatch.setattr("zmem_lib.evaluation.scoring.read_table", lambda *_: small_questions(2).assign(split="test"))
    with pytest.raises(BadInput, match="leave long-context out"):
        score_run(tmp_path, ["zmem", "long-context"])


def held_without(folder):
    return small_collection(changed(PARAMS, {"answer.long_context_tokens": 0}), small_docs(2), folder)

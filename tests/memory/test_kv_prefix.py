"""Blocks of keys and values: those of a text are the text, in every batch; they are chosen, learned, and kept."""

from dataclasses import replace
from itertools import takewhile

import pytest
import torch
from families import save_family
from tiny_models import sentence, small_lm, small_params

from zmem_lib.memory.choose import score_questions
from zmem_lib.memory.encoder import can_start, document_keys, encode_rows, start_z
from zmem_lib.memory.kv_prefix import slot_weights, surprises
from zmem_lib.memory.likelihood import counted_logits, generate_all, greedy_scores, token_nll
from zmem_lib.memory.lm import load_memory_lm, make_memory_lm, save_memory_lm
from zmem_lib.memory.prompts import TERMS, Row, behind_text
from zmem_lib.memory.write import write
from zmem_lib.params import changed
from zmem_lib.runs.needs import block_width

KV = small_params(
    {"memory.kind": "kv", "memory.start": "chosen", "write.start": "chosen", "memory.z_tokens": 30,
     "train.encode_share": 0.5, "memory.key_width": 6, "train.key_weight": 0.1}
)  # fmt: skip
SMALL_MODELS = ("Qwen/Qwen2.5-0.5B-Instruct", "meta-llama/Llama-3.2-3B-Instruct", "mistralai/Mistral-7B-Instruct-v0.3")
TEXTS = [sentence(i, n) for i, n in enumerate((9, 4, 7))]


@pytest.fixture(scope="module", params=["chosen", "pooled"])
def memory_lm(request):
    return small_lm(changed(KV, {"memory.start": request.param, "write.start": request.param}))


def start(lm, texts=TEXTS):
    return start_z(lm.heads.start, texts, lm, limit=40, seed=1)  # (N,K,W)


def rows_of(lm):
    return [lm.prompts.evidence(sentence(i + 20, 5), sentence(i + 40, n), 30) for i, n in enumerate((4, 8, 6))]


@pytest.mark.parametrize("family", ["scratch", *SMALL_MODELS])
def test_keys_and_values_of_all_tokens_of_a_text_are_that_text(family, tmp_path):
    changes = {"lm.name": save_family(family, tmp_path), "lm.lora_rank": 2} if family != "scratch" else {}
    lm = small_lm(changed(KV, changes))
    lm = replace(lm, prompts=replace(lm.prompts, marks=lm.prompts.marks | {"text": []}))
    long = " ".join(TEXTS * 3)
    ids = [lm.prompts.text(text, lm.heads.z_tokens - 1) for text in (long, long[5:])]  # as many as places, with the end
    assert {len(text) for text in ids} == {len(lm.prompts.begin) + lm.heads.z_tokens}
    asked, lm.heads.reach = rows_of(lm)[:2], len(ids[0])
    with torch.no_grad():
        z = encode_rows(lm, ids)[:, :-6].unflatten(1, (lm.heads.z_tokens, -1))  # without the key
        behind, _ = token_nll(lm, z, asked)
        plain, _ = token_nll(lm, None, [behind_text(text, row) for text, row in zip(ids, asked, strict=True)])
    assert behind.abs().max() > 0.1
    torch.testing.assert_close(behind, plain[:, len(ids[0]) :], atol=1e-4, rtol=1e-4)


def test_batches_and_scans_change_nothing(memory_lm):
    lm, rows, z = memory_lm, rows_of(memory_lm), start(memory_lm)
    for i in range(3):
        torch.testing.assert_close(start(lm, TEXTS[i : i + 1])[0], z[i], atol=1e-4, rtol=1e-4)
    together, _ = greedy_scores(lm, z, rows)
    alone = torch.cat([greedy_scores(lm, z[i : i + 1], [row])[0] for i, row in enumerate(rows)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    questions = [sentence(i + 20, n) for i, n in enumerate((3, 6))]
    scan = score_questions(lm, z, questions, batch=2)  # (Q,N)
    with torch.no_grad():
        one = [-token_nll(lm, z, [lm.prompts.question(question)] * 3)[0].sum(1) for question in questions]
    torch.testing.assert_close(scan, torch.stack(one), atol=1e-4, rtol=1e-4)
    assert (scan[:, 0] - scan[:, 1]).abs().min() > 1e-3, "the block matters"


def test_generating_equals_a_plain_greedy_loop(memory_lm):
    lm, z = memory_lm, start(memory_lm)
    prompts = [lm.prompts.asked(sentence(i, n)) for i, n in enumerate((2, 9, 5))]
    batched = generate_all(lm, z, prompts, max_tokens=6, batch=3)
    for i, prompt in enumerate(prompts):
        ids = list(prompt)
        for _ in range(6):
            row = Row([*ids, lm.prompts.end], [0] * len(ids) + [TERMS.index("evidence")])
            with torch.no_grad():
                ids.append(counted_logits(lm, z[i : i + 1], [row])[0].argmax().item())
        assert batched[i] == list(takewhile(lambda token: token not in lm.ends, ids[len(prompt) :]))


def test_the_tokens_that_surprise_most_are_chosen_and_always_the_end():
    lm = small_lm(changed(KV, {"memory.z_tokens": 4}))
    text = lm.prompts.text(TEXTS[0], 40)
    states = torch.randn(1, len(text), 32, generator=torch.Generator().manual_seed(0))
    weights = slot_weights(lm, [text], states)[0]  # (K,T)
    surprise = surprises(lm, text, states[0])
    given = len(lm.prompts.begin) + len(lm.prompts.marks["text"])
    best = sorted(range(given, len(text) - 1), key=lambda i: -surprise[i])[:3]
    assert weights.argmax(1).tolist() == [*sorted(best), len(text) - 1] and weights.sum() == 4
    log_p = lm.lm.get_output_embeddings()(states[0, 4]).log_softmax(-1)[text[5]]
    assert surprise[5].item() == pytest.approx(-log_p.item(), rel=1e-4) and surprise[0] == 0


def test_a_text_of_fewer_tokens_than_places_fills_them_all(memory_lm):
    z = start(memory_lm, ["", "amber"])
    assert z.isfinite().all() and (z.abs().sum(2) > 0).all()
    with torch.no_grad():
        assert token_nll(memory_lm, z[:1], rows_of(memory_lm)[:1])[0].isfinite().all()


def test_writing_moves_blocks_towards_their_text_and_no_weight(memory_lm):
    lm, z = memory_lm, start(memory_lm)[:, :5]
    before = [weight.clone() for weight in lm.lm.parameters()]
    snapshots, log = write(lm, TEXTS, z, steps=10, rate=0.05, document_tokens=40)
    assert log.nll.iloc[-1] < log.nll.iloc[0] and not torch.equal(snapshots[10], z)
    assert all(torch.equal(one, two) for one, two in zip(before, lm.lm.parameters(), strict=True))


def test_the_model_learns_through_blocks_of_its_own_reading_and_their_keys_are_the_same(memory_lm):
    lm = memory_lm
    texts = [lm.prompts.text(text, 40) for text in TEXTS]
    rows = encode_rows(lm, texts)
    blocks, keys = rows.split([lm.heads.z_tokens * lm.heads.width, 6], 1)
    torch.testing.assert_close(keys.detach(), document_keys(lm, TEXTS, 40), atol=1e-5, rtol=1e-4)
    token_nll(lm, blocks.unflatten(1, (lm.heads.z_tokens, -1)), rows_of(lm))[0].sum().backward()
    gradients = [layer.self_attn.v_proj.weight.grad for layer in lm.backbone.layers]
    lm.lm.zero_grad()
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
    assert can_start(lm, lm.heads.start) and not can_start(lm, "random")


def test_an_adapter_in_half_precision_makes_and_reads_blocks(tmp_path):
    changes = {"lm.name": save_family(SMALL_MODELS[0], tmp_path), "lm.lora_rank": 2, "machine.precision": "bfloat16"}
    lm = small_lm(changed(KV, changes))
    rows = encode_rows(lm, [lm.prompts.text(text, 40) for text in TEXTS])
    z = rows[:, :-6].unflatten(1, (lm.heads.z_tokens, -1))
    token_nll(lm, z, rows_of(lm))[0].sum().backward()
    learned = [weight.grad.abs().max() for name, weight in lm.lm.named_parameters() if "v_proj.lora_B" in name]
    assert learned and min(learned) > 0 and generate_all(lm, z.detach(), [[5], [6, 7], [8]], max_tokens=2, batch=3)


def test_units_are_kept_with_the_model(tmp_path, memory_lm):
    save_memory_lm(memory_lm, tmp_path / "lm", "card")
    params = changed(KV, {"memory.start": memory_lm.heads.start, "write.start": memory_lm.heads.start})
    again = load_memory_lm(tmp_path / "lm", params)
    assert again.heads.scale == 1 and again.heads.width == block_width(params)
    again.heads.spread.fill_(0.1)  # as an adapter leaves it that was schooled with soft blocks
    assert again.heads.scale == 1, "no unit of another kind"
    assert torch.equal(again.heads.kv_spread, memory_lm.heads.kv_spread)
    torch.testing.assert_close(start(again), start(memory_lm))
    plain = make_memory_lm(params, TEXTS)
    assert start(plain).std().item() == pytest.approx(1, abs=0.3), "in units of what they vary by"

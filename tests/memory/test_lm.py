"""Equivalences of the memory LM: soft prompts, batches, padding, saving."""

from itertools import takewhile

import pytest
import torch
from families import save_family
from tiny_models import generate, random_blocks, sentence, small_lm, small_params
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from zmem_lib.files import BadInput
from zmem_lib.memory.likelihood import generate_all, left_padded, prefix, token_nll
from zmem_lib.memory.lm import (  # fmt: skip
    attention,
    load_memory_lm,
    make_memory_lm,
    pick_device,
    reading,
    save_memory_lm,
)
from zmem_lib.memory.prompts import TERMS, Row
from zmem_lib.params import changed

PARAMS = small_params()


@pytest.fixture(scope="module")
def memory_lm():
    return small_lm()


def rows_of(memory_lm, *lengths):
    return [memory_lm.prompts.evidence(sentence(i, n), sentence(i + 50, n), 64) for i, n in enumerate(lengths)]


def test_soft_prompt_of_real_tokens_equals_those_tokens(memory_lm):
    tokens = memory_lm.prompts.encode(sentence(1))[:3]
    row = rows_of(memory_lm, 6)[0]
    z = memory_lm.embeddings[tokens][None]  # (1,K,D)
    soft, _ = token_nll(memory_lm, z, [row])
    begun = memory_lm.prompts.begin + tokens
    plain, _ = token_nll(memory_lm, None, [Row(begun + row.ids, [0] * len(begun) + row.terms)])
    torch.testing.assert_close(soft[0], plain[0, len(begun) :], atol=1e-5, rtol=1e-5)


def test_nll_is_cross_entropy_of_the_whole_sequence(memory_lm):
    row = rows_of(memory_lm, 6)[0]
    ids = torch.tensor([row.ids])
    nll, terms = token_nll(memory_lm, None, [row])
    logits = memory_lm.lm(input_ids=ids).logits
    counted = torch.tensor(row.terms) > 0
    expected = cross_entropy(logits[0, :-1], ids[0, 1:], reduction="none")
    torch.testing.assert_close(nll[0, 1:][counted[1:]], expected[counted[1:]])
    assert (nll[0][~counted] == 0).all() and terms[0].tolist() == row.terms


def test_batched_equals_one_by_one(memory_lm):
    rows, z = rows_of(memory_lm, 3, 9, 6), random_blocks(3, PARAMS)
    together, terms = token_nll(memory_lm, z, rows)
    for i, row in enumerate(rows):
        alone, _ = token_nll(memory_lm, z[i : i + 1], [row])
        torch.testing.assert_close(together[i, : len(row.ids)], alone[0], atol=1e-5, rtol=1e-5)
        assert together[i, len(row.ids) :].abs().sum() == 0 and terms[i, len(row.ids) :].sum() == 0


def test_z_matters_to_every_token(memory_lm):
    row = rows_of(memory_lm, 6)
    one, _ = token_nll(memory_lm, random_blocks(1, PARAMS, seed=1), row)
    other, _ = token_nll(memory_lm, random_blocks(1, PARAMS, seed=2), row)
    assert ((one - other).abs()[0, torch.tensor(row[0].terms) > 0] > 1e-4).all()


def test_left_padded_equals_unpadded(memory_lm):
    prompts = [memory_lm.prompts.asked(sentence(i, n)) for i, n in enumerate((2, 9, 5))]
    z = random_blocks(3, PARAMS)
    embedded, mask = left_padded(memory_lm, prompts, prefix(memory_lm, z))
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = memory_lm.lm(inputs_embeds=embedded, attention_mask=mask, position_ids=positions).logits[:, -1]
    for i, prompt in enumerate(prompts):
        alone, _ = left_padded(memory_lm, [prompt], prefix(memory_lm, z[i : i + 1]))
        assert alone.shape[1] == 1 + PARAMS.memory.z_tokens + len(prompt)
        torch.testing.assert_close(logits[i], memory_lm.lm(inputs_embeds=alone).logits[0, -1], atol=1e-5, rtol=1e-5)


def test_the_output_head_gets_its_states_in_one_piece(memory_lm):
    given = []
    watch = memory_lm.lm.get_output_embeddings().register_forward_hook(lambda _, states, __: given.append(states[0]))
    generate_all(memory_lm, None, [[5, 6, 7], [8, 9]], max_tokens=2, batch=2)
    watch.remove()
    assert [tuple(states.shape) for states in given] == [(2, 1, 32)] * 2
    assert all(states.is_contiguous() for states in given), "a slice of the last states costs seconds in bfloat16"


@pytest.mark.parametrize("with_z", [True, False])
def test_generating_in_batches_equals_a_plain_greedy_loop(memory_lm, with_z):
    prompts = [memory_lm.prompts.asked(sentence(i, n)) for i, n in enumerate((2, 9, 5, 7))]
    z = random_blocks(4, PARAMS) if with_z else None
    batched = generate_all(memory_lm, z, prompts, max_tokens=6, batch=3)
    for i, prompt in enumerate(prompts):
        block = z[i : i + 1] if with_z else None
        begun = prefix(memory_lm, block) if with_z else None
        ids = list(prompt)
        for _ in range(6):
            embedded, _ = left_padded(memory_lm, [ids], begun)
            ids.append(memory_lm.lm(inputs_embeds=embedded).logits[0, -1].argmax().item())
        expected = list(takewhile(lambda token: token not in memory_lm.ends, ids[len(prompt) :]))
        assert batched[i] == expected
        assert generate(memory_lm, block, [prompt], 6)[0] == expected


def test_terms_mark_question_evidence_and_end(memory_lm):
    row = memory_lm.prompts.evidence("amber bird", "cloud dust", 64)
    marked = {TERMS[t]: [i for i, u in zip(row.ids, row.terms, strict=True) if u == t] for t in set(row.terms)}
    decode = memory_lm.prompts.tokenizer.decode
    assert decode(marked["question"]).strip() == "amber bird"
    assert decode(marked["evidence"][:-1]).strip() == "cloud dust"
    assert marked["evidence"][-1] == memory_lm.prompts.end
    assert row.ids[: len(memory_lm.prompts.question("amber bird").ids)] == memory_lm.prompts.question("amber bird").ids


def test_saved_scratch_model_gives_bit_equal_losses(memory_lm, tmp_path):
    row, z = rows_of(memory_lm, 6), random_blocks(1, PARAMS)
    save_memory_lm(memory_lm, tmp_path, "the card")
    loaded = load_memory_lm(tmp_path, PARAMS)
    assert torch.equal(token_nll(memory_lm, z, row)[0], token_nll(loaded, z, row)[0])
    assert not any(weight.requires_grad for weight in loaded.lm.parameters())
    assert (tmp_path / "README.md").read_text() == "the card"
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".jinja", ".md"}


def test_a_local_model_gets_an_adapter_that_survives_saving(memory_lm, tmp_path):
    config = LlamaConfig(
        vocab_size=len(memory_lm.prompts.tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    memory_lm.prompts.tokenizer.save_pretrained(tmp_path / "base")
    params = changed(PARAMS, {"lm.name": str(tmp_path / "base")})
    adapted = make_memory_lm(params, [])
    learning = [name for name, weight in adapted.lm.named_parameters() if weight.requires_grad]
    assert learning and all("lora" in name for name in learning)
    with torch.no_grad():
        for name, weight in adapted.lm.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    row, z = rows_of(adapted, 6), random_blocks(1, PARAMS)
    save_memory_lm(adapted, tmp_path / "adapter", "the card")
    loaded = load_memory_lm(tmp_path / "adapter", params)
    before, after = token_nll(adapted, z, row)[0], token_nll(loaded, z, row)[0]
    assert torch.equal(before, after)
    with loaded.lm.disable_adapter():
        assert not torch.allclose(token_nll(loaded, z, row)[0], after)


def test_attention_is_plain_on_a_cpu(memory_lm, tmp_path):
    folder = save_family("Qwen/Qwen2.5-0.5B-Instruct", tmp_path / "qwen")
    whole = make_memory_lm(changed(PARAMS, {"lm.name": folder, "lm.lora_rank": 0}), [])
    assert not whole.adapted and all(weight.requires_grad for weight in whole.lm.parameters())
    assert whole.lm.config._attn_implementation == memory_lm.lm.config._attn_implementation == "eager"
    assert attention(torch.device("cuda")) is None


def test_an_adapter_learns_in_float32_and_multiplies_in_the_arithmetic(tmp_path):
    folder = save_family("Qwen/Qwen2.5-0.5B-Instruct", tmp_path / "qwen")
    adapted = make_memory_lm(changed(PARAMS, {"lm.name": folder, "machine.precision": "bfloat16"}), [])
    down = next(module for name, module in adapted.lm.named_modules() if name.endswith("lora_A.default"))
    passed = []
    down.register_forward_hook(lambda _, given, made: passed.append((given[0].dtype, made.dtype)))
    token_nll(adapted, adapted.heads.random_z(1, seed=0), [adapted.prompts.question("Who?")])
    assert down.weight.dtype is torch.float32 and passed == [(torch.bfloat16, torch.bfloat16)]


def test_the_reader_is_the_adapter_as_it_came_whatever_was_learned_since(tmp_path):
    family = {"lm.name": save_family("Qwen/Qwen2.5-0.5B-Instruct", tmp_path / "qwen")}
    schooled = make_memory_lm(changed(PARAMS, family), [])
    row, said = [schooled.prompts.question("Who?")], lambda model: token_nll(model, model.heads.random_z(1, 0), row)[0]
    with torch.no_grad():
        for name, weight in schooled.lm.named_parameters():
            weight.add_(0.1 * ("lora_B" in name))
    save_memory_lm(schooled, tmp_path / "schooled", "")
    came, params = said(schooled), changed(PARAMS, family | {"lm.adapter": str(tmp_path / "schooled")})
    learned = make_memory_lm(params, [])
    with torch.no_grad():
        for name, weight in learned.lm.named_parameters():
            weight.add_(0.1 * ("lora_B" in name))
    save_memory_lm(learned, tmp_path / "learned", "")
    assert not [path for path in (tmp_path / "learned").iterdir() if path.is_dir()]
    loaded = load_memory_lm(tmp_path / "learned", params, params.lm.adapter)
    before = said(loaded)
    assert torch.equal(before, said(learned)) and not torch.allclose(before, came)
    with reading(loaded, learned=False):
        assert torch.equal(said(loaded), came)
    with reading(loaded, learned=True):
        assert torch.equal(said(loaded), before)
    assert torch.equal(said(loaded), before) and not [w for w in loaded.lm.parameters() if w.requires_grad]
    with reading(learned, learned=False), learned.lm.disable_adapter():
        bare = said(learned)
    with reading(learned, learned=False):  # nobody came to read
        assert torch.equal(said(learned), bare)


def test_missing_model_and_missing_gpu_are_named(tmp_path):
    with pytest.raises(BadInput, match="no/such/model"):
        make_memory_lm(changed(PARAMS, {"lm.name": "./no/such/model"}), [])
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="cuda"):
            pick_device("cuda")

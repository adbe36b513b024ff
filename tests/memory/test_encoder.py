"""The model reads: documents to blocks and keys, questions to vectors; where blocks begin; what the heads keep."""

import pytest
import torch
from tiny_models import random_blocks, sentence, small_lm, small_params

from zmem_lib.files import BadInput
from zmem_lib.memory.encoder import can_start, document_keys, encode, encode_rows, question_vectors, start_z
from zmem_lib.memory.likelihood import prefix
from zmem_lib.memory.lm import load_memory_lm, save_memory_lm
from zmem_lib.memory.soft_prompt import load_heads
from zmem_lib.params import changed

PARAMS = small_params({"memory.z_width": 8, "memory.key_width": 6, "train.encode_share": 0.5})
EXACT = "donot_use_mm_for_euclid_dist"
TEXTS = [sentence(i, 3 + 4 * i) for i in (2, 0, 4, 1, 3)]  # not in the order of their length, in which they are read


@pytest.fixture(scope="module")
def memory_lm():
    return small_lm(PARAMS)


def test_encoding_together_equals_encoding_alone(memory_lm):
    z, keys = encode(memory_lm, TEXTS, 40)
    assert z.shape == (5, PARAMS.memory.z_tokens, 8) and keys.shape == (5, 6)
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(5))
    for i, text in enumerate(TEXTS):
        alone, key = encode(memory_lm, [text], 40)
        torch.testing.assert_close(alone[0], z[i], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(key[0], keys[i], atol=1e-5, rtol=1e-4)
    assert (z[0] - z[1]).abs().max() > 1e-3, "every document would have the same block"


def test_question_vectors_are_of_unit_length_and_do_not_depend_on_their_batch(memory_lm):
    vectors = question_vectors(memory_lm, TEXTS)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
    alone = torch.cat([question_vectors(memory_lm, [text]) for text in TEXTS])
    torch.testing.assert_close(alone, vectors, atol=1e-5, rtol=1e-4)


def test_a_key_is_the_map_of_the_states_weighted_by_their_place(memory_lm):
    row = memory_lm.prompts.text(TEXTS[0], 40)
    with torch.no_grad():
        states = memory_lm.backbone(input_ids=torch.tensor([row])).last_hidden_state[0]  # (T,D)
        weights = torch.arange(1, len(row) + 1.0)
        expected = memory_lm.heads.to_key((states * weights[:, None]).sum(0) / weights.sum())
    torch.testing.assert_close(encode(memory_lm, TEXTS[:1], 40)[1][0], expected / expected.norm(), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        asked = memory_lm.prompts.find(TEXTS[0])
        states = memory_lm.backbone(input_ids=torch.tensor([asked])).last_hidden_state[0]  # (T,D)
        weights = torch.arange(1, len(asked) + 1.0)
        expected = memory_lm.heads.to_key((states * weights[:, None]).sum(0) / weights.sum())
    torch.testing.assert_close(
        question_vectors(memory_lm, TEXTS[:1])[0], expected / expected.norm(), atol=1e-5, rtol=1e-4
    )


def test_gradients_reach_every_map_through_block_and_key(memory_lm):
    memory_lm.heads.zero_grad()
    rows = encode_rows(memory_lm, [memory_lm.prompts.text(text, 40) for text in TEXTS])  # (B,K*W+E)
    z, keys = rows[:, :-6].reshape(5, -1, 8), rows[:, -6:]
    (memory_lm.heads.connector(z).square().sum() + keys[:, 0].sum()).backward()
    without = {name for name, weight in memory_lm.heads.named_parameters() if weight.grad is None}
    assert without == set()


@pytest.mark.parametrize("width", [0, 32, 8])
def test_starting_from_rows_of_the_vocabulary_stands_for_those_tokens(width):
    params = small_params({"memory.z_width": width})
    memory_lm = small_lm(params)
    z = start_z("vocab", TEXTS, memory_lm, limit=40, seed=1)
    soft = prefix(memory_lm, z).detach()[:, 1:]  # (N,K,D): behind the constant first token
    distance = torch.cdist(soft.flatten(0, 1), memory_lm.embeddings.detach(), compute_mode=EXACT).min(1).values
    if width in (0, params.lm.hidden_size):
        assert distance.max() < 1e-3
    else:  # the nearest that a narrow connector can say: its error lies outside what the connector reaches
        wide = memory_lm.heads.connector.weight.detach()  # (D,W)
        again = soft @ torch.linalg.pinv(wide).T
        torch.testing.assert_close(again, z, atol=1e-3, rtol=1e-3)


def test_a_narrow_connector_begins_from_the_directions_in_which_tokens_differ_most():
    narrow = small_lm(small_params({"memory.z_width": 8}))
    embeddings = narrow.embeddings.detach().float() / 6  # small_lm enlarges them afterwards
    wide = narrow.heads.connector.weight.detach()  # (D,W)
    kept = (embeddings @ torch.linalg.pinv(wide).T @ wide.T).square().sum() / embeddings.square().sum()
    best = torch.linalg.svdvals(embeddings).square()
    assert kept.item() == pytest.approx((best[:8].sum() / best.sum()).item(), rel=1e-4)
    assert kept > 1.2 * 8 / 32, "random directions keep W/D"
    soft = narrow.heads.random_z(200, seed=1) @ wide.T
    assert soft.std().item() == pytest.approx(narrow.heads.scale, rel=0.1)


def test_a_connector_wider_than_the_model_is_refused():
    with pytest.raises(BadInput, match=r"memory\.z_width 33 is more than the model's own width 32"):
        small_lm(small_params({"memory.z_width": 33}))


def test_the_mean_start_is_that_of_the_seen_blocks_or_else_of_the_embeddings(memory_lm):
    z_seen = random_blocks(6, small_params({"lm.hidden_size": 8}))
    z = start_z("mean", TEXTS, memory_lm, limit=40, seed=1, z_seen=z_seen)
    torch.testing.assert_close(z, z_seen.mean(0).expand(5, -1, -1))
    first = start_z("mean", TEXTS, memory_lm, limit=40, seed=1)
    assert torch.equal(first[0], first[4]) and first.shape == z.shape


def test_the_start_by_encoding_is_the_encoding(memory_lm):
    encoded = encode(memory_lm, TEXTS, 40)
    assert torch.equal(start_z("encode", TEXTS, memory_lm, limit=40, seed=1), encoded[0])


def test_keys_are_read_off_the_texts_and_a_model_without_keys_has_none(memory_lm):
    assert torch.equal(document_keys(memory_lm, TEXTS, 40), encode(memory_lm, TEXTS, 40)[1])
    assert document_keys(memory_lm, [], 40).shape == (0, 6)
    assert document_keys(small_lm(), TEXTS, 40).shape == (5, 0)


def test_heads_are_saved_with_their_model_and_fill_only_what_fits(memory_lm, tmp_path):
    save_memory_lm(memory_lm, tmp_path / "lm", "the card")
    loaded = load_memory_lm(tmp_path / "lm", PARAMS)
    assert all(torch.equal(a, b) for a, b in zip(memory_lm.heads.parameters(), loaded.heads.parameters(), strict=True))
    other = small_lm(small_params({"memory.z_width": 12, "memory.key_width": 6, "train.encode_share": 0.5}))
    before = {name: weight.clone() for name, weight in other.heads.state_dict().items()}
    load_heads(other.heads, tmp_path / "lm")
    stay = {name for name, weight in other.heads.state_dict().items() if torch.equal(weight, before[name])}
    assert stay - {"spread"} == {"connector.weight", "to_block.bias", "to_block.weight"}
    assert torch.equal(other.heads.to_key.weight, memory_lm.heads.to_key.weight)


def test_the_unit_of_blocks_is_that_of_before_the_embeddings_learned(tmp_path):
    lm = small_lm(PARAMS)
    scale = lm.heads.scale
    with torch.no_grad():
        lm.lm.get_input_embeddings().weight.mul_(2)
    save_memory_lm(lm, tmp_path / "lm", "card")
    assert load_memory_lm(tmp_path / "lm", PARAMS).heads.scale == pytest.approx(scale)


def test_random_blocks_have_the_embeddings_scale_and_follow_the_seed(memory_lm):
    heads = memory_lm.heads
    z = heads.random_z(200, seed=1)
    assert z.shape == (200, PARAMS.memory.z_tokens, 8) and abs(z.std() / heads.scale - 1) < 0.05
    assert torch.equal(z, heads.random_z(200, seed=1)) and not torch.equal(z, heads.random_z(200, seed=2))


@pytest.mark.parametrize("start", ["random", "vocab", "encode"])
def test_a_documents_start_does_not_depend_on_those_beside_it(memory_lm, start):
    together = start_z(start, TEXTS, memory_lm, limit=40, seed=1)
    alone = start_z(start, TEXTS[3:4], memory_lm, limit=40, seed=1)
    torch.testing.assert_close(together[3], alone[0], atol=1e-5, rtol=1e-4)
    assert (together[3] - together[2]).abs().max() > 1e-3


# --- pooled: the sum of a document's token embeddings, slot by slot ---------------------------------------------------


@pytest.mark.parametrize("width", [0, 32])
def test_a_pooled_block_begins_as_the_sum_of_its_slots_embeddings(width):
    lm = small_lm(changed(PARAMS, {"memory.start": "pooled", "memory.z_width": width, "memory.z_tokens": 3}))
    assert lm.heads.places.shape == (14, 32, 32), "40 tokens over three slots"
    ids = lm.prompts.encode(TEXTS[2], 40)
    slots = torch.tensor(ids).tensor_split(3)
    expected = torch.stack([lm.embeddings[slot].sum(0) for slot in slots]) / 14**0.5  # (K,D)
    z = start_z("pooled", TEXTS, lm, limit=40, seed=1)  # (N,K,W)
    torch.testing.assert_close(lm.heads.connector(z[2]), expected, atol=1e-5, rtol=1e-4)
    assert start_z("pooled", [""], lm, limit=40, seed=1).abs().max() == 0, "nothing in it"
    assert can_start(lm, "pooled") and not can_start(lm, "encode") and can_start(lm, "random")


def test_learned_places_are_kept_with_their_model(tmp_path):
    params = changed(PARAMS, {"memory.start": "pooled", "memory.z_width": 0})
    lm = small_lm(params)
    with torch.no_grad():
        lm.heads.places.mul_(2)
    save_memory_lm(lm, tmp_path / "lm", "card")
    assert torch.equal(load_memory_lm(tmp_path / "lm", params).heads.places, lm.heads.places)


def test_places_of_a_slot_are_told_apart_and_learn(memory_lm):
    lm = small_lm(changed(PARAMS, {"memory.start": "pooled", "memory.key_width": 6}))
    texts = [lm.prompts.text(text, 40) for text in TEXTS]
    rows = encode_rows(lm, texts)  # (B,K*W+E)
    assert rows.shape == (5, 3 * 8 + 6)
    rows[:, : 3 * 8].square().sum().backward()
    used = lm.heads.places.grad.abs().sum((1, 2)) > 0  # (J,)
    assert used[: max(map(len, texts)) // 3 - 1].all() and not used[-1], "by how many tokens a slot got"
    with torch.no_grad():
        lm.heads.places[0] *= 2
    turned = [text[:3] + text[3:][::-1] for text in texts]
    assert not torch.allclose(encode_rows(lm, turned)[:, :24], encode_rows(lm, texts)[:, :24])


# --- chosen: the embeddings of those tokens of a document that surprise the model most ------------------------------


@pytest.mark.parametrize("width", [0, 32])
def test_a_chosen_block_is_the_most_surprising_tokens_in_their_order(width):
    changes = {"memory.start": "chosen", "memory.z_width": width, "memory.z_tokens": 3, "memory.key_width": 6}
    lm = small_lm(changed(PARAMS, changes))
    text = lm.prompts.text(TEXTS[2], 40)
    ids = torch.tensor([text])
    logits = lm.causal(input_ids=ids).logits[0].detach()
    surprise = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")  # of text[1:]
    before = len(lm.prompts.begin) + len(lm.prompts.marks["text"])
    places = surprise[before - 1 : -1].topk(3).indices.sort().values + before
    z = start_z("chosen", TEXTS, lm, limit=40, seed=1)  # (N,K,W)
    torch.testing.assert_close(lm.heads.connector(z[2]), lm.embeddings[ids[0, places]], atol=1e-4, rtol=1e-4)
    rows = encode_rows(lm, [lm.prompts.text(one, 40) for one in TEXTS])
    torch.testing.assert_close(rows[:, -6:].detach(), document_keys(lm, TEXTS, 40), atol=1e-5, rtol=1e-4)
    assert start_z("chosen", [""], lm, limit=40, seed=1).abs().max() == 0, "nothing in it"
    assert can_start(lm, "chosen") and not can_start(lm, "pooled") and can_start(lm, "random")

"""The model reads: documents become blocks and keys, questions become vectors.

A document followed by K memory tokens passes through the model once; its last states there become the block z (ICAE,
2307.06945); or its token embeddings, summed in slots (soft_prompt.py), or some of them, do; or the keys and values of
some of its tokens are the block (kv_prefix.py). Its key, and the vector of
`<question> q <find>`, is one linear map of the mean of the last states over the text, each weighted by its place, as
later ones have read more (SGPT: Muennighoff, 2202.08904, section 3.1). Every key, of a seen document as of a new one,
comes from this reading: keys that were made in two ways would lie apart, and questions would find the one kind first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import torch
from torch import Tensor

from zmem_lib.memory.kv_prefix import side_by_side, slot_weights
from zmem_lib.memory.likelihood import alike, left_padded, positions
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.memory.table import unit
from zmem_lib.meter import progress

TEMPERATURE = 0.05  # of the softmax over cosines of a question's vector with keys: they lie within one of each other
BATCH = 64  # documents, or questions, that are read at once where nothing learns


@dataclass(frozen=True)
class KeyBank:
    """Keys of documents as the encoder made them at some step, among which hard negatives are looked for."""

    documents: Tensor  # (M,) numbers, all different
    keys: Tensor  # (M,E) of unit length


def encode_rows(memory_lm: MemoryLM, texts: Sequence[list[int]]) -> Tensor:
    """Block and unit key side by side (B,K*W+E) of documents given as token ids (prompts.text); gradients flow."""
    heads = memory_lm.heads
    if heads.kv:
        return kv_rows(memory_lm, texts)
    if heads.start == "chosen":
        return chosen_rows(memory_lm, texts)
    if heads.start == "pooled":
        keys = () if heads.to_key is None else (mean_vectors(memory_lm, texts),)  # (B,E)
        return torch.cat([slot_sums(memory_lm, texts).flatten(1), *keys], 1)  # (B,K*W+E)
    embedded, mask = left_padded(memory_lm, texts)  # (B,T,D), (B,T)
    tokens = heads.memory_tokens.to(embedded.dtype).expand(len(texts), -1, -1)  # (B,K,D)
    whole = torch.cat([mask, mask.new_ones(tokens.shape[:2])], 1)  # (B,T+K)
    states = last_states(memory_lm, torch.cat([embedded, tokens], 1), whole)  # (B,T+K,D)
    read = mask.shape[1]  # T
    with memory_lm.arithmetic():
        blocks = heads.to_block(states[:, read:]).float().flatten(1)  # (B,K*W)
    return with_keys(memory_lm, blocks, states[:, :read], mask)


def chosen_rows(memory_lm: MemoryLM, texts: Sequence[list[int]]) -> Tensor:
    """The same where a block is the embeddings of those tokens of a document that surprise the model most."""
    heads = memory_lm.heads
    embedded, mask = left_padded(memory_lm, texts)  # (B,T,D), (B,T)
    states = last_states(memory_lm, embedded, mask)  # (B,T,D)
    weights = slot_weights(memory_lm, texts, states)  # (B,K,T)
    blocks = heads.nearest_z(torch.einsum("bkt,btd->bkd", weights, embedded.float())).flatten(1)  # (B,K*W)
    return with_keys(memory_lm, blocks, states, mask)


def kv_rows(memory_lm: MemoryLM, texts: Sequence[list[int]]) -> Tensor:
    """The same where a block is keys and values: both come from one reading, which ends where questions begin.

    Its constant first token stands at the first place, as it does before a block.
    """
    heads = memory_lm.heads
    embedded, mask = left_padded(memory_lm, texts)  # (B,T,D), (B,T)
    places = torch.arange(heads.reach - mask.shape[1], heads.reach, device=mask.device).expand_as(mask)
    places = places.masked_fill(positions(mask) < len(memory_lm.prompts.begin), 0)  # (B,T)
    options = {"attention_mask": mask, "position_ids": places, "use_cache": True}
    with memory_lm.arithmetic():
        output = memory_lm.backbone(inputs_embeds=embedded, **options)
    states, layers = output.last_hidden_state, output.past_key_values.layers  # (B,T,D)
    held = side_by_side(layers, slot_weights(memory_lm, texts, states))  # (B,K,W)
    blocks = ((held - heads.kv_mean) / heads.kv_spread).flatten(1)  # (B,K*W)
    return with_keys(memory_lm, blocks, states, mask)


def with_keys(memory_lm: MemoryLM, blocks: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """Blocks (B,K*W) and beside them the keys, if there are any, from last states (B,T,D) over the texts: (B,K*W+E)."""
    keys = blocks[:, :0] if memory_lm.heads.to_key is None else to_vectors(memory_lm, states, mask)  # (B,E)
    return torch.cat([blocks, keys], 1)  # (B,K*W+E)


def slot_sums(memory_lm: MemoryLM, texts: Sequence[list[int]]) -> Tensor:
    """Blocks (B,K,W) of documents given as token ids (prompts.text), their embeddings summed in slots; gradients flow.

    The tokens of a document are spread evenly over the K slots, as many of them as have a place.
    """
    prompts, heads = memory_lm.prompts, memory_lm.heads
    before = len(prompts.begin) + len(prompts.marks["text"])
    many, ids = len(heads.places), torch.full((len(texts), heads.z_tokens, len(heads.places)), -1)  # (B,K,J)
    for b, text in enumerate(texts):
        slots = torch.tensor(text[before:-1][: heads.z_tokens * many]).tensor_split(heads.z_tokens)
        for k, slot in enumerate(slots):
            ids[b, k, : len(slot)] = slot
    ids = ids.to(memory_lm.device)
    embedded = memory_lm.lm.get_input_embeddings()(ids.clamp(min=0)) * (ids >= 0)[..., None]  # (B,K,J,D)
    return torch.einsum("bkjd,jdw->bkw", embedded.float(), heads.places)  # (B,K,W)


def mean_vectors(memory_lm: MemoryLM, texts: Sequence[list[int]]) -> Tensor:
    """Unit vectors (B,E) of documents (prompts.text) or questions (prompts.find) as token ids; gradients flow."""
    embedded, mask = left_padded(memory_lm, texts)  # (B,T,D), (B,T)
    return to_vectors(memory_lm, last_states(memory_lm, embedded, mask), mask)


def to_vectors(memory_lm: MemoryLM, states: Tensor, mask: Tensor) -> Tensor:
    """Unit vectors (B,E) of the last states (B,T,D) of texts padded in front where the mask (B,T) is 0."""
    weights = (positions(mask) + 1) * mask  # (B,T): 1, 2, 3, ...
    weights = (weights / weights.sum(1, keepdim=True)).to(states.dtype)
    with memory_lm.arithmetic():
        return unit(memory_lm.heads.to_key((states * weights[..., None]).sum(1)))  # (B,E)


def last_states(memory_lm: MemoryLM, embedded: Tensor, mask: Tensor) -> Tensor:
    """The model's last states (B,T,D) over embeddings (B,T,D), padded in front where the mask (B,T) is 0."""
    options = {"attention_mask": mask, "position_ids": positions(mask), "use_cache": False}
    with memory_lm.arithmetic():
        return memory_lm.backbone(inputs_embeds=embedded, **options).last_hidden_state


def encode(memory_lm: MemoryLM, texts: Sequence[str], limit: int) -> tuple[Tensor, Tensor]:
    """Blocks z (N,K,W) and unit keys (N,E) of documents, at most `limit` tokens of each; float32 on the CPU."""
    return encode_all(memory_lm, [memory_lm.prompts.text(text, limit) for text in texts])


def encode_all(memory_lm: MemoryLM, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """The same of documents as token ids (prompts.text)."""
    heads, width = memory_lm.heads, memory_lm.heads.z_tokens * memory_lm.heads.width
    joined = _read_all(encode_rows, memory_lm, rows, width + heads.key_width)
    z, keys = joined.split([width, heads.key_width], 1)  # (N,K*W), (N,E)
    return z.reshape(len(rows), heads.z_tokens, heads.width), keys.contiguous()  # (N,K,W), (N,E)


def document_keys(memory_lm: MemoryLM, texts: Sequence[str], limit: int) -> Tensor:
    """Unit keys (N,E) of documents, at most `limit` tokens of each; (N,0) of a model that reads none."""
    return encode(memory_lm, texts, limit)[1] if memory_lm.heads.key_width else torch.zeros(len(texts), 0)


def question_vectors(memory_lm: MemoryLM, questions: Sequence[str]) -> Tensor:
    """Unit vectors (Q,E) of questions, float32 on the CPU."""
    rows = [memory_lm.prompts.find(question) for question in questions]
    return _read_all(mean_vectors, memory_lm, rows, memory_lm.heads.key_width)


@torch.no_grad()
def _read_all(read: Callable[..., Tensor], memory_lm: MemoryLM, rows: list[list[int]], *shape: int) -> Tensor:
    """What `read` makes of rows of token ids, `shape` of each, float32 on the CPU; rows of like length side by side."""
    made = torch.empty(len(rows), *shape)  # (N,...)
    for batch in progress(alike([len(row) for row in rows], BATCH), "reading"):
        made[batch] = read(memory_lm, [rows[i] for i in batch]).float().cpu()
    return made


def start_z(
    start: str, texts: Sequence[str], memory_lm: MemoryLM, *, limit: int, seed: int, z_seen: Tensor | None = None
) -> Tensor:
    """Where the blocks (N,K,W) of documents begin.

    random: normal, as large as the token embeddings. mean: the mean of z_seen (N,K,W), or, before there is any, of the
    embeddings. vocab: the embeddings of tokens drawn at random. encode, pooled: what the model, or the sum over its
    token embeddings, makes of the document, of at most `limit` tokens; chosen: the embeddings of those that surprise
    it; for kind kv: kv_prefix.py.
    """
    n, heads = len(texts), memory_lm.heads
    if start in ("encode", "chosen") or heads.kv:
        return encode(memory_lm, texts, limit)[0]
    if start == "pooled":
        rows = [memory_lm.prompts.text(text, limit) for text in texts]
        return _read_all(slot_sums, memory_lm, rows, heads.z_tokens, heads.width)
    if start == "mean" and z_seen is not None:
        return z_seen.mean(0, keepdim=True).expand(n, -1, -1).clone()
    seeds = [text_seed(seed, text) for text in texts]
    if start == "random" or n == 0:
        return torch.cat([heads.random_z(0, seed), *(heads.random_z(1, one) for one in seeds)])  # (N,K,W)
    embeddings = memory_lm.embeddings.detach().float().cpu()  # (V,D)
    if start == "mean":
        return heads.nearest_z(embeddings.mean(0).expand(n, heads.z_tokens, -1))  # (N,K,W)
    generators = [torch.Generator().manual_seed(one) for one in seeds]
    drawn = [torch.randint(len(embeddings), (heads.z_tokens,), generator=generator) for generator in generators]
    return heads.nearest_z(embeddings[torch.stack(drawn)])  # (N,K,W) of (N,K,D)


def can_start(memory_lm: MemoryLM, start: str) -> bool:
    """Whether a model has what a start needs."""
    heads = memory_lm.heads
    return start == heads.start if heads.kv or start in ("encode", "pooled", "chosen") else True


def text_seed(seed: int, text: str) -> int:
    """A seed of what is drawn for one document: from its text, whatever stands beside it."""
    return crc32(f"{seed} {text}".encode())

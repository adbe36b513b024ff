"""Blocks of the kind `kv`: keys and values of K places in every layer, as if a text had been read before the question.

A block z (K,W) holds, for each place, the keys and values of all layers and heads side by side, each number as its
distance from what it is on average, in units of what it varies by. Prefix tuning (2101.00190) learns such a prefix for
a task and Cartridges (2506.06266) one for a text; here too the first token of every text stays before it, and does not
learn. A block begins as the keys and values that the document's own reading leaves: of the K tokens that surprise the
model most (`chosen`; self-information as in Selective Context, 2310.06201), or their means over K slots (`pooled`). A
document is read to end where questions begin, at one place for all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from zmem_lib.files import BadInput

SAMPLE = 256  # random tokens, read to learn what keys and values vary by


@torch.no_grad()
def measure_layers(lm: Any, seed: int) -> tuple[Tensor, Tensor]:
    """Of each number of a model's keys and values in reading the mean and the spread, (W,) each."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(lm.get_input_embeddings().weight.shape[0], (1, SAMPLE), generator=generator)
    cache = lm(input_ids=words.to(lm.device), use_cache=True, logits_to_keep=1).past_key_values
    if not isinstance(cache, DynamicCache) or not all(hasattr(layer, "keys") for layer in cache.layers):
        raise BadInput("memory.kind kv needs a model with keys and values in every layer: set it to soft")
    each = torch.eye(SAMPLE, device=lm.device)[None]
    read = side_by_side(cache.layers, each)[0]  # (T,W)
    return read.mean(0), read.std(0).clamp(min=1e-3)


def side_by_side(layers: Sequence[Any], weights: Tensor) -> Tensor:
    """Keys and values of all layers in one row for each place, which sums tokens by its weights (B,K,T): (B,K,W)."""
    summed = [
        torch.einsum("bkt,bhtd->bkhd", weights, part.float()).flatten(2)  # (B,K,heads*width)
        for layer in layers for part in (layer.keys, layer.values)
    ]  # fmt: skip
    return torch.cat(summed, 2)  # (B,K,W)


def kv_cache(memory_lm: Any, z: Tensor) -> DynamicCache:
    """What the layers hold before the first token: of the constant one, then of blocks z (B,K,W); 1 + K places."""
    heads, lm, device = memory_lm.heads, memory_lm.lm, memory_lm.device
    begin = torch.tensor([memory_lm.prompts.begin], device=device)
    with torch.no_grad(), memory_lm.arithmetic():
        first = memory_lm.backbone(input_ids=begin, use_cache=True).past_key_values
    values = (z.to(device).float() * heads.kv_spread + heads.kv_mean).to(memory_lm.dtype)  # (B,K,W)
    pairs: list[Any] = [(layer.keys, layer.values) for layer in first.layers]  # (1,heads,1,width) each
    own = iter(values.split([part.shape[1] * part.shape[3] for pair in pairs for part in pair], 2))
    layers = [tuple(behind(part, next(own)) for part in pair) for pair in pairs]  # (B,heads,1+K,width) each
    return DynamicCache(layers, config=lm.config)


def behind(first: Tensor, own: Tensor) -> Tensor:
    """What one layer holds of the first token (1,heads,1,width), and behind it of blocks (B,K,heads*width)."""
    own = own.unflatten(2, (first.shape[1], -1)).transpose(1, 2)  # (B,heads,K,width)
    return torch.cat([first.to(own).expand(len(own), -1, -1, -1), own], 2)  # (B,heads,1+K,width)


@torch.no_grad()
def slot_weights(memory_lm: Any, texts: Sequence[list[int]], states: Tensor) -> Tensor:
    """Which tokens of texts (prompts.text), read into states (B,T,D) padded in front, make which place: (B,K,T).

    Of keys and values the text's end, which has read all of it, is always chosen; an embedding of it would say nothing.
    Of a text of fewer tokens some places are alike.
    """
    heads, prompts, wide = memory_lm.heads, memory_lm.prompts, states.shape[1]
    given, k = len(prompts.begin) + len(prompts.marks["text"]), heads.z_tokens
    weights = states.new_zeros(len(texts), k, wide, dtype=torch.float32)  # (B,K,T)
    for b, text in enumerate(texts):
        body = np.arange(wide - len(text) + given, wide if heads.kv else wide - 1)
        if not len(body):
            continue
        if heads.start == "chosen":
            surprise = surprises(memory_lm, text, states[b, wide - len(text) :])[given : given + len(body)]  # (T_b,)
            if heads.kv:
                surprise[-1] = torch.inf
            best = surprise.topk(min(k, len(body))).indices.sort().values.cpu().numpy()
            groups = body[best][:, None]
        else:
            groups = np.array_split(body, min(k, len(body)))
        for i in range(k):
            group = groups[i % len(groups)]
            weights[b, i, torch.as_tensor(group)] = 1 / len(group)
    return weights


def surprises(memory_lm: Any, text: list[int], states: Tensor) -> Tensor:
    """-log p (T,) of every token of a text after those before it, from its last states (T,D); 0 for the first."""
    with memory_lm.arithmetic():
        logits = memory_lm.lm.get_output_embeddings()(states[:-1]).float()  # (T-1,V)
    ids = torch.tensor(text[1:], device=logits.device)
    return nn.functional.pad(nn.functional.cross_entropy(logits, ids, reduction="none"), (1, 0))  # (T,)

"""What a model behind blocks finds likely, and what it writes.

Takes blocks z (B,K,W) and rows of token ids, returns negative log-likelihoods per token or generated ids. Behind the
constant first token of every text, a block stands before the tokens as K input embeddings, or (kv_prefix.py) as keys
and values of every layer.
"""

from collections.abc import Sequence
from itertools import takewhile
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from zmem_lib.memory.kv_prefix import kv_cache
from zmem_lib.memory.lm import MemoryLM, fused_attention
from zmem_lib.memory.prompts import TERMS, Row, collate
from zmem_lib.meter import progress


def counted_logits(
    memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row], term: str = ""
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits (counted,V) of tokens that count (every term, or one), given z (B,K,W); ids, terms, what counts (B,T)."""
    pad = memory_lm.lm.generation_config.pad_token_id  # masked, so an end token serves where a family has no other
    ids, terms, mask = (tensor.to(memory_lm.device) for tensor in collate(rows, pad))  # (B,T) each
    counted = terms == TERMS.index(term) if term else terms > 0  # (B,T)
    assert z is not None or not counted[:, 0].any(), "the first token of a row without z cannot be predicted"
    embedded = memory_lm.lm.get_input_embeddings()(ids)  # (B,T,D)
    options: dict[str, Any] = {}
    if z is not None and memory_lm.heads.kv:
        options = {"past_key_values": kv_cache(memory_lm, z), "position_ids": memory_lm.heads.reach + positions(mask)}
        mask = torch.cat([mask.new_ones(len(z), z.shape[1] + 1), mask], 1)  # (B,P+T)
    elif z is not None:
        begun = prefix(memory_lm, z)  # (B,P,D)
        embedded = torch.cat([begun, embedded], 1)  # (B,P+T,D)
        mask = torch.cat([mask.new_ones(begun.shape[:2]), mask], 1)  # (B,P+T)

    def before_counted(_: nn.Module, __: Any, output: Any) -> Any:  # few, of a reader's lesson
        before = output.last_hidden_state.roll(1, 1)[:, -ids.shape[1] :]  # (B,T,D): position t-1 predicts token t
        output.last_hidden_state = before[counted][None]  # (1,counted,D)
        return output

    hook = memory_lm.backbone.register_forward_hook(before_counted)  # so the model's own head, scales and caps follow
    try:
        with memory_lm.arithmetic():
            logits = memory_lm.lm(inputs_embeds=embedded, attention_mask=mask, use_cache=False, **options).logits[0]
    finally:
        hook.remove()
    return logits.float(), ids, terms, counted


def token_nll(memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """-log p of every token that counts, else 0, given z (B,K,W) and the tokens before it; and its term: both (B,T)."""
    logits, ids, terms, counted = counted_logits(memory_lm, z, rows)
    return nll_of(logits, ids, counted), terms  # (B,T)


def nll_of(logits: Tensor, ids: Tensor, counted: Tensor) -> Tensor:
    """-log p (B,T) of the ids (B,T) that count under logits (counted,V); 0 where they do not."""
    losses = nn.functional.cross_entropy(logits, ids[counted], reduction="none")  # (counted,)
    return losses.new_zeros(ids.shape).masked_scatter(counted, losses)  # (B,T)


@torch.no_grad()
def greedy_scores(memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Of what counts in each row behind its z (B,K,W): the mean nll per token, and the share greedy decoding writes.

    The share (B,) ends at the first token that is not the likeliest: up to there decoding and row are the same.
    """
    logits, ids, _, counted = counted_logits(memory_lm, z, rows)
    nll = nll_of(logits, ids, counted).sum(1) / counted.sum(1)  # (B,)
    right = (~counted).masked_scatter(counted, logits.argmax(-1) == ids[counted])  # (B,T)
    before = (right.long().cumprod(1).bool() & counted).sum(1) / counted.sum(1)  # (B,)
    return nll.cpu(), before.float().cpu()


def alike(lengths: Sequence[int], most: int, times: float = inf) -> list[list[int]]:
    """The places of rows in batches of at most so many, in rising order of length, so that little is padded.

    None is longer than so many `times` the first of its batch.
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or len(batches[-1]) == most or lengths[i] > times * lengths[batches[-1][0]]:
            batches.append([])
        batches[-1].append(i)
    return batches


def positions(mask: Tensor) -> Tensor:
    """The place of every token in its row, from the mask (B,T)."""
    return (mask.cumsum(-1) - 1).clamp(min=0)  # (B,T)


def prefix(memory_lm: MemoryLM, z: Tensor) -> Tensor:
    """What stands before the tokens: a constant first token, then soft tokens z (B,K,W); (B,P,D)."""
    embed, heads = memory_lm.lm.get_input_embeddings(), memory_lm.heads
    assert z.shape[-1] == heads.width, (z.shape, heads.width)
    soft = heads.connector(z.to(memory_lm.device).float()).to(embed.weight.dtype)  # (B,K,D)
    begin = embed(torch.tensor(memory_lm.prompts.begin, dtype=torch.long, device=memory_lm.device))  # (1,D)
    return torch.cat([begin.expand(len(soft), -1, -1), soft], 1)  # (B,P,D)


def left_padded(
    memory_lm: MemoryLM, prompts: Sequence[list[int]], begun: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Embeddings (B,P+T,D) and mask (B,P+T) of each prompt behind what has `begun` (B,P,D), padded in front."""
    embed = memory_lm.lm.get_input_embeddings()
    blocks = [embed(torch.tensor(prompt, device=memory_lm.device)) for prompt in prompts]  # (T_i,D) each
    if begun is not None:
        blocks = [torch.cat(pair) for pair in zip(begun, blocks, strict=True)]  # (P+T_i,D)
    width = max(len(block) for block in blocks)
    padded = [nn.functional.pad(block, (0, 0, width - len(block), 0)) for block in blocks]
    mask = [[0] * (width - len(block)) + [1] * len(block) for block in blocks]
    return torch.stack(padded), torch.tensor(mask, device=memory_lm.device)  # (B,P+T,D), (B,P+T)


@torch.no_grad()
def generate_all(
    memory_lm: MemoryLM, z: Tensor | None, prompts: Sequence[list[int]], *, max_tokens: int, batch: int
) -> list[list[int]]:
    """Greedy continuation of each prompt after its z (B,K,W), without the end token; batches are of like length."""
    output: list[list[int]] = [[] for _ in prompts]
    for chosen in progress(alike([len(prompt) for prompt in prompts], batch), "generating"):
        given = generation_inputs(memory_lm, None if z is None else z[chosen], [prompts[i] for i in chosen])
        with memory_lm.arithmetic(), fused_attention(memory_lm):
            new = memory_lm.lm.generate(**given, max_new_tokens=max_tokens)
        for i, ids in zip(chosen, new.tolist(), strict=True):  # new: (B,<=max_tokens)
            output[i] = list(takewhile(lambda token: token not in memory_lm.ends, ids))
    return output


def generation_inputs(memory_lm: MemoryLM, z: Tensor | None, prompts: Sequence[list[int]]) -> dict[str, Any]:
    """What `generate` continues: each prompt behind its block z (B,K,W), or, without z, alone."""
    if z is None or not memory_lm.heads.kv:
        embedded, mask = left_padded(memory_lm, prompts, None if z is None else prefix(memory_lm, z))
        return {"inputs_embeds": embedded, "attention_mask": mask}
    embedded, mask = left_padded(memory_lm, prompts)  # (B,T,D), (B,T)
    begun = (z.shape[1] + 1, 0)  # P places before the rest, of which only the mask is looked at
    return {
        "inputs_embeds": nn.functional.pad(embedded, (0, 0, *begun)),  # (B,P+T,D)
        "attention_mask": nn.functional.pad(mask, begun, value=1),  # (B,P+T)
        "position_ids": nn.functional.pad(memory_lm.heads.reach + positions(mask), begun),  # (B,P+T)
        "past_key_values": kv_cache(memory_lm, z),
    }

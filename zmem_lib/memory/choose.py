"""Method 1: choose z by query likelihood, log p(question | z), by key, or by key and then likelihood.

Query likelihood follows Ponte and Croft (1998); here the language model of a document is the shared model behind the
document's z. Its full scan runs z once per document, keeps its keys and values, and continues them with each question.
The key of a document is matched with the question's vector; of a shortlist by key the likelihood is asked as well.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from zmem_lib.cache import Cache, remembered
from zmem_lib.memory.kv_prefix import kv_cache
from zmem_lib.memory.likelihood import prefix, token_nll
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.memory.prompts import Row
from zmem_lib.meter import memory_explained, progress

Ranking = tuple[list[list[str]], list[list[float]]]  # per question: document ids and their scores, best first


@torch.no_grad()
def score_questions(
    memory_lm: MemoryLM, z: Tensor, questions: list[str], *, batch: int, keep: Cache | None = None
) -> Tensor:
    """log p(question | z) of every question and every document: (Q,N) for z (N,K,W), `batch` documents at a time."""
    rows = [memory_lm.prompts.question(question).ids for question in questions]
    chunks = []
    for begin in progress(range(0, len(z), batch), "scanning"):
        chunk = z[begin : begin + batch]
        make = partial(score_chunk, memory_lm, chunk, rows)
        chunks.append(remembered(keep, f"scan_{begin:07d}_{len(chunk)}.safetensors", make)["scores"])
    return torch.cat(chunks, 1)  # (Q,N)


def score_chunk(memory_lm: MemoryLM, z: Tensor, rows: list[list[int]]) -> dict[str, Tensor]:
    """`scores` (Q,B): log p of the questions in rows, after their marker, given each z (B,K,W)."""
    scores, first, lm = [], len(memory_lm.prompts.marks["question"]), memory_lm.lm
    with memory_explained("machine.scan_batch"):
        layers, place = begun_layers(memory_lm, z)  # (B,heads,P,width) each
        for ids in rows:
            tokens = torch.tensor(ids, device=memory_lm.device).expand(len(z), -1)  # (B,T)
            mask = tokens.new_ones(len(z), layers[0][0].shape[2] + len(ids))  # (B,P+T)
            places = torch.arange(place, place + len(ids), device=memory_lm.device).expand(len(z), -1)  # (B,T)
            options = {"past_key_values": DynamicCache(layers, config=lm.config), "position_ids": places}
            with memory_lm.arithmetic():
                logits = lm(input_ids=tokens, attention_mask=mask, **options).logits  # (B,T,V)
            logits = logits[:, first - 1 : -1].float().flatten(0, 1)  # (B*(T-first),V)
            nll = nn.functional.cross_entropy(logits, tokens[:, first:].flatten(), reduction="none")
            scores.append(-nll.view(len(z), -1).sum(1).cpu())  # (B,)
    return {"scores": torch.stack(scores).float()}


def begun_layers(memory_lm: MemoryLM, z: Tensor) -> tuple[list[tuple[Tensor, Tensor]], int]:
    """Keys and values of every layer behind blocks z (B,K,W), and the place at which a question goes on."""
    if memory_lm.heads.kv:
        before, place = kv_cache(memory_lm, z), memory_lm.heads.reach
    else:
        with memory_lm.arithmetic():
            output = memory_lm.lm(inputs_embeds=prefix(memory_lm, z), use_cache=True, logits_to_keep=1)
        before, place = output.past_key_values, output.past_key_values.get_seq_length()
    layers: list[Any] = before.layers
    return [(layer.keys, layer.values) for layer in layers], place  # (B,heads,P,width) each


def rerank(score: Callable[[list[tuple[int, str]]], list[float]], ranking: Ranking, depth: int) -> Ranking:
    """The first `depth` documents of a ranking by `score` of (question number, document id) alone, best first."""
    pairs = [(q, doc_id) for q, ids in enumerate(ranking[0]) for doc_id in ids[:depth]]
    scored: list[list[tuple[float, str]]] = [[] for _ in ranking[0]]
    for (q, doc_id), value in zip(pairs, score(pairs), strict=True):
        scored[q].append((value, doc_id))
    for documents in scored:
        documents.sort(key=lambda document: -document[0])  # stable: equal ones stay in the ranking's order
    return [[doc_id for _, doc_id in best] for best in scored], [[value for value, _ in best] for best in scored]


@torch.no_grad()
def question_log_p(memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row], *, batch: int) -> list[float]:
    """log p of the question in each row, after what stands before it: z (B,K,W), or, without z, a text in the row."""
    found = []  # z is run again for every pair: so few tokens cost less than keeping their cache
    for begin in progress(range(0, len(rows), batch), "scoring"):
        block = None if z is None else z[begin : begin + batch]
        with memory_explained("machine.scan_batch"):
            nll, _ = token_nll(memory_lm, block, rows[begin : begin + batch])  # (B,T)
        found += (-nll.sum(1)).tolist()
    return found


def rank(scores: Tensor, doc_ids: list[str], depth: int) -> Ranking:
    """The `depth` best documents of each question from scores (Q,N), ties in the order of doc_ids."""
    ids: list[list[str]] = [[] for _ in scores]
    values: list[list[float]] = [[] for _ in scores]
    depth = min(depth, len(doc_ids))
    for q, row in enumerate(scores if depth else ()):
        near = (~(row < row.topk(depth).values[-1])).nonzero()[:, 0]  # (depth or more,): all that tie with the last
        best = row[near].sort(descending=True, stable=True)
        ids[q] = [doc_ids[i] for i in near[best.indices[:depth]].tolist()]
        values[q] = best.values[:depth].tolist()
    return ids, values

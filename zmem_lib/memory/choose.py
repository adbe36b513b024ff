"""Method 1: choose z by query likelihood, log p(question | z), by key, or by key and then likelihood.

Query likelihood follows Ponte and Croft (1998); here the language model of a document is the shared model behind the
document's z. Its full scan runs z once per document, keeps its keys and values, and continues them with each question.
The key of a document is matched with the question's vector; a shortlist by key is then put in order by key and
likelihood together.
Dividing a question's scores by its length would change no order: all documents are scored on the same question.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from zmem_lib.cache import Cache, remembered
from zmem_lib.memory.encoder import TEMPERATURE, question_vectors
from zmem_lib.memory.lm import MemoryLM, prefix, token_nll
from zmem_lib.memory.prompts import Row
from zmem_lib.memory.table import unit
from zmem_lib.meter import memory_explained, progress
from zmem_lib.opponents.index import build_flat, search

INDEX_FROM = 10_000  # documents from which the keys are searched by an index
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
    with memory_explained("machine.scan_batch"):
        before = z_cache(memory_lm, z)
        return {"scores": torch.stack([continue_cache(memory_lm, before, ids).float().cpu() for ids in rows])}


@torch.no_grad()
def score_one_by_one(memory_lm: MemoryLM, z: Tensor, questions: list[str]) -> Tensor:
    """The same scores (Q,N) by one plain forward pass for each pair: the reference for `score_questions`."""
    scores = torch.empty(len(questions), len(z))
    for q, question in enumerate(questions):
        for i in range(len(z)):
            nll, _ = token_nll(memory_lm, z[i : i + 1].to(memory_lm.device), [memory_lm.prompts.question(question)])
            scores[q, i] = -nll[0, len(memory_lm.prompts.marks["question"]) :].sum().cpu()
    return scores


def z_cache(memory_lm: MemoryLM, z: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of every layer for the prefix with z (B,K,W)."""
    with memory_lm.arithmetic():
        output = memory_lm.lm(inputs_embeds=prefix(memory_lm, z), use_cache=True, logits_to_keep=1)
    return [(layer.keys, layer.values) for layer in output.past_key_values.layers]


def continue_cache(memory_lm: MemoryLM, prefix: list[tuple[Tensor, Tensor]], ids: list[int]) -> Tensor:
    """log p of the question in ids, after its marker, for each document in the cache: (B,)."""
    b, k = prefix[0][0].shape[0], prefix[0][0].shape[2]
    cache = DynamicCache([(keys, values) for keys, values in prefix], config=memory_lm.lm.config)
    tokens = torch.tensor(ids, device=memory_lm.device).expand(b, -1)  # (B,T)
    with memory_lm.arithmetic():
        logits = memory_lm.lm(
            input_ids=tokens,
            attention_mask=tokens.new_ones(b, k + len(ids)),
            past_key_values=cache,
        ).logits  # (B,T,V)
    first = len(memory_lm.prompts.marks["question"])
    nll = nn.functional.cross_entropy(
        logits[:, first - 1 : -1].float().flatten(0, 1), tokens[:, first:].flatten(), reduction="none"
    )
    return -nll.view(b, -1).sum(1).cpu()  # (B,)


def rank_by_key(memory_lm: MemoryLM, keys: Tensor, questions: list[str], doc_ids: list[str], *, depth: int) -> Ranking:
    """The `depth` documents whose keys (N,E) lie nearest to each question's vector, and their cosines."""
    vectors = question_vectors(memory_lm, questions)  # (Q,E)
    if len(keys) < INDEX_FROM:
        return rank(vectors @ unit(keys).T, doc_ids, depth)
    rows, scores = search(build_flat(unit(keys).numpy()), vectors.numpy(), depth)  # (Q,depth) each
    return [[doc_ids[row] for row in best] for best in rows], scores.tolist()


def rerank(score: Callable[[list[tuple[int, str]]], list[float]], by_key: Ranking, depth: int) -> Ranking:
    """The `depth` best documents by key in the order of `score` of (question number, document id), best first.

    What the key says counts too: with `score` a log p(question | document), the sum with the cosine over TEMPERATURE
    is, but for a constant, the logarithm of the product of the two probabilities that training teaches.
    """
    shortlists = [list(zip(ids[:depth], cosines, strict=False)) for ids, cosines in zip(*by_key, strict=True)]
    pairs = [(q, doc_id) for q, mine in enumerate(shortlists) for doc_id, _ in mine]
    cosines = [cosine for mine in shortlists for _, cosine in mine]
    scored: list[list[tuple[float, str]]] = [[] for _ in shortlists]
    for (q, doc_id), value, cosine in zip(pairs, score(pairs), cosines, strict=True):
        scored[q].append((value + cosine / TEMPERATURE, doc_id))
    ordered = [
        sorted(mine, key=lambda one: -one[0]) for mine in scored
    ]  # stable: equal ones stay in the shortlist's order
    return [[doc_id for _, doc_id in mine] for mine in ordered], [[value for value, _ in mine] for mine in ordered]


@torch.no_grad()
def question_log_p(memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row], *, batch: int) -> list[float]:
    """log p of the question in each row, after what stands before it: z (B,K,W), or, without z, a text in the row.

    The soft tokens are so few that running them again for every pair costs less than keeping their cache.
    """
    found = []
    for begin in progress(range(0, len(rows), batch), "scoring"):
        block = None if z is None else z[begin : begin + batch]
        with memory_explained("machine.scan_batch"):
            nll, _ = token_nll(memory_lm, block, rows[begin : begin + batch])  # (B,T)
        found += (-nll.sum(1)).tolist()
    return found


def rank(scores: Tensor, doc_ids: list[str], depth: int) -> Ranking:
    """The `depth` best documents of each question from scores (Q,N), ties in the order of doc_ids."""
    order = torch.sort(scores, dim=1, descending=True, stable=True)
    depth = min(depth, len(doc_ids))
    ids = [[doc_ids[i] for i in row[:depth]] for row in order.indices.tolist()]
    return ids, [row[:depth] for row in order.values.tolist()]

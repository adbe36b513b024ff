"""Method 2: choose a document by generating its id, code by code, from the question.

Takes a tree of ids (doc_ids.py) and pairs (question, document), returns a ranking with log p(id | question). Learning
-log p(id | question) is DSI's retrieval task (2202.06991, section 3); questions that the model asks itself, beside the
training questions, stand for the documents' text as in DSI-QG (2206.10128): which pairs there are is the caller's.

p(code | question, codes before) is a softmax over what the trie allows there, so no id is likelier than its beginning.
The search therefore keeps every beginning that it leaves aside, and goes on, with a beam twice as wide each time,
until none of them is as likely as the documents found: then these are for certain the best of all.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush, nsmallest

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from zmem_lib.ids.head import IdHead, id_adapter
from zmem_lib.ids.tree import Id, IdTree, Trie, make_trie
from zmem_lib.memory.choose import Ranking
from zmem_lib.memory.lessons import batch_indices
from zmem_lib.memory.lm import MemoryLM, left_padded, make_scaler
from zmem_lib.memory.rates import cosine
from zmem_lib.meter import memory_explained, progress
from zmem_lib.params import Params

HEAD_LR = 5e-3  # of rows that start from nothing; the adapter learns at the model's own rate
CLIP = 1.0
LOG_EVERY = 0.02  # of the steps
ROWS = 512  # beginnings of ids that pass through the model at once

Lesson = tuple[list[int], Id]  # a prompt and the id to generate
Found = list[tuple[float, Id]]  # -log p and id, best first


@dataclass(frozen=True)
class Search:
    """How far the search for ids goes; it always goes on until there are `depth` documents."""

    depth: int = 20  # documents wanted
    width: int = 20  # beginnings of ids that a question follows at once, at first
    most: int = 2000  # beginnings after which a question has to do with what was found
    batch: int = 8  # questions at once


@dataclass(frozen=True)
class Asked:
    """Questions that the model has read: keys and values of every layer, mask (Q,P), last states (Q,D)."""

    layers: list[tuple[Tensor, Tensor]]
    mask: Tensor
    states: Tensor


def train_ids(
    memory_lm: MemoryLM, head: IdHead, *, tree: IdTree, pairs: Sequence[tuple[str, str]], params: Params
) -> pd.DataFrame:
    """Teach head and adapter the ids of (question, document id) pairs for `train.id_steps` steps; a log of step and nll."""
    trie, log, steps = make_trie(tree), [], params.train.id_steps
    rows = [(memory_lm.prompts.find(question), tree.ids[doc_id]) for question, doc_id in pairs]
    torch.manual_seed(params.seed)
    with id_adapter(memory_lm, head, learns=True) as weights:
        groups = [{"params": weights, "lr": params.train.lm_lr}, {"params": head.parameters(), "lr": HEAD_LR}]
        optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(cosine, steps=steps))
        scaler = make_scaler(memory_lm)
        memory_lm.lm.train()
        for step in progress(range(steps), "learning ids"):
            due = [rows[i] for i in batch_indices(len(rows), params.train.batch_tuples, step=step, seed=params.seed)]
            with memory_explained("machine.micro_batch"):
                nll = descend(memory_lm, head, trie, due, scaler=scaler, size=params.machine.micro_batch or len(due))
            scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_([*weights, *head.parameters()], CLIP)
            scaler.step(optimiser)
            scaler.update()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            if step % max(1, round(steps * LOG_EVERY)) == 0 or step + 1 == steps:
                log.append((step + 1, nll))
        memory_lm.lm.eval()
    return pd.DataFrame(log, columns=["step", "nll"])


def descend(
    memory_lm: MemoryLM, head: IdHead, trie: Trie, rows: Sequence[Lesson], *, scaler: torch.amp.GradScaler, size: int
) -> float:
    """Add the gradients of one batch, `size` rows at a time; returns its mean -log p(id | question)."""
    total = 0.0
    for begin in range(0, len(rows), size):
        nll = id_nll(memory_lm, head, trie, rows[begin : begin + size]).sum() / len(rows)
        scaler.scale(nll).backward()
        total += nll.item()
    return total


def id_nll(memory_lm: MemoryLM, head: IdHead, trie: Trie, rows: Sequence[Lesson]) -> Tensor:
    """-log p(id | question) of every row: (B,)."""
    embedded, mask = left_padded(memory_lm, None, [prompt for prompt, _ in rows])  # (B,P,D), (B,P)
    codes = head.embed(padded([path[:-1] for _, path in rows], memory_lm.device))  # (B,L-1,D)
    mask = torch.cat([mask, mask.new_ones(codes.shape[:2])], 1)  # (B,P+L-1): no id sees what is filled up behind it
    with memory_lm.arithmetic():
        states = memory_lm.backbone(
            inputs_embeds=torch.cat([embedded, codes.to(embedded.dtype)], 1),  # (B,P+L-1,D)
            attention_mask=mask,
            position_ids=positions(mask),
            use_cache=False,
        ).last_hidden_state[:, embedded.shape[1] - 1 :]  # (B,L,D)
    places = [(row, level) for row, (_, path) in enumerate(rows) for level in range(len(path))]
    row, level = torch.tensor(places, device=memory_lm.device).T  # (M,) each
    log_p = head.log_p(states[row, level], trie, [rows[i][1][:depth] for i, depth in places])  # (M,C)
    code = torch.tensor([rows[i][1][depth] for i, depth in places], device=memory_lm.device)  # (M,)
    nll = -log_p.gather(1, code[:, None])[:, 0]  # (M,)
    return nll.new_zeros(len(rows)).index_add(0, row, nll)  # (B,)


def padded(paths: Sequence[Id], device: torch.device) -> Tensor:
    """Codes (B,L) int64 of the paths, filled up on the right."""
    longest = max(map(len, paths))
    return torch.tensor([[*path, *[0] * (longest - len(path))] for path in paths], dtype=torch.long, device=device)


def positions(mask: Tensor) -> Tensor:
    """The place of every token in its row, from the mask (B,T) of rows padded in front."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def rank_generated(
    memory_lm: MemoryLM, head: IdHead, *, tree: IdTree, questions: Sequence[str], search: Search
) -> Ranking:
    """The documents with the likeliest ids for each question, with log p(id | question), best first."""
    return search_ids(memory_lm, head, tree=tree, questions=questions, search=search)[0]


@torch.no_grad()
def search_ids(
    memory_lm: MemoryLM, head: IdHead, *, tree: IdTree, questions: Sequence[str], search: Search
) -> tuple[Ranking, list[bool]]:
    """The same ranking and, for each question, whether its documents are for certain the best of all."""
    trie, ended = make_trie(tree), []
    prompts = [memory_lm.prompts.find(question) for question in questions]
    with id_adapter(memory_lm, head, learns=False):
        for begin in progress(range(0, len(prompts), search.batch), "generating ids"):
            asked = ask(memory_lm, prompts[begin : begin + search.batch])
            ended += search_batch(memory_lm, head, trie, asked, search)
    ids = [[trie.documents[path] for _, path in found] for found, _ in ended]
    return (ids, [[-cost for cost, _ in found] for found, _ in ended]), [certain for _, certain in ended]


def search_batch(
    memory_lm: MemoryLM, head: IdHead, trie: Trie, asked: Asked, search: Search
) -> list[tuple[Found, bool]]:
    """What `best_ids` returns for every question; in each round the model reads what all of them follow."""
    running = [best_ids(trie, search) for _ in asked.mask]
    ended: dict[int, tuple[Found, bool]] = {}
    answers = dict.fromkeys(range(len(running)))  # what each search that goes on is to be told next: at first nothing
    while answers:
        wanted = {}
        for q, answer in answers.items():
            try:
                wanted[q] = running[q].send(answer)
            except StopIteration as end:
                ended[q] = end.value
        places = [(q, prefix) for q, prefixes in wanted.items() for prefix in prefixes]
        rows = iter(next_log_p(memory_lm, head, trie, asked, places))
        answers = {q: [next(rows) for _ in prefixes] for q, prefixes in wanted.items()}
    return [ended[q] for q in range(len(running))]


def best_ids(trie: Trie, search: Search) -> Generator[list[Id], list[list[float]], tuple[Found, bool]]:
    """Search one question's best ids: yields beginnings, is sent log p (C,) of the codes after each of them.

    Returns the best ids, and whether no other id can be among them.
    """
    left: Found = [(0.0, ())] if trie.children else []  # a heap of the beginnings that were not followed
    found: Found = []
    width, followed = search.width, 0

    def promising() -> bool:
        return bool(left) and (len(found) < search.depth or left[0][0] <= found[-1][0])

    while promising() and (len(found) < search.depth or followed < search.most):
        due = []
        while len(due) < width and promising():
            due.append(heappop(left))
        followed += len(due)
        log_p = yield [prefix for _, prefix in due]
        for (cost, prefix), row in zip(due, log_p, strict=True):
            for code in trie.children[prefix]:
                path = (*prefix, code)
                if path in trie.documents:
                    found.append((cost - row[code], path))
                else:
                    heappush(left, (cost - row[code], path))
        found = nsmallest(search.depth, found)
        width *= 2 if len(found) == search.depth else 1
    return found, not promising()


def ask(memory_lm: MemoryLM, prompts: Sequence[list[int]]) -> Asked:
    """Let the model read prompts, once for all codes that may follow them."""
    embedded, mask = left_padded(memory_lm, None, prompts)  # (Q,P,D), (Q,P)
    with memory_lm.arithmetic():
        output = memory_lm.backbone(
            inputs_embeds=embedded, attention_mask=mask, position_ids=positions(mask), use_cache=True
        )
    layers = [(layer.keys, layer.values) for layer in output.past_key_values.layers]
    return Asked(layers, mask, output.last_hidden_state[:, -1])


def next_log_p(
    memory_lm: MemoryLM, head: IdHead, trie: Trie, asked: Asked, places: Sequence[tuple[int, Id]]
) -> list[list[float]]:
    """log p (C,) of the code after every (question's row, beginning of an id)."""
    rows: list[list[float]] = []
    for begin in range(0, len(places), ROWS):
        some = places[begin : begin + ROWS]
        states = next_states(memory_lm, head, asked, some)  # (R,D)
        rows += head.log_p(states, trie, [prefix for _, prefix in some]).tolist()
    return rows


def next_states(memory_lm: MemoryLM, head: IdHead, asked: Asked, places: Sequence[tuple[int, Id]]) -> Tensor:
    """The model's state (R,D) after each question and beginning; all are empty, or none is."""
    rows = torch.tensor([q for q, _ in places], device=memory_lm.device)
    codes = padded([prefix for _, prefix in places], memory_lm.device)  # (R,L)
    if not codes.shape[1]:
        return asked.states[rows]
    mask = torch.cat([asked.mask[rows], torch.ones_like(codes)], 1)  # (R,P+L)
    cache = DynamicCache([(keys[rows], values[rows]) for keys, values in asked.layers], config=memory_lm.lm.config)
    with memory_lm.arithmetic():
        states = memory_lm.backbone(
            inputs_embeds=head.embed(codes).to(memory_lm.embeddings.dtype),  # (R,L,D)
            attention_mask=mask,
            position_ids=positions(mask)[:, -codes.shape[1] :],
            past_key_values=cache,
        ).last_hidden_state  # (R,L,D)
    last = torch.tensor([len(prefix) - 1 for _, prefix in places], device=memory_lm.device)
    return states[torch.arange(len(places), device=memory_lm.device), last]  # (R,D)

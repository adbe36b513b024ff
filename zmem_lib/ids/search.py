"""Method 2: choose a document by generating its id, code by code, from the question.

Learning -log p(id | question) is DSI's retrieval task (2202.06991, section 3); questions that the model asks itself,
beside the training questions, stand for the documents' text as in DSI-QG (2206.10128).

p(code | question, codes before) is a softmax over what the tree allows there, so no id is likelier than its beginning.
The search therefore keeps every beginning that it leaves aside, and goes on, with a beam twice as wide each time,
until none of them is as likely as the documents found: then these are for certain the best of all.
"""

from collections.abc import Generator, Sequence
from functools import partial
from heapq import heappop, heappush, nsmallest
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from zmem_lib.files import must_exist
from zmem_lib.ids.head import IdHead, id_adapter, load_id_head, make_id_head, save_id_head
from zmem_lib.ids.tree import Id, IdTree, add_documents, build_tree, load_tree, save_tree
from zmem_lib.memory.choose import Ranking
from zmem_lib.memory.encoder import last_states, positions
from zmem_lib.memory.lessons import batch_indices
from zmem_lib.memory.likelihood import left_padded
from zmem_lib.memory.lm import MemoryLM, make_scaler
from zmem_lib.memory.shape import Settings
from zmem_lib.memory.train import CLIP, cosine
from zmem_lib.meter import memory_explained, progress

SEEN, NEW = "ids", "ids_new"  # folders of a run: tree, codes and adapter; the tree with new documents
HEAD_LR = 5e-3  # of rows that start from nothing; the adapter learns at the model's own rate
LOG_EVERY = 0.02  # of the steps
QUESTIONS, ROWS = 8, 512  # questions that are searched at once; beginnings of ids that pass through the model at once

Lesson = tuple[list[int], Id]  # a prompt and the id to generate
Found = list[tuple[float, Id]]  # -log p and id, best first
OneSearch = Generator[list[Id], Any, tuple[Found, bool]]
Read = tuple[list[tuple[Tensor, Tensor]], Tensor, Tensor]  # of questions: keys, values; mask (Q,P); states (Q,D)


def learn_ids(
    memory_lm: MemoryLM, keys: Tensor, tuples: pd.DataFrame, *, doc_ids: Sequence[str], params: Settings, folder: Path
) -> pd.DataFrame:
    """Give ids to documents with these keys (N,E), and teach them to the model from the training questions.

    Tree, codes and adapter are written to the run's folder; returns the loss as rows of train_log.
    """
    tree = build_tree(list(doc_ids), keys.numpy(), branching=params.train.id_branching, seed=params.seed)
    head = make_id_head(memory_lm, tree, rank=params.lm.lora_rank, seed=params.seed)
    train = tuples[(tuples.split == "train") & tuples.doc_id.isin(set(doc_ids))]
    pairs = list(zip(train.question, train.doc_id, strict=True))
    log = train_ids(memory_lm, head, tree=tree, pairs=pairs, params=params)
    save_tree(tree, folder / SEEN / "tree")
    save_id_head(head, folder / SEEN / "head")
    return log.assign(term="id", split="train", seconds=float("nan"))


def add_ids(folder: Path, doc_ids: Sequence[str], keys: Tensor) -> None:
    """Give ids to new documents with these keys (M,E), below the run's tree; every old id stays as it is."""
    tree = load_tree(must_exist(folder / SEEN / "tree"))
    save_tree(add_documents(tree, list(doc_ids), keys.numpy()), folder / NEW)


def rank_by_id(memory_lm: MemoryLM, questions: list[str], folder: Path, *, tree: IdTree | None, depth: int) -> Ranking:
    """The `depth` documents whose ids, of this tree or else of the run's, are likeliest, and log p(id | question)."""
    tree, head = tree or load_tree(must_exist(folder / NEW)), load_id_head(memory_lm, folder / SEEN / "head")
    return search_ids(memory_lm, head, tree=tree, questions=questions, depth=depth)[0]


def train_ids(
    memory_lm: MemoryLM, head: IdHead, *, tree: IdTree, pairs: Sequence[tuple[str, str]], params: Settings
) -> pd.DataFrame:
    """Teach head and adapter the ids of (question, document id) pairs in `train.id_steps` steps; log: step, nll."""
    log, steps, size = [], params.train.id_steps, params.train.batch_tuples
    micro_batch = params.machine.micro_batch or size
    rows = [(memory_lm.prompts.find(question), tree.ids[doc_id]) for question, doc_id in pairs]
    torch.manual_seed(params.seed)
    with id_adapter(memory_lm, head, learns=True) as weights, memory_explained("machine.micro_batch"):
        groups = [{"params": weights, "lr": params.train.lm_lr}, {"params": head.parameters(), "lr": HEAD_LR}]
        optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(cosine, steps=steps))
        scaler = make_scaler(memory_lm)
        memory_lm.lm.train()
        for step in progress(range(steps), "learning ids"):
            due, mean = [rows[i] for i in batch_indices(len(rows), size, step=step, seed=params.seed)], 0.0
            for begin in range(0, size, micro_batch):
                nll = id_nll(memory_lm, head, tree, due[begin : begin + micro_batch]).sum() / size
                scaler.scale(nll).backward()
                mean += nll.item()
            scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_([*weights, *head.parameters()], CLIP)
            scaler.step(optimiser)
            scaler.update()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            if step % max(1, round(steps * LOG_EVERY)) == 0 or step + 1 == steps:
                log.append((step + 1, mean))
        memory_lm.lm.eval()
    return pd.DataFrame(log, columns=["step", "nll"])


def id_nll(memory_lm: MemoryLM, head: IdHead, tree: IdTree, rows: Sequence[Lesson]) -> Tensor:
    """-log p(id | question) of every row: (B,)."""
    embedded, mask = left_padded(memory_lm, [prompt for prompt, _ in rows])  # (B,P,D), (B,P)
    codes = head.embed(padded([path[:-1] for _, path in rows], memory_lm.device))  # (B,L-1,D)
    mask = torch.cat([mask, mask.new_ones(codes.shape[:2])], 1)  # (B,P+L-1): no id sees what is filled up behind it
    both = torch.cat([embedded, codes.to(embedded.dtype)], 1)  # (B,P+L-1,D)
    states = last_states(memory_lm, both, mask)[:, embedded.shape[1] - 1 :]  # (B,L,D)
    places = [(row, level) for row, (_, path) in enumerate(rows) for level in range(len(path))]
    row, level = torch.tensor(places, device=memory_lm.device).T  # (M,) each
    log_p = head.log_p(states[row, level], tree, [rows[i][1][:depth] for i, depth in places])  # (M,C)
    code = torch.tensor([rows[i][1][depth] for i, depth in places], device=memory_lm.device)  # (M,)
    nll = -log_p.gather(1, code[:, None])[:, 0]  # (M,)
    return nll.new_zeros(len(rows)).index_add(0, row, nll)  # (B,)


def padded(paths: Sequence[Id], device: torch.device) -> Tensor:
    """Codes (B,L) int64 of the paths, filled up on the right."""
    return pad_sequence([torch.tensor(path, dtype=torch.long) for path in paths], batch_first=True).to(device)


@torch.no_grad()
def search_ids(
    memory_lm: MemoryLM, head: IdHead, *, tree: IdTree, questions: Sequence[str], **limits: int
) -> tuple[Ranking, list[bool]]:
    """Documents of the likeliest ids, with log p(id | question); whether they surely are the best. Limits: best_ids."""
    ended, prompts = [], [memory_lm.prompts.find(question) for question in questions]
    with id_adapter(memory_lm, head, learns=False):
        for begin in progress(range(0, len(prompts), QUESTIONS), "generating ids"):
            some = prompts[begin : begin + QUESTIONS]
            ended += search_batch(memory_lm, head, tree, some, [best_ids(tree, **limits) for _ in some])
    ids = [[tree.documents[path] for _, path in found] for found, _ in ended]
    return (ids, [[-cost for cost, _ in found] for found, _ in ended]), [certain for _, certain in ended]


def search_batch(
    memory_lm: MemoryLM, head: IdHead, tree: IdTree, prompts: Sequence[list[int]], running: Sequence[OneSearch]
) -> list[tuple[Found, bool]]:
    """What the search of every question returns; in each round the model reads what all of them follow."""
    embedded, mask = left_padded(memory_lm, prompts)  # (Q,P,D), (Q,P)
    options = {"attention_mask": mask, "position_ids": positions(mask), "use_cache": True}
    with memory_lm.arithmetic():  # the questions are read once, for all codes that may follow them
        output = memory_lm.backbone(inputs_embeds=embedded, **options)
    layers = [(layer.keys, layer.values) for layer in output.past_key_values.layers]
    read = (layers, mask, output.last_hidden_state[:, -1])
    ended: dict[int, tuple[Found, bool]] = {}
    answers: dict[int, Any] = dict.fromkeys(range(len(running)))  # what each that goes on is told: at first nothing
    while answers:
        wanted = {}
        for q, answer in answers.items():
            try:
                wanted[q] = running[q].send(answer)
            except StopIteration as end:
                ended[q] = end.value
        places, rows = [(q, prefix) for q, prefixes in wanted.items() for prefix in prefixes], []
        for begin in range(0, len(places), ROWS):
            states = next_states(memory_lm, head, read, places[begin : begin + ROWS])  # (R,D)
            rows += head.log_p(states, tree, [prefix for _, prefix in places[begin : begin + ROWS]]).tolist()
        log_p = iter(rows)
        answers = {q: [next(log_p) for _ in prefixes] for q, prefixes in wanted.items()}
    return [ended[q] for q in range(len(running))]


def best_ids(tree: IdTree, *, depth: int, width: int = 20, most: int = 2000) -> OneSearch:
    """Search one question's `depth` best ids: yields beginnings, is sent log p (C,) of the codes after each of them.

    At first `width` beginnings are followed at once; after `most`, the search ends as soon as there are `depth` ids.
    Returns them, and whether no other id can be among them.
    """
    left: Found = [(0.0, ())] if tree.children else []  # a heap of the beginnings that were not followed
    found, followed = [], 0

    def promising() -> bool:
        return bool(left) and (len(found) < depth or left[0][0] <= found[-1][0])

    while promising() and (len(found) < depth or followed < most):
        due = []
        while len(due) < width and promising():
            due.append(heappop(left))
        followed += len(due)
        log_p = yield [prefix for _, prefix in due]
        for (cost, prefix), row in zip(due, log_p, strict=True):
            for code in tree.children[prefix]:
                path = (*prefix, code)
                if path in tree.documents:
                    found.append((cost - row[code], path))
                else:
                    heappush(left, (cost - row[code], path))
        found = nsmallest(depth, found)
        width *= 2 if len(found) == depth else 1
    return found, not promising()


def next_states(memory_lm: MemoryLM, head: IdHead, read: Read, places: Sequence[tuple[int, Id]]) -> Tensor:
    """The model's state (R,D) after each question (its row) and beginning of an id; all are empty, or none is."""
    layers, mask, states = read
    rows = torch.tensor([q for q, _ in places], device=memory_lm.device)  # (R,)
    codes = padded([prefix for _, prefix in places], memory_lm.device)  # (R,L)
    if not codes.shape[1]:
        return states[rows]
    mask = torch.cat([mask[rows], torch.ones_like(codes)], 1)  # (R,P+L)
    cache = DynamicCache([(keys[rows], values[rows]) for keys, values in layers], config=memory_lm.lm.config)
    options = {"position_ids": positions(mask)[:, -codes.shape[1] :], "past_key_values": cache}
    embedded = head.embed(codes).to(memory_lm.embeddings.dtype)  # (R,L,D)
    with memory_lm.arithmetic():
        states = memory_lm.backbone(inputs_embeds=embedded, attention_mask=mask, **options).last_hidden_state  # (R,L,D)
    last = torch.tensor([len(prefix) - 1 for _, prefix in places], device=memory_lm.device)
    return states[torch.arange(len(places), device=memory_lm.device), last]  # (R,D)

"""Joint training of the language model and all z on L = -log p(evidence | z_i, q; theta).

Takes the training tuples and documents, returns a log table of every loss term. Optional terms, each with a weight:
`question` -log p(q | z), `recite` -log p(document | z), and `read` -log p(answer | evidence, q) for a model made from
scratch, which has to learn the reader's task too. The batch of a step depends on the seed and the step alone, so a run
that was killed goes on from its checkpoint exactly as if it had not been.
"""

import math
import shutil
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zmem_lib.artifacts import progress
from zmem_lib.checkpoint import load_checkpoint, save_checkpoint
from zmem_lib.errors import BadInput
from zmem_lib.memory_lm import MemoryLM, make_scaler, token_nll
from zmem_lib.meter import memory_explained
from zmem_lib.params import Params, params_hash
from zmem_lib.prompts import TERMS, Prompts, Row
from zmem_lib.text import passages, sentence_spans
from zmem_lib.ztable import ZTable

WARM_UP = 0.05  # of the steps
LAST_LR = 0.05  # of the learning rate, where the cosine ends
CLIP = 1.0
LOG_EVERY = 0.02  # of the steps
DEV_TUPLES = 96
RECITE_WHOLE = 0.5  # of the recitations begin at the document's start
READ_NOTHING = 0.1  # of the reader's lessons have no evidence: the closed-book control
READ_SENTENCE = 0.4  # have single sentences, as z-memory writes; the rest have whole passages


@dataclass(frozen=True)
class Lessons:
    """All that is trained on, as token rows: training and dev tuples with their document's row of z, documents."""

    params: Params
    tuple_rows: list[Row]
    tuple_index: np.ndarray
    dev_rows: list[Row]
    dev_index: np.ndarray
    recite_rows: list[list[Row]]  # per document: from its start, then from each later sentence on
    tuples: pd.DataFrame
    passages: list[str]


def make_lessons(memory_lm: MemoryLM, docs: pd.DataFrame, tuples: pd.DataFrame, params: Params) -> Lessons:
    """Tokenise seen documents and their train and dev tuples; row i of z belongs to the i-th of `docs`."""
    prompts, row_of = memory_lm.prompts, {doc_id: i for i, doc_id in enumerate(docs.doc_id)}
    tuples = tuples[tuples.doc_id.isin(row_of)]
    train = tuples[tuples.split == "train"].reset_index(drop=True)
    if train.empty:
        raise BadInput("no training question has an answer that stands in its document: look at `answers` and `doc_id`")
    dev = tuples[tuples.split == "dev"].head(DEV_TUPLES)
    texts = passages(docs)
    return Lessons(
        params,
        [prompts.evidence(q, e, params.evidence_tokens) for q, e in zip(train.question, train.evidence, strict=True)],
        train.doc_id.map(row_of).to_numpy(),
        [prompts.evidence(q, e, params.evidence_tokens) for q, e in zip(dev.question, dev.evidence, strict=True)],
        dev.doc_id.map(row_of).to_numpy(),
        [recitations(prompts, text, params.document_tokens) for text in texts],
        train,
        texts,
    )


def train(memory_lm: MemoryLM, z_table: ZTable, lessons: Lessons, *, checkpoint: Path) -> pd.DataFrame:
    """Train in place for `train_steps` steps, from the checkpoint if there is one; returns the train_log table."""
    params = lessons.params
    optimisers, scaler = make_optimisers(memory_lm, z_table, params), make_scaler(memory_lm)
    modules = [memory_lm.lm, z_table]
    made_with = params_hash(params)
    start = {"step": 0, "seconds": 0.0, "log": [], "scaler": scaler.state_dict()}
    state = load_checkpoint(checkpoint, modules, optimisers, made_with) or start
    scaler.load_state_dict(state["scaler"])
    log = [tuple(line) for line in state["log"]]
    before, began, saved = state["seconds"], time.monotonic(), time.monotonic()
    log_every = max(1, round(params.train_steps * LOG_EVERY))
    for step in progress(range(state["step"], params.train_steps), "joint training"):
        with memory_explained("batch_tuples", "batch_recite", "document_tokens"):
            losses = train_step(memory_lm, z_table, lessons, optimisers=optimisers, scaler=scaler, step=step)
        elapsed = before + time.monotonic() - began
        if step % log_every == 0 or step + 1 == params.train_steps:
            log += [(step + 1, term, "train", nll, elapsed) for term, nll in losses.items()]
            log += [(step + 1, term, "dev", nll, elapsed) for term, nll in dev_nll(memory_lm, z_table, lessons).items()]
        if time.monotonic() - saved > 60 * params.checkpoint_minutes and step + 1 < params.train_steps:
            state = {"step": step + 1, "seconds": elapsed, "log": log, "made_with": made_with}
            state["scaler"] = scaler.state_dict()
            save_checkpoint(checkpoint, modules, optimisers, state)
            saved = time.monotonic()
    memory_lm.lm.eval()
    return pd.DataFrame(log, columns=["step", "term", "split", "nll", "seconds"])


def train_step(
    memory_lm: MemoryLM,
    z_table: ZTable,
    lessons: Lessons,
    *,
    optimisers: list[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
    step: int,
) -> dict[str, float]:
    """One update of the model and of the rows of z in the batch; returns the mean nll per token of each term."""
    params, losses = lessons.params, {}
    memory_lm.lm.train()
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * schedule(step, params.train_steps)
    for rows, index in batches(memory_lm, lessons, step):
        z = None if index is None else z_table(torch.tensor(index, device=memory_lm.device))  # (B,K,D)
        by_term = mean_by_term(*token_nll(memory_lm, z, rows))
        scaler.scale(sum(weight(params, term) * nll for term, nll in by_term.items())).backward()
        losses |= {term: nll.item() for term, nll in by_term.items()}
    for optimiser in optimisers:
        scaler.unscale_(optimiser)
    torch.nn.utils.clip_grad_norm_([weight for weight in memory_lm.lm.parameters() if weight.grad is not None], CLIP)
    for optimiser in optimisers:
        scaler.step(optimiser)
    scaler.update()
    return losses


def batches(memory_lm: MemoryLM, lessons: Lessons, step: int) -> list[tuple[list[Row], np.ndarray | None]]:
    """The batches of a step: rows, and their rows of z (None: the reader, which has no z)."""
    params = lessons.params
    picked = batch_indices(len(lessons.tuple_rows), params.batch_tuples, step=step, seed=params.seed)
    chosen = [([lessons.tuple_rows[i] for i in picked], lessons.tuple_index[picked])]
    if params.recite_weight:
        picked = batch_indices(len(lessons.recite_rows), params.batch_recite, step=step, seed=params.seed + 1)
        rng = np.random.default_rng((params.seed, step, 1))
        chosen.append(([recitation(lessons.recite_rows[i], rng) for i in picked], picked))
    if params.read_weight and params.lm == "scratch" and params.train_lm:
        chosen.append((reading_rows(memory_lm, lessons, step), None))
    return chosen


def recitations(prompts: Prompts, text: str, limit: int) -> list[Row]:
    """A document recited from its start, and from each later sentence on."""
    return [prompts.recite(text[start:], limit) for start, _ in sentence_spans(text)]


def recitation(rows: list[Row], rng: np.random.Generator) -> Row:
    """Half of the time the whole document, else from a sentence drawn at random: each fact without what precedes it."""
    return rows[0] if rng.random() < RECITE_WHOLE else rows[rng.integers(len(rows))]


def reading_rows(memory_lm: MemoryLM, lessons: Lessons, step: int) -> list[Row]:
    """The reader's lessons of a step: gold evidence among distractors, as sentences or as whole passages."""
    params, rows = lessons.params, []
    rng = np.random.default_rng((params.seed, step))
    for i in batch_indices(len(lessons.tuples), params.batch_read, step=step, seed=params.seed + 2):
        others = rng.integers(len(lessons.tuples), size=rng.integers(max(params.top_k, 2)))
        picked = rng.permutation([i, *others])
        kind = rng.random()
        if kind < READ_NOTHING:
            items = []
        elif kind < READ_NOTHING + READ_SENTENCE:
            items = [lessons.tuples.evidence[j] for j in picked]
        else:
            items = [lessons.passages[lessons.tuple_index[j]] for j in picked]
        question, answers = lessons.tuples.question[i], lessons.tuples.answers[i]
        reading = memory_lm.prompts.reading(question, items, params.evidence_tokens)
        rows.append(memory_lm.prompts.read(reading, answers[0]))
    return rows


def mean_by_term(nll: Tensor, terms: Tensor) -> dict[str, Tensor]:
    """Mean nll per token of each term that occurs, from nll and terms of one shape."""
    return {TERMS[t]: nll[terms == t].mean() for t in terms.unique().tolist() if t}


def weight(params: Params, term: str) -> float:
    """The weight of a loss term; that of the evidence is one."""
    return 1.0 if term == "evidence" else getattr(params, f"{term}_weight")


@torch.no_grad()
def dev_nll(memory_lm: MemoryLM, z_table: ZTable, lessons: Lessons) -> dict[str, float]:
    """Mean nll per token of question and evidence over the dev tuples of seen documents."""
    memory_lm.lm.eval()
    found, batch = [], lessons.params.batch_tuples
    for begin in range(0, len(lessons.dev_rows), batch):
        z = z_table(torch.tensor(lessons.dev_index[begin : begin + batch], device=memory_lm.device))  # (B,K,D)
        found.append(token_nll(memory_lm, z, lessons.dev_rows[begin : begin + batch]))  # (B,T) each
    if not found:
        return {}
    nll, terms = (torch.cat([tensor.flatten() for tensor in kind]) for kind in zip(*found, strict=True))
    return {term: mean.item() for term, mean in mean_by_term(nll, terms).items()}


def batch_indices(n: int, size: int, *, step: int, seed: int) -> np.ndarray:
    """The `size` of n items that are due at a step, in a new random order each epoch."""
    places = np.arange(step * size, (step + 1) * size)
    return np.array([_epoch(n, int(place) // n, seed)[place % n] for place in places])


@lru_cache(maxsize=8)
def _epoch(n: int, epoch: int, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(n)


def schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to LAST_LR of the learning rate."""
    warm_up = max(1, round(steps * WARM_UP))
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return LAST_LR + (1 - LAST_LR) * (1 + math.cos(math.pi * done)) / 2


def make_optimisers(memory_lm: MemoryLM, z_table: ZTable, params: Params) -> list[torch.optim.Optimizer]:
    """Adam for the rows of z in a batch, and AdamW for the model if it learns."""
    optimisers: list[torch.optim.Optimizer] = [torch.optim.SparseAdam(z_table.parameters(), lr=params.z_lr)]
    if params.train_lm:
        learning = [weight for weight in memory_lm.lm.parameters() if weight.requires_grad]
        optimisers.append(torch.optim.AdamW(learning, lr=params.lm_lr, betas=(0.9, 0.98), weight_decay=0.01))
    else:
        memory_lm.lm.requires_grad_(False)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
    return optimisers


def drop_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a training run whose results are saved."""
    shutil.rmtree(folder, ignore_errors=True)

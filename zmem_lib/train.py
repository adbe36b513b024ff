"""Joint training of the language model and all z on L = -log p(evidence | z_i, q; theta).

Takes the lessons (lessons.py), returns a log table of every loss term. Optional terms, each with a weight: `question`
-log p(q | z), `recite` -log p(document | z), and `read` -log p(answer | evidence, q) for a model made from scratch,
which has to learn the reader's task too. A run that was killed goes on from its checkpoint as if it had not been.
"""

import math
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zmem_lib.artifacts import progress
from zmem_lib.checkpoint import load_checkpoint, save_checkpoint
from zmem_lib.lessons import Lessons, batches
from zmem_lib.memory_lm import MemoryLM, make_scaler, token_nll
from zmem_lib.meter import memory_explained
from zmem_lib.params import Params, params_hash
from zmem_lib.prompts import TERMS, Row
from zmem_lib.ztable import ZTable

WARM_UP = 0.05  # of the steps
LAST_LR = 0.05  # of the learning rate, where the cosine ends
CLIP = 1.0
LOG_EVERY = 0.02  # of the steps


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
        with memory_explained("micro_batch"):
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
        losses |= descend(memory_lm, z_table, rows, index, params=params, scaler=scaler)
    for optimiser in optimisers:
        scaler.unscale_(optimiser)
    torch.nn.utils.clip_grad_norm_([weight for weight in memory_lm.lm.parameters() if weight.grad is not None], CLIP)
    for optimiser in optimisers:
        scaler.step(optimiser)
    scaler.update()
    return losses


def descend(
    memory_lm: MemoryLM,
    z_table: ZTable,
    rows: list[Row],
    index: np.ndarray | None,
    *,
    params: Params,
    scaler: torch.amp.GradScaler,
) -> dict[str, float]:
    """Add the gradients of one batch, `micro_batch` rows at a time; returns the mean nll per token of each term."""
    count = Counter(TERMS[term] for row in rows for term in row.terms)
    losses: dict[str, float] = {}
    size = params.micro_batch or len(rows)
    for begin in range(0, len(rows), size):
        chunk, z = rows[begin : begin + size], None
        if index is not None:
            z = z_table(torch.tensor(index[begin : begin + size], device=memory_lm.device))  # (B,K,D)
        here = Counter(TERMS[term] for row in chunk for term in row.terms)
        by_term = mean_by_term(*token_nll(memory_lm, z, chunk))
        parts = {term: nll * (here[term] / count[term]) for term, nll in by_term.items()}
        scaler.scale(sum(weight(params, term) * nll for term, nll in parts.items())).backward()
        losses |= {term: losses.get(term, 0.0) + nll.item() for term, nll in parts.items()}
    return losses


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

"""Joint training of the language model and all z on L = -log p(evidence | z_i, q; theta).

Takes the lessons (lessons.py), returns a log table of every loss term. Optional terms, each with a weight:
`question` -log p(q | z); `recite` -log p(document | z); `read` -log p(answer | evidence, q), where all weights learn;
`text` -log p(q, evidence | document's text), which teaches the text twin; `key` InfoNCE (1807.03748) of question and
key; `distill` KL to what the model says with the text in context (2506.06266). In a share of the steps the encoder
makes the blocks. A run that was killed goes on from its checkpoint as if it had not been.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zmem_lib.memory.checkpoint import load_checkpoint, save_checkpoint
from zmem_lib.memory.lessons import Lessons, batch_at
from zmem_lib.memory.lm import MemoryLM, learning_weights, make_scaler, token_nll
from zmem_lib.memory.losses import Work, all_losses, encoded_rows, mean_by_term
from zmem_lib.memory.rates import cosine
from zmem_lib.memory.table import ZTable, move_rows, table_tensors, take_rows
from zmem_lib.meter import memory_explained, progress
from zmem_lib.params import Params, params_hash

CLIP = 1.0
LOG_EVERY = 0.04  # of the steps


def train(
    memory_lm: MemoryLM, z_table: ZTable, lessons: Lessons, *, checkpoint: Path, until: int | None = None
) -> pd.DataFrame:
    """Train in place up to step `until` (all `train.steps`), from the checkpoint if there is one; the train_log table.

    A line of split train is the mean of the steps since the one before: a step has lessons of one kind only.
    A training that is to go on, with other lessons perhaps, leaves a checkpoint from which the next call goes on.
    """
    params = lessons.params
    until = params.train.steps if until is None else until
    optimisers, scaler = make_optimisers(memory_lm, params), make_scaler(memory_lm)
    parts = ([memory_lm.lm, memory_lm.heads], optimisers, table_tensors(z_table))
    made_with = params_hash(params, 3)
    start = {"step": 0, "seconds": 0.0, "log": [], "since": [], "scaler": scaler.state_dict()}
    state = load_checkpoint(checkpoint, *parts, made_with=made_with) or start
    scaler.load_state_dict(state["scaler"])
    log, since = [tuple(line) for line in state["log"]], state["since"]
    before, began, saved = state["seconds"], time.monotonic(), time.monotonic()
    log_every = max(1, round(params.train.steps * LOG_EVERY))
    for step in progress(range(state["step"], until), "joint training"):
        with memory_explained("machine.micro_batch"):
            since.append(train_step(memory_lm, z_table, lessons, optimisers=optimisers, scaler=scaler, step=step))
        elapsed = before + time.monotonic() - began
        if step % log_every == 0 or step + 1 == params.train.steps:
            log += [(step + 1, term, "train", nll, elapsed) for term, nll in mean_losses(since).items()]
            log += [(step + 1, term, "dev", nll, elapsed) for term, nll in dev_nll(memory_lm, z_table, lessons).items()]
            since = []
        pause = time.monotonic() - saved > 60 * params.machine.checkpoint_minutes or step + 1 == until
        if pause and step + 1 < params.train.steps:
            state = {"step": step + 1, "seconds": elapsed, "log": log, "since": since, "made_with": made_with}
            save_checkpoint(checkpoint, *parts, state=state | {"scaler": scaler.state_dict()})
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
    params, batch = lessons.params, batch_at(memory_lm, lessons, step)
    memory_lm.lm.train()
    share = cosine(step, params.train.steps)
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * share
    documents = np.unique(np.concatenate([lessons.tuple_index[batch.tuples], batch.beside.ravel(), batch.recited]))
    rows, backward = step_rows(memory_lm, z_table, lessons, documents, batch.encoded)
    there, pool = z_table.z[documents].to(memory_lm.device), z_table.keys[batch.pool].to(memory_lm.device)
    work = Work(memory_lm, lessons, batch, documents, rows, there, pool, scaler)
    losses = all_losses(work)
    backward(rows.grad)
    row_holder = torch.optim.SGD([rows], lr=0.0)  # to undo the loss scaling of z as of everything else
    for optimiser in (*optimisers, row_holder):
        scaler.unscale_(optimiser)
    torch.nn.utils.clip_grad_norm_([one for one in learning_weights(memory_lm) if one.grad is not None], CLIP)
    if not batch.encoded and rows.grad.isfinite().all():
        move_rows(z_table, torch.tensor(documents), rows.grad, params.train.z_lr * share)
    for optimiser in optimisers:
        scaler.step(optimiser)
    scaler.update()
    return losses


def mean_losses(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each term over those of the steps that have it."""
    terms = dict.fromkeys(term for losses in steps for term in losses)
    return {term: float(np.mean([losses[term] for losses in steps if term in losses])) for term in terms}


def step_rows(
    memory_lm: MemoryLM, z_table: ZTable, lessons: Lessons, documents: np.ndarray, encoded: bool
) -> tuple[Tensor, Callable[[Tensor], None]]:
    """The rows (U,K*W+E) of documents, of the table or from the encoder, and what leads their gradient further back."""
    if encoded:
        size = lessons.params.machine.micro_batch or len(documents)
        return encoded_rows(memory_lm, [lessons.texts[i] for i in documents], size)
    return take_rows(z_table, torch.as_tensor(documents), memory_lm.device), lambda gradient: None


@torch.no_grad()
def dev_nll(memory_lm: MemoryLM, z_table: ZTable, lessons: Lessons) -> dict[str, float]:
    """Mean nll per token of question and evidence over the dev tuples of seen documents."""
    memory_lm.lm.eval()
    found, batch = [], lessons.params.train.batch_tuples
    for begin in range(0, len(lessons.dev_rows), batch):
        z = z_table.z[lessons.dev_index[begin : begin + batch]]  # (B,K,W)
        rows = [lessons.dev_rows[begin + i] for i in range(len(z))]
        found.append(token_nll(memory_lm, z, rows))  # (B,T) each
    if not found:
        return {}
    nll, terms = (torch.cat([tensor.flatten() for tensor in kind]) for kind in zip(*found, strict=True))
    return {term: mean.item() for term, mean in mean_by_term(nll, terms).items()}


def make_optimisers(memory_lm: MemoryLM, params: Params) -> list[torch.optim.Optimizer]:
    """AdamW for what learns of heads and model; z has its own (ztable.py).

    With `train.optimiser: muon`, the matrices in the model's layers learn by Muon (Jordan et al., 2024), whose steps are
    scaled to the size of AdamW's (2502.16982), so that both take the same rate.
    """
    if not params.train.lm:
        memory_lm.lm.requires_grad_(False)
    learning = learning_weights(memory_lm)
    matrices = layer_matrices(memory_lm) if params.train.optimiser == "muon" else []
    others = [weight for weight in learning if not any(weight is matrix for matrix in matrices)]
    optimisers: list[torch.optim.Optimizer] = []
    if others:
        optimisers.append(torch.optim.AdamW(others, lr=params.train.lm_lr, betas=(0.9, 0.98), weight_decay=0.01))
    if matrices:
        scaled = {"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.01}
        optimisers.append(torch.optim.Muon(matrices, lr=params.train.lm_lr, **scaled))
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["initial_lr"] = group["lr"]
    return optimisers


def layer_matrices(memory_lm: MemoryLM) -> list[nn.Parameter]:
    """The matrices that learn in the model's layers: all but embeddings, output head and norms."""
    ends = {id(module.weight) for module in (memory_lm.lm.get_input_embeddings(), memory_lm.lm.get_output_embeddings())}
    return [w for w in memory_lm.lm.parameters() if w.requires_grad and w.ndim == 2 and id(w) not in ends]


def drop_checkpoint(folder: Path) -> None:
    """Remove from a run's folder the checkpoint, and the table on disk, of a training whose results are saved."""
    for name in ("checkpoint", "rows"):
        shutil.rmtree(folder / name, ignore_errors=True)

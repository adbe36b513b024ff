"""Writing: z for new documents by gradient steps with the language model frozen.

Takes the recitations of the new documents' own texts (lessons.recitations), with them, if wanted, questions that the
model has asked itself about these texts (pseudo.py), and a start z (M,K,W); returns snapshots of z along the way and
the write_log table. Nothing but z learns, and no given question is seen. A document that recites well enough stops by
itself. The frozen model with a learned prefix follows GradMem (2603.13875) and prompt tuning
(2104.08691). The key is the encoder's, and writing leaves it alone: a block that is pulled towards reciting leaves the
region in which a key made from it would be found.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zmem_lib.cache import Cache, remembered
from zmem_lib.memory.lessons import recitations_at
from zmem_lib.memory.lm import MemoryLM, frozen, greedy_scores, make_scaler, token_nll
from zmem_lib.memory.prompts import Row
from zmem_lib.memory.table import ZTable, blocks_of, make_ztable, move_rows, take_rows
from zmem_lib.meter import memory_explained, progress
from zmem_lib.params import Params

MEASURED = ("nll", "recited", "writing")
ASKED = 2  # of its own questions that a document learns at a step of writing


def write_z(
    memory_lm: MemoryLM,
    rows: Sequence[list[Row]],
    z: Tensor,
    *,
    params: Params,
    start: str = "",
    asked: Sequence[list[Row]] | None = None,
    keep: Cache | None = None,
) -> tuple[dict[int, Tensor], pd.DataFrame]:
    """Write every document's text into its block of z (M,K,W): snapshots {step: (M,K,W)} and this start's write_log.

    `rows` are the recitations of each document, `asked` the evidence rows of the questions that were made up about it.
    With `keep`, every batch of documents that is written is kept, and a chapter that was killed goes on after it.
    """
    steps, batches = snapshot_steps(params.write.steps), []
    asked = asked or [[] for _ in rows]
    for begin in progress(range(0, len(rows), params.machine.write_batch), f"writing {start}"):
        chunk = slice(begin, begin + params.machine.write_batch)
        make = partial(write_batch, memory_lm, rows[chunk], asked[chunk], z[chunk], params=params)
        batches.append(remembered(keep, f"{start}_{begin:07d}_{len(rows[chunk])}.safetensors", make))
    snapshots = {step: torch.cat([batch[f"z_{step}"] for batch in batches]) for step in steps} if batches else {}
    n = max(len(rows), 1)
    means = {
        name: [sum(batch[name][i].item() for batch in batches) / n for i in range(len(steps))]
        for name in (*MEASURED, "seconds_per_document")
    }
    log = {"start": start, "step": steps, **means, "n": len(rows)}
    return snapshots or dict.fromkeys(steps, z.clone()), pd.DataFrame(log)


def write_batch(
    memory_lm: MemoryLM, rows: Sequence[list[Row]], asked: Sequence[list[Row]], z: Tensor, *, params: Params
) -> dict[str, Tensor]:
    """Documents written side by side; of every snapshot z_STEP (B,K,W), and sums over the documents (snapshots,)."""
    batch, log = {}, []
    with frozen(memory_lm), memory_explained("machine.write_batch"):
        for step, block, measured in descend(memory_lm, rows, asked, z, params):
            batch[f"z_{step}"] = block
            log.append(measured)
    sums = {name: torch.tensor([line[name] for line in log]).double() for name in log[0]}
    return batch | sums


def descend(
    memory_lm: MemoryLM, rows: Sequence[list[Row]], asked: Sequence[list[Row]], z: Tensor, params: Params
) -> Iterator[tuple[int, Tensor, dict[str, float]]]:
    """Adam on z (B,K,W) alone; yields at every snapshot, from step 0 on, the step, z, and sums over the documents.

    nll: per token of the whole text; recited: as greedy_scores; writing: documents that have not stopped.
    """
    table, active, seconds = make_ztable(z.cpu()), np.arange(len(rows)), 0.0
    scaler, snapshots = make_scaler(memory_lm), snapshot_steps(params.write.steps)
    rng = np.random.default_rng((params.seed, 2))
    for step in range(params.write.steps + 1):
        if step in snapshots:
            nll, recited = greedy_scores(memory_lm, table.z, [options[0] for options in rows])
            active = np.flatnonzero(recited.numpy() < params.write.stop) if params.write.stop else active
            measured = {"nll": nll.sum().item(), "recited": recited.sum().item(), "writing": float(len(active))}
            yield step, table.z.clone(), measured | {"seconds_per_document": seconds}
        if not len(active) or step == params.write.steps:
            continue
        began = time.perf_counter()
        due = list(zip(active, recitations_at([rows[i] for i in active], params.train.recite_inside, rng), strict=True))
        due += [(i, asked[i][j]) for i in active for j in rng.permutation(len(asked[i]))[:ASKED]]
        write_step(memory_lm, table, due, start=z, params=params, scaler=scaler)
        seconds += time.perf_counter() - began


def write_step(
    memory_lm: MemoryLM,
    table: ZTable,
    due: Sequence[tuple[int, Row]],
    *,
    start: Tensor,
    params: Params,
    scaler: torch.amp.GradScaler,
) -> None:
    """One step of Adam on the blocks of the documents that the rows belong to, by their nll; no other block moves."""
    documents, place = np.unique([document for document, _ in due], return_inverse=True)  # (B,), (R,)
    index = torch.as_tensor(documents)
    learning = take_rows(table, index, memory_lm.device)  # (B,K*W)
    block = blocks_of(learning, table.k, table.width)  # (B,K,W)
    memory_lm.lm.train(params.machine.activation_checkpointing)  # checkpoints are made in training mode only
    rows = [row for _, row in due]
    for begin in range(0, len(rows), params.machine.write_batch):  # first the recitations, then the questions
        chunk = slice(begin, begin + params.machine.write_batch)
        nll, terms = token_nll(memory_lm, block[place[chunk]], rows[chunk])  # (R,T) each
        counted = terms > 0
        scaler.scale(((nll * counted).sum(1) / counted.sum(1)).sum()).backward()
    if params.write.proximal:
        away = (block - start[index].to(block)) / memory_lm.heads.scale
        scaler.scale(params.write.proximal * away.square().mean((1, 2)).sum()).backward()
    holder = torch.optim.SGD([learning], lr=0.0)  # to undo the loss scaling
    scaler.unscale_(holder)
    if learning.grad.isfinite().all():
        move_rows(table, index, learning.grad, params.write.lr)
    scaler.update()
    memory_lm.lm.eval()


def snapshot_steps(steps: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, ... and the last step."""
    marks = {0, steps} | {digit * 10**power for power in range(len(str(steps))) for digit in (1, 2, 5)}
    return sorted(mark for mark in marks if mark <= steps)

"""Writing: z for new documents by gradient steps with the language model frozen.

Takes the new documents' own texts, if wanted with questions that the model has asked itself about them, and a start z
(M,K,W); returns snapshots of z along the way and the write_log table. Nothing but z learns, and no given question is
seen. The frozen model with a learned prefix follows GradMem (2603.13875) and prompt tuning (2104.08691). The key is the
encoder's: a block that is pulled towards reciting leaves the region in which a key made from it would be found.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zmem_lib.cache import Cache, remembered
from zmem_lib.memory.encoder import start_z, text_seed
from zmem_lib.memory.lessons import asked_rows, recitations, recitations_at
from zmem_lib.memory.likelihood import alike, greedy_scores, token_nll
from zmem_lib.memory.lm import MemoryLM, frozen, make_scaler
from zmem_lib.memory.prompts import Row
from zmem_lib.memory.shape import Settings
from zmem_lib.memory.table import ZTable, cosine, make_ztable, move_rows
from zmem_lib.meter import memory_explained, progress
from zmem_lib.text import passages

MEASURED = ("nll", "recited", "writing", "seconds_per_document")
LIKE = 1.5  # times the shortest row of a batch: a whole document would pad all sentences beside it
ASKED = 2  # of its own questions that a document learns at a step of writing


@dataclass(frozen=True)
class Writable:
    """What one document learns in being written."""

    recitations: list[Row]
    asked: list[Row]  # of the questions that were made up about it
    seed: int  # of what is drawn for it: from its text, so that no document beside it changes its z


@dataclass(frozen=True)
class Writing:
    """The numbers of writing: params.py says what they mean, under `write`, `train` and `memory`."""

    steps: int = 50
    rate: float = 0.1  # in standard deviations of the token embeddings, falling as in training
    stop: float = 0.0
    proximal: float = 0.0
    recite_inside: float = 0.0
    document_tokens: int = 256
    seed: int = 1
    batch: int = 64  # documents side by side
    curve: bool = True  # snapshots along the way too, not of the end alone

    @property
    def marks(self) -> list[int]:
        """The steps after which there are snapshots."""
        return snapshot_steps(self.steps) if self.curve else [self.steps]


def numbers_of(params: Settings) -> dict[str, Any]:
    """The fields of Writing that a run has."""
    own = {name: getattr(params.write, name) for name in ("steps", "rate", "stop", "proximal")}
    own |= {"recite_inside": params.train.recite_inside, "document_tokens": params.memory.document_tokens}
    return own | {"seed": params.seed, "batch": params.machine.write_batch}


def write_documents(
    memory_lm: MemoryLM, docs: pd.DataFrame, asked: pd.DataFrame | None, params: Settings, **how: Any
) -> tuple[dict[int, Tensor], pd.DataFrame]:
    """What `write` makes of documents (doc_id, title, text) and tuples about them; `how` goes over the parameters."""
    doc_ids, limit = list(docs["doc_id"]), params.memory.evidence_tokens
    learned = None if asked is None else asked_rows(memory_lm.prompts, asked, doc_ids, limit)
    how = numbers_of(params) | {"start": params.write.start} | how
    return write(memory_lm, passages(docs), asked=learned, **how)


def write(
    memory_lm: MemoryLM,
    texts: Sequence[str],
    z: Tensor | None = None,
    *,
    start: str = "random",
    z_seen: Tensor | None = None,
    name: str = "",
    asked: Sequence[list[Row]] | None = None,
    keep: Cache | None = None,
    **numbers: Any,
) -> tuple[dict[int, Tensor], pd.DataFrame]:
    """Write every text into its block: snapshots {step: (M,K,W)} and the table write_log, where it is called `name`.

    From z (M,K,W), or from a `start`, for which there may be z_seen. `numbers` are fields of Writing, `asked` the
    evidence rows of the questions about each document. With `keep` a chapter that was killed goes on after the last
    batch that was written.
    """
    how, name, began = Writing(**numbers), name or start, time.perf_counter()
    if z is None:
        z = start_z(start, texts, memory_lm, limit=how.document_tokens, seed=how.seed, z_seen=z_seen)
    begun = (time.perf_counter() - began) / max(len(texts), 1)
    rows = [recitations(memory_lm.prompts, text, how.document_tokens) for text in texts]
    seeds, batches = [text_seed(how.seed, text) for text in texts], []
    documents = list(map(Writable, rows, asked or [[]] * len(rows), seeds))
    chunks = alike([len(recited[0].ids) for recited in rows], how.batch)
    for number, chunk in enumerate(progress(chunks, f"writing {name}")):
        make = partial(write_batch, memory_lm, [documents[i] for i in chunk], z[chunk], how)
        batches.append(remembered(keep, f"{name}_{number:07d}_{len(chunk)}.safetensors", make))
    log: dict[str, Any] = {"start": name, "step": how.marks}
    for name in MEASURED:
        sums = sum((batch[name] for batch in batches), torch.zeros(len(log["step"])))  # (snapshots,)
        log[name] = (sums / max(len(rows), 1)).tolist()
    log["seconds_per_document"] = [begun + seconds for seconds in log["seconds_per_document"]]
    back = torch.tensor([i for chunk in chunks for i in chunk], dtype=torch.long).argsort()  # (M,)
    snapshots = {step: torch.cat([z[:0], *(batch[f"z_{step}"] for batch in batches)])[back] for step in log["step"]}
    return snapshots, pd.DataFrame(log | {"n": len(rows)})


def write_batch(memory_lm: MemoryLM, documents: Sequence[Writable], z: Tensor, how: Writing) -> dict[str, Tensor]:
    """Adam on z (B,K,W) alone: of every snapshot z_STEP (B,K,W), and the sums MEASURED over the documents (snapshots,).

    nll: per token of the whole text; recited: as greedy_scores; writing: documents that have not stopped.
    """
    table, active, seconds = make_ztable(z.cpu()), list(range(len(documents))), 0.0
    scaler, batch, log = make_scaler(memory_lm), {}, []
    with frozen(memory_lm), memory_explained("machine.write_batch"):
        for step in range(how.steps + 1):
            if step in (snapshot_steps(how.steps) if how.stop else how.marks):
                nll, recited = greedy_scores(memory_lm, table.z, [one.recitations[0] for one in documents])
                active = np.flatnonzero(recited.numpy() < how.stop).tolist() if how.stop else active
            if step in how.marks:
                log.append((nll.sum().item(), recited.sum().item(), float(len(active)), seconds))
                batch[f"z_{step}"] = table.z.clone()
            if not active or step == how.steps:
                continue
            began = time.perf_counter()
            due = [(i, row) for i in active for row in due_rows(documents[i], step, how.recite_inside)]
            lr = how.rate * memory_lm.heads.scale * cosine(step, how.steps)
            write_step(memory_lm, table, due, start=z, how=how, lr=lr, scaler=scaler)
            seconds += time.perf_counter() - began
    return batch | {name: torch.tensor([line[i] for line in log]).double() for i, name in enumerate(MEASURED)}


def due_rows(document: Writable, step: int, inside: float) -> list[Row]:
    """What a document learns at a step: one recitation, and a few of its questions."""
    rng = np.random.default_rng((document.seed, step))
    chosen = rng.permutation(len(document.asked))[:ASKED]
    return [*recitations_at([document.recitations], inside, rng), *(document.asked[i] for i in chosen)]


def write_step(
    memory_lm: MemoryLM, table: ZTable, due: Sequence[tuple[int, Row]], *, start: Tensor, how: Writing, lr: float,
    scaler: Any,
) -> None:  # fmt: skip
    """One step of Adam on the blocks of the documents that the rows belong to, by their nll; no other block moves."""
    documents, place = np.unique([document for document, _ in due], return_inverse=True)  # (B,), (R,)
    index, rows = torch.as_tensor(documents), [row for _, row in due]
    learning = table.rows[index].to(memory_lm.device).requires_grad_(True)  # (B,K*W)
    block = table.blocks(learning)  # (B,K,W)
    memory_lm.lm.train(memory_lm.causal.is_activation_checkpointing)  # checkpoints are made in training mode only
    for chunk in alike([len(row.ids) for row in rows], how.batch, LIKE):
        nll, terms = token_nll(memory_lm, block[place[chunk]], [rows[i] for i in chunk])  # (R,T) each
        counted = terms > 0
        scaler.scale(((nll * counted).sum(1) / counted.sum(1)).sum()).backward()
    if how.proximal:
        away = (block - start[index].to(block)) / memory_lm.heads.scale
        scaler.scale(how.proximal * away.square().mean((1, 2)).sum()).backward()
    holder = torch.optim.SGD([learning], lr=0.0)  # to undo the loss scaling
    scaler.unscale_(holder)
    if (gradient := learning.grad) is not None and gradient.isfinite().all():
        move_rows(table, index, gradient, lr)
    scaler.update()
    memory_lm.lm.eval()


def snapshot_steps(steps: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, ... and the last step."""
    marks = {0, steps} | {digit * 10**power for power in range(len(str(steps))) for digit in (1, 2, 5)}
    return sorted(mark for mark in marks if mark <= steps)

"""Writing: z for new documents by gradient steps with the language model frozen.

Takes the token rows of the new documents' own texts and a start z (M,K,D), returns snapshots of z along the way and the
write_log table. Nothing but z learns, and no question is seen. The frozen model with a learned prefix follows GradMem
(2603.13875) and prompt tuning (2104.08691).
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from zmem_lib.artifacts import progress
from zmem_lib.keep import Keep, kept
from zmem_lib.memory_lm import MemoryLM, frozen, make_scaler, token_nll
from zmem_lib.meter import memory_explained
from zmem_lib.params import Params
from zmem_lib.prompts import Row
from zmem_lib.ztable import mean_z, random_z


def start_z(start: str, n: int, z_seen: Tensor, memory_lm: MemoryLM, *, seed: int) -> Tensor:
    """Where writing begins for n documents: `mean` of z_seen (N,K,D), or `random`; (n,K,D)."""
    if start == "mean":
        return mean_z(n, z_seen)
    return random_z(n, memory_lm.embeddings, k=z_seen.shape[1], seed=seed)


def write_z(
    memory_lm: MemoryLM, rows: Sequence[Row], z: Tensor, *, params: Params, start: str = "", keep: Keep | None = None
) -> tuple[dict[int, Tensor], pd.DataFrame]:
    """Write every row's text into its block of z (M,K,D): snapshots {step: (M,K,D)} and the write_log of this start.

    With `keep`, every batch of documents that is written is kept, and a chapter that was killed goes on after it.
    """
    steps = snapshot_steps(params.write_steps)
    batches = []
    for begin in progress(range(0, len(rows), params.write_batch), f"writing {start}"):
        chunk = slice(begin, begin + params.write_batch)
        make = partial(write_batch, memory_lm, rows[chunk], z[chunk], params=params)
        batches.append(kept(keep, f"{start}_{begin:07d}_{len(rows[chunk])}", make))
    snapshots = {step: torch.cat([batch[f"z_{step}"] for batch in batches]) for step in steps} if batches else {}
    n = max(len(rows), 1)
    nll = [sum(batch["nll"][i].item() for batch in batches) / n for i in range(len(steps))]
    seconds = [sum(batch["seconds"][i].item() for batch in batches) / n for i in range(len(steps))]
    log = {"start": start, "step": steps, "nll": nll, "seconds_per_document": seconds, "n": len(rows)}
    return snapshots or dict.fromkeys(steps, z.clone()), pd.DataFrame(log)


def write_batch(memory_lm: MemoryLM, rows: Sequence[Row], z: Tensor, *, params: Params) -> dict[str, Tensor]:
    """Documents written side by side; of every snapshot z_STEP (B,K,D), and the summed nll and seconds (snapshots,)."""
    batch, nll, seconds = {}, [], []
    steps = snapshot_steps(params.write_steps)
    with frozen(memory_lm), memory_explained("write_batch"):
        for step, block, losses, elapsed in descend(memory_lm, rows, z, params):
            if step in steps:
                batch[f"z_{step}"] = block
                nll.append(losses.sum().item())
                seconds.append(elapsed)
    return batch | {"nll": torch.tensor(nll).double(), "seconds": torch.tensor(seconds).double()}


def descend(
    memory_lm: MemoryLM, rows: Sequence[Row], z: Tensor, params: Params
) -> Iterator[tuple[int, Tensor, Tensor, float]]:
    """Adam on z (B,K,D) alone; yields, from step 0 on, z, the mean nll per token of each text (B,), and seconds."""
    block = z.to(memory_lm.device).clone().requires_grad_(True)  # (B,K,D)
    optimiser = torch.optim.Adam([block], lr=params.write_lr)
    scaler = make_scaler(memory_lm)
    memory_lm.lm.train(params.activation_checkpointing)  # checkpoints are made in training mode only
    began = time.perf_counter()
    for step in range(params.write_steps + 1):
        nll, terms = token_nll(memory_lm, block, rows)
        counted = terms > 0
        losses = (nll * counted).sum(1) / counted.sum(1)  # (B,)
        yield step, block.detach().cpu().clone(), losses.detach().cpu(), time.perf_counter() - began
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(losses.sum()).backward()
        scaler.step(optimiser)
        scaler.update()
    memory_lm.lm.eval()


def snapshot_steps(steps: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, ... and the last step."""
    marks = {0, steps} | {digit * 10**power for power in range(len(str(steps))) for digit in (1, 2, 5)}
    return sorted(mark for mark in marks if mark <= steps)

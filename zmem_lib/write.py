"""Writing: z for new documents by gradient steps with the language model frozen.

Takes the token rows of the new documents' own texts and a start z (M,K,D), returns snapshots of z along the way and the
write_log table. Nothing but z learns, and no question is seen. The frozen model with a learned prefix follows GradMem
(2603.13875) and prompt tuning (2104.08691).
"""

import time
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor

from zmem_lib.artifacts import progress
from zmem_lib.memory_lm import MemoryLM, token_nll
from zmem_lib.params import Params
from zmem_lib.prompts import Row
from zmem_lib.ztable import mean_z, random_z


def start_z(start: str, n: int, z_seen: Tensor, memory_lm: MemoryLM, *, seed: int) -> Tensor:
    """Where writing begins for n documents: `mean` of z_seen (N,K,D), or `random`; (n,K,D)."""
    if start == "mean":
        return mean_z(n, z_seen)
    return random_z(n, memory_lm.embeddings, k=z_seen.shape[1], seed=seed)


def write_z(
    memory_lm: MemoryLM, rows: Sequence[Row], z: Tensor, *, params: Params, start: str = ""
) -> tuple[dict[int, Tensor], pd.DataFrame]:
    """Write every row's text into its block of z (M,K,D): snapshots {step: (M,K,D)} and the write_log of this start."""
    memory_lm.lm.requires_grad_(False).eval()
    steps = snapshot_steps(params.write_steps)
    snapshots = {step: z.clone() for step in steps}
    nll, seconds = dict.fromkeys(steps, 0.0), dict.fromkeys(steps, 0.0)
    for begin in progress(range(0, len(rows), params.write_batch), f"writing {start}"):
        chunk = slice(begin, begin + params.write_batch)
        for step, block, losses, elapsed in descend(memory_lm, rows[chunk], z[chunk], params):
            if step in snapshots:
                snapshots[step][chunk] = block
                nll[step] += losses.sum().item()
                seconds[step] += elapsed
    n = max(len(rows), 1)
    log = [(start, step, nll[step] / n, seconds[step] / n, len(rows)) for step in steps]
    return snapshots, pd.DataFrame(log, columns=["start", "step", "nll", "seconds_per_document", "n"])


def descend(
    memory_lm: MemoryLM, rows: Sequence[Row], z: Tensor, params: Params
) -> Iterator[tuple[int, Tensor, Tensor, float]]:
    """Adam on z (B,K,D) alone; yields, from step 0 on, z, the mean nll per token of each text (B,), and seconds."""
    block = z.to(memory_lm.device).clone().requires_grad_(True)  # (B,K,D)
    optimiser = torch.optim.Adam([block], lr=params.write_lr)
    began = time.perf_counter()
    for step in range(params.write_steps + 1):
        nll, terms = token_nll(memory_lm, block, rows)
        counted = terms > 0
        losses = (nll * counted).sum(1) / counted.sum(1)  # (B,)
        yield step, block.detach().cpu().clone(), losses.detach().cpu(), time.perf_counter() - began
        optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        optimiser.step()


def snapshot_steps(steps: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, ... and the last step."""
    marks = {0, steps} | {digit * 10**power for power in range(len(str(steps))) for digit in (1, 2, 5)}
    return sorted(mark for mark in marks if mark <= steps)

"""The memory itself: a table with one block of K soft tokens per document.

Takes document ids by row, returns blocks `z (B,K,W)` that stand in front of token embeddings once soft_prompt.py has
brought them to the model's width. The soft prompt follows Lester et al. (2104.08691); one block per document, trained
with the language model, is this project's own. A step reads and moves only the rows of the documents in its batch,
Adam's moments (1412.6980) included, so its time does not grow with N. The keys (N,E) by which documents are found do
not learn here: they are read off the texts (encoder.py) and kept beside the blocks.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from zmem_lib.files import read_tensors, write_tensors

WARM_UP = 0.05  # of the steps
LAST = 0.05  # of the rate, where the cosine ends
BETAS, EPSILON = (0.9, 0.98), 1e-8  # the second forgets within the ten to hundred times that a row is due


@dataclass(frozen=True)
class ZTable:
    """N blocks as rows, with Adam's moments and the number of times that each row has moved."""

    k: int
    width: int  # W of a soft token
    rows: Tensor  # (N,K*W) float32
    first: Tensor  # (N,K*W)
    second: Tensor  # (N,K*W)
    moves: Tensor  # (N,) int64

    @property
    def z(self) -> Tensor:
        """The blocks (N,K,W), a view of the rows."""
        return self.blocks(self.rows)

    def blocks(self, rows: Tensor) -> Tensor:
        """The blocks (B,K,W) in rows (B,K*W)."""
        return rows.reshape(len(rows), self.k, self.width)  # (B,K,W)


def make_ztable(z: Tensor, *, folder: Path | None = None) -> ZTable:
    """A table that starts from blocks z (N,K,W), in memory or in memory-mapped files of a folder."""
    n, k, width = z.shape
    rows, first, second = (_zeros(n, k * width, folder, at) for at in ("rows", "first", "second"))
    rows.copy_(z.detach().reshape(n, k * width))  # (N,K*W)
    return ZTable(k, width, rows, first, second, torch.zeros(n, dtype=torch.int64))


def no_table(n: int, k: int, width: int) -> ZTable:
    """A table of n rows that takes no memory: for training that makes every block of its text, and moves none."""
    rows = torch.zeros(1, 1).expand(n, k * width)
    return ZTable(k, width, rows, rows[:0], rows[:0], torch.zeros(0, dtype=torch.int64))


def _zeros(n: int, width: int, folder: Path | None, name: str) -> Tensor:
    """Zeros (n,width), in memory or in the file NAME.bin, of which only what is used is read."""
    if folder is None:
        return torch.zeros(n, width)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.bin").unlink(missing_ok=True)
    return torch.from_file(str(folder / f"{name}.bin"), shared=True, size=n * width).view(n, width)


@torch.no_grad()
def move_rows(table: ZTable, index: Tensor, gradient: Tensor, lr: float) -> None:
    """One step of Adam on the rows index (U,), all different, by their gradient (U,K*W); in place, no other row.

    A row whose gradient is zero stays as it is, its moments and its count too: old momentum alone moves nothing.
    """
    due = gradient.ne(0).any(1).cpu()  # (U,)
    index, gradient = index[due], gradient.float().cpu()[due]
    moves = table.moves[index] + 1
    first = table.first[index].lerp_(gradient, 1 - BETAS[0])
    second = table.second[index].lerp_(gradient.square(), 1 - BETAS[1])
    corrected = first / (1 - BETAS[0] ** moves).float()[:, None]
    scale = (second / (1 - BETAS[1] ** moves).float()[:, None]).sqrt_().add_(EPSILON)
    table.moves[index], table.first[index], table.second[index] = moves, first, second
    table.rows[index] -= lr * corrected / scale


def cosine(step: int, steps: int) -> float:
    """The share of the rate at a step: linear warm-up, then a cosine down to LAST."""
    warm_up = max(1, round(steps * WARM_UP))
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return LAST + (1 - LAST) * (1 + math.cos(math.pi * done)) / 2


def shuffle_index(n: int, seed: int) -> Tensor:
    """For each of n rows another row (n,), by one random cycle: the wrong-document control."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other


def unit(vectors: Tensor) -> Tensor:
    """Vectors (...,E) at length one."""
    return nn.functional.normalize(vectors.float(), dim=-1)


def save_z(doc_ids: list[str], z: Tensor, path: Path, keys: Tensor | None = None) -> None:
    """Write blocks z (N,K,W), and keys (N,E) where there are any, with their document ids as safetensors."""
    assert len(doc_ids) == len(z) and z.dtype == torch.float32, (len(doc_ids), z.shape, z.dtype)
    keys = z.new_zeros(len(z), 0) if keys is None else keys
    write_tensors({"z": z, "keys": keys}, path, {"doc_ids": json.dumps(doc_ids)})


def load_z(path: Path) -> tuple[list[str], Tensor, Tensor]:
    """Read what `save_z` wrote: document ids, z (N,K,W) and keys (N,E), E being 0 where there are none."""
    tensors, metadata = read_tensors(path)
    return json.loads(metadata["doc_ids"]), tensors["z"], tensors["keys"]

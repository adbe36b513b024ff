"""The memory itself: a table with one block of K soft tokens per document.

Takes document ids by row, returns blocks `z (B,K,D)` that stand in front of token embeddings. The soft prompt follows
Lester et al. (2104.08691); one block per document, trained with the language model, is this project's own.
Gradients are sparse, so a training step touches only the rows of the documents in its batch.
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from zmem_lib.artifacts import read_tensors, write_tensors


class ZTable(nn.Module):
    """N documents x K soft tokens x D, float32, rows looked up by index."""

    def __init__(self, z: Tensor) -> None:
        """Start from the blocks z (N,K,D)."""
        super().__init__()
        n, self.k, self.d = z.shape
        self.rows = nn.Embedding(n, self.k * self.d, sparse=True)
        self.rows.weight.data = z.detach().float().reshape(n, self.k * self.d).clone()  # (N,K*D)

    def forward(self, index: Tensor) -> Tensor:
        """Blocks z (B,K,D) of the rows index (B,)."""
        return self.rows(index).view(len(index), self.k, self.d)  # (B,K,D)

    def z(self) -> Tensor:
        """A detached copy of the whole table (N,K,D)."""
        return self.rows.weight.detach().clone().view(-1, self.k, self.d)  # (N,K,D)


def random_z(n: int, embeddings: Tensor, *, k: int, seed: int) -> Tensor:
    """Random blocks (n,K,D) as large as the token embeddings (V,D) are: normal with their standard deviation."""
    generator = torch.Generator().manual_seed(seed)
    scale = embeddings.detach().float().std().item()
    return torch.randn(n, k, embeddings.shape[1], generator=generator) * scale


def mean_z(n: int, z: Tensor) -> Tensor:
    """The mean block of z (N,K,D), n times: (n,K,D)."""
    return z.mean(0, keepdim=True).expand(n, -1, -1).clone()


def shuffle_index(n: int, seed: int) -> Tensor:
    """For each of n rows another row (n,), by one random cycle: the wrong-document control."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other


def save_z(doc_ids: list[str], z: Tensor, path: Path) -> None:
    """Write blocks z (N,K,D) with their document ids as safetensors."""
    assert len(doc_ids) == len(z) and z.dtype == torch.float32, (len(doc_ids), z.shape, z.dtype)
    write_tensors({"z": z}, path, {"doc_ids": json.dumps(doc_ids)})


def load_z(path: Path) -> tuple[list[str], Tensor]:
    """Read what `save_z` wrote: document ids and z (N,K,D)."""
    tensors, metadata = read_tensors(path)
    return json.loads(metadata["doc_ids"]), tensors["z"]

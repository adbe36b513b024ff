"""What stands between the memory and the language model: small learned maps that all documents share.

A connector brings z from its own width W to the model's D, as one linear map for all documents (MetaQueries,
2504.06256, joins two frozen worlds so); memory tokens behind a document make the model itself emit a block (ICAE,
2307.06945), or, cheaper, its token embeddings are spread over the slots of a block and summed in each, every place of a
slot through a matrix of its own, or some of them are the block as they are; and one map makes the keys of documents and
the vectors of questions.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zmem_lib.files import BadInput, read_tensors, write_tensors

HEADS_FILE = "heads.safetensors"  # beside their model


class MemoryHeads(nn.Module):
    """The maps that are asked for; those that are not are absent, or do nothing."""

    spread: Tensor  # (), the standard deviation of the embeddings before they learned: the unit of blocks and rates
    kv_mean: Tensor  # (W,), of keys and values; with the next one what a block of kind kv is in units of
    kv_spread: Tensor  # (W,)

    def __init__(
        self, embeddings: Tensor, *, z_tokens: int, z_width: int, key_width: int, start: str = "", places: int = 0
    ) -> None:
        """For a model with these embeddings (V,D); z_width 0: its own, key_width 0: no key.

        `start` is how a text becomes a block, if it does: by `encode` the model reads it, by `pooled` a block is sums
        of the embeddings of so many tokens a slot as there are `places`, by `chosen` the embeddings of some tokens.
        """
        super().__init__()
        d, scale = embeddings.shape[1], embeddings.detach().float().std().item()
        self.z_tokens, self.key_width = z_tokens, key_width
        self.start, self.kv = start, False
        self.reach = 0  # of kind kv: where questions begin, behind the longest text
        self.width = z_width or d  # W of a soft token
        self.register_buffer("spread", torch.tensor(scale))
        if z_width > d:
            raise BadInput(f"memory.z_width {z_width} is more than the model's own width {d}: lower it, or set it to 0")
        self.connector: Any = nn.Linear(self.width, d, bias=False) if z_width else nn.Identity()
        reads = start == "encode"
        self.memory_tokens: Any = nn.Parameter(torch.randn(z_tokens, d) * scale) if reads else None
        self.to_block: Any = nn.Linear(d, self.width) if reads else None
        self.places: Any = nn.Parameter(torch.zeros(places, d, self.width)) if places else None  # (J,D,W)
        self.to_key: Any = nn.Linear(d, key_width) if key_width else None
        if self.to_block is not None:
            nn.init.normal_(self.to_block.weight, std=scale * d**-0.5)  # from normed states to the embeddings' scale

    def hold_kv(self, mean: Tensor, spread: Tensor, *, start: str, reach: int) -> None:
        """Make blocks keys and values, in units of their spread around their mean (W,)."""
        self.kv, self.start, self.reach, self.width = True, start, reach, len(spread)
        self.register_buffer("kv_mean", mean)
        self.register_buffer("kv_spread", spread)

    @property
    def scale(self) -> float:
        """The unit of blocks and rates; keys and values are in units of theirs already."""
        return 1.0 if self.kv else self.spread.item()

    def random_z(self, n: int, seed: int) -> Tensor:
        """Random blocks (n,K,W), normal, as large as the token embeddings."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(n, self.z_tokens, self.width, generator=generator) * self.scale

    @torch.no_grad()
    def align(self, embeddings: Tensor, *, loaded: Collection[str] = ()) -> None:
        """Begin what is not `loaded`: the connector from the first W principal directions of embeddings (V,D).

        They say most of a token; they are as long as keeps the scale, so that coordinates of z are as large as those of
        an embedding. Places begin alike, each as the map to the nearest z, and their sum keeps the scale too.
        """
        if isinstance(self.connector, nn.Linear) and "connector.weight" not in loaded:
            rows = embeddings.float()
            _, directions = torch.linalg.eigh(rows.T @ rows)  # (D,D), the largest last
            d = rows.shape[1]
            self.connector.weight.copy_(directions[:, -self.width :] * (d / self.width) ** 0.5)  # (D,W)
        if self.places is not None and "places" not in loaded:
            nearest = self.nearest_z(torch.eye(self.places.shape[1])[None])  # (1,D,W)
            self.places.copy_(nearest * len(self.places) ** -0.5)

    def nearest_z(self, rows: Tensor) -> Tensor:
        """Blocks (N,K,W) whose soft tokens come nearest to rows (N,K,D), by least squares."""
        if isinstance(self.connector, nn.Identity):
            return rows.clone()
        inverse = torch.linalg.pinv(self.connector.weight.detach().float().cpu())  # (W,D)
        return rows @ inverse.T  # (N,K,W)


def save_heads(heads: MemoryHeads, folder: Path) -> None:
    """Write the heads, where there are any, to the folder of their model."""
    if tensors := heads.state_dict():
        write_tensors(tensors, folder / HEADS_FILE)


def load_heads(heads: MemoryHeads, folder: Path) -> set[str]:
    """Fill the heads with what a folder has of the same name and shape; returns these names."""
    there = read_tensors(folder / HEADS_FILE)[0] if (folder / HEADS_FILE).is_file() else {}
    here = heads.state_dict()
    fitting = {name: there[name] for name in here if name in there and there[name].shape == here[name].shape}
    heads.load_state_dict(fitting, strict=False)
    return set(fitting)

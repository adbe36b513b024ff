"""What stands between the memory and the language model: small learned maps that all documents share.

A connector brings z from its own width W to the model's D, as one linear map for all documents (MetaQueries,
2504.06256, joins two frozen worlds so); memory tokens behind a document make the model itself emit a block and a key
(ICAE, 2307.06945); and a question's vector is matched with the keys.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from zmem_lib.files import read_tensors, write_tensors
from zmem_lib.memory.table import unit
from zmem_lib.params import Params

FILE = "heads.safetensors"


class MemoryHeads(nn.Module):
    """The maps that the parameters ask for; those that they do not are absent, or do nothing."""

    def __init__(self, params: Params, d: int, scale: float) -> None:
        """For a model of width d whose embeddings have the standard deviation `scale`."""
        super().__init__()
        k, e = params.memory.z_tokens, params.memory.key_width
        self.width = params.memory.z_width or d
        self.scale = scale
        self.connector = nn.Linear(self.width, d, bias=False) if params.memory.z_width else nn.Identity()
        self.memory_tokens = nn.Parameter(torch.randn(k + 1, d) * scale) if params.train.encode_share else None
        self.to_block = nn.Linear(d, self.width) if params.train.encode_share else None
        self.to_key = nn.Linear(d, e) if params.train.encode_share and e else None
        self.to_query = nn.Linear(d, e) if e else None
        if params.memory.z_width:
            nn.init.normal_(self.connector.weight, std=self.width**-0.5)  # keeps the scale of what it is given
        if self.to_block is not None:
            nn.init.normal_(self.to_block.weight, std=scale * d**-0.5)  # from normed states to the embeddings' scale

    def soft_tokens(self, z: Tensor) -> Tensor:
        """Soft tokens (B,K,D) of blocks z (B,K,W)."""
        return self.connector(z)

    def block_and_key(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Blocks (B,K,W) and unit keys (B,E) from the model's last states (B,K+1,D) at the memory tokens."""
        z = self.to_block(states[:, :-1])  # (B,K,W)
        if self.to_key is None:
            return z.float(), z.new_zeros(len(z), 0).float()
        return z.float(), unit(self.to_key(states[:, -1]))  # (B,E)


def make_heads(params: Params, embeddings: Tensor) -> MemoryHeads:
    """New heads for a model with these token embeddings (V,D), random by the run's seed."""
    torch.manual_seed(params.seed)
    return MemoryHeads(params, embeddings.shape[1], embeddings.detach().float().std().item()).to(embeddings.device)


def save_heads(heads: MemoryHeads, folder: Path) -> None:
    """Write the heads beside their model."""
    if weights := heads.state_dict():
        write_tensors(weights, folder / FILE)


def load_heads(heads: MemoryHeads, folder: Path) -> list[str]:
    """Fill the heads with what a folder has of the same name and shape; returns the names that stay as they were."""
    tensors = read_tensors(folder / FILE)[0] if (folder / FILE).is_file() else {}
    here = heads.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in here and here[name].shape == tensor.shape}
    heads.load_state_dict(fitting, strict=False)
    return sorted(set(here) - set(fitting))

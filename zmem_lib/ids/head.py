"""What a language model needs to speak in codes: rows for them, and an adapter that is there only while ids are meant.

Codes are no words: each has an embedding and an output row of its own at every level of the tree (tree.py). What the
model itself learns for ids lies in a LoRA adapter (2106.09685) on top of all that it has, its own adapter included.
`id_adapter` puts it there and takes it away again; outside, the model is bit for bit what it was.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from zmem_lib.files import new_folder, read_tensors, write_tensors
from zmem_lib.ids.tree import Id, IdTree
from zmem_lib.memory.lm import LORA, LORA_SCALE, MemoryLM, frozen

ADAPTER = "ids"
RANK = 16  # of the adapter, where the model itself has none
SPARE_LEVELS = 3  # for ids of new documents that are longer than all old ones


class IdHead(nn.Module):
    """Embeddings and output rows (levels,codes,D) of the codes, and the adapter's weights while it is not in use."""

    def __init__(self, codes: Tensor, output: Tensor, rank: int) -> None:
        super().__init__()
        self.codes, self.output, self.rank = nn.Parameter(codes), nn.Parameter(output), rank
        self.adapter: dict[str, Tensor] = {}  # made anew when it is first used

    def level(self, depth: Sequence[int]) -> Tensor:
        """The rows' level for codes at these depths; what lies deeper than the head shares its last level."""
        return torch.tensor(depth, dtype=torch.long, device=self.codes.device).clamp(max=len(self.codes) - 1)

    def embed(self, codes: Tensor) -> Tensor:
        """Embeddings (B,L,D) of the first L codes of ids, codes (B,L)."""
        return self.codes[self.level(range(codes.shape[1])), codes]

    def log_p(self, states: Tensor, tree: IdTree, prefixes: Sequence[Id]) -> Tensor:
        """log p (M,C) of the code after each prefix, from the states (M,D) there; -inf for codes not in the tree."""
        allowed = torch.zeros(len(prefixes), self.output.shape[1], dtype=torch.bool)  # (M,C)
        for row, prefix in zip(allowed, prefixes, strict=True):
            row[tree.children[prefix]] = True
        output = self.output[self.level([len(prefix) for prefix in prefixes])]  # (M,C,D)
        logits = torch.einsum("md,mcd->mc", states.float(), output)
        return logits.masked_fill(~allowed.to(logits.device), float("-inf")).log_softmax(1)


def make_id_head(memory_lm: MemoryLM, tree: IdTree, *, rank: int, seed: int) -> IdHead:
    """A new head for the codes of a tree, and for ids a little longer than those; rank 0: RANK."""
    d, scale = memory_lm.embeddings.shape[1], memory_lm.embeddings.detach().float().std().item()
    shape = (2, tree.depth + SPARE_LEVELS, tree.branching + 1, d)
    codes, output = torch.randn(shape, generator=torch.Generator().manual_seed(seed))  # (levels,codes,D) each
    return IdHead(codes * scale, output / d, rank or RANK).to(memory_lm.device)


@contextmanager
def id_adapter(memory_lm: MemoryLM, head: IdHead, *, learns: bool) -> Iterator[list[nn.Parameter]]:
    """The head's adapter on top of the model while this lasts, all else frozen; yields the adapter's weights."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an optional package when peft imports it
    from peft import LoraConfig, get_peft_model

    lm, config = memory_lm.lm, LoraConfig(r=head.rank, lora_alpha=LORA_SCALE * head.rank, **LORA)
    own = lm.active_adapter if memory_lm.adapted else None
    with frozen(memory_lm):
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft asks transformers by an old name
            if own:
                lm.add_adapter(ADAPTER, config)
                lm.base_model.set_adapter([own, ADAPTER])
            else:
                wrapped = get_peft_model(lm, config, adapter_name=ADAPTER)
        weights = {name: weight for name, weight in memory_lm.causal.named_parameters() if f".{ADAPTER}." in name}
        lm.requires_grad_(False)
        for name, weight in weights.items():
            weight.requires_grad_(learns)
            if head.adapter:
                weight.data.copy_(head.adapter[name])
        try:
            yield list(weights.values())
        finally:
            head.adapter = {name: weight.detach().clone() for name, weight in weights.items()}
            if own:
                lm.delete_adapter(ADAPTER)
                lm.set_adapter(own)
            else:
                wrapped.unload()
            lm.requires_grad_(False)


def save_id_head(head: IdHead, folder: Path) -> None:
    """Write `head.safetensors` and `adapter.safetensors` to a folder of their own."""
    with new_folder(folder) as new:
        write_tensors(head.state_dict(), new / "head.safetensors", {"rank": str(head.rank)})
        write_tensors(head.adapter, new / "adapter.safetensors")


def load_id_head(memory_lm: MemoryLM, folder: Path) -> IdHead:
    """Read what `save_id_head` wrote, for the model that it was trained with."""
    tensors, metadata = read_tensors(folder / "head.safetensors")
    head = IdHead(tensors["codes"], tensors["output"], int(metadata["rank"])).to(memory_lm.device)
    head.adapter = read_tensors(folder / "adapter.safetensors")[0]
    return head

"""Checkpoints of a training run: model, z, optimisers and log, as safetensors and JSON in one folder.

The folder is written beside the old one and swapped in, so there is always one whole checkpoint.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zmem_lib.files import new_folder, read_json, read_tensors, restore, write_json, write_tensors


def save_checkpoint(
    folder: Path,
    modules: Sequence[nn.Module],
    optimisers: Sequence[torch.optim.Optimizer],
    tensors: Mapping[str, Tensor],
    *,
    state: dict[str, Any],
) -> None:
    """Write the learned weights of the modules, the optimisers' moments, other tensors, and a JSON state."""
    with new_folder(folder) as new:
        for i, module in enumerate(modules):
            if weights := dict(learned(module)):  # a file without tensors cannot be read again
                write_tensors(weights, new / f"module_{i}.safetensors")
        for i, optimiser in enumerate(optimisers):
            write_tensors(moments(optimiser), new / f"optimiser_{i}.safetensors")
        write_tensors(tensors, new / "tensors.safetensors")
        write_json(state, new / "state.json")


def load_checkpoint(
    folder: Path,
    modules: Sequence[nn.Module],
    optimisers: Sequence[torch.optim.Optimizer],
    tensors: Mapping[str, Tensor],
    *,
    made_with: str,
) -> dict[str, Any] | None:
    """Restore a checkpoint in place and return its state; None where there is none whose `made_with` is this one."""
    restore(folder)
    if not folder.exists():
        return None
    state = read_json(folder / "state.json")
    if state["made_with"] != made_with:
        return None
    for i, module in enumerate(modules):
        weights = read_tensors(folder / f"module_{i}.safetensors")[0] if learned(module) else {}
        for name, weight in learned(module):
            weight.data.copy_(weights[name])
    kept, _ = read_tensors(folder / "tensors.safetensors")
    for name, tensor in tensors.items():
        tensor.copy_(kept[name])
    for i, optimiser in enumerate(optimisers):
        set_moments(optimiser, read_tensors(folder / f"optimiser_{i}.safetensors")[0])
    return state


def learned(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters of a module that learn, by name; a tied weight once."""
    return [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]


def moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as named tensors; plain numbers become tensors."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{key}": torch.as_tensor(value) for i, slot in state.items() for key, value in slot.items()}


def set_moments(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser the state that `moments` took from it."""
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        i, key = name.split(".", 1)
        state.setdefault(int(i), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})

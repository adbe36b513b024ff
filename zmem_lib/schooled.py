"""What the packaged model has learned in a schooling, small enough to come with the project: `lm.adapter: packaged`.

An adapter of runs/NAME/lm is packed (`pack`) into bytes: each row of a matrix as whole numbers from -127 to 127 times a
number of its own (absmax quantisation as in LLM.int8, 2208.07339); vectors stay as they are. `find_schooled` unpacks it
once, into the cache of converted models, to a folder that reads like any other adapter's.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from zmem_lib.files import BadInput, hash_path, held, new_folder, read_tensors, write_tensors
from zmem_lib.packaged import cache_folder, elsewhere

if TYPE_CHECKING:
    from torch import Tensor

SCHOOLED = Path(__file__).with_name("packaged_adapter")  # the packed one that comes with the project
WEIGHTS = "weights.safetensors"
FILES = ("adapter_model.safetensors", "heads.safetensors")  # of an adapter's folder: tensors
KEPT = ("adapter_config.json", "README.md")  # of it too: as they are
UNIT = ".unit"  # behind the name of a matrix: what its rows count in


def pack(folder: Path, into: Path) -> None:
    """Pack the adapter in a folder, as a run leaves it."""
    packed = {}
    for file in FILES:
        tensors = read_tensors(folder / file)[0] if (folder / file).is_file() else {}
        for name, tensor in tensors.items():
            packed |= packed_tensor(f"{file}/{name}", tensor)
    with new_folder(into) as new:
        write_tensors(packed, new / WEIGHTS)
        for file in KEPT:
            shutil.copy(folder / file, new / file)


def packed_tensor(name: str, tensor: "Tensor") -> dict[str, "Tensor"]:
    """A tensor as it is packed; a row is what the last dimension holds."""
    import torch

    if tensor.dim() < 2:
        return {name: tensor}
    unit = tensor.float().abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / 127  # (...,1)
    return {name: (tensor.float() / unit).round().to(torch.int8), name + UNIT: unit}


def find_schooled() -> Path:
    """The folder of the adapter that comes with the project, unpacked on first use; who needs it meanwhile waits."""
    if not (SCHOOLED / WEIGHTS).is_file():
        raise BadInput(
            "lm.adapter packaged: this copy of the project comes without its adapter: give the folder that "
            "zmem school leaves (runs/NAME/lm)"
        )
    cache = cache_folder()
    folder = cache / f"schooled-{hash_path(SCHOOLED / WEIGHTS)[:12]}"
    if not folder.is_dir():
        with elsewhere(cache), held(cache, waiting=True):
            if not folder.is_dir():
                unpack(SCHOOLED, folder)
    return folder


def unpack(packed: Path, folder: Path) -> None:
    """Leave in `folder` the adapter that was packed."""
    there = read_tensors(packed / WEIGHTS)[0]
    with new_folder(folder) as new:
        for file in FILES:
            names = [name for name in there if name.startswith(f"{file}/") and not name.endswith(UNIT)]
            tensors = {name.partition("/")[2]: there[name] * there.get(name + UNIT, 1) for name in names}
            if tensors:
                write_tensors(tensors, new / file, {"format": "pt"})
        for file in KEPT:
            shutil.copy(packed / file, new / file)

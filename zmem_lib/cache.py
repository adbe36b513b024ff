"""Pieces of a chapter that take long are kept as they are made, so that a chapter that is killed loses one piece.

A piece is a file of named tensors, marked with what it was made with; a piece of other parameters or other inputs is
made again. The folder is removed when the chapter is finished.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from zmem_lib.chapters import Step
from zmem_lib.files import hash_path, read_tensors, write_tensors
from zmem_lib.params import params_hash


@dataclass(frozen=True)
class Keep:
    """Where the pieces of a chapter lie, and what they are made with."""

    folder: Path
    made_with: str


def start_keep(step: Step, inputs: Iterable[str]) -> Keep:
    """The place for a chapter's pieces, which are valid for its parameters and the present content of its inputs."""
    digest = hashlib.sha256(params_hash(step.params, step.number).encode())
    for name in inputs:
        digest.update(hash_path(step.folder / name).encode())
    return Keep(step.folder / f"under_way_{step.number:02d}", digest.hexdigest()[:16])


def kept(keep: Keep | None, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The piece of that name: read where it was kept, else made and kept; without a `keep`, made."""
    if keep is None:
        return make()
    path = keep.folder / f"{name}.safetensors"
    if path.is_file():
        tensors, metadata = read_tensors(path)
        if metadata.get("made_with") == keep.made_with:
            return tensors
    tensors = make()
    write_tensors(tensors, path, {"made_with": keep.made_with})
    return tensors


def drop_keep(keep: Keep) -> None:
    """Remove the pieces of a chapter that is finished."""
    shutil.rmtree(keep.folder, ignore_errors=True)

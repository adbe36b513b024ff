"""What was made is not made again: one way to keep pieces of work, so that whoever was killed loses one piece.

A piece is a file: named tensors (.safetensors), a table (.parquet) or JSON (.json). Beside the pieces of a cache lie
notes that say what each was made with; a piece of other inputs, parameters or code is made again.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zmem_lib.files import hash_path, read_json, read_tensors, write_atomic, write_json, write_tensors


@dataclass(frozen=True)
class Cache:
    """Where the pieces and their notes lie, and what they are made with."""

    folder: Path
    made_with: str


def open_cache(folder: Path, *made_with: object, files: Iterable[Path] = ()) -> Cache:
    """A cache whose pieces are valid for these values, as text, and for the present content of these files."""
    digest = hashlib.sha256("\n".join(map(str, [*made_with, *map(hash_path, files)])).encode())
    return Cache(folder, digest.hexdigest()[:16])


def inside(cache: Cache | None, name: str) -> Cache | None:
    """A cache of the same validity in a folder of its own inside; None for none."""
    return cache and Cache(cache.folder / name, cache.made_with)


def remembered(cache: Cache | None, piece: str | Path, make: Callable[[], Any]) -> Any:
    """What `make` returns: read from the file `piece`, whose kind its name tells, or made and kept there.

    A relative path lies in the cache's folder; an absolute one stays when the cache is dropped. Without a cache: made.
    """
    if cache is None:
        return make()
    path = cache.folder / piece
    note = cache.folder / f"{path.name}.made_with"
    if path.is_file() and note.is_file() and note.read_text(encoding="utf-8") == cache.made_with:
        if path.suffix == ".parquet":
            import pandas as pd

            return pd.read_parquet(path)
        return read_tensors(path)[0] if path.suffix == ".safetensors" else read_json(path)
    note.unlink(missing_ok=True)  # first, so that a note never stands beside a piece that it does not speak of
    made = make()
    if path.suffix == ".parquet":
        write_atomic(path, lambda temporary: made.to_parquet(temporary, index=False))
    else:
        (write_tensors if path.suffix == ".safetensors" else write_json)(made, path)
    write_atomic(note, lambda temporary: Path(temporary).write_text(cache.made_with, encoding="utf-8"))
    return made


def drop_cache(cache: Cache | None) -> None:
    """Remove pieces and notes when what they were made for is finished."""
    if cache is not None:
        shutil.rmtree(cache.folder, ignore_errors=True)

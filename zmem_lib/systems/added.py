"""The documents that a finished run has now: those of its chapters, without the deleted ones, and those added since.

Takes a run's folder, returns documents with block and key. What came after the chapters lies in `added/`: documents
with block and key in one file, so that one rename brings text and memory together or not at all, and the ids of the
run's own documents that were deleted. An added document hides the run's own of the same id. upkeep.py changes these.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zmem_lib.files import BadInput, read_json, write_atomic
from zmem_lib.memory.table import load_z
from zmem_lib.opponents.index import build_index, vectors_of
from zmem_lib.opponents.retrieve import DenseIndex, build_dense
from zmem_lib.params import Params
from zmem_lib.tables import check, read_table
from zmem_lib.text import passages

ADDED = "added"
Memory = tuple[pd.DataFrame, Tensor, Tensor]  # docs; row i of z (N,K,W) and keys (N,E) belongs to the i-th of them


def current_memory(folder: Path, params: Params) -> Memory:
    """The documents that a run has now, with z and keys: its own without the deleted ones, then the added ones."""
    own, added = own_memory(folder), added_memory(folder, params)
    gone = {*deleted_ids(folder), *(added[0].doc_id if added else ())}
    kept = rows_of(own, ~own[0].doc_id.isin(gone))
    return joined([kept, added]) if added else kept


def own_memory(folder: Path) -> Memory:
    """The documents of the run's chapters, seen before new, with z and keys."""
    docs = read_table(folder / "docs.parquet", "docs")
    ids, z, keys = zip(*(load_z(folder / f"z_{part}.safetensors") for part in ("seen", "new")), strict=True)
    docs = docs.set_index("doc_id").loc[[*ids[0], *ids[1]]].reset_index()
    return docs, torch.cat(z), torch.cat(keys)  # (N,K,W), (N,E)


def added_memory(folder: Path, params: Params) -> Memory | None:
    """The documents that were added, in the order of arrival, or None; raises BadInput if the model is another now."""
    path = folder / ADDED / "documents.parquet"
    if not path.is_file():
        return None
    frame = pd.read_parquet(path)
    if set(frame.made_with) - {made_with(folder)}:
        raise BadInput(
            f"the documents in {path} were written with an earlier model of this run: remove {path.parent} and add "
            "them again (zmem add)"
        )
    z = torch.from_numpy(np.stack(frame.z).astype(np.float32))  # (N,K*W)
    keys = torch.from_numpy(np.stack(frame.key).astype(np.float32))  # (N,E)
    return check(frame, "docs"), z.view(len(z), params.memory.z_tokens, -1), keys  # (N,K,W)


def save_added(folder: Path, memory: Memory) -> None:
    """Write the added documents and their memory as one file, or remove it where there are none."""
    docs, z, keys = memory
    path = folder / ADDED / "documents.parquet"
    if not len(docs):
        path.unlink(missing_ok=True)
        return
    rows = {"z": list(z.flatten(1).numpy()), "key": list(keys.numpy())}  # (K*W,) and (E,) of each document
    frame = docs.assign(made_with=made_with(folder), **rows)
    write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))


def deleted_ids(folder: Path) -> list[str]:
    """The run's own documents that were deleted."""
    path = folder / ADDED / "deleted.json"
    return read_json(path) if path.is_file() else []


def current_dense(index: DenseIndex, encoder: Any, *, before: pd.DataFrame, docs: pd.DataFrame) -> DenseIndex:
    """The dense index over `docs`: a passage that stands in `before`, which was indexed, keeps its vector."""
    known = dict(zip(before.doc_id, passages(before), strict=True))
    place = {doc_id: row for row, doc_id in enumerate(index.doc_ids)}
    doc_ids, texts = list(docs.doc_id), passages(docs)
    fresh = [i for i, (doc_id, text) in enumerate(zip(doc_ids, texts, strict=True)) if known.get(doc_id) != text]
    vectors = vectors_of(index.flat)[[place.get(doc_id, 0) for doc_id in doc_ids]]  # (N,E)
    if fresh:
        encoded = build_dense(encoder, [doc_ids[i] for i in fresh], [texts[i] for i in fresh])
        vectors[fresh] = vectors_of(encoded.flat)
    return DenseIndex(doc_ids, build_index(vectors))


def made_with(folder: Path) -> str:
    """The hash of the model that the run's blocks belong to, as chapter 03 noted it."""
    return read_json(folder / "manifest_03.json")["outputs"]["lm"]


def rows_of(memory: Memory, chosen: pd.Series) -> Memory:
    """The documents where `chosen` (N,) is true, with their rows."""
    docs, z, keys = memory
    index = torch.from_numpy(np.flatnonzero(chosen))
    return docs[chosen].reset_index(drop=True), z[index], keys[index]  # (M,K,W), (M,E)


def joined(memories: Sequence[Memory]) -> Memory:
    """All documents and their rows, one memory after the other."""
    docs, z, keys = zip(*memories, strict=True)
    return pd.concat(docs, ignore_index=True), torch.cat(z), torch.cat(keys)  # (N,K,W), (N,E)

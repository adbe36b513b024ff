"""What systems work with: a run's documents with block and key, its language model, the indexes over its passages.

Rows stand in one order everywhere: seen, new, then added since. What is slow to load is loaded when it is first used.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from zmem_lib.cache import Cache
from zmem_lib.files import read_json
from zmem_lib.ids import tree as id_trees
from zmem_lib.ids.search import NEW
from zmem_lib.memory.lm import load_memory_lm
from zmem_lib.opponents.bm25 import BM25Index, build_bm25, load_bm25, settings_of
from zmem_lib.opponents.dense import DenseIndex, load_cross_encoder, load_dense, load_encoder, updated_dense
from zmem_lib.opponents.tuned import asked_passages
from zmem_lib.params import Params
from zmem_lib.tables import read_table
from zmem_lib.text import passages

ADDED = "added"  # folder of what came after the chapters


@dataclass
class Holdings:
    """The documents of a run and all that systems work with."""

    folder: Path
    params: Params
    docs: pd.DataFrame
    z: Tensor  # (N,K,W); row i belongs to the i-th of docs; empty in a run without a language model
    keys: Tensor  # (N,E)
    cache: Cache | None = None  # where finished pieces of a chapter lie
    altered: bool = False  # documents came or went after the chapters: what these indexed does not hold any more
    loaded: dict[str, Any] = field(default_factory=dict, repr=False)

    def once(self, name: str, load: Callable[[], Any]) -> Any:
        """What `load` returned when it was first called under this name."""
        if name not in self.loaded:
            self.loaded[name] = load()
        return self.loaded[name]

    def load(self) -> None:
        """Load what many systems share, so that it counts as the time of none."""
        _ = self.memory_lm, self.bm25(), self.dense(), self.encoder()

    @property
    def memory_lm(self) -> Any:
        """The language model; None in a run without one."""
        reader = self.params.lm.adapter if self.params.answer.reader == "schooled" else ""
        load = partial(load_memory_lm, self.folder / "lm", self.params, reader)
        return self.once("lm", load if self.params.has_lm else lambda: None)

    def encoder(self, name: str = "dense") -> Any:
        """The sentence encoder as it came, or the tuned one: `dense_tuned`."""
        model = self.params.answer.dense_model if name == "dense" else str(self.folder / name)
        return self.once(f"encoder {name}", lambda: load_encoder(model, self.params.machine.device))

    @property
    def cross_encoder(self) -> Any:
        """The cross-encoder of `answer.rerank_model`, on the device of the others."""
        name, device = self.params.answer.rerank_model, str((self.memory_lm or self.encoder()).device)
        return self.once(f"reranker {name}", lambda: load_cross_encoder(name, device))

    def bm25(self, name: str = "bm25") -> BM25Index:
        """The index of BM25 over the passages; `bm25_asked`: with their training questions."""

        def load() -> BM25Index:
            if not self.altered:
                return load_bm25(self.folder / name)
            texts = passages(self.docs)
            if name == "bm25_asked":
                texts = asked_passages(self.docs, read_table(self.folder / "questions.parquet", "questions"))
            return build_bm25(list(self.docs["doc_id"]), texts, **settings_of(self.folder / name))

        return self.once(name, load)

    def dense(self, name: str = "dense") -> DenseIndex:
        """The index of the passages' vectors by the encoder of this name."""

        def load() -> DenseIndex:
            index = load_dense(self.folder / f"{name}.faiss")
            if not self.altered:
                return index
            before = replace(self, docs=read_table(self.folder / "docs.parquet", "docs"))
            return updated_dense(index, self.encoder(name), before=before.text_of, now=self.text_of)

        return self.once(name, load)

    @property
    def tree(self) -> id_trees.IdTree:
        """The tree of the generated ids of just these documents: ids that are kept stay, missing ones are given."""
        folder = self.kept_tree if self.altered and self.kept_tree.is_dir() else self.folder / NEW
        return self.once("tree", lambda: fitted(id_trees.load_tree(folder), self.docs, self.keys))

    @property
    def kept_tree(self) -> Path:
        """Where the tree lies since documents came or went; that of an earlier model is another."""
        return self.folder / ADDED / f"ids_{model_hash(self.folder)}"

    @property
    def row_of(self) -> dict[str, int]:
        """The row of z of each document."""
        return {doc_id: row for row, doc_id in enumerate(self.docs["doc_id"])}

    @property
    def text_of(self) -> dict[str, str]:
        """Title and text of each document."""
        return dict(zip(self.docs["doc_id"], passages(self.docs), strict=True))


def model_hash(folder: Path) -> str:
    """The hash of the model that the run's blocks belong to, as chapter 03 noted it."""
    return read_json(folder / "manifest_03.json")["outputs"]["lm"]


def fitted(tree: id_trees.IdTree, docs: pd.DataFrame, keys: Tensor) -> id_trees.IdTree:
    """The tree without the documents that are not in docs, and with those that it lacks, by their keys (N,E)."""
    lacking = (~docs["doc_id"].isin(tree.ids)).to_numpy()
    tree = id_trees.delete_documents(tree, set(tree.ids) - set(docs["doc_id"]))
    return id_trees.add_documents(tree, list(docs["doc_id"][lacking]), keys.numpy()[lacking])

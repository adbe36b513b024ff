"""Semantic ids of documents: paths through a tree of clusters, which a language model can generate code by code.

Takes document ids and their unit vectors (N,E), returns a tree. The ids are DSI's "semantically structured
identifiers" (2202.06991, section 3.2): k-means over the vectors, again within every cluster that is too large, and a
number within each last cluster, the leaf; here one bound, `branching`, holds for both. A new document changes no old id
(DSI++, 2212.09744): it walks down to the nearest centroid and takes the leaf's next number. A full leaf opens one child
more, with clusters of its own, the first documents that come there as their centroids. No id begins another one, so an
id is whole as soon as it is a document's, without an end code.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from zmem_lib.files import BadInput, must_exist, new_folder, read_json, write_json

Id = tuple[int, ...]
DECIMALS = 6  # of a squared distance: below the noise of float32, so that equal centroids are equal


@dataclass(frozen=True)
class IdTree:
    """All ids, and what it takes to give new ones."""

    branching: int  # children of a node, beside the one that a full leaf opens: codes are 0 .. branching
    ids: dict[str, Id]  # of every document, in the order of arrival
    placed: dict[Id, int]  # documents ever placed below a node, deleted ones too: a leaf's next number
    centroids: dict[Id, np.ndarray]  # (C,E) of every node that is no leaf, one row per child

    @property
    def depth(self) -> int:
        """The length of the longest id."""
        return max(map(len, self.ids.values()), default=0)

    @cached_property
    def children(self) -> dict[Id, list[int]]:
        """What can follow every beginning of an id, in ascending order."""
        children: dict[Id, set[int]] = defaultdict(set)
        for path in self.ids.values():
            for level, code in enumerate(path):
                children[path[:level]].add(code)
        return {prefix: sorted(codes) for prefix, codes in children.items()}

    @cached_property
    def documents(self) -> dict[Id, str]:
        """The document of every id."""
        return {path: doc_id for doc_id, path in self.ids.items()}


def build_tree(doc_ids: Sequence[str], vectors: np.ndarray, *, branching: int, seed: int) -> IdTree:
    """Ids for documents with these unit vectors (N,E), by hierarchical k-means."""
    assert len(set(doc_ids)) == len(doc_ids) == len(vectors), (len(set(doc_ids)), len(doc_ids), vectors.shape)
    if branching < 2:
        raise BadInput(f"train.id_branching is {branching}, but a node of ids needs two children: set it to 2 or more")
    vectors = np.asarray(vectors, dtype=np.float32)
    ids, placed, centroids = {}, {}, {}
    waiting: list[tuple[Id, np.ndarray]] = [((), np.arange(len(doc_ids)))]
    while waiting:
        prefix, rows = waiting.pop()
        placed[prefix] = len(rows)
        if len(rows) <= branching:
            ids |= {doc_ids[row]: (*prefix, number) for number, row in enumerate(rows)}
            continue
        centroids[prefix], groups = split(vectors[rows], branching, seed)
        waiting += [((*prefix, code), rows[group]) for code, group in enumerate(groups)]
    return IdTree(branching, {doc_id: ids[doc_id] for doc_id in doc_ids}, placed, centroids)


def split(vectors: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Between two and `most` clusters of vectors (N,E): their centroids (C,E), and the row numbers of each."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    kmeans = KMeans(most, n_init=1, random_state=seed)  # pyright: ignore[reportArgumentType]
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # too few different vectors
        labels = kmeans.fit_predict(vectors)  # (N,)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if len(groups) == 1:  # equal vectors, which nothing can tell apart: as many to each
        groups = np.array_split(np.arange(len(vectors)), most)
    return np.stack([vectors[group].mean(0) for group in groups]), groups  # (C,E)


def add_documents(tree: IdTree, doc_ids: Sequence[str], vectors: np.ndarray) -> IdTree:
    """The tree with new documents of these unit vectors (N,E); the ids of all others are as they were."""
    assert len(doc_ids) == len(vectors) and not set(doc_ids) & set(tree.ids), "a document has one id"
    tree = replace(tree, ids=dict(tree.ids), placed=dict(tree.placed), centroids=dict(tree.centroids))
    for doc_id, vector in zip(doc_ids, np.asarray(vectors, dtype=np.float32), strict=True):
        tree.ids[doc_id] = _place(tree, vector)
    return tree


def _place(tree: IdTree, vector: np.ndarray) -> Id:
    """Walk a vector (E,) down the tree, count it in at every node, and return its id; changes the tree given."""
    prefix: Id = ()
    while True:
        before = tree.placed.get(prefix, 0)
        tree.placed[prefix] = before + 1
        if prefix not in tree.centroids:
            if before < tree.branching:
                return (*prefix, before)
            prefix = (*prefix, tree.branching)
            tree.centroids.setdefault(prefix, vector[None][:0])  # (0,E)
            continue
        centroids = tree.centroids[prefix]  # (C,E)
        if prefix[-1:] == (tree.branching,) and len(centroids) < tree.branching:  # what a full leaf opened fills up
            tree.centroids[prefix] = np.concatenate([centroids, vector[None]])  # (C+1,E)
            prefix = (*prefix, len(centroids))
        else:  # the nearest child, of equally near ones the emptiest
            distances = np.square(centroids - vector).sum(1).round(DECIMALS)  # (C,)
            below = [tree.placed.get((*prefix, code), 0) for code in range(len(centroids))]
            prefix = (*prefix, int(np.lexsort((below, distances))[0]))


def delete_documents(tree: IdTree, doc_ids: Iterable[str]) -> IdTree:
    """The tree without these documents; their ids stay unused, so that no other document is ever found by them."""
    gone = set(doc_ids)
    if unknown := gone - set(tree.ids):
        raise BadInput(f"document {min(unknown)!r} has no generated id: give the id of a document of this run")
    return replace(tree, ids={doc_id: path for doc_id, path in tree.ids.items() if doc_id not in gone})


def save_tree(tree: IdTree, folder: Path) -> None:
    """Write `tree.json` and `centroids.safetensors` to a folder of their own; an id is written as 3.0.12."""
    ids = {doc_id: _text(path) for doc_id, path in tree.ids.items()}
    placed = {_text(prefix): number for prefix, number in tree.placed.items()}
    centroids = {_text(prefix): rows for prefix, rows in tree.centroids.items()}
    with new_folder(folder) as new:
        write_json({"branching": tree.branching, "ids": ids, "placed": placed}, new / "tree.json")
        save_file(centroids, str(new / "centroids.safetensors"))


def load_tree(folder: Path) -> IdTree:
    """Read what `save_tree` wrote."""
    read = read_json(folder / "tree.json")
    ids = {doc_id: _path(text) for doc_id, text in read["ids"].items()}
    placed = {_path(text): number for text, number in read["placed"].items()}
    centroids = load_file(str(must_exist(folder / "centroids.safetensors")))
    return IdTree(read["branching"], ids, placed, {_path(text): rows for text, rows in centroids.items()})


def _text(path: Id) -> str:
    return ".".join(map(str, path))


def _path(text: str) -> Id:
    return tuple(int(code) for code in text.split(".") if code)

"""Nearest vectors by inner product: the one module that knows faiss (Johnson et al., 1702.08734).

Takes vectors (N,E) float32, returns row numbers and scores. Up to FLAT_MOST rows every one is compared; up to HNSW_MOST
a graph of neighbours is walked (Malkov and Yashunin, 1603.09320); beyond, vectors lie in cells and are shortened by
product quantisation (Jégou et al., 2011). Scores are rounded, and equal ones come in row order, on every machine.
"""

from pathlib import Path
from typing import Any

import faiss
import numpy as np

DECIMALS = 6  # below the noise of summing float32 products in another order
FLAT_MOST, HNSW_MOST = 100_000, 1_000_000  # rows
NEIGHBOURS, WALKED_BUILDING, WALKED_ASKING = 32, 100, 256  # of the graph: per row; kept in mind on a walk
CELL_ROWS, PROBED = 64, 64  # rows of a cell, about, by which its middle is learned; cells that are looked at
CODE_SHARE = 4  # numbers of a vector that become one byte


def build_index(vectors: np.ndarray) -> faiss.Index:
    """The index over the rows of vectors (N,E) that fits their number."""
    build = build_flat if len(vectors) <= FLAT_MOST else build_hnsw if len(vectors) <= HNSW_MOST else build_ivf_pq
    return build(vectors)


def build_flat(vectors: np.ndarray) -> faiss.Index:
    """An exact index over the rows of vectors (N,E)."""
    return _filled(_empty("Flat", vectors), vectors)


def build_hnsw(vectors: np.ndarray) -> faiss.Index:
    """A graph of neighbours over the rows of vectors (N,E); built by one thread, else it would differ every time."""
    graph = _empty(f"HNSW{NEIGHBOURS},Flat", vectors)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = WALKED_BUILDING, WALKED_ASKING
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return _filled(graph, vectors)
    finally:
        faiss.omp_set_num_threads(threads)


def build_ivf_pq(vectors: np.ndarray) -> faiss.Index:
    """Cells of shortened vectors over the rows of vectors (N,E); cells and codes are learned from the same rows."""
    n, width = vectors.shape
    cells = max(1, min(round(4 * n**0.5), n // CELL_ROWS))
    codes = max(size for size in range(1, max(width // CODE_SHARE, 1) + 1) if width % size == 0)  # bytes of a row
    index = _empty(f"IVF{cells},PQ{codes}", vectors)
    index.cp.max_points_per_centroid = CELL_ROWS
    index.nprobe = PROBED
    index.train(np.ascontiguousarray(vectors, dtype=np.float32))
    return _filled(index, vectors)


def search(index: faiss.Index, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """The best rows (Q,depth) and their scores for queries (Q,E); all N rows if depth is larger than N.

    An index that does not compare all rows may find fewer: the rest of a line are rows -1 with score -inf.
    """
    assert queries.ndim == 2 and queries.shape[1] == index.d, f"queries must be (Q,{index.d}), not {queries.shape}"
    margin = min(2 * depth, index.ntotal)  # rows with equal scores may lie on both sides of the cut
    scores, rows = index.search(np.ascontiguousarray(queries, dtype=np.float32), margin)  # (Q,margin) each
    scores = np.where(rows < 0, -np.inf, scores).round(DECIMALS)
    order = np.lexsort((rows, -scores))[:, :depth]  # (Q,depth): by score, then by row
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)  # (Q,depth) each


def vectors_of(index: faiss.Index) -> np.ndarray:
    """The vectors (N,E) that the index holds; of shortened ones, what is left of them."""
    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()
    return index.reconstruct_n(0, index.ntotal)


def write_index(index: faiss.Index, path: str) -> None:
    """Write the index in faiss's own format."""
    Path(path).write_bytes(faiss.serialize_index(index).tobytes())  # faiss's own says nothing of a disk that fills up


def read_index(path: str) -> faiss.Index:
    """Read what write_index wrote."""
    return faiss.read_index(path)


def _empty(kind: str, vectors: np.ndarray) -> Any:
    assert vectors.ndim == 2 and len(vectors), f"vectors must be (N,E) with N > 0, not {vectors.shape}"
    return faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)


def _filled(index: faiss.Index, vectors: np.ndarray) -> faiss.Index:
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index

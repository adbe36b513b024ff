"""A flat inner-product index over unit vectors: the one module that knows faiss (Johnson et al., 1702.08734).

Takes vectors (N,E) float32, returns row numbers and scores; who the rows are is the caller's business. Scores are
rounded, and equal scores come in row order, so that the same passages rank the same way on every machine.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import faiss

DECIMALS = 6  # below the noise of summing float32 products in another order


def build_flat(vectors: np.ndarray) -> "faiss.IndexFlatIP":
    """An exact index over the rows of vectors (N,E)."""
    import faiss

    assert vectors.ndim == 2 and len(vectors), f"vectors must be (N,E) with N > 0, not {vectors.shape}"
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return flat


def search_flat(flat: "faiss.IndexFlatIP", queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """The best rows (Q,depth) and their scores for queries (Q,E); all N rows if depth is larger than N."""
    assert queries.ndim == 2 and queries.shape[1] == flat.d, f"queries must be (Q,{flat.d}), not {queries.shape}"
    margin = min(2 * depth, flat.ntotal)  # rows with equal scores may lie on both sides of the cut
    scores, rows = flat.search(np.ascontiguousarray(queries, dtype=np.float32), margin)  # (Q,margin) each
    scores = scores.round(DECIMALS)
    order = np.lexsort((rows, -scores))[:, :depth]  # (Q,depth): by score, then by row
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)  # (Q,depth) each


def vectors_of(flat: "faiss.IndexFlatIP") -> np.ndarray:
    """The vectors (N,E) that the index holds."""
    return flat.reconstruct_n(0, flat.ntotal)


def write_flat(flat: "faiss.IndexFlatIP", path: str) -> None:
    """Write the index in faiss's own format."""
    import faiss

    Path(path).write_bytes(faiss.serialize_index(flat))  # faiss's own writing says nothing of a disk that fills up


def read_flat(path: str) -> "faiss.IndexFlatIP":
    """Read what write_flat wrote."""
    import faiss

    return faiss.read_index(path)

"""The two text retrievers that z-memory is held against, side by side: BM25 and dense, over the same passages.

Both take document ids with passages, and questions; both return, for every question, the ids of the best `depth`
documents and their scores (higher is better), equal scores in the corpus's order. How is said in bm25.py and dense.py.
"""

from zmem_lib.opponents.bm25 import BM25Index, Ranking, build_bm25, load_bm25, rank_bm25, save_bm25, split_terms
from zmem_lib.opponents.dense import (
    PACKAGED,
    DenseIndex,
    build_dense,
    encodings_folder,
    load_cross_encoder,
    load_dense,
    load_encoder,
    rank_dense,
    save_dense,
)

__all__ = [
    "PACKAGED", "BM25Index", "DenseIndex", "Ranking", "build_bm25", "build_dense", "encodings_folder", "load_bm25",
    "load_cross_encoder", "load_dense", "load_encoder", "rank_bm25", "rank_dense", "save_bm25", "save_dense",
    "split_terms",
]  # fmt: skip

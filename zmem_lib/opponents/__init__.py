"""Opponents that search: BM25, dense vectors, both together, reranked, and taught."""

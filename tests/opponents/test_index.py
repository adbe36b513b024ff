"""The index by size: what the approximate ones find of what comparing all rows finds, and that they keep."""

import numpy as np
import pytest

from zmem_lib.opponents import index
from zmem_lib.opponents.index import (
    build_flat,
    build_hnsw,
    build_index,
    build_ivf_pq,
    read_index,
    search,
    vectors_of,
    write_index,
)

N, WIDTH, TOP = 10_000, 16, 10  # fewer would be too few to learn codes from


@pytest.fixture(scope="module")
def vectors():
    """Unit vectors in clusters, as passages of some hundred articles are."""
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(300, WIDTH))
    rows = middles[rng.integers(0, len(middles), N)] + 0.5 * rng.normal(size=(N, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def queries(vectors):
    rng = np.random.default_rng(1)
    near = vectors[rng.integers(0, N, 300)] + 0.1 * rng.normal(size=(300, WIDTH)).astype(np.float32)
    return near / np.linalg.norm(near, axis=1, keepdims=True)


def found(exact: np.ndarray, rows: np.ndarray) -> float:
    """Share of the exact rows that are among the rows found."""
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(exact.tolist(), rows.tolist(), strict=True)]))


@pytest.fixture(scope="module")
def built(vectors):
    return {"hnsw": build_hnsw(vectors), "ivf-pq": build_ivf_pq(vectors)}


@pytest.mark.parametrize(("kind", "least"), [("hnsw", 0.98), ("ivf-pq", 0.6)])
def test_an_approximate_index_finds_nearly_what_all_rows_hold(kind, least, built, vectors, queries, tmp_path):
    exact, exact_scores = search(build_flat(vectors), queries, TOP)
    rows, scores = search(built[kind], queries, TOP)
    assert found(exact, rows) >= least, found(exact, rows)
    assert found(exact[:, :1], rows) >= 0.95, "the best row is among the first ten"
    assert np.abs(scores[:, 0] - exact_scores[:, 0]).max() < 0.15
    write_index(built[kind], str(tmp_path / "index.faiss"))
    again = read_index(str(tmp_path / "index.faiss"))
    same = search(again, queries, TOP)
    assert (same[0] == rows).all() and (same[1] == scores).all(), "saving and loading keeps the ranking"
    kept = vectors_of(again)
    assert kept.shape == vectors.shape and (kept * vectors).sum(1).mean() > 0.9


def test_a_graph_is_the_same_every_time_and_says_nothing(vectors, queries, capfd):
    first, second = (search(build_hnsw(vectors[:2000]), queries, TOP) for _ in range(2))
    assert (first[0] == second[0]).all() and (first[1] == second[1]).all()
    assert capfd.readouterr() == ("", ""), "nothing for a chapter to show"


def test_the_index_goes_by_the_number_of_rows(monkeypatch):
    kinds = ("flat", "hnsw", "ivf_pq")
    for kind in kinds:
        monkeypatch.setattr(index, f"build_{kind}", lambda vectors, kind=kind: kind)
    sizes = (index.FLAT_MOST, index.FLAT_MOST + 1, index.HNSW_MOST, index.HNSW_MOST + 1)
    chosen = [build_index(np.broadcast_to(np.float32(0), (size, 4))) for size in sizes]
    assert chosen == ["flat", "hnsw", "hnsw", "ivf_pq"]


def test_rows_that_were_not_found_come_last(built, vectors):
    few = read_index_of(built["ivf-pq"])
    few.nprobe = 1
    rows, scores = search(few, vectors[:5], 2000)
    assert (rows[:, 0] >= 0).all() and (rows[:, -1] == -1).all() and np.isneginf(scores[:, -1]).all()


def read_index_of(one):
    import faiss

    return faiss.clone_index(one)


def test_equal_scores_come_in_row_order_whatever_faiss_does():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)  # (12,3)
    rows, scores = search(build_flat(vectors), np.eye(3, dtype=np.float32)[[1]], 99)
    assert rows.tolist() == [[4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11]]
    assert scores[0, :4].tolist() == [1.0] * 4

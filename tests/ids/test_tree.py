"""Ids from hierarchical k-means: unique, prefix-free, and never changed by what comes later."""

import numpy as np
import pytest

from zmem_lib.files import BadInput
from zmem_lib.ids.tree import add_documents, build_tree, delete_documents, load_tree, save_tree, split

BRANCHING = 4


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def random_units(n, seed=0, e=8):
    return unit(np.random.default_rng(seed).normal(size=(n, e)))


def names(n, letter="d"):
    return [f"{letter}{i}" for i in range(n)]


def tree_of(n, branching=BRANCHING):
    return build_tree(names(n), random_units(n), branching=branching, seed=0)


def check_ids(tree):
    """Every id is of one document, within the codes, counted, and no id is the beginning of another."""
    ids = set(tree.ids.values())
    assert len(ids) == len(tree.ids)
    assert not any(path[:level] in ids for path in ids for level in range(len(path)))
    assert {code for path in ids for code in path} <= set(range(tree.branching + 1))


@pytest.mark.parametrize("n", [1, BRANCHING, BRANCHING + 1, 200])
def test_ids_are_unique_and_none_begins_another(n):
    tree = tree_of(n)
    check_ids(tree)
    assert list(tree.ids) == names(n)
    assert (tree.depth == 1) == (n <= BRANCHING)
    assert all(len(codes) <= BRANCHING for codes in tree.children.values())
    assert all(len(rows) <= BRANCHING for rows in tree.centroids.values())


def test_an_id_leads_down_the_nearest_centroids():
    """Documents of one well-parted group share the beginning of their id, and nobody else has it."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(3), 10)
    vectors = unit(np.eye(3)[groups] + 0.02 * rng.normal(size=(30, 3)))
    tree = build_tree(names(30), vectors, branching=3, seed=0)
    firsts = [{tree.ids[f"d{i}"][0] for i in np.flatnonzero(groups == group)} for group in range(3)]
    assert all(len(first) == 1 for first in firsts) and len(set.union(*firsts)) == 3
    new = add_documents(tree, ["new"], vectors[10:11])
    assert {new.ids["new"][0]} == firsts[1]


@pytest.mark.parametrize("different", [1, 2, 3])
def test_equal_vectors_come_to_an_end(different):
    vectors = random_units(different)[np.arange(300) % different]
    tree = build_tree(names(300), vectors, branching=BRANCHING, seed=0)
    check_ids(tree)
    assert tree.depth <= 6
    more = add_documents(tree, names(300, "n"), vectors)
    check_ids(more)
    assert more.depth <= 14  # equally near children are filled alike, not one to the bottom


def test_clusters_are_those_of_the_vectors():
    vectors = np.float32([[1, 0], [0, 1], [1, 0.01], [0.01, 1]])
    centroids, groups = split(vectors, 2, seed=0)
    assert sorted(map(tuple, groups)) == [(0, 2), (1, 3)]
    for centroid, group in zip(centroids, groups, strict=True):
        np.testing.assert_allclose(centroid, vectors[group].mean(0))


@pytest.mark.parametrize("n", [3, 40, 500])
def test_adding_a_thousand_documents_changes_no_old_id(n):
    tree = tree_of(n)
    old = dict(tree.ids)
    more = add_documents(tree, names(1000, "n"), random_units(1000, seed=1))
    assert tree.ids == old and tree.placed[()] == n  # the tree that was given stays as it was
    assert list(more.ids.items())[:n] == list(old.items()) and len(more.ids) == n + 1000
    check_ids(more)
    assert more.placed[()] == n + 1000


def test_a_full_leaf_opens_a_further_level():
    tree = tree_of(BRANCHING)
    assert sorted(tree.ids.values()) == [(number,) for number in range(BRANCHING)]
    more = add_documents(tree, names(1000, "n"), random_units(1000, seed=1))
    assert {doc_id: more.ids[doc_id] for doc_id in tree.ids} == tree.ids
    assert all(more.ids[doc_id][0] == BRANCHING for doc_id in names(1000, "n"))
    check_ids(more)
    assert more.depth < 30  # a thousand documents in one leaf: far from a chain of leaves


def test_adding_one_by_one_equals_adding_at_once():
    vectors = random_units(30, seed=2)
    tree = one_by_one = tree_of(20)
    for name, vector in zip(names(30, "n"), vectors, strict=True):
        one_by_one = add_documents(one_by_one, [name], vector[None])
    assert add_documents(tree, names(30, "n"), vectors).ids == one_by_one.ids


def test_deleting_touches_nothing_else_and_gives_no_id_again():
    tree = tree_of(50)
    less = delete_documents(tree, ["d7", "d8"])
    assert less.ids == {doc_id: path for doc_id, path in tree.ids.items() if doc_id not in ("d7", "d8")}
    assert tree.ids["d7"] not in less.documents
    again = add_documents(less, ["d7"], random_units(50)[7:8])
    assert again.ids["d7"] not in tree.ids.values()
    check_ids(again)
    with pytest.raises(BadInput, match="'nobody'"):
        delete_documents(tree, ["nobody"])


def test_a_deleted_cluster_cannot_be_entered():
    tree = tree_of(50)
    first = tree.ids["d0"][0]
    less = delete_documents(tree, [doc_id for doc_id, path in tree.ids.items() if path[0] == first])
    assert first in tree.children[()] and first not in less.children[()]
    assert all((*prefix, code) in less.documents or (*prefix, code) in less.children
               for prefix, codes in less.children.items() for code in codes)  # fmt: skip


def test_the_tree_leads_to_every_document_and_to_nothing_else():
    tree = tree_of(60)
    reached, waiting = {}, [()]
    while waiting:
        prefix = waiting.pop()
        if prefix in tree.documents:
            reached[tree.documents[prefix]] = prefix
        else:
            assert tree.children[prefix] == sorted(tree.children[prefix])
            waiting += [(*prefix, code) for code in tree.children[prefix]]
    assert reached == tree.ids


@pytest.mark.parametrize("n", [BRANCHING, 60])
def test_a_saved_tree_goes_on_as_if_it_had_not_been(n, tmp_path):
    tree = add_documents(tree_of(n), ['ü "x"'], random_units(1, seed=3))
    save_tree(tree, tmp_path / "ids")
    loaded = load_tree(tmp_path / "ids")
    assert (loaded.branching, loaded.ids, loaded.placed) == (tree.branching, tree.ids, tree.placed)
    assert list(loaded.ids) == list(tree.ids)
    new = random_units(50, seed=4)
    assert add_documents(loaded, names(50, "n"), new).ids == add_documents(tree, names(50, "n"), new).ids
    assert {path.name for path in (tmp_path / "ids").iterdir()} == {"tree.json", "centroids.safetensors"}


def test_one_child_is_no_tree():
    with pytest.raises(BadInput, match="id_branching is 1"):
        tree_of(3, branching=1)

"""The ids of a run's documents: made from the encoder's keys, learned by the model, and given to new documents.

What a run keeps in `ids/`: the tree of ids, the codes and the adapter. New documents get ids below the old tree, in
`ids_new/`; no old id changes.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from torch import Tensor

from zmem_lib.files import must_exist
from zmem_lib.ids.head import load_id_head, make_id_head, save_id_head
from zmem_lib.ids.search import Search, rank_generated, train_ids
from zmem_lib.ids.tree import IdTree, add_documents, build_tree, load_tree, save_tree
from zmem_lib.memory.choose import Ranking
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.params import Params

SEEN, NEW = "ids", "ids_new"


def learn_ids(
    memory_lm: MemoryLM, keys: Tensor, tuples: pd.DataFrame, *, doc_ids: Sequence[str], params: Params, folder: Path
) -> pd.DataFrame:
    """Give ids to documents with these keys (N,E), train the model to generate them from the training questions.

    Writes tree, codes and adapter to `folder`; returns the loss as rows of train_log.
    """
    tree = build_tree(list(doc_ids), keys.numpy(), branching=params.train.id_branching, seed=params.seed)
    head = make_id_head(memory_lm, tree, params)
    train = tuples[(tuples.split == "train") & tuples.doc_id.isin(set(doc_ids))]
    pairs = list(zip(train.question, train.doc_id, strict=True))
    log = train_ids(memory_lm, head, tree=tree, pairs=pairs, params=params)
    save_tree(tree, folder / SEEN / "tree")
    save_id_head(head, folder / SEEN / "head")
    return log.assign(term="id", split="train", seconds=float("nan"))


def add_ids(folder: Path, doc_ids: Sequence[str], keys: Tensor) -> None:
    """Give ids to new documents with these keys (M,E), below the run's tree; every old id stays as it is."""
    tree = load_tree(must_exist(folder / SEEN / "tree"))
    save_tree(add_documents(tree, list(doc_ids), keys.numpy()), folder / NEW)


def rank_by_id(memory_lm: MemoryLM, questions: list[str], folder: Path, *, tree: IdTree | None, depth: int) -> Ranking:
    """The `depth` documents whose ids the model generates most likely, and log p(id | question).

    `tree` holds the ids of the documents to choose among; None: those of the run's chapters.
    """
    tree, head = tree or load_tree(must_exist(folder / NEW)), load_id_head(memory_lm, folder / SEEN / "head")
    return rank_generated(memory_lm, head, tree=tree, questions=questions, search=Search(depth=depth))

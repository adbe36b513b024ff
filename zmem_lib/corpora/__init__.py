"""Corpora: one module each, all returning the same two tables; here the subset and the splits are decided.

A corpus function takes Params and returns documents (doc_id, title, text) and questions (the columns of
schema.TABLES["questions"]). The synthetic corpus makes exactly the documents that are wanted and knows their parts and
splits; of any other corpus a subset is chosen here: seen documents, new documents, and the questions about them.
"""

from random import Random

import pandas as pd

from zmem_lib.corpora import folder, synthetic
from zmem_lib.errors import BadInput
from zmem_lib.params import Params
from zmem_lib.schema import check

CORPORA = {"synthetic": synthetic.load, "folder": folder.load}
LEAKED = "leaked"  # key in questions.attrs: how many training questions were dropped as equal to a held-out one


def load_corpus(params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The run's documents (seen first) and questions, with parts and splits, checked against the schema.

    `questions.attrs[LEAKED]` counts the training questions dropped because a dev, test or new-document question
    has the same words and a gold document in common.
    """
    docs, questions = CORPORA[params.corpus](params)
    if "part" not in docs:  # the corpus has not chosen itself
        seen, new = choose_documents(list(docs["doc_id"]), params)
        docs = _parts(docs, seen, new)
        questions = choose_questions(questions, seen, new)
    if not (questions["split"] == "train").any():
        raise BadInput("no training question is about a chosen document: raise n_documents or change the seed")
    docs, checked = check(docs, "docs"), check(questions, "questions")
    checked.attrs[LEAKED] = questions.attrs.get(LEAKED, 0)
    return docs, checked


def choose_documents(doc_ids: list[str], params: Params) -> tuple[list[str], list[str]]:
    """Seen and new document ids, drawn by the seed; at one seed, more seen documents change neither fewer nor new."""
    wanted = params.n_documents + params.n_new_documents
    if wanted > len(doc_ids):
        raise BadInput(
            f"n_documents {params.n_documents} and n_new_documents {params.n_new_documents} make {wanted}, "
            f"but the corpus has {len(doc_ids)} documents: lower one of them"
        )
    order = Random(params.seed).sample(doc_ids, len(doc_ids))
    return order[: params.n_documents], order[len(order) - params.n_new_documents :]


def choose_questions(questions: pd.DataFrame, seen: list[str], new: list[str]) -> pd.DataFrame:
    """The questions with a chosen gold document; one with a new gold document is about new documents and never trains.

    A third of the new documents (at least one) is new-dev, the rest new-test; a question about both is new-test.
    """
    seen_ids, new_ids, new_test = set(seen), set(new), set(new[max(1, len(new) // 3) :])
    rows = []
    for row in questions.to_dict("records"):
        gold = row["gold_doc_ids"]
        about_new = [doc_id for doc_id in gold if doc_id in new_ids]
        kept = about_new or [doc_id for doc_id in gold if doc_id in seen_ids]
        if not kept:
            continue
        split = row["split"] if not about_new else "new-test" if new_test & set(about_new) else "new-dev"
        start = row["answer_start"] if kept[0] == gold[0] else -1
        rows.append(row | {"gold_doc_ids": kept, "split": split, "answer_start": start, "all_gold": gold})
    chosen = pd.DataFrame(rows, columns=[*questions.columns, "all_gold"])
    leaked = _leaked(chosen)
    chosen = chosen[~leaked].drop(columns="all_gold")
    chosen.attrs[LEAKED] = int(leaked.sum())
    return chosen


def _parts(docs: pd.DataFrame, seen: list[str], new: list[str]) -> pd.DataFrame:
    """The chosen documents, seen before new, each in the corpus's order."""
    parts = dict.fromkeys(seen, "seen") | dict.fromkeys(new, "new")
    docs = docs[docs["doc_id"].isin(set(parts))]
    docs = docs.assign(part=docs["doc_id"].map(parts))
    return docs.sort_values("part", key=lambda part: part == "new", kind="stable")


def _leaked(questions: pd.DataFrame) -> pd.Series:
    """Which training questions have the words of a held-out question and share a gold document with it."""
    words = questions["question"].map(lambda text: " ".join(text.casefold().split()))
    pairs = [{(text, doc_id) for doc_id in gold} for text, gold in zip(words, questions["all_gold"], strict=True)]
    train = list(questions["split"] == "train")
    held_out = set().union(*(pair for pair, trains in zip(pairs, train, strict=True) if not trains))
    leaked = [trains and bool(pair & held_out) for pair, trains in zip(pairs, train, strict=True)]
    return pd.Series(leaked, index=questions.index, dtype=bool)

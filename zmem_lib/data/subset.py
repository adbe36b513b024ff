"""Which documents and questions of a corpus a run uses, and which part and split they belong to."""

from dataclasses import replace
from random import Random

import pandas as pd

from zmem_lib.data.rows import Corpus
from zmem_lib.files import BadInput
from zmem_lib.params import Params

LEAKED = "training questions in the words of a held-out question about the same document"
NOT_CHOSEN = "questions about no chosen document"
TWICE = "new documents whose text the first corpus has too"
ABOUT_TWICE = "new questions about such documents only"
PREFIX = "new/"  # of an id in the second corpus that the first one has too


def choose(corpus: Corpus, params: Params, second: Corpus | None = None) -> Corpus:
    """The corpus with the run's documents (seen before new, each in the corpus's order) and questions only.

    New documents are chosen from the second corpus where there is one.
    """
    new_docs = None
    if second is not None:
        second = _apart(corpus, second)
        new_docs = second.docs
    seen, new = choose_documents(corpus.docs, params, new_docs)
    both = corpus if second is None else _joined(corpus, second)
    questions, dropped = choose_questions(both.questions, seen, new)
    return replace(both, docs=_parts(both.docs, seen, new), questions=questions, dropped=both.dropped | dropped)


def choose_documents(
    docs: pd.DataFrame, params: Params, new_docs: pd.DataFrame | None = None
) -> tuple[list[str], list[str]]:
    """Seen and new document ids, drawn by the seed; at one seed, more seen documents change neither fewer nor new.

    Documents of one `group` are drawn together, so that at most as many as were asked for are chosen.
    """
    wanted = params.corpus.documents + params.corpus.new_documents
    if new_docs is None and wanted > len(docs):
        raise BadInput(
            f"n_documents {params.corpus.documents} and n_new_documents {params.corpus.new_documents} make {wanted}, "
            f"but the corpus has {len(docs)} documents: lower one of them"
        )
    if new_docs is not None and params.corpus.documents > len(docs):
        raise BadInput(f"n_documents is {params.corpus.documents}, but the corpus has {len(docs)} documents: lower it")
    if new_docs is not None and params.corpus.new_documents > len(new_docs):
        raise BadInput(
            f"n_new_documents is {params.corpus.new_documents}, but the corpus at new_corpus_path has {len(new_docs)} "
            "documents that the first one has not: lower it"
        )
    order = _shuffled(docs, params.seed)
    new_order = order if new_docs is None else _shuffled(new_docs, params.seed)
    seen = _first(order, params.corpus.documents, "n_documents")
    new = _first(new_order[::-1], params.corpus.new_documents, "n_new_documents")
    return seen, new[::-1]


def choose_questions(questions: pd.DataFrame, seen: list[str], new: list[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """The questions with a chosen gold document, and how many were dropped and why.

    A question with a new gold document is about new documents and never trains. A third of the new documents (at least
    one) is new-dev, the rest new-test; a question about both is new-test.
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
    dropped = {NOT_CHOSEN: len(questions) - len(chosen), LEAKED: int(leaked.sum())}
    return chosen[~leaked].drop(columns="all_gold"), dropped


def _shuffled(docs: pd.DataFrame, seed: int) -> list[list[str]]:
    """The groups of documents (a document without one is its own) in the seed's order."""
    groups: dict[object, list[str]] = {}
    keys = docs["group"] if "group" in docs else range(len(docs))
    for key, doc_id in zip(keys, docs["doc_id"], strict=True):
        groups.setdefault(key, []).append(doc_id)
    return Random(seed).sample(list(groups.values()), len(groups))


def _first(groups: list[list[str]], wanted: int, name: str) -> list[str]:
    """The documents of the first groups that fit whole: no later group fills up, so that more keep the fewer."""
    chosen: list[str] = []
    for group in groups:
        if len(chosen) + len(group) > wanted:
            break
        chosen += group
    if wanted and not chosen:
        raise BadInput(
            f"{name} is {wanted}, but documents are chosen in groups of up to {max(map(len, groups))}: raise it"
        )
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


def _apart(first: Corpus, second: Corpus) -> Corpus:
    """The second corpus without texts of the first, and with ids of its own."""
    twice = second.docs["text"].isin(set(first.docs["text"]))
    docs, asked = second.docs[~twice], second.questions
    doc_name = _names(docs["doc_id"], set(first.docs["doc_id"]))
    question_name = _names(asked["question_id"], set(first.questions["question_id"]))
    gold = [[doc_name[doc_id] for doc_id in ids if doc_id in doc_name] for ids in asked["gold_doc_ids"]]
    first_kept = [ids[0] in doc_name for ids in asked["gold_doc_ids"]]  # answer_start is a place in that one
    questions = asked.assign(
        question_id=asked["question_id"].map(question_name),
        gold_doc_ids=gold,
        answer_start=asked["answer_start"].where(first_kept, -1),
    )
    questions = questions[questions["gold_doc_ids"].map(len) > 0]
    dropped = second.dropped | {TWICE: int(twice.sum()), ABOUT_TWICE: len(asked) - len(questions)}
    docs = docs.assign(doc_id=docs["doc_id"].map(doc_name))
    return replace(second, docs=docs, questions=questions, dropped=dropped)


def _names(ids: pd.Series, taken: set[str]) -> dict[str, str]:
    """A name for each id that is not taken: the id itself, or with a prefix."""
    mine, names = set(ids), {}
    for one in ids:
        name = one
        while name in taken or (name != one and name in mine):
            name = PREFIX + name
        names[one] = name
    return names


def _joined(first: Corpus, second: Corpus) -> Corpus:
    """Both as one, the second one's reasons and source told apart."""
    return Corpus(
        docs=pd.concat([first.docs, second.docs], ignore_index=True),
        questions=pd.concat([first.questions, second.questions], ignore_index=True),
        licence=first.licence if first.licence == second.licence else f"{first.licence}; new: {second.licence}",
        source=f"{first.source}; new: {second.source}",
        dropped=first.dropped | {f"new: {reason}": count for reason, count in second.dropped.items()},
    )

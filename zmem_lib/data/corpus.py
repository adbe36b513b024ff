"""The corpora that there are, their licences, and what of one a run uses.

Takes the run's parameters; returns a Corpus with its documents (seen, and new ones that are held out, of the same
corpus or of a second one; the seed says which) and the questions about them, with their parts, splits and kinds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from random import Random

import pandas as pd

from zmem_lib.data import folder, synthetic, texts
from zmem_lib.data.data_set import find_files
from zmem_lib.data.mirage import MIRAGE
from zmem_lib.data.popqa import POPQA
from zmem_lib.data.ragbench import RAGBENCH, T2RAGBENCH
from zmem_lib.data.rows import Corpus, folded, seeds_fold
from zmem_lib.data.squad import SQUAD
from zmem_lib.data.tuples import find_evidence
from zmem_lib.files import BadInput
from zmem_lib.params import Params, changed
from zmem_lib.tables import check
from zmem_lib.text import words

DATA_SETS = {"squad": SQUAD, "mirage": MIRAGE, "ragbench": RAGBENCH, "t2ragbench": T2RAGBENCH, "popqa": POPQA}
LICENCES = {  # as the publishers state them (book/data.md); of a subset where it has its own
    "synthetic": "none needed: made here, about people who do not exist",
    "folder": "that of your corpus",
    "texts": "that of your texts",
    "almanac": "Apache 2.0: written for this project, about a country that does not exist",
    "squad": "CC BY-SA 4.0",
    "squad korquad": "CC BY-ND 2.0 KR",
    "mirage": "Apache 2.0",
    "ragbench": "CC BY 4.0",
    "t2ragbench": "CC BY 4.0",
    "popqa": "MIT (questions), CC BY-SA (passages of Wikipedia)",
}
LEAKED = "training questions in the words of a held-out question about the same document"
NOT_CHOSEN = "questions about no chosen document"
TWICE = "new documents whose text the first corpus has too"
ABOUT_TWICE = "new questions about such documents only"
SHARED = "documents that share most of their text with a corpus that tests"
ASKED = "questions that such a corpus asks too, or about these documents"
GRAM = 8  # words: two passages are one text where more than MOST of the runs of so many stand in the other too
MOST = 0.5
ORDER = 0  # of the draw that puts the documents in order, at every seed
PREFIX = "new/"  # of an id in the second corpus that the first one has too


def licence_of(params: Params) -> str:
    """The licence of the corpus that the parameters name; of a second corpus of new documents nothing is known."""
    name = params.corpus.name
    return LICENCES.get(f"{name} {params.corpus.subset}", LICENCES[name])


def fetch_corpus(params: Params) -> None:
    """Fetch the files of the first corpus where they come from the hub; raises BadInput where they are not there."""
    if params.corpus.name in DATA_SETS:
        find_files(DATA_SETS[params.corpus.name], params)
    elif params.corpus.name != "synthetic":
        (folder if params.tests else texts).files(params)


def whole_corpus(params: Params, run: Path | None = None) -> Corpus:
    """All documents and questions of the first corpus, none chosen yet but of synthetic; raises BadInput.

    The questions about mere texts lie in the folder of the run.
    """
    data_set = DATA_SETS.get(params.corpus.name)
    if data_set:
        found, dropped = find_files(data_set, params), dict.fromkeys(data_set.reasons, 0)
        corpus = Corpus(*data_set.read(found, dropped), source=found.source, dropped=dropped)
    elif not params.tests:
        corpus = texts.load(params, run)
    elif params.corpus.name != "synthetic":
        corpus = folder.load(params)
    else:
        made = synthetic.generate(params.corpus.documents, params.corpus.new_documents, seed=params.seed)
        corpus = Corpus(*made, source="made here", dropped={})
    return replace(corpus, licence=licence_of(params))


def load_corpus(params: Params, run: Path | None = None) -> Corpus:
    """The run's documents (seen first) and questions, with parts and splits, checked against the schema."""
    in_two = bool(params.corpus.new_path and params.corpus.new_documents)
    corpus = whole_corpus(changed(params, {"corpus.new_documents": 0}) if in_two else params, run)
    second = other_corpus("new_path", params) if in_two else None
    if params.corpus.apart_from:
        corpus = apart_from(corpus, other_corpus("apart_from", params))
    if not params.tests or (params.corpus.name == "folder" and params.corpus.subset):  # which is wanted whole
        room = len(corpus.docs) - (0 if second else params.corpus.new_documents)
        params = changed(params, {"corpus.documents": min(params.corpus.documents, max(room, 1))})
    if "part" not in corpus.docs or second:  # else the corpus has chosen itself
        corpus = choose(corpus, params, second)
    if not (corpus.questions["split"] == "train").any():
        raise BadInput("no training question is about a chosen document: raise corpus.documents or change the seed")
    return replace(corpus, docs=check(corpus.docs, "docs"), questions=check(corpus.questions, "questions"))


def other_corpus(key: str, params: Params) -> Corpus:
    """All of the corpus at the path `corpus.KEY`, read as if it were the first; raises BadInput.

    It is in the folder format or, where no corpus.jsonl lies there, in that of the first.
    """
    place = getattr(params.corpus, key)
    in_folder = any((Path(place).expanduser() / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))
    values = {"corpus.path": place, "corpus.new_path": "", "corpus.absent_questions": 0}
    if in_folder or params.corpus.name not in DATA_SETS:
        values |= {"corpus.name": "folder", "corpus.subset": ""}
    try:
        return whole_corpus(changed(params, values))
    except BadInput as error:
        raise BadInput(f"corpus.{key}: {error}") from error


def grams(text: str) -> set[tuple[str, ...]]:
    """All runs of GRAM words of a text; of a shorter one all its words."""
    said = words(text)
    return {tuple(said[i : i + GRAM]) for i in range(max(len(said) - GRAM + 1, 1))}


def apart_from(corpus: Corpus, test: Corpus) -> Corpus:
    """The corpus without the documents and questions that the corpus `test` has too, with the counts of these."""
    known = set().union(*map(grams, test.docs["text"]))
    shares = [len((own := grams(text)) & known) / len(own) for text in corpus.docs["text"]]
    docs = corpus.docs[[share <= MOST for share in shares]]
    asked, there = set(map(folded, test.questions["question"])), set(docs["doc_id"])
    keeps = corpus.questions["gold_doc_ids"].map(there.issuperset)
    questions = corpus.questions[keeps & ~corpus.questions["question"].map(folded).isin(asked)]
    dropped = {SHARED: len(corpus.docs) - len(docs), ASKED: len(corpus.questions) - len(questions)}
    return replace(corpus, docs=docs, questions=questions, dropped=corpus.dropped | dropped)


def choose(corpus: Corpus, params: Params, second: Corpus | None = None) -> Corpus:
    """The corpus with the run's documents (seen before new, each in the corpus's order) and questions only.

    New documents are chosen from the second corpus where there is one.
    """
    second = second and _apart(corpus, second)
    seen, new = choose_documents(corpus.docs, params, second and second.docs)
    both = corpus
    if second:
        both = Corpus(
            docs=pd.concat([corpus.docs, second.docs], ignore_index=True),
            questions=pd.concat([corpus.questions, second.questions], ignore_index=True),
            source=f"{corpus.source}; new: {second.source}",
            dropped=corpus.dropped | {f"new: {reason}": count for reason, count in second.dropped.items()},
            licence="; new: ".join(dict.fromkeys([corpus.licence, second.licence])),
        )
    parts = dict.fromkeys(seen, "seen") | dict.fromkeys(new, "new")
    docs = both.docs[both.docs["doc_id"].isin(set(parts))]
    docs = docs.assign(part=docs["doc_id"].map(parts))
    docs = docs.sort_values("part", key=lambda part: part == "new", kind="stable")
    questions, dropped = choose_questions(both.questions, seen, new)
    questions = with_kinds(questions, docs, articles=params.corpus.new_articles > 0 and not second)
    return replace(both, docs=docs, questions=questions, dropped=both.dropped | dropped)


def choose_documents(
    docs: pd.DataFrame, params: Params, new_docs: pd.DataFrame | None = None
) -> tuple[list[str], list[str]]:
    """Seen and new document ids: which documents are in a run is the same at every seed, which of them are new rotates.

    They are the first in a fixed order, and the seed says which of its folds is new (`seeds_fold`): over as many seeds
    as there are folds a document is new once and else seen, so that the two can be held against each other. As long as
    the seed is below the number of folds, more seen documents change neither fewer nor new. Of the new ones, up to
    `corpus.new_articles` are whole articles, in turn as well. Documents of one `group` stay together (and make no
    articles), so that at most as many as were asked for are chosen.
    """
    seen, new = params.corpus.documents, params.corpus.new_documents
    if new_docs is None and seen + new > len(docs):
        both = f"corpus.documents {seen} and corpus.new_documents {new} make {seen + new}"
        raise BadInput(f"{both}, but the corpus has {len(docs)} documents: lower one of them")
    if seen > len(docs):
        raise BadInput(f"corpus.documents is {seen}, but the corpus has {len(docs)} documents: lower it")
    if new_docs is not None and new > len(new_docs):
        there = f"the corpus at corpus.new_path has {len(new_docs)} documents that the first one has not"
        raise BadInput(f"corpus.new_documents is {new}, but {there}: lower it")
    pool = _first(_in_fixed_order(docs), seen + new * (new_docs is None), "corpus.documents")
    new_pool = pool if new_docs is None else _in_fixed_order(new_docs)
    in_articles = min(params.corpus.new_articles, new) if new_docs is None and "group" not in docs else 0
    whole = _ids(seeds_fold(_by_article(new_pool, docs), in_articles, params.seed)) if in_articles else []
    single = _ids(seeds_fold(new_pool, new - in_articles, params.seed))
    single = [doc_id for doc_id in single if doc_id not in set(whole)]
    a, b = len(whole) // 3, len(single) // 3  # the first third will be new-dev: of both
    chosen = dict.fromkeys([*whole[:a], *single[:b], *whole[a:], *single[b:]])
    if new and not chosen:
        largest = max(map(len, new_pool))
        raise BadInput(
            f"corpus.new_documents is {new}, but documents are chosen in groups of up to {largest}: raise it"
        )
    rest = [group for group in pool if chosen.keys().isdisjoint(group)]
    return _ids(_first(rest, seen, "corpus.documents")), list(chosen)


def choose_questions(questions: pd.DataFrame, seen: list[str], new: list[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """The questions with a chosen gold document, and how many were dropped and why.

    A question with a new gold document is about new documents and never trains. A third of the new documents (at least
    one) is new-dev, the rest new-test; a question about both is new-test.
    """
    seen_ids, new_ids, new_test = set(seen), set(new), set(new[max(1, len(new) // 3) :])
    rows, held_out = [], set()
    for row in questions.to_dict("records"):
        gold = row["gold_doc_ids"]
        about_new = [doc_id for doc_id in gold if doc_id in new_ids]
        kept = about_new or [doc_id for doc_id in gold if doc_id in seen_ids]
        if not kept:
            continue
        split = row["split"] if not about_new else "new-test" if new_test & set(about_new) else "new-dev"
        start = row["answer_start"] if kept[0] == gold[0] else -1
        asked = {(folded(row["question"]), doc_id) for doc_id in gold}
        held_out |= asked if split != "train" else set()
        rows.append((row | {"gold_doc_ids": kept, "split": split, "answer_start": start}, asked))
    apart = [row for row, asked in rows if row["split"] != "train" or not asked & held_out]
    dropped = {NOT_CHOSEN: len(questions) - len(rows), LEAKED: len(rows) - len(apart)}
    return pd.DataFrame(apart, columns=questions.columns), dropped


def with_kinds(questions: pd.DataFrame, docs: pd.DataFrame, *, articles: bool) -> pd.DataFrame:
    """The questions with their kind, where the corpus has told none and it is known.

    Of dev and test, where training asks about the document: rephrased, if it asks about the same sentence of it, else
    unasked. Of new documents, with `articles`: same-article, if a seen document has the title of the first gold one,
    else new-article.
    """
    text_of, title_of = (dict(zip(docs["doc_id"], docs[name], strict=True)) for name in ("text", "title"))
    seen_titles = set(docs.loc[docs["part"] == "seen", "title"])
    places = [_sentence(row, text_of) for row in questions.to_dict("records")]
    trained = {place for place, split in zip(places, questions["split"], strict=True) if split == "train" and place}
    asked_docs = {doc_id for doc_id, _ in trained}
    kinds = []
    for row, place in zip(questions.to_dict("records"), places, strict=True):
        kind = row["kind"]
        if not kind and row["split"] in ("dev", "test") and place and place[0] in asked_docs:
            kind = "rephrased" if place in trained else "unasked"
        elif not kind and articles and row["split"].startswith("new-") and title_of[row["gold_doc_ids"][0]]:
            kind = "same-article" if title_of[row["gold_doc_ids"][0]] in seen_titles else "new-article"
        kinds.append(kind)
    return questions.assign(kind=kinds)


def _sentence(question: dict, text_of: Mapping[str, str]) -> tuple[str, int] | None:
    """The first gold document and the offset of the evidence there; None where no answer stands in it."""
    doc_id = question["gold_doc_ids"][0]
    _, start = find_evidence(question, text_of[doc_id], question["answer_start"], 0)
    return (doc_id, start) if start >= 0 else None


def _in_fixed_order(docs: pd.DataFrame) -> list[list[str]]:
    """The groups of documents (a document without one is its own), shuffled alike at every seed."""
    groups = docs.groupby("group" if "group" in docs else "doc_id", sort=False)["doc_id"].agg(list).tolist()
    return Random(ORDER).sample(groups, len(groups))


def _by_article(groups: list[list[str]], docs: pd.DataFrame) -> list[list[str]]:
    """The documents of these groups by their title, the one with the first of them first."""
    title_of, articles = dict(zip(docs["doc_id"], docs["title"], strict=True)), {}
    for doc_id in filter(title_of.get, _ids(groups)):  # those that have a title
        articles.setdefault(title_of[doc_id], []).append(doc_id)
    return list(articles.values())


def _ids(groups: Iterable[list[str]]) -> list[str]:
    return [doc_id for group in groups for doc_id in group]


def _first(groups: list[list[str]], wanted: int, name: str) -> list[list[str]]:
    """The first groups that fit whole: no later group fills up, so that more keep the fewer."""
    chosen = [group for group, end in zip(groups, accumulate(map(len, groups)), strict=True) if end <= wanted]
    if wanted and not chosen:
        largest = max(map(len, groups))
        raise BadInput(f"{name} is {wanted}, but documents are chosen in groups of up to {largest}: raise it")
    return chosen


def _apart(first: Corpus, second: Corpus) -> Corpus:
    """The second corpus without texts of the first, and with ids of its own."""
    twice = second.docs["text"].isin(set(first.docs["text"]))
    docs, asked = second.docs[~twice], second.questions
    # by questions about documents that were left out, too
    named = set(first.docs["doc_id"]).union(*first.questions["gold_doc_ids"])
    doc_name = _names(docs["doc_id"], named)
    question_name = _names(asked["question_id"], set(first.questions["question_id"]))
    gold = [[doc_name[doc_id] for doc_id in ids if doc_id in doc_name] for ids in asked["gold_doc_ids"]]
    first_kept = asked["gold_doc_ids"].str[0].isin(doc_name)  # answer_start is a place in that one
    questions = asked.assign(
        question_id=asked["question_id"].map(question_name),
        gold_doc_ids=pd.Series(gold, asked.index),
        answer_start=asked["answer_start"].where(first_kept, -1),
    )
    questions = questions[questions["gold_doc_ids"].map(len) > 0]
    dropped = second.dropped | {TWICE: int(twice.sum()), ABOUT_TWICE: len(asked) - len(questions)}
    return replace(second, docs=docs.assign(doc_id=docs["doc_id"].map(doc_name)), questions=questions, dropped=dropped)


def _names(ids: pd.Series, taken: set[str]) -> dict[str, str]:
    """A name for each id that is not taken: the id itself, or with a prefix."""
    names = {one: one for one in ids}
    for one in names:
        while names[one] in taken or (names[one] != one and names[one] in names):
            names[one] = PREFIX + names[one]
    return names

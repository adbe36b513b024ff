"""Questions that the language model asks itself about every document, to be trained on beside those that were given.

Takes documents, returns training tuples and how many questions were lost on the way, and why.
Asking, and the model's own check of what it asked, is in asking.py. A question stays only if its evidence stands word
for word in the document: what was made up goes, a wrong sentence of the right document may stay. A question that is
nearly a held-out one never trains.

Such a tuple has no answer, only its evidence once more: the reader's lessons leave out what begins with PSEUDO.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import pandas as pd

from zmem_lib.data.tuples import PSEUDO
from zmem_lib.files import hash_path, read_json, write_json
from zmem_lib.memory.asking import (
    Asked,
    Known,
    Pairs,
    chat_questions,
    chat_quotes,
    confirmed_evidence,
    sampled_questions,
)
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.params import Params, params_hash
from zmem_lib.tables import TABLES, check, read_table, write_table
from zmem_lib.text import normalise, normalise_korquad, passages, sentence_spans, sentence_window

NEAR = 0.8  # Jaccard similarity of their words from which two questions are near-duplicates
QUOTED_WORDS = 3  # at least, of a quotation that is not a whole sentence
FATES = ("empty", "duplicate", "near a held-out question", "unanswerable", "kept")


@dataclass(frozen=True)
class HeldOut:
    """Questions that must not train: the set of words of each, and by word the numbers of those that have it."""

    words: list[frozenset[str]]
    having: dict[str, list[int]]


def pseudo_questions(
    memory_lm: MemoryLM,
    docs: pd.DataFrame,
    n: int,
    *,
    params: Params,
    questions: pd.DataFrame,
    known: Known = frozenset(),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training tuples of at most n questions per document of docs, and their counts.

    `questions` are all those of the run: the ones that are not of split train must not come back, nor may a document's
    training questions. The counts have the columns what and n; what was asked is the sum of FATES.
    """
    if not n:
        return pd.DataFrame(columns=list(TABLES["tuples"])), pd.DataFrame({"what": ["asked"], "n": [0]})
    chats, texts = bool(memory_lm.prompts.tokenizer.chat_template), passages(docs)
    if chats:
        asked = chat_questions(memory_lm, texts, n, params)
    else:
        asked = sampled_questions(memory_lm, docs, n, known, params)
    pairs, fates = sift(asked, docs, questions, normaliser(params))
    fates["empty"] += n * len(docs) - sum(map(len, asked))
    if chats:
        quotes = chat_quotes(memory_lm, texts, pairs, params)
    else:
        quotes = confirmed_evidence(memory_lm, docs, pairs, params)
    rows, taken = [], set(questions.question_id)
    for (row, question, _), quote in zip(pairs, quotes, strict=True):
        doc = docs.iloc[row]
        if span := find_evidence(doc.text, quote, part=chats):
            rows.append(tuple_row(question, doc, span, number=len(rows), taken=taken))
    fates["unanswerable"], fates["kept"] = len(pairs) - len(rows), len(rows)
    tuples = check(pd.DataFrame(rows, columns=list(TABLES["tuples"])), "tuples")
    return tuples, counts_table(fates, docs, questions, tuples)


def sift(
    asked: Asked, docs: pd.DataFrame, questions: pd.DataFrame, plain: Callable[[str], str]
) -> tuple[Pairs, Counter]:
    """The questions about each document that may train, once each, and how many of the others there were of each kind.

    Kinds: empty; duplicate, of another one or of a training question about the same document; near a held-out question.
    """
    trains = questions.split == "train"
    held_out = hold_out(map(plain, questions.question[~trains]))
    train = questions[trains].explode("gold_doc_ids")
    seen = {(doc_id, plain(text)) for doc_id, text in zip(train.gold_doc_ids, train.question, strict=True)}
    pairs, fates = [], Counter()
    for row, doc_id in enumerate(docs.doc_id):
        for question, evidence in asked[row]:
            words = plain(question)
            if not words:
                fates["empty"] += 1
            elif (doc_id, words) in seen:
                fates["duplicate"] += 1
            elif is_near(words, held_out):
                fates["near a held-out question"] += 1
            else:
                seen.add((doc_id, words))
                pairs.append((row, question, evidence))
    return pairs, fates


def hold_out(questions: Iterable[str]) -> HeldOut:
    """Normalised questions, to be looked up by `is_near`."""
    words = [frozenset(question.split()) for question in questions]
    having: dict[str, list[int]] = {}
    for number, one in enumerate(words):
        for word in one:
            having.setdefault(word, []).append(number)
    return HeldOut(words, having)


def is_near(question: str, held_out: HeldOut) -> bool:
    """Whether a normalised question has nearly the words of one that is held out (Jaccard similarity from NEAR on).

    Two such sets share at least NEAR of the words of each, so that one of the few rarest words is among them: only
    questions that have one of these are looked at (the prefix filter of Chaudhuri, Ganti and Kaushik, 2006).
    """
    words = set(question.split())
    rarest = sorted(words, key=lambda word: len(held_out.having.get(word, ())))
    rarest = rarest[: len(words) - ceil(NEAR * len(words) - 1e-9) + 1]
    others = {number for word in rarest for number in held_out.having.get(word, ())}
    return any(len(words & held_out.words[i]) >= NEAR * len(words | held_out.words[i]) - 1e-9 for i in others)


def find_evidence(text: str, quote: str, *, part: bool) -> tuple[int, int] | None:
    """Where in the text a quotation stands, white space aside, that is a sentence or several in a row; None if nowhere.

    With `part`, QUOTED_WORDS of a sentence are enough, and the place is that of the sentences they stand in.
    """
    if not quote.strip():
        return None
    spans = sentence_spans(text)
    starts, ends = {start for start, _ in spans}, {end for _, end in spans}
    found = [match.span() for match in re.finditer(r"\s+".join(map(re.escape, quote.split())), text)]
    whole = [(start, end) for start, end in found if start in starts and end in ends]
    if whole:
        return whole[0]
    return sentence_window(text, *found[0], 0) if part and found and len(quote.split()) >= QUOTED_WORDS else None


def tuple_row(question: str, doc: pd.Series, span: tuple[int, int], *, number: int, taken: set[str]) -> dict:
    """The tuple of a question and the evidence at this place of its document, under an id that is not taken."""
    start, end = span
    while (question_id := f"{PSEUDO}{number:06d}") in taken:
        number += 1
    taken.add(question_id)
    evidence = doc.text[start:end]
    row = {"tuple_id": f"{question_id}@{doc.doc_id}", "question_id": question_id, "doc_id": doc.doc_id}
    row |= {"question": question, "evidence": evidence, "evidence_start": start}
    return row | {"answers": [evidence], "split": "train"}


def counts_table(fates: Counter, docs: pd.DataFrame, questions: pd.DataFrame, tuples: pd.DataFrame) -> pd.DataFrame:
    """How many questions were asked and what became of them; documents nobody asks in training, and those now asked."""
    trained = set().union(*questions.gold_doc_ids[questions.split == "train"])
    silent = set(docs.doc_id) - trained
    counts = {"asked": sum(fates[name] for name in FATES)} | {name: fates[name] for name in FATES}
    counts |= {"documents without training question": len(silent)}
    counts |= {"of these, documents that got one": len(silent & set(tuples.doc_id))}
    return pd.DataFrame({"what": list(counts), "n": list(counts.values())})


def normaliser(params: Params) -> Callable[[str], str]:
    """How questions are compared: as answers are."""
    return normalise_korquad if params.corpus.normalisation == "korquad" else normalise


def given_questions(folder: Path) -> pd.DataFrame:
    """All questions of a run, those that no document answers among them."""
    tables = [read_table(folder / f"{name}.parquet", name) for name in ("questions", "absent")]
    return pd.concat(tables, ignore_index=True)


def kept_questions(
    memory_lm: MemoryLM, docs: pd.DataFrame, n: int, *, params: Params, folder: Path, inputs: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`train.self_questions` about a run's seen or new documents, and their counts, with all questions of the run at hand.

    They are kept beside the run, where a chapter that was killed finds them again as long as the corpus and the other
    `inputs` in its folder are the same.
    """
    if not (n and len(docs)):
        return pseudo_questions(memory_lm, docs, 0, params=params, questions=docs)
    paths = [folder / f"{name}.parquet" for name in ("docs", "questions", "absent", "tuples")]
    made_with = [params_hash(params, 4), *(hash_path(path) for path in (*paths, *(folder / name for name in inputs)))]
    table, note = (folder / f"pseudo_{docs.part.iloc[0]}.{kind}" for kind in ("parquet", "json"))
    if not (note.is_file() and read_json(note)["made_with"] == made_with):
        train = read_table(folder / "tuples.parquet", "tuples").query("split == 'train'")
        known = set(zip(train.doc_id, train.evidence, strict=True))
        given = given_questions(folder)
        asked, counts = pseudo_questions(memory_lm, docs, n, params=params, questions=given, known=known)
        write_table(asked, table, "tuples")
        write_json({"made_with": made_with, "counts": counts.to_dict("list")}, note)
    return read_table(table, "tuples"), pd.DataFrame(read_json(note)["counts"])

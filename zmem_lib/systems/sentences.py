"""Sentences of passages, chosen without a language model, and another question about the same document.

A sentence is near to a question by the idf of the words that both have: each counts once, and the more the fewer of the
run's passages have it (Lucene's idf, which is never negative). What is drawn depends on the seed and the question's id
alone, not on the sample that it is in.
"""

from collections import Counter
from math import log
from random import Random

import pandas as pd

from zmem_lib.systems.holdings import Holdings
from zmem_lib.tables import read_table
from zmem_lib.text import normalise, passages, sentence_spans, words


def nearest_sentence(question: str, text: str, held: Holdings) -> str:
    """The sentence of a text that is nearest to the question, the first of equally near ones."""
    return nearest_of(question, sentences(text), held.once("idf", lambda: idf_of_terms(passages(held.docs))))


def nearest_of(question: str, texts: list[str], idf: dict[str, float]) -> str:
    """The text that is nearest to the question, the first of equally near ones."""
    asked = terms_of(question)
    return max(texts, key=lambda one: sum(idf.get(term, 0.0) for term in asked & terms_of(one)))


def random_sentence(question_id: str, text: str, held: Holdings) -> str:
    """A sentence of a text, each as likely."""
    return Random(f"{held.params.seed} {question_id}").choice(sentences(text))


def sentences(text: str) -> list[str]:
    """The sentences of a text; an empty one is its own."""
    return [text[start:end] for start, end in sentence_spans(text)] or [text]


def terms_of(text: str) -> set[str]:
    """The distinct words of a text, and of scripts without spaces, and Hangul, its letters and pairs of letters."""
    return set(words(text, pieces=True))


def idf_of_terms(texts: list[str]) -> dict[str, float]:
    """The idf of each word of some passages."""
    having = Counter(term for text in texts for term in terms_of(text))
    return {term: log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for term, n in having.items()}


def with_another(questions: pd.DataFrame, held: Holdings) -> pd.DataFrame:
    """The questions that have another one about the same first gold document, with its text in the column `another`.

    It is drawn from the run's questions of all splits, and has neither the same words nor an answer in common: a
    question said in other words would ask for the same. A question without such a one is left out.
    """
    known = read_table(held.folder / "questions.parquet", "questions").to_dict("records")
    golds = {row["question_id"]: set(map(normalise, row["answers"])) for row in known}
    about: dict[str, list[dict]] = {}
    for row in known:
        about.setdefault(row["gold_doc_ids"][0], []).append(row)
    drawn = []
    for row in questions.to_dict("records"):
        wording, answers = normalise(row["question"]), golds.get(row["question_id"], set())
        others = [
            one["question"]
            for one in about.get(row["gold_doc_ids"][0], ())
            if normalise(one["question"]) != wording and not answers & golds[one["question_id"]]
        ]
        rng = Random(f"{held.params.seed} {row['question_id']}")
        drawn.append(rng.choice(others) if others else None)
    found = questions.assign(another=pd.Series(drawn, questions.index, dtype=object))
    return found[found["another"].notna()].reset_index(drop=True)

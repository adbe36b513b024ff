"""What evidence items are replaced by in the noise experiment, and which of them are.

Two kinds. `hard negative`: the documents most like the gold one (cosine of the dense model) that are not gold for the
question, those without a gold answer in them first, as DPR's negatives are chosen (2004.04906, section 3.2). `changed
answer`: the gold document with its answer exchanged for that of another question, of the same kind (Longpre et al.,
2109.05052, section 2). A system that reads passages gets these as text. One that writes from z gets what it writes from
the similar document's own z, and from a block into which the changed document was written as chapter 04 writes.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.cache import inside, remembered
from zmem_lib.evaluation.chance import likeness, words_of
from zmem_lib.evaluation.metrics import answer_in_evidence
from zmem_lib.systems.choosing import nearest
from zmem_lib.systems.collection import Collection
from zmem_lib.systems.evidence import from_blocks, passages_of, written
from zmem_lib.tables import TEST_PARTS
from zmem_lib.text import passage, passages

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)  # of the evidence items, replaced
NEGATIVE, CHANGED = KINDS = ("hard negative", "changed answer")
NEAR = 100  # similar documents that are looked at
TRIED = 20  # answers of other questions that may take the place of the right one

Places = set[tuple[int, int]]  # number of the question, of the item


@dataclass(frozen=True)
class Swaps:
    """What takes the place of items, by kind and question, the first for the first item; when they are used up, again.

    `texts` for systems that read passages, `written` for those that write from z; `readings` are answers that were
    made, by question id and items.
    """

    texts: dict[str, list[list[str]]]
    written: dict[str, list[list[str]]]
    readings: dict[tuple[str, tuple[str, ...]], str]


def noisy_questions(test: pd.DataFrame, questions: pd.DataFrame, collection: Collection) -> pd.DataFrame:
    """At most `answer.noise_questions` test questions of each part, drawn with the run's seed, with the changed document.

    `title` and `text` are those of the gold document with a wrong answer in the place of the right one. A question
    whose answer does not stand there word for word is passed over. `questions` are all of the run.
    """
    rule, rows = collection.params.corpus.normalisation, []
    titled = collection.docs.set_index("doc_id")
    words = [words_of(question, rule) for question in questions["question"]]
    shuffled = test[test["part"].isin(TEST_PARTS)].sample(frac=1, random_state=collection.params.seed)
    for _, some in shuffled.groupby("part", sort=False):
        others = ((row, other_answers(row, questions, words, rule)) for row in some.itertuples())
        changed = (changed_row(row, titled.loc[row.gold_doc_ids[0]], wrong, rule) for row, wrong in others)
        rows += islice(filter(None, changed), collection.params.answer.noise_questions)
    columns = ["question_id", "part", "question", "answers", "gold_doc_ids", "title", "text"]
    return pd.DataFrame(rows, columns=columns)


def changed_row(row: Any, doc: pd.Series, others: Iterator[str], rule: str) -> dict[str, Any] | None:
    """The question with its document changed to the first of the answers `others` that leaves no right one there."""
    if not answer_in_evidence(passage(doc["title"], doc["text"]), row.answers, rule):
        return None
    for wrong in islice(others, TRIED):
        title, text = (exchanged(one, row.answers, wrong, rule) for one in (doc["title"], doc["text"]))
        if not answer_in_evidence(passage(title, text), row.answers, rule):
            named = {name: getattr(row, name) for name in ("question_id", "part", "question", "answers")}
            return named | {"gold_doc_ids": list(row.gold_doc_ids), "title": title, "text": text}
    return None


def other_answers(row: Any, questions: pd.DataFrame, words: Sequence[set[str]], rule: str) -> Iterator[str]:
    """Answers of questions about other documents: numbers for a number, then those of the most similar questions."""
    alike = likeness(words_of(row.question, rule), words)  # (P,)
    unlike = np.array([has_digit(mine[0]) != has_digit(row.answers[0]) for mine in questions["answers"]])  # (P,)
    for place in np.lexsort((-alike, unlike)):
        other = questions.iloc[place]
        if not set(other["gold_doc_ids"]) & set(row.gold_doc_ids):
            yield other["answers"][0]


def has_digit(text: str) -> bool:
    """Whether a text has a digit."""
    return any(sign.isdigit() for sign in text)


def exchanged(text: str, answers: Sequence[str], wrong: str, rule: str) -> str:
    """The text with `wrong` wherever one of the answers stands, as a word of its own but under the rule korquad."""
    names = sorted({name for name in answers if name.strip()}, key=lambda name: (-len(name), name))
    before, after = ("", "") if rule == "korquad" else (r"(?<!\w)", r"(?!\w)")
    found = f"{before}(?:{'|'.join(map(re.escape, names))}){after}"
    return re.sub(found, lambda _: wrong, text, flags=re.IGNORECASE)


def make_swaps(noisy: pd.DataFrame, collection: Collection) -> Swaps:
    """What takes the place of items; of changed documents only those that replace one at some share are written."""
    negatives, top_k = hard_negatives(noisy, collection), collection.params.answer.top_k
    places = [replaced(noisy["part"], [n] * len(noisy), SHARES[-1], collection.params.seed) for n in {1, top_k}]
    due = sorted({q for some in places for q, _ in some})
    docs = noisy.iloc[due].assign(doc_id=lambda rows: rows["question_id"] + " changed", part="new")
    docs, under_way = docs[["doc_id", "title", "text", "part"]].reset_index(drop=True), inside(collection.cache, "noise")
    z = remembered(
        collection.cache, "noise_changed.safetensors",
        lambda: {"z": collection.write_documents(docs, cache=under_way)[0]},  # (D,K,W)
    )["z"]  # fmt: skip
    return Swaps(
        texts={NEGATIVE: passages_of(noisy, collection, negatives)[0], CHANGED: [[text] for text in passages(noisy)]},
        written={
            NEGATIVE: written(noisy, collection, [ids[:top_k] for ids in negatives])[0],
            CHANGED: from_blocks(noisy, collection, due, z)[0],
        },
        readings={},
    )


def hard_negatives(noisy: pd.DataFrame, collection: Collection) -> list[list[str]]:
    """For each question the documents most like its gold one that are not gold, those without a gold answer first."""
    text_of, rule, chosen = collection.text_of, collection.params.corpus.normalisation, []
    near = nearest(collection, [ids[0] for ids in noisy["gold_doc_ids"]], NEAR)
    for row, ids in zip(noisy.itertuples(), near, strict=True):
        others = [doc_id for doc_id in ids if doc_id not in row.gold_doc_ids]
        answers = [answer_in_evidence(text_of[doc_id], row.answers, rule) for doc_id in others]
        chosen.append([others[i] for i in np.argsort(answers, kind="stable")])
    return chosen


def replaced(parts: Sequence[str], counts: Sequence[int], share: float, seed: int) -> Places:
    """Which items are replaced where each question has so many: this share of those of every part.

    Each item has a number drawn from seed, question and place alone, and the lowest are replaced: what is replaced at
    one share is so at any larger one, and the same items are in every system that has as many.
    """
    drawn = [np.random.default_rng((seed, q)).random(n) for q, n in enumerate(counts)]
    chosen: Places = set()
    for part in dict.fromkeys(parts):
        items = [(drawn[q][j], q, j) for q, mine in enumerate(parts) if mine == part for j in range(counts[q])]
        chosen |= {(q, j) for _, q, j in sorted(items)[: round(share * len(items))]}
    return chosen

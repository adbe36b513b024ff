"""What joint training learns from, as token rows, and which of them are due at a step.

Takes the training tuples and documents. The batch of a step depends on the seed and the step alone, so a run that was
killed goes on exactly as if it had not been.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from zmem_lib.errors import BadInput
from zmem_lib.memory_lm import MemoryLM
from zmem_lib.params import Params
from zmem_lib.prompts import Prompts, Row
from zmem_lib.text import passages, sentence_spans

RECITE_WHOLE = 0.5  # of the recitations begin at the document's start
READ_NOTHING = 0.1  # of the reader's lessons have no evidence: the closed-book control
READ_SENTENCE = 0.4  # have single sentences, as z-memory writes; the rest have whole passages
DEV_TUPLES = 96


@dataclass(frozen=True)
class Lessons:
    """All that is trained on, as token rows: training and dev tuples with their document's row of z, documents."""

    params: Params
    tuple_rows: list[Row]
    tuple_index: np.ndarray
    dev_rows: list[Row]
    dev_index: np.ndarray
    recite_rows: list[list[Row]]  # per document: from its start, then from each later sentence on
    tuples: pd.DataFrame
    passages: list[str]


def make_lessons(memory_lm: MemoryLM, docs: pd.DataFrame, tuples: pd.DataFrame, params: Params) -> Lessons:
    """Tokenise seen documents and their train and dev tuples; row i of z belongs to the i-th of `docs`."""
    prompts, row_of = memory_lm.prompts, {doc_id: i for i, doc_id in enumerate(docs.doc_id)}
    tuples = tuples[tuples.doc_id.isin(row_of)]
    train = tuples[tuples.split == "train"].reset_index(drop=True)
    if train.empty:
        raise BadInput("no training question has an answer that stands in its document: look at `answers` and `doc_id`")
    dev = tuples[tuples.split == "dev"].head(DEV_TUPLES)
    texts = passages(docs)
    return Lessons(
        params,
        [prompts.evidence(q, e, params.evidence_tokens) for q, e in zip(train.question, train.evidence, strict=True)],
        train.doc_id.map(row_of).to_numpy(),
        [prompts.evidence(q, e, params.evidence_tokens) for q, e in zip(dev.question, dev.evidence, strict=True)],
        dev.doc_id.map(row_of).to_numpy(),
        [recitations(prompts, text, params.document_tokens) for text in texts],
        train,
        texts,
    )


def batches(memory_lm: MemoryLM, lessons: Lessons, step: int) -> list[tuple[list[Row], np.ndarray | None]]:
    """The batches of a step: rows, and their rows of z (None: the reader, which has no z)."""
    params = lessons.params
    picked = batch_indices(len(lessons.tuple_rows), params.batch_tuples, step=step, seed=params.seed)
    chosen = [([lessons.tuple_rows[i] for i in picked], lessons.tuple_index[picked])]
    if params.recite_weight:
        picked = batch_indices(len(lessons.recite_rows), params.batch_recite, step=step, seed=params.seed + 1)
        rng = np.random.default_rng((params.seed, step, 1))
        chosen.append(([recitation(lessons.recite_rows[i], rng) for i in picked], picked))
    if params.read_weight and params.lm == "scratch" and params.train_lm:
        chosen.append((reading_rows(memory_lm, lessons, step), None))
    return chosen


def recitations(prompts: Prompts, text: str, limit: int) -> list[Row]:
    """A document recited from its start, and from each later sentence on."""
    return [prompts.recite(text[start:], limit) for start, _ in sentence_spans(text)]


def recitation(rows: list[Row], rng: np.random.Generator) -> Row:
    """Half of the time the whole document, else from a sentence drawn at random: each fact without what precedes it."""
    return rows[0] if rng.random() < RECITE_WHOLE else rows[rng.integers(len(rows))]


def reading_rows(memory_lm: MemoryLM, lessons: Lessons, step: int) -> list[Row]:
    """The reader's lessons of a step: gold evidence among distractors, as sentences or as whole passages."""
    params, rows = lessons.params, []
    rng = np.random.default_rng((params.seed, step))
    for i in batch_indices(len(lessons.tuples), params.batch_read, step=step, seed=params.seed + 2):
        others = rng.integers(len(lessons.tuples), size=rng.integers(max(params.top_k, 2)))
        picked = rng.permutation([i, *others])
        kind = rng.random()
        if kind < READ_NOTHING:
            items = []
        elif kind < READ_NOTHING + READ_SENTENCE:
            items = [lessons.tuples.evidence[j] for j in picked]
        else:
            items = [lessons.passages[lessons.tuple_index[j]] for j in picked]
        question, answers = lessons.tuples.question[i], lessons.tuples.answers[i]
        reading = memory_lm.prompts.reading(question, items, params.evidence_tokens)
        rows.append(memory_lm.prompts.read(reading, answers[0]))
    return rows


def batch_indices(n: int, size: int, *, step: int, seed: int) -> np.ndarray:
    """The `size` of n items that are due at a step, in a new random order each epoch."""
    places = np.arange(step * size, (step + 1) * size)
    return np.array([_epoch(n, int(place) // n, seed)[place % n] for place in places])


@lru_cache(maxsize=8)
def _epoch(n: int, epoch: int, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(n)

"""What joint training learns from, as token rows, and which of them are due at a step.

Takes the training tuples and documents. The batch of a step depends on the seed and the step alone, so a run that was
killed goes on exactly as if it had not been. A text is tokenised when it is first due, and then kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import pandas as pd

from zmem_lib.files import BadInput
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.memory.prompts import Prompts, Row
from zmem_lib.memory.shape import Settings
from zmem_lib.tables import PSEUDO
from zmem_lib.text import passage, passages, sentence_spans

INSIDE_GIVEN = 4  # tokens of the sentence in which a recitation begins that are given, not asked
READ_NOTHING = 0.1  # of the steps: their reader's lessons have no evidence, the closed-book control
READ_SENTENCE = 0.25  # single sentences, as z-memory writes; those of the rest have whole passages, as the others bring
TEXT_EVERY = 4  # so many steps to one whose text lessons have whole documents
MOST_DISTRACTORS = 3
DEV_TUPLES = 96


@dataclass(frozen=True)
class Lessons:
    """All that is trained on; token rows are functions of a tuple's or document's number, and keep what they made."""

    params: Settings
    prompts: Prompts
    reads: bool  # the reader's task is learned here
    tuples: pd.DataFrame  # for training
    tuple_row: Callable[[int], Row]
    tuple_index: np.ndarray
    question: Callable[[int], list[int]]  # of a training tuple, to be turned into a vector
    gold: list[frozenset[int]]  # rows of z of all gold documents of a tuple's question: never its negatives
    answered: np.ndarray  # numbers of the tuples whose answer is known
    own: np.ndarray  # numbers of the others: of the questions that the model asked itself
    dev_rows: list[Row]
    dev_index: np.ndarray
    docs: pd.DataFrame
    text: Callable[[int], list[int]]  # a document, to be encoded or read
    recitations: Callable[[int], list[Row]]  # of a document: the whole, then each sentence from inside it on


@dataclass(frozen=True)
class Batch:
    """What is due at a step: rows of z are numbers of documents, `encoded` says where those blocks come from."""

    encoded: bool  # the blocks are made by the encoder, not taken from the table
    tuples: np.ndarray  # (B,) numbers of training tuples
    keyed: np.ndarray  # those among them whose questions learn to find their documents
    beside: np.ndarray  # (B,M) documents whose blocks stand beside the right one
    place: int  # of the right one among them
    recited: np.ndarray  # (R,) documents
    recite_rows: list[Row]
    read_rows: list[Row]
    text_rows: list[Row]


def make_lessons(memory_lm: MemoryLM, docs: pd.DataFrame, tuples: pd.DataFrame, params: Settings) -> Lessons:
    """The lessons of seen documents and their train and dev tuples; row i of z belongs to the i-th of `docs`."""
    row_of = {doc_id: i for i, doc_id in enumerate(docs.doc_id)}
    tuples = tuples[tuples.doc_id.isin(row_of)]
    train = tuples[tuples.split == "train"].reset_index(drop=True)
    if train.empty:
        raise BadInput("no training question has an answer that stands in its document: look at `answers` and `doc_id`")
    dev = tuples[tuples.split == "dev"]  # of all documents, as the first ones are a few articles
    dev = dev.sample(min(len(dev), DEV_TUPLES), random_state=params.seed)
    prompts, texts, limit = memory_lm.prompts, passages(docs), params.memory.document_tokens
    rows, dev_rows = (evidence_rows(prompts, some, params.memory.evidence_tokens) for some in (train, dev))
    index, own = train.doc_id.map(row_of), train.tuple_id.str.startswith(PSEUDO)
    golds = index.groupby(train.question_id).agg(frozenset)
    return Lessons(
        params=params,
        prompts=prompts,
        reads=params.train.lm and params.train.read_weight > 0,
        tuples=train,
        tuple_row=rows,
        tuple_index=index.to_numpy(copy=True),
        question=cache(lambda i: prompts.find(train.question[i])),
        gold=[golds[question_id] for question_id in train.question_id],
        answered=np.flatnonzero(~own),
        own=np.flatnonzero(own),
        dev_rows=[dev_rows(i) for i in range(len(dev))],
        dev_index=dev.doc_id.map(row_of).to_numpy(copy=True),
        docs=docs.assign(passage=texts),
        text=cache(lambda i: prompts.text(texts[i], limit)),
        recitations=cache(lambda i: recitations(prompts, texts[i], limit)),
    )


def evidence_rows(prompts: Prompts, tuples: pd.DataFrame, limit: int) -> Callable[[int], Row]:
    """The rows of tuples by their number, without their z; evidence of at most `limit` tokens."""
    questions, evidence = tuples.question.tolist(), tuples.evidence.tolist()
    return cache(lambda i: prompts.evidence(questions[i], evidence[i], limit))


def asked_rows(prompts: Prompts, asked: pd.DataFrame, doc_ids: Sequence[str], limit: int) -> list[list[Row]]:
    """Of each document the evidence rows of the tuples `asked` about it; evidence of at most `limit` tokens."""
    places, row = asked.groupby("doc_id").indices, evidence_rows(prompts, asked, limit)
    return [[row(i) for i in places.get(doc_id, ())] for doc_id in doc_ids]


def recitations(prompts: Prompts, text: str, limit: int) -> list[Row]:
    """A document recited from its start to its end, and each of its sentences from its first words on."""
    inside = [prompts.recite(text[start:end], limit, given=INSIDE_GIVEN) for start, end in sentence_spans(text)]
    return [prompts.recite(text, limit), *inside]


def batch_at(lessons: Lessons, step: int) -> Batch:
    """What is due at a step."""
    train, seed, n = lessons.params.train, lessons.params.seed, len(lessons.docs)
    rng = np.random.default_rng((seed, step, 1))
    encoded = bool(rng.random() < train.encode_share)
    tuples = tuples_at(lessons, step)
    m = min(int(rng.integers(1, MOST_DISTRACTORS + 1)), n - 1)
    m *= bool(not encoded and rng.random() < train.distractor_share)
    recited = batch_indices(n, train.batch_recite, step=step, seed=seed + 1)
    if encoded:  # few documents with several questions each, and these recited too: encoding costs most
        recited = rng.permutation(np.unique(lessons.tuple_index[tuples]))[: train.batch_recite]
        each = -(-train.batch_tuples // len(recited))
        about = [np.flatnonzero(lessons.tuple_index == document) for document in recited]
        tuples = np.concatenate([rng.permutation(places)[:each] for places in about])
    recited = recited if train.recite_weight else recited[:0]
    return Batch(
        encoded=encoded,
        tuples=tuples,
        keyed=tuples[: len(tuples) if encoded else train.batch_key] if train.key_weight else tuples[:0],
        beside=others(lessons.tuple_index[tuples], n, m, rng),
        place=int(rng.integers(m + 1)),
        recited=recited,
        recite_rows=recitations_at([lessons.recitations(i) for i in recited], train.recite_inside, rng),
        read_rows=reading_rows(lessons, step) if lessons.reads else [],
        text_rows=text_rows(lessons, tuples[: train.batch_text], step) if train.text_weight else [],
    )


def others(right: np.ndarray, n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """For each of the documents `right` (B,) m of the n - 1 others (B,M), all different."""
    beside = np.array([rng.choice(n - 1, m, replace=False) for _ in right], dtype=int).reshape(len(right), m)  # (B,M)
    return beside + (beside >= right[:, None])  # the numbers behind the right one's move up


def tuples_at(lessons: Lessons, step: int) -> np.ndarray:
    """Numbers (B,) of the training tuples that are due at a step; a third the model's own, or all."""
    size, seed, given, own = lessons.params.train.batch_tuples, lessons.params.seed, lessons.answered, lessons.own
    share = 3 if len(given) else 1  # beside given ones they come late, and ask for what no other does: they catch up
    n_own = size // share if len(own) else 0
    chosen = given[batch_indices(len(given), size - n_own, step=step, seed=seed)]
    return np.concatenate([chosen, own[batch_indices(len(own), n_own, step=step, seed=seed + 3)]])


def recitations_at(documents: Sequence[list[Row]], inside: float, rng: np.random.Generator) -> list[Row]:
    """All documents whole, or, in a share `inside` of the cases, of each one sentence behind its first words."""
    alone = rng.random() < inside  # so each fact is reached without what precedes it; of one kind: less padding
    return [rows[rng.integers(1, len(rows))] if alone and len(rows) > 1 else rows[0] for rows in documents]


def reading_rows(lessons: Lessons, step: int) -> list[Row]:
    """The reader's lessons of a step: gold evidence among distractors, all as sentences or all as whole passages."""
    params, prompts, tuples, rows = lessons.params, lessons.prompts, lessons.tuples, []
    rng = np.random.default_rng((params.seed, step))
    kind = rng.random()
    for place in batch_indices(len(lessons.answered), params.train.batch_read, step=step, seed=params.seed + 2):
        i = int(lessons.answered[place])
        picked = rng.permutation([i, *rng.integers(len(tuples), size=rng.integers(params.train.read_items))])
        if kind < READ_NOTHING:
            items = []
        elif kind < READ_NOTHING + READ_SENTENCE:
            items = list(tuples.evidence[picked])
        else:
            items = list(lessons.docs.passage.iloc[lessons.tuple_index[picked]])
        reading = prompts.reading(tuples.question[i], items, params.memory.evidence_tokens)
        rows.append(prompts.read(reading, tuples.answers[i][0]))
    return rows


def text_rows(lessons: Lessons, chosen: np.ndarray, step: int) -> list[Row]:
    """The text twin's lessons: at one step in TEXT_EVERY behind the document, at others behind the evidence alone."""
    prompts, limit, rows = lessons.prompts, lessons.params.memory.document_tokens, []
    for i, document in zip(chosen, lessons.tuple_index[chosen], strict=True):
        alone = passage(lessons.docs.title.iloc[document], lessons.tuples.evidence[i])
        text = prompts.text(alone, limit) if step % TEXT_EVERY else lessons.text(document)
        rows.append(prompts.twin(text, lessons.tuple_row(i)))
    return rows


def batch_indices(n: int, size: int, *, step: int, seed: int) -> np.ndarray:
    """The `size` of n items that are due at a step, in a new random order each epoch."""
    places = range(step * size, (step + 1) * size)
    return np.array([_epoch(n, place // n, seed)[place % n] for place in places], dtype=int)


@lru_cache(maxsize=8)
def _epoch(n: int, epoch: int, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(n)

"""How answers fall when a growing share of the evidence items is replaced: the tables noise_scores and noise.

The same questions' items are replaced for every system that must find its document, and for those that are given the
right one. By two kinds. `hard negative`: the documents most like the gold one (cosine of the dense model) that are not
gold, those without a gold answer in them first, as DPR's negatives are chosen (2004.04906, section 3.2). `changed
answer`: the gold document with its answer exchanged for that of another question, of the same kind (Longpre et al.,
2109.05052, section 2). A system that reads passages gets these as text. One that writes from z gets what it writes from
the similar document's own z, and from a block into which the changed document was written as chapter 04 writes.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, product
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from zmem_lib.cache import inside, remembered
from zmem_lib.evaluation.metrics import answer_in_evidence, em, f1
from zmem_lib.evaluation.scoring import likeness, words_of
from zmem_lib.evaluation.stats import grouped_means
from zmem_lib.meter import progress
from zmem_lib.systems.choosing import nearest
from zmem_lib.systems.collection import Collection
from zmem_lib.systems.evidence import answer, from_blocks, packed, passages_of, wide, written
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import TEST_PARTS, check, no_rows
from zmem_lib.text import passage, passages

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)  # of the evidence items, replaced
NEGATIVE, CHANGED = KINDS = ("hard negative", "changed answer")
NEAR = 100  # similar documents that are looked at
TRIED = 20  # answers of other questions that may take the place of the right one

Places = set[tuple[int, int]]  # number of the question, of the item
Row = Mapping[Any, Any]  # a question, or a document, by column
METRICS = {"em": em, "f1": f1}


@dataclass(frozen=True)
class Swaps:
    """What takes the place of items, by kind and question, the first for the first item; when they are used up, again.

    `texts` for systems that read passages, `written` for those that write from z; `readings` are answers that were
    made, by question id and items.
    """

    texts: dict[str, list[list[str]]]
    written: dict[str, list[list[str]]]
    readings: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)


def noise_scores(
    test: pd.DataFrame, questions: pd.DataFrame, answers: Mapping[str, pd.DataFrame], collection: Collection
) -> pd.DataFrame:
    """Exact match and F1 of every system's answers with each share of items replaced: the table noise_scores."""
    noisy = noisy_questions(test, questions, collection)
    names = [name for name in answers if SYSTEMS[name].own_ranking or SYSTEMS[name].reference] if len(noisy) else []
    if not names:
        return no_rows("noise_scores")
    swaps, tables = make_swaps(noisy, collection), []
    for name in progress(names, "replacing evidence", len(names)):
        make = partial(system_scores, name, answers[name], noisy, swaps=swaps, collection=collection)
        tables.append(remembered(collection.cache, f"noise_{name}.parquet", make))
    return check(pd.concat(tables), "noise_scores")


def noise_table(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Their means by system, part, kind of noise, share replaced and metric, with intervals: the table noise."""
    return check(grouped_means(scores, ["system", "part", "kind", "share", "metric"], samples, seed), "noise")


def system_scores(
    name: str, answers: pd.DataFrame, noisy: pd.DataFrame, *, swaps: Swaps, collection: Collection
) -> pd.DataFrame:
    """The rows of one system."""
    own, fills = answers.set_index("question_id").loc[list(noisy["question_id"])], SYSTEMS[name].hands == "packed"
    items = own_items(name, own, noisy, collection)
    swaps.readings.update(zip(item_keys(noisy, items), own["answer"], strict=True))
    takes, sets = swaps.written if SYSTEMS[name].grounded else swaps.texts, {}
    for kind, share in product(KINDS, SHARES):
        places = replaced(noisy["part"], list(map(len, items)), share, collection.params.seed)
        changed = [
            [new[j % len(new)] if (q, j) in places else item for j, item in enumerate(some)]
            for q, (some, new) in enumerate(zip(items, takes[kind], strict=True))
        ]
        sets[kind, share] = [packed(collection, some) for some in changed] if fills else changed
    keys = [key for changed in sets.values() for key in item_keys(noisy, changed)]
    if unread := [key for key in dict.fromkeys(keys) if key not in swaps.readings]:
        asked = noisy.set_index("question_id", drop=False).loc[[question_id for question_id, _ in unread]]
        texts, reader = [list(some) for _, some in unread], wide(collection) if fills else collection
        read = answer(asked, reader, texts, began=time.perf_counter())
        swaps.readings.update(zip(unread, read["answer"], strict=True))
    rule, tables = collection.params.corpus.normalisation, []
    for ((kind, share), changed), (metric, of) in product(sets.items(), METRICS.items()):
        said = [swaps.readings[key] for key in item_keys(noisy, changed)]
        values = [float(of(*pair, rule)) for pair in zip(said, noisy["answers"], strict=True)]
        place = noisy[["question_id", "part"]].assign(system=name, kind=kind, share=share, metric=metric)
        tables.append(place.assign(value=values, cluster=[golds[0] for golds in noisy["gold_doc_ids"]]))
    return pd.concat(tables)


def own_items(name: str, answers: pd.DataFrame, noisy: pd.DataFrame, collection: Collection) -> list[list[str]]:
    """The evidence items of a system's answers, by question: as they were written, or the whole passages."""
    system = SYSTEMS[name]
    if system.grounded:
        return list(map(list, answers["evidence"]))
    most = 1 if system.given else None if system.hands == "packed" else collection.params.answer.top_k
    chosen = noisy["gold_doc_ids"] if system.given else answers["ranked_doc_ids"]
    items = passages_of(noisy, collection, [ids[:most] for ids in chosen])[0]
    return [packed(collection, some) for some in items] if system.hands == "packed" else items


def item_keys(noisy: pd.DataFrame, items: list[list[str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Question id and items of every question."""
    return [(question_id, tuple(some)) for question_id, some in zip(noisy["question_id"], items, strict=True)]


def noisy_questions(test: pd.DataFrame, questions: pd.DataFrame, collection: Collection) -> pd.DataFrame:
    """At most `answer.noise_questions` test questions of each part, drawn by the seed, with the changed document.

    `title` and `text` have a wrong answer in the place of the right one, which must stand there word for word.
    """
    rule, rows = collection.params.corpus.normalisation, []
    docs = collection.docs.set_index("doc_id")[["title", "text"]].to_dict("index")
    words = [words_of(question, rule) for question in questions["question"]]
    shuffled = test[test["part"].isin(TEST_PARTS)].sample(frac=1, random_state=collection.params.seed)
    for _, some in shuffled.groupby("part", sort=False):
        asked = ((row, other_answers(row, questions, words, rule)) for row in some.to_dict("records"))
        changed = (changed_row(row, docs[row["gold_doc_ids"][0]], wrong, rule) for row, wrong in asked)
        rows += islice(filter(None, changed), collection.params.answer.noise_questions)
    columns = ["question_id", "part", "question", "answers", "gold_doc_ids", "title", "text"]
    return pd.DataFrame(rows, columns=columns)


def changed_row(row: Row, doc: Row, others: Iterator[str], rule: str) -> Row | None:
    """The question with its document changed to the first of the answers `others` that leaves no right one there."""
    if not answer_in_evidence(passage(doc["title"], doc["text"]), row["answers"], rule):
        return None
    for wrong in islice(others, TRIED):
        title, text = (exchanged(doc[name], row["answers"], wrong, rule) for name in ("title", "text"))
        if not answer_in_evidence(passage(title, text), row["answers"], rule):
            return {**row, "title": title, "text": text}
    return None


def other_answers(row: Row, questions: pd.DataFrame, words: Sequence[set[str]], rule: str) -> Iterator[str]:
    """Answers of questions about other documents: numbers for a number, then those of the most similar questions."""
    alike = likeness(words_of(row["question"], rule), words)  # (P,)
    digit = [any(map(str.isdigit, answers[0])) for answers in (row["answers"], *questions["answers"])]
    unlike = np.array(digit[1:]) != digit[0]  # (P,)
    golds, answers = list(questions["gold_doc_ids"]), list(questions["answers"])
    for place in np.lexsort((-alike, unlike)):
        if not set(golds[place]) & set(row["gold_doc_ids"]):
            yield answers[place][0]


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
    docs = docs[["doc_id", "title", "text", "part"]].reset_index(drop=True)

    def make() -> dict[str, Tensor]:
        return {"z": collection.write_documents(docs, cache=inside(collection.cache, "noise"))[0]}  # (D,K,W)

    z = remembered(collection.cache, "noise_changed.safetensors", make)["z"]
    return Swaps(
        texts={NEGATIVE: passages_of(noisy, collection, negatives)[0], CHANGED: [[text] for text in passages(noisy)]},
        written={
            NEGATIVE: written(noisy, collection, [ids[:top_k] for ids in negatives])[0],
            CHANGED: from_blocks(noisy, collection, due, z)[0],
        },
    )


def hard_negatives(noisy: pd.DataFrame, collection: Collection) -> list[list[str]]:
    """For each question the documents most like its gold one that are not gold, those without a gold answer first."""
    text_of, rule, chosen = collection.text_of, collection.params.corpus.normalisation, []
    near = nearest(collection, list(noisy["gold_doc_ids"]), NEAR)
    for ids, golds, answers in zip(near, noisy["gold_doc_ids"], noisy["answers"], strict=True):
        others = [doc_id for doc_id in ids if doc_id not in golds]
        chosen.append(sorted(others, key=lambda doc_id: answer_in_evidence(text_of[doc_id], answers, rule)))
    return chosen


def replaced(parts: Sequence[str] | pd.Series, counts: Sequence[int], share: float, seed: int) -> Places:
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

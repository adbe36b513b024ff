"""How answers fall when a growing share of the evidence items is replaced: the tables noise_scores and noise.

Takes the test questions, all questions of the run, what every system answered and a collection. The same questions'
items are replaced for every system that must find its document, and for those that are given the right one;
noise_items.py says by what. The reader reads again where an item has changed, and nowhere else.
"""

import time
from collections.abc import Mapping
from functools import partial

import pandas as pd

from zmem_lib.cache import remembered
from zmem_lib.evaluation.metrics import em, f1
from zmem_lib.evaluation.noise_items import KINDS, SHARES, Swaps, make_swaps, noisy_questions, replaced
from zmem_lib.evaluation.stats import bootstrap_mean
from zmem_lib.meter import progress
from zmem_lib.systems.collection import Collection
from zmem_lib.systems.evidence import answer, packed, passages_of, wide
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import TABLES, check, no_rows

METRICS = {"em": em, "f1": f1}
PLACE = ["system", "part", "kind", "share", "metric"]


def noise_scores(
    test: pd.DataFrame, questions: pd.DataFrame, answers: Mapping[str, pd.DataFrame], collection: Collection
) -> pd.DataFrame:
    """Exact match and F1 of every system's answers with each share of items replaced: the table noise_scores.

    Empty where `answer.noise_questions` is 0. A chapter that was killed loses one system's readings at most.
    """
    noisy = noisy_questions(test, questions, collection)
    names = [name for name in answers if SYSTEMS[name].compared or SYSTEMS[name].reference] if len(noisy) else []
    if not names:
        return no_rows("noise_scores")
    swaps, tables = make_swaps(noisy, collection), []
    for name in progress(names, "replacing evidence", len(names)):
        make = partial(system_scores, name, answers[name], noisy, swaps=swaps, collection=collection)
        tables.append(remembered(collection.cache, f"noise_{name}.parquet", make))
    return check(pd.concat(tables), "noise_scores")


def noise_table(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Their means by system, part, kind of noise, share replaced and metric, with intervals: the table noise."""
    rows = [
        dict(zip(PLACE, place, strict=True)) | vars(bootstrap_mean(values, samples, seed))
        for place, values in scores.groupby(PLACE, sort=False)["value"]
    ]
    return check(pd.DataFrame(rows, columns=list(TABLES["noise"])), "noise")


def system_scores(
    name: str, answers: pd.DataFrame, noisy: pd.DataFrame, *, swaps: Swaps, collection: Collection
) -> pd.DataFrame:
    """The rows of one system."""
    own, fills = answers.set_index("question_id").loc[list(noisy["question_id"])], SYSTEMS[name].hands == "packed"
    items = own_items(name, own, noisy, collection)
    swaps.readings.update(zip(item_keys(noisy, items), own["answer"], strict=True))
    takes, sets = swaps.written if SYSTEMS[name].grounded else swaps.texts, {}
    for kind in KINDS:
        for share in SHARES:
            places = replaced(noisy["part"], list(map(len, items)), share, collection.params.seed)
            changed = [
                [takes[kind][q][j % len(takes[kind][q])] if (q, j) in places else item for j, item in enumerate(some)]
                for q, some in enumerate(items)
            ]
            sets[kind, share] = [packed(collection, some) for some in changed] if fills else changed
    read_missing(noisy, list(sets.values()), swaps, wide(collection) if fills else collection)
    rule, tables = collection.params.corpus.normalisation, []
    for (kind, share), changed in sets.items():
        said = [swaps.readings[key] for key in item_keys(noisy, changed)]
        for metric, of in METRICS.items():
            values = [float(of(*pair, rule)) for pair in zip(said, noisy["answers"], strict=True)]
            place = {"system": name, "kind": kind, "share": share, "metric": metric}
            tables.append(noisy[["question_id", "part"]].assign(**place, value=values))
    return pd.concat(tables)


def own_items(name: str, answers: pd.DataFrame, noisy: pd.DataFrame, collection: Collection) -> list[list[str]]:
    """The evidence items of a system's answers, by question: as they were written, or the whole passages."""
    system = SYSTEMS[name]
    if system.grounded:
        return list(map(list, answers["evidence"]))
    if system.given:
        return passages_of(noisy, collection, [ids[:1] for ids in noisy["gold_doc_ids"]])[0]
    top_k = None if system.hands == "packed" else collection.params.answer.top_k
    texts = passages_of(noisy, collection, [list(ids[:top_k]) for ids in answers["ranked_doc_ids"]])[0]
    return [packed(collection, some) for some in texts] if system.hands == "packed" else texts


def item_keys(noisy: pd.DataFrame, items: list[list[str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Question id and items of every question."""
    return [(question_id, tuple(some)) for question_id, some in zip(noisy["question_id"], items, strict=True)]


def read_missing(noisy: pd.DataFrame, sets: list[list[list[str]]], swaps: Swaps, collection: Collection) -> None:
    """Read every question with every set of its items that was not read before; the answers go to `readings`."""
    keys = dict.fromkeys(key for items in sets for key in item_keys(noisy, items) if key not in swaps.readings)
    if keys:
        asked = noisy.set_index("question_id", drop=False).loc[[question_id for question_id, _ in keys]]
        found = answer(asked, collection, [list(items) for _, items in keys], began=time.perf_counter())
        swaps.readings.update(zip(keys, found["answer"], strict=True))

"""How answers fall when a growing share of the evidence items is replaced: the table noise.

Takes the test questions, all questions of the run, what every system answered and a bench. The same questions' items
are replaced for every system that must find its document, and for two that are given the right one; noise_items.py says
by what. The reader reads again where an item has changed, and nowhere else.
"""

import time
from collections.abc import Iterator, Mapping
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from zmem_lib.cache import remembered
from zmem_lib.evaluation.metrics import em, f1
from zmem_lib.evaluation.noise_items import KINDS, SHARES, Swaps, make_swaps, noisy_questions, replaced
from zmem_lib.evaluation.stats import bootstrap_mean
from zmem_lib.meter import progress
from zmem_lib.params import Params
from zmem_lib.systems.collection import Bench
from zmem_lib.systems.evidence import answer, chosen_passages, packed, recall, wide
from zmem_lib.tables import COMPARED, TABLES, check

REFERENCES = ("zmem-oracle", "gold-passage")
FROM_Z = ("zmem", "zmem+bm25", "zmem-oracle")  # their items are written from z
METRICS = {"em": em, "f1": f1}


def noise_table(
    test: pd.DataFrame, questions: pd.DataFrame, answers: Mapping[str, pd.DataFrame], bench: Bench
) -> pd.DataFrame:
    """Exact match and F1 of every system, part, kind of noise and share of items replaced, with intervals.

    Empty where `answer.noise_questions` is 0. A chapter that was killed loses one system's readings at most.
    """
    noisy, rows = noisy_questions(test, questions, bench), []
    names = [name for name in answers if name in (*COMPARED, *REFERENCES)] if len(noisy) else []
    swaps = make_swaps(noisy, bench) if names else None
    for name in progress(names, "replacing evidence", len(names)):
        make = partial(noise_scores, name, answers[name], noisy, swaps=swaps, bench=bench)
        rows += summed_up(name, noisy, remembered(bench.keep, f"noise_{name}.safetensors", make), bench.params)
    return check(pd.DataFrame(rows, columns=list(TABLES["noise"])), "noise")


def noise_scores(
    name: str, answers: pd.DataFrame, noisy: pd.DataFrame, *, swaps: Swaps, bench: Bench
) -> dict[str, Tensor]:
    """Of one system every metric (kinds,shares,Q) of its answers to the noisy questions."""
    mine = answers.set_index("question_id").loc[list(noisy["question_id"])]
    own = own_items(name, mine, noisy, bench)
    swaps.readings.update(zip(item_keys(noisy, own), mine["answer"], strict=True))
    takes = swaps.written if name in FROM_Z else swaps.texts
    sets = []
    for kind in KINDS:
        for share in SHARES:
            places = replaced(noisy["part"], [len(items) for items in own], share, bench.params.seed)
            changed = [
                [takes[kind][q][j % len(takes[kind][q])] if (q, j) in places else item for j, item in enumerate(items)]
                for q, items in enumerate(own)
            ]
            sets.append([packed(bench, items) for items in changed] if name == "long-context" else changed)
    read_missing(noisy, sets, swaps, wide(bench) if name == "long-context" else bench)
    said = [[swaps.readings[key] for key in item_keys(noisy, items)] for items in sets]
    rule, golds = bench.params.corpus.normalisation, list(noisy["answers"])
    values = {
        metric: [[of(text, gold, rule) for text, gold in zip(texts, golds, strict=True)] for texts in said]
        for metric, of in METRICS.items()
    }
    shape = len(KINDS), len(SHARES), len(noisy)
    return {metric: torch.tensor(rows).double().view(shape) for metric, rows in values.items()}  # (kinds,shares,Q)


def own_items(name: str, mine: pd.DataFrame, noisy: pd.DataFrame, bench: Bench) -> list[list[str]]:
    """The evidence items of a system's answers, by question, made again where the answers hold several in one."""
    top_k = bench.params.answer.top_k
    if name == "zmem-oracle" or (name in FROM_Z and top_k == 1):
        return [[evidence] for evidence in mine["evidence"]]
    if name == "gold-passage":
        return chosen_passages(bench, [ids[:1] for ids in noisy["gold_doc_ids"]])
    if name == "long-context":
        return [packed(bench, texts) for texts in chosen_passages(bench, list(mine["ranked_doc_ids"]))]
    chosen = [list(ids[:top_k]) for ids in mine["ranked_doc_ids"]]
    return recall(noisy, bench, chosen)[0] if name in FROM_Z else chosen_passages(bench, chosen)


def item_keys(noisy: pd.DataFrame, items: list[list[str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Question id and items of every question."""
    return [(question_id, tuple(mine)) for question_id, mine in zip(noisy["question_id"], items, strict=True)]


def read_missing(noisy: pd.DataFrame, sets: list[list[list[str]]], swaps: Swaps, bench: Bench) -> None:
    """Read every question with every set of its items that was not read before; the answers go to `readings`."""
    keys = dict.fromkeys(key for items in sets for key in item_keys(noisy, items) if key not in swaps.readings)
    if keys:
        asked = noisy.set_index("question_id", drop=False).loc[[question_id for question_id, _ in keys]]
        found = answer(asked, bench, [list(items) for _, items in keys], began=time.perf_counter())
        swaps.readings.update(zip(keys, found["answer"], strict=True))


def summed_up(name: str, noisy: pd.DataFrame, scores: Mapping[str, Tensor], params: Params) -> Iterator[dict]:
    """The rows of a system: a mean with its interval for every part, kind, share and metric."""
    for part, places in noisy.reset_index(drop=True).groupby("part", sort=False).indices.items():
        for i, kind in enumerate(KINDS):
            for j, share in enumerate(SHARES):
                for metric, values in scores.items():
                    found = bootstrap_mean(
                        values[i, j][places].tolist(), params.evaluate.bootstrap_samples, params.seed
                    )
                    place = {"system": name, "part": part, "kind": kind, "share": share, "metric": metric}
                    yield place | vars(found)

"""Two rankings made one: reciprocal rank fusion, and a weighted sum of scores whose weight is chosen on dev questions.

Takes rankings of the same questions by two retrievers, FUSED documents deep; returns a ranking. Reciprocal ranks are
Cormack, Clarke and Büttcher's (SIGIR 2009); the sum is the convex combination of Bruch, Gai and Ingber (2210.11934),
each question's scores stretched to lie between 0 and 1. A document that one of the two does not name has 0 from it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zmem_lib.evaluation.metrics import retrieval_scores
from zmem_lib.files import write_json
from zmem_lib.opponents.retrieve import BM25Index, DenseIndex, Ranking, rank_bm25, rank_dense

if TYPE_CHECKING:
    from zmem_lib.opponents.dense import SentenceTransformer

FUSED = 100  # documents of each ranking that are fused
CONSTANT = 60  # of reciprocal rank fusion; its authors'
WEIGHTS = tuple(round(0.05 * i, 2) for i in range(21))  # of the second ranking
DEV_SAMPLE = 500  # dev questions that choose the weight
WEIGHT_FILE = "hybrid.json"
CHOSEN_BY = "mrr@10"  # finer than recall@1, which few dev questions leave tied


def reciprocal_ranks(first: Ranking, second: Ranking, depth: int) -> Ranking:
    """The best `depth` documents by 1 / (CONSTANT + rank), summed over both rankings."""

    def by_place(scores: list[float]) -> list[float]:
        return [1 / (CONSTANT + place) for place in range(1, len(scores) + 1)]

    return summed(rescored(first, by_place), rescored(second, by_place), depth)


def weighted_sum(first: Ranking, second: Ranking, weight: float, depth: int) -> Ranking:
    """The best `depth` documents by (1 - weight) * first + weight * second, scores stretched to 0 to 1."""
    mine = rescored(first, lambda scores: [(1 - weight) * score for score in stretched(scores)])
    other = rescored(second, lambda scores: [weight * score for score in stretched(scores)])
    return summed(mine, other, depth)


def rescored(ranking: Ranking, score: Callable[[list[float]], list[float]]) -> Ranking:
    """The ranking with what `score` makes of each question's scores."""
    return ranking[0], [score(scores) for scores in ranking[1]]


def summed(first: Ranking, second: Ranking, depth: int) -> Ranking:
    """The best `depth` documents by the sum of their scores, equal ones in the order of the first ranking."""
    ids, scores = [], []
    for lists in zip(*first, *second, strict=True):  # ids, scores, ids, scores of a question
        total = dict(zip(lists[0], lists[1], strict=True))
        for doc_id, score in zip(lists[2], lists[3], strict=True):
            total[doc_id] = total.get(doc_id, 0.0) + score
        best = sorted(total, key=lambda doc_id: -total[doc_id])[:depth]
        ids.append(best)
        scores.append([total[doc_id] for doc_id in best])
    return ids, scores


def stretched(scores: Sequence[float]) -> list[float]:
    """Scores, best first, moved and scaled so that the best is 1 and the last 0; all 1 where they are equal."""
    spread = scores[0] - scores[-1] if len(scores) else 0.0
    return [(score - scores[-1]) / spread if spread else 1.0 for score in scores]


def rank_both(
    bm25: BM25Index, dense: DenseIndex, encoder: "SentenceTransformer", questions: list[str]
) -> tuple[Ranking, Ranking]:
    """What is fused: the best FUSED documents by BM25, and by the encoder."""
    return rank_bm25(bm25, questions, FUSED), rank_dense(dense, encoder, questions, FUSED)


def choose_weight(
    dev: pd.DataFrame, bm25: BM25Index, dense: DenseIndex, encoder: "SentenceTransformer", *, folder: Path, seed: int
) -> pd.DataFrame:
    """Choose the weight of the dense scores on at most DEV_SAMPLE dev questions, write it, return what was tried."""
    dev = dev.sample(min(len(dev), DEV_SAMPLE), random_state=seed)
    tried = try_weights(*rank_both(bm25, dense, encoder, list(dev["question"])), list(dev["gold_doc_ids"]))
    save_weight(tried, len(dev), folder / WEIGHT_FILE)
    return tried


def save_weight(tried: pd.DataFrame, n: int, path: Path) -> None:
    """Write the best weight of those tried on n dev questions, and what was tried."""
    write_json({"weight": best_weight(tried), "n": n, "tried": tried.to_dict("list")}, path)


def try_weights(first: Ranking, second: Ranking, gold: Sequence[Sequence[str]]) -> pd.DataFrame:
    """What each of WEIGHTS does on questions with these gold documents: weight, recall@1, mrr@10 (NaN without any)."""
    names = [str(q) for q in range(len(gold))]
    by_question, rows = dict(zip(names, gold, strict=True)), []
    for weight in WEIGHTS:
        ranked = dict(zip(names, weighted_sum(first, second, weight, 10)[0], strict=True))
        means = retrieval_scores(by_question, ranked).groupby("metric")["value"].mean()
        rows.append({"weight": weight} | {metric: means.get(metric, np.nan) for metric in ("recall@1", CHOSEN_BY)})
    return pd.DataFrame(rows)


def best_weight(tried: pd.DataFrame) -> float:
    """The weight that is best on dev questions; of equal ones the middle one, as their edges hang on few questions."""
    values = tried[CHOSEN_BY].fillna(0.0)
    best = tried.loc[np.isclose(values, values.max()), "weight"]
    return float(best.iloc[len(best) // 2])

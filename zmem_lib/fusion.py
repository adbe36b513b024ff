"""Two rankings made one: reciprocal rank fusion, and a weighted sum of scores whose weight is chosen on dev questions.

Takes rankings of the same questions by two retrievers, FUSED documents deep; returns a ranking. Reciprocal ranks are
Cormack, Clarke and Büttcher's (SIGIR 2009); the sum is the convex combination of Bruch, Gai and Ingber (2210.11934),
each question's scores stretched to lie between 0 and 1. A document that one of the two does not name has 0 from it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from zmem_lib.metrics import retrieval_scores
from zmem_lib.retrieve import Ranking

FUSED = 100  # documents of each ranking that are fused
CONSTANT = 60  # of reciprocal rank fusion; its authors'
WEIGHTS = tuple(round(0.05 * i, 2) for i in range(21))  # of the second ranking
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


def try_weights(first: Ranking, second: Ranking, gold: Sequence[Sequence[str]]) -> pd.DataFrame:
    """What each of WEIGHTS does on dev questions with their gold documents: weight, recall@1, mrr@10, in that order."""
    names = [str(q) for q in range(len(gold))]
    by_question, rows = dict(zip(names, gold, strict=True)), []
    for weight in WEIGHTS:
        ranked = dict(zip(names, weighted_sum(first, second, weight, 10)[0], strict=True))
        means = retrieval_scores(by_question, ranked).groupby("metric")["value"].mean()
        rows.append({"weight": weight, "recall@1": means["recall@1"], CHOSEN_BY: means[CHOSEN_BY]})
    return pd.DataFrame(rows)


def best_weight(tried: pd.DataFrame) -> float:
    """The weight that is best on dev questions; of equal ones the middle one, as their edges hang on few questions."""
    best = tried.loc[np.isclose(tried[CHOSEN_BY], tried[CHOSEN_BY].max()), "weight"]
    return float(best.iloc[len(best) // 2])

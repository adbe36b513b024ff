"""Two rankings made one: reciprocal rank fusion, and a weighted sum of scores whose weight is chosen on dev questions.

Reciprocal ranks are Cormack, Clarke and Büttcher's (SIGIR 2009); the sum is the convex combination of Bruch, Gai and
Ingber (2210.11934), each question's scores stretched to 0 to 1. A document that one does not name has 0 from it. The
second ranking may be the first one's beginning, put in order by a reranker: one rule for two retrievers and for two
stages.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from zmem_lib.opponents.bm25 import Ranking, reciprocal_gold_ranks

FUSED = 100  # documents of each ranking that are fused
CONSTANT = 60  # of reciprocal rank fusion; its authors'
WEIGHTS = tuple(round(0.05 * i, 2) for i in range(21))  # of the second ranking
CHOSEN_BY = "mrr@10"  # finer than recall@1, which few dev questions leave tied


def reciprocal_ranks(first: Ranking, second: Ranking, depth: int) -> Ranking:
    """The best `depth` documents by 1 / (CONSTANT + rank), summed over both rankings."""
    first, second = (
        (ids, [[1 / (CONSTANT + place) for place in range(1, len(some) + 1)] for some in ids])
        for ids, _ in (first, second)
    )
    return summed(first, second, depth)


def weighted_sum(first: Ranking, second: Ranking, weight: float, depth: int) -> Ranking:
    """The best `depth` documents by (1 - weight) * first + weight * second, scores stretched to 0 to 1."""
    first, second = (
        (ids, [[share * score for score in stretched(some)] for some in scores])
        for (ids, scores), share in ((first, 1 - weight), (second, weight))
    )
    return summed(first, second, depth)


def summed(first: Ranking, second: Ranking, depth: int) -> Ranking:
    """The best `depth` by the sum of their scores, equal ones in the order of the first."""
    ids, sums = [], []
    for names, scores, more_names, more_scores in zip(*first, *second, strict=True):  # of a question
        total = dict(zip(names, scores, strict=True))
        for doc_id, score in zip(more_names, more_scores, strict=True):
            total[doc_id] = total.get(doc_id, 0.0) + score
        ids.append(sorted(total, key=lambda doc_id: -total[doc_id])[:depth])
        sums.append([total[doc_id] for doc_id in ids[-1]])
    return ids, sums


def stretched(scores: Sequence[float]) -> list[float]:
    """Scores, best first, moved and scaled so that the best is 1 and the last 0; all 1 where they are equal."""
    spread = scores[0] - scores[-1] if len(scores) else 0.0
    return [(score - scores[-1]) / spread if spread else 1.0 for score in scores]


def choose_weight(first: Ranking, second: Ranking, gold: Sequence[Sequence[str]]) -> tuple[float, pd.DataFrame]:
    """The weight of the second ranking that is best on questions with these gold documents, and what was tried.

    Columns: weight, recall@1, mrr@10 (NaN without any question), of which the latter decides.
    """
    rows = []
    for weight in WEIGHTS:
        ranked = weighted_sum(first, second, weight, 10)[0]
        shares = pd.Series(reciprocal_gold_ranks(ranked, gold), dtype=float)
        rows.append({"weight": weight, "recall@1": shares.eq(1).mean(), CHOSEN_BY: shares.mean()})
    tried = pd.DataFrame(rows)
    values = tried[CHOSEN_BY].fillna(0.0)
    best = tried.loc[np.isclose(values, values.max()), "weight"].tolist()
    return best[len(best) // 2], tried  # of equal ones the middle one, as their edges hang on few questions

"""Every pair of compared systems over the same questions: the difference, its test, and what n could have shown.

Takes the table scores; returns the table pairs. The pairs of one part and one measure are one family of tests.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from zmem_lib.evaluation.metrics import METRICS
from zmem_lib.evaluation.stats import bootstrap_mean, detectable, holm, paired_p
from zmem_lib.systems.systems import compared
from zmem_lib.tables import TABLES, TEST_PARTS, check, in_order


def pair_table(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """First minus second system, interval, p of the permutation test, p after Holm, least difference to be seen, n."""
    tested = [name for name, metric in METRICS.items() if metric.tested]
    kept = scores[scores["part"].isin(TEST_PARTS) & scores["metric"].isin(tested) & scores["system"].isin(compared())]
    rows = []
    for (part, metric), some in kept.groupby(["part", "metric"], sort=False):
        wide = some.pivot(index="question_id", columns="system", values="value").dropna()  # (n,S)
        pairs = list(combinations(in_order(some["system"], compared()), 2))
        if not pairs or wide.empty:
            continue
        gaps = np.stack([(wide[first] - wide[second]).to_numpy() for first, second in pairs], 1)  # (n,P)
        p_values = paired_p(gaps, seed)  # (P,)
        for (first, second), gap, p, corrected in zip(pairs, gaps.T, p_values, holm(p_values), strict=True):
            place = {"part": part, "metric": metric, "first": first, "second": second}
            test = {"p": p, "p_holm": corrected, "detectable": detectable(gap, len(pairs))}
            rows.append(place | vars(bootstrap_mean(gap, samples, seed)) | test)
    return check(pd.DataFrame(rows, columns=list(TABLES["pairs"])), "pairs")

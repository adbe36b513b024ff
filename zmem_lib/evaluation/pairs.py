"""Systems over the same questions: every pair of those compared, what a context does to the reader.

Takes the table scores; returns the tables pairs and contexts, and `experiment` any systems of it against a
baseline. The pairs of one part and one measure are one family of tests. The four measures of contexts are MIRAGE's
(Park et al., 2504.17137, section 3.3), by whether an answer is right (`em_loose`) without any context (b: closed book),
with the right context alone (o), and with that which a system chose or wrote (m). With o the gold passage it is
MIRAGE's own; with o the gold document's z it tells what is lost in choosing from what is lost in encoding.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from zmem_lib.evaluation import stats
from zmem_lib.evaluation.metrics import METRICS
from zmem_lib.files import BadInput
from zmem_lib.systems.systems import SYSTEMS, compared, which
from zmem_lib.tables import CONTEXTS, TABLES, TEST_PARTS, check, in_order, no_rows

CORRECTIONS = {
    "holm": stats.holm, "bonferroni": lambda p_values: np.minimum(len(p_values) * p_values, 1.0), "none": np.array,
}  # fmt: skip


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
        p_values = stats.paired_p(gaps, seed)  # (P,)
        for (first, second), gap, p, corrected in zip(pairs, gaps.T, p_values, stats.holm(p_values), strict=True):
            place = {"part": part, "metric": metric, "first": first, "second": second}
            test = {"p": p, "p_holm": corrected, "detectable": stats.detectable(gap, len(pairs))}
            rows.append(place | vars(stats.bootstrap_mean(gap, samples, seed)) | test)
    return check(pd.DataFrame(rows, columns=list(TABLES["pairs"])), "pairs")


def context_table(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """The share of questions in each of the four, by part, system and right context, with its interval."""
    held_against = {"gold-passage": compared(), "zmem-oracle": which(lambda one: one.compared and one.grounded)}
    tables = []
    for part, some in scores[(scores["metric"] == "em_loose") & scores["part"].isin(TEST_PARTS)].groupby("part"):
        wide = some.pivot(index="question_id", columns="system", values="value")
        for right, systems in held_against.items():
            for system in (name for name in systems if {name, right, "closed-book"} <= set(wide)):
                b, o, m = (wide[name].to_numpy() > 0 for name in ("closed-book", right, system))  # (n,) each
                four = o & ~m, o & m, ~o & ~b, ~o & b  # every question is of exactly one of CONTEXTS
                long = pd.DataFrame(dict(zip(CONTEXTS, four, strict=True))).melt(var_name="metric")
                tables.append(long.assign(part=part, system=system, right=right))
    if not tables:
        return no_rows("contexts")
    by = ["part", "system", "right", "metric"]
    return check(stats.grouped_means(pd.concat(tables), by, samples, seed), "contexts")


def experiment(
    scores: pd.DataFrame, metrics: Sequence[str] = ("f1", "recall@1"), *, baseline: str = "bm25",
    correction: str = "holm", seed: int = 1,
) -> pd.DataFrame:  # fmt: skip
    """The systems of `scores` against one of them: a row each, and for every measure mean, difference, interval, p, n.

    The form is PyTerrier's (Macdonald and Tonellotto, ICTIR 2020). Differences are system minus baseline over the
    questions that all systems which have the measure answered; its other systems are one family of tests, corrected
    after `correction`, one of CORRECTIONS. A system without a measure has NaN.
    """
    if correction not in CORRECTIONS:
        raise BadInput(f"there is no correction {correction!r}: choose from {', '.join(CORRECTIONS)}")
    tables = {}
    for metric in metrics:
        some = scores[scores["metric"] == metric]
        wide = some.pivot(index="question_id", columns="system", values="value").dropna()  # (n,S)
        if baseline not in wide:
            there = ", ".join(in_order(some["system"], tuple(SYSTEMS))) or "nobody"
            raise BadInput(f"the baseline {baseline!r} has no {metric} in these scores: choose from {there}")
        rivals = [name for name in in_order(some["system"], tuple(SYSTEMS)) if name != baseline]
        gaps = wide[rivals].sub(wide[baseline], axis="index").to_numpy()  # (n,S-1)
        table = pd.DataFrame([vars(stats.bootstrap_mean(gap, stats.SAMPLES, seed)) for gap in gaps.T], index=rivals)
        table = table.reindex(columns=["value", "ci_low", "ci_high"]).set_axis(["difference", "low", "high"], axis=1)
        table = table.assign(p=CORRECTIONS[correction](stats.paired_p(gaps, seed))).reindex([baseline, *rivals])
        table.insert(0, "mean", wide.mean())
        tables[metric] = table.assign(n=len(wide))
    return pd.concat(tables, axis="columns").rename_axis("system")

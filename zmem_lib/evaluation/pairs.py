"""Systems over the same questions: every pair of those compared, what a context does to the reader.

Takes the table scores; returns the tables pairs and contexts, and `experiment` any systems of it against a
baseline. All pairs are exploratory, those of one part and one measure one family of tests, but for those that were
fixed beforehand (primary.py). The four measures of contexts are MIRAGE's
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
from zmem_lib.evaluation.primary import EXPLORATORY, by_pair
from zmem_lib.files import BadInput
from zmem_lib.systems.systems import SYSTEMS, compared, which
from zmem_lib.tables import CONTEXTS, TABLES, TEST_PARTS, check, in_order, no_rows

CORRECTIONS = {
    "holm": stats.holm, "bonferroni": lambda p_values: np.minimum(len(p_values) * p_values, 1.0), "none": np.array,
}  # fmt: skip


def pair_table(scores: pd.DataFrame, samples: int, seed: int, *, primary: pd.DataFrame | None = None) -> pd.DataFrame:
    """First minus second system: interval, p of the permutation test, p after Holm, least difference to be seen.

    A pair that is among the `primary` tests has p_holm and least difference from there, and is in no other family.
    """
    settled = {} if primary is None else by_pair(primary)
    tested = [name for name, metric in METRICS.items() if metric.tested]
    kept = scores[scores["part"].isin(TEST_PARTS) & scores["metric"].isin(tested) & scores["system"].isin(compared())]
    rows = []
    for (part, metric), some in kept.groupby(["part", "metric"], sort=False):
        wide, clusters = by_system(some)
        pairs = list(combinations(in_order(some["system"], compared()), 2))
        if not pairs or wide.empty:
            continue
        gaps = np.stack([(wide[first] - wide[second]).to_numpy() for first, second in pairs], 1)  # (n,P)
        p_values = stats.paired_p(gaps, seed, clusters=clusters)  # (P,)
        free = np.array([(part, metric, *pair) not in settled for pair in pairs])  # (P,)
        corrected = p_values.copy()
        corrected[free] = stats.holm(p_values[free])
        for pair, gap, p, p_holm in zip(pairs, gaps.T, p_values, corrected, strict=True):
            error, count = stats.clustered_error(gap, clusters)
            least = stats.detectable(error, 2.0 ** (1 - count), int(free.sum()))
            test = {"p": p, "p_holm": p_holm, "detectable": least, "family": EXPLORATORY}
            place = {"part": part, "metric": metric, "first": pair[0], "second": pair[1]}
            place |= vars(stats.bootstrap_mean(gap, samples, seed, clusters=clusters))
            rows.append(place | test | settled.get((part, metric, *pair), {}))
    return check(pd.DataFrame(rows, columns=list(TABLES["pairs"])), "pairs")


def context_table(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """The share of questions in each of the four, by part, system and right context, with its interval."""
    held_against = {"gold-passage": compared(), "zmem-oracle": which(lambda one: one.compared and one.grounded)}
    tables = []
    for part, some in scores[(scores["metric"] == "em_loose") & scores["part"].isin(TEST_PARTS)].groupby("part"):
        wide = some.pivot(index=["question_id", "cluster"], columns="system", values="value")
        for right, systems in held_against.items():
            for system in (name for name in systems if {name, right, "closed-book"} <= set(wide)):
                b, o, m = (wide[name].to_numpy() > 0 for name in ("closed-book", right, system))  # (n,) each
                four = o & ~m, o & m, ~o & ~b, ~o & b  # every question is of exactly one of CONTEXTS
                table = pd.DataFrame(dict(zip(CONTEXTS, four, strict=True)))
                long = table.assign(cluster=wide.index.get_level_values("cluster")).melt("cluster", var_name="metric")
                tables.append(long.assign(part=part, system=system, right=right))
    if not tables:
        return no_rows("contexts")
    by = ["part", "system", "right", "metric"]
    return check(stats.grouped_means(pd.concat(tables), by, samples, seed), "contexts")


def experiment(
    scores: pd.DataFrame, metrics: Sequence[str] = ("f1", "recall@1"), *, baseline: str = "bm25",
    correction: str = "holm", seed: int = 1,
) -> pd.DataFrame:  # fmt: skip
    """The systems of `scores` against one of them: a row each, and for every measure mean, difference, interval, p.

    The form is PyTerrier's (Macdonald and Tonellotto, ICTIR 2020). Differences are system minus baseline over the
    questions that all systems which have the measure answered, n of so many documents (clusters); its other systems
    are one family of tests, corrected after `correction`, one of CORRECTIONS. A system without a measure has NaN.
    """
    if correction not in CORRECTIONS:
        raise BadInput(f"there is no correction {correction!r}: choose from {', '.join(CORRECTIONS)}")
    tables = {}
    for metric in metrics:
        some = scores[scores["metric"] == metric]
        wide, clusters = by_system(some)
        if baseline not in wide:
            there = ", ".join(in_order(some["system"], tuple(SYSTEMS))) or "nobody"
            raise BadInput(f"the baseline {baseline!r} has no {metric} in these scores: choose from {there}")
        rivals = [name for name in in_order(some["system"], tuple(SYSTEMS)) if name != baseline]
        gaps = wide[rivals].sub(wide[baseline], axis="index").to_numpy()  # (n,S-1)
        found = [vars(stats.bootstrap_mean(gap, stats.SAMPLES, seed, clusters=clusters)) for gap in gaps.T]
        table = pd.DataFrame(found, index=rivals).reindex(columns=["value", "ci_low", "ci_high"])
        table = table.set_axis(["difference", "low", "high"], axis=1)
        p_values = stats.paired_p(gaps, seed, clusters=clusters)  # (S-1,)
        table = table.assign(p=CORRECTIONS[correction](p_values)).reindex([baseline, *rivals])
        table.insert(0, "mean", wide.mean())
        tables[metric] = table.assign(n=len(wide), clusters=clusters.nunique())
    return pd.concat(tables, axis="columns").rename_axis("system")


def by_system(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index]:
    """The questions that all systems of these scores answered, by system (n,S), and each question's cluster (n,)."""
    wide = scores.pivot(index=["question_id", "cluster"], columns="system", values="value").dropna()
    return wide, wide.index.get_level_values("cluster")

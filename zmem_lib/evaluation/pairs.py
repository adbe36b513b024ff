"""Systems over the same questions: every pair of those compared, what a context does to the reader, what z retains.

Takes the table scores; returns the tables pairs, contexts and retention. The pairs of one part and one measure are one
family of tests. The four measures of contexts are MIRAGE's (Park et al., 2504.17137, section 3.3): every question falls
into one, by whether its answer is right (`em_loose`) without any context (b: closed book), with the right context alone
(o), and with the context that a system chose or wrote (m). With o the gold passage it is MIRAGE's own; with o the gold
document's z it tells, for systems that write from z, what is lost in choosing from what is lost in encoding.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from zmem_lib.evaluation.metrics import METRICS
from zmem_lib.evaluation.scoring import kinds_as_parts
from zmem_lib.evaluation.stats import Estimate, bootstrap, bootstrap_mean, detectable, grouped_means, holm, paired_p
from zmem_lib.systems.systems import compared, which
from zmem_lib.tables import CONTEXTS, TABLES, TEST_PARTS, check, in_order, no_rows

LEAST_GAIN = 0.1  # in F1: of less, no share can be told


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


def context_table(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """The share of questions in each of the four, by part, system and right context, with its interval."""
    held_against = {"gold-passage": compared(), "zmem-oracle": which(lambda one: one.compared and one.grounded)}
    tables = []
    for part, some in scores[(scores["metric"] == "em_loose") & scores["part"].isin(TEST_PARTS)].groupby("part"):
        wide = some.pivot(index="question_id", columns="system", values="value")
        for right, systems in held_against.items():
            for system in (name for name in systems if {name, right, "closed-book"} <= set(wide)):
                b, o, m = (wide[name].to_numpy() > 0 for name in ("closed-book", right, system))  # (n,) each
                four = pd.DataFrame(dict(zip(CONTEXTS, fourfold(b, o, m), strict=True))).melt(var_name="metric")
                tables.append(four.assign(part=part, system=system, right=right))
    if not tables:
        return no_rows("contexts")
    return check(grouped_means(pd.concat(tables), ["part", "system", "right", "metric"], samples, seed), "contexts")


def fourfold(b: np.ndarray, o: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, ...]:
    """Which questions (n,) are of each of CONTEXTS: every one is of exactly one."""
    return o & ~m, o & m, ~o & ~b, ~o & b


def retention_table(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """What z keeps of what the gold passage's text brings the same reader, part by part: the table retention.

    (F1 with the gold document's z - closed book) / (F1 with its text - closed book) over the questions that all three
    answered, resampled together; NaN, not defined, where the text brings less than LEAST_GAIN.
    """

    def share(memory: np.ndarray, nothing: np.ndarray, text: np.ndarray) -> float:
        gain = text.mean() - nothing.mean()
        return float((memory.mean() - nothing.mean()) / gain) if gain > 0 else np.nan

    rows, three = [], ["zmem-oracle", "closed-book", "gold-passage"]
    for part, some in kinds_as_parts(scores[scores["metric"] == "f1"]).groupby("part", sort=False):
        wide = some.pivot(index="question_id", columns="system", values="value").reindex(columns=three).dropna()
        if len(wide):
            gain = wide["gold-passage"].mean() - wide["closed-book"].mean()
            told = bootstrap(share, wide.to_numpy().T, samples=samples, seed=seed)
            told = told if gain >= LEAST_GAIN else Estimate(np.nan, np.nan, np.nan, told.n)
            rows.append({"part": part, **vars(told), "text_gain": gain})
    frame = pd.DataFrame(rows, columns=list(TABLES["retention"])).astype({"value": float})
    return check(frame, "retention")

"""Words and figures of which the findings are made: names, estimates picked from tables, and verdicts.

Two of the systems that are compared are called better or worse only where the test of their pair, corrected for all
pairs, says so; a control is held against another by the paired bootstrap interval over the same questions.
"""

import pandas as pd

from zmem_lib.figures import in_order
from zmem_lib.params import Params
from zmem_lib.schema import COMPARED, SYSTEMS
from zmem_lib.stats import LEVEL, Estimate, paired_difference

NAMES = {
    "zmem": "z-memory", "zmem-oracle": "z-memory given the right z", "zmem-shuffled": "another document's z",
    "zmem-similar": "the most similar other document's z", "zmem-random": "a random z",
    "zmem-text": "the right z and its passage", "bm25": "BM25", "bm25-asked": "BM25 with the training questions",
    "dense": "dense retrieval", "dense-tuned": "dense retrieval tuned on the training questions",
    "hybrid-rrf": "BM25 and dense fused by rank", "hybrid": "BM25 and dense fused by score",
    "zmem+text": "z-memory's choice, read as text", "zmem+bm25": "z-memory and BM25 fused",
    "hybrid+rerank": "the fused ranking ordered by a cross-encoder",
    "lm-rerank": "the fused ranking ordered by the language model", "long-context": "as many passages as fit",
    "text-twin": "the text twin", "gold-passage": "the gold passage", "closed-book": "closed book",
}  # fmt: skip
RIVALS = tuple(system for system in COMPARED if not system.startswith("zmem"))


def values_of(summary: pd.DataFrame, part: str, metric: str, systems: tuple[str, ...]) -> dict[str, Estimate]:
    """The summary's estimates of one metric by system, in the order of the systems."""
    rows = summary[(summary["part"] == part) & (summary["metric"] == metric) & summary["system"].isin(systems)]
    rows = rows[rows["n"] > 0].set_index("system")
    order = in_order(pd.Series(rows.index, dtype=str), SYSTEMS)
    rows = rows[["value", "ci_low", "ci_high", "n"]].astype({"n": object})  # else n becomes a float in its row
    return {system: Estimate(*rows.loc[system]) for system in order}


def difference(scores: pd.DataFrame, part: str, metric: str, pair: tuple[str, str], params: Params) -> Estimate:
    """The first system minus the second over the questions that both answered."""
    rows = scores[(scores["part"] == part) & (scores["metric"] == metric) & scores["system"].isin(pair)]
    both = rows.pivot(index="question_id", columns="system", values="value").dropna()
    return paired_difference(both[pair[0]], both[pair[1]], params.bootstrap_samples, params.seed)


def side(gap: Estimate) -> int:
    """1 or -1 where the interval lies on one side of 0, else 0."""
    return int(gap.ci_low > 0) - int(gap.ci_high < 0)


def gaps_of(pairs: pd.DataFrame, part: str, metric: str) -> dict[str, pd.Series]:
    """The rows of pairs that hold z-memory against each of its rivals: z-memory minus the rival."""
    rows = pairs[(pairs["part"] == part) & (pairs["metric"] == metric) & (pairs["first"] == "zmem")]
    rows = rows[rows["second"].isin(RIVALS)]
    return {row["second"]: row for _, row in rows.iterrows()}


def verdict(gap: pd.Series) -> str:
    """A row of pairs in words, to be followed by the second system's name."""
    if gap.p_holm >= 1 - LEVEL:
        return "not told apart from"
    return "better than" if gap.value > 0 else "worse than"


def spoken(one: Estimate | pd.Series, sign: bool = False) -> str:
    """A value with its interval, two decimals each."""
    form = "{:+.2f}" if sign else "{:.2f}"
    value, low, high = (form.format(number).replace("-", "−") for number in (one.value, one.ci_low, one.ci_high))
    return f"{value} [{low}, {high}]"


def sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."

"""Words and figures of which the findings are made: names, estimates picked from tables, and verdicts.

Two of the systems that are compared are called better or worse only where the test of their pair, corrected for all
pairs, says so; a control is held against another by the paired bootstrap interval over the same questions.
"""

import pandas as pd

from zmem_lib.evaluation.stats import LEVEL, Estimate, paired_difference
from zmem_lib.params import Params
from zmem_lib.report.phrases_en import PHRASES as PHRASES_EN
from zmem_lib.report.phrases_ko import PHRASES as PHRASES_KO
from zmem_lib.tables import COMPARED, SYSTEMS, in_order

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
RIVALS = tuple(system for system in COMPARED if not system.startswith("zmem"))  # not z-memory, nor a variant of it
SIDES = ("better", "worse", "same")


def phrases(language: str) -> dict[str, str]:
    """The format strings of page one in a language, `en` or `ko`, the names of systems in a sentence among them."""
    spoken_names = {f"system.{system}": name for system, name in NAMES.items()}
    return spoken_names | PHRASES_EN if language == "en" else dict(PHRASES_KO)


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
    return paired_difference(both[pair[0]], both[pair[1]], params.evaluate.bootstrap_samples, params.seed)


def side(gap: Estimate) -> int:
    """1 or -1 where the interval lies on one side of 0, else 0."""
    return int(gap.ci_low > 0) - int(gap.ci_high < 0)


def gaps_of(pairs: pd.DataFrame, part: str, metric: str, system: str = "zmem") -> dict[str, pd.Series]:
    """The rows of pairs that hold a system against each of its rivals, turned so that they are: it minus the rival."""
    rows = pairs[(pairs["part"] == part) & (pairs["metric"] == metric)]
    turned = rows.assign(first=rows["second"], second=rows["first"], value=-rows["value"])
    turned = turned.assign(ci_low=-rows["ci_high"], ci_high=-rows["ci_low"])
    both = pd.concat([rows, turned])
    both = both[(both["first"] == system) & both["second"].isin(RIVALS)]
    return {row["second"]: row for _, row in both.iterrows()}


def side_of(gap: pd.Series) -> str:
    """What the corrected test says of a row of pairs: better, worse or same (not told apart)."""
    if gap.p_holm >= 1 - LEVEL:
        return "same"
    return "better" if gap.value > 0 else "worse"


def verdict(gap: pd.Series) -> str:
    """A row of pairs in words, to be followed by the second system's name."""
    return {"better": "better than", "worse": "worse than", "same": "not told apart from"}[side_of(gap)]


def spoken(one: Estimate | pd.Series, sign: bool = False) -> str:
    """A value with its interval, two decimals each."""
    form = "{:+.2f}" if sign else "{:.2f}"
    value, low, high = (form.format(number).replace("-", "−") for number in (one.value, one.ci_low, one.ci_high))
    return f"{value} [{low}, {high}]"


def sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def range_said(sizes: pd.Series, *, join: str, over: str) -> str:
    """The least and the largest of shares, one if they look the same; `over` if none is below 1, empty if none."""
    sizes = sizes.dropna()
    ends = dict.fromkeys(f"{min(one, 1.0):.2f}" for one in (sizes.min(), sizes.max()))
    return "" if sizes.empty else join.join(ends) if sizes.min() <= 1 else over

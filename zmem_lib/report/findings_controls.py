"""Sentences on what makes the result credible: placebo, retention, selectors, documents never asked about."""

import pandas as pd

from zmem_lib.evaluation.stats import Estimate, bootstrap_mean
from zmem_lib.params import Params
from zmem_lib.report.figures import PARTS_SAID
from zmem_lib.report.wording import NAMES, difference, sentence, side, spoken, values_of
from zmem_lib.tables import CHANCES, COMPARED, in_order

WRONG = ("zmem-shuffled", "zmem-similar", "zmem-random")  # a z, but not the document's
BESIDE = {1: "above chance", 0: "not to be told from chance", -1: "below chance"}


def placebo(scores: pd.DataFrame, part: str, params: Params) -> str:
    """What is written from the right z, from each wrong one, and what chance says, by the paired differences."""
    rows = scores[(scores["part"] == part) & (scores["metric"] == "answer_in_evidence")]
    means = {name: _mean(some, params) for name, some in rows.groupby("system", sort=False)["value"]}
    wrong = [name for name in WRONG if name in means]
    if "zmem-oracle" not in means or not wrong:
        return ""

    def gap(first: str, second: str) -> Estimate:
        return difference(scores, part, "answer_in_evidence", (first, second), params)

    best = max(wrong, key=lambda name: means[name].value)
    over = gap("zmem-oracle", best)
    meaning = {
        1: "what is written comes from the document's own z",
        0: "no effect of the document's own z can be told at this n",
        -1: "the right z does worse than a wrong one, so the memory does not work here",
    }[side(over)]
    said = [f"the right z writes the answer for {spoken(means['zmem-oracle'])} of the questions"]
    if level := [name for name in CHANCES if name in means]:
        said.append(f"the gold evidence of other questions has it for {spoken(means[level[0]])} (chance)")
        said += [f"that of questions worded alike for {spoken(means[name])}" for name in level[1:]]
    for name in wrong:
        beside = gap(name, level[-1]) if level else None
        verdict = f" (minus that {spoken(beside, sign=True)}: {BESIDE[side(beside)]})" if beside else ""
        said.append(f"{NAMES[name]} for {spoken(means[name])}{verdict}")
    told = f"right z minus {NAMES[best]} {spoken(over, sign=True)}: {meaning}"
    return f"**Placebo, {PARTS_SAID[part]}.** {sentence('; '.join([*said, told]))}"


def bounds(scores: pd.DataFrame, part: str, params: Params) -> str:
    """What the reader answers without evidence, with the gold passage, and with z and passage together."""
    rows = scores[(scores["part"] == part) & (scores["metric"] == "em")]
    means = {name: _mean(some, params) for name, some in rows.groupby("system", sort=False)["value"]}
    said = []
    if "closed-book" in means:
        said.append(f"without any evidence the reader answers {spoken(means['closed-book'])} exactly")
    if "gold-passage" in means:
        said.append(f"with the gold passage {spoken(means['gold-passage'])}, as perfect retrieval would")
    if "zmem-text" in means and "gold-passage" in means:
        gap = difference(scores, part, "em", ("zmem-text", "gold-passage"), params)
        said.append(f"with the right z beside it {spoken(means['zmem-text'])} (difference {spoken(gap, sign=True)})")
    return f"**Bounds, {PARTS_SAID[part]}.** {sentence('; '.join(said))}" if said else ""


def retained(retention: pd.DataFrame) -> str:
    """Which share of what the text brings z keeps, part by part; where that is not defined, why."""
    said = []
    for part in PARTS_SAID:
        for row in retention[retention["part"] == part].itertuples():
            brings = f"text brings {row.text_gain:.2f} F1, n = {row.n}"
            value = "not defined" if pd.isna(row.value) else spoken(row)
            said.append(f"{PARTS_SAID[part]} {value} ({brings})")
    if not said:
        return ""
    return (
        "**Retention.** Of what the gold passage brings the reader over no evidence, the right z keeps this share: "
        f"{'; '.join(said)}."
    )


def selecting(selectors: pd.DataFrame, part: str) -> str:
    """How often each way of choosing puts a gold document first, and its time per question."""
    rows = selectors[selectors["part"] == part]
    said = []
    for name in in_order(rows["selector"], ()):
        mine = rows[rows["selector"] == name].set_index("metric")
        if "recall@1" in mine.index:
            took = f", {1000 * mine.at['seconds', 'value']:.1f} ms" if "seconds" in mine.index else ""
            said.append(f"`{name}` {spoken(mine.loc['recall@1'])}{took}")
    return f"**Ways of choosing, {PARTS_SAID[part]}** (recall@1, time per question). {'; '.join(said)}." if said else ""


def asked_or_not(summary: pd.DataFrame) -> str:
    """Seen documents with training questions beside seen documents without: who finds them, whose answers are exact."""
    parts = ("seen", "unasked-document")
    said = []
    for metric, what in (("recall@1", "found first"), ("em", "exact answers")):
        pair = [values_of(summary, part, metric, COMPARED) for part in parts]
        both = [
            f"{NAMES[name]} {pair[0][name].value:.2f} and {pair[1][name].value:.2f}"
            for name in pair[0]
            if name in pair[1]
        ]
        said += [f"{what} {', '.join(both)}"] if both else []
    if not said:
        return ""
    sizes = " and ".join(str(summary.loc[summary["part"] == part, "n"].max()) for part in parts)
    return f"**Documents with and without training questions** (n = {sizes}). {sentence('; '.join(said))}"


def own_questions(asked: pd.DataFrame) -> str:
    """How many questions the model asked itself about seen and new documents, and how many of them were learned."""
    said = []
    for part, rows in asked.groupby("part", sort=False):
        n = rows.set_index("what")["n"]
        if n["asked"]:
            said.append(f"about {part} documents {n['asked']:,}, of which {n['kept']:,} are learned")
    told = "; the others were asked twice, come too near to a held-out question, or do not lead back to their evidence"
    return f"**Questions that the model asked itself.** {sentence('; '.join(said) + told)}" if said else ""


def damaged(damage: pd.DataFrame) -> str:
    """Perplexity of plain text before and after training."""
    if damage.empty:
        return "The model was made from scratch: it knew nothing outside the corpus that could be lost."
    before, after, factor = (damage.set_index("what").loc[what] for what in ("before", "after", "factor"))
    return (
        f"**Damage outside the corpus.** Perplexity of plain text from elsewhere: {before.value:.2f} before, "
        f"{after.value:.2f} after training, {factor.value:.3f} times as much "
        f"[{factor.ci_low:.3f}, {factor.ci_high:.3f}] (n = {int(factor.n)} pieces)."
    )


def _mean(values: pd.Series, params: Params) -> Estimate:
    return bootstrap_mean(values, params.evaluate.bootstrap_samples, params.seed)

"""The sentences of "In more words", each made from tables on disk: figures, intervals, and a verdict in plain words.

A result that is bad for z-memory is said like one that is good. The few sentences on page one are in verdict.py.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from IPython.core.display import Markdown

from zmem_lib.evaluation.risk import BOUNDS
from zmem_lib.evaluation.stats import POWER, Estimate
from zmem_lib.params import Params
from zmem_lib.report.figures import FAILURES
from zmem_lib.report.wording import (
    COMPARED,
    RIVALS,
    difference,
    gaps_of,
    name_of,
    part_name,
    phrases,
    range_said,
    side,
    side_of,
    spoken,
    values_of,
)
from zmem_lib.systems.systems import which
from zmem_lib.tables import ABSENT, CHANCES, PARTS, TEST_PARTS

WRONG = which(lambda system: system.given == "wrong")  # a z, but not the document's
CHANCE = {1: "above chance", 0: "not to be told from chance", -1: "below chance"}
EFFECT = {1: "control.works", 0: "control.unsure", -1: "control.fails"}  # phrases, by the side of right minus wrong
FIRST_SCORE = "margin"  # the one score that every system has in its own units: no choice of a score on test questions


def findings(tables: Mapping[str, pd.DataFrame], params: Params) -> dict[str, list[str]]:
    """Sentences in Markdown by section of the page; what a run has no table rows for is left out.

    `tables` holds summary, scores, pairs, failures, costs, write_curve, selectors, retention, abstention, damage and
    asked.
    """
    summary = tables["summary"]
    sections = {
        "short": [held(summary), retained(tables["retention"])],
        "answers": [compare(summary, tables["pairs"], part) for part in TEST_PARTS],
        "evidence": [evidence(summary, part) for part in TEST_PARTS],
        "asked": [own_questions(tables["asked"]), asked_or_not(summary)],
        "choosing": [choosing(summary, part) for part in TEST_PARTS],
        "selecting": [selecting(tables["selectors"], part) for part in TEST_PARTS],
        "abstaining": [abstaining(tables["abstention"])],
        "failures": [failing(tables["failures"], part) for part in TEST_PARTS],
        "writing": [writing(tables["write_curve"])],
        "costs": [costing(tables["costs"])],
        "controls": [
            *(say(summary, tables["scores"], part, params) for part in TEST_PARTS for say in (placebo, bounds)),
            damaged(tables["damage"]) if len(tables["damage"]) else "",
        ],
    }
    return {name: list(filter(None, sentences)) for name, sentences in sections.items()}


def evaluation_finding(summary: pd.DataFrame, seconds: float) -> Markdown:
    """What chapter 06 found, in a few sentences."""
    parts = [say(summary, part) for part in TEST_PARTS for say in (evidence, choosing)]
    return Markdown("\n\n".join([*filter(None, parts), f"The chapter took {seconds:.0f} s."]))


def told(title: str, parts: Iterable[str], note: str = "") -> str:
    """A bold title with its note, and behind it the parts as one sentence; nothing where there is nothing to say."""
    text = "; ".join(parts)
    return f"**{title}**{note} {text[0].upper()}{text[1:]}." if text else ""


def each(summary: pd.DataFrame, part: str, metric: str) -> str:
    """The value of every system, by name."""
    found = values_of(summary, part, metric, ("zmem", *RIVALS))
    return ", ".join(f"{name_of(system)} {spoken(one)}" for system, one in found.items())


def compare(summary: pd.DataFrame, pairs: pd.DataFrame, part: str) -> str:
    """Exact answers: who is better and who worse than z-memory, who not told apart, and what n could have shown."""
    found, gaps = values_of(summary, part, "em", ("zmem", *RIVALS)), gaps_of(pairs, part, "em")
    if not gaps:
        return ""
    sides: dict[str, list[str]] = {}
    for rival, gap in gaps.items():
        sides.setdefault(side_of(gap), []).append(f"{name_of(rival)} ({spoken(gap, sign=True)})")
    said = "; ".join(f"{phrases('en')[f'fused.{side}']} {', '.join(rivals)}" for side, rivals in sides.items())
    tests = ((pairs["part"] == part) & (pairs["metric"] == "em")).sum()
    shown = range_said(pd.Series([gap.detectable for gap in gaps.values()]), join=" to ", over="more than 1")
    power = f" So many questions show a difference of {shown} in {100 * POWER:.0f} % of all studies." if shown else ""
    return (
        f"**Answers, {part_name(part)}** (n = {found['zmem'].n}; permutation tests, Holm over {tests} pairs). "
        f"z-memory answers {spoken(found['zmem'])} exactly: {said}.{power}"
    )


def evidence(summary: pd.DataFrame, part: str) -> str:
    """How often the gold answer stands in what the reader was given, and how long that was."""
    systems = ("zmem", "zmem-oracle", *RIVALS)
    found, tokens = (values_of(summary, part, metric, systems) for metric in ("answer_in_evidence", "evidence_tokens"))
    if "zmem" not in found:
        return ""
    said = [f"{name_of(system)} {spoken(one)} in {tokens[system].value:.0f} tokens" for system, one in found.items()]
    own = values_of(summary, part, "evidence_overlap", ("zmem",)).get("zmem")
    grounded = f" Of what z-memory writes, {spoken(own)} of the words stand in the chosen document." if own else ""
    return f"**Evidence, {part_name(part)}.** The gold answer stands in the evidence of {'; '.join(said)}.{grounded}"


def choosing(summary: pd.DataFrame, part: str) -> str:
    """How often the first document is a gold one, and, for seen documents, a new one, which is wrong there."""
    if not values_of(summary, part, "recall@1", ("zmem",)):
        return ""
    first, astray = each(summary, part, "recall@1"), each(summary, part, "new_first") if part == "seen" else ""
    more = f" A new document comes first: {astray}." if astray else ""
    return f"**Choosing, {part_name(part)}.** A gold document comes first (recall@1): {first}.{more}"


def failing(failures: pd.DataFrame, part: str) -> str:
    """Where z-memory's wrong answers come from."""
    kinds = failures[(failures["system"] == "zmem") & (failures["part"] == part)]["failure"]
    shares = kinds.value_counts(normalize=True)
    said = ", ".join(f"{kind} {100 * shares.get(kind, 0.0):.0f} %" for kind in FAILURES) if len(kinds) else ""
    return told(f"Where z-memory fails, {part_name(part)}", [said], f" (n = {len(kinds)}).")


def held(summary: pd.DataFrame) -> str:
    """What the memory holds, the right z given: of the questions trained on, and of those that were not."""
    found = {part: values_of(summary, part, "answer_in_evidence", ("zmem-oracle",)) for part in PARTS}
    said = [f"{spoken(one)} of the {part} questions" for part in PARTS for one in found[part].values()]
    start = "given the right z, the model writes the answer for "
    return told("What the memory holds.", [start + ", ".join(said)] if said else [])


def writing(write_curve: pd.DataFrame) -> str:
    """What writing new documents into z reaches from each start, and how long it takes."""
    answers = write_curve[write_curve["metric"] == "answer_in_evidence"]
    found = write_curve[write_curve["metric"] == "recall@1"].set_index(["start", "step"])
    said = []
    for start, curve in answers.groupby("start", sort=False):
        curve = curve.sort_values("step")
        first, last, best = curve.iloc[0], curve.iloc[-1], curve.loc[curve["value"].idxmax()]
        text = (
            f"from the {start} start {spoken(first)} before the first step and {spoken(last)} after {last['step']} "
            f"steps, {1000 * last['seconds_per_document']:.0f} ms per document (highest: {best['value']:.2f} at step "
            f"{best['step']})"
        )
        if (place := (start, last["step"])) in found.index:
            text += f", then found first for {spoken(found.loc[[place]].iloc[0])}"
        said.append(text)
    size = f" (new-dev questions, n = {answers['n'].max()}; answer in evidence, the right z given)."
    return told("Writing new documents", said, size)


def costing(costs: pd.DataFrame) -> str:
    """What each of the compared systems stores, and how long building and asking take."""
    by_system = costs.set_index("system")
    rows: Any = by_system.loc[[name for name in ("zmem", *RIVALS) if name in by_system.index]].itertuples()
    said = [
        f"{name_of(row.Index)} stores {row.bytes_stored / 1e6:.2f} MB, is built in {row.build_seconds:.1f} s and "
        f"answers a question in {row.seconds_per_question:.3f} s"
        for row in rows
    ]
    return told("Costs.", said)


def right_and_wrong(summary: pd.DataFrame, part: str) -> tuple[dict[str, Estimate], str]:
    """The answer in what is written from the right z and the wrong ones, and by chance; the best of the wrong ones.

    That is empty where the right z, or all wrong ones, are not there.
    """
    means = values_of(summary, part, "answer_in_evidence", ("zmem-oracle", *WRONG, *CHANCES))
    wrong = [name for name in WRONG if name in means and "zmem-oracle" in means]
    return means, max(wrong, key=lambda name: means[name].value, default="")


def placebo(summary: pd.DataFrame, scores: pd.DataFrame, part: str, params: Params) -> str:
    """What is written from the right z, from each wrong one, and what chance says, by the paired differences."""
    means, best = right_and_wrong(summary, part)
    if not best:
        return ""

    def gap(first: str, second: str) -> Estimate:
        return difference(scores, part, "answer_in_evidence", (first, second), params)

    said = [f"the right z writes the answer for {spoken(means['zmem-oracle'])} of the questions"]
    if level := [name for name in CHANCES if name in means]:
        said.append(f"the gold evidence of other questions has it for {spoken(means[level[0]])} (chance)")
        said += [f"that of questions worded alike for {spoken(means[name])}" for name in level[1:]]
    for name in (name for name in WRONG if name in means):
        beside = gap(name, level[-1]) if level else None
        verdict = f" (minus that {spoken(beside, sign=True)}: {CHANCE[side(beside)]})" if beside else ""
        said.append(f"{name_of(name)} for {spoken(means[name])}{verdict}")
    over = gap("zmem-oracle", best)
    said.append(f"right z minus {name_of(best)} {spoken(over, sign=True)}: {phrases('en')[EFFECT[side(over)]]}")
    return told(f"Placebo, {part_name(part)}.", said)


def bounds(summary: pd.DataFrame, scores: pd.DataFrame, part: str, params: Params) -> str:
    """What the reader answers without evidence, with the gold passage, and with z and passage together."""
    means, said = values_of(summary, part, "em", ("closed-book", "gold-passage", "zmem-text")), []
    if "closed-book" in means:
        said.append(f"without any evidence the reader answers {spoken(means['closed-book'])} exactly")
    if "gold-passage" in means:
        said.append(f"with the gold passage {spoken(means['gold-passage'])}, as perfect retrieval would")
    if "zmem-text" in means and "gold-passage" in means:
        gap = difference(scores, part, "em", ("zmem-text", "gold-passage"), params)
        said.append(f"with the right z beside it {spoken(means['zmem-text'])} (difference {spoken(gap, sign=True)})")
    return told(f"Bounds, {part_name(part)}.", said)


def retained(retention: pd.DataFrame) -> str:
    """Which share of what the text brings z keeps, part by part; where that is not defined, why."""
    said = []
    rows: Any = (row for part in TEST_PARTS for row in retention[retention["part"] == part].itertuples())
    for row in rows:
        share = "not defined" if pd.isna(row.value) else spoken(row)
        said.append(f"{part_name(row.part)} {share} (text brings {row.text_gain:.2f} F1, n = {row.n})")
    share = "of what the gold passage brings the reader over no evidence, the right z keeps this share: "
    return told("Retention.", [share + "; ".join(said)] if said else [])


def selecting(selectors: pd.DataFrame, part: str) -> str:
    """How often each way of choosing puts a gold document first, and its time per question."""
    said = []
    for name, rows in selectors[selectors["part"] == part].groupby("selector", sort=False):
        rows = rows.set_index("metric")
        if "recall@1" in rows.index:
            took = f", {1000 * rows['value']['seconds']:.1f} ms" if "seconds" in rows.index else ""
            said.append(f"`{name}` {spoken(rows.loc['recall@1'])}{took}")
    return told(f"Ways of choosing, {part_name(part)}", said, " (recall@1, time per question).")


def asked_or_not(summary: pd.DataFrame) -> str:
    """Seen documents with training questions beside seen documents without: who finds them, whose answers are exact."""
    parts, said = ("seen", "unasked-document"), []
    for metric, what in (("recall@1", "found first"), ("em", "exact answers")):
        asked, unasked = (values_of(summary, part, metric, COMPARED) for part in parts)
        found = [(name_of(name), one, unasked[name]) for name, one in asked.items() if name in unasked]
        both = [f"{name} {one.value:.2f} and {other.value:.2f}" for name, one, other in found]
        said += [f"{what} {', '.join(both)}"] if both else []
    sizes = " and ".join(str(summary.loc[summary["part"] == part, "n"].max()) for part in parts)
    return told("Documents with and without training questions", said, f" (n = {sizes}).")


def own_questions(asked: pd.DataFrame) -> str:
    """How many questions the model asked itself about seen and new documents, and how many of them were learned."""
    said = []
    for part, rows in asked.groupby("part", sort=False):
        n = rows.set_index("what")["n"]
        if n["asked"]:
            said.append(f"about {part} documents {n['asked']:,}, of which {n['kept']:,} are learned")
    others = "the others were asked twice, come too near to a held-out question, or do not lead back to their evidence"
    return told("Questions that the model asked itself.", [*said, others] if said else [])


def abstaining(abstention: pd.DataFrame) -> str:
    """Whether a system knows when not: the area under its risk-coverage curve, and the questions without a document.

    Of z-memory and the two plain retrievers; all are in the table of chapter 06.
    """
    order, apart = [], []
    for system in which(lambda system: system.asked_absent):
        area, best, chance = (_abstained(abstention, system, "aurc", score) for score in (FIRST_SCORE, *BOUNDS))
        if area and best and chance:
            possible = f"best possible order {best.value:.2f}, chance {chance.value:.2f}"
            order.append(f"{name_of(system)} {spoken(area)} ({possible})")
        auroc, refused, answered = (_abstained(abstention, system, what) for what in ("auroc", "refused", "answered"))
        if auroc and refused and answered:
            apart.append(f"{name_of(system)} {spoken(auroc)} ({refused.value:.2f} and {answered.value:.2f})")
    said = f"the mean share of wrong answers over all coverages is {'; '.join(order)}." if order else ""
    if apart:
        said += (
            " Questions without a document are told from the others with AUROC (and, from a threshold chosen on dev "
            f"questions, so many of them are refused and of the others answered) {'; '.join(apart)}."
        )
    return f"**Knowing when not.** The largest margin between the first two documents first, {said}" if said else ""


def damaged(damage: pd.DataFrame) -> str:
    """Perplexity of plain text before and after training."""
    if damage.empty:
        return "The model was made from scratch: it knew nothing outside the corpus that could be lost."
    before, after, factor = (damage.set_index("what").loc[what] for what in ("before", "after", "factor"))
    return (
        f"**Damage outside the corpus.** Perplexity of plain text from elsewhere: {before.value:.2f} before, "
        f"{after.value:.2f} after training, {factor.value:.3f} times as much "
        f"[{factor.ci_low:.3f}, {factor.ci_high:.3f}] (n = {factor.n:.0f} pieces)."
    )


def _abstained(abstention: pd.DataFrame, system: str, metric: str, score: str = FIRST_SCORE) -> Estimate | None:
    """One row's estimate: over all test questions, absent ones included where there are any."""
    rows = abstention[abstention["score"] == score]
    found = (values_of(rows, part, metric, (system,)).get(system) for part in ("all", "answerable", ABSENT))
    return next(filter(None, found), None)

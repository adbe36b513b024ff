"""The sentences of "In more words", each made from tables on disk: figures, intervals, and a verdict in plain words.

The facts are put together here, the words stand in sentences.md.j2. A result that is bad for z-memory is said like one
that is good. The few sentences on page one are in verdict.py.
"""

from collections.abc import Mapping
from functools import partial
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
    most_counted,
    range_said,
    side_of,
    told,
    values_of,
)  # fmt: skip
from zmem_lib.systems.cost import AGAINST, break_even
from zmem_lib.systems.systems import which
from zmem_lib.tables import ABSENT, CHANCES, PARTS, TEST_PARTS

WRONG = which(lambda system: system.given == "wrong")  # a z, but not the document's
FIRST_SCORE = "margin"  # the one score that every system has in its own units: no choice of a score on test questions


def findings(tables: Mapping[str, pd.DataFrame], params: Params) -> dict[str, list[str]]:
    """Sentences in Markdown by section of the page; what a run has no table rows for is left out.

    `tables` holds summary, scores, pairs, failures, costs, write_curve, selectors, right_z, abstention, damage and
    asked.
    """
    summary = tables["summary"]
    sections = {
        "short": [held(summary), retained(tables["right_z"])],
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


def compare(summary: pd.DataFrame, pairs: pd.DataFrame, part: str) -> str:
    """Exact answers: who is better and who worse than z-memory, who not told apart, and what n could have shown."""
    gaps, sides = gaps_of(pairs, part, "em"), {}
    if not gaps:
        return ""
    for rival, gap in gaps.items():
        sides.setdefault(side_of(gap), {})[rival] = gap
    tests = ((pairs["part"] == part) & (pairs["metric"] == "em")).sum()
    shown = range_said(pd.Series([gap.detectable for gap in gaps.values()]), join=" to ", over="more than 1")
    facts = {"own": values_of(summary, part, "em", ("zmem",))["zmem"], "power": round(100 * POWER), "tests": tests}
    return told("compare", part=part, sides=sides, shown=shown, **facts)


def evidence(summary: pd.DataFrame, part: str) -> str:
    """How often the gold answer stands in what the reader was given, and how long that was."""
    systems = ("zmem", "zmem-oracle", *RIVALS)
    found, tokens = (values_of(summary, part, metric, systems) for metric in ("answer_in_evidence", "evidence_tokens"))
    own = values_of(summary, part, "evidence_overlap", ("zmem",)).get("zmem")
    return told("evidence", part=part, found=found, tokens=tokens, own=own) if "zmem" in found else ""


def choosing(summary: pd.DataFrame, part: str) -> str:
    """How often the first document is a gold one, and, for seen documents, a new one, which is wrong there."""
    first, astray = (values_of(summary, part, metric, ("zmem", *RIVALS)) for metric in ("recall@1", "new_first"))
    astray = astray if part == "seen" else {}
    return told("choosing", part=part, first=first, astray=astray) if "zmem" in first else ""


def failing(failures: pd.DataFrame, part: str) -> str:
    """Where z-memory's wrong answers come from."""
    kinds = failures[(failures["system"] == "zmem") & (failures["part"] == part)]["failure"]
    shares = kinds.value_counts(normalize=True).reindex(list(FAILURES)).fillna(0.0)
    return told("failing", part=part, n=len(kinds), shares=shares)


def held(summary: pd.DataFrame) -> str:
    """What the memory holds, the right z given: of the questions trained on, and of those that were not."""
    found = {part: values_of(summary, part, "answer_in_evidence", ("zmem-oracle",)) for part in PARTS}
    return told("held", found=[(part, one["zmem-oracle"]) for part, one in found.items() if one])


def writing(write_curve: pd.DataFrame) -> str:
    """What writing new documents into z reaches from each start, and how long it takes."""
    rows = write_curve.sort_values("step", kind="stable")
    answers, ranked = (rows[rows["metric"] == metric] for metric in ("answer_in_evidence", "recall@1"))
    found: Any = {row.start: row for row in ranked.itertuples()}  # the last step of each start
    curves = [
        (start, curve.iloc[0], curve.iloc[-1], curve.iloc[int(curve["value"].argmax())], found.get(start))
        for start, curve in answers.groupby(answers["start"], sort=False)
    ]
    return told("writing", curves=curves, n=most_counted(answers.itertuples()) if len(answers) else 0)


def costing(costs: pd.DataFrame) -> str:
    """What each of the compared systems stores, and how long building and asking take."""
    rows = costs.set_index("system")
    rows = rows.loc[[system for system in ("zmem", *RIVALS) if system in rows.index]]
    facts = {name: costs[f"bytes_{name}"].max() for name in ("text", "gzip")}
    repaid = break_even(costs, "zmem", AGAINST)
    return told("costing", rows=list(rows.itertuples()), **facts, repaid=repaid, against=AGAINST)


def right_and_wrong(summary: pd.DataFrame, part: str) -> tuple[dict[str, Estimate], str]:
    """The answer in what the right z, the wrong ones and chance give; the best wrong one, "" where z is not there."""
    means = values_of(summary, part, "answer_in_evidence", ("zmem-oracle", *WRONG, *CHANCES))
    wrong = [name for name in WRONG if name in means and "zmem-oracle" in means]
    return means, max(wrong, key=lambda name: means[name].value, default="")


def placebo(summary: pd.DataFrame, scores: pd.DataFrame, part: str, params: Params) -> str:
    """What is written from the right z, from each wrong one, and what chance says, by the paired differences."""
    means, best = right_and_wrong(summary, part)
    if not best:
        return ""
    gap = partial(difference, scores, part, "answer_in_evidence", params=params)
    levels = [name for name in CHANCES if name in means]
    wrong = {name: gap((name, levels[-1])) if levels else None for name in WRONG if name in means}
    facts = {"best": best, "over": gap(("zmem-oracle", best))}
    return told("placebo", part=part, means=means, levels=levels, wrong=wrong, **facts)


def bounds(summary: pd.DataFrame, scores: pd.DataFrame, part: str, params: Params) -> str:
    """What the reader answers without evidence, with the gold passage, and with z and passage together."""
    means = values_of(summary, part, "em", ("closed-book", "gold-passage", "zmem-text"))
    if not {"closed-book", "gold-passage"} <= means.keys():
        return ""
    gap = difference(scores, part, "em", ("zmem-text", "gold-passage"), params) if "zmem-text" in means else None
    return told("bounds", part=part, means=means, gap=gap)


def retained(right_z: pd.DataFrame) -> str:
    """The right z against the best evidence from the text, a random sentence of it, and the same z asked otherwise."""
    rows = [row for part in TEST_PARTS for row in right_z[right_z["part"] == part].itertuples()]
    return told("retained", rows=rows)


def selecting(selectors: pd.DataFrame, part: str) -> str:
    """How often each way of choosing puts a gold document first, and its time per question."""
    found: dict[str, dict[str, Any]] = {}
    rows: Any = selectors[selectors["part"] == part].itertuples()
    for row in rows:
        found.setdefault(row.selector, {"seconds": None})[row.metric] = row
    return told("selecting", part=part, found={name: rows for name, rows in found.items() if "recall@1" in rows})


def asked_or_not(summary: pd.DataFrame) -> str:
    """Seen documents with training questions beside seen documents without: who finds them, whose answers are exact."""
    parts, found = ("seen", "unasked-document"), {}
    for metric, what in (("recall@1", "found first"), ("em", "exact answers")):
        asked, unasked = (values_of(summary, part, metric, COMPARED) for part in parts)
        found[what] = [(name, one, unasked[name]) for name, one in asked.items() if name in unasked]
    there = [summary[summary["part"] == part] for part in parts]
    sizes = [most_counted(rows.itertuples()) for rows in there if len(rows)]
    return told("asked_or_not", found={what: rows for what, rows in found.items() if rows}, sizes=sizes)


def own_questions(asked: pd.DataFrame) -> str:
    """How many questions the model asked itself about seen and new documents, and how many of them were learned."""
    counts = {part: rows.set_index("what")["n"] for part, rows in asked.groupby("part", sort=False)}
    return told("own_questions", rows={part: n for part, n in counts.items() if n["asked"]})


def abstaining(abstention: pd.DataFrame) -> str:
    """Whether a system knows when not: the area under its risk-coverage curve, and the questions without a document.

    Of z-memory and the two plain retrievers; all are in the table of chapter 06.
    """
    systems = which(lambda system: system.asked_absent)
    ordered = [[_abstained(abstention, one, "aurc", score) for score in (FIRST_SCORE, *BOUNDS)] for one in systems]
    apart = [[_abstained(abstention, one, what) for what in ("auroc", "refused", "answered")] for one in systems]
    found = [[(name, *row) for name, row in zip(systems, rows, strict=True) if all(row)] for rows in (ordered, apart)]
    return told("abstaining", ordered=found[0], told=found[1])


def damaged(damage: pd.DataFrame) -> str:
    """Perplexity of plain text before and after training; of a model made from scratch, that there was none before."""
    return told("damaged", **{str(row.what): row for row in damage.itertuples()})


def _abstained(abstention: pd.DataFrame, system: str, metric: str, score: str = FIRST_SCORE) -> Estimate | None:
    """One row's estimate: over all test questions, absent ones included where there are any."""
    rows = abstention[abstention["score"] == score]
    found = (values_of(rows, part, metric, (system,)).get(system) for part in ("all", "answerable", ABSENT))
    return next(filter(None, found), None)

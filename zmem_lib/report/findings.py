"""The sentences of the findings page, each made from tables on disk: figures, intervals, and a verdict in plain words.

What is said of controls, retention and selectors is in findings_controls.py, words and verdicts are in wording.py. A
result that is bad for z-memory is said like one that is good.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from IPython.display import Markdown

from zmem_lib.evaluation.stats import POWER
from zmem_lib.params import Params, flat
from zmem_lib.report.abstention_tables import abstaining
from zmem_lib.report.figures import FAILURES, PARTS_SAID
from zmem_lib.report.findings_controls import (
    asked_or_not,
    bounds,
    damaged,
    own_questions,
    placebo,
    retained,
    selecting,
)
from zmem_lib.report.headline import headline
from zmem_lib.report.wording import NAMES, RIVALS, gaps_of, range_said, sentence, spoken, values_of, verdict
from zmem_lib.tables import PARTS


def findings(tables: Mapping[str, pd.DataFrame], params: Params) -> dict[str, list[str]]:
    """Sentences in Markdown by section of the page; what a run has no table rows for is left out.

    `tables` holds summary, scores, pairs, failures, costs, write_curve, selectors, retention, abstention, damage and
    asked.
    """
    summary, scores, pairs = tables["summary"], tables["scores"], tables["pairs"]
    sections = {
        "short": [held(summary), retained(tables["retention"])],
        "answers": [compare(summary, pairs, part) for part in PARTS_SAID],
        "evidence": [evidence(summary, part) for part in PARTS_SAID],
        "asked": [own_questions(tables["asked"]), asked_or_not(summary)],
        "choosing": [choosing(summary, part) for part in PARTS_SAID],
        "selecting": [selecting(tables["selectors"], part) for part in PARTS_SAID],
        "abstaining": [abstaining(tables["abstention"])],
        "failures": [failing(tables["failures"], part) for part in PARTS_SAID],
        "writing": [writing(tables["write_curve"])],
        "costs": [costing(tables["costs"])],
        "controls": [
            *(say(scores, part, params) for part in PARTS_SAID for say in (placebo, bounds)),
            damaged(tables["damage"]) if len(tables["damage"]) else "",
        ],
    }
    return {name: [sentence for sentence in sentences if sentence] for name, sentences in sections.items()}


def page(
    tables: Mapping[str, pd.DataFrame],
    sections: Mapping[str, list[str]],
    params: Params,
    *,
    verdict: list[str],
    costs: pd.DataFrame,
) -> dict[str, Any]:
    """What report.json holds: parameters, sentences, the rows of page one's tables, of summary and of costs.

    Null where there is no value. `verdict` is in the language of the page, `costs` from headline.costs_by_step.
    """
    rows = {"summary": tables["summary"], "costs": tables["costs"], "costs_by_step": costs}
    rows["headline"] = headline(tables["summary"], tables["pairs"])
    empty = {name: table.astype(object).where(table.notna(), None) for name, table in rows.items()}
    figures = {name: table.to_dict("records") for name, table in empty.items()}
    return {"params": flat(params), "verdict": verdict, "findings": dict(sections), **figures}


def evaluation_finding(summary: pd.DataFrame, seconds: float) -> Markdown:
    """What chapter 06 found, in a few sentences."""
    parts = [say(summary, part) for part in PARTS_SAID for say in (evidence, choosing)]
    return Markdown("\n\n".join([*filter(None, parts), f"The chapter took {seconds:.0f} s."]))


def compare(summary: pd.DataFrame, pairs: pd.DataFrame, part: str) -> str:
    """Exact answers: who is better and who worse than z-memory, who not told apart, and what n could have shown."""
    found, gaps = values_of(summary, part, "em", ("zmem", *RIVALS)), gaps_of(pairs, part, "em")
    if not gaps:
        return ""
    sides: dict[str, list[str]] = {}
    for rival, gap in gaps.items():
        sides.setdefault(verdict(gap), []).append(f"{NAMES[rival]} ({spoken(gap, sign=True)})")
    said = [f"{side} {', '.join(rivals)}" for side, rivals in sides.items()]
    tests = ((pairs["part"] == part) & (pairs["metric"] == "em")).sum()
    seen = range_said(pd.Series([gap.detectable for gap in gaps.values()]), join=" to ", over="more than 1")
    power = f" So many questions show a difference of {seen} in {100 * POWER:.0f} % of all studies." if seen else ""
    return (
        f"**Answers, {PARTS_SAID[part]}** (n = {found['zmem'].n}; permutation tests, Holm over {tests} pairs). "
        f"z-memory answers {spoken(found['zmem'])} exactly: {'; '.join(said)}.{power}"
    )


def evidence(summary: pd.DataFrame, part: str) -> str:
    """How often the gold answer stands in what the reader was given, and how long that was."""
    found = values_of(summary, part, "answer_in_evidence", ("zmem", "zmem-oracle", *RIVALS))
    tokens = values_of(summary, part, "evidence_tokens", ("zmem", "zmem-oracle", *RIVALS))
    if "zmem" not in found:
        return ""
    said = [f"{NAMES[system]} {spoken(one)} in {tokens[system].value:.0f} tokens" for system, one in found.items()]
    grounded = values_of(summary, part, "evidence_overlap", ("zmem",)).get("zmem")
    own = f" Of what z-memory writes, {spoken(grounded)} of the words stand in the chosen document." if grounded else ""
    return f"**Evidence, {PARTS_SAID[part]}.** The gold answer stands in the evidence of {'; '.join(said)}.{own}"


def choosing(summary: pd.DataFrame, part: str) -> str:
    """How often the first document is a gold one, and, for seen documents, a new one, which is wrong there."""
    found = values_of(summary, part, "recall@1", ("zmem", *RIVALS))
    if "zmem" not in found:
        return ""
    said = ", ".join(f"{NAMES[system]} {spoken(one)}" for system, one in found.items())
    astray = values_of(summary, part, "new_first", ("zmem", *RIVALS)) if part == "seen" else {}
    wrong = ", ".join(f"{NAMES[system]} {spoken(one)}" for system, one in astray.items())
    more = f" A new document comes first: {wrong}." if wrong else ""
    return f"**Choosing, {PARTS_SAID[part]}.** A gold document comes first (recall@1): {said}.{more}"


def failing(failures: pd.DataFrame, part: str) -> str:
    """Where z-memory's wrong answers come from."""
    kinds = failures.loc[(failures["system"] == "zmem") & (failures["part"] == part), "failure"]
    if kinds.empty:
        return ""
    shares = kinds.value_counts(normalize=True)
    said = ", ".join(f"{kind} {100 * shares.get(kind, 0.0):.0f} %" for kind in FAILURES)
    return f"**Where z-memory fails, {PARTS_SAID[part]}** (n = {len(kinds)}). {sentence(said)}"


def held(summary: pd.DataFrame) -> str:
    """What the memory holds, the right z given: of the questions trained on, and of those that were not."""
    found = {part: values_of(summary, part, "answer_in_evidence", ("zmem-oracle",)) for part in PARTS}
    said = [f"{spoken(one)} of the {part} questions" for part in PARTS for one in found[part].values()]
    if not said:
        return ""
    return f"**What the memory holds.** Given the right z, the model writes the answer for {', '.join(said)}."


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
        if (start, last["step"]) in found.index:
            text += f", then found first for {spoken(found.loc[(start, last['step'])])}"
        said.append(text)
    size = f"new-dev questions, n = {answers['n'].max()}; answer in evidence, the right z given" if said else ""
    return f"**Writing new documents** ({size}). {sentence('; '.join(said))}" if said else ""


def costing(costs: pd.DataFrame) -> str:
    """What each of the compared systems stores, and how long building and asking take."""
    rows = costs.set_index("system")
    said = [
        f"{NAMES[system]} stores {rows.at[system, 'bytes_stored'] / 1e6:.2f} MB, is built in "
        f"{rows.at[system, 'build_seconds']:.1f} s and answers a question in "
        f"{rows.at[system, 'seconds_per_question']:.3f} s"
        for system in ("zmem", *RIVALS)
        if system in rows.index
    ]
    return f"**Costs.** {sentence('; '.join(said))}" if said else ""

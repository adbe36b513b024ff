"""Knowing when not to answer, as a figure, a table and a sentence, from the tables confidence and abstention."""

from functools import partial
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zmem_lib.evaluation.risk import BOUNDS, RISK, risk_coverage
from zmem_lib.evaluation.stats import Estimate
from zmem_lib.report.figures import CYCLE, new_figure
from zmem_lib.report.wording import NAMES, spoken
from zmem_lib.tables import ABSENT, ALSO_ABSENT, SYSTEMS, TEST_PARTS, in_order

SCORES = {
    "margin": "margin of the best document",
    "top": "score of the best document",
    "likelihood": "question given z",
    "entropy": "first evidence token",
}
METRICS = ("aurc", "coverage@risk", "auroc", "answered", "refused", "risk")
HEADS = {
    "aurc": "AURC", "coverage@risk": f"coverage at risk {RISK}", "auroc": "AUROC", "answered": "answered",
    "refused": "refused", "risk": "risk of the answered",
}  # fmt: skip
PANELS = 3  # in a row
TITLE_WIDTH = 29  # characters of a panel's title on a line
SAID = "margin"  # the one score that every system has in its own units: no choice of a score on test questions


def risk_coverage_curves(confidence: pd.DataFrame) -> Figure:
    """Share of wrong answers among the surest questions, by their share of all test questions: a panel per system.

    A line per score of confidence; in grey the best possible order and that of chance.
    """
    rows = confidence[confidence["part"].isin([*TEST_PARTS, ABSENT])]
    systems = in_order(rows["system"], SYSTEMS)
    columns = min(PANELS, max(len(systems), 1))
    height = -(-len(systems) // columns) or 1  # rows of panels
    figure, axes = new_figure(height, columns, height=2.5 * height + 0.6, sharex=True, sharey=True)
    for axis, system in zip(axes, systems, strict=False):
        _panel(axis, rows[rows["system"] == system])
        n = rows.loc[rows["system"] == system, "question_id"].nunique()
        axis.set_title(fill(f"{NAMES.get(system, system)} (n = {n})", TITLE_WIDTH), fontsize=9.5)
    for axis in axes[len(systems) :]:
        axis.set_visible(False)
    figure.supxlabel("coverage (share of questions answered, the surest first)", fontsize=9.5)
    figure.supylabel("risk (share of answers wrong)", fontsize=9.5)
    lines = [axis.get_legend_handles_labels() for axis in axes[: len(systems)]]
    named = {label: handle for handles, labels in lines for handle, label in zip(handles, labels, strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=PANELS, frameon=False, fontsize=9)
    return figure


def abstention_overview(abstention: pd.DataFrame) -> pd.DataFrame:
    """Part, system and score by metric: each value with its interval."""
    rows = abstention[abstention["n"] > 0]
    cells = rows.assign(cell=[spoken(row) for row in rows.itertuples()], metric=rows["metric"].map(HEADS))
    table = cells.pivot(index=["part", "system", "score"], columns="metric", values="cell")
    order = [
        (part, system, score)
        for part in in_order(rows["part"], ("answerable", "all", ABSENT))
        for system in in_order(rows["system"], SYSTEMS)
        for score in in_order(rows["score"], (*SCORES, *BOUNDS))
        if (part, system, score) in table.index
    ]
    heads = [HEADS[metric] for metric in METRICS if HEADS[metric] in table]
    return table.reindex(order)[heads].rename_axis(columns=None).fillna("–")


def abstaining(abstention: pd.DataFrame) -> str:
    """Whether a system knows when not: the area under its risk-coverage curve, and the questions without a document.

    Of z-memory and the two plain retrievers; all are in the table of chapter 06.
    """
    order, apart = [], []
    for system in ALSO_ABSENT:
        name, one = NAMES[system], partial(_one, abstention, system)
        area, best, chance = (one("aurc", score) for score in (SAID, *BOUNDS))
        if area and best and chance:
            order.append(f"{name} {spoken(area)} (best possible order {best.value:.2f}, chance {chance.value:.2f})")
        told, refused, answered = (one(metric, SAID) for metric in ("auroc", "refused", "answered"))
        if told and refused and answered:
            apart.append(f"{name} {spoken(told)} ({refused.value:.2f} and {answered.value:.2f})")
    said = f"the mean share of wrong answers over all coverages is {'; '.join(order)}." if order else ""
    if apart:
        said += (
            " Questions without a document are told from the others with AUROC (and, from a threshold chosen on dev "
            f"questions, so many of them are refused and of the others answered) {'; '.join(apart)}."
        )
    return f"**Knowing when not.** The largest margin between the first two documents first, {said}" if said else ""


def _one(abstention: pd.DataFrame, system: str, metric: str, score: str) -> Estimate | None:
    """One row's estimate: over all test questions, absent ones included where there are any."""
    rows = abstention[
        (abstention["system"] == system) & (abstention["metric"] == metric) & (abstention["score"] == score)
    ]
    rows = rows[(rows["n"] > 0) & rows["part"].isin(["all", ABSENT, "answerable"])]
    rows = rows[rows["part"] == "all"] if (rows["part"] == "all").any() else rows
    return Estimate(*rows[["value", "ci_low", "ci_high", "n"]].iloc[0]) if len(rows) else None


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
    first = rows[rows["score"] == rows["score"].iloc[0]]
    for style, order in zip((":", "--"), (-first["wrong"], 0 * first["wrong"]), strict=True):
        curve = risk_coverage(order, first["wrong"])
        label = "best possible order" if style == ":" else "chance"
        axis.plot(curve["coverage"], curve["risk"], color="#777777", linestyle=style, linewidth=1.1, label=label)
    for colour, (score, label) in zip(CYCLE, SCORES.items(), strict=False):
        mine = rows[rows["score"] == score]
        if len(mine):
            curve = risk_coverage(mine["value"], mine["wrong"])
            axis.plot(curve["coverage"], curve["risk"], color=colour, linewidth=1.3, label=label)
    axis.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    axis.set_xticks([0, 0.25, 0.5, 0.75], ["0", "0.25", "0.5", "0.75"])  # no 1: it would touch the next panel's 0

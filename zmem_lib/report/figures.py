"""Every plot of chapters 03 to 07: a data frame in, a matplotlib Figure out.

All are 7 inches wide (readable at 700 pixels), in Okabe and Ito's colours, which colour-blind readers tell apart;
a system has the same colour everywhere. Lines and bars carry bootstrap intervals where their table has them. Size,
style, font and description are canvas.py's.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from zmem_lib.evaluation.metrics import METRICS
from zmem_lib.report.canvas import new_figure
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import PARTS, TEST_PARTS, in_order

COLOURS = {name: system.colour for name, system in SYSTEMS.items()} | {
    "chance": "#C8C8C8", "chance-alike": "#DDDDDD", "query_likelihood": "#0072B2", "key": "#E69F00",
    "key_then_likelihood": "#009E73", "generated_id": "#D55E00",
}  # fmt: skip
STARTS = {"random": "#D55E00", "mean": "#E69F00", "vocab": "#CC79A7", "encode": "#0072B2"}  # of writing
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FAILURES = {"right": "#009E73", "wrong z": "#D55E00", "wrong evidence": "#E69F00", "wrong reading": "#56B4E9"}
LABELS = {name: metric.label for name, metric in METRICS.items()}
CURVES = {  # of write_curve
    "answer_in_evidence": "answer in evidence\n(the right z given)", "em": "exact match of\nthe reader on it",
    "recall@1": "found first among\nall documents", "recited": "share of the text\nrecited greedily",
}  # fmt: skip
PARTS_SAID = {"seen": "seen documents", "unasked-document": "unasked documents", "new": "new documents"}
RECALL_AT = (1, 5, 20)


def loss_curves(train_log: pd.DataFrame) -> Figure:
    """One panel per loss term over the training steps: train (each step and its running mean) and dev."""
    terms = list(dict.fromkeys(train_log["term"]))
    columns = min(2, max(1, len(terms)))
    rows = -(-len(terms) // columns) or 1
    figure, axes = new_figure(rows, columns, height=2.2 * rows + 0.5, sharex=True)
    for axis, term in zip(axes, terms, strict=False):
        _loss_panel(axis, train_log[train_log["term"] == term])
        axis.set_title(term)
    for axis in axes[len(terms) :]:
        axis.set_visible(False)
    for axis in axes[max(len(terms) - columns, 0) : len(terms)]:
        axis.set_xlabel("training step")
        axis.tick_params(labelbottom=True)
    figure.supylabel("negative log-likelihood (nats per token)", fontsize=9.5)
    return legend_above(figure, axes[: len(terms)])


def write_loss(write_log: pd.DataFrame) -> Figure:
    """Over the writing steps, a line per start: recite loss, share recited greedily, milliseconds per document."""
    said = {
        "nll": "recite loss (nats per token)",
        "recited": "share of the text recited",
        "ms": "ms per document, so far",
    }
    log = write_log.assign(ms=1000 * write_log["seconds_per_document"]).sort_values("step", kind="stable")
    figure, axes = new_figure(1, len(said), height=2.7)
    for axis, (column, label) in zip(axes, said.items(), strict=True):
        for start in in_order(log["start"], tuple(STARTS)):
            mine = log[log["start"] == start]
            colour = STARTS.get(start, CYCLE[2])
            axis.plot(mine["step"], mine[column], color=colour, marker="o", markersize=3, label=f"start: {start}")
        axis.set(xlabel="writing step", ylabel=label)
        step_axis(axis, log["step"])
    axes[1].set_ylim(-0.02, 1.02)
    axes[2].set_ylim(0, None)
    return legend_above(figure, axes[:1])


def write_quality(write_curve: pd.DataFrame) -> Figure:
    """Each measure of the snapshots, with its interval, against steps (left) and milliseconds (right), per start."""
    metrics = in_order(write_curve["metric"], tuple(CURVES))
    figure, axes = new_figure(max(len(metrics), 1), 2, height=1.5 * len(metrics) + 1.2, sharey="row", sharex="col")
    curve = write_curve.assign(ms=1000 * write_curve["seconds_per_document"])
    for row, metric in enumerate(metrics):
        mine = curve[curve["metric"] == metric]
        for axis, column in zip(axes[2 * row :], ("step", "ms"), strict=False):
            _curve_panel(axis, mine, column)
            axis.set_ylim(-0.02, 1.02)
        axes[2 * row].set_ylabel(CURVES.get(metric, metric))
    axes[-2].set_xlabel("writing step")
    axes[-1].set_xlabel("milliseconds per document, start included")
    step_axis(axes[-2], curve["step"])
    _milliseconds_axis(axes[-1], curve["ms"])
    return legend_above(figure, axes[:1])


def _curve_panel(axis: Axes, curve: pd.DataFrame, column: str) -> None:
    for start in in_order(curve["start"], tuple(STARTS)):
        mine, colour = curve[curve["start"] == start].sort_values("step"), STARTS.get(start, CYCLE[2])
        axis.plot(mine[column], mine["value"], color=colour, marker="o", markersize=3, label=f"start: {start}")
        axis.fill_between(mine[column], mine["ci_low"], mine["ci_high"], color=colour, alpha=0.12, linewidth=0)


def quality_bars(summary: pd.DataFrame, metric: str, systems: Sequence[str] = SYSTEMS) -> Figure:
    """One group of bars per part, one bar per system, with the bootstrap interval of the mean on each."""
    rows = summary[(summary["metric"] == metric) & summary["system"].isin(systems)]
    parts, systems = in_order(rows["part"], PARTS), in_order(rows["system"], tuple(systems))
    figure, (axis,) = new_figure(height=3.2)
    width = 0.85 / max(len(systems), 1)
    for place, system in enumerate(systems):
        mine = rows[rows["system"] == system].set_index("part").reindex(parts)
        at = [group + (place - (len(systems) - 1) / 2) * width for group in range(len(parts))]
        axis.bar(at, mine["value"], width * 0.92, color=COLOURS.get(system, "#000000"), label=system)
        whiskers(axis, at, mine)
    sizes = rows.groupby("part")["n"].max()
    axis.set_xticks(range(len(parts)), [f"{part}\nn = {sizes[part]}" for part in parts])
    axis.set(ylabel=f"{LABELS.get(metric, metric)} (mean, 0 to 1)", ylim=(0, 1.02))
    axis.grid(axis="x", visible=False)
    return legend_above(figure, [axis])


def recall_curves(summary: pd.DataFrame) -> Figure:
    """Recall at 1, 5 and 20 of the systems that rank documents, one panel for each part of test questions."""
    names = {f"recall@{k}": k for k in RECALL_AT}
    rows = summary[summary["metric"].isin(names) & summary["part"].isin(TEST_PARTS)]
    rows = rows.assign(k=rows["metric"].map(names))
    parts, systems = in_order(rows["part"], PARTS), in_order(rows["system"], SYSTEMS)
    figure, axes = new_figure(1, max(len(parts), 1), height=2.9, sharey=True)
    for axis, part in zip(axes, parts, strict=False):
        for place, system in enumerate(systems):
            mine = rows[(rows["part"] == part) & (rows["system"] == system)].sort_values("k")
            at = [RECALL_AT.index(k) + 0.07 * (place - (len(systems) - 1) / 2) for k in mine["k"]]
            axis.plot(at, mine["value"], marker="o", markersize=4, color=COLOURS.get(system, "#000000"), label=system)
            whiskers(axis, at, mine, COLOURS.get(system, "#000000"))
        size = rows.loc[rows["part"] == part, "n"].max()
        axis.set(title=_panel_title(part, size, len(parts)), xlabel="documents looked at", ylim=(0, 1.03))
        axis.set_xticks(range(len(RECALL_AT)), [str(k) for k in RECALL_AT])
    axes[0].set_ylabel("gold document among them (share)")
    return legend_above(figure, axes[:1])


def failure_bars(failures: pd.DataFrame) -> Figure:
    """Stacked shares of right answers and of each kind of failure, a bar per system, a panel per part."""
    rows = failures[failures["part"].isin(TEST_PARTS)]
    parts, systems = in_order(rows["part"], PARTS), in_order(rows["system"], SYSTEMS)
    figure, axes = new_figure(1, max(len(parts), 1), height=0.32 * len(systems) + 1.3, sharey=True)
    for axis, part in zip(axes, parts, strict=False):
        mine = rows[rows["part"] == part]
        shares = pd.crosstab(mine["system"], mine["failure"], normalize="index")
        shares = shares.reindex(index=systems, columns=list(FAILURES)).fillna(0.0)
        edge = shares.cumsum(axis=1) - shares
        for kind, colour in FAILURES.items():
            axis.barh(systems, shares[kind], left=edge[kind], color=colour, label=kind, height=0.72)
        size = mine["question_id"].nunique()
        axis.set(title=_panel_title(part, size, len(parts)), xlabel="share of questions", xlim=(0, 1))
        axis.set_xticks([0, 0.25, 0.5, 0.75], ["0", "0.25", "0.5", "0.75"])  # no 1: it would touch the next panel's 0
        axis.grid(axis="y", visible=False)
    axes[0].invert_yaxis()  # sharey: the first system on top in every panel
    return legend_above(figure, axes[:1])


def _panel_title(part: str, size: int, panels: int) -> str:
    return f"{PARTS_SAID[part]}{' ' if panels < 3 else chr(10)}(n = {size})"  # three have room for two short lines each


def _loss_panel(axis: Axes, log: pd.DataFrame) -> None:
    train = log[log["split"] == "train"].sort_values("step")
    if len(train):
        axis.plot(train["step"], train["nll"], color=CYCLE[0], alpha=0.25, linewidth=0.8)
        smooth = train["nll"].rolling(max(len(train) // 40, 1), min_periods=1, center=True).mean()
        axis.plot(train["step"], smooth, color=CYCLE[0], linewidth=1.4, label="train (running mean)")
    for colour, (split, rows) in zip(CYCLE[1:], log[log["split"] != "train"].groupby("split"), strict=False):
        rows = rows.sort_values("step")
        axis.plot(rows["step"], rows["nll"], color=colour, marker="o", markersize=3, linewidth=1.2, label=split)
    axis.set_ylim(bottom=0)


def step_axis(axis: Axes, steps: pd.Series) -> None:
    """Steps 0, 1, 2, 5, 10, ... one stride apart: most happens in the first of them."""
    if steps.empty:
        return
    axis.set_xscale("symlog", linthresh=1, linscale=0.4)
    shown = sorted({step for step in steps if str(step).rstrip("0") in ("", "1", "2", "5")} | {steps.max()})
    axis.set_xticks(shown, [f"{step}" for step in shown])
    axis.minorticks_off()
    axis.set_xlim(-0.2, 1.25 * max(shown))


def _milliseconds_axis(axis: Axes, ms: pd.Series) -> None:
    """A logarithmic axis from just below the smallest time; linear up to 1 ms only where a time is 0."""
    if ms.empty:
        return
    if ms.min() > 0:
        axis.set_xscale("log")
        axis.set_xlim(ms.min() / 1.25, 1.25 * ms.max())
    else:
        axis.set_xscale("symlog", linthresh=1, linscale=0.4)
        axis.set_xlim(-0.2, 1.5 * max(ms.max(), 1))
    axis.xaxis.set_major_formatter("{x:g}")
    if 0 < ms.max() <= 20 * ms.min():  # too short a stretch for powers of ten alone
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_minor_formatter(NullFormatter())


def whiskers(
    axis: Axes, at: Sequence[float], rows: pd.DataFrame, colour: str = "#222222", *, across: bool = False
) -> None:
    """Draw the intervals of the rows at those places; `across`: the values lie on the x axis."""
    below, above = rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]
    reach, look = [below.clip(lower=0), above.clip(lower=0)], {"ecolor": colour, "elinewidth": 0.9, "capsize": 1.8}
    if across:
        axis.errorbar(rows["value"], at, xerr=reach, fmt="none", **look)
    else:
        axis.errorbar(at, rows["value"], yerr=reach, fmt="none", **look)


def legend_above(figure: Figure, axes: Sequence[Axes]) -> Figure:
    """Put one legend of all these axes above the figure, and return it."""
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if entries:
        columns = 4 if len(entries) > 5 else len(entries)
        place = "outside upper center"
        figure.legend(entries.values(), entries.keys(), loc=place, ncols=columns, frameon=False, fontsize=9)
    return figure

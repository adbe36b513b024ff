"""Every plot of the chapters and of page one: a data frame in, a matplotlib Figure out.

Colours are Okabe and Ito's, which colour-blind readers tell apart; a system has the same everywhere. Lines differ in
marker too. Plots of page one take the phrases of its language (wording.phrases): with them systems go by their short
names, and the figure carries its values in words; the chapters name systems as their tables do.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from zmem_lib.evaluation.risk import risk_coverage
from zmem_lib.report.canvas import new_figure
from zmem_lib.report.wording import LABELS, name_of, phrases, spoken, values_of
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import ABSENT, PARTS, TEST_PARTS, in_order

Words = Mapping[str, str]
STARTS = {
    "random": "#D55E00",
    "mean": "#E69F00",
    "vocab": "#CC79A7",
    "pooled": "#009E73",
    "chosen": "#009E73",
    "encode": "#0072B2",
}  # of writing
COLOURS = {name: system.colour for name, system in SYSTEMS.items()} | {
    "chance": "#C8C8C8", "chance-alike": "#DDDDDD", "query_likelihood": "#0072B2", "key": "#E69F00",
    "key_then_likelihood": "#009E73", "generated_id": "#D55E00",
} | STARTS  # fmt: skip
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FAILURES = {"right": "#009E73", "wrong z": "#D55E00", "wrong evidence": "#E69F00", "wrong reading": "#56B4E9"}
WRITTEN = {  # of write_log
    "nll": "recite loss (nats per token)", "recited": "share of the text recited", "ms": "ms per document, so far",
}  # fmt: skip
CURVES = {  # of write_curve
    "answer_in_evidence": "answer in evidence\n(the right z given)", "em": "exact match of\nthe reader on it",
    "recall@1": "found first among\nall documents", "recited": "share of the text\nrecited greedily",
}  # fmt: skip
CONFIDENCE = {  # scores of it
    "margin": "margin of the best document", "top": "score of the best document",
    "likelihood": "question given z", "entropy": "first evidence token",
}  # fmt: skip
NOISY = ("zmem", "zmem+text", "zmem-oracle", "bm25", "dense", "hybrid", "long-context", "gold-passage")  # one of a sort
NOISY_ON_PAGE_ONE = ("zmem", "zmem-oracle", "bm25", "dense", "hybrid", "gold-passage")
RECALL_AT = (1, 5, 20)
QUARTERS = {0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75"}  # no 1: it would touch the next panel's 0


def histograms(panels: Mapping[str, Mapping[str, pd.Series]], ylabel: str) -> Figure:
    """A panel for every axis label, in it the shares of every named group of counts, as the groups differ in size."""
    figure, axes = new_figure(1, len(panels), height=2.9)
    for axis, (xlabel, groups) in zip(axes, panels.items(), strict=True):
        counts = pd.concat(groups.values()) if groups else pd.Series(dtype=int)
        least, most = (int(counts.min()), int(counts.max())) if len(counts) else (0, 1)
        width = -(-(most - least + 1) // 30)  # 30 bars at most
        bins = [edge - 0.5 for edge in range(least, most + 2 * width, width)]
        for colour, (name, group) in zip(CYCLE, groups.items(), strict=False):
            weights = np.full(len(group), 1 / max(len(group), 1))
            label = f"{name} (n = {len(group):,})"
            axis.hist(group, bins=bins, weights=weights, color=colour, alpha=0.25)
            axis.hist(group, bins=bins, weights=weights, color=colour, histtype="step", linewidth=1.4, label=label)
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, fontsize=8.5, frameon=False)
        axis.set(xlabel=xlabel)
    axes[0].set_ylabel(ylabel)
    return figure


def loss_curves(train_log: pd.DataFrame) -> Figure:
    """One panel per loss term over the training steps: train (each step and its running mean) and dev."""
    terms = list(dict.fromkeys(train_log["term"]))
    figure, axes, columns = panel_grid(len(terms), most=2, height=2.2, sharex=True)
    for axis, term in zip(axes, terms, strict=False):
        log = train_log[train_log["term"] == term].sort_values("step")
        train = log[log["split"] == "train"]
        smooth = train["nll"].rolling(max(len(train) // 40, 1), min_periods=1, center=True).mean()
        axis.plot(train["step"], train["nll"], color=CYCLE[0], alpha=0.25, linewidth=0.8)
        axis.plot(train["step"], smooth, color=CYCLE[0], linewidth=1.4, label="train (running mean)")
        for colour, (split, held_out) in zip(CYCLE[1:], log[log["split"] != "train"].groupby("split"), strict=False):
            look: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3, "linewidth": 1.2}
            axis.plot(held_out["step"], held_out["nll"], label=split, **look)
        axis.set(title=term, ylim=(0, None))
    for axis in axes[-columns:]:
        axis.set_xlabel("training step")
        axis.tick_params(labelbottom=True)
    figure.supylabel("negative log-likelihood (nats per token)", fontsize=9.5)
    return legend_above(figure, axes)


def write_loss(write_log: pd.DataFrame) -> Figure:
    """Over the writing steps, a line per start: recite loss, share recited greedily, milliseconds per document."""
    log = write_log.assign(ms=1000 * write_log["seconds_per_document"])
    figure, axes = new_figure(1, len(WRITTEN), height=2.7)
    for axis, (column, label) in zip(axes, WRITTEN.items(), strict=True):
        banded_lines(axis, log, "step", column, by="start", label="start: {start}")
        axis.set(xlabel="writing step", ylabel=label)
        step_axis(axis, log["step"])
    axes[1].set_ylim(-0.02, 1.02)
    axes[2].set_ylim(0, None)
    return legend_above(figure, axes[:1])


def write_quality(write_curve: pd.DataFrame, labels: Mapping[str, str] = CURVES, words: Words | None = None) -> Figure:
    """Each measure of the snapshots that has a label, with its interval, against steps and milliseconds, per start."""
    named = words or phrases("en")
    curve = write_curve[write_curve["metric"].isin(labels)]
    curve = curve.assign(ms=1000 * curve["seconds_per_document"])
    rows = max(curve["metric"].nunique(), 1)
    figure, axes = new_figure(rows, 2, height=1.5 * rows + 1.3, sharey="row", sharex="col")
    for row, metric in enumerate(in_order(curve["metric"], labels)):
        for axis, column in zip(axes[2 * row : 2 * row + 2], ("step", "ms"), strict=True):
            banded_lines(axis, curve[curve["metric"] == metric], column, by="start", label=named["plot.start"])
            axis.set_ylim(-0.02, 1.04)
        axes[2 * row].set_ylabel(labels[metric])
    axes[-2].set_xlabel(named["plot.write_step"])
    axes[-1].set_xlabel(named["plot.write_ms"])
    step_axis(axes[-2], curve["step"])
    milliseconds_axis(axes[-1], curve["ms"])
    if words:
        axes[0].set_title(words["plot.write_title"].format(n=int(curve["n"].max()) if len(curve) else 0), loc="left")
        ends = curve.sort_values("step", kind="stable").groupby("start", sort=False).tail(1)
        values = [f"{words['plot.start'].format(start=end.start)}: {spoken(end)}" for end in ends.itertuples()]
        figure.set_label(words["plot.write_alt"].format(values="; ".join(values)))
    return legend_above(figure, axes[:1])


def quality_bars(summary: pd.DataFrame, metric: str, systems: Collection[str] = SYSTEMS) -> Figure:
    """One group of bars per part, one bar per system, with the bootstrap interval of the mean on each."""
    rows = summary[(summary["metric"] == metric) & summary["system"].isin(systems)]
    parts, systems = in_order(rows["part"], PARTS), in_order(rows["system"], systems)
    figure, (axis,) = new_figure(height=3.2)
    width = 0.85 / max(len(systems), 1)
    for place, system in enumerate(systems):
        values = rows[rows["system"] == system].set_index("part").reindex(parts)
        at = np.arange(len(parts)) + (place - (len(systems) - 1) / 2) * width
        axis.bar(at, values["value"], width * 0.92, color=colour_of(system), label=system)
        whiskers(axis, at, values)
    sizes = rows.groupby("part")["n"].max()
    axis.set_xticks(range(len(parts)), [f"{part}\nn = {sizes[part]}" for part in parts])
    axis.set(ylabel=f"{LABELS.get(metric, metric)} (mean, 0 to 1)", ylim=(0, 1.02))
    axis.grid(axis="x", visible=False)
    return legend_above(figure, [axis], columns=3)


def quality_plot(summary: pd.DataFrame, systems: Sequence[str], words: Words) -> Figure:
    """Page one: by system, top to bottom, the answer stands in the evidence (dot), the answer is exact (square)."""
    shown = {"answer_in_evidence": words["plot.in_evidence"], "em": words["plot.exact"]}
    rows = summary[summary["metric"].isin(shown) & summary["part"].isin(TEST_PARTS) & (summary["n"] > 0)]
    figure, panels = part_panels(rows, words, height=0.34 * len(systems) + 1.4)
    for axis, part_rows in panels:
        for place, (metric, label) in enumerate(shown.items()):
            values = part_rows[part_rows["metric"] == metric].set_index("system").reindex(list(systems))
            at = [row + 0.26 * (place - 0.5) for row in range(len(systems))]
            axis.plot(values["value"], at, MARKERS[place], color=CYCLE[place], markersize=5, label=label)
            whiskers(axis, at, values, CYCLE[place], across=True)
        axis.set(xlabel=words["plot.quality"], xlim=(-0.03, 1.03))
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axis.set_yticks(range(len(systems)), [words[f"row.{system}"] for system in systems])
        axis.grid(axis="y", visible=False)
    figure.axes[0].set_ylim(len(systems) - 0.5, -0.5)  # sharey: the first system on top in every panel
    figure.set_label(words["plot.quality_alt"].format(values=_values(summary, "answer_in_evidence", systems, words)))
    return legend_above(figure, figure.axes[:1])


def recall_curves(rows: pd.DataFrame, systems: Sequence[str] | None = None, words: Words | None = None) -> Figure:
    """Recall at 1, 5 and 20, a panel for each part; of all systems or ways of choosing, or of page one's `systems`."""
    depths, named = {f"recall@{k}": place for place, k in enumerate(RECALL_AT)}, words or phrases("en")
    rows = rows[rows["metric"].isin(depths) & rows["part"].isin(TEST_PARTS) & (rows["n"] > 0)]
    rows = rows.assign(depth=rows["metric"].map(depths))
    systems = in_order(rows["system"], SYSTEMS) if systems is None else systems
    names = {system: words[f"row.{system}"] if words else system for system in systems}
    figure, panels = part_panels(rows, named, height=3.0)
    for axis, part_rows in panels:
        system_lines(axis, part_rows[part_rows["system"].isin(systems)], "depth", names, apart=0.08)
        axis.set(xlabel=named["plot.recall_x"], ylim=(-0.02, 1.04))
        axis.set_xticks(range(len(RECALL_AT)), [str(k) for k in RECALL_AT])
    figure.axes[0].set_ylabel(named["plot.recall_y"])
    if words:
        figure.set_label(words["plot.recall_alt"].format(values=_values(rows, "recall@1", systems, words)))
    return legend_above(figure, figure.axes[:1])


def failure_bars(failures: pd.DataFrame) -> Figure:
    """Stacked shares of right answers and of each kind of failure, a bar per system, a panel per part."""
    rows = failures[failures["part"].isin(TEST_PARTS)]
    systems = in_order(rows["system"], SYSTEMS)
    figure, panels = part_panels(rows, phrases("en"), height=0.32 * len(systems) + 1.3)
    for axis, part_rows in panels:
        shares = pd.crosstab(part_rows["system"], part_rows["failure"], normalize="index")
        shares = shares.reindex(index=systems, columns=list(FAILURES)).fillna(0.0)
        shares.plot.barh(stacked=True, ax=axis, color=list(FAILURES.values()), width=0.72, legend=False, ylabel="")
        axis.set(xlabel="share of questions", xlim=(0, 1))
        axis.set_xticks(list(QUARTERS), list(QUARTERS.values()))
        axis.grid(axis="y", visible=False)
    figure.axes[0].invert_yaxis()  # sharey: the first system on top in every panel
    return legend_above(figure, figure.axes[:1])


def noise_curves(noise: pd.DataFrame, metric: str, words: Words | None = None) -> Figure:
    """A measure as evidence items are replaced, with intervals: a row per part, a column per kind of noise."""
    named, names = words or phrases("en"), {system: system for system in NOISY}
    names = {system: words[f"row.{system}"] for system in NOISY_ON_PAGE_ONE} if words else names
    rows = noise[(noise["metric"] == metric) & noise["system"].isin(names)].sort_values("share", kind="stable")
    rows = rows.assign(percent=100 * rows["share"])
    parts, kinds = in_order(rows["part"], TEST_PARTS), in_order(rows["kind"], ())
    figure, axes = new_figure(len(parts), len(kinds), height=1.9 * len(parts) + 0.8, sharex=True, sharey=True)
    falls = []
    for axis, (part, kind) in zip(axes, [(part, kind) for part in parts for kind in kinds], strict=True):
        panel = rows[(rows["part"] == part) & (rows["kind"] == kind)]
        place = {"part": named[f"part.{part}"], "kind": named[f"kind.{kind}"]}
        system_lines(axis, panel, "percent", names, apart=1.6)
        axis.set_xticks(sorted(set(rows["percent"])))
        axis.set(title=named["plot.noise_panel"].format(**place, n=panel["n"].max()), ylim=(-0.02, 1.04))
        for system in in_order(panel["system"], names):
            line: list[Any] = list(panel[panel["system"] == system].itertuples())
            ends = {
                "first": f"{line[0].value:.2f}",
                "last": f"{line[-1].value:.2f}",
                "share": f"{line[-1].percent:.0f}",
            }
            falls.append(named["plot.noise_value"].format(**place, **ends, name=names[system]))
    figure.supxlabel(named["plot.noise_x"], fontsize=9.5)
    figure.supylabel(words["plot.noise_y"] if words else f"{LABELS[metric]} (mean, 0 to 1)", fontsize=9.5)
    if words:
        figure.set_label(words["plot.noise_alt"].format(values="; ".join(falls)))
    return legend_above(figure, axes[:1])


def risk_coverage_curves(confidence: pd.DataFrame) -> Figure:
    """Share of wrong answers among the surest questions, a panel per system, a line per score; in grey the bounds."""
    rows = confidence[confidence["part"].isin([*TEST_PARTS, ABSENT])]
    systems = in_order(rows["system"], SYSTEMS)
    figure, axes, _ = panel_grid(len(systems), most=3, height=2.5, sharex=True, sharey=True)
    for axis, system in zip(axes, systems, strict=False):
        scores = dict(list(rows[rows["system"] == system].groupby("score", sort=False)))
        first = next(iter(scores.values()))
        wrong = first["wrong"].to_numpy()
        for label, order, style in (("best possible order", -wrong, ":"), ("chance", 0 * wrong, "--")):
            curve = risk_coverage(order, wrong)
            axis.plot(curve["coverage"], curve["risk"], style, color="#777777", linewidth=1.1, label=label)
        for colour, score in zip(CYCLE, CONFIDENCE, strict=False):
            if score in scores:
                curve = risk_coverage(scores[score]["value"].to_numpy(), scores[score]["wrong"].to_numpy())
                axis.plot(curve["coverage"], curve["risk"], color=colour, linewidth=1.3, label=CONFIDENCE[score])
        axis.set(xlim=(0, 1), ylim=(-0.02, 1.02))
        axis.set_xticks(list(QUARTERS), list(QUARTERS.values()))
        axis.set_title(fill(f"{name_of(system)} (n = {first['question_id'].nunique()})", 29), fontsize=9.5)
    figure.supxlabel("coverage (share of questions answered, the surest first)", fontsize=9.5)
    figure.supylabel("risk (share of answers wrong)", fontsize=9.5)
    return legend_above(figure, axes, columns=3)


def part_panels(rows: pd.DataFrame, words: Words, *, height: float) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A figure with a panel for each part of test questions, its name and n above it, and the rows of the part."""
    parts = in_order(rows["part"], TEST_PARTS)
    figure, axes = new_figure(1, max(len(parts), 1), height=height, sharey=True)
    panels = [(axis, rows[rows["part"] == part]) for axis, part in zip(axes, parts, strict=False)]
    for (axis, part_rows), part in zip(panels, parts, strict=True):
        n = part_rows["n"].max() if "n" in part_rows else part_rows["question_id"].nunique()
        axis.set_title(words["plot.panel"].format(part=words[f"part.{part}"], n=n))
    return figure, panels


def panel_grid(panels: int, *, most: int, height: float, **shared: bool) -> tuple[Figure, list[Axes], int]:
    """A figure with so many panels of this height, at most `most` in a row, their axes, and how many are in a row."""
    columns = min(most, max(panels, 1))
    rows = -(-panels // columns) or 1
    figure, axes = new_figure(rows, columns, height=height * rows + 0.6, **shared)
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, axes[:panels], columns


def banded_lines(axis: Axes, rows: pd.DataFrame, x: str, y: str = "value", *, by: str, label: str) -> None:
    """A line for every start of writing or every system (`by`), in a band of its interval where the table has one."""
    for name, marker in zip(in_order(rows[by], (*SYSTEMS, *STARTS)), cycle(MARKERS)):
        line, colour = rows[rows[by] == name].sort_values(x, kind="stable"), colour_of(name)
        axis.plot(line[x], line[y], color=colour, marker=marker, markersize=3.5, label=label.format(**{by: name}))
        if "ci_low" in line:
            axis.fill_between(line[x], line["ci_low"], line["ci_high"], color=colour, alpha=0.13, linewidth=0)


def system_lines(axis: Axes, rows: pd.DataFrame, x: str, names: Mapping[str, str], *, apart: float) -> None:
    """A line with its interval for each system that has a name, beside the one before: equal values would hide it."""
    systems = in_order(rows["system"], names)
    for place, system in enumerate(systems):
        line = rows[rows["system"] == system].sort_values(x)
        at = line[x] + apart * (place - (len(systems) - 1) / 2)
        marker = MARKERS[list(names).index(system) % len(MARKERS)]
        look = {"color": colour_of(system), "marker": marker, "markersize": 4.5, "linewidth": 1.1}
        axis.plot(at, line["value"], label=names[system], **look)
        whiskers(axis, at, line, colour_of(system))


def step_axis(axis: Axes, steps: pd.Series) -> None:
    """Steps 0, 1, 2, 5, 10, ... one stride apart: most happens in the first of them."""
    if steps.empty:
        return
    axis.set_xscale("symlog", linthresh=1, linscale=0.4)
    shown = sorted({step for step in steps if str(step).rstrip("0") in ("", "1", "2", "5")} | {steps.max()})
    axis.set_xticks(shown, [f"{step}" for step in shown])
    axis.minorticks_off()
    axis.set_xlim(-0.2, 1.25 * max(shown))


def milliseconds_axis(axis: Axes, ms: pd.Series) -> None:
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


def whiskers(axis: Axes, at: Any, rows: pd.DataFrame, colour: str = "#222222", *, across: bool = False) -> None:
    """Draw the intervals of the rows at those places; `across`: the values lie on the x axis."""
    reach = [(rows["value"] - rows["ci_low"]).clip(lower=0), (rows["ci_high"] - rows["value"]).clip(lower=0)]
    places: Any = (rows["value"], at, None, reach) if across else (at, rows["value"], reach)  # x, y, of y, of x
    axis.errorbar(*places, fmt="none", ecolor=colour, elinewidth=0.9, capsize=1.8)


def colour_of(system: str) -> str:
    """A system's colour, the same in every figure."""
    return COLOURS.get(system, "#000000")


def legend_above(figure: Figure, axes: Sequence[Axes], *, columns: int = 4) -> Figure:
    """Put one legend of all these axes above the figure, and return it."""
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if entries:
        look: dict[str, Any] = {"loc": "outside upper center", "frameon": False, "fontsize": 9}
        look["ncols"] = columns if len(entries) > 5 else len(entries)
        figure.legend(list(entries.values()), list(entries), **look)
    return figure


def _values(summary: pd.DataFrame, metric: str, systems: Sequence[str], words: Words) -> str:
    """The values of one measure in words: what the picture says, for those who do not see it."""
    means = {part: values_of(summary, part, metric, systems) for part in TEST_PARTS}
    return "; ".join(
        words["plot.value"].format(name=words[f"row.{system}"], part=words[f"part.{part}"], value=f"{one.value:.2f}")
        for part, by_system in means.items()
        for system, one in by_system.items()
    )

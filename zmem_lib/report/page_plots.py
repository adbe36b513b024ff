"""The plots of page one: the main systems only, in the report's language; chapter 06 draws them all.

Takes tables of schema.py and the phrases of the language (wording.phrases), returns figures. Dots with intervals and
names at the axis need no colours to be told apart; lines differ in marker too. Each figure carries its description.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zmem_lib.report.canvas import new_figure
from zmem_lib.report.figures import COLOURS, CYCLE, RECALL_AT, STARTS, legend_above, step_axis, whiskers
from zmem_lib.report.headline import main_systems
from zmem_lib.report.noise_tables import noise_lines
from zmem_lib.report.wording import spoken, values_of
from zmem_lib.tables import TEST_PARTS, in_order

SHOWN = {"answer_in_evidence": ("plot.in_evidence", "o", CYCLE[0]), "em": ("plot.exact", "s", CYCLE[1])}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
NOISY = ("zmem", "zmem-oracle", "bm25", "dense", "hybrid", "gold-passage")
Words = Mapping[str, str]


def quality_plot(summary: pd.DataFrame, words: Words) -> Figure:
    """By system, from top to bottom: the answer stands in the evidence (dot), the answer is exact (square)."""
    rows = summary[summary["metric"].isin(list(SHOWN)) & summary["part"].isin(TEST_PARTS) & (summary["n"] > 0)]
    parts, systems = in_order(rows["part"], TEST_PARTS), main_systems(summary)
    figure, axes = new_figure(1, max(len(parts), 1), height=0.34 * len(systems) + 1.4, sharey=True)
    for axis, part in zip(axes, parts, strict=False):
        for place, (metric, (name, marker, colour)) in enumerate(SHOWN.items()):
            mine = rows[(rows["part"] == part) & (rows["metric"] == metric)].set_index("system").reindex(systems)
            at = [row + 0.26 * (place - 0.5) for row in range(len(systems))]
            axis.plot(mine["value"], at, marker, color=colour, markersize=5, label=words[name])
            whiskers(axis, at, mine, colour, across=True)
        _share_axis(axis, words["plot.quality"])
        axis.set_title(_panel(rows, part, words))
        axis.set_yticks(range(len(systems)), [words[f"row.{system}"] for system in systems])
    axes[0].set_ylim(len(systems) - 0.5, -0.5)  # sharey: the first system on top in every panel
    figure.set_label(words["plot.quality_alt"].format(values=_values(summary, "answer_in_evidence", systems, words)))
    return legend_above(figure, axes[:1])


def recall_plot(summary: pd.DataFrame, words: Words) -> Figure:
    """Recall at 1, 5 and 20 of the main systems that rank documents, a panel for each part of test questions."""
    names = {f"recall@{k}": k for k in RECALL_AT}
    rows = summary[summary["metric"].isin(names) & summary["part"].isin(TEST_PARTS) & (summary["n"] > 0)]
    rows = rows.assign(k=rows["metric"].map(names))
    parts, systems = in_order(rows["part"], TEST_PARTS), main_systems(rows)
    figure, axes = new_figure(1, max(len(parts), 1), height=3.0, sharey=True)
    for axis, part in zip(axes, parts, strict=False):
        for place, (system, marker) in enumerate(zip(systems, MARKERS, strict=False)):
            mine = rows[(rows["part"] == part) & (rows["system"] == system)].sort_values("k")
            at = [RECALL_AT.index(k) + 0.09 * (place - (len(systems) - 1) / 2) for k in mine["k"]]
            colour = COLOURS.get(system, "#000000")
            axis.plot(at, mine["value"], marker, color=colour, markersize=5, label=words[f"row.{system}"])
            axis.plot(at, mine["value"], color=colour, linewidth=0.8, alpha=0.6)
            whiskers(axis, at, mine, colour)
        axis.set(title=_panel(rows, part, words), xlabel=words["plot.recall_x"], ylim=(-0.02, 1.04))
        axis.set_xticks(range(len(RECALL_AT)), [str(k) for k in RECALL_AT])
    axes[0].set_ylabel(words["plot.recall_y"])
    figure.set_label(words["plot.recall_alt"].format(values=_values(summary, "recall@1", systems, words)))
    return legend_above(figure, axes[:1])


def write_plot(write_curve: pd.DataFrame, words: Words) -> Figure:
    """What a new document's block can do as it is written, from every start: against steps, and milliseconds."""
    curve = write_curve[write_curve["metric"] == "answer_in_evidence"]
    curve = curve.assign(ms=1000 * curve["seconds_per_document"]).sort_values("step", kind="stable")
    figure, axes = new_figure(1, 2, height=2.8, sharey=True)
    starts = in_order(curve["start"], tuple(STARTS))
    for axis, column in zip(axes, ("step", "ms"), strict=True):
        for start, marker in zip(starts, MARKERS, strict=False):
            mine, colour = curve[curve["start"] == start], STARTS.get(start, CYCLE[2])
            label = words["plot.start"].format(start=start)
            axis.plot(mine[column], mine["value"], color=colour, marker=marker, markersize=4, label=label)
            axis.fill_between(mine[column], mine["ci_low"], mine["ci_high"], color=colour, alpha=0.14, linewidth=0)
        axis.set_ylim(-0.02, 1.04)
    axes[0].set(ylabel=words["plot.write_y"], xlabel=words["plot.write_step"])
    axes[1].set(xlabel=words["plot.write_ms"])
    step_axis(axes[0], curve["step"])
    axes[0].set_title(words["plot.write_title"].format(n=int(curve["n"].max()) if len(curve) else 0), loc="left")
    ends = curve[curve["step"] == curve.groupby("start")["step"].transform("max")]
    said = [f"{words['plot.start'].format(start=one.start)}: {spoken(one)}" for one in ends.itertuples()]
    figure.set_label(words["plot.write_alt"].format(values="; ".join(said)))
    return legend_above(figure, axes[:1])


def noise_plot(noise: pd.DataFrame, words: Words) -> Figure:
    """F1 of the main systems as evidence items are replaced: a row of panels per part, a column per kind of noise."""
    rows = noise[(noise["metric"] == "f1") & noise["system"].isin(NOISY)]
    parts, kinds = in_order(rows["part"], TEST_PARTS), in_order(rows["kind"], ())
    names = {system: words[f"row.{system}"] for system in NOISY}
    figure, axes = new_figure(len(parts), len(kinds), height=1.9 * len(parts) + 0.8, sharex=True, sharey=True)
    places, said = [(part, kind) for part in parts for kind in kinds], []
    for axis, (part, kind) in zip(axes, places, strict=True):
        here = rows[(rows["part"] == part) & (rows["kind"] == kind)].sort_values("share")
        place = {"part": words[f"part.{part}"], "kind": words[f"kind.{kind}"]}
        noise_lines(axis, here, names)
        for system in in_order(here["system"], NOISY):
            said.append(_fall(here[here["system"] == system], {**place, "name": names[system]}, words))
        axis.set(title=words["plot.noise_panel"].format(**place, n=here["n"].max()), ylim=(-0.02, 1.04))
    figure.supxlabel(words["plot.noise_x"], fontsize=9.5)
    figure.supylabel(words["plot.noise_y"], fontsize=9.5)
    figure.set_label(words["plot.noise_alt"].format(values="; ".join(said)))
    return legend_above(figure, axes[:1])


def _fall(mine: pd.DataFrame, place: Mapping[str, str], words: Words) -> str:
    first, last = mine.iloc[0], mine.iloc[-1]
    ends = {"first": f"{first['value']:.2f}", "last": f"{last['value']:.2f}", "share": f"{100 * last['share']:.0f}"}
    return words["plot.noise_value"].format(**place, **ends)


def _panel(rows: pd.DataFrame, part: str, words: Words) -> str:
    return words["plot.panel"].format(part=words[f"part.{part}"], n=rows.loc[rows["part"] == part, "n"].max())


def _share_axis(axis: Axes, label: str) -> None:
    axis.set(xlabel=label, xlim=(-0.03, 1.03))
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axis.grid(axis="y", visible=False)


def _values(summary: pd.DataFrame, metric: str, systems: Sequence[str], words: Words) -> str:
    """The values of one measure in words: what the picture says, for those who do not see it."""
    said = []
    for part in TEST_PARTS:
        for system, one in values_of(summary, part, metric, tuple(systems)).items():
            place = {"name": words[f"row.{system}"], "part": words[f"part.{part}"], "value": f"{one.value:.2f}"}
            said.append(words["plot.value"].format(**place))
    return "; ".join(said)

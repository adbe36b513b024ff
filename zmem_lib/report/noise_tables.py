"""What noise does to the systems, from the table noise: curves for some systems, a table for all."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zmem_lib.report.figures import COLOURS, LABELS, PARTS_SAID, new_figure, whiskers
from zmem_lib.report.wording import spoken
from zmem_lib.tables import SYSTEMS, TEST_PARTS, in_order

MARKERS = {  # the systems that are drawn: one of each sort; a marker each, as colours alone do not tell eight apart
    "zmem": "o", "zmem+text": "s", "zmem-oracle": "^", "bm25": "v", "dense": "D", "hybrid": "P", "long-context": "X",
    "gold-passage": "*",
}  # fmt: skip
METRICS = ("em", "f1")
BESIDE = 1.6  # between the lines of two systems, in percent of the items
KINDS = {"hard negative": "replaced by similar documents", "changed answer": "replaced by a wrong answer"}


def noise_shown(noise: pd.DataFrame) -> list[Figure | pd.DataFrame]:
    """A figure for each part, and the table of all systems; nothing for an empty table."""
    parts = in_order(noise["part"], TEST_PARTS)
    return [*(noise_curves(noise, part) for part in parts), noise_overview(noise)] if parts else []


def noise_curves(noise: pd.DataFrame, part: str) -> Figure:
    """Exact match and F1 (rows) by the share of items replaced, for each kind of noise (columns), with intervals."""
    rows = noise[(noise["part"] == part) & noise["system"].isin(MARKERS)]
    kinds = in_order(rows["kind"], tuple(KINDS))
    figure, axes = new_figure(len(METRICS), len(kinds), height=5.2, sharex=True, sharey=True)
    for axis, (metric, kind) in zip(axes, [(m, k) for m in METRICS for k in kinds], strict=True):
        here = rows[(rows["metric"] == metric) & (rows["kind"] == kind)]
        noise_lines(axis, here, {system: system for system in MARKERS})
        axis.set_ylim(-0.02, 1.02)
        if metric == METRICS[0]:
            axis.set_title(KINDS.get(kind, kind), fontsize=9.5)
        if kind == kinds[0]:
            axis.set_ylabel(f"{LABELS[metric]} (mean, 0 to 1)")
    figure.supxlabel("evidence items replaced (%)", fontsize=9.5)
    lines = axes[0].get_legend_handles_labels()
    title = f"{PARTS_SAID[part]} (n = {rows['n'].max()})"
    figure.legend(*lines, loc="outside upper center", ncols=4, frameon=False, fontsize=9, title=title)
    return figure


def noise_overview(noise: pd.DataFrame) -> pd.DataFrame:
    """Part, kind and system by the share of items replaced: exact match with its interval."""
    rows = noise[noise["metric"] == METRICS[0]]
    cells = rows.assign(cell=[spoken(row) for row in rows.itertuples()])
    cells["replaced"] = [f"{100 * share:.0f} %" for share in rows["share"]]
    table = cells.pivot(index=["part", "kind", "system"], columns="replaced", values="cell")
    order = [
        (part, kind, system)
        for part in in_order(rows["part"], TEST_PARTS)
        for kind in in_order(rows["kind"], tuple(KINDS))
        for system in in_order(rows["system"], SYSTEMS)
        if (part, kind, system) in table.index
    ]
    return table.reindex(order)[in_order(cells["replaced"], ())].rename_axis(columns="exact match, items replaced")


def noise_lines(axis: Axes, rows: pd.DataFrame, names: Mapping[str, str]) -> None:
    """A line with its interval for each system that has a name, over the share of items replaced (%).

    Each is drawn a little beside the one before: equal values would else hide one another.
    """
    systems = in_order(rows["system"], tuple(names))
    for place, system in enumerate(systems):
        mine, colour = rows[rows["system"] == system].sort_values("share"), COLOURS[system]
        at = 100 * mine["share"] + BESIDE * (place - (len(systems) - 1) / 2)
        look = {"color": colour, "marker": MARKERS[system], "markersize": 4.5, "linewidth": 1.3}
        axis.plot(at, mine["value"], label=names[system], **look)
        whiskers(axis, at, mine, colour)
    axis.set_xticks(sorted({100 * share for share in rows["share"]}))

"""Noise as figures and a table; and the time axis of the write curve."""

import pandas as pd
import pytest

from zmem_lib.evaluation.noise import KINDS, SHARES
from zmem_lib.report.figures import CURVES, write_quality
from zmem_lib.report.noise_tables import KINDS as SAID
from zmem_lib.report.noise_tables import MARKERS, noise_curves, noise_shown
from zmem_lib.tables import SYSTEMS, TABLES, check


@pytest.fixture
def table():
    rows = [
        (system, part, kind, share, metric, 0.8 - share, 0.7 - share, 0.9 - share, n)
        for system in ("zmem", "bm25", "bm25-asked", "gold-passage")
        for part, n in (("new", 20), ("seen", 30))
        for kind in KINDS for share in SHARES for metric in ("em", "f1")
    ]  # fmt: skip
    return check(pd.DataFrame(rows, columns=list(TABLES["noise"])), "noise")


def test_a_figure_for_each_part_with_intervals_units_and_n(table):
    shown = noise_shown(table)
    assert len(shown) == 3, "seen, new and the table"
    figure = noise_curves(table, "seen")
    axes = figure.axes
    assert [axis.get_title() for axis in axes[:2]] == [SAID[kind] for kind in KINDS]
    assert axes[0].get_ylabel() == "exact match (mean, 0 to 1)" and axes[2].get_ylabel() == "F1 (mean, 0 to 1)"
    assert figure.get_supxlabel() == "evidence items replaced (%)"
    for axis in axes:
        drawn, systems = axis.get_legend_handles_labels()
        assert systems == ["zmem", "bm25", "gold-passage"], "one of each sort"
        assert len(axis.containers) == 3, "an interval at each of their points"
        assert list(drawn[1].get_xdata()) == [0, 20, 40, 60, 80] == list(axis.get_xticks())
        assert drawn[0].get_xdata()[1] < 20 < drawn[2].get_xdata()[1], "beside one another"
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "seen documents (n = 30)"


def test_the_table_has_every_system_and_nothing_is_shown_of_nothing(table):
    overview = noise_shown(table)[-1]
    assert list(overview) == ["0 %", "20 %", "40 %", "60 %", "80 %"] and len(overview) == 4 * 2 * 2
    assert overview.loc[("seen", "hard negative", "bm25-asked"), "20 %"] == "0.60 [0.50, 0.70]"
    assert next(part for part, _, _ in overview.index) == "seen"
    assert noise_shown(table.iloc[:0]) == []


def test_every_drawn_system_has_a_marker_of_its_own_and_every_kind_a_name():
    assert len(set(MARKERS.values())) == len(MARKERS) and set(MARKERS) <= set(SYSTEMS)
    assert set(SAID) == set(KINDS)


@pytest.mark.parametrize(("least", "scale"), [(0.09, "log"), (0.0, "symlog")])
def test_the_time_axis_begins_near_the_smallest_time(least, scale):
    rows = [
        ("mean", step, least + 0.01 * step, 1.0, metric, 0.5, 0.4, 0.6, 10) for step in (0, 1, 20) for metric in CURVES
    ]
    figure = write_quality(check(pd.DataFrame(rows, columns=list(TABLES["write_curve"])), "write_curve"))
    axis = figure.axes[-1]
    assert axis.get_xscale() == scale
    low, high = axis.get_xlim()
    smallest, largest = 1000 * least, 1000 * least + 200
    assert low < smallest or low < 0
    assert high > largest and (scale == "symlog" or low > smallest / 1.5), "no empty half"
    figure.canvas.draw()
    said = [label.get_text() for label in axis.get_xticklabels() if label.get_text()]
    at = [tick for tick in axis.get_xticks() if low <= tick <= high]
    assert len(at) >= 2 and said, "an axis that can be read"

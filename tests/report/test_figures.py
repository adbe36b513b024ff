"""Figures: a font that shows Hangul, a description that goes with the image, noise, and the time axis of writing."""

import base64
import re
import warnings

import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image

from zmem_lib.evaluation.noise import KINDS, SHARES
from zmem_lib.report import canvas
from zmem_lib.report.canvas import described_png, description, new_figure, save_figure
from zmem_lib.report.chapter_tables import noise_overview
from zmem_lib.report.figures import CURVES, MARKERS, NOISY, histograms, noise_curves, write_quality
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import TABLES, check


@pytest.fixture
def figure():
    figure, (axis,) = new_figure()
    axis.plot([0, 1], [0, 1], label="밀집 검색")
    axis.set(title="새 문서 (n = 12)", xlabel="질문 수", ylabel="정확 일치")
    axis.set_xticks([0, 1], ["없음", "모두"])
    figure.legend(*axis.get_legend_handles_labels())
    return figure


def test_hangul_is_drawn_without_a_missing_glyph(figure, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "hangul.png")
        Figure().savefig(tmp_path / "empty.png")


def test_without_the_fallback_the_glyph_is_missing(figure, tmp_path):
    figure.axes[0].title.set_fontfamily("DejaVu Sans")
    with pytest.warns(UserWarning, match="missing from font"):
        figure.savefig(tmp_path / "hangul.png")


def test_a_figure_is_described_by_its_label_or_by_its_own_words(figure):
    said = description(figure)
    assert said.startswith("Plot. ") and "새 문서 (n = 12)" in said and "밀집 검색" in said and "정확 일치" in said
    figure.set_label("What it\nshows.")
    assert description(figure) == "What it shows."
    figure.set_label("x" * 5000)
    assert len(description(figure)) == canvas.LONGEST


def test_the_description_goes_with_the_image(figure, tmp_path):
    png, beside = described_png(figure)
    assert base64.b64decode(png).startswith(b"\x89PNG") and beside == {"alt": description(figure)}
    formatter = DisplayFormatter()
    formatter.formatters["image/png"].for_type(Figure, described_png)
    shown, about = formatter.format(figure)
    assert shown["image/png"] == png and about["image/png"] == beside
    save_figure(figure, tmp_path / "plot")
    assert Image.open(tmp_path / "plot.png").text["Description"] == description(figure)


@pytest.fixture
def noise():
    rows = [
        (system, part, kind, share, metric, 0.8 - share, 0.7 - share, 0.9 - share, n, n)
        for system in ("zmem", "bm25", "bm25-asked", "gold-passage")
        for part, n in (("new", 20), ("seen", 30))
        for kind in KINDS for share in SHARES for metric in ("em", "f1")
    ]  # fmt: skip
    return check(pd.DataFrame(rows, columns=list(TABLES["noise"])), "noise")


def test_a_figure_of_noise_has_a_panel_for_each_part_and_kind_with_intervals_units_and_n(noise):
    figure = noise_curves(noise, "em")
    axes = figure.axes
    assert [axis.get_title() for axis in axes[:2]] == [
        "seen documents (n = 30)\nby similar documents", "seen documents (n = 30)\nby a wrong answer",
    ]  # fmt: skip
    assert [axis.get_title()[:23] for axis in axes[2:]] == ["new documents (n = 20)\n"] * 2
    assert figure.get_supylabel() == "exact match (mean, 0 to 1)"
    assert figure.get_supxlabel() == "evidence items replaced (%)"
    for axis in axes:
        drawn, systems = axis.get_legend_handles_labels()
        assert systems == ["zmem", "bm25", "gold-passage"], "one of each sort"
        assert len(axis.containers) == 3, "an interval at each of their points"
        assert list(drawn[1].get_xdata()) == [0, 20, 40, 60, 80] == list(axis.get_xticks())
        assert drawn[0].get_xdata()[1] < 20 < drawn[2].get_xdata()[1], "beside one another"
        assert len({line.get_marker() for line in drawn}) == 3
    assert noise_curves(noise, "f1").get_supylabel() == "F1 (mean, 0 to 1)"


def test_the_table_of_noise_has_every_system(noise):
    html = noise_overview(noise).data
    heads = re.findall(r'class="col_heading level0 col\d" >([^<]+)<', html)
    assert heads == ["0 %", "20 %", "40 %", "60 %", "80 %", "n", "documents"] and html.count("<tr>") == 2 + 4 * 2 * 2
    assert html.count("0.60<br><small>[0.50, 0.70]") == 4 * 2 * 2 and html.count(">bm25-asked<") == 4
    assert html.index(">seen<") < html.index(">new<")
    assert len(set(NOISY)) == len(NOISY) <= len(MARKERS) and set(NOISY) <= set(SYSTEMS)


def test_histograms_show_shares_of_groups_of_unlike_size():
    panels = {"words": {"seen": pd.Series([1, 1, 2, 90]), "new": pd.Series([2])}, "none": {"new": pd.Series(dtype=int)}}
    figure = histograms(panels, "share")
    words, none = figure.axes
    assert words.get_xlabel() == "words" and words.get_ylabel() == "share" and none.get_ylabel() == ""
    assert words.get_legend_handles_labels()[1] == ["seen (n = 4)", "new (n = 1)"]
    heights = [bar.get_height() for bar in words.containers[0]]
    assert sum(heights) == pytest.approx(1) and heights[0] == pytest.approx(0.75) and len(heights) <= 31


@pytest.mark.parametrize(("least", "scale"), [(0.09, "log"), (0.0, "symlog")])
def test_the_time_axis_begins_near_the_smallest_time(least, scale):
    rows = [
        ("mean", step, least + 0.01 * step, 1.0, metric, 0.5, 0.4, 0.6, 10, 10)
        for step in (0, 1, 20)
        for metric in CURVES
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

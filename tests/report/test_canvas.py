"""Figures: a font that shows Hangul, and a description in words that goes with the image."""

import base64
import warnings

import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image

from zmem_lib.report import canvas
from zmem_lib.report.canvas import described_png, description, new_figure
from zmem_lib.report.system_tables import save_figure


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

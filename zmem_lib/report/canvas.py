"""What every figure stands on: its size and style, a font that shows Hangul, and its description in words.

A figure is described by its label where the function that draws it has set one (`figure.set_label`), else by its own
titles, axes and legends. In a notebook the description goes with the image as `alt`, which the book puts into its pages
(book.py), for those who cannot see it (WCAG 2.2, 1.1.1).
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from zmem_lib.files import BadInput, write_atomic

WIDTH = 7.0  # inches
STYLE: Any = {
    "figure.dpi": 140, "font.size": 9.5, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "legend.frameon": False, "figure.constrained_layout.use": True, "svg.hashsalt": "zmem",
}  # fmt: skip
HANGUL = "NanumGothic"
FONTS = "koreanize_matplotlib"  # a package that carries the font; it is looked up, never imported
LONGEST = 900  # characters of a description


def new_figure(rows: int = 1, columns: int = 1, *, height: float = 3.0, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure in the book's style and its axes, row by row; it is closed, so that a notebook shows it only once."""
    use_hangul()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, **options)
    plt.close(figure)
    if (shell := get_ipython()) is not None:  # in a notebook, every image carries its description from now on
        shell.display_formatter.formatters["image/png"].for_type(Figure, described_png)
    return figure, list(axes.flat)


def use_hangul() -> None:
    """Have matplotlib fall back to a font with Hangul; for good, since legends and ticks are made after the axes."""
    if not any(font.name == HANGUL for font in fontManager.ttflist):
        found = find_spec(FONTS)
        if found is None or found.origin is None:
            raise BadInput("the package koreanize-matplotlib, which carries the plots' font, is missing: install it")
        for path in sorted((Path(found.origin).parent / "fonts").glob(f"{HANGUL}*.ttf")):
            fontManager.addfont(path)
    plt.rcParams["font.family"] = ["DejaVu Sans", HANGUL]


def described_png(figure: Figure) -> tuple[Any, dict[str, str]]:
    """The figure as PNG in base 64, and what stands beside it in the notebook."""
    return print_figure(figure, "png", base64=True), {"alt": description(figure)}


def description(figure: Figure) -> str:
    """What the figure shows, on one line: its label, else what its titles, axes and legends say."""
    text = " ".join((str(figure.get_label()) or _own_words(figure)).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def save_figure(figure: Figure, path: Path) -> Figure:
    """Write the figure as PNG (the suffix is added), its description in it, and return it, to be shown."""
    about = {"Description": description(figure)}
    write_atomic(path.with_suffix(".png"), lambda new: figure.savefig(new, format="png", metadata=about))
    return figure


def _own_words(figure: Figure) -> str:
    axes = [axis for axis in figure.axes if axis.get_visible()]
    ticks = [tick.get_text() for axis in axes for tick in (*axis.get_yticklabels(), *axis.get_xticklabels())]
    said = {
        "panels": [figure.get_suptitle(), *(axis.get_title() for axis in axes)],
        "up": [*(axis.get_ylabel() for axis in axes), figure.get_supylabel()],
        "across": [*(axis.get_xlabel() for axis in axes), figure.get_supxlabel()],
        "shown": [label for axis in axes for label in axis.get_legend_handles_labels()[1]],
    }
    said["shown"] += [tick for tick in ticks if any(map(str.isalpha, tick))]  # words: the bars of a bar chart
    kept = {what: dict.fromkeys(filter(None, texts)) for what, texts in said.items()}
    parts = [f"{what}: {', '.join(texts)}" for what, texts in kept.items() if texts]
    return f"Plot. {'; '.join(parts)}." if parts else "Plot."

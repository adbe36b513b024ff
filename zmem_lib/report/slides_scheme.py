"""A drawing of the method for the slides: from document to block, from question to answer.

Takes the words of the slides, returns a figure of boxes and arrows.
"""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zmem_lib.report.canvas import new_figure

BOXES = {  # centre, in tenths of the width and in quarters of the height
    "document": (0.8, 3.2), "blocks": (4.7, 3.2), "question": (0.8, 0.9), "choose": (3.0, 0.9), "model": (5.2, 0.9),
    "reader": (8.0, 0.9), "answer": (9.5, 0.9),
}  # fmt: skip
ARROWS = (  # from, to, what stands above the arrow
    ("document", "blocks", "learn"), ("question", "choose", ""), ("blocks", "choose", ""), ("choose", "model", ""),
    ("blocks", "model", ""), ("model", "reader", "evidence"), ("reader", "answer", ""),
)  # fmt: skip
LEARNED = ("blocks", "model")
FILLS = {True: "#cfe6f5", False: "#f2f2f2"}  # of what is learned, and of all else


def scheme(words: Mapping[str, str]) -> Figure:
    """How a document is stored, and what happens between a question and its answer."""
    figure, (axis,) = new_figure(height=2.1)
    axis.set(xlim=(0, 10), ylim=(0, 4))
    axis.axis("off")
    boxes = {name: _box(axis, words[f"scheme.{name}"], place, name in LEARNED) for name, place in BOXES.items()}
    for start, end, said in ARROWS:
        ends = {"patchA": boxes[start], "patchB": boxes[end], "arrowstyle": "-|>", "color": "#444444", "shrinkA": 2}
        axis.annotate("", xy=BOXES[end], xytext=BOXES[start], arrowprops=ends)
        if said:
            middle = [(one + other) / 2 for one, other in zip(BOXES[start], BOXES[end], strict=True)]
            axis.text(middle[0], middle[1] + 0.15, words[f"scheme.{said}"], ha="center", va="bottom", fontsize=8.5)
    return figure


def _box(axis: Axes, text: str, place: tuple[float, float], learned: bool) -> object:
    style = {"boxstyle": "round,pad=0.5", "facecolor": FILLS[learned], "edgecolor": "#444444"}
    return axis.text(*place, text, ha="center", va="center", fontsize=9.5, bbox=style).get_bbox_patch()

"""Every table of a page: long rows become a grid of cells, a grid becomes HTML; texts of a corpus with their licence.

A cell is plain text or a number. Escaping is done here, once, for cells, heads and captions alike. What stands behind
the first line break of a cell is set smaller below it, as an interval is below its value. With `corpus.publish_text:
false` a sentence with numbers stands in the place of every passage, question, answer and title.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
from IPython.core.display import HTML, Markdown

from zmem_lib.data.corpus import licence_of
from zmem_lib.params import Params
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import CHANCES, PARTS, in_order

MISSING = "–"
NO_MATHJAX = "tex2jax_ignore mathjax_ignore"
CSS = [
    {"selector": "th, td", "props": "padding: .25em .35em; text-align: right; vertical-align: top"},
    {"selector": "thead th[colspan]", "props": "text-align: center"},
    {"selector": "small", "props": "font-size: .8em; font-weight: normal; white-space: nowrap"},
    {"selector": "th.row_heading", "props": "text-align: left"},
]
LEFT = {"selector": "th, td", "props": "text-align: left"}
ORDERS: dict[str, Collection] = {"part": PARTS, "system": (*SYSTEMS, *CHANCES)}


def grid(
    rows: pd.DataFrame, index: list[str], columns: list[str], cell: Callable[[Any], Any], **orders: Collection
) -> pd.DataFrame:
    """Long rows as a table: `cell` of each row at the place that its columns `index` and `columns` name.

    Values stand in their order of `orders` or ORDERS, those that are not named there in the order in which they come.
    """
    ranks = {
        name: {value: rank for rank, value in enumerate(in_order(rows[name], (ORDERS | orders).get(name, ())))}
        for name in (*index, *columns)
    }
    cells = rows.assign(cell=pd.Series([cell(row) for row in rows.itertuples()], index=rows.index, dtype=object))
    table = cells.set_index([*index, *columns])["cell"].unstack(columns)
    place = lambda level: level.map(ranks[str(level.name)])  # noqa: E731
    return table.sort_index(key=place).sort_index(axis="columns", key=place)


def estimate(row: Any) -> str:
    """A row's value, below it its interval."""
    return f"{row.value:.2f}\n[{row.ci_low:.2f}, {row.ci_high:.2f}]"


def html_table(
    table: pd.DataFrame, caption: str = "", *, bold: pd.DataFrame | None = None, index: bool = True, wide: bool = False
) -> HTML:
    """A data frame as HTML, kept from MathJax; counts with commas, shares with two digits, a dash where nothing is.

    `bold` marks cells, as the best of a column; without `index` the cells are texts and begin at the left; a `wide`
    table scrolls below its caption, the names of its rows in sight (book/_assets/zmem.css).
    """
    name = hashlib.sha256(f"{caption}{table.to_csv()}".encode()).hexdigest()[:8]
    table = table.set_axis(table.columns.set_names([None] * table.columns.nlevels), axis="columns")
    table = table if table.index.nlevels > 1 else table.rename_axis(index=None)
    looks: Any = CSS if index else [*CSS, LEFT]
    styled = table.style.set_uuid(name).set_table_styles(looks)
    styled = styled.format(_html).format_index(_html, axis="index").format_index(_html, axis="columns")
    if bold is not None:
        styled = styled.apply(lambda _: bold.map({True: "font-weight: bold", False: ""}.get), axis=None)
    described = f' aria-describedby="about-{name}"' if caption else ""
    styled = styled.set_table_attributes(f'class="dataframe {NO_MATHJAX}{" wide" * wide}"{described}')
    above = f'<p class="about-table {NO_MATHJAX}" id="about-{name}">{escape(caption)}</p>\n' if caption else ""
    return HTML(above + (styled if index else styled.hide(axis="index")).to_html())


def text_table(table: pd.DataFrame, params: Params, counts: Mapping[str, int], caption: str = "") -> HTML:
    """A table that holds texts, with their licence below it; where they are not published, a sentence of `counts`."""
    if not params.corpus.publish_text:
        return not_shown(counts)
    one_line = table.map(lambda cell: " ".join(str(cell).split()))  # a line break has a meaning in a cell
    return HTML(f"{html_table(one_line, caption, index=False).data}{attribution(params)}")


def not_shown(counts: Mapping[str, int]) -> HTML:
    """That texts are not published, and how many there are of each kind."""
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    return HTML(f"<p>Texts of this corpus are not shown here (<code>publish_text: false</code>): {said}.</p>")


def attribution(params: Params) -> str:
    """A line of HTML on the licence of the texts above it; nothing for the synthetic corpus, which needs none."""
    if params.corpus.name == "synthetic":
        return ""
    named = f"{params.corpus.name} {params.corpus.subset}".strip()
    more = ", new documents under that of their own" if params.corpus.new_path else ""
    said = f"Texts: corpus {named}, licence: {licence_of(params)}{more}; its source is on the page of chapter 1."
    return f"<p><small>{escape(said)}</small></p>"


def bullets(sentences: Sequence[str]) -> Markdown:
    """The sentences as a list; of none, a space: an empty text would be shown as the name of its class."""
    return Markdown("\n".join(f"- {sentence}" for sentence in sentences) or " ")


def cut(text: str, most: int) -> str:
    """A text on one line, and at most so many characters of it."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _html(cell: Any) -> str:
    if not isinstance(cell, str):
        return MISSING if pd.isna(cell) else f"{cell:.2f}" if isinstance(cell, float) else f"{cell:,}"
    value, _, below = cell.partition("\n")
    small = f"<br><small>{escape(below).replace(chr(10), '<br>')}</small>" if below else ""
    return escape(value) + small

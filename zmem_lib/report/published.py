"""Texts of a corpus on a page: escaped, kept from MathJax, with their licence; or, unpublished, only their number.

Every place that would show a passage, a question, an answer or a title asks here. With `corpus.publish_text: false` each of
them leaves one sentence with numbers, so that a run's pages hold its figures and nothing of its texts.
"""

from collections.abc import Mapping
from html import escape

import pandas as pd
from IPython.display import HTML

from zmem_lib.data.corpus import licence_of
from zmem_lib.params import Params

KEPT = '<div class="mathjax_ignore tex2jax_ignore" style="text-align: left">'  # from MathJax


def text_table(table: pd.DataFrame, params: Params, counts: Mapping[str, int]) -> HTML:
    """A table that holds texts, with their licence below it; where they are not published, a sentence of `counts`."""
    if not params.corpus.publish_text:
        return not_shown(counts)
    return HTML(plain_table(table).data + attribution(params))


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


def plain_table(table: pd.DataFrame) -> HTML:
    """A table in which every text shows as it is: escaped, and kept from MathJax."""
    with pd.option_context("display.max_colwidth", None):
        html = table.to_html(index=False, escape=True, border=0, justify="left")
    for tag in ("td", "th"):  # of the table alone: what the texts hold is escaped
        html = html.replace(f"<{tag}>", f'<{tag} style="text-align: left">')
    return HTML(f"{KEPT}{html}</div>")

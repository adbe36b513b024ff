"""Tables of what makes the result credible: tests of pairs, retention, selectors, documents never asked about."""

import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from zmem_lib.evaluation.stats import LEVEL
from zmem_lib.report.figures import LABELS, recall_curves
from zmem_lib.report.system_tables import styled_table
from zmem_lib.tables import COMPARED, CONTEXTS, PARTS, in_order

RANKED = ("recall@1", "recall@5", "recall@20", "mrr@10", "ndcg@10")
PAIRED = ("em", "answer_in_evidence", "recall@1")  # of the measures whose differences are tested
APART = ("seen", "unasked-document")  # parts: documents with and without training questions
APART_METRICS = ("recall@1", "answer_in_evidence", "em", "f1")


def pair_tables(pairs: pd.DataFrame) -> HTML:
    """Every part's matrices of differences, one for each measure that there is, one below the other."""
    places = [(part, metric) for part in in_order(pairs["part"], PARTS) for metric in PAIRED]
    mine = [pairs[(pairs["part"] == part) & (pairs["metric"] == metric)] for part, metric in places]
    return HTML("\n".join(pair_table(rows).to_html() for rows in mine if len(rows)))


def pair_table(pairs: pd.DataFrame) -> Styler:
    """Row minus column in points, for one part and measure; bold where the corrected p is below the level."""
    part, metric, n = pairs["part"].iloc[0], pairs["metric"].iloc[0], pairs["n"].max()
    turned = pairs.assign(first=pairs["second"], second=pairs["first"], value=-pairs["value"])
    both = pd.concat([pairs, turned])
    names = in_order(both["first"], COMPARED)
    both = both.assign(cell=[_points(value) for value in both["value"]])
    cells, p = (both.pivot(index="first", columns="second", values=one).loc[names, names] for one in ("cell", "p_holm"))
    caption = (
        f"Part {part}, {LABELS[metric]}: row minus column in points (hundredths), n = {n} questions. Bold: told apart "
        f"by a paired permutation test, p < {1 - LEVEL:.2f} after Holm for all {len(pairs)} pairs of the table."
    )
    bold = (p < 1 - LEVEL).replace({True: "font-weight: bold", False: ""})
    table = cells.fillna("").rename_axis(index=None, columns=None)
    return styled_table(table, caption, f"pairs-{part}-{metric.replace('@', '-')}").apply(lambda _: bold, axis=None)


def context_overview(contexts: pd.DataFrame) -> Styler:
    """Part, system and right context by MIRAGE's four measures: the share of the questions in each, with interval."""
    cells = contexts.assign(cell=[_cell(row) for row in contexts.itertuples()])
    table = cells.pivot(index=["part", "system", "right"], columns="metric", values="cell")
    order = [
        (part, system, right)
        for part in in_order(contexts["part"], PARTS)
        for system in in_order(contexts["system"], COMPARED)
        for right in in_order(contexts["right"], ("gold-passage",))
        if (part, system, right) in table.index
    ]
    table = table.reindex(order)[[name for name in CONTEXTS if name in table]].rename_axis(columns=None)
    table["n"] = [str(n) for n in contexts.groupby(["part", "system", "right"])["n"].max().reindex(order)]
    caption = "Shares of the questions, 95 % interval; of each row they add up to 1. Right: the context of the oracle."
    return styled_table(table, caption, "contexts")


def retention_overview(retention: pd.DataFrame) -> Styler:
    """The share of the text's gain that z keeps, and that gain, by part."""
    parts = in_order(retention["part"], PARTS)
    rows = retention.set_index("part").loc[parts]
    table = pd.DataFrame(
        {
            "retention": ["not defined" if pd.isna(row.value) else _cell(row) for row in rows.itertuples()],
            "gain of the text (F1)": rows["text_gain"].map("{:.2f}".format),
            "n": rows["n"].map(str),
        }
    ).rename_axis(index=None)
    caption = (
        "Retention: (F1 with the right z − closed book) / (F1 with the gold passage − closed book), same questions and "
        "reader; 95 % interval. Not defined where the text brings less than 0.1."
    )
    return styled_table(table, caption, "retention")


def selector_overview(selectors: pd.DataFrame, name: str = "selectors") -> Styler:
    """Part and selector by retrieval measure, with milliseconds per question; `name` is the table's own on its page."""
    cells = selectors[selectors["metric"].isin(RANKED)]
    cells = cells.assign(cell=[_cell(row) for row in cells.itertuples()])
    table = cells.pivot(index=["part", "selector"], columns="metric", values="cell")
    order = [
        (part, name)
        for part in in_order(selectors["part"], PARTS)
        for name in in_order(selectors["selector"], ())
        if (part, name) in table.index
    ]
    table = table.reindex(order)[[name for name in RANKED if name in table]].rename(columns=LABELS)
    by_place = selectors[selectors["metric"] == "seconds"].set_index(["part", "selector"])
    table["ms per question"] = [f"{1000 * by_place.at[place, 'value']:.1f}" for place in order]
    table["n"] = [str(by_place.at[place, "n"]) for place in order]
    caption = "Documents found by each way of choosing, among all of the corpus; mean and 95 % interval."
    return styled_table(table.rename_axis(columns=None), caption, name)


def selector_curves(selectors: pd.DataFrame) -> Figure:
    """Recall at 1, 5 and 20 of every selector, a panel per part of test questions."""
    return recall_curves(selectors.rename(columns={"selector": "system"}))


def apart_overview(summary: pd.DataFrame) -> Styler:
    """What must find its document, and what is given it: questions about asked and about unasked documents."""
    rows = summary[summary["part"].isin(APART) & summary["metric"].isin(APART_METRICS)]
    rows = rows[rows["system"].isin((*COMPARED, "zmem-oracle", "gold-passage", "closed-book"))]
    cells = rows.assign(cell=[_cell(row) for row in rows.itertuples()])
    table = cells.pivot(index="system", columns=["metric", "part"], values="cell")
    metrics, parts = in_order(rows["metric"], APART_METRICS), in_order(rows["part"], APART)
    columns = [(metric, part) for metric in metrics for part in parts if (metric, part) in table]
    table = table.reindex(index=in_order(rows["system"], (*COMPARED, "zmem-oracle")), columns=columns).fillna("–")
    said = {"seen": "with", "unasked-document": "without"}
    table.columns = [f"{LABELS[metric]}<br>{said[part]}" for metric, part in columns]
    sizes = [f"{said[part]} {rows.loc[rows['part'] == part, 'n'].max()}" for part in parts]
    caption = f"Seen documents with and without training questions (n: {', '.join(sizes)}); mean and 95 % interval."
    return styled_table(table.rename_axis(index=None), caption, "apart")


def _points(difference: float) -> str:
    points = round(100 * difference)
    return f"{points:+d}".replace("-", "−") if points else "0"


def _cell(row: tuple) -> str:
    return f"{row.value:.2f}<br><small>[{row.ci_low:.2f}, {row.ci_high:.2f}]</small>"

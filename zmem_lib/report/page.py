"""The tables of page one: headline, costs step by step, and what changed since the last run of the same name.

Takes data frames of headline.py and previous.py and the run's parameters, returns HTML, Markdown and figures in the
run's report_language. Every table scrolls within its own box, its first column in place (book/_assets/zmem.css).
"""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from zmem_lib.evaluation.stats import POWER
from zmem_lib.params import Params
from zmem_lib.report.headline import TOKENS, evidence_items, headline, mean_tokens, reference, write_seconds
from zmem_lib.report.page_plots import noise_plot, quality_plot, recall_plot, write_plot
from zmem_lib.report.previous import changed_params, find_previous, moved_values
from zmem_lib.report.results import RESULTS
from zmem_lib.report.system_tables import TABLE_CSS, bullets, save_figure
from zmem_lib.report.verdict import detectable
from zmem_lib.report.wording import phrases, spoken
from zmem_lib.tables import MEASURES, SYSTEMS, TEST_PARTS, in_order

MOST_MOVED = 12  # rows of the table of changes
MISSING = "–"


def headline_table(tables: Mapping[str, pd.DataFrame], params: Params) -> HTML:
    """Systems by parts and measures: the mean with its mark, below it the interval; items and tokens of evidence."""
    words, summary = phrases(params.report.language), tables["summary"]
    rows = headline(summary, tables["pairs"])
    systems = in_order(rows["system"], SYSTEMS)
    rows = rows[rows["metric"] != TOKENS]
    rows = rows.assign(cell=[_cell(row) for row in rows.itertuples()])
    parts = in_order(rows["part"], TEST_PARTS)
    table = rows.pivot(index="system", columns=["part", "metric"], values="cell")
    there = [(part, metric) for part in parts for metric in MEASURES if (part, metric) in table]
    table = table.reindex(index=systems, columns=pd.MultiIndex.from_tuples(there)).fillna(MISSING)
    table.columns = pd.MultiIndex.from_tuples(
        [(words[f"part.{part}"], words[f"metric.{name}"]) for part, name in there]
    )
    items, tokens = evidence_items(params), mean_tokens(summary, TOKENS)
    table["", words["head.items"]] = [_number(items.get(system), "{:.0f}", words["head.as_fits"]) for system in systems]
    table["", words["head.tokens"]] = [_number(tokens.get(system), "{:.0f}") for system in systems]
    return wide(_named(table, words), _headline_caption(tables, parts, words), "headline")


def costs_table(costs: pd.DataFrame, write_curve: pd.DataFrame, params: Params) -> HTML:
    """What each system costs from training to an answer: seconds, bytes, tokens, money (headline.costs_by_step)."""
    words = phrases(params.report.language)
    columns: dict[str, tuple[str, Callable[[float], str]]] = {
        "cost.train": ("train_seconds", "{:,.0f}".format),
        "cost.write": ("write_seconds", "{:.3f}".format),
        "cost.index": ("index_seconds", "{:,.2f}".format),
        "cost.answer": ("answer_seconds", "{:.4f}".format),
        "cost.stored": ("bytes_stored", lambda size: f"{size / 1e6:.2f}"),
        "cost.memory": ("peak_memory_bytes", lambda size: f"{size / 1e9:.2f}"),
        "cost.input": ("input_tokens", "{:.0f}".format),
        "cost.output": ("output_tokens", "{:.0f}".format),
        "cost.money": ("money", lambda dollars: f"{1000 * dollars:.4f}" if dollars else "0"),
        "cost.n": ("n", "{:.0f}".format),
    }
    cells = {words[key]: costs[name].map(form, na_action="ignore") for key, (name, form) in columns.items()}
    table = pd.DataFrame(cells).astype(object).fillna(MISSING).set_index(costs["system"])
    written = not pd.isna(write_seconds(write_curve, params.write.start))
    write = words["cost.write_start"].format(start=params.write.start) if written else words["cost.write_none"]
    return wide(_named(table, words), words["cost.caption"].format(write=write), "costs-by-step")


def page_plots(tables: Mapping[str, pd.DataFrame], folder: Path, params: Params) -> list[Figure | Markdown]:
    """Quality, retrieval, writing and noise, saved in figures/; a sentence in the place of what was not measured."""
    words = phrases(params.report.language)
    plots = {
        "quality": ("summary", quality_plot),
        "recall": ("summary", recall_plot),
        "writing": ("write_curve", write_plot),
        "noise": ("noise", noise_plot),
    }
    return [
        save_figure(draw(tables[table], words), folder / "figures" / name)
        if len(tables[table])
        else Markdown(words[f"plot.no_{name}"])
        for name, (table, draw) in plots.items()
    ]


def changes(summary: pd.DataFrame, folder: Path, params: Params, results: Path = RESULTS) -> list[Markdown | HTML]:
    """What differs from the last run of the same name: parameters, and values that the new interval does not cover."""
    words = phrases(params.report.language)
    former = find_previous(folder, params.run, results)
    if former is None:
        return [Markdown(words["changed.first"])]
    place, before, values = former
    where = words[f"changed.{place}"].format(run=params.run)
    differing = changed_params(values, params)
    moved, compared = moved_values(before, summary)
    if not differing and moved.empty:
        return [Markdown(words["changed.same"].format(where=where))]
    named = [_param(name, *pair, words) for name, pair in differing.items()]
    cut = words["changed.cut"].format(shown=MOST_MOVED) if len(moved) > MOST_MOVED else ""
    said = [
        words["changed.since"].format(where=where),
        words["changed.params"].format(names=", ".join(named)) if named else words["changed.no_params"],
        words["changed.values"].format(all=compared, moved=len(moved), cut=cut),
    ]
    return [bullets(said), *([_moved_table(moved.head(MOST_MOVED), words)] if len(moved) else [])]


def wide(table: pd.DataFrame, caption: str, name: str, *, index: bool = True) -> HTML:
    """A caption and a table of HTML cells that scrolls sideways below it, its first column in place."""
    centred = [{"selector": "thead th[colspan]", "props": "text-align: center"}]
    styled = table.style.set_uuid(name).set_table_styles([*TABLE_CSS, *centred]).format(escape=None)
    styled = styled.set_table_attributes(
        f'class="dataframe tex2jax_ignore mathjax_ignore wide" aria-describedby="about-{name}"'
    )
    styled = styled if index else styled.hide(axis="index")
    return HTML(f'<p class="about-table" id="about-{name}">{caption}</p>\n{styled.to_html()}')


def _headline_caption(tables: Mapping[str, pd.DataFrame], parts: list[str], words: Mapping[str, str]) -> str:
    summary, sizes = tables["summary"], []
    for part in parts:
        n = summary.loc[(summary["part"] == part) & summary["metric"].isin(MEASURES), "n"].max()
        least = detectable(tables, part, words)
        said = words["head.least"].format(least=least, power=round(100 * POWER)) if least else ""
        sizes.append(words["head.size"].format(part=words[f"part.{part}"], n=n, least=said))
    against = words[f"system.{reference(summary)}"]
    return words["head.caption"].format(reference=against, sizes="; ".join(sizes))


def _named(table: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """The rows by their short name, below it that of the chapters."""
    names = [f"{words[f'row.{system}']}<br><small>{system}</small>" for system in table.index]
    return table.set_axis(names, axis=0).rename_axis(index=None)


def _moved_table(moved: pd.DataFrame, words: Mapping[str, str]) -> HTML:
    columns = {
        words["column.system"]: [words[f"row.{system}"] for system in moved["system"]],
        words["column.part"]: [words[f"part.{part}"] for part in moved["part"]],
        words["column.measure"]: [words[f"metric.{metric}"] for metric in moved["metric"]],
        words["column.before"]: moved["before"].map("{:.2f}".format),
        words["column.now"]: [spoken(row) for row in moved.rename(columns={"now": "value"}).itertuples()],
        words["column.n"]: moved["n"].map(str),
    }
    return wide(pd.DataFrame(columns), words["changed.caption"], "changes", index=False)


def _param(name: str, before: Any, now: Any, words: Mapping[str, str]) -> str:
    return words["changed.param"].format(name=name, before=f"`{escape(str(before))}`", now=f"`{escape(str(now))}`")


def _cell(row: Any) -> str:
    mark = f" {row.mark}" if row.mark else ""
    return f"{row.value:.2f}{mark}<br><small>[{row.ci_low:.2f}, {row.ci_high:.2f}]</small>"


def _number(value: float | None, form: str, otherwise: str = MISSING) -> str:
    return MISSING if value is None else otherwise if pd.isna(value) else form.format(value)

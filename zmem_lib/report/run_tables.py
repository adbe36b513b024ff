"""The page "Runs compared": tables, curves over the size of the corpus, and every run's parameters, as Markdown.

Takes the runs of compare_runs.py and a folder; leaves compared.md with its figures beside it. Its tables are HTML in
the box that scrolls wide ones; whatever is a run's own (names, values of parameters) is escaped and kept from MathJax.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from zmem_lib.evaluation.stats import LEVEL
from zmem_lib.report.compare import (
    BEST,
    MEASURES,
    Run,
    measures,
    model_groups,
    model_name,
    overview,
    parameters,
    size_curves,
    size_groups,
    spoken_count,
)
from zmem_lib.report.figures import COLOURS, PARTS_SAID, new_figure
from zmem_lib.report.system_tables import save_figure, styled_table
from zmem_lib.tables import COMPARED, TEST_PARTS, in_order

PAGE = "compared"
AXES = {"bytes_stored": "megabytes stored", "seconds_per_question": "seconds per question"}
INTRODUCTION = """# Runs compared

The runs of this book side by side. Every figure comes from the tables in the runs' folders; brackets are 95 % bootstrap
intervals over the questions. Runs may differ in more than one thing: the table at the end shows in what.
"""
MEASURED = """## What they answer

Recall@1 is the share of questions whose gold document is found first; evidence, that the gold answer stands in what the
reader gets; exact, that the reader's answer is the gold answer. *Right z*: the right block is given. The best retriever
is, in each run, the one that finds most documents first on these same questions, which flatters it.
"""
SIZES = """## Over the size of the corpus

Runs that differ in nothing but the number of documents: how often the gold document is found first among all of them,
what is stored, and how long a question takes, of every system that must find the document itself.
"""
MODELS = """## Model and corpus

z-memory's recall@1 by model and number of documents, in runs on the same corpus. They may differ in other parameters
too, which the next table shows.
"""
PARAMETERS = """## Every run's parameters

Those in which the runs differ stand first, in bold.
"""


def write_page(runs: Sequence[Run], left_out: Mapping[str, str], folder: Path) -> Path:
    """Write the page and its figures into a folder and return the page's path."""
    said = [INTRODUCTION, *(f"Left out is `{name}`: {_plain(reason)}\n" for name, reason in left_out.items())]
    said += ["## What they are\n", overview_table(runs), MEASURED, *measure_tables(runs)]
    said += [SIZES, *size_section(runs, folder)] if size_groups(runs) else []
    said += [MODELS, *(model_table(group) for group in model_groups(runs))] if model_groups(runs) else []
    said += [PARAMETERS, parameter_table(runs)]
    path = folder / f"{PAGE}.md"
    path.write_text("\n".join(said), encoding="utf-8")
    return path


def overview_table(runs: Sequence[Run]) -> str:
    """A row per run: its model, its documents, what it took and what it stores."""
    table = overview(runs)
    many = [_number(value, spoken_count) for value in table["weights"]]
    shown = pd.DataFrame({"model": [escape(name) for name in table["model"]], "weights": many}, index=table.index)
    for name in ("seen", "new"):
        shown[f"{name} documents"] = [f"{value:,}" for value in table[name]]
    for name in table.columns[4:]:
        form = "{:.2f}" if name.endswith("(MB)") else "{:,.0f}"
        shown[name] = [_number(value, form.format) for value in table[name]]
    caption = (
        "Seconds are those of chapters 03, 04 and 05, on the machine on which the run was made; megabytes are what a "
        "system stores for the corpus, models apart."
    )
    return html_table(shown, caption, "runs")


def measure_tables(runs: Sequence[Run]) -> list[str]:
    """For every part of test questions a table with a row per run: the main measures with their intervals."""
    found, tables = measures(runs), []
    for part in in_order(found["part"], TEST_PARTS):
        mine = found[found["part"] == part]
        cells = mine.assign(cell=[_cell(row, named=MEASURES[row.measure][0] == BEST) for row in mine.itertuples()])
        table = cells.pivot(index="run", columns="measure", values="cell")
        shown = table.reindex(index=in_order(mine["run"], ()), columns=in_order(mine["measure"], tuple(MEASURES)))
        shown.columns = [name.replace(", ", "<br>") for name in shown]
        shown.insert(0, "n", mine.groupby("run")["n"].max().map("{:,}".format))
        caption = f"{PARTS_SAID[part].capitalize()}: mean and {LEVEL:.0%} interval over n questions."
        tables.append(html_table(shown.fillna("–"), caption, f"measures-{part}"))
    return tables


def size_section(runs: Sequence[Run], folder: Path) -> list[str]:
    """Figure and tables of every group of runs that differ in nothing but their size."""
    said = []
    for place, group in enumerate(size_groups(runs), 1):
        curves, name = size_curves(group), f"{PAGE}-sizes-{place}"
        save_figure(size_figure(curves), folder / name)
        sizes = ", ".join(f"{size:,}" for size in dict.fromkeys(run.size for run in group))
        listed = ", ".join(f"`{run.name}`" for run in group)
        alt = f"Lines over {sizes} documents: recall at 1, megabytes, seconds per question; the tables have them."
        said += [f"Runs {listed}:\n", f"![{alt}]({name}.png)\n"]
        said += [size_table(curves, what, f"sizes-{place}-{i}") for i, what in enumerate(dict.fromkeys(curves["what"]))]
    return said


def size_figure(curves: pd.DataFrame) -> Figure:
    """A line per system over the number of documents: recall@1 of every part with its interval, bytes, seconds."""
    panels = in_order(curves["what"], (*(f"recall@1, {part}" for part in TEST_PARTS), *AXES))
    figure, axes = new_figure(-(-len(panels) // 2), 2, height=2.4 * -(-len(panels) // 2) + 0.6)
    for axis, what in zip(axes, panels, strict=False):
        _size_panel(axis, curves[curves["what"] == what].sort_values("documents"), what)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    entries = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def _size_panel(axis: Axes, curves: pd.DataFrame, what: str) -> None:
    for system in in_order(curves["system"], COMPARED):
        line, colour = curves[curves["system"] == system], COLOURS.get(system, "#000000")
        axis.plot(line["documents"], line["value"], color=colour, marker="o", markersize=3, label=system)
        if what not in AXES:
            axis.fill_between(line["documents"], line["ci_low"], line["ci_high"], color=colour, alpha=0.1, lw=0)
    sizes = sorted(set(curves["documents"]))
    axis.set_xscale("log")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.set(xlabel="documents", ylabel=AXES.get(what, what))
    if what in AXES:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
    else:
        axis.set_ylim(0, 1.03)
    axis.minorticks_off()


def size_table(curves: pd.DataFrame, what: str, name: str) -> str:
    """Systems by numbers of documents: what the figure's panel shows."""
    mine = curves[curves["what"] == what].drop_duplicates(["system", "documents"])
    cells = mine.assign(cell=[_cell(row) if what not in AXES else f"{row.value:,.4f}" for row in mine.itertuples()])
    table = cells.pivot(index="system", columns="documents", values="cell")
    shown = table.reindex(index=in_order(mine["system"], COMPARED)).fillna("–")
    n = mine.groupby("documents")["n"].max()
    shown.columns = [f"{size:,}<br><small>n = {n[size]:,}</small>" for size in shown]
    return html_table(shown, f"{AXES.get(what, what).capitalize()}, by number of documents.", name)


def model_table(group: Sequence[Run]) -> str:
    """Models by numbers of documents: z-memory's recall@1 in every part, of every run that there is."""
    found = measures(group)
    found = found[found["measure"] == next(iter(MEASURES))]
    model, size = ({run.name: value(run) for run in group} for value in (model_name, lambda run: run.size))
    rows = found.assign(
        model=[f"{escape(model[run])}, {part}" for run, part in zip(found["run"], found["part"], strict=True)],
        documents=found["run"].map(size),
        cell=[_cell(row) for row in found.itertuples()],
    )
    cells = rows.groupby(["model", "documents"], sort=False)["cell"].agg("<br>".join)
    table = cells.unstack().reindex(index=in_order(rows["model"], ())).fillna("–")
    table.columns = [f"{documents:,} documents" for documents in table]
    return html_table(table, f"z-memory's recall@1 on corpus {escape(group[0].params.corpus.name)}.", "models")


def parameter_table(runs: Sequence[Run]) -> str:
    """Parameters by runs; those that differ stand first, in bold."""
    values, differ = parameters(runs)
    shown = values.map(lambda value: escape(str(value)) if value != "" else "–")
    for name in differ:
        shown.loc[name] = [f"<b>{value}</b>" for value in shown.loc[name]]
    shown.index = [f"<b>{name}</b>" if name in differ else name for name in shown.index]
    return html_table(shown, "Of a path only the last name is shown.", "parameters")


def html_table(table: pd.DataFrame, caption: str, name: str) -> str:
    """A table of cells that are HTML already, in the box that scrolls, without the blank lines that end HTML here."""
    html = styled_table(table.rename_axis(index=None, columns=None), caption, f"compared-{name}").to_html()
    lines = [line for line in html.splitlines() if line.strip()]
    return "\n".join(['<div class="cell_output">', *lines, "</div>", ""])


def _cell(row: tuple, *, named: bool = False) -> str:
    """Mean and interval; of the best retriever also which one it is."""
    of = f"<br><small>{row.system}</small>" if named else ""
    return f"{row.value:.2f}<br><small>[{row.ci_low:.2f}, {row.ci_high:.2f}]</small>{of}"


def _number(value: float | None, form: object) -> str:
    return "–" if pd.isna(value) else form(value)


def _plain(text: str) -> str:
    """A sentence as code, so that nothing in it is markup."""
    return f"``{' '.join(text.split()).replace('`', '')}``"

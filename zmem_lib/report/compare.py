"""The page "Runs compared": finished runs side by side, from the tables, manifests and parameters on disk.

Leaves compared.md, of the template compared.md.j2, with its figures beside it. A run whose tables or parameters are of
another version, or not there, is left out and the reason given. Nothing is executed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from zmem_lib.chapters import CHAPTERS
from zmem_lib.evaluation.stats import LEVEL
from zmem_lib.files import BadInput, must_exist, read_json
from zmem_lib.memory.shape import model_shape
from zmem_lib.params import Params, flat, read_params, without_places
from zmem_lib.report.canvas import save_figure
from zmem_lib.report.chapter_tables import with_n
from zmem_lib.report.figures import banded_lines, legend_above, panel_grid
from zmem_lib.report.tables import estimate, grid, html_table
from zmem_lib.report.wording import COMPARED, RIVALS, part_name, template, told
from zmem_lib.tables import TEST_PARTS, in_order, read_table

PAGE = "compared"
RETRIEVERS = tuple(system for system in RIVALS if system not in ("text-twin", "long-context"))
BEST = "best retriever"  # stands for the one of RETRIEVERS that finds most documents in that run and part
MEASURES = {  # name in tables: system, metric
    "recall@1\nz-memory": ("zmem", "recall@1"), "recall@1\nbest retriever": (BEST, "recall@1"),
    "evidence\nz-memory": ("zmem", "answer_in_evidence"), "evidence\nright z": ("zmem-oracle", "answer_in_evidence"),
    "evidence\nbest retriever": (BEST, "answer_in_evidence"), "exact\nz-memory": ("zmem", "em"),
    "exact\nbest retriever": (BEST, "em"),
}  # fmt: skip
SIZE = {"corpus.documents", "corpus.subset"}  # parameters that say how much of one corpus is taken
ASIDE = ("run", "machine.")  # begin the names of parameters that change nothing of what a run finds
SAME_CORPUS = (
    "corpus.name",
    "corpus.path",
    "corpus.revision",
    "corpus.new_path",
    "corpus.apart_from",
    "corpus.new_documents",
    "seed",
)
COSTS = {  # column of costs: its axis, and the unit in which it is shown
    "bytes_stored": ("megabytes stored", 1e6), "seconds_per_question": ("seconds per question", 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A finished run: its tables, seconds by chapter, and documents by part."""

    name: str
    params: Params
    summary: pd.DataFrame
    costs: pd.DataFrame
    seconds: Mapping[int, float]
    documents: Mapping[str, int]

    @property
    def size(self) -> int:
        """Documents among which a question's is sought."""
        return sum(self.documents.values())


def read_runs(runs: Path, names: Iterable[str]) -> tuple[list[Run], dict[str, str]]:
    """The named runs, and why others of them cannot be compared: a table is missing or of another version."""
    found, left_out = [], {}
    for name in names:
        try:
            params, docs = read_params(runs / name / "params.yaml"), must_exist(runs / name / "docs.parquet")
            summary, costs = (read_table(runs / name / f"{table}.parquet", table) for table in ("summary", "costs"))
            manifests = {number: runs / name / f"manifest_{number:02d}.json" for number in CHAPTERS}
            seconds = {number: read_json(path)["seconds"] for number, path in manifests.items() if path.is_file()}
            documents = Counter(pd.read_parquet(docs, columns=["part"])["part"].tolist())
            found.append(Run(name, params, summary, costs, seconds, documents))
        except BadInput as error:
            left_out[name] = str(error)
    return found, left_out


def write_page(runs: Sequence[Run], left_out: Mapping[str, str], folder: Path) -> Path:
    """Write the page and its figures into a folder and return the page's path."""
    said = template(f"{PAGE}.md.j2").render(
        left_out=left_out,
        overview=_table(overview(runs), told("overview")),
        measures=measure_tables(runs),
        sizes=[size_section(group, folder / f"{PAGE}-sizes-{i}") for i, group in enumerate(size_groups(runs), 1)],
        models=[model_table(group) for group in model_groups(runs)],
        parameters=parameter_table(runs),
    )
    path = folder / f"{PAGE}.md"
    path.write_text(said, encoding="utf-8")
    return path


def overview(runs: Sequence[Run]) -> pd.DataFrame:
    """A row per run: model, its weights, documents, seconds of training, writing and answering, megabytes stored."""
    rows = {}
    for run in runs:
        stored, many = run.costs.set_index("system")["bytes_stored"] / 1e6, weights(run.params)
        rows[run.name] = {
            "model": without_places(flat(run.params))["lm.name"],
            "weights": None if many is None else spoken_count(many),
            **{f"{part} documents": run.documents.get(part, 0) for part in ("seen", "new")},
        }
        for number, work in {3: "training", 4: "writing", 5: "answering"}.items():
            rows[run.name][f"{work} (s)"] = f"{run.seconds[number]:,.0f}" if number in run.seconds else None
        rows[run.name] |= {f"{system} (MB)": stored.get(system) for system in ("zmem", "bm25", "dense")}
    return pd.DataFrame.from_dict(rows, orient="index")


def weights(params: Params) -> int | None:
    """Weights of a run's language model; None where there is none, or its configuration is not here any more."""
    try:
        shape = model_shape(params) if params.has_lm else None  # pyright: ignore[reportArgumentType]
    except BadInput:
        return None
    return shape and shape.linear + shape.other


def measures(runs: Sequence[Run]) -> pd.DataFrame:
    """The MEASURES of every run and part of test questions that there are: system, value, its interval, n."""
    places = pd.DataFrame.from_dict(MEASURES, orient="index", columns=["system", "metric"]).rename_axis("measure")
    frames = []
    for run in runs:
        asked = run.summary[run.summary["part"].isin(TEST_PARTS) & (run.summary["n"] > 0)]
        for _, rows in asked.groupby("part"):
            named = places.replace({"system": {BEST: best_retriever(rows) or ""}}).reset_index()
            frames.append(rows.merge(named).assign(run=run.name))
    return pd.concat(frames, ignore_index=True)


def best_retriever(summary: pd.DataFrame) -> str | None:
    """The retriever with the highest recall@1 in a summary of one part, the first of equals; None where none is."""
    values = summary[summary["metric"] == "recall@1"].set_index("system")["value"].reindex(RETRIEVERS).dropna()
    return None if values.empty else str(values.idxmax())


def measure_tables(runs: Sequence[Run]) -> list[str]:
    """For every part of test questions a table with a row per run: the main measures with their intervals."""
    found, tables = measures(runs), []
    for part in in_order(found["part"], TEST_PARTS):
        rows = found[found["part"] == part]
        table = grid(rows, ["run"], ["measure"], _measure, measure=list(MEASURES))
        caption = (
            f"{part_name(part).capitalize()}: mean and {LEVEL:.0%} interval over n questions of so many documents."
        )
        table = with_n(table, rows)
        tables.append(_table(table, caption))
    return tables


def size_groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in nothing but how much of a corpus they take, of two sizes at least, the smaller first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        rest = {key: value for key, value in flat(run.params).items() if key not in SIZE and not key.startswith(ASIDE)}
        groups.setdefault(str(rest), []).append(run)
    found = [sorted(group, key=lambda run: run.size) for group in groups.values()]
    return [group for group in found if group[0].size < group[-1].size]


def size_curves(group: Sequence[Run]) -> pd.DataFrame:
    """What each of the systems compared finds and costs: documents, system, what, value, ci_low, ci_high, n.

    `what` is recall@1 with its part behind it, or one of COSTS, which have no interval.
    """
    frames = []
    for run in group:
        found = run.summary[(run.summary["metric"] == "recall@1") & run.summary["part"].isin(TEST_PARTS)]
        frames.append(found.assign(what="recall@1, " + found["part"], documents=run.size))
        for cost, (_, unit) in COSTS.items():
            frames.append(run.costs.assign(what=cost, value=run.costs[cost] / unit, documents=run.size))
    curves = pd.concat(frames, ignore_index=True)
    curves = curves[curves["system"].isin(COMPARED) & (curves["n"] > 0)]
    return curves[["documents", "system", "what", "value", "ci_low", "ci_high", "n"]]


def size_section(group: Sequence[Run], figure: Path) -> dict[str, Any]:
    """Figure and tables of a group of runs that differ in nothing but their size, for the page's template."""
    curves = size_curves(group)
    save_figure(size_figure(curves), figure)
    return {
        "runs": ", ".join(f"`{run.name}`" for run in group),
        "documents": ", ".join(f"{size:,}" for size in dict.fromkeys(run.size for run in group)),
        "figure": figure.name,
        "tables": [size_table(curves, what) for what in dict.fromkeys(curves["what"])],
    }


def size_figure(curves: pd.DataFrame) -> Figure:
    """A line per system over the number of documents: recall@1 of every part with its interval, bytes, seconds."""
    panels = in_order(curves["what"], (*(f"recall@1, {part}" for part in TEST_PARTS), *COSTS))
    sizes, (figure, axes, _) = sorted(set(curves["documents"])), panel_grid(len(panels), most=2, height=2.4)
    for axis, what in zip(axes, panels, strict=False):
        banded_lines(axis, curves[curves["what"] == what], "documents", by="system", label="{system}")
        axis.set(xscale="log", xlabel="documents", ylabel=COSTS[what][0] if what in COSTS else what)
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        if what in COSTS:
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
        else:
            axis.set_ylim(0, 1.03)
        axis.minorticks_off()
    return legend_above(figure, axes)


def size_table(curves: pd.DataFrame, what: str) -> str:
    """Systems by numbers of documents: what the figure's panel shows."""
    rows = curves[curves["what"] == what].drop_duplicates(["system", "documents"])
    cell = (lambda row: f"{row.value:,.4f}") if what in COSTS else estimate
    table = grid(rows, ["system"], ["documents"], cell, documents=sorted(set(rows["documents"])))
    n = rows.groupby("documents")["n"].max()
    table.columns = [f"{size:,}\nn = {n[size]:,}" for size in table.columns.tolist()]
    title = COSTS[what][0] if what in COSTS else what
    return _table(table, f"{title.capitalize()}, by number of documents.")


def model_groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs with a language model on one corpus, where there is more than one model."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.params.has_lm:
            groups.setdefault(tuple(flat(run.params)[key] for key in SAME_CORPUS), []).append(run)
    return [group for group in groups.values() if len({model_name(run) for run in group}) > 1]


def model_name(run: Run) -> str:
    """A run's model and its number of weights."""
    many, name = weights(run.params), without_places(flat(run.params))["lm.name"]
    return name if many is None else f"{name}, {spoken_count(many)} weights"


def spoken_count(number: float) -> str:
    """A large number as one says it: 2.1 M, 494 M, 3.1 B."""
    size, unit = (number / 1e9, "B") if number >= 1e9 else (number / 1e6, "M")
    return f"{size:.0f} {unit}" if size >= 99.5 else f"{size:.1f} {unit}"


def model_table(group: Sequence[Run]) -> str:
    """Models by numbers of documents: z-memory's recall@1 in every part, of every run that there is."""
    found = measures(group)
    found = found[found["measure"] == next(iter(MEASURES))]
    rows = found.assign(
        model=found["run"].map({run.name: model_name(run) for run in group}) + ", " + found["part"],
        documents=found["run"].map({run.name: run.size for run in group}),
        text=[estimate(row) for row in found.itertuples()],
    )
    cells = rows.groupby(["model", "documents"], sort=False)["text"].agg("\n".join).reset_index()
    table = grid(cells, ["model"], ["documents"], lambda row: row.text, documents=sorted(set(cells["documents"])))
    table.columns = [f"{documents:,} documents" for documents in table]
    return _table(table, f"z-memory's recall@1 on corpus {group[0].params.corpus.name}.")


def parameters(runs: Sequence[Run]) -> tuple[pd.DataFrame, set[str]]:
    """Parameters by runs, those in which the runs differ first, and the names of these; the runs' own names apart."""
    values = pd.DataFrame({run.name: pd.Series(flat(run.params), dtype=object) for run in runs}).drop(index="run")
    differs = values.map(repr).nunique(axis="columns") > 1
    shown = pd.DataFrame({run.name: pd.Series(without_places(flat(run.params)), dtype=object) for run in runs})
    return shown.loc[[*values.index[differs], *values.index[~differs]]], set(values.index[differs])


def parameter_table(runs: Sequence[Run]) -> str:
    """Parameters by runs; those that differ stand first, in bold."""
    values, differ = parameters(runs)
    table = values.map(lambda value: str(value) if value != "" else None)
    bold = table.notna().mul(table.index.isin(differ), axis="index")
    return _table(table, "Of a path only the last name is shown.", bold=bold)


def _table(table: pd.DataFrame, caption: str, **look: Any) -> str:
    """A table in a page of Markdown: in the box that scrolls, without the blank lines that end HTML there."""
    lines = [line for line in str(html_table(table, caption, **look).data).splitlines() if line.strip()]
    return "\n".join(['<div class="cell_output">', *lines, "</div>"])


def _measure(row: Any) -> str:
    """Mean and interval; of the best retriever also which one it is."""
    return f"{estimate(row)}\n{row.system}" if MEASURES[row.measure][0] == BEST else estimate(row)

"""Every table and figure that the chapters show: data frames in, Styler, DataFrame, text or Figure out.

The plots are drawn in figures.py, the sentences of the findings made in findings.py. Text of a corpus is escaped, and
kept from MathJax, wherever it goes into HTML; systems, parts and metrics are this project's own words.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from zmem_lib.evaluation.metrics import FIELD
from zmem_lib.evaluation.numbers_in import NUMBERS
from zmem_lib.evaluation.ragas_measures import RAGAS_ANSWER_METRICS, RAGAS_CONTEXT_METRICS
from zmem_lib.files import write_atomic
from zmem_lib.params import Params
from zmem_lib.report.canvas import description
from zmem_lib.report.figures import (
    FAILURES,
    LABELS,
    PARTS_SAID,
    failure_bars,
    in_order,
    loss_curves,
    quality_bars,
    recall_curves,
    write_loss,
    write_quality,
)
from zmem_lib.report.published import attribution
from zmem_lib.tables import CHANCES, COMPARED, CONTROLS, PARTS, SYSTEMS, TEST_PARTS, read_table

__all__ = [
    "answers_overview", "bullets", "examples_or_counts", "failure_bars", "failure_examples",
    "failure_table", "loss_curves", "missing_table", "quality_bars", "recall_curves", "save_figure", "summary_table",
    "summary_tables", "summary_text", "write_loss", "write_quality",
]  # fmt: skip

MAIN_METRICS = ("em", "f1", "answer_in_evidence", "evidence_tokens", "recall@1", "mrr@10", "ndcg@10")
FIELD_METRICS = (*FIELD, *NUMBERS)  # the latter only where gold answers are numbers
RAGAS_METRICS = (*RAGAS_CONTEXT_METRICS, *RAGAS_ANSWER_METRICS)
CONTROLLED = ("zmem", *CONTROLS, *CHANCES)  # z-memory beside its controls
TEXT_METRICS = ("em", "f1", "answer_in_evidence", "recall@1")
ALL = (*SYSTEMS, *CHANCES)
PAID = "$ per 1,000 answers"  # to an address, for reading
TABLE_CSS = [
    {"selector": "caption", "props": "caption-side: top; text-align: left; padding-bottom: .4em"},
    {"selector": "th, td", "props": "padding: .25em .35em; text-align: right; vertical-align: top"},
    {"selector": "small", "props": "font-size: .8em; font-weight: normal; white-space: nowrap"},
    {"selector": "th.row_heading, td.text", "props": "text-align: left"},
]


def printed_summary(folder: Path) -> str:
    """The main figures of every system of a run, one row each, for a terminal."""
    summary = read_table(folder / "summary.parquet", "summary")
    shown = summary[summary["metric"].isin(["answer_in_evidence", "em", "f1", "recall@1"])]
    order = list(dict.fromkeys(summary["system"]))
    table = shown.pivot_table(index="system", columns=["part", "metric"], values="value", sort=False)
    table = table.reindex(order).reindex(columns=[part for part in TEST_PARTS if part in table], level=0)
    told = f"{folder.name}: means over questions; intervals and other metrics in {folder / 'summary.parquet'}"
    return f"\n{told}\n\n{table.to_string(float_format='{:.3f}'.format, na_rep='-')}\n"


def answers_overview(answers_by_system: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per system: the number of answers n, mean seconds and tokens of one answer, and dollars where any were paid."""
    names = in_order(pd.Series(list(answers_by_system), dtype=str), SYSTEMS)
    rows = {}
    for name in names:
        answers = answers_by_system[name]
        means = {
            "seconds per answer": round(answers["seconds"].mean(), 4),
            "input tokens": round(answers["input_tokens"].mean(), 1),
            "output tokens": round(answers["output_tokens"].mean(), 1),
            "evidence tokens": round(answers["evidence_tokens"].mean(), 1),
        }
        rows[name] = {"n": len(answers), **means, PAID: round(1000 * answers["money"].mean(), 4)}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
    return table if table[PAID].any() else table.drop(columns=PAID)


def summary_table(
    summary: pd.DataFrame, part: str, *, metrics: Sequence[str] = MAIN_METRICS, systems: Sequence[str] = ALL
) -> Styler:
    """Systems by metrics for one part: the mean, below it the interval; the best of those compared is bold."""
    rows = summary[(summary["part"] == part) & summary["metric"].isin(metrics) & summary["system"].isin(systems)]
    names, shown = in_order(rows["system"], tuple(systems)), in_order(rows["metric"], tuple(metrics))
    cells = rows.assign(cell=[_cell(row) for row in rows.itertuples()])
    table = cells.pivot(index="system", columns="metric", values="cell").reindex(index=names, columns=shown)
    table = table.rename(columns=LABELS).rename_axis(index=None, columns=None)
    size = rows["n"].max() if len(rows) else 0
    caption = f"Part {part}: n = {size} questions per system; mean and 95 % interval."
    rivals = [name for name in names if name in COMPARED]
    best = {(system, LABELS.get(metric, metric)) for system, metric in _best(rows)} if len(rivals) > 1 else set()
    marks = [["font-weight: bold" if (system, name) in best else "" for name in table] for system in names]
    styles = pd.DataFrame(marks, index=table.index, columns=table.columns)
    caption += f" Bold: best of {', '.join(rivals)}." if best else ""
    styled = styled_table(table.fillna("–"), caption, f"summary-{part}-{metrics[0]}-{len(systems)}")
    return styled.apply(lambda _: styles, axis=None)


def summary_tables(
    summary: pd.DataFrame, metrics: Sequence[str] = MAIN_METRICS, *, systems: Sequence[str] = ALL
) -> HTML:
    """The summary table of every part of test questions that there are, one below the other."""
    parts = [part for part in TEST_PARTS if (summary["part"] == part).any()]
    return HTML("\n".join(summary_table(summary, part, metrics=metrics, systems=systems).to_html() for part in parts))


def failure_table(failures: pd.DataFrame) -> Styler:
    """Counts of right answers and of each kind of failure by part and system."""
    counts = failures.groupby(["part", "system"])["failure"].value_counts().unstack(fill_value=0)
    order = [
        (part, system)
        for part in in_order(failures["part"], PARTS)
        for system in in_order(failures["system"], SYSTEMS)
        if (part, system) in counts.index
    ]
    table = counts.reindex(order).reindex(columns=list(FAILURES), fill_value=0)
    table["n"] = table.sum(axis=1)
    table = table.astype(str).rename_axis(columns=None)
    return styled_table(table, "Number of questions by kind of failure.", "failures")


def failure_examples(
    failures: pd.DataFrame, questions: pd.DataFrame, answers: pd.DataFrame, *, system: str, per_kind: int = 2
) -> Styler:
    """The first few answers of one system of each kind, in each part, with what it read and wrote."""
    kept = failures[(failures["system"] == system) & failures["part"].isin(TEST_PARTS)]
    kept = kept.groupby(["part", "failure"]).head(per_kind)
    asked = questions[["question_id", "question", "answers"]]
    kept = kept.merge(answers[["question_id", "evidence", "answer"]], on="question_id").merge(asked, on="question_id")
    place = {name: i for i, name in enumerate((*TEST_PARTS, *FAILURES))}
    kept = kept.sort_values(
        ["part", "failure", "question_id"], key=lambda names: names.map(lambda one: place.get(one, one))
    )
    kept = kept.reset_index(drop=True)
    table = pd.DataFrame(
        {
            "part": kept["part"],
            "kind": kept["failure"],
            "question": kept["question"].map(_shorten),
            "evidence": kept["evidence"].map("\n".join).map(_shorten),
            "answer": kept["answer"].map(_shorten),
            "gold": kept["answers"].map(lambda golds: _shorten(" / ".join(golds))),
        }
    )
    styled = styled_table(table, f"Examples of {system}.", f"examples-{system}", escape="html")
    left = [{"selector": "th, td", "props": "text-align: left"}]
    return styled.set_table_styles(left, overwrite=False).hide(axis="index")


def examples_or_counts(failures: pd.DataFrame, questions: pd.DataFrame, folder: Path, params: Params) -> Styler:
    """Examples of z-memory's answers with the licence of their texts; where these are not published, counts."""
    path = folder / "answers_zmem.parquet"
    if not params.corpus.publish_text or not path.exists():
        return failure_table(failures)
    examples = failure_examples(failures, questions, read_table(path, "answers"), system="zmem")
    return examples.set_caption(f"Examples of zmem. {attribution(params)}")


def bullets(sentences: Sequence[str]) -> Markdown:
    """The sentences as a list; of none, a space: an empty text would be shown as the name of its class."""
    return Markdown("\n".join(f"- {sentence}" for sentence in sentences) or " ")


def save_figure(figure: Figure, path: Path) -> Figure:
    """Write the figure as PNG (the suffix is added), its description in it, and return it, to be shown."""
    about = {"Description": description(figure)}
    write_atomic(path.with_suffix(".png"), lambda new: figure.savefig(new, format="png", metadata=about))
    return figure


def missing_table(scores: pd.DataFrame) -> pd.DataFrame:
    """How many values of a metric are NaN, of how many, in all systems and parts: of ragas, and of others with any."""
    by_metric = scores["value"].isna().groupby(scores["metric"], sort=False)
    counts = by_metric.agg(missing="sum", of="size")
    return counts[(counts["missing"] > 0) | counts.index.isin(RAGAS_METRICS)]


def summary_text(summary: pd.DataFrame) -> str:
    """A plain text table for a terminal: the main metrics of every system, part by part."""
    rows = summary[summary["metric"].isin(TEXT_METRICS) & summary["part"].isin(TEST_PARTS)]
    cells = rows.assign(cell=[f"{row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]" for row in rows.itertuples()])
    blocks = []
    for part in in_order(rows["part"], PARTS):
        mine = cells[cells["part"] == part]
        table = mine.pivot(index="system", columns="metric", values="cell")
        table = table.reindex(index=in_order(mine["system"], SYSTEMS), columns=in_order(mine["metric"], TEXT_METRICS))
        table = table.rename(columns=LABELS).rename_axis(index=None, columns=None).fillna("-")
        blocks.append(f"{PARTS_SAID[part]}, n = {mine['n'].max()} (mean and 95 % interval)\n{table.to_string()}")
    return "\n\n".join(blocks)


def styled_table(table: pd.DataFrame, caption: str, name: str, escape: str | None = None) -> Styler:
    """The table in the look of all tables of the book: kept from MathJax, and of the page's colours by day and night.

    `name` makes the ids within the HTML, and `escape` is "html" where cells hold texts of a corpus.
    """
    styled = table.style.set_uuid(name).set_caption(caption).set_table_styles(TABLE_CSS).format(escape=escape)
    return styled.set_table_attributes('class="dataframe tex2jax_ignore mathjax_ignore"')


def _cell(row: tuple) -> str:
    if row.n == 0:
        return "none"
    if row.metric == "seconds" or row.metric.endswith("_tokens"):
        return f"{row.value:.3f}" if row.metric == "seconds" else f"{row.value:.0f}"
    return f"{row.value:.2f}<br><small>[{row.ci_low:.2f}, {row.ci_high:.2f}]</small>"


def _best(rows: pd.DataFrame) -> list[tuple[str, str]]:
    scored = rows[rows["system"].isin(COMPARED) & ~rows["metric"].isin(["evidence_tokens", "seconds"])]
    top = scored.groupby("metric")["value"].transform("max")
    best = scored[(scored["value"] == top) & (scored["value"] > 0)]
    return list(zip(best["system"], best["metric"], strict=True))


def _shorten(text: str, most: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"

"""Page one: the headline table, costs step by step, plots, and what changed since the last run of the same name.

Takes a run's tables by name (summary, pairs, costs, write_curve, noise), or those that results/ keeps of one, and its
parameters; returns data frames, and HTML, Markdown and figures in the run's report.language.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.core.display import HTML, Markdown
from matplotlib.figure import Figure

from zmem_lib.evaluation.stats import POWER
from zmem_lib.params import Params
from zmem_lib.report.canvas import save_figure
from zmem_lib.report.figures import noise_curves, quality_plot, recall_curves, write_quality
from zmem_lib.report.results import RESULTS, changed_params, find_previous, moved_values
from zmem_lib.report.tables import MISSING, bullets, estimate, grid, html_table
from zmem_lib.report.verdict import detectable, reference
from zmem_lib.report.wording import COMPARED, from_both_sides, in_code, most_counted, phrases, side_of, spoken
from zmem_lib.systems.cost import AGAINST, break_even
from zmem_lib.systems.systems import SYSTEMS, which
from zmem_lib.tables import MEASURES, TEST_PARTS, in_order

GIVEN = {"zmem-oracle": "1", "zmem-shuffled": "1", "gold-passage": "1", "closed-book": "0"}  # evidence items
BESIDE = tuple(GIVEN)  # the main controls
MAIN = ("zmem", "zmem-oracle", "bm25", "dense", "hybrid")  # of the plots
MOST_DRAWN = 7  # systems
MOST_MOVED = 12  # rows of the table of changes
MARKS = {"better": "▲", "worse": "▼", "same": "="}  # beside another system's value: better than the reference, ...
TOKENS = "evidence_tokens"
COSTS = {  # columns of costs_by_step: the phrase of its head, how it is scaled, its digits
    "train_seconds": ("cost.train", 1, 0), "write_seconds": ("cost.write", 1, 3), "index_seconds": ("cost.index", 1, 2),
    "choose_seconds": ("cost.choose", 1000, 1), "evidence_seconds": ("cost.evidence", 1000, 1),
    "read_seconds": ("cost.read", 1000, 1), "answer_seconds": ("cost.answer", 1000, 1),
    "bytes_stored": ("cost.stored", 1e-6, 2), "bytes_learned": ("cost.learned", 1e-6, 2),
    "break_even": ("cost.break_even", 1, 0), "peak_memory_bytes": ("cost.memory", 1e-9, 2),
    "input_tokens": ("cost.input", 1, 0), "output_tokens": ("cost.output", 1, 0),
    "money": ("cost.money", 1000, 4), "n": ("cost.n", 1, 0),
}  # fmt: skip


def headline(summary: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Every compared system and the main controls, in long form: one row for each system, part and measure.

    Columns: system, part, metric (MEASURES and TOKENS), value, ci_low, ci_high, n, mark (of MARKS, by the corrected
    test of its pair with `reference`; empty where none was made).
    """
    rows = summary[summary["part"].isin(TEST_PARTS) & summary["metric"].isin((*MEASURES, TOKENS))]
    rows = rows[rows["system"].isin((*COMPARED, *BESIDE)) & (rows["n"] > 0)]
    both = from_both_sides(pairs).rename(columns={"first": "system"})
    tested = both[both["second"] == reference(summary)]
    tested = tested.assign(
        mark=pd.Series([MARKS[side_of(row)] for row in tested.itertuples()], tested.index, dtype=str)
    )
    rows = rows.merge(tested[["system", "part", "metric", "mark"]], how="left").fillna({"mark": ""})
    order = {"system": list(SYSTEMS), "part": TEST_PARTS, "metric": (*MEASURES, TOKENS)}
    return rows.sort_values(list(order), key=lambda names: names.map(order[str(names.name)].index), ignore_index=True)


def headline_table(tables: Mapping[str, pd.DataFrame], params: Params) -> HTML:
    """Systems by parts and measures: the mean with its mark, below it the interval; items and tokens of evidence."""
    words, summary = phrases(params.report.language), tables["summary"]
    rows = headline(summary, tables["pairs"])
    rows = rows[rows["metric"] != TOKENS]
    table = grid(rows, ["system"], ["part", "metric"], marked, metric=MEASURES)
    heads = [(words[f"part.{part}"], words[f"metric.{name}"]) for part, name in table.columns.tolist()]
    table.columns = pd.MultiIndex.from_tuples(heads)
    items = dict.fromkeys(COMPARED, f"{params.answer.top_k:,}") | GIVEN | {"long-context": words["head.as_fits"]}
    tokens = mean_tokens(summary, TOKENS)
    table["", words["head.items"]] = [items[system] for system in table.index]
    table["", words["head.tokens"]] = [numeral(tokens.get(system)) for system in table.index]
    sizes = []
    for part in in_order(rows["part"], TEST_PARTS):
        least = detectable(tables, part, words)
        power = words["head.least"].format(least=least, power=round(100 * POWER)) if least else ""
        n = most_counted(rows[rows["part"] == part].itertuples(), words)
        sizes.append(words["head.size"].format(part=words[f"part.{part}"], n=n, least=power))
    caption = words["head.caption"].format(reference=words[f"system.{reference(summary)}"], sizes="; ".join(sizes))
    return html_table(named(table, words), caption, wide=True)


def costs_by_step(tables: Mapping[str, pd.DataFrame], params: Params) -> pd.DataFrame:
    """What each compared system and main control costs: one row each, NaN where nothing was measured.

    Columns: system, train_seconds (of the model that reranks too where it learned), write_seconds (per new document,
    from the run's start), index_seconds (the rest of building), choose_seconds, evidence_seconds, read_seconds and
    their sum answer_seconds (per question), bytes_stored, bytes_text and bytes_gzip (of the corpus), bytes_learned,
    break_even (questions after which building is repaid against AGAINST; infinite for never), peak_memory_bytes,
    input_tokens, output_tokens (per question), money (dollars per question), n (questions).
    """
    costs, summary, curve = (tables[name] for name in ("costs", "summary", "write_curve"))
    write_seconds = curve.loc[curve["start"] == params.write.start, "seconds_per_document"].max()  # the whole of it
    rows = costs[costs["system"].isin((*COMPARED, *BESIDE))].set_index("system")
    rows = rows.loc[in_order(rows.index, SYSTEMS)]
    remembers = rows.index.isin(which(lambda system: "memory" in system.rests_on))
    told = rows["train_seconds"].notna() | ~remembers  # else by an earlier version, which did not take these apart
    built = rows["build_seconds"] - rows["train_seconds"].fillna(0.0) - rows["write_seconds"].fillna(0.0)
    measured = rows[["bytes_learned", "peak_memory_bytes"]].astype(float)
    repaid = [break_even(costs, name, AGAINST) if name != AGAINST else np.nan for name in rows.index]
    table = pd.DataFrame(
        {
            "train_seconds": rows["train_seconds"].where(rows["train_seconds"] > 0),
            "write_seconds": np.where(remembers, write_seconds, np.nan),
            "index_seconds": built.where(told & (built > 0)),
            **{name: rows[name] for name in ("choose_seconds", "evidence_seconds", "read_seconds")},
            "answer_seconds": rows["seconds_per_question"],
            "bytes_stored": rows["bytes_stored"].astype(float),
            **{name: rows[name] for name in ("bytes_text", "bytes_gzip")},
            **measured.where(measured > 0),
            "break_even": pd.Series(repaid, rows.index).where(told & rows["build_seconds"].gt(0)),
            **{name: mean_tokens(summary, name).reindex(rows.index) for name in ("input_tokens", "output_tokens")},
            "money": rows["money_per_question"],
            "n": rows["n"],
        }
    )
    return table.rename_axis("system").reset_index()


def mean_tokens(summary: pd.DataFrame, metric: str) -> pd.Series:
    """The mean of a count of tokens over all test questions, by system."""
    rows = summary[(summary["metric"] == metric) & summary["part"].isin(TEST_PARTS) & (summary["n"] > 0)]
    sums = rows.assign(total=rows["value"] * rows["n"]).groupby("system")[["total", "n"]].sum()
    return sums["total"] / sums["n"]


def costs_table(costs: pd.DataFrame, params: Params) -> HTML:
    """What each system costs from training to an answer: seconds, bytes, tokens, money (of costs_by_step)."""
    words = phrases(params.report.language)
    columns = {
        words[key]: [numeral(value * scale, digits) for value in costs[name]]
        for name, (key, scale, digits) in COSTS.items()
    }
    table = pd.DataFrame(columns, index=pd.Index(costs["system"]))
    never = np.isinf(costs["break_even"].to_numpy())
    table[words["cost.break_even"]] = table[words["cost.break_even"]].mask(never, words["cost.never"])
    table[words["cost.money"]] = table[words["cost.money"]].mask((costs["money"] == 0).to_numpy(), "0")
    written = words["cost.write_start"].format(start=params.write.start)
    write = written if costs["write_seconds"].notna().any() else words["cost.write_none"]
    text, packed = (numeral(costs[name].max() / 1e6 or None, 2) for name in ("bytes_text", "bytes_gzip"))
    facts = {"write": write, "text": text, "gzip": packed, "against": words[f"system.{AGAINST}"]}
    return html_table(named(table, words), words["cost.caption"].format(**facts), wide=True)


def main_systems(summary: pd.DataFrame, most: int = MOST_DRAWN) -> list[str]:
    """The systems that page one draws: the main ones, and those of the others that find and answer most."""
    rows = summary[summary["part"].isin(TEST_PARTS)]
    there = in_order(rows["system"], SYSTEMS)
    scores = rows[rows["metric"].isin(["recall@1", "em"])].groupby("system")["value"].mean()
    others = [system for system in there if system in COMPARED and system not in MAIN]
    others.sort(key=lambda system: -scores.get(system, 0.0))
    main = [system for system in MAIN if system in there]
    return in_order([*main, *others[: max(0, most - len(main))]], SYSTEMS)


def page_plots(tables: Mapping[str, pd.DataFrame], folder: Path, params: Params) -> list[Figure | Markdown]:
    """Quality, retrieval, writing and noise, saved in figures/; a sentence in the place of what was not measured."""
    words, summary = phrases(params.report.language), tables["summary"]
    written = {"answer_in_evidence": words["plot.write_y"]}
    ranking = summary[summary["metric"].str.startswith("recall@") & (summary["n"] > 0)]
    plots: dict[str, tuple[str, Callable[[], Figure]]] = {
        "quality": ("summary", lambda: quality_plot(summary, main_systems(summary), words)),
        "recall": ("summary", lambda: recall_curves(summary, main_systems(ranking), words)),
        "writing": ("write_curve", lambda: write_quality(tables["write_curve"], written, words)),
        "noise": ("noise", lambda: noise_curves(tables["noise"], "f1", words)),
    }
    return [
        save_figure(draw(), folder / "figures" / name) if len(tables[table]) else Markdown(words[f"plot.no_{name}"])
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
    changed = words["changed.param"]
    names = [changed.format(name=name, before=in_code(a), now=in_code(b)) for name, (a, b) in differing.items()]
    cut = words["changed.cut"].format(shown=MOST_MOVED) if len(moved) > MOST_MOVED else ""
    said = [
        words["changed.since"].format(where=where),
        words["changed.params"].format(names=", ".join(names)) if names else words["changed.no_params"],
        words["changed.values"].format(all=compared, moved=len(moved), cut=cut),
    ]
    most = moved.head(MOST_MOVED).rename(columns={"now": "value"})
    columns = {
        "system": [words[f"row.{system}"] for system in most["system"]],
        "part": [words[f"part.{part}"] for part in most["part"]],
        "measure": [words[f"metric.{metric}"] for metric in most["metric"]],
        "before": most["before"],
        "now": [spoken(row) for row in most.itertuples()],
        "n": most["n"],
        "documents": [str(count or MISSING) for count in most["clusters"]],
    }
    table = pd.DataFrame({words[f"column.{name}"]: column for name, column in columns.items()})
    shown = [html_table(table, words["changed.caption"], index=False, wide=True)] if len(moved) else []
    return [bullets(said), *shown]


def marked(row: Any) -> str:
    """A value with its mark, below it the interval."""
    return estimate(row).replace("\n", f" {row.mark}\n" if row.mark else "\n")


def numeral(value: float | None, digits: int = 0) -> str:
    """A number with commas and so many digits, a dash where there is none."""
    return MISSING if value is None or pd.isna(value) else f"{value:,.{digits}f}"


def named(table: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """The rows by their short name, below it that of the chapters."""
    return table.set_axis([f"{words[f'row.{system}']}\n{system}" for system in table.index], axis="index")

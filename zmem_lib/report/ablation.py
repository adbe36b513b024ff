"""What results/ holds, as tables, a figure and sentences: the ablation of a run, and the runs that were kept.

Where nothing is kept, one sentence says with which command it is made. A difference to the row `full` is taken seed by
seed; it is called clear only where the values of the two rows, over their seeds, do not overlap. A row of one seed has
no spread of its own: its value has to lie outside all those of `full`, and its interval over the questions outside that
of `full` in that seed.
"""

from collections.abc import Mapping
from math import comb
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.core.display import HTML, Markdown
from matplotlib.figure import Figure

from zmem_lib.ablation import PARTS, ROWS, is_off
from zmem_lib.evaluation.stats import SAMPLES, bootstrap_mean
from zmem_lib.meter import about
from zmem_lib.params import from_flat
from zmem_lib.report.canvas import new_figure
from zmem_lib.report.chapter_tables import selector_overview, with_n
from zmem_lib.report.figures import CYCLE
from zmem_lib.report.results import PAIRED, RESULTS, kept_in, read_kept
from zmem_lib.report.tables import bullets, estimate, grid, html_table
from zmem_lib.report.wording import points, told
from zmem_lib.tables import TEST_PARTS, in_order, no_rows

MEASURES = {  # name in tables: system, part, metric; of evidence, seen: where the corpus tells no kinds apart
    "evidence, rephrased": ("zmem-oracle", "rephrased", "answer_in_evidence"),
    "evidence, unasked": ("zmem-oracle", "unasked", "answer_in_evidence"),
    "evidence, seen": ("zmem-oracle", "seen", "answer_in_evidence"),
    "evidence, new": ("zmem-oracle", "new", "answer_in_evidence"), "recall@1, seen": ("zmem", "seen", "recall@1"),
    "recall@1, new": ("zmem", "new", "recall@1"), "exact, seen": ("zmem", "seen", "em"),
}  # fmt: skip
DRAWN = ("evidence, unasked", "evidence, seen", "evidence, new", "recall@1, seen", "recall@1, new")
RUN_COLUMNS = {  # of kept runs: system, metric
    "recall@1\nz": ("zmem", "recall@1"), "recall@1\nBM25": ("bm25", "recall@1"),
    "recall@1\ndense": ("dense", "recall@1"), "evidence\nright z": ("zmem-oracle", "answer_in_evidence"),
    "evidence\nwrong z": ("zmem-shuffled", "answer_in_evidence"), "exact\nz": ("zmem", "em"),
    "exact\nBM25": ("bm25", "em"), "exact\npassage": ("gold-passage", "em"),
}  # fmt: skip
WHOLE_ROWS = {"frozen": CYCLE[4], "plain": CYCLE[4], "full": CYCLE[0]}
Manifests = Mapping[str, Mapping[str, Any]]


def ablation(run: str, results: Path = RESULTS) -> list[Markdown | HTML | Figure]:
    """Sentences, table and figure of the ablation of a run; or the one sentence that says how to make it."""
    command = f"`zmem ablate params/{run}.yaml`"
    kept = kept_in(results / "ablations" / run)
    full = next((manifest for manifest in kept.values() if manifest["row"] == "full"), None)
    if full is None:
        lacking = "Its row `full`, to which all others are compared, is not kept" if kept else "No row of it is kept"
        return [Markdown(f"**Ablation of `{run}`.** {lacking} in `results/` yet: {command} makes it.")]
    same = {name: manifest for name, manifest in kept.items() if not differing(manifest, full)}
    values = measured(results / "ablations" / run, same)
    rows = compared(values)
    notes = [f"{note}: {command} makes them." for note in notes_on(kept, same, full)]
    shown: list[Markdown | HTML | Figure] = [bullets([*part_sentences(rows), *notes]), ablation_table(rows, same)]
    pairs = paired_parts(by_document(results / "ablations" / run, same), full["params"]["seed"])
    return [*shown, ablation_bars(rows, values), *([paired_table(pairs)] if len(pairs) else [])]


def generated_ids(run: str, results: Path = RESULTS) -> list[Markdown | HTML]:
    """Every way of choosing in the ablation's row with ids (method 2), of its first seed; or how to make that row."""
    parent = results / "ablations" / run
    kept = next((folder for folder, manifest in kept_in(parent).items() if manifest["row"] == "with-ids"), None)
    if kept is None:
        command = f"`zmem ablate params/{run}.yaml --rows with-ids`"
        return [Markdown(f"No ids were learned in a kept row of `{run}` either: {command} makes one.")]
    said = Markdown(f"The same in the ablation's row `{kept}`, where ids were learned as well.")
    return [said, selector_overview(read_kept(parent / kept, "selectors"))]


def measured(parent: Path, kept: Manifests) -> pd.DataFrame:
    """The measures of the kept rows, those that there are: row, seed, measure, value, its interval, n (questions)."""
    made = {folder: {"row": manifest["row"], "seed": manifest["seed"]} for folder, manifest in kept.items()}
    rows = pd.concat([read_kept(parent / folder, "summary").assign(**by) for folder, by in made.items()])
    places = pd.DataFrame.from_dict(MEASURES, orient="index", columns=["system", "part", "metric"])
    values = rows.dropna(subset="value").merge(places.rename_axis("measure").reset_index())
    if (values["measure"] == "evidence, rephrased").any():
        values = values[values["measure"] != "evidence, seen"]
    return values[["row", "seed", "measure", "value", "ci_low", "ci_high", "n"]]


def by_document(parent: Path, kept: Manifests) -> pd.DataFrame:
    """What every document got in the kept seeds of the row `full`, one below the other: the table by_document."""
    there = [folder for folder in kept if (parent / folder / "by_document.csv").is_file()]
    return pd.concat([no_rows("by_document"), *(read_kept(parent / folder, "by_document") for folder in there)])


def paired_parts(means: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Of each of PAIRED the documents that were new at one seed and seen at another: measure, what, value, interval, n.

    `what`: seen, new, and seen minus new; every document counts once, by its mean over the seeds of a part.
    """
    found = []
    for measure, (system, metric) in PAIRED.items():
        some = means[(means["system"] == system) & (means["metric"] == metric)]
        both = some.pivot_table(index="document", columns="part", values="value").reindex(columns=["seen", "new"])
        both = both.dropna().assign(difference=lambda pair: pair["seen"] - pair["new"])
        for what in both if len(both) else ():
            told_of = bootstrap_mean(both[what], SAMPLES, seed, clusters=both.index)
            found.append({"measure": measure, "what": what} | vars(told_of))
    return pd.DataFrame(found)


def paired_table(pairs: pd.DataFrame) -> HTML:
    """Measures by seen, new and their difference, of the same documents."""
    table = grid(pairs, ["measure"], ["what"], estimate, measure=PAIRED, what=("seen", "new", "difference"))
    table.insert(0, "documents", pairs.groupby("measure")["clusters"].max())
    return html_table(table.rename(columns={"difference": "seen − new"}), told("paired_table"))


def compared(values: pd.DataFrame) -> pd.DataFrame:
    """By row and measure: mean, low and high over the seeds, seeds, n, difference to `full`, and whether it is clear.

    The difference is the mean over the seeds that both rows have.
    """
    found = []
    for measure in in_order(values["measure"], MEASURES):
        by_row = values[values["measure"] == measure].set_index("seed")
        full = by_row[by_row["row"] == "full"]
        for row in in_order(by_row["row"], ROWS):
            own = by_row[by_row["row"] == row]
            shares = own["value"]
            gap = (shares - full["value"]).dropna()  # seed by seed
            found.append(
                {
                    "row": row, "measure": measure, "mean": shares.mean(), "low": shares.min(), "high": shares.max(),
                    "seeds": len(shares), "n": int(own["n"].max()), "difference": gap.mean(),
                    "clear": is_clear(own.loc[gap.index], full, full.loc[gap.index]),
                }
            )  # fmt: skip
    return pd.DataFrame(found)


def is_clear(own: pd.DataFrame, full: pd.DataFrame, common: pd.DataFrame) -> bool:
    """Whether a row's seeds differ from those of `full` that it has in `common`; one alone, from all of them too."""
    if len(own) != 1:
        return len(own) > 1 and _apart(own, common)
    return len(full) > 1 and _apart(own, full) and _apart(own, common, low="ci_low", high="ci_high")


def _apart(own: pd.DataFrame, other: pd.DataFrame, *, low: str = "value", high: str = "value") -> bool:
    """Whether what lies from the smallest `low` to the largest `high` does not meet the same of the other."""
    return bool(own[high].max() < other[low].min() or own[low].min() > other[high].max())


def differing(manifest: Mapping[str, Any], full: Mapping[str, Any]) -> list[str]:
    """Names of the parameters in which a kept row differs from `full` otherwise than by being that row."""
    here, there, own = manifest["params"], full["params"], {"run", "seed", *from_flat(manifest["overrides"])}
    names = (key for key in {*here, *there} - own if not key.startswith("machine."))
    return sorted(key for key in names if here.get(key) != there.get(key))


def notes_on(kept: Manifests, same: Manifests, full: Mapping[str, Any]) -> list[str]:
    """That rows are not kept though they are not off in the file; that others are left out, being made differently."""
    there = {manifest["row"] for manifest in same.values()}
    missing = [f"`{row}`" for row in ROWS if row not in there and not is_off(full["params"], row)]
    others = {folder: differing(manifest, full) for folder, manifest in kept.items() if folder not in same}
    named = ", ".join(f"`{folder}` ({', '.join(names)})" for folder, names in others.items())
    notes = [f"Not kept yet: {', '.join(missing)}"] if missing else []
    return notes + ([f"Left out, being made with other parameters than `full`: {named}"] if others else [])


def part_sentences(rows: pd.DataFrame) -> list[str]:
    """What was compared and how, then for every row the measures in which it differs clearly from `full`."""
    seeds = int(rows[rows["row"] == "full"]["seeds"].max())
    lines = [told("what_each_part_brings", seeds=seeds, chances=comb(2 * seeds, seeds) // 2)]
    others = rows[rows["row"] != "full"] if seeds > 1 else rows.iloc[:0]
    for row in in_order(others["row"], ROWS):
        own = rows[rows["row"] == row]
        clear: Any = own[own["clear"]].itertuples()
        said = [f"{one.measure} {points(one.difference)} points ({one.mean:.2f})" for one in clear]
        own_seeds = int(own["seeds"].max())
        name = f"Without **{row}**" if row in PARTS else f"**{row}**"
        name += f", of {own_seeds} seed{'s' * (own_seeds > 1)} only" if own_seeds < seeds else ""
        name += f" ({ROWS[row][1]})" if row in ROWS else ""
        lines.append(f"{name}: {'; '.join(said) or 'no clear difference'}.")
    return lines


def ablation_table(rows: pd.DataFrame, kept: Manifests) -> HTML:
    """Rows by measures: the mean over the seeds and its difference to `full`, below it the smallest and the largest."""
    table = grid(rows, ["row"], ["measure"], _cell, row=ROWS, measure=MEASURES)
    n = rows.groupby("measure")["n"].max()
    table.columns = [f"{name.replace(', ', chr(10))}\nn = {n[name]}" for name in table.columns]
    table.insert(0, "seeds", rows.groupby("row")["seeds"].max())
    revisions = {revision for manifest in kept.values() for revision in manifest["git_revisions"] if revision}
    shown = sorted({revision[:8] + revision[40:] for revision in revisions})  # with what says that files differed
    return html_table(table, told("ablation_table", revisions=shown))


def ablation_bars(rows: pd.DataFrame, values: pd.DataFrame) -> Figure:
    """A bar for every row's mean with its smallest and largest value, a panel for each measure; `full` as a line."""
    names = in_order(rows["row"], ROWS)
    panels = [name for name in DRAWN if (rows["measure"] == name).any()]
    figure, axes = new_figure(1, max(len(panels), 1), height=0.24 * len(names) + 1.3, sharey=True)
    for axis, measure in zip(axes, panels, strict=False):
        means = rows[rows["measure"] == measure].set_index("row")["mean"].reindex(names)
        axis.barh(names, means.fillna(0), color=[WHOLE_ROWS.get(row, CYCLE[5]) for row in names], height=0.72)
        dots = values[values["measure"] == measure]
        axis.plot(dots["value"], [names.index(row) for row in dots["row"]], "o", color="#222222", markersize=2.2)
        if "full" in names:
            axis.axvline(means["full"], color="#222222", linewidth=0.8, linestyle="--")
        axis.set(title=measure.replace(", ", "\n"), xlim=(0, 1.03))
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.grid(axis="y", visible=False)
    axes[0].invert_yaxis()  # sharey: the first row on top in every panel
    figure.supxlabel("share of questions; a dot for every seed, the dashed line is the row full", fontsize=9)
    return figure


def kept_runs(results: Path = RESULTS) -> list[Markdown | HTML]:
    """What each kept run was, and its main measures with intervals; or the sentence that says how to keep one."""
    kept = kept_in(results / "runs")
    if not kept:
        made = "`zmem keep RUN` keeps a finished run's tables"
        return [Markdown(f"**Kept runs.** None is kept in `results/` yet: {made}.")]
    rows = pd.concat([read_kept(results / "runs" / run, "summary").assign(run=run) for run in kept])
    places = pd.DataFrame.from_dict(RUN_COLUMNS, orient="index", columns=["system", "metric"]).rename_axis("column")
    rows = rows[rows["part"].isin(TEST_PARTS)].dropna(subset="value").merge(places.reset_index())
    rows = rows.assign(name=rows["run"] + ", " + rows["part"])
    order = [f"{run}, {part}" for run in kept for part in TEST_PARTS]
    table = grid(rows, ["name"], ["column"], estimate, name=order, column=RUN_COLUMNS)
    table = with_n(table, rows)
    used = ("params", "machine", "peak_gpu_memory_bytes")
    said = [
        told("run_sentence", name=name, spent=about(sum(one["seconds"].values())), **{key: one[key] for key in used})
        for name, one in kept.items()
    ]
    return [bullets(said), html_table(table, told("kept_runs"))]


def _cell(row: Any) -> str:
    gap = "" if row.row == "full" or pd.isna(row.difference) else f" ({points(row.difference)})"
    over_seeds = f"\n[{row.low:.2f}, {row.high:.2f}]" if row.seeds > 1 else ""
    return f"{row.mean:.2f}{gap}{over_seeds}"

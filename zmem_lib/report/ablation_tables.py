"""What results/ holds, as tables, a figure and sentences: the ablation of a run, and the runs that were kept.

Every function takes the name of a run or nothing, and the folder of results; where nothing is kept it returns one
sentence that says with which command it is made.
"""

from collections.abc import Mapping
from math import comb
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from zmem_lib.ablation import PARTS, ROWS
from zmem_lib.combinations import NO_LM
from zmem_lib.meter import about
from zmem_lib.report.compare_rows import MEASURES, compared, differing, measured, missing_rows, other_parameters
from zmem_lib.report.control_tables import selector_overview
from zmem_lib.report.figures import CYCLE, new_figure
from zmem_lib.report.results import RESULTS, kept_in, read_kept
from zmem_lib.report.system_tables import styled_table
from zmem_lib.tables import TEST_PARTS, in_order

DRAWN = ("evidence, unasked", "evidence, seen", "evidence, new", "recall@1, seen", "recall@1, new")
RUN_COLUMNS = {
    "recall@1<br>z": ("zmem", "recall@1"),
    "recall@1<br>BM25": ("bm25", "recall@1"),
    "recall@1<br>dense": ("dense", "recall@1"),
    "evidence<br>right z": ("zmem-oracle", "answer_in_evidence"),
    "evidence<br>wrong z": ("zmem-shuffled", "answer_in_evidence"),
    "exact<br>z": ("zmem", "em"),
    "exact<br>BM25": ("bm25", "em"),
    "exact<br>passage": ("gold-passage", "em"),
}
WHOLE_ROWS = {"frozen": CYCLE[4], "plain": CYCLE[4], "full": CYCLE[0]}
KEEP = "`zmem keep RUN` keeps a finished run's tables"


def ablation(run: str, results: Path = RESULTS) -> list[Markdown | Styler | Figure]:
    """Sentences, table and figure of the ablation of a run; or the one sentence that says how to make it."""
    command = f"`zmem ablate params/{run}.yaml`"
    kept = kept_in(results / "ablations" / run)
    full = next((manifest for manifest in kept.values() if manifest["row"] == "full"), None)
    if full is None:
        lacking = "Its row `full`, to which all others are compared, is not kept" if kept else "No row of it is kept"
        return [Markdown(f"**Ablation of `{run}`.** {lacking} in `results/` yet: {command} makes it.")]
    same = {name: manifest for name, manifest in kept.items() if not differing(manifest, full)}
    values = measured(results / "ablations" / run, same)
    there = compared(values)
    notes = [*missing_rows(same, full), *other_parameters(kept, full)]
    said = [*part_sentences(there), *(f"{note}: {command} makes them." for note in notes)]
    return [
        Markdown("\n".join(f"- {line}" for line in said)),
        ablation_table(there, same),
        ablation_bars(there, values),
    ]


def generated_ids(run: str, results: Path = RESULTS) -> list[Markdown | Styler]:
    """Every way of choosing in the ablation's row with ids (method 2), of its first seed; or how to make that row."""
    parent = results / "ablations" / run
    kept = [folder for folder, manifest in kept_in(parent).items() if manifest["row"] == "with-ids"]
    if not kept:
        command = f"`zmem ablate params/{run}.yaml --rows with-ids`"
        return [Markdown(f"No ids were learned in a kept row of `{run}` either: {command} makes one.")]
    return [
        Markdown(f"The same in the ablation's row `{kept[0]}`, where ids were learned as well."),
        selector_overview(read_kept(parent / kept[0], "selectors"), "selectors-with-ids"),
    ]


def part_sentences(there: pd.DataFrame) -> list[str]:
    """What was compared and how, then for every row the measures in which it differs clearly from `full`."""
    seeds = int(there.loc[there["row"] == "full", "seeds"].max())
    luck = f", which luck alone does in one comparison of {comb(2 * seeds, seeds) // 2}" if seeds > 1 else ""
    rule = (
        f"A difference is named where the values over the seeds do not overlap{luck}; of a row of one seed, where it "
        "lies outside all seeds of `full` and the two intervals over the questions do not meet; points are hundredths."
    )
    if seeds < 2:
        rule = "With one seed no difference can be told from luck, and none is named."
    lines = [f"**What each part brings**, against the row `full` of {_count(seeds, 'seed')}. {rule}"]
    for row in in_order(there["row"], tuple(ROWS)):
        if row == "full" or seeds < 2:
            continue
        mine = there[(there["row"] == row) & there["clear"]]
        said = [f"{one.measure} {_points(one.difference)} ({one.mean:.2f})" for one in mine.itertuples()]
        shows = f" ({ROWS[row][1]})" if row in ROWS else ""
        name = f"Without **{row}**" if row in PARTS else f"**{row}**"
        own = int(there.loc[there["row"] == row, "seeds"].max())
        name += f", of {_count(own, 'seed')} only" if own < seeds else ""
        lines.append(f"{name}{shows}: {'; '.join(said) if said else 'no clear difference'}.")
    return lines


def ablation_table(there: pd.DataFrame, kept: Mapping[str, Mapping[str, Any]]) -> Styler:
    """Rows by measures: the mean over the seeds and its difference to `full`, below it the smallest and the largest."""
    cells = there.assign(cell=[_cell(row) for row in there.itertuples()])
    table = cells.pivot(index="row", columns="measure", values="cell")
    table = table.reindex(
        index=in_order(there["row"], tuple(ROWS)), columns=in_order(there["measure"], tuple(MEASURES))
    )
    n = there.groupby("measure")["n"].max()
    table.columns = [f"{name.replace(', ', '<br>')}<br><small>n = {n[name]}</small>" for name in table.columns]
    table.insert(0, "seeds", there.groupby("row")["seeds"].max().map(str))
    revisions = {revision[:8] for manifest in kept.values() for revision in manifest["git_revisions"] if revision}
    caption = (
        "Mean over the seeds, behind it the difference to full in points, below it the smallest and the largest of "
        "several; n questions a seed. Evidence: the gold answer stands in what the right z writes. Same documents, "
        f"steps and batches in every row. Revisions of the code: {', '.join(sorted(revisions)) or 'unknown'}."
    )
    return styled_table(table.fillna("–").rename_axis(index=None), caption, "ablation")


def ablation_bars(there: pd.DataFrame, values: pd.DataFrame) -> Figure:
    """A bar for every row's mean with its smallest and largest value, a panel for each measure; `full` as a line."""
    rows = in_order(there["row"], tuple(ROWS))
    panels = [name for name in DRAWN if (there["measure"] == name).any()]
    figure, axes = new_figure(1, max(len(panels), 1), height=0.24 * len(rows) + 1.3, sharey=True)
    for axis, measure in zip(axes, panels, strict=False):
        mine = there[there["measure"] == measure].set_index("row").reindex(rows)
        axis.barh(rows, mine["mean"].fillna(0), color=[WHOLE_ROWS.get(row, CYCLE[5]) for row in rows], height=0.72)
        dots = values[values["measure"] == measure]
        axis.plot(dots["value"], [rows.index(row) for row in dots["row"]], "o", color="#222222", markersize=2.2)
        if "full" in rows:
            axis.axvline(mine.at["full", "mean"], color="#222222", linewidth=0.8, linestyle="--")
        axis.set(title=measure.replace(", ", "\n"), xlim=(0, 1.03))
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.grid(axis="y", visible=False)
    axes[0].invert_yaxis()  # sharey: the first row on top in every panel
    figure.supxlabel("share of questions; a dot for every seed, the dashed line is the row full", fontsize=9)
    return figure


def kept_runs(results: Path = RESULTS) -> list[Markdown | Styler]:
    """What each kept run was, and its main measures with intervals; or the sentence that says how to keep one."""
    kept = kept_in(results / "runs")
    if not kept:
        return [Markdown(f"**Kept runs.** None is kept in `results/` yet: {KEEP}.")]
    places = {place: name for name, place in RUN_COLUMNS.items()}
    frames = []
    for name in kept:
        summary = read_kept(results / "runs" / name, "summary")
        named = [places.get(place) for place in zip(summary["system"], summary["metric"], strict=True)]
        frames.append(summary.assign(column=named, run=name).dropna(subset=["column", "value"]))
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[rows["part"].isin(TEST_PARTS)]
    order = [f"{run}, {part}" for run in kept for part in TEST_PARTS]
    cells = rows.assign(
        cell=[f"{one.value:.2f}<br><small>[{one.ci_low:.2f}, {one.ci_high:.2f}]</small>" for one in rows.itertuples()],
        name=[f"{one.run}, {one.part}" for one in rows.itertuples()],
    )
    table = cells.pivot(index="name", columns="column", values="cell")
    table = table.reindex(index=in_order(cells["name"], tuple(order)), columns=[c for c in RUN_COLUMNS if c in table])
    table.insert(0, "n", cells.groupby("name")["n"].max().map(str))
    caption = (
        "Runs kept in results/: mean and 95 % interval over n questions. z: z-memory; evidence: the gold answer stands "
        "in what the right z, or another document's, writes; passage: the reader gets the gold passage."
    )
    said = Markdown("\n".join(f"- {run_sentence(name, manifest)}" for name, manifest in kept.items()))
    return [said, styled_table(table.fillna("–").rename_axis(index=None, columns=None), caption, "kept-runs")]


def run_sentence(name: str, manifest: Mapping[str, Any]) -> str:
    """What a kept run was: corpus, documents, model, block, steps, time and processor."""
    params, made_on = manifest["params"], manifest["machine"]
    where = made_on["gpu"] if manifest["peak_gpu_memory_bytes"] and made_on["gpu"] else made_on["processor"]
    corpus = (
        f"`{name}`: corpus `{params['corpus.name']}`, {params['corpus.documents']:,} seen and {params['corpus.new_documents']:,} new "
        f"documents"
    )
    took = f"{about(sum(manifest['seconds'].values()))} in all, on {where}"
    if params["lm.name"] == NO_LM:
        return f"{corpus}, the retrieval opponents alone; {took}"
    return (
        f"{corpus}, model `{params['lm.name']}`, {_count(params['memory.z_tokens'], 'soft token')} per document, "
        f"{params['train.steps']:,} steps; {took}"
    )


def _cell(row: tuple) -> str:
    gap = "" if row.row == "full" or pd.isna(row.difference) else f" ({100 * row.difference:+.0f})".replace("-", "−")
    over_seeds = f"<br><small>[{row.low:.2f}, {row.high:.2f}]</small>" if row.seeds > 1 else ""
    return f"{row.mean:.2f}{gap}{over_seeds}"


def _points(difference: float) -> str:
    return f"{100 * difference:+.0f} points".replace("-", "−")


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"

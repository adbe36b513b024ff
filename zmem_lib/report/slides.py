"""The four slides of a run: problem, model, set-up, results with cost; their sentences are in the run's language.

Takes the tables and plots of page one, whose verdict, headline table and costs they show; slides_pptx.py writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from IPython.core.display import HTML
from matplotlib.figure import Figure

from zmem_lib.packaged import title_of
from zmem_lib.params import Params
from zmem_lib.report.canvas import new_figure, save_figure
from zmem_lib.report.page import costs_by_step, headline, main_systems, marked, numeral
from zmem_lib.report.tables import MISSING, grid
from zmem_lib.report.verdict import reference, rule, setting, verdict
from zmem_lib.report.wording import COMPARED, CONTROLS, most_counted, phrases
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import TEST_PARTS

FILE = "slides.pptx"  # in the run's folder, and beside its page of findings in the book
BOUNDS = ("zmem-shuffled", "gold-passage", "closed-book")  # controls in the table of results, beside the main systems
SHOWN = ("recall@1", "em")  # measures of the table of results
BOXES = {  # of the drawing: centre, in tenths of the width and in quarters of the height
    "document": (0.8, 3.2), "blocks": (4.7, 3.2), "question": (0.8, 0.9), "choose": (3.0, 0.9), "model": (5.2, 0.9),
    "reader": (8.0, 0.9), "answer": (9.5, 0.9),
}  # fmt: skip
ARROWS = (  # from, to, what stands above the arrow
    ("document", "blocks", "learn"), ("question", "choose", ""), ("blocks", "choose", ""), ("choose", "model", ""),
    ("blocks", "model", ""), ("model", "reader", "evidence"), ("reader", "answer", ""),
)  # fmt: skip
SPENT = (  # columns of the table of results: head, column of costs_by_step, how it is scaled, digits
    ("results.stored", "bytes_stored", 1e-6, 2), ("results.write", "write_seconds", 1, 2),
    ("results.answer", "answer_seconds", 1, 3),
)  # fmt: skip
LEARNED, LEARNED_FILL, OTHER_FILL = ("blocks", "model"), "#cfe6f5", "#f2f2f2"


@dataclass(frozen=True)
class Slide:
    """A title, sentences in which only **...** is marked, at most one table of texts, figures beside it, one below."""

    title: str
    bullets: tuple[str, ...]
    table: pd.DataFrame | None = None
    caption: str = ""
    figures: tuple[tuple[Path, str], ...] = ()  # each with what it shows, in words
    below: tuple[Path, str] | None = None


def make_slides(tables: Mapping[str, pd.DataFrame], params: Params, folder: Path) -> list[Slide]:
    """The four slides of the run in `folder`; what a run has no rows for is left out."""
    words = phrases(params.report.language)
    return [
        Slide(words["problem.title"], tuple(words[f"problem.{key}"] for key in ("rag", "idea", "asked", "fails"))),
        model(tables, params, words, folder=folder),
        set_up(tables, params, words),
        results(tables, params, words, folder=folder),
    ]


def link(language: str) -> HTML:
    """The line of page one that leads to the slides, which lie beside that page."""
    return HTML(f'<p><a href="{FILE}">{phrases(language)["link"]}</a></p>')


def model(tables: Mapping[str, pd.DataFrame], params: Params, words: Mapping[str, str], *, folder: Path) -> Slide:
    """What is learned, written, chosen and answered, with this run's sizes, and a drawing of it."""
    parts = tables["docs"]["part"].value_counts()
    said = dict(params) | {name: f"{parts.get(name, 0):,}" for name in ("seen", "new")}
    if not params.has_lm:
        table = pd.DataFrame([(words["fact.docs"], words["fact.counts"].format(**said))])
        return Slide(words["model.title"], (words["model.none"],), table)
    said["select"] = words[f"select.{params.answer.select}"].format(**said)
    block = "kv" if params.memory.kind == "kv" else "width" if params.memory.z_width else "tokens"
    trained = "train" if params.train.lm else "train_z"
    bullets = [words[f"model.{key}"].format(**said) for key in (trained, "write", "choose", "answer")]
    scratch, name = words["fact.scratch"].format(**said), Path(title_of(params.lm.name)).name
    facts = {
        "lm": scratch if params.lm.name == "scratch" else name,
        "docs": words["fact.counts"].format(**said),
        "block": words[f"fact.{block}"].format(**said),
        "key": words["fact.numbers" if params.memory.key_width else "fact.none"].format(**said),
        "steps": f"{params.train.steps:,}",
        "write": f"{params.write.steps:,}",
    }
    table = pd.DataFrame([(words[f"fact.{name}"], value) for name, value in facts.items()])
    path = folder / "figures" / "scheme.png"
    save_figure(scheme(words), path)
    return Slide(words["model.title"], tuple(map(plain, bullets)), table, below=(path, words["scheme.shows"]))


def set_up(tables: Mapping[str, pd.DataFrame], params: Params, words: Mapping[str, str]) -> Slide:
    """Documents and questions, who is compared, the controls, what was held out, and how systems are told apart."""
    summary = tables["summary"]
    there = [name for name in SYSTEMS if (summary["system"] == name).any()]
    bullets = [setting(tables["docs"], tables["questions"], params)]
    for key, systems in (("rivals", COMPARED), ("controls", CONTROLS)):
        names = [words[f"row.{name}"] for name in there if name in systems]
        bullets += [words[f"setup.{key}"].format(n=len(names), names=", ".join(names))] if names else []
    bullets += [words["setup.blind"], rule(params)]
    asked = dict(list(summary[summary["part"].isin(TEST_PARTS) & summary["metric"].isin(SHOWN)].groupby("part")))
    counts = {part: most_counted(rows.itertuples(), words) for part, rows in asked.items()}
    rows = [(words[f"part.{part}"], counts[part]) for part in TEST_PARTS if part in counts]
    table = pd.DataFrame(rows, columns=[words["setup.part"], words["setup.n"]])
    return Slide(words["setup.title"], tuple(map(plain, bullets)), table)


def results(tables: Mapping[str, pd.DataFrame], params: Params, words: Mapping[str, str], *, folder: Path) -> Slide:
    """The verdict, the main systems' measures with intervals beside their costs, and two figures."""
    costs = costs_by_step(tables, params).set_index("system")
    bullets = verdict(tables, params)
    if {"zmem", "bm25"} <= set(costs.index):
        megabytes, minutes = costs["bytes_stored"] / 1e6, costs["train_seconds"] / 60
        stored = {name: f"{megabytes[name]:.2f}" for name in ("zmem", "bm25")}
        bullets.append(words["results.train"].format(minutes=f"{minutes['zmem']:.1f}", **stored))
    caption = words["results.caption"].format(reference=words[f"row.{reference(tables['summary'])}"])
    paths = {name: folder / "figures" / f"{name}.png" for name in ("quality", "writing")}
    drawn = tuple((path, words[f"results.{name}"]) for name, path in paths.items() if path.is_file())
    table = results_table(tables, costs, words)
    return Slide(words["results.title"], tuple(map(plain, bullets)), table, caption, drawn)


def results_table(tables: Mapping[str, pd.DataFrame], costs: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """Main systems and controls by measure and part, value over interval, and what they store and take; all texts."""
    rows = headline(tables["summary"], tables["pairs"])
    names = [*main_systems(tables["summary"]), *(name for name in BOUNDS if name in set(rows["system"]))]
    rows = rows[rows["system"].isin(names) & rows["metric"].isin(SHOWN)]
    cells = grid(rows, ["system"], ["part", "metric"], marked, metric=SHOWN).reindex(names).fillna(MISSING)
    n = rows.groupby(["part", "metric"])["n"].max()
    places = cells.columns.tolist()
    heads = [f"{words[f'part.{part}']}\n{words[f'metric.{metric}']}\nn = {n[part, metric]}" for part, metric in places]
    table, costs = cells.set_axis(heads, axis="columns"), costs.reindex(names)
    for key, column, scale, digits in SPENT:
        table[words[key]] = [numeral(value * scale, digits) for value in costs[column]]
    table.insert(0, "", [words[f"row.{name}"] for name in names])
    return table


def plain(sentence: str) -> str:
    """A sentence of Markdown without its marks for code and stress; those of bold stay."""
    return sentence.replace("**", "\0").replace("*", "").replace("`", "").replace("\0", "**")


def spans(sentence: str) -> list[tuple[str, bool]]:
    """The pieces of a sentence, and whether each is bold."""
    return [(piece, place % 2 == 1) for place, piece in enumerate(sentence.split("**")) if piece]


def scheme(words: Mapping[str, str]) -> Figure:
    """A drawing of how a document is stored, and of what happens between a question and its answer."""
    figure, (axis,) = new_figure(height=2.1)
    axis.set(xlim=(0, 10), ylim=(0, 4))
    axis.axis("off")
    boxes = {}
    for name, place in BOXES.items():
        fill = LEARNED_FILL if name in LEARNED else OTHER_FILL
        box = {"boxstyle": "round,pad=0.5", "facecolor": fill, "edgecolor": "#444444"}
        text = axis.text(*place, words[f"scheme.{name}"], ha="center", va="center", fontsize=9.5, bbox=box)
        boxes[name] = text.get_bbox_patch()
    for start, end, said in ARROWS:
        ends = {"patchA": boxes[start], "patchB": boxes[end], "arrowstyle": "-|>", "color": "#444444", "shrinkA": 2}
        axis.annotate("", xy=BOXES[end], xytext=BOXES[start], arrowprops=ends)
        if said:
            across, up = ((one + other) / 2 for one, other in zip(BOXES[start], BOXES[end], strict=True))
            axis.text(across, up + 0.15, words[f"scheme.{said}"], ha="center", va="bottom", fontsize=8.5)
    return figure

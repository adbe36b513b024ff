"""The four slides of a run: problem, model, set-up, results with cost, as a plain structure for two writers.

Takes the tables of page one by name (summary, pairs, costs, write_curve, docs, questions) and the run's folder with the
plots of page one, returns slides whose sentences are in the run's report_language. slides_pptx.py and slides_html.py
write them. The verdict, the headline table and the costs are those of page one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zmem_lib.params import Params
from zmem_lib.report.headline import costs_by_step, headline, main_systems, reference, train_seconds
from zmem_lib.report.slides_phrases import SLIDES
from zmem_lib.report.slides_scheme import scheme
from zmem_lib.report.system_tables import save_figure
from zmem_lib.report.verdict import rule, setting, verdict
from zmem_lib.report.wording import phrases
from zmem_lib.tables import COMPARED, CONTROLS, SYSTEMS, TEST_PARTS

BOUNDS = ("zmem-shuffled", "gold-passage", "closed-book")  # controls in the table of results, beside the main systems
SHOWN = ("recall@1", "em")  # measures of the table of results


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
    words = phrases(params.report.language) | SLIDES[params.report.language]
    return [
        problem(words),
        model(tables, params, words, folder=folder),
        set_up(tables, params, words),
        results(tables, params, words, folder=folder),
    ]


def problem(words: Mapping[str, str]) -> Slide:
    """What is asked, and what would refute it."""
    keys = ("rag", "idea", "asked", "fails")
    return Slide(words["problem.title"], tuple(words[f"problem.{key}"] for key in keys))


def model(tables: Mapping[str, pd.DataFrame], params: Params, words: Mapping[str, str], *, folder: Path) -> Slide:
    """What is learned, written, chosen and answered, with this run's sizes, and a drawing of it."""
    parts = tables["docs"]["part"].value_counts()
    said = dict(params) | {name: f"{parts.get(name, 0):,}" for name in ("seen", "new")}
    if params.lm.name == "none":
        table = pd.DataFrame([(words["fact.docs"], words["fact.counts"].format(**said))])
        return Slide(words["model.title"], (words["model.none"],), table)
    said["select"] = words[f"select.{params.answer.select}"].format(**said)
    trained = "train" if params.train.lm else "train_z"
    bullets = [words[f"model.{key}"].format(**said) for key in (trained, "write", "choose", "answer")]
    path = folder / "figures" / "scheme"
    save_figure(scheme(words), path)
    drawing = (path.with_suffix(".png"), words["scheme.shows"])
    return Slide(words["model.title"], tuple(map(plain, bullets)), sizes(params, words, said), below=drawing)


def sizes(params: Params, words: Mapping[str, str], said: Mapping[str, object]) -> pd.DataFrame:
    """Model, documents, block, key and steps of a run, a row each."""
    facts = {
        "lm": words["fact.scratch"].format(**said) if params.lm.name == "scratch" else Path(params.lm.name).name,
        "docs": words["fact.counts"].format(**said),
        "block": words["fact.width" if params.memory.z_width else "fact.tokens"].format(**said),
        "key": words["fact.numbers" if params.memory.key_width else "fact.none"].format(**said),
        "steps": f"{params.train.steps:,}",
        "write": f"{params.write.steps:,}",
    }
    return pd.DataFrame([(words[f"fact.{name}"], value) for name, value in facts.items()])


def set_up(tables: Mapping[str, pd.DataFrame], params: Params, words: Mapping[str, str]) -> Slide:
    """Documents and questions, who is compared, the controls, what was held out, and how systems are told apart."""
    summary = tables["summary"]
    there = [name for name in SYSTEMS if (summary["system"] == name).any()]
    bullets = [setting(tables["docs"], tables["questions"], params)]
    for key, names in (("rivals", COMPARED), ("controls", CONTROLS)):
        said = [words[f"row.{name}"] for name in there if name in names]
        if said:
            bullets.append(words[f"setup.{key}"].format(n=len(said), names=", ".join(said)))
    bullets += [words["setup.blind"], rule(params)]
    asked = summary[summary["part"].isin(TEST_PARTS) & summary["metric"].isin(SHOWN)].groupby("part")["n"].max()
    rows = [(words[f"part.{part}"], f"{asked[part]:,}") for part in TEST_PARTS if part in asked]
    table = pd.DataFrame(rows, columns=[words["setup.part"], words["setup.n"]])
    return Slide(words["setup.title"], tuple(map(plain, bullets)), table)


def results(tables: Mapping[str, pd.DataFrame], params: Params, words: Mapping[str, str], *, folder: Path) -> Slide:
    """The verdict, the main systems' measures with intervals beside their costs, and two figures."""
    costs = costs_by_step(
        tables["costs"], tables["summary"], tables["write_curve"], train_seconds=train_seconds(folder),
        start=params.write.start,
    ).set_index("system")  # fmt: skip
    bullets = verdict(tables, params)
    if {"zmem", "bm25"} <= set(costs.index):
        stored = {name: f"{costs.at[name, 'bytes_stored'] / 1e6:.2f}" for name in ("zmem", "bm25")}
        minutes = f"{costs.at['zmem', 'train_seconds'] / 60:.1f}"
        bullets.append(words["results.train"].format(minutes=minutes, **stored))
    caption = words["results.caption"].format(reference=words[f"row.{reference(tables['summary'])}"])
    table = results_table(tables, costs, words)
    return Slide(words["results.title"], tuple(map(plain, bullets)), table, caption, drawn(words, folder))


def results_table(tables: Mapping[str, pd.DataFrame], costs: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """Main systems and controls by measure and part, value over interval, and what they store and take; all texts."""
    rows = headline(tables["summary"], tables["pairs"])
    names = [*main_systems(tables["summary"]), *(name for name in BOUNDS if name in set(rows["system"]))]
    rows = rows[rows["system"].isin(names) & rows["metric"].isin(SHOWN)]
    cells = {(row.system, row.part, row.metric): _cell(row) for row in rows.itertuples()}
    columns = {"": [words[f"row.{name}"] for name in names]}
    for part in TEST_PARTS:
        for metric in SHOWN:
            mine = rows[(rows["part"] == part) & (rows["metric"] == metric)]
            if len(mine):
                head = f"{words[f'part.{part}']}\n{words[f'metric.{metric}']}\nn = {mine['n'].max()}"
                columns[head] = [cells.get((name, part, metric), "–") for name in names]
    costs = costs.reindex(names)
    columns[words["results.stored"]] = _numbers(costs["bytes_stored"] / 1e6, 2)
    columns[words["results.write"]] = _numbers(costs["write_seconds"], 2)
    columns[words["results.answer"]] = _numbers(costs["answer_seconds"], 3)
    return pd.DataFrame(columns)


def drawn(words: Mapping[str, str], folder: Path) -> tuple[tuple[Path, str], ...]:
    """Page one's plots of quality and of writing, where the run has them."""
    paths = {name: folder / "figures" / f"{name}.png" for name in ("quality", "writing")}
    return tuple((path, words[f"results.{name}"]) for name, path in paths.items() if path.is_file())


def plain(sentence: str) -> str:
    """A sentence of Markdown without its marks for code and stress; those of bold stay."""
    return sentence.replace("**", "\0").replace("*", "").replace("`", "").replace("\0", "**")


def spans(sentence: str) -> list[tuple[str, bool]]:
    """The pieces of a sentence, and whether each is bold."""
    return [(piece, place % 2 == 1) for place, piece in enumerate(sentence.split("**")) if piece]


def _cell(row: tuple) -> str:
    mark = f" {row.mark}" if row.mark else ""
    return f"{row.value:.2f}{mark}\n[{row.ci_low:.2f}, {row.ci_high:.2f}]"


def _numbers(values: pd.Series, digits: int) -> list[str]:
    return ["–" if pd.isna(value) else f"{value:.{digits}f}" for value in values]

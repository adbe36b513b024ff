"""What judges found, as tables and sentences: who judged, how much, at what cost, and on whose word a share rests."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Markdown
from pandas.io.formats.style import Styler

from zmem_lib.judges.corrected import BOTH, JUDGE, LEAST_LABELS, PEOPLE
from zmem_lib.judges.judgement import CHECKER_METRICS, RAGAS_METRICS, TRACE_METRICS
from zmem_lib.params import Params
from zmem_lib.report.figures import PARTS_SAID
from zmem_lib.report.system_tables import styled_table
from zmem_lib.tables import SYSTEMS, TEST_PARTS, in_order

GROUPS = {
    "ragas": RAGAS_METRICS, "RAGChecker, the whole and the choosing": CHECKER_METRICS[:5],
    "RAGChecker, the reader": CHECKER_METRICS[5:], "RAGBench": TRACE_METRICS,
}  # fmt: skip
MARKS = {BOTH: "*", PEOPLE: "†"}  # behind a share: who judged, where it is not the judge alone


def judges_said(about: Mapping[str, object], judged: pd.DataFrame, params: Params) -> Markdown:
    """Who judged what, how often that failed and what it cost; without a judge, that nobody was asked."""
    if about["judge"] == "none":
        return Markdown("No judge was asked (`judge: none`).")
    who = "at the address of `answer.api_url`" if about["judge"] == "api" else "a local model of entailment"
    model = str(about["model"])
    model = Path(model).name if Path(model).is_dir() else model  # a page says nothing of this machine's folders
    said = [f"The judge is `{_plain(model)}`, {who}. It was given {about['answers']} answers."]
    if about["judge"] == "api":
        said.append(
            f"Of {about['asked']} questions to it {about['unanswered']} got no reply and {about['unreadable']} none "
            "that could be used, even after its fault was shown to it. What several answers need was asked once: "
            f"{about['conversations']} conversations of {about['input_tokens']} tokens in and "
            f"{about['output_tokens']} out" + (f", for ${about['money']:.2f}." if about["money"] else ".")
        )
    return Markdown(" ".join([*said, _people(judged, params)]))


def judged_tables(judged: pd.DataFrame) -> list[HTML]:
    """A table for every part and group of measures: systems by measures, mean, interval and coverage; may be none."""
    parts = [part for part in TEST_PARTS if (judged["part"] == part).any()]
    tables = [_table(judged, part, group) for part in parts for group in GROUPS]
    return [HTML(table.to_html()) for table in tables if table is not None]


def _people(judged: pd.DataFrame, params: Params) -> str:
    """Whether people's verdicts corrected the judge's."""
    used = judged.loc[judged["part"].isin(TEST_PARTS) & (judged["by"] != JUDGE), "labels"].sum()
    if used:
        return (
            f"People gave {used} of these verdicts too. Shares with * are corrected by theirs "
            "(prediction-powered), shares with † are theirs alone, the others rest on the judge alone."
        )
    why = "`evaluate.human_labels` names no file"
    if params.evaluate.human_labels:
        name = _plain(Path(params.evaluate.human_labels).name)
        why = f"`{name}` is not there yet, or has fewer than {LEAST_LABELS} verdicts on each of them"
    return f"No share is corrected by people's verdicts ({why}): the intervals know nothing of the judge's mistakes."


def _table(judged: pd.DataFrame, part: str, group: str) -> Styler | None:
    rows = judged[(judged["part"] == part) & judged["metric"].isin(GROUPS[group])]
    if rows.empty:
        return None
    cells = rows.assign(cell=[_cell(row) for row in rows.itertuples()])
    table = cells.pivot(index="system", columns="metric", values="cell")
    table = table.reindex(index=in_order(rows["system"], SYSTEMS), columns=in_order(rows["metric"], GROUPS[group]))
    table.columns = [name.partition("_")[2].replace("_", " ") for name in table.columns]
    caption = (
        f"{group}, {PARTS_SAID[part]}: mean, 95 % interval, and of how many answers there is a verdict (coverage)."
    )
    name = f"judged-{part}-{table.shape[1]}-{table.columns[0].replace(' ', '-')}"
    return styled_table(table.rename_axis(index=None), caption, name)


def _cell(row: tuple) -> str:
    coverage = f"<small>{row.n} of {row.asked}</small>"
    if not row.n:
        return f"none<br>{coverage}"
    interval = f"<small>[{row.ci_low:.2f}, {row.ci_high:.2f}]</small>"
    return f"{row.value:.2f}{MARKS.get(row.by, '')}<br>{interval}<br>{coverage}"


def _plain(text: object) -> str:
    """A name without what would end the code that it is shown as."""
    return str(text).replace("`", "'")

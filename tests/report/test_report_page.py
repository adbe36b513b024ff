"""Page one's tables and plots, on kept runs: they say what the data frames say, in either language."""

import re
import warnings
from pathlib import Path

import pandas as pd
import pytest

from zmem_lib.params import read_params
from zmem_lib.report import page, page_plots
from zmem_lib.report.canvas import description
from zmem_lib.report.headline import costs_by_step
from zmem_lib.report.results import read_kept
from zmem_lib.report.wording import phrases
from zmem_lib.tables import COMPARED, TABLES

ROOT = Path(__file__).parents[2]
HANGUL = re.compile("[가-힣]")


@pytest.fixture(scope="module")
def kept():
    folder = ROOT / "results/runs/sleepqa"
    tables = {name: read_kept(folder, name) for name in ("summary", "pairs", "costs", "write_curve")}
    return tables | {"noise": noise()}


def noise():
    rows = [
        (system, part, kind, share, "f1", 0.8 - share, 0.7 - share, 0.9 - share, 30)
        for system in ("zmem", "bm25", "lm-rerank")
        for part in ("unasked-document", "new")
        for kind in ("hard negative", "changed answer")
        for share in (0.0, 0.4, 0.8)
    ]
    return pd.DataFrame(rows, columns=list(TABLES["noise"]))


@pytest.fixture(params=["en", "ko"])
def params(request):
    return read_params(ROOT / "params/sleepqa.yaml", [f"report.language={request.param}"])


def test_the_headline_shows_values_intervals_marks_and_the_budget(kept, params):
    html = page.headline_table(kept, params).data
    words = phrases(params.report.language)
    assert "0.65 ▲<br><small>[0.60, 0.70]</small>" in html  # BM25, recall@1 of unasked documents
    heads = [head for head in re.findall(r"<th[^>]*>([^<]+)</th>", html) if head != "&nbsp;"]
    assert heads[:2] == [words["part.unasked-document"], words["part.new"]]
    assert {words["head.items"], words["head.tokens"], words["metric.recall@1"]} <= set(heads)
    assert "n = 300" in html and "n = 46" in html and "recall@1" in html and "0.18–0.24" in html
    assert "bm25-asked" in html and "zmem-oracle" in html and "closed-book" in html and "zmem-similar" not in html
    assert "nan" not in html.lower() and bool(HANGUL.search(html)) is (params.report.language == "ko")


def test_the_cost_table_has_a_dash_where_nothing_was_measured(kept, params):
    curve = kept["write_curve"]
    spent = costs_by_step(kept["costs"], kept["summary"], curve, train_seconds=3203.9, start=params.write.start)
    html = page.costs_table(spent, curve, params).data
    rows = dict(re.findall(r"<small>([^<]+)</small></th>(.*?)</tr>", html, re.DOTALL))
    cells = {name: re.findall(r">([^<]*)</td>", row) for name, row in rows.items()}
    assert cells["zmem"][:4] == ["3,204", "1.435", "–", "0.0428"]
    assert cells["bm25"][:3] == ["–", "–", "0.30"] and cells["closed-book"][2] == "–"
    assert all(row[-2:] == ["0", row[-1]] for row in cells.values())  # nothing was paid
    paid = page.costs_table(spent.assign(money=0.00012), curve, params).data
    assert "0.1200" in paid and "nan" not in html.lower()


def test_page_one_has_four_plots_with_descriptions_and_no_missing_glyph(kept, params, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = page.page_plots(kept, tmp_path, params)
    assert [path.stem for path in sorted((tmp_path / "figures").iterdir())] == ["noise", "quality", "recall", "writing"]
    for figure in figures:
        assert bool(HANGUL.search(description(figure))) is (params.report.language == "ko")
        assert re.search(r"\d\.\d\d", description(figure)), "the values are said too"
        frame = figure.get_tightbbox()
        assert figure.get_size_inches()[0] == 7 and frame.x0 >= -0.01 and frame.x1 <= 7.01
        titles = [axis.get_title(loc) for axis in figure.axes for loc in ("left", "center")]
        assert any("n = " in title for title in titles)


def test_what_was_not_measured_is_said(kept, params, tmp_path):
    bare = kept | {name: kept[name].iloc[:0] for name in ("write_curve", "noise")}
    shown = page.page_plots(bare, tmp_path, params)
    words = phrases(params.report.language)
    assert [one.data for one in shown[2:]] == [words["plot.no_writing"], words["plot.no_noise"]]


def test_twenty_systems_leave_the_plots_readable(kept, params):
    summary, words = kept["summary"], phrases(params.report.language)
    rows = summary[summary["system"] == "dense"]
    many = pd.concat([summary, *(rows.assign(system=name) for name in COMPARED if name not in set(summary["system"]))])
    (quality, recall) = page_plots.quality_plot(many, words), page_plots.recall_plot(many, words)
    assert len(quality.axes[0].get_yticks()) <= 7
    labels = recall.axes[0].get_legend_handles_labels()[1]
    markers = [line.get_marker() for line in recall.axes[0].get_lines() if line.get_linestyle() == "None"]
    assert len(labels) == len(set(labels)) <= 7 and len(set(markers) - {"None", "_", "|"}) >= len(labels)


def test_a_run_without_a_memory_is_held_against_bm25(kept, params, tmp_path):
    pairs = kept["pairs"]
    alone = ~pairs["first"].str.startswith("zmem") & ~pairs["second"].str.startswith("zmem")
    summary = kept["summary"][~kept["summary"]["system"].str.startswith("zmem")]
    bare = kept | {"summary": summary, "pairs": pairs[alone], "write_curve": kept["write_curve"].iloc[:0]}
    html = page.headline_table(bare, params).data
    assert "▼" in html and ">zmem<" not in html and phrases(params.report.language)["system.bm25"] in html
    assert len(page.page_plots(bare, tmp_path, params)) == 4

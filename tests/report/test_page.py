"""Page one on kept runs: its data frames, and tables and plots that say the same in either language."""

import re
import warnings
from pathlib import Path

import pandas as pd
import pytest

from zmem_lib.params import read_params
from zmem_lib.report import figures, page
from zmem_lib.report.canvas import description
from zmem_lib.report.results import read_kept
from zmem_lib.report.wording import COMPARED, phrases
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import MEASURES, TABLES

ROOT = Path(__file__).parents[2]
HANGUL = re.compile("[가-힣]")


@pytest.fixture(scope="module")
def kept():
    folder = ROOT / "tests/kept/sleepqa"
    tables = {name: read_kept(folder, name) for name in ("summary", "pairs", "costs", "write_curve")}
    return tables | {"noise": noise()}


def noise():
    rows = [
        (system, part, kind, share, "f1", 0.8 - share, 0.7 - share, 0.9 - share, 30, 30)
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


MEASURED = {
    "train_seconds": 3000.0, "write_seconds": 143.5, "choose_seconds": 0.01, "evidence_seconds": 0.02,
    "read_seconds": 0.0128, "bytes_learned": 2_500_000, "bytes_text": 4_000_000, "bytes_gzip": 1_200_000,
}  # fmt: skip


def as_now(kept, **values):
    """The tables of a kept run, its costs with what was not measured when it was kept: of `zmem`, of others nothing."""
    costs = kept["costs"].copy()
    for name, value in (MEASURED | values).items():
        alike = name in ("bytes_text", "bytes_gzip")
        costs[name] = value if alike else costs["system"].eq("zmem") * value
    return kept | {"costs": costs}


def test_the_cost_table_has_a_dash_where_nothing_was_measured(kept, params):
    now = as_now(kept, build_seconds=3150.0)
    spent = page.costs_by_step(now, params)
    html = page.costs_table(spent, params).data
    rows = dict(re.findall(r"<small>([^<]+)</small></th>(.*?)</tr>", html, re.DOTALL))
    cells = {name: re.findall(r">([^<]*)</td>", row) for name, row in rows.items()}
    assert cells["zmem"][:7] == ["3,000", "1.435", "6.50", "10.0", "20.0", "12.8", "42.8"]
    assert cells["zmem"][8] == "2.50"
    assert cells["zmem"][9] == phrases(params.report.language)["cost.never"]
    assert cells["bm25"][:2] == ["–", "–"] and cells["closed-book"][2] == "–"
    assert cells["bm25"][8] == "–", "nothing learned for it"
    assert all(row[-2:] == ["0", row[-1]] for row in cells.values())  # nothing was paid
    assert "4.00 MB" in html and "1.20 MB" in html
    paid = page.costs_table(spent.assign(money=0.00012), params).data
    assert "0.1200" in paid and "nan" not in html.lower()


def test_what_an_earlier_version_kept_has_dashes_for_what_it_did_not_take_apart(kept, params):
    spent = page.costs_by_step(kept, params).set_index("system")
    unknown = ["train_seconds", "index_seconds", "choose_seconds", "evidence_seconds", "read_seconds", "break_even"]
    assert spent.loc["zmem", unknown].isna().all()
    assert spent.at["zmem", "answer_seconds"] > 0 and spent.at["bm25", "index_seconds"] > 0
    assert "nan" not in page.costs_table(spent.reset_index(), params).data.lower()


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
    drawn = page.main_systems(many)
    quality, recall = figures.quality_plot(many, drawn, words), figures.recall_curves(many, drawn, words)
    assert len(quality.axes[0].get_yticks()) <= 7
    labels = recall.axes[0].get_legend_handles_labels()[1]
    markers = [line.get_marker() for line in recall.axes[0].get_lines() if line.get_marker() in figures.MARKERS]
    assert len(labels) == len(set(labels)) <= 7 and len(set(markers)) == len(labels)


def test_a_run_without_a_memory_is_held_against_bm25(kept, params, tmp_path):
    pairs = kept["pairs"]
    alone = ~pairs["first"].str.startswith("zmem") & ~pairs["second"].str.startswith("zmem")
    summary = kept["summary"][~kept["summary"]["system"].str.startswith("zmem")]
    bare = kept | {"summary": summary, "pairs": pairs[alone], "write_curve": kept["write_curve"].iloc[:0]}
    html = page.headline_table(bare, params).data
    assert "▼" in html and ">zmem<" not in html and phrases(params.report.language)["system.bm25"] in html
    assert len(page.page_plots(bare, tmp_path, params)) == 4


def test_the_headline_has_every_compared_system_and_marks_those_that_the_test_tells_apart(kept):
    rows = page.headline(kept["summary"], kept["pairs"])
    systems = list(dict.fromkeys(rows["system"]))
    assert systems == [name for name in SYSTEMS if name in systems] and set(systems) <= {*COMPARED, *page.BESIDE}
    assert set(rows["metric"]) == {*MEASURES, "evidence_tokens"} and set(rows["part"]) == {"unasked-document", "new"}
    at = rows.set_index(["system", "part", "metric"])["mark"]
    assert at["bm25", "unasked-document", "recall@1"] == "▲" and at["bm25", "unasked-document", "em"] == "="
    assert at["text-twin", "unasked-document", "recall@1"] == "="
    assert (rows.loc[rows["system"].isin(["zmem", *page.BESIDE]), "mark"] == "").all()
    assert (rows["n"] > 0).all() and rows[["ci_low", "ci_high"]].notna().all().all()


def test_marks_are_of_the_other_system_and_by_holm_alone():
    row = {
        "part": "seen",
        "metric": "em",
        "first": "zmem",
        "value": 0.3,
        "ci_low": 0.1,
        "ci_high": 0.5,
        "p": 0.001,
        "p_holm": 0.2,
    }
    pairs = pd.DataFrame([row | {"second": "bm25"}, row | {"second": "dense", "p_holm": 0.01}])
    value = {"part": "seen", "metric": "em", "value": 0.4, "ci_low": 0.3, "ci_high": 0.5, "n": 9}
    summary = pd.DataFrame([value | {"system": system} for system in ("dense", "bm25", "zmem")])
    assert dict(page.headline(summary, pairs)[["system", "mark"]].values) == {"zmem": "", "bm25": "=", "dense": "▼"}
    turned = pairs.replace({"zmem": "dense", "dense": "bm25"}).iloc[1:]  # a run without a memory: against BM25
    assert dict(page.headline(summary.iloc[:2], turned)[["system", "mark"]].values) == {"bm25": "", "dense": "▲"}


def test_costs_say_what_was_measured_and_nothing_else(kept):
    params = read_params(ROOT / "params/sleepqa.yaml", ["write.start=mean"])
    now = as_now(kept, build_seconds=3143.5)
    at = page.costs_by_step(now, params).set_index("system")
    assert at.at["zmem", "train_seconds"] == 3000 and pd.isna(at.at["zmem", "index_seconds"])
    curve = kept["write_curve"].query("start == 'mean'")
    assert at.at["zmem", "write_seconds"] == curve.loc[curve["step"].idxmax(), "seconds_per_document"]
    assert pd.isna(at.at["bm25", "train_seconds"]) and pd.isna(at.at["bm25", "write_seconds"])
    assert pd.isna(at.at["hybrid", "break_even"]), "it is what others are held against"
    assert pd.isna(at.at["closed-book", "index_seconds"]) and at.at["closed-book", "bytes_stored"] == 0
    assert at["money"].eq(0).all() and at["input_tokens"].gt(0).all()
    unwritten = page.costs_by_step(now | {"write_curve": kept["write_curve"].iloc[:0]}, params)
    assert unwritten["write_seconds"].isna().all()


def test_building_is_said_to_be_repaid_after_so_many_questions(kept):
    params = read_params(ROOT / "params/sleepqa.yaml")
    now = as_now(kept, build_seconds=3150.0)
    costs = now["costs"].set_index("system")
    costs.loc["hybrid", ["build_seconds", "seconds_per_question"]] = [
        50.0,
        costs.at["zmem", "seconds_per_question"] + 2,
    ]
    now["costs"] = costs.reset_index()
    assert page.costs_by_step(now, params).set_index("system").at["zmem", "break_even"] == pytest.approx(1550)


def test_few_systems_are_drawn_and_the_best_of_the_others_are_among_them(kept):
    drawn = page.main_systems(kept["summary"])
    assert drawn == ["zmem", "zmem-oracle", "bm25", "bm25-asked", "dense", "hybrid-rrf", "hybrid"]
    assert page.main_systems(kept["summary"], most=5) == ["zmem", "zmem-oracle", "bm25", "dense", "hybrid"]


def test_every_compared_system_has_the_same_number_of_items(kept):
    params = read_params(ROOT / "params/tiny.yaml", ["answer.top_k=3", "memory.evidence_tokens=40"])
    dense = kept["summary"][kept["summary"]["system"] == "dense"]
    every = pd.concat([dense.assign(system=name) for name in (*COMPARED, *page.BESIDE)])
    html = page.headline_table(kept | {"summary": every}, params).data
    rows = dict(re.findall(r"<small>([^<]+)</small></th>(.*?)</tr>", html, re.DOTALL))
    items = {name: re.findall(r">([^<]*)</td>", row)[-2] for name, row in rows.items()}
    assert {items[name] for name in COMPARED if name != "long-context"} == {"3"}
    assert items["closed-book"] == "0" and items["gold-passage"] == "1"
    assert items["long-context"] == phrases("en")["head.as_fits"]

"""Tables and figures of the chapters, on made-up tables whose figures are known."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_tables import N, all_of, made_tables, without_systems
from matplotlib.figure import Figure

from zmem_lib.params import read_params
from zmem_lib.report import chapter_tables, figures, page
from zmem_lib.report.figures import COLOURS
from zmem_lib.report.findings import asked_or_not, findings
from zmem_lib.report.tables import bullets
from zmem_lib.report.verdict import setting, verdict
from zmem_lib.report.wording import COMPARED
from zmem_lib.systems.systems import SYSTEMS, which
from zmem_lib.tables import CHANCES, TABLES, TEST_PARTS, no_rows, write_table

HOSTILE = "<script>alert(1)</script> $x$ & 'q'"


@pytest.fixture
def tables():
    return made_tables()


@pytest.fixture(scope="module")
def params():
    return read_params("params/tiny.yaml", ["evaluate.bootstrap_samples=200"])


def test_what_the_right_z_keeps_is_said_and_shown_and_where_it_is_not_defined(tables, params):
    text = findings(tables, params)["short"][1]
    nearest = "over the gold passage's sentence nearest to the question"
    assert f"seen documents, {nearest}: 0.90 [0.80, 0.97] (n = 60 from 60 documents)" in text
    assert "seen documents, minus a random sentence of the gold passage: +0.30 [+0.20, +0.40] (n = 60 from" in text
    assert f"new documents, {nearest}: not defined (n = 60 from 60 documents)" in text
    html = chapter_tables.right_z_overview(tables["right_z"]).data
    assert "0.90<br><small>[0.80, 0.97]" in html and "not defined" in html and "nan" not in html
    assert len(findings(tables | {"right_z": no_rows("right_z")}, params)["short"]) == 1


def test_ways_of_choosing_stand_side_by_side_with_their_time(tables, params):
    said = findings(tables, params)["selecting"]
    assert len(said) == 2 and "`key` 0.40 [0.30, 0.50], 400.0 ms; `key_then_likelihood` 0.60 [" in said[0]
    html = chapter_tables.selector_overview(tables["selectors"]).data
    assert html.count("<small>[") == 4 * 5 and html.count(">600.0<") == 2 and "ms per question" in html
    curves = figures.recall_curves(tables["selectors"].rename(columns={"selector": "system"}))
    assert [axis.get_title() for axis in curves.axes] == [
        "seen documents\n(n = 60)", "new documents\n(n = 60)",
    ]  # fmt: skip


def test_documents_with_and_without_training_questions_stand_side_by_side(tables, params):
    assert not findings(tables, params)["asked"]  # no seen document is without
    summary = tables["summary"]
    third = summary[summary["part"] == "seen"].assign(part="unasked-document", n=30, clusters=15)
    third["value"] = third["value"] / 2
    both = pd.concat([summary, third])
    said = asked_or_not(both)
    assert "(n = 60 from 60 documents and 30 from 15 documents). Found first z-memory 0.20 and 0.10, " in said
    assert "z-memory's choice, read as text 0.30 and 0.15," in said
    assert ", BM25 0.80 and 0.40," in said
    html = chapter_tables.apart_overview(both).data
    assert (
        "exact match<br><small>with<" in html
        and "exact match<br><small>without<" in html
        and "n: with 60 from 60 documents, without 30 from 15 documents" in html
    )
    assert "zmem-shuffled" not in html and "zmem-oracle" in html and "nan" not in html
    assert "without<" not in chapter_tables.apart_overview(summary).data


def test_writing_is_told_from_every_start():
    rows = [("encode", step, 3.0 - step, 0.5 * step, 1.0 - step, 0.02 * step, 8) for step in (0, 1)]
    log = pd.DataFrame(rows, columns=list(TABLES["write_log"]))
    assert chapter_tables.writing_finding(log).data == (
        "- start `encode`: 3.00 → **2.00** nats per token in 1 steps, recited greedily 0% → **50%** of a text, 20 ms "
        "per document (8 documents in batches, 0% of them still being written)"
    )


def test_absent_parts_and_systems_are_left_out(tables, params):
    only_seen = {n: t[t["part"] == "seen"] if "part" in t else t for n, t in tables.items()}
    bare = only_seen | {"write_curve": no_rows("write_curve")}
    text = all_of(findings(bare, params))
    assert "new documents" not in text and "Writing" not in text
    controls_only = findings(without_systems(bare, "zmem", "bm25", "dense"), params)
    assert controls_only["controls"] and not controls_only["choosing"]
    for figure in (figures.quality_bars(bare["summary"], "em"), figures.recall_curves(bare["summary"])):
        assert isinstance(figure, Figure)
    assert isinstance(figures.write_quality(bare["write_curve"]), Figure)


def test_a_run_without_the_part_seen_has_a_whole_report(tables, params, tmp_path):
    """As with MIRAGE, where no test question is about a document that training asks about."""
    apart = {name: table.replace({"part": {"seen": "unasked-document"}}) for name, table in tables.items()}
    said = findings(apart, params)
    assert (
        "on unasked documents (n = 60 from 60 documents) z-memory with 0.20 is worse than BM25 with 0.80"
        in verdict(apart, params)[1]
    )
    assert len(said["answers"]) == len(said["evidence"]) == len(said["failures"]) == 2 == len(said["controls"]) / 2
    assert "seen documents" not in all_of(said)
    html = chapter_tables.summary_tables(apart["summary"]).data
    assert (
        html.count("<table") == 2
        and "Part unasked-document: n = 60 from 60 documents" in html
        and "Part seen" not in html
    )
    assert ">17<" in cost_html(apart, params)
    for figure in (figures.recall_curves(apart["summary"]), figures.failure_bars(apart["failures"])):
        assert [axis.get_title() for axis in figure.axes] == ["unasked documents\n(n = 60)", "new documents\n(n = 60)"]
    assert isinstance(figures.quality_bars(apart["summary"], "em"), Figure)
    ids = [f"{part}{i}" for part in ("seen", "new") for i in range(N)]
    questions = pd.DataFrame({"question_id": ids, "question": "?", "answers": [["x"]] * len(ids)})
    write_table(answers_of(ids, "e"), tmp_path / "answers_zmem.parquet", "answers")
    examples = chapter_tables.examples_or_counts(apart["failures"], questions, tmp_path, params).data
    assert examples.index("unasked-document") < examples.index(">new<")


def test_three_parts_stand_beside_each_other(tables, params):
    third = {n: t[t["part"] == "seen"].assign(part="unasked-document") for n, t in tables.items() if "part" in t}
    three = tables | {name: pd.concat([tables[name], table]) for name, table in third.items()}
    assert len(findings(three, params)["choosing"]) == 3
    for figure in (figures.recall_curves(three["summary"]), figures.failure_bars(three["failures"])):
        assert len(figure.axes) == 3
        figure.draw_without_rendering()  # lays it out
        assert figure.get_tightbbox().x0 >= -0.01 and figure.get_tightbbox().x1 <= 7.01
    order = [chapter_tables.summary_tables(three["summary"]).data.index(f"Part {part}:") for part in TEST_PARTS]
    assert order == sorted(order)


def test_what_was_run_says_how_many_questions_are_about_unasked_documents(params):
    rows = [("train", ["a"]), ("test", ["a"]), ("test", ["b"]), ("new-test", ["c"])]
    questions = pd.DataFrame(rows, columns=["split", "gold_doc_ids"])
    docs = pd.DataFrame({"part": ["seen", "seen", "new"]})
    said = setting(docs, questions, params)
    assert "2 seen documents with 2 test questions (1 of them about *unasked documents*" in said
    assert "unasked" not in setting(docs, questions.iloc[[0, 1, 3]], params)


def test_summary_table_has_every_system_in_order_with_intervals(tables):
    seen = tables["summary"][tables["summary"]["part"] == "seen"]
    html = chapter_tables.summary_tables(seen).data
    rows = re.findall(r"row_heading level0 row\d+\" >([^<]+)<", html)
    assert rows == [*SYSTEMS, *CHANCES] and "n = 60" in html
    assert html.count("<small>[") == len(SYSTEMS) * 3 + len(which(lambda one: one.own_ranking)) + len(CHANCES)
    assert f"Bold: best of {', '.join(COMPARED)}." in html
    bold = re.search(r"([^}]*)\{\s*font-weight: bold", html).group(1)
    assert set(re.findall(r"row(\d+)_", bold)) == {str(list(SYSTEMS).index("bm25"))}
    assert html == chapter_tables.summary_tables(seen).data  # the same bytes in every run


def cost_html(tables, params):
    return page.costs_table(page.costs_by_step(tables, params), params).data


def answers_of(ids, text):
    given = {"ranked_doc_ids": [["a"]] * len(ids), "ranked_scores": [[1.0]] * len(ids), "evidence_tokens": 1}
    spent = {"seconds": 0.1, "input_tokens": 1, "output_tokens": 1, "money": 0.0}
    items = [[text] for _ in ids]
    return pd.DataFrame(
        {"question_id": ids, "part": "seen", "kind": "", "evidence": items, "answer": text, **given, **spent}
    )


def test_the_costs_of_a_run_have_no_gaps(tables, params):
    html = cost_html(tables, params)
    assert ">3.00<" in html and ">2.00<" in html and ">17<" in html and "nan" not in html.lower()


def test_the_terminal_shows_every_system_in_order(tables, tmp_path):
    write_table(tables["summary"], tmp_path / "summary.parquet", "summary")
    lines = chapter_tables.printed_summary(tmp_path).splitlines()
    assert [line.split()[0] for line in lines[6:]] == [*SYSTEMS, *CHANCES]
    assert "nan" not in " ".join(lines) and "0.200" in lines[6]


def test_failure_counts(tables):
    html = chapter_tables.failure_table(tables["failures"]).data
    assert re.findall(r'class="data row0 col\d+" >(\d+)<', html) == ["12", "24", "18", "6", "60"]


def test_text_of_a_corpus_is_escaped(tables, params, tmp_path):
    ids = [f"{part}{i}" for part in ("seen", "new") for i in range(N)]
    questions = pd.DataFrame({"question_id": ids, "question": HOSTILE, "answers": [[HOSTILE]] * len(ids)})
    write_table(answers_of(ids, HOSTILE), tmp_path / "answers_zmem.parquet", "answers")
    html = chapter_tables.examples_or_counts(tables["failures"], questions, tmp_path, params).data
    assert html.count("&lt;script&gt;") == 4 * 2 * 2 * 4 and "<script" not in html and "mathjax_ignore" in html


def test_bars_show_the_values_and_intervals(tables):
    figure = figures.quality_bars(tables["summary"], "em")
    (axis,) = figure.axes
    assert [round(bar.get_height(), 2) for bar in axis.patches][:2] == [0.2, 0.2]
    assert len(axis.containers) == 2 * len(SYSTEMS)  # bars and intervals
    (axis,) = figures.quality_bars(tables["summary"], "answer_in_evidence", chapter_tables.CONTROLLED).axes
    labels = [container.get_label() for container in axis.containers if not container.get_label().startswith("_")]
    assert labels[0] == "zmem" and set(labels) == set(chapter_tables.CONTROLLED) and labels[-2:] == list(CHANCES)
    (axis,) = figure.axes
    assert axis.patches[0].get_facecolor()[:3] == pytest.approx(
        tuple(int(COLOURS["zmem"][i : i + 2], 16) / 255 for i in (1, 3, 5))
    )


def test_figures_fit_700_pixels_and_nothing_sticks_out(tables, tmp_path):
    steps = np.arange(1, 41)
    log = pd.DataFrame({"step": steps, "term": "recite", "split": "train", "nll": 4.0 / steps, "seconds": 1.0})
    dev = log.iloc[::10].assign(split="dev")
    write_log = tables["write_curve"].rename(columns={"recite_nll": "nll", "value": "recited"})
    drawn = [
        figures.loss_curves(pd.concat([log, dev, log.assign(term="read")])),
        figures.write_loss(write_log),
        figures.write_quality(tables["write_curve"]),
        figures.quality_bars(tables["summary"], "f1"),
        figures.recall_curves(tables["summary"]),
        figures.failure_bars(tables["failures"]),
        figures.quality_bars(tables["summary"], "answer_in_evidence", chapter_tables.CONTROLLED),
        figures.recall_curves(tables["selectors"].rename(columns={"selector": "system"})),
    ]
    for number, figure in enumerate(drawn):
        assert figure.get_size_inches()[0] == 7
        figure.savefig(tmp_path / f"{number}.png")
        frame = figure.get_tightbbox()  # inches
        assert frame.x0 >= -0.01 and frame.x1 <= 7.01, (number, frame)
        labelled = [axis for axis in figure.axes if axis.get_xlabel() or axis.get_ylabel()]
        inner = (
            figures.write_quality(tables["write_curve"]) and number == 2
        )  # its right panels share what is on the left
        assert inner or labelled == [axis for axis in figure.axes if axis.get_visible()]
    assert len(list(Path(tmp_path).glob("*.png"))) == len(drawn)


def test_a_section_without_sentences_shows_nothing():
    assert bullets([])._repr_markdown_().strip() == "" and bullets([])._repr_markdown_()
    assert bullets(["one", "two"])._repr_markdown_() == "- one\n- two"

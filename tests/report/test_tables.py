"""The one way to a table: order, numbers, missing cells, the best value, escaping; and texts with their licence."""

import re

import pandas as pd
import pytest
from conftest import ROOT

from zmem_lib.params import changed, read_params
from zmem_lib.report import chapter_tables
from zmem_lib.report.tables import attribution, bullets, cut, estimate, grid, html_table, text_table
from zmem_lib.tables import write_table

PARAMS = changed(read_params(ROOT / "params/smoke.yaml"), {"corpus.name": "squad", "corpus.subset": "v1.1"})
HOSTILE = "<script>alert(1)</script> $x$ & 'q'"
MARK = "Zwickelmark"


@pytest.fixture
def rows():
    places = [(system, part, metric) for system in ("own", "bm25", "zmem") for part in ("new", "seen")
              for metric in ("f1", "em") if (system, part) != ("own", "new")]  # fmt: skip
    return pd.DataFrame([(*place, 0.5, 0.4, 0.6) for place in places],
                        columns=["system", "part", "metric", "value", "ci_low", "ci_high"])  # fmt: skip


def test_a_grid_is_in_the_order_of_the_project_and_of_the_caller(rows):
    table = grid(rows, ["system"], ["part", "metric"], estimate, metric=("em", "f1"))
    assert list(table.index) == ["zmem", "bm25", "own"], "what has no place comes last"
    assert list(table) == [("seen", "em"), ("seen", "f1"), ("new", "em"), ("new", "f1")]
    assert table.at["bm25", ("new", "em")] == "0.50\n[0.40, 0.60]" and pd.isna(table.at["own", ("new", "em")])
    turned = grid(rows.iloc[::-1], ["part", "system"], ["metric"], estimate, system=("own", "zmem"), metric=("em",))
    assert list(turned.index)[:3] == [("seen", "own"), ("seen", "zmem"), ("seen", "bm25")]
    assert list(turned) == ["em", "f1"]
    assert grid(rows.iloc[:0], ["system"], ["metric"], estimate).empty


def test_cells_are_shown_by_what_they_hold():
    table = pd.DataFrame({"a\nsmall": ["0.50\n[0.40, 0.60]\n3 of 4", None], "n": [1234567, 0], "share": [0.126, None]})
    html = html_table(table, "Said.").data
    assert re.findall(r'<td[^>]*class="data row0[^>]*>(.*?)</td>', html) == [
        "0.50<br><small>[0.40, 0.60]<br>3 of 4</small>", "1,234,567", "0.13",
    ]  # fmt: skip
    assert re.findall(r'<td[^>]*class="data row1[^>]*>(.*?)</td>', html) == ["–", "0", "–"]
    assert "a<br><small>small</small></th>" in html and ">Said.</p>" in html and 'aria-describedby="about-' in html
    assert html == html_table(table, "Said.").data, "the same bytes in every run"
    assert "<p" not in html_table(table).data and "aria-describedby" not in html_table(table).data


def test_the_best_is_bold_and_a_table_without_index_begins_at_the_left():
    table = pd.DataFrame({"x": [1, 2]}, index=["a", "b"])
    html = html_table(table, bold=table == 2).data
    bold = re.search(r"([^}]*)\{\s*font-weight: bold", html)[1]
    assert re.findall(r"row(\d)_col(\d)", bold) == [("1", "0")] and "bold" not in html_table(table).data
    plain = html_table(table, index=False).data
    assert "row_heading" in html and ">a<" not in plain and "text-align: left" in plain


def test_cells_heads_and_captions_are_escaped_and_kept_from_mathjax():
    table = pd.DataFrame({HOSTILE: [HOSTILE, f"x\n{HOSTILE}"]}, index=[HOSTILE, "b"])
    html = html_table(table, HOSTILE, wide=True).data
    assert "<script" not in html and html.count("&lt;script&gt;") == 5
    assert html.count("tex2jax_ignore mathjax_ignore") == 2, "the caption and the table"
    shown = text_table(table, PARAMS, {}).data
    assert "<br>" not in shown, "a line break of a text has no meaning"
    assert set(re.findall(r"</?(\w+)", shown)) == {"style", "table", "thead", "tbody", "tr", "th", "td", "p", "small"}


def test_a_list_without_sentences_shows_nothing():
    assert bullets([])._repr_markdown_().strip() == "" and bullets([])._repr_markdown_()
    assert bullets(["one", "two"])._repr_markdown_() == "- one\n- two"
    assert cut("a  b\nc", 5) == "a b c" and cut("abcdef", 5) == "abcd…"


def marked(tmp_path):
    """What every function shows that shows a text: each text of each table holds MARK."""
    texts = pd.DataFrame({"doc_id": ["a"], "question": f"{MARK}?", "evidence": MARK})
    questions = texts.assign(question_id="q", answers=[[MARK]])
    answers = pd.DataFrame(
        {"question_id": ["q"], "part": "seen", "kind": "", "ranked_doc_ids": [["a"]], "ranked_scores": [[1.0]],
         "evidence": [[MARK]], "evidence_tokens": 1,
         "answer": MARK, "seconds": 0.1, "input_tokens": 1, "output_tokens": 1, "money": 0.0}
    )  # fmt: skip
    write_table(answers, tmp_path / "answers_zmem.parquet", "answers")
    failures = pd.DataFrame({"question_id": ["q"], "system": "zmem", "part": "seen", "failure": "wrong z"})
    counts = pd.DataFrame({"what": ["asked", "kept"], "n": [7, 1]})
    return {
        "texts": lambda params: text_table(texts, params, {"documents": 1}).data,
        "asked": lambda params: chapter_tables.asked_table(texts, counts, params).data,
        "failures": lambda params: chapter_tables.examples_or_counts(failures, questions, tmp_path, params).data,
    }


@pytest.mark.parametrize("name", ["texts", "asked", "failures"])
def test_every_place_shows_texts_with_their_licence_or_numbers_alone(name, tmp_path):
    place = marked(tmp_path)[name]
    assert MARK in place(PARAMS) and "CC BY-SA 4.0" in place(PARAMS)
    hidden = place(changed(PARAMS, {"corpus.publish_text": False}))
    assert MARK not in hidden and re.search(r"\b1\b", hidden)


def test_the_corpus_made_here_needs_no_licence_and_a_second_corpus_has_its_own():
    assert attribution(changed(PARAMS, {"corpus.name": "synthetic", "corpus.subset": ""})) == ""
    assert "new documents under that of their own" in attribution(changed(PARAMS, {"corpus.new_path": "new"}))
    assert "Data" not in attribution(PARAMS) and "squad v1.1" in attribution(PARAMS)

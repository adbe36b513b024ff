"""Tables and sentences of chapters 01 and 02: what a corpus's texts become in HTML, and what is counted."""

import re

import pandas as pd
import pytest

from zmem_lib.data.corpus import load_corpus
from zmem_lib.data.rows import Corpus
from zmem_lib.data.tuples import make_tuples
from zmem_lib.params import read_params
from zmem_lib.report import corpus_tables


@pytest.fixture(scope="module")
def params():
    return read_params("params/smoke.yaml")


@pytest.fixture(scope="module")
def corpus(params):
    return load_corpus(params)


def test_markup_shows_as_text_in_the_examples_of_both_chapters(corpus, params):
    tuples = make_tuples(corpus.docs, corpus.questions, 0)
    tables = [
        corpus_tables.example_documents(corpus.docs, params),
        corpus_tables.example_questions(corpus.docs, corpus.questions, params),
        corpus_tables.example_tuples(tuples, params),
    ]
    for table in tables:
        assert table.data.startswith('<div class="mathjax_ignore tex2jax_ignore"')
        assert set(re.findall(r"</?(\w+)", table.data)) <= {"div", "table", "thead", "tbody", "tr", "th", "td"}
    for table in (tables[0], tables[2]):
        assert table.data.count("&lt;script&gt;window.zmemHacked = 1&lt;/script&gt;") == params.markup_documents == 2
        assert "$x^2$ \\(y\\)" in table.data and "**bold** [x](javascript" in table.data


def test_the_source_table_says_what_was_left_out_and_shows_it_as_text():
    dropped = {"rows <b>without</b> $x$": 1234, "others": 0}
    corpus = Corpus(pd.DataFrame(), pd.DataFrame(), licence="CC <i>0</i>", source="a|b, commit 0123", dropped=dropped)
    html = corpus_tables.source_table(corpus).data
    assert "left out: rows &lt;b&gt;without&lt;/b&gt; $x$" in html and ">1,234<" in html and ">0<" in html
    assert "CC &lt;i&gt;0&lt;/i&gt;" in html and "a|b, commit 0123" in html and "mathjax_ignore" in html


def test_chapter_one_sums_up_what_was_left_out(corpus):
    said = corpus_tables.corpus_finding(
        Corpus(corpus.docs, corpus.questions, licence="", source="", dropped={"a": 1000, "b": 2})
    ).data
    assert "24 seen and 8 new documents" in said and "1,002 rows of the corpus were left out" in said


def test_chapter_two_counts_the_questions_about_documents_that_training_never_names(corpus):
    assert "**0 of the 96 test questions**" in corpus_tables.unasked_finding(corpus.questions).data
    bare = corpus.questions["gold_doc_ids"].str[0].isin(["person-0001", "person-0002"])
    fewer = corpus.questions[~(bare & (corpus.questions["split"] == "train"))]
    assert "**8 of the 96 test questions**" in corpus_tables.unasked_finding(fewer).data


def test_the_answer_rate_follows_the_rule_of_the_run():
    tuples = pd.DataFrame({"evidence": ["임수경을 보았다.", "x"], "answers": [["임수경"], ["y"]]})
    rates = [
        corpus_tables.answer_rate(tuples, read_params("params/tiny.yaml", [f"corpus.normalisation={rule}"])).value
        for rule in ("squad", "korquad")
    ]
    assert rates == [0, 0.5]

"""Chapters 01 and 02 executed on a corpus of known texts: what is counted, and that no text becomes markup."""

from io import StringIO

import nbformat
import pandas as pd
import pytest
from conftest import ROOT, zmem
from markup import IN_TEXT, with_markup, write_folder

from zmem_lib.data.corpus import load_corpus
from zmem_lib.params import changed, read_params

JOINED = "임수경을 보았다."  # holds the answer as part of a word: a hit by KorQuAD's rule alone


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder after two chapters; two of its seen documents have no training question."""
    smoke = read_params(ROOT / "params/smoke.yaml")
    corpus = load_corpus(changed(smoke, {"corpus.documents": 31}))
    docs, questions = with_markup(corpus.docs.assign(part="seen"), corpus.questions, n=len(corpus.docs))
    docs.loc[len(docs)] = {"doc_id": "korean", "title": "임수경", "text": JOINED, "part": "seen"}
    asked = {"question_id": "k", "question": "누구?", "answers": ["임수경"], "gold_doc_ids": ["korean"]}
    questions.loc[len(questions)] = {**asked, "split": "test", "kind": "", "answer_start": 0, "evidence": JOINED}
    place = write_folder(docs, questions, tmp_path_factory.mktemp("corpus"))
    settings = {"corpus.name": "folder", "corpus.path": str(place), "corpus.normalisation": "korquad"}
    seen = load_corpus(changed(smoke, settings)).docs.query("part == 'seen' and doc_id != 'korean'")["doc_id"]
    bare = questions["gold_doc_ids"].str[0].isin(list(seen[:2])) & (questions["split"] == "train")
    write_folder(docs, questions[~bare], place)
    runs = tmp_path_factory.mktemp("runs")
    done = zmem("run", "params/smoke.yaml", "--runs", runs, "--to", "2", "--set",
                *(f"{key}={value}" for key, value in settings.items()))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return runs / "smoke"


def outputs(path):
    """What each cell of an executed notebook shows, as HTML or else Markdown or text, by the cell's id."""
    shown = {}
    for cell in nbformat.read(path, as_version=4).cells:
        data = [output.get("data", {}) for output in cell.get("outputs", [])]
        kinds = ("text/html", "text/markdown", "text/plain")
        shown[cell.id] = "".join(next(one[kind] for kind in kinds if kind in one) for one in data if one)
    return shown


def test_chapter_one_counts_documents_questions_and_what_was_left_out(run):
    shown = outputs(run / "01_corpus.ipynb")
    questions = pd.read_parquet(run / "questions.parquet")
    assert "**24 seen and 8 new documents**" in shown["cell-21"]
    assert f"**{len(questions):,} questions**" in shown["cell-21"]
    n = (questions["split"] == "train").sum()
    assert f"{n:,} train, " in shown["cell-21"] and f"Training asks about {trained(questions)} of" in shown["cell-21"]
    assert "licence" in shown["cell-05-table"] and "source" in shown["cell-05-table"]
    assert "32 different titles stand over 32 documents." in shown["cell-17"]


def trained(questions):
    return len(set().union(*questions.loc[questions["split"] == "train", "gold_doc_ids"]))


def test_markup_shows_as_text_in_the_examples_of_both_chapters(run):
    first, second = outputs(run / "01_corpus.ipynb"), outputs(run / "02_tuples.ipynb")
    for html in (first["cell-12"], second["cell-14"]):
        assert "&lt;script&gt;window.zmemHacked = 1&lt;/script&gt;" in html and "<script" not in html
        assert "$x^2$ \\(y\\)" in html and "**bold** [x](javascript" in html and "mathjax_ignore" in html
    assert IN_TEXT not in first["cell-12"] + second["cell-14"]
    assert first["cell-13"].count("<tr>") > 2, "every question about the first document"


def test_chapter_two_counts_the_questions_about_documents_that_training_never_names(run):
    questions = pd.read_parquet(run / "questions.parquet")
    named = set().union(*questions.loc[questions["split"] == "train", "gold_doc_ids"])
    test = questions[questions["split"] == "test"]
    n = test["gold_doc_ids"].map(named.isdisjoint).sum()
    assert n >= 2 and f"**{n} of the {len(test)} test questions**" in outputs(run / "02_tuples.ipynb")["cell-08-count"]


def test_the_answer_rate_follows_the_rule_of_the_run(run):
    shown = outputs(run / "02_tuples.ipynb")
    tuples = pd.read_parquet(run / "tuples.parquet")
    assert (tuples["evidence"] == JOINED).sum() == 1
    assert (
        f"**{len(tuples):,} tuples**" in shown["cell-18"] and "an answer in **1.000** of the tuples" in shown["cell-18"]
    )
    table = pd.read_html(StringIO(shown["cell-07-table"]))[0]
    table.columns = table.columns.get_level_values(0)  # below it is the name of the index
    assert list(table.iloc[:, 0]) == ["train", "dev", "test", "new-dev", "new-test"]
    assert (table["pairs"] - table["without evidence"] == table["tuples"]).all()
    assert table["tuples"].sum() == len(tuples)

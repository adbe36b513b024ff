"""Runs side by side: which belong together, what is left out and why, and a page that shows what the tables hold."""

import re

import pandas as pd
import pytest
from fake_runs import SECRET, fake_run

from zmem_lib.params import changed
from zmem_lib.report.book import BOOK, comparison
from zmem_lib.report.compare import (
    best_retriever,
    measures,
    model_groups,
    model_name,
    overview,
    parameters,
    read_runs,
    size_curves,
    size_groups,
    spoken_count,
    write_page,
)
from zmem_lib.tables import read_table, write_table

MARKUP = "<b>x</b>$y$_z_"


def made(params, runs, changes, *, value=0.5):
    """A finished run that nobody executed, with as many documents as it asked for."""
    params = changed(params, changes)
    folder = fake_run(params, runs, value=value)
    parts = ["seen"] * params.corpus.documents + ["new"] * params.corpus.new_documents
    docs = pd.DataFrame({"doc_id": "d", "title": "t", "text": SECRET, "part": parts})
    write_table(docs, folder / "docs.parquet", "docs")
    return folder


@pytest.fixture
def runs(smoke_params, tmp_path):
    """Three sizes, another model, one without a model, one of another version."""
    for name, size, value in (("c-24", 24, 0.3), ("a-96", 96, 0.7), ("b-48", 48, 0.5)):
        made(smoke_params, tmp_path, {"run": name, "corpus.documents": size}, value=value)
    made(smoke_params, tmp_path, {"run": "wide", "lm.hidden_size": 128})
    unread = ("answer.long_context_tokens", "answer.noise_questions", "corpus.absent_questions", "train.id_steps")
    alone = {"run": "bare", "lm.name": "none", "corpus.subset": MARKUP, **dict.fromkeys(unread, 0)}
    folder = made(smoke_params, tmp_path, alone)
    for name in ("summary", "costs"):
        table = read_table(folder / f"{name}.parquet", name)
        write_table(table[table["system"].isin(["bm25", "dense"])], folder / f"{name}.parquet", name)
    for number in (3, 4):
        (folder / f"manifest_{number:02d}.json").unlink()
    old = made(smoke_params, tmp_path, {"run": "old"})
    (old / "params.yaml").write_text((old / "params.yaml").read_text() + "forgotten: 1\n")
    return tmp_path


NAMES = ["c-24", "a-96", "b-48", "wide", "bare", "old"]


def test_a_run_of_another_version_is_left_out_with_the_reason(runs):
    found, left_out = read_runs(runs, NAMES)
    assert [run.name for run in found] == NAMES[:-1]
    assert list(left_out) == ["old"] and "'forgotten'" in left_out["old"]


def test_runs_of_one_curve_differ_in_their_size_only(runs):
    found, _ = read_runs(runs, NAMES)
    (group,) = size_groups(found)
    assert [(run.name, run.size) for run in group] == [("c-24", 32), ("b-48", 56), ("a-96", 104)]
    curves = size_curves(group)
    zmem = curves[(curves["system"] == "zmem") & (curves["what"] == "recall@1, new")]
    assert zmem[["documents", "value", "ci_low", "n"]].values.tolist() == [
        [32, 0.3, pytest.approx(0.2), 40], [56, 0.5, 0.4, 40], [104, 0.7, pytest.approx(0.6), 40],
    ]  # fmt: skip
    assert set(curves["what"]) == {"recall@1, seen", "recall@1, new", "bytes_stored", "seconds_per_question"}
    assert set(curves["system"]) == {"zmem", "bm25", "dense"}, "controls need not find the document"
    assert curves.loc[curves["what"] == "bytes_stored", "value"].unique().tolist() == [0.001]


def test_models_are_compared_on_one_corpus(runs):
    found, _ = read_runs(runs, NAMES)
    (group,) = model_groups(found)
    assert [run.name for run in group] == NAMES[:4]
    assert model_name(group[0]) == "scratch, 0.1 M weights" and model_name(group[3]) == "scratch, 0.5 M weights"
    assert model_groups(found[:3]) == []
    assert [spoken_count(n) for n in (494_032_768, 3_085_938_688, 99.6e6)] == ["494 M", "3.1 B", "100 M"]


def test_the_best_retriever_is_chosen_among_retrievers(runs):
    rows = [("zmem", 0.9), ("text-twin", 0.8), ("dense", 0.6), ("bm25", 0.6), ("hybrid", 0.5), ("zmem-oracle", 1.0)]
    summary = pd.DataFrame(rows, columns=["system", "value"]).assign(metric="recall@1")
    assert best_retriever(summary) == "bm25"
    assert best_retriever(summary[summary["system"].str.startswith("zmem")]) is None
    found = measures(read_runs(runs, ["bare"])[0])
    assert set(found["system"]) == {"bm25"} and set(found["part"]) == {"seen", "new"}


def test_a_run_without_a_model_has_no_weights_and_no_training(runs):
    table = overview(read_runs(runs, NAMES)[0])
    assert table.loc["bare"].isna().sum() == 4 and not table.loc["wide"].isna().any()
    assert table.loc["a-96", ["seen documents", "new documents"]].tolist() == [96, 8]


def test_parameters_that_differ_stand_first(runs):
    values, differ = parameters(read_runs(runs, ["c-24", "a-96", "wide"])[0])
    assert list(values.index[:2]) == ["corpus.documents", "lm.hidden_size"]
    assert differ == {"corpus.documents", "lm.hidden_size"}
    assert values.loc["corpus.documents"].tolist() == [24, 96, 24]
    assert "run" not in values.index and "seed" in values.index


def test_the_page_shows_every_run_and_no_markup_of_theirs(runs, tmp_path):
    (tmp_path / "page").mkdir()
    page = write_page(*read_runs(runs, NAMES), tmp_path / "page").read_text()
    for name in NAMES:
        assert name in page
    assert "<b>x</b>" not in page and "&lt;b&gt;x&lt;/b&gt;$y$_z_" in page and SECRET not in page
    assert "0.70<br><small>[0.60, 0.80]</small>" in page and page.index(">corpus.documents<") < page.index(">seed<")
    assert page.count("<table") == page.count("<p class") == page.count(" mathjax_ignore") / 2 == 1 + 2 + 4 + 1 + 1
    assert not re.search(r"<div class=\"cell_output\">(?:(?!</div>).)*\n\s*\n", page, re.S), "a blank line ends HTML"
    (alt, image) = re.search(r"!\[(.+)\]\((.+)\)", page).groups()
    assert "32, 56, 104 documents" in alt and (tmp_path / "page" / image).stat().st_size > 10_000


def test_the_page_is_made_of_two_runs_or_more(runs, tmp_path):
    (tmp_path / "page").mkdir()
    assert comparison(runs, ["wide"], tmp_path / "page") == []
    assert comparison(runs, ["wide", "old"], tmp_path / "page") == []
    assert comparison(runs, ["wide", "bare"], tmp_path / "page")[0]["chapters"] == [{"file": "compared"}]
    assert not (BOOK / "compared.md").exists()

"""The primary tests: which the parameters name, what they find, what is left out, and what page one says of them."""

import numpy as np
import pandas as pd
import pytest

from zmem_lib.evaluation.pairs import pair_table
from zmem_lib.evaluation.primary import EXPLORATORY, PRIMARY, planned, primary_table
from zmem_lib.files import BadInput
from zmem_lib.params import read_params
from zmem_lib.report.chapter_tables import pair_tables, primary_overview
from zmem_lib.report.verdict import primary as said_of
from zmem_lib.tables import TABLES

ROOT = __file__.rsplit("/tests/", 1)[0]
RIGHT = {  # of ten questions about each of twenty documents: in the first so many documents
    ("zmem", "seen", "recall@1"): 18, ("hybrid", "seen", "recall@1"): 6, ("bm25", "seen", "recall@1"): 6,
    ("zmem", "new", "recall@1"): 9, ("hybrid", "new", "recall@1"): 9, ("bm25", "new", "recall@1"): 6,
    ("zmem-oracle", "seen", "answer_in_evidence"): 20, ("zmem", "seen", "answer_in_evidence"): 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def scores():
    rows = [
        (f"{part}-{d}-{q}", system, part, "", metric, float(d < right), f"{part}-{d}")
        for (system, part, metric), right in RIGHT.items()
        for d in range(20)
        for q in range(10)
    ]
    return pd.DataFrame(rows, columns=list(TABLES["scores"]))


def params(*changes):
    return read_params(f"{ROOT}/params/tiny.yaml", changes)


def table_of(scores, text, margin=0.05):
    return primary_table(scores, 300, seed=1, tests=planned(text), margin=margin)


def test_the_parameters_name_three_questions_of_six_tests():
    assert planned(params().evaluate.primary) == [
        ("zmem", "seen", "hybrid", "seen", "recall@1"),
        ("zmem", "new", "hybrid", "new", "recall@1"),
        ("zmem-oracle", "seen", "zmem-other-question", "seen", "answer_in_evidence"),
        ("zmem-oracle", "new", "zmem-other-question", "new", "answer_in_evidence"),
        ("zmem", "new", "zmem", "seen", "recall@1"),
        ("zmem", "new", "zmem", "seen", "answer_in_evidence"),
    ]
    assert planned("") == []
    with pytest.raises(BadInput, match=r"evaluate.primary.*holds 'zmem beats bm25', which is no test: write FIRST vs"):
        params("evaluate.primary=zmem beats bm25")
    with pytest.raises(BadInput, match="is no test"):
        params("evaluate.primary=zmem of new vs zmem on em")


def test_systems_over_the_same_questions_are_tested_by_document(scores):
    """By hand: of 18 and 6 of 20 documents 12 differ; of the 4,096 ways to flip them two are as extreme."""
    (seen, new) = table_of(scores, "zmem vs hybrid on recall@1").itertuples()
    assert (seen.value, seen.n, seen.clusters) == (pytest.approx(0.6), 200, 20)
    assert seen.p == pytest.approx(2 / 4096, abs=5e-4) and seen.p_holm == pytest.approx(2 * seen.p)
    assert seen.ci_low < 0.6 < seen.ci_high and seen.ci_high - seen.ci_low > 0.35, "as wide as 20 documents are"
    assert (new.value, new.p, new.p_holm) == (0.0, 1.0, 1.0)
    assert np.isnan(new.p_same) and np.isnan(new.least_margin), "no difference varies: nothing to judge by"


def test_new_documents_are_held_against_seen_ones(scores):
    (row,) = table_of(scores, "zmem of new vs zmem of seen on recall@1").itertuples()
    assert (row.value, row.n, row.clusters) == (pytest.approx(-0.45), 400, 40)
    assert row.p == pytest.approx(0.0057, abs=0.003), "9 and 18 of 20 and 20, Fisher's exact test"
    assert row.ci_low < -0.45 < row.ci_high < 0


def test_a_test_without_a_side_is_left_out_of_the_correction(scores):
    table = table_of(scores, "zmem vs hybrid on recall@1; zmem-oracle vs zmem-other-question on answer_in_evidence")
    assert table["n"].tolist() == [200, 200, 0, 0]
    assert table["p_holm"][:2].tolist() == pytest.approx([2 * table["p"][0], 1.0])
    assert table.loc[2:, ["value", "p", "p_holm", "detectable", "p_same"]].isna().all(axis=None)
    assert table_of(scores, "").empty


def test_a_primary_pair_is_in_no_other_family(scores):
    alone = pair_table(scores, 50, seed=1).query("part == 'seen' and metric == 'recall@1'")
    assert set(alone["family"]) == {EXPLORATORY}
    primary = table_of(scores, "zmem vs hybrid on recall@1")
    pairs = pair_table(scores, 50, seed=1, primary=primary).query("part == 'seen' and metric == 'recall@1'")
    by = pairs.set_index(["first", "second"])
    assert by["family"].to_dict() == {
        ("zmem", "bm25"): EXPLORATORY, ("zmem", "hybrid"): PRIMARY, ("bm25", "hybrid"): EXPLORATORY,
    }  # fmt: skip
    assert by.loc[("zmem", "hybrid"), "p_holm"] == primary["p_holm"][0]
    assert by.loc[("zmem", "bm25"), "p_holm"] == pytest.approx(2 * by.loc[("zmem", "bm25"), "p"]), "of two, not three"
    html = pair_tables(pairs).data
    assert "for the 2 exploratory pairs of the table, or with the other primary tests (zmem and hybrid)" in html


def test_page_one_says_who_is_better_and_whether_they_are_the_same(scores):
    text = "zmem vs hybrid on recall@1; zmem of new vs zmem of seen on recall@1; zmem-oracle vs zmem-text on f1"
    tables = {"primary": table_of(scores, text)}
    better, same, worse, left = said_of(tables, params())
    assert better.startswith("**Primary test** (recall@1 on seen documents, n = 200 from 20 documents): z-memory minus")
    assert "BM25 and dense fused by score is +0.60 [" in better
    assert better.endswith(": the first is better (p = 0.002)."), "no word of sameness"
    assert "not told apart (p = 1.000); as all documents gave the same difference, sameness cannot" in same
    assert "z-memory on new documents minus z-memory on seen documents is −0.45 [" in worse
    assert "the first is worse" in worse
    assert "z-memory given the right z on seen documents against the right z and its passage on seen documents" in left
    korean = said_of(tables, params("report.language=ko"))
    assert len(korean) == 4 and "주요 검정" in korean[0]
    assert said_of({"primary": table_of(scores, "")}, params()) == [
        "No primary test was fixed for this run (`evaluate.primary`), so all comparisons are exploratory."
    ]
    html = primary_overview(tables["primary"]).data
    assert "zmem, seen" in html and ">200<" in html and ">20<" in html and "nan" not in html


def test_two_that_differ_by_little_are_called_the_same(scores):
    generator = np.random.default_rng(4)
    wide = scores[(scores["system"] == "zmem") & (scores["metric"] == "recall@1")]
    flipped = generator.random(len(wide)) < 0.02
    other = wide.assign(system="dense", value=np.where(flipped, 1 - wide["value"], wide["value"]))
    table = table_of(pd.concat([wide, other]), "zmem vs dense on recall@1")
    assert (table["p_same"] < 0.05).all() and (table["p_holm"] > 0.05).all()
    assert (
        "not told apart (p = 1.000); the two are the same within ±0.05 (equivalence test, p "
        in said_of({"primary": table}, params())[0]
    )
    narrow = table_of(pd.concat([wide, other]), "zmem vs dense on recall@1", margin=0.002)
    assert (narrow["p_same"] > 0.05).all() and (narrow["least_margin"] > 0.002).all()
    said = said_of({"primary": narrow}, params())[0]
    assert ", but that they are the same within ±0.002 is not shown either (so many documents can show ±0.0" in said

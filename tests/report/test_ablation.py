"""Tables, figure and sentences of results/, on made-up rows whose means and differences are known."""

import re
from dataclasses import replace

import pandas as pd
import pytest
from fake_runs import executor, fake_run
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from zmem_lib.params import changed
from zmem_lib.report.ablation import ablation, compared, generated_ids, is_clear, kept_runs, measured, paired_parts
from zmem_lib.report.results import keep_run, kept_in
from zmem_lib.runs.ablate import Study, ablate

VALUES = {  # by row, of seeds 0, 1, 2
    "full": (0.80, 0.84, 0.88),
    "recite": (0.50, 0.54, 0.58),  # 30 points lower on every seed
    "question": (0.79, 0.83, 0.87),  # one point lower on every seed, but among the seeds of full
    "plain": (0.90, 0.94, 0.98),  # ten points higher
}


def value(params):
    row, seed = params.run.removeprefix("ablation-smoke-").rsplit("-", 1)
    return VALUES[row][int(seed)]


@pytest.fixture
def study(smoke_params, tmp_path):
    return Study(smoke_params, tuple(VALUES), (0, 1, 2), tmp_path / "runs", tmp_path / "results")


def make(study, **changes):
    ablate(replace(study, **changes), execute=executor(value, []), say=str)


def test_what_is_missing_is_one_sentence_with_its_command(study):
    (said,) = ablation("smoke", study.results)
    assert (
        said.data
        == "**Ablation of `smoke`.** No row of it is kept in `results/` yet: `zmem ablate params/smoke.yaml` makes it."
    )
    make(study, rows=("recite",))
    (said,) = ablation("smoke", study.results)
    assert "Its row `full`" in said.data and "`zmem ablate params/smoke.yaml`" in said.data
    (said,) = kept_runs(study.results)
    assert "None is kept" in said.data and "`zmem keep RUN`" in said.data


def test_the_results_of_the_project_can_be_shown_whatever_is_there():
    for shown in (*ablation("tiny"), *kept_runs()):
        assert isinstance(shown, Markdown | HTML | Figure)


def test_a_difference_is_seed_by_seed_and_clear_where_nothing_overlaps(study):
    make(study)
    parent = study.results / "ablations/smoke"
    there = compared(measured(parent, kept_in(parent))).set_index(["row", "measure"])
    recite = there.loc[("recite", "recall@1, new")]
    assert (recite["mean"], recite["low"], recite["high"]) == pytest.approx((0.54, 0.50, 0.58))
    assert recite["difference"] == pytest.approx(-0.30) and recite["clear"] and recite["seeds"] == 3
    question = there.loc[("question", "exact, seen")]
    assert question["difference"] == pytest.approx(-0.01) and not question["clear"]
    assert there.loc[("full", "evidence, unasked"), "difference"] == 0
    assert there.loc[("full", "evidence, unasked"), "n"] == 40


def test_unlike_seeds_are_compared_where_both_rows_have_them(study):
    make(study, rows=("full",), seeds=(0, 1))
    make(study, rows=("recite",), seeds=(1, 2))
    make(study, rows=("plain",), seeds=(2,))
    parent = study.results / "ablations/smoke"
    there = compared(measured(parent, kept_in(parent))).set_index(["row", "measure"])
    recite = there.loc[("recite", "exact, seen")]
    assert recite["mean"] == pytest.approx(0.56) and recite["difference"] == pytest.approx(0.54 - 0.84)
    assert recite["clear"], "one seed in common, .3 lower than both of full, where intervals are .1 wide on each side"
    assert there["difference"].isna()[("plain", "exact, seen")] and not there["clear"][("plain", "exact, seen")]
    said, table, *_ = ablation("smoke", study.results)
    assert "nan" not in table.data and "nan" not in said.data
    assert "**plain**, of 1 seed only" in said.data and "**recite**, of" not in said.data


@pytest.mark.parametrize(
    ("one", "interval", "clear"),
    [
        (0.50, 0.10, True),
        (0.50, 0.40, False),  # the questions are too few
        (0.86, 0.01, False),  # among the seeds of full
        (0.79, 0.01, True),
    ],
)
def test_one_seed_is_held_against_all_of_full_and_against_chance_in_the_questions(one, interval, clear):
    full = pd.DataFrame({"value": (0.8, 0.84, 0.88)})
    full["ci_low"], full["ci_high"] = full["value"] - interval / 2, full["value"] + interval / 2
    row = pd.DataFrame({"value": [one], "ci_low": [one - interval / 2], "ci_high": [one + interval / 2]})
    assert is_clear(row, full, full.loc[[1]]) == clear
    assert not is_clear(row, full.loc[[1]], full.loc[[1]]), "where full has one seed too, luck cannot be told"
    assert not is_clear(row.loc[[]], full, full.loc[[]]), "no seed in common"


def test_sentences_name_clear_differences_and_their_direction(study):
    make(study)
    said = ablation("smoke", study.results)[0].data.splitlines()
    assert "against the row `full` of 3 seeds" in said[0] and "one comparison of 10" in said[0]
    by_row = {row: line for line in said for row in ("recite", "question", "plain") if f"**{row}**" in line}
    assert "Without **recite**" in by_row["recite"] and "recall@1, new −30 points (0.54)" in by_row["recite"]
    assert by_row["question"].endswith("no clear difference.")
    assert by_row["plain"].startswith("- **plain**") and "exact, seen +10 points (0.94)" in by_row["plain"]
    assert said[-1].startswith("- Not kept yet: `frozen`, ") and "`recite-inside`" in said[-1]
    assert said[-1].endswith(": `zmem ablate params/smoke.yaml` makes them.") and "`full`" not in said[-1]


def test_one_seed_tells_nothing(study):
    make(study, seeds=(0,))
    said = ablation("smoke", study.results)[0].data
    assert "of 1 seed." in said and "none is named" in said and "points (" not in said


def cells(table):
    """Rows of a table by name, each a dict of its cells by head; a line break is a slash."""
    lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.data.split("</tr>")]
    (_, *heads), *rows = [[re.sub(r"<[^>]+>", "/", cell).strip("/") for cell in line] for line in lines if line]
    return {name: dict(zip([head.replace("//", "/") for head in heads], row, strict=True)) for name, *row in rows}


def test_the_table_has_means_spreads_differences_and_n(study):
    make(study)
    table = ablation("smoke", study.results)[1]
    rows = cells(table)
    assert list(rows) == ["plain", "full", "recite", "question"]
    assert {row["seeds"] for row in rows.values()} == {"3"} and next(iter(rows["full"])) == "seeds"
    assert not [head for head in rows["full"] if head.startswith("evidence/seen")], "told apart by kind"
    assert rows["recite"]["recall@1/new/n = 40"] == "0.54 (−30)//[0.50, 0.58]"
    assert rows["full"]["exact/seen/n = 40"] == "0.84//[0.80, 0.88]"
    assert "Same documents, steps and batches" in table.data


def test_rows_of_other_parameters_are_left_out_and_said(study):
    make(study, rows=("full", "recite"))
    longer = changed(study.params, {"train.steps": 999})
    make(study, rows=("question",), params=longer, seeds=(0,))
    same = changed(study.params, {"machine.scan_batch": 1})  # changes nothing of what is found
    make(study, rows=("plain",), params=same, seeds=(0,))
    said, table, *_ = ablation("smoke", study.results)
    assert list(cells(table)) == ["plain", "full", "recite"]
    assert "Left out, being made with other parameters than `full`: `question-0` (train.steps)" in said.data


def test_the_figure_has_a_bar_for_every_row_and_a_dot_for_every_seed(study):
    make(study)
    figure = ablation("smoke", study.results)[2]
    assert [axis.get_title().replace("\n", ", ") for axis in figure.axes] == [
        "evidence, unasked", "evidence, new", "recall@1, seen", "recall@1, new",
    ]  # fmt: skip
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["plain", "full", "recite", "question"]
    for axis in figure.axes:
        assert [bar.get_width() for bar in axis.patches] == pytest.approx([0.94, 0.84, 0.54, 0.83])
        dots = next(line for line in axis.lines if len(line.get_xdata()) == 12)
        assert sorted(dots.get_xdata()) == pytest.approx(sorted(sum(VALUES.values(), ())))
        dashed = next(line for line in axis.lines if line.get_linestyle() == "--")
        assert dashed.get_xdata()[0] == pytest.approx(0.84)


def test_seen_and_new_are_paired_by_document_over_the_seeds_of_full(study):
    make(study, rows=("full", "recite"))
    assert not (study.results / "ablations/smoke/recite-0/by_document.csv").exists()
    rows = cells(ablation("smoke", study.results)[3])
    assert set(rows) == {"evidence, right z", "recall@1, z", "exact, z", "recall@1, BM25"}
    assert rows["exact, z"] | {"documents": "20"} == rows["exact, z"]
    assert [rows["exact, z"][part].split("//")[0] for part in ("seen", "new", "seen − new")] == ["0.84", "0.64", "0.20"]
    kept = (study.results / "ablations/smoke/full-0/by_document.csv").read_text(encoding="utf-8")
    assert "person" not in kept, "documents are named by a hash"


def test_a_pair_is_a_document_that_was_both_and_counts_once():
    rows = [("a", 0, "seen", 1.0), ("a", 1, "seen", 0.0), ("a", 2, "new", 0.25), ("b", 0, "new", 0.5)]
    rows += [("b", 1, "seen", 0.5), ("c", 0, "seen", 1.0), ("c", 1, "seen", 1.0), ("d", 2, "new", 0.0)]
    means = pd.DataFrame(rows, columns=["document", "seed", "part", "value"])
    pairs = paired_parts(means.assign(system="zmem", metric="em"), 0).set_index("what")
    assert set(pairs["measure"]) == {"exact, z"} and set(pairs["clusters"]) == {2}
    assert pairs["value"].to_dict() == {"seen": 0.5, "new": 0.375, "difference": 0.125}


def test_what_generated_ids_find_is_shown_from_the_row_that_learned_them(study):
    (said,) = generated_ids("smoke", study.results)
    assert said.data.endswith("`zmem ablate params/smoke.yaml --rows with-ids` makes one.")
    ablate(replace(study, rows=("with-ids",), seeds=(1, 2)), execute=executor(lambda params: 0.5, []), say=str)
    said, table = generated_ids("smoke", study.results)
    assert "`with-ids-1`" in said.data and table.data.count(">key<") == 1


def test_kept_runs_stand_side_by_side(smoke_params, tmp_path):
    keep_run(fake_run(smoke_params, tmp_path / "runs"), tmp_path / "results/runs/first")
    other = changed(smoke_params, {"run": "other", "corpus.documents": 18_900, "memory.z_tokens": 1})
    keep_run(fake_run(other, tmp_path / "runs", value=0.25), tmp_path / "results/runs/second")
    said, table = kept_runs(tmp_path / "results")
    rows = cells(table)
    assert list(rows) == ["first, seen", "first, new", "second, seen", "second, new"]
    assert rows["second, new"]["recall@1/BM25"] == "0.25//[0.15, 0.35]"
    assert rows["first, seen"]["exact/passage"].startswith("0.50")
    assert {row["n"] for row in rows.values()} == {"40"}
    first, second = said.data.splitlines()
    assert "24 seen and 8 new documents" in first and "2 soft tokens per document" in first
    assert "`second`" in second and "18,900 seen" in second and "1 soft token per" in second


def test_a_kept_run_shows_the_documents_that_nobody_asked_about(smoke_params, tmp_path):
    keep_run(fake_run(smoke_params, tmp_path / "runs"), tmp_path / "results/runs/apart")
    summary = pd.read_csv(tmp_path / "results/runs/apart/summary.csv")
    summary["part"] = summary["part"].replace("seen", "unasked-document")
    summary = summary.iloc[::-1]  # the order of the rows is not that of the parts
    summary.to_csv(tmp_path / "results/runs/apart/summary.csv", index=False)
    _, table = kept_runs(tmp_path / "results")
    assert list(cells(table)) == ["apart, unasked-document", "apart, new"]

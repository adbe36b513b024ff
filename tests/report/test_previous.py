"""What changed since the last run of the same name: what is set aside, when, and what is said of it."""

import pytest
from fake_runs import fake_run

from zmem_lib.params import changed, flat
from zmem_lib.report import page
from zmem_lib.report.previous import FOLDER, changed_params, find_previous, keep_previous, moved_values
from zmem_lib.report.results import keep_run
from zmem_lib.runs.pipeline import run_chapters, start_over
from zmem_lib.tables import read_table


@pytest.fixture
def params(smoke_params):
    return changed(smoke_params, {"run": "once"})


def summary_of(folder):
    return read_table(folder / "summary.parquet", "summary")


def said(folder, params, results):
    return page.changes(summary_of(folder), folder, params, results)


def test_a_first_run_has_nothing_before_it(params, tmp_path):
    folder = fake_run(params, tmp_path)
    (sentence,) = said(folder, params, tmp_path / "results")
    assert sentence.data == "First run of this name: there is nothing to compare it with."
    (korean,) = said(folder, changed(params, {"report.language": "ko"}), tmp_path / "results")
    assert korean.data.startswith("이 이름으로 처음 실행한 결과")


def test_a_run_that_is_started_over_is_held_against_what_it_replaces(params, tmp_path):
    folder = fake_run(params, tmp_path, value=0.5)
    start_over(folder, say=str)
    assert [path.name for path in folder.iterdir()] == [FOLDER]
    start_over(folder, say=str)  # nothing to remove, and the former summary stays
    other = changed(params, {"answer.top_k": 2, "report.language": "en"})
    fake_run(other, tmp_path, value=0.8)
    sentences, table = said(folder, other, tmp_path / "results")
    assert "the previous execution in the run's folder" in sentences.data
    assert "`answer.top_k` (`1` before, `2` now)" in sentences.data
    assert "Of 56 values 56 moved" in sentences.data and "the 12 that moved most" in sentences.data
    assert table.data.count("<tr>") == 1 + 12 and "0.80 [0.70, 0.90]" in table.data and ">0.50<" in table.data


def test_chapter_06_sets_aside_what_a_finished_one_left(params, tmp_path, stand_ins):
    folder = fake_run(params, tmp_path, value=0.5)
    for name in ("01_corpus", "02_tuples", "03_train_joint", "04_write_znew", "05_baselines", "06_eval"):
        (folder / f"{name}.ipynb").write_text("{}")
    run_chapters(params, tmp_path, first=6, last=6, notebooks=stand_ins(), say=str)
    place, before, values = find_previous(folder, params.run, tmp_path / "results")
    assert place == "previous" and before.equals(summary_of(folder)) and values["run"] == "once"
    (sentence,) = said(folder, params, tmp_path / "results")
    assert "no parameter changed" in sentence.data and "leaves its former value" in sentence.data


def test_an_unfinished_summary_is_not_set_aside(params, tmp_path):
    folder = fake_run(params, tmp_path, value=0.5)
    keep_previous(folder)
    old = (folder / FOLDER / "summary.parquet").read_bytes()
    other = summary_of(folder).assign(value=0.9)
    other.to_parquet(folder / "summary.parquet", index=False)  # as a chapter that was killed leaves it
    keep_previous(folder)
    assert (folder / FOLDER / "summary.parquet").read_bytes() == old
    (folder / "manifest_06.json").write_text("{ half")
    keep_previous(folder)
    assert (folder / FOLDER / "summary.parquet").read_bytes() == old


def test_the_kept_run_of_that_name_stands_in(params, tmp_path):
    folder = fake_run(params, tmp_path, value=0.5)
    keep_run(folder, tmp_path / "results/runs/once")
    (sentence,) = said(folder, params, tmp_path / "results")
    assert "the run kept in `results/runs/once`" in sentence.data
    assert find_previous(folder, "twice", tmp_path / "results") is None


def test_only_parameters_that_may_change_the_findings_count(params):
    elsewhere = {"machine.micro_batch": 99, "answer.dense_model": "/elsewhere/packaged", "seed": 99}
    before = flat(params) | elsewhere
    del before["answer.noise_questions"]  # of a run made before there was such a parameter
    found = changed_params(before, changed(params, {"answer.noise_questions": 0}))
    assert found == {"seed": (99, params.seed)}
    assert changed_params(before, changed(params, {"answer.noise_questions": 5}))["answer.noise_questions"] == (0, 5)


def test_a_value_has_moved_when_the_new_interval_leaves_it(params, tmp_path):
    now = summary_of(fake_run(params, tmp_path, value=0.5))
    for former, moved in ((0.5, False), (0.601, True), (0.6 + 1e-7, False), (0.39, True)):
        rows, compared = moved_values(now.assign(value=former), now)
        assert (len(rows) == compared) is moved and (len(rows) == 0) is not moved, former

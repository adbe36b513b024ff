"""What is kept of runs: the right rows, read again as they were, nothing of a corpus or a machine; and what changed."""

import json
import socket
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, zmem
from fake_runs import SECRET, fake_run

from zmem_lib.files import BadInput
from zmem_lib.params import changed, flat, params_hash, read_params, without_places
from zmem_lib.report import page
from zmem_lib.report.results import (
    PREVIOUS,
    RESULTS,
    WHOLE,
    changed_params,
    find_previous,
    is_of_present_code,
    keep_previous,
    keep_row,
    keep_run,
    kept_in,
    moved_values,
    read_kept,
    read_manifest,
    row_folder,
    thinned,
)
from zmem_lib.report.wording import most_counted
from zmem_lib.run import main
from zmem_lib.runs.pipeline import run_chapters, start_over
from zmem_lib.tables import read_table

RUN_FILES = {f"{name}.csv" for name in (*WHOLE, "failures", "train_log")} | {"manifest.json"}


def texts(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()))


def test_results_lie_beside_the_library():
    assert RESULTS == ROOT / "results"


def test_of_a_row_only_the_main_measures_are_kept(smoke_params, tmp_path):
    folder, target = fake_run(smoke_params, tmp_path), row_folder(tmp_path, "smoke", "key", 1)
    keep_row(folder, smoke_params, target, {"row": "key", "seed": 1, "overrides": {"memory.key_width": 0}})
    summary = read_kept(target, "summary")
    assert set(summary["metric"]) == {"em", "f1", "answer_in_evidence", "recall@1", "mrr@10"}
    assert "dense" not in set(summary["system"]) and len(set(summary["system"])) == 6
    assert read_kept(target, "write_curve")["step"].tolist() == [0, 20], "where writing began and ended"
    assert set(read_kept(target, "selectors")["selector"]) == {"key"}
    manifest = read_manifest(target)
    assert (manifest["row"], manifest["seed"], manifest["overrides"]) == ("key", 1, {"memory.key_width": 0})
    assert manifest["params_hash"] == params_hash(smoke_params)
    assert manifest["params"]["train.steps"] == smoke_params.train.steps
    assert set(manifest["code"]) == set(manifest["seconds"]) and is_of_present_code(manifest, smoke_params)
    assert not is_of_present_code(manifest | {"code": manifest["code"] | {"02": "other"}}, smoke_params)
    assert set(manifest["seconds"]) == {f"{number:02d}" for number in range(1, 7)}
    assert set(manifest["machine"]) == {"processor", "cores", "gpu"} and "torch" in manifest["packages"]
    assert kept_in(target.parent) == {"key-1": manifest}


def test_of_a_run_the_tables_are_kept_as_they_were(smoke_params, tmp_path):
    folder, target = fake_run(smoke_params, tmp_path / "runs", value=1 / 3), tmp_path / "kept"
    keep_run(folder, target)
    assert {path.name for path in target.iterdir()} == RUN_FILES
    for name in WHOLE:
        was = read_table(folder / f"{name}.parquet", name)
        pd.testing.assert_frame_equal(read_kept(target, name), was, check_exact=False, rtol=1e-5, check_dtype=False)
    counts = pd.read_csv(target / "failures.csv")
    assert counts.to_dict("list") == {
        "system": ["zmem"] * 2, "part": ["seen"] * 2, "failure": ["right", "wrong z"], "n": [2, 1],
    }  # fmt: skip
    log = read_kept(target, "train_log")
    assert len(log) == 100 and (log["step"].iloc[0], log["step"].iloc[-1]) == (0, 249)
    assert SECRET not in texts(target)


def test_a_short_log_is_kept_whole_and_an_empty_one_stays_empty():
    log = pd.DataFrame({"step": [2, 1, 1], "term": ["a", "a", "b"], "split": "dev", "nll": 1.0, "seconds": 0.1})
    assert sorted(zip(thinned(log)["term"], thinned(log)["step"], strict=True)) == [("a", 1), ("a", 2), ("b", 1)]
    assert thinned(log.iloc[:0]).empty


def test_a_value_that_is_missing_stays_missing(smoke_params, tmp_path):
    folder = fake_run(smoke_params, tmp_path / "runs", value=float("nan"))
    keep_row(folder, smoke_params, tmp_path / "kept", {})
    assert read_kept(tmp_path / "kept", "summary")["value"].isna().all()


def test_no_path_of_this_machine_is_kept(smoke_params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/mine").mkdir(parents=True)
    places = {
        "corpus.path": f"{tmp_path}/secret/squad", "corpus.new_path": "../secret/more/", "lm.name": "models/mine",
        "answer.dense_model": "/secret/dense", "evaluate.judge_model": f"{tmp_path}/secret/nli",
        "evaluate.human_labels": f"{tmp_path}/secret/labels.csv",
    }  # fmt: skip
    assert without_places({"seed": 1, **places}) == {
        "seed": 1, "corpus.path": "squad", "corpus.new_path": "more", "lm.name": "mine", "answer.dense_model": "dense",
        "evaluate.judge_model": "nli", "evaluate.human_labels": "labels.csv",
    }  # fmt: skip
    kept = {"corpus.path": "", "lm.name": "Qwen/Qwen2.5-3B", "answer.dense_model": "packaged"}
    assert without_places(kept) == kept
    params = changed(smoke_params, places | {"lm.name": "scratch", "evaluate.judge": "nli"})
    keep_run(fake_run(params, tmp_path / "runs"), tmp_path / "kept")
    assert read_manifest(tmp_path / "kept")["params_hash"] == params_hash(params), "of the parameters as they were"
    assert "secret" not in texts(tmp_path / "kept")
    assert str(tmp_path) not in texts(tmp_path / "kept") and socket.gethostname() not in texts(tmp_path / "kept")


def test_an_unfinished_run_is_not_kept(smoke_params, tmp_path):
    folder = fake_run(smoke_params, tmp_path / "runs")
    (folder / "manifest_04.json").unlink()
    with pytest.raises(BadInput, match=r"chapter 04_write_znew of .* is not finished"):
        keep_run(folder, tmp_path / "kept")
    folder = fake_run(smoke_params, tmp_path / "runs")
    read_table(folder / "costs.parquet", "costs").iloc[1:].to_parquet(folder / "costs.parquet")
    with pytest.raises(BadInput, match=r"05_baselines .* was changed since"):
        keep_run(folder, tmp_path / "kept")
    with pytest.raises(BadInput, match="is not the folder of a run"):
        keep_run(tmp_path / "nowhere", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_damage_is_named_and_half_of_something_is_nothing(smoke_params, tmp_path):
    keep_run(fake_run(smoke_params, tmp_path / "runs"), tmp_path / "all/kept")
    (tmp_path / "all/half").mkdir()
    assert list(kept_in(tmp_path / "all")) == ["kept"] and kept_in(tmp_path / "none") == {}
    path = tmp_path / "all/kept/summary.csv"
    for content in ("", "system,part\nzmem,seen\n", path.read_text().replace("0.5", "half")):
        path.write_text(content)
        with pytest.raises(BadInput, match=r"summary.*(cannot be read|is missing)"):
            read_kept(path.parent, "summary")
    (path.parent / "manifest.json").write_text(json.dumps({"params": {}}))
    with pytest.raises(BadInput, match=r"manifest.json is damaged .*remove its folder"):
        kept_in(tmp_path / "all")


def test_the_command_keeps_under_a_name(smoke_params, tmp_path, capsys):
    fake_run(smoke_params, tmp_path / "runs")
    places = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    assert main(["keep", "smoke", "--as", "smoke-2", *places]) == 0
    assert list(kept_in(tmp_path / "results/runs")) == ["smoke-2"] and "kept in" in capsys.readouterr().out
    assert main(["keep", "smoke", *places]) == 0, "by the run's name"
    assert list(kept_in(tmp_path / "results/runs")) == ["smoke", "smoke-2"]
    for arguments, sentence in [
        (["keep", "nowhere"], "is not the folder of a run"),
        (["keep", "smoke", "--as", "../x"], "names a folder in results/runs"),
    ]:
        assert main([*arguments, *places]) == 2
        printed = capsys.readouterr().err
        assert sentence in printed and printed.count("\n") == 1


def test_a_real_run_is_kept_without_its_texts(smoke_runs, tmp_path):
    done = zmem("keep", "smoke", "--runs", smoke_runs, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    folder, kept = smoke_runs / "smoke", tmp_path / "runs/smoke"
    assert {path.name for path in kept.iterdir()} == RUN_FILES and "07" in read_manifest(kept)["seconds"]
    keep_row(folder, read_params(folder / "params.yaml"), tmp_path / "row", {"row": "full", "seed": 1})
    questions = read_table(folder / "questions.parquet", "questions")
    docs = read_table(folder / "docs.parquet", "docs")
    private = [*docs["doc_id"], *docs["title"], *questions["question_id"], *questions["question"]]
    private += [answer for answers in questions["answers"] for answer in answers if len(answer) > 4]
    names = {part for name in flat(read_params(folder / "params.yaml")) for part in name.split(".")}
    private = set(private) - names  # somebody is a judge
    for where in (kept, tmp_path / "row"):
        there = texts(where)
        assert [text for text in private if text and text in there] == []
        assert str(ROOT) not in there and str(smoke_runs) not in there


@pytest.fixture
def once(smoke_params):
    return changed(smoke_params, {"run": "once"})


def summary_of(folder):
    return read_table(folder / "summary.parquet", "summary")


def said(folder, once, results):
    return page.changes(summary_of(folder), folder, once, results)


def test_a_first_run_has_nothing_before_it(once, tmp_path):
    folder = fake_run(once, tmp_path)
    (sentence,) = said(folder, once, tmp_path / "results")
    assert sentence.data == "First run of this name: there is nothing to compare it with."
    (korean,) = said(folder, changed(once, {"report.language": "ko"}), tmp_path / "results")
    assert korean.data.startswith("이 이름으로 처음 실행한 결과")


def test_a_run_that_is_started_over_is_held_against_what_it_replaces(once, tmp_path):
    folder = fake_run(once, tmp_path, value=0.5)
    start_over(folder, say=str)
    assert [path.name for path in folder.iterdir()] == [PREVIOUS]
    start_over(folder, say=str)  # nothing to remove, and the former summary stays
    other = changed(once, {"answer.top_k": 2, "report.language": "en"})
    fake_run(other, tmp_path, value=0.8)
    sentences, table = said(folder, other, tmp_path / "results")
    assert "the previous execution in the run's folder" in sentences.data
    assert "`answer.top_k` (`1` before, `2` now)" in sentences.data
    assert "Of 56 values 56 moved" in sentences.data and "the 12 that moved most" in sentences.data
    assert table.data.count("<tr>") == 1 + 12 and "0.80 [0.70, 0.90]" in table.data and ">0.50<" in table.data


def test_chapter_06_sets_aside_what_a_finished_one_left(once, tmp_path, stand_ins):
    folder = fake_run(once, tmp_path, value=0.5)
    for name in ("01_corpus", "02_tuples", "03_train_joint", "04_write_znew", "05_baselines", "06_eval"):
        (folder / f"{name}.ipynb").write_text("{}")
    run_chapters(once, tmp_path, first=6, last=6, notebooks=stand_ins(), say=str)
    place, before, values = find_previous(folder, once.run, tmp_path / "results")
    assert place == "previous" and before.equals(summary_of(folder)) and values["run"] == "once"
    (sentence,) = said(folder, once, tmp_path / "results")
    assert "no parameter changed" in sentence.data and "leaves its former value" in sentence.data


def test_an_unfinished_summary_is_not_set_aside(once, tmp_path):
    folder = fake_run(once, tmp_path, value=0.5)
    keep_previous(folder)
    old = (folder / PREVIOUS / "summary.parquet").read_bytes()
    other = summary_of(folder).assign(value=0.9)
    other.to_parquet(folder / "summary.parquet", index=False)  # as a chapter that was killed leaves it
    keep_previous(folder)
    assert (folder / PREVIOUS / "summary.parquet").read_bytes() == old
    (folder / "manifest_06.json").write_text("{ half")
    keep_previous(folder)
    assert (folder / PREVIOUS / "summary.parquet").read_bytes() == old


def test_the_kept_run_of_that_name_stands_in(once, tmp_path):
    folder = fake_run(once, tmp_path, value=0.5)
    keep_run(folder, tmp_path / "results/runs/once")
    (sentence,) = said(folder, once, tmp_path / "results")
    assert "the run kept in `results/runs/once`" in sentence.data
    assert find_previous(folder, "twice", tmp_path / "results") is None


def test_only_parameters_that_may_change_the_findings_count(once):
    elsewhere = {"machine.micro_batch": 99, "answer.dense_model": "/elsewhere/packaged", "seed": 99}
    before = flat(once) | elsewhere
    del before["answer.noise_questions"]  # of a run made before there was such a parameter
    found = changed_params(before, changed(once, {"answer.noise_questions": 0}))
    assert found == {"seed": (99, once.seed)}
    assert changed_params(before, changed(once, {"answer.noise_questions": 5}))["answer.noise_questions"] == (0, 5)


def test_a_value_has_moved_when_the_new_interval_leaves_it(once, tmp_path):
    now = summary_of(fake_run(once, tmp_path, value=0.5))
    for former, moved in ((0.5, False), (0.601, True), (0.6 + 1e-7, False), (0.39, True)):
        rows, compared = moved_values(now.assign(value=former), now)
        assert (len(rows) == compared) is moved and (len(rows) == 0) is not moved, former


def test_tables_of_before_documents_were_counted_are_read_and_the_count_is_not_told(tmp_path):
    row = {"system": "zmem", "part": "seen", "metric": "em", "value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 9}
    pd.DataFrame([row]).to_parquet(tmp_path / "summary.parquet")
    found = read_table(tmp_path / "summary.parquet", "summary")
    assert found["clusters"].tolist() == [0] and found["n"].tolist() == [9]
    pd.DataFrame([row]).to_csv(tmp_path / "summary.csv", index=False)
    assert read_kept(tmp_path, "summary")["clusters"].tolist() == [0]
    assert most_counted(found.itertuples()) == "9"
    assert most_counted(found.assign(clusters=4).itertuples()) == "9 from 4 documents"
    pd.DataFrame([row]).drop(columns="n").to_parquet(tmp_path / "summary.parquet")
    with pytest.raises(BadInput, match="column 'n' is missing"):
        read_table(tmp_path / "summary.parquet", "summary")

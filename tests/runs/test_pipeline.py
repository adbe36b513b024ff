"""The papermill driver, on notebooks that do nothing but write one file; and when a chapter counts as finished."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from conftest import ROOT, gone, pid_in

from zmem_lib.chapters import CHAPTERS, changes, finish_step, is_finished, is_whole, start_step
from zmem_lib.files import BadInput, ChapterFailed
from zmem_lib.fingerprint import git_revision
from zmem_lib.params import changed, params_hash, read_params
from zmem_lib.runs.duration import estimate_seconds, expected_seconds, this_machine
from zmem_lib.runs.kernel import read_template
from zmem_lib.runs.pipeline import is_done, run_chapters, start_over, write_params


def test_a_run_resumes_and_executes_again(stand_ins, smoke_params, tmp_path):
    notebooks, runs, said = stand_ins(), tmp_path / "runs", []
    folder = run_chapters(smoke_params, runs, last=2, notebooks=notebooks, say=said.append)
    assert folder == runs / "smoke"
    assert [line.split(":")[0] for line in said] == ["01_corpus"] * 2 + ["02_tuples"] * 2
    assert "about" in said[0] and "done in" in said[1]

    copy = nbformat.read(folder / "01_corpus.ipynb", as_version=4)
    assert "papermill" not in copy.metadata and not any("papermill" in cell.metadata for cell in copy.cells)
    hidden = [cell.metadata.tags for cell in copy.cells if cell.metadata.get("tags")]
    assert hidden == [["parameters", "remove-cell"], ["injected-parameters", "hide-input"]]
    python, first_kernel = (folder / "out_1.txt").read_text().rsplit(" ", 1)
    assert python == sys.executable, "the kernel is another environment's"

    said.clear()
    run_chapters(smoke_params, runs, last=2, notebooks=notebooks, say=said.append)
    assert said == ["01_corpus: finished before, skipped", "02_tuples: finished before, skipped"]

    (folder / "manifest_02.json").unlink()
    said.clear()
    run_chapters(smoke_params, runs, last=2, notebooks=notebooks, say=said.append)
    assert "skipped" in said[0] and "done in" in said[-1]

    run_chapters(smoke_params, runs, first=1, last=1, notebooks=notebooks, say=said.append)
    assert (folder / "out_1.txt").read_text().rsplit(" ", 1)[1] != first_kernel


def test_what_only_later_chapters_look_at_leaves_the_earlier_ones_finished(stand_ins, smoke_params, tmp_path):
    runs, notebooks = tmp_path / "runs", stand_ins()
    for number in CHAPTERS:
        finish_step(start_step(number, smoke_params, runs), [], [])
        (runs / f"smoke/{CHAPTERS[number]}.ipynb").touch()
    write_params(smoke_params, runs / "smoke")
    judged = changed(smoke_params, {"evaluate.judge": "nli", "evaluate.judge_model": str(tmp_path)})
    assert [is_done(runs / "smoke", number, judged) for number in CHAPTERS] == [True] * 5 + [False] * 2
    said = []
    run_chapters(judged, runs, notebooks=notebooks, say=said.append)
    assert [line.split(":")[0] for line in said if "skipped" in line] == [CHAPTERS[number] for number in range(1, 6)]
    assert not (runs / "smoke/out_5.txt").exists() and (runs / "smoke/out_6.txt").exists()
    reader = changed(judged, {"answer.rerank_depth": 2, "report.language": "ko"})
    assert [is_done(runs / "smoke", number, reader) for number in CHAPTERS] == [True] * 4 + [False] * 3
    assert read_params(runs / "smoke/params.yaml") == judged


def remake(folder: Path, number: int, **other: object) -> None:
    """Let a chapter's manifest say that it was made otherwise."""
    path = folder / f"manifest_{number:02d}.json"
    manifest = json.loads(path.read_text())
    for name, values in other.items():
        manifest[name] = manifest[name] | values
    path.write_text(json.dumps(manifest))


def test_a_chapter_of_other_code_or_packages_runs_again_and_says_why(stand_ins, smoke_params, tmp_path):
    runs, folder, said = tmp_path / "runs", tmp_path / "runs/smoke", []
    for number in CHAPTERS:
        finish_step(start_step(number, smoke_params, runs), [], [])
        (folder / f"{CHAPTERS[number]}.ipynb").touch()
    remake(folder, 2, code={"memory": "other", "opponents": "other"}, packages={"pandas": "1.0"})
    remake(folder, 3, params={"train.steps": 7})
    assert changes(folder, 2, smoke_params) == "code of memory and opponents changed, package pandas changed"
    assert changes(folder, 3, smoke_params) == "parameter train.steps changed"
    assert is_whole(folder, 2, smoke_params) and not is_finished(folder, 2, smoke_params)
    assert not is_whole(folder, 3, smoke_params) and changes(folder, 1, smoke_params) == ""
    run_chapters(smoke_params, runs, first=3, last=3, notebooks=stand_ins(), say=said.append)
    assert said[:2] == [
        "01_corpus: finished before, skipped",
        "02_tuples: left as it is, though code of memory and opponents changed, package pandas changed",
    ]
    assert said[2] == "03_train_joint: runs again, parameter train.steps changed"
    said.clear()
    run_chapters(smoke_params, runs, last=3, notebooks=stand_ins(), say=said.append)
    assert [line.split(": ", 1)[1].split(",")[0] for line in said[:2]] == ["finished before", "runs again"]
    assert said[-1] == "03_train_joint: finished before, skipped", "not everything behind it"


def test_a_corrected_answer_of_a_local_corpus_makes_it_read_again(smoke_params, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("corpus.jsonl", "questions.jsonl", "notes.txt"):
        (corpus / name).write_text(name)
    params = changed(smoke_params, {"corpus.name": "folder", "corpus.path": str(corpus)})
    for number in (1, 2):
        finish_step(start_step(number, params, tmp_path), [], [])
    (corpus / "notes.txt").write_text("not of the corpus")
    assert is_finished(tmp_path / "smoke", 1, params)
    (corpus / "questions.jsonl").write_text("one answer corrected")
    assert changes(tmp_path / "smoke", 1, params) == "file from outside corpus/questions.jsonl changed"
    assert is_finished(tmp_path / "smoke", 2, params), "by its inputs, the tables of chapter 01"
    shutil.rmtree(corpus)
    assert is_finished(tmp_path / "smoke", 1, params), "what is gone cannot be read again"


def test_files_that_a_chapter_left_are_as_it_left_them(smoke_params, tmp_path):
    folder = tmp_path / "smoke"
    step = start_step(1, smoke_params, tmp_path)
    (folder / "docs.parquet").write_text("a")
    finish_step(step, [], ["docs.parquet"])
    assert is_finished(folder, 1, smoke_params)
    (folder / "docs.parquet").write_text("b")
    assert changes(folder, 1, smoke_params) == "file docs.parquet changed" and not is_whole(folder, 1, smoke_params)
    (folder / "docs.parquet").unlink()
    assert not is_finished(folder, 1, smoke_params)


def test_a_finished_chapter_stays_finished_when_there_is_a_parameter_more(smoke_params, tmp_path):
    finish_step(start_step(3, smoke_params, tmp_path), [], [])
    path = tmp_path / "smoke/manifest_03.json"
    manifest = json.loads(path.read_text())
    del manifest["params"]["train.distractor_share"], manifest["params"]["memory.z_width"]
    path.write_text(json.dumps(manifest))
    new_ones = changed(smoke_params, {"train.distractor_share": 0.0, "memory.z_width": 0})
    assert is_finished(tmp_path / "smoke", 3, new_ones), "at their neutral defaults"
    assert changes(tmp_path / "smoke", 3, smoke_params) == "parameter memory.z_width and train.distractor_share changed"


def test_without_git_it_is_said_once_and_nothing_fails(stand_ins, smoke_params, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert git_revision() == ""
    said = []
    folder = run_chapters(smoke_params, tmp_path / "runs", last=2, notebooks=stand_ins(), say=said.append)
    assert [line for line in said if "git" in line] == said[:1] and said[0].startswith("no git, or no repository")
    assert json.loads((folder / "manifest_01.json").read_text())["git_revision"] == ""


def test_nothing_of_the_users_ipython_acts_in_a_chapter(stand_ins, smoke_params, tmp_path, monkeypatch):
    startup = tmp_path / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("print('good morning'); seed = 'mine'")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = run_chapters(smoke_params, tmp_path / "runs", last=1, notebooks=stand_ins(), say=str)
    assert "good morning" not in (folder / "01_corpus.ipynb").read_text()
    assert os.environ["IPYTHONDIR"] == str(tmp_path / "ipython")


def test_from_needs_the_chapters_before_it(stand_ins, smoke_params, tmp_path):
    with pytest.raises(BadInput, match=r"01_corpus .* is not finished: run without --from"):
        run_chapters(smoke_params, tmp_path / "runs", first=3, notebooks=stand_ins(), say=str)


def test_a_failing_cell_stops_the_run_and_keeps_the_copy(stand_ins, smoke_params, tmp_path):
    notebooks = stand_ins({2: "seed / 0"})
    folder = tmp_path / "runs/smoke"
    with pytest.raises(ChapterFailed, match=r"chapter 02_tuples failed in cell \[4\]: ZeroDivisionError"):
        run_chapters(smoke_params, tmp_path / "runs", notebooks=notebooks, say=str)
    there = sorted(path.name for path in folder.glob("*.ipynb"))
    assert there == ["01_corpus.ipynb", "02_tuples.failed.ipynb"]
    assert "ZeroDivisionError" in (folder / "02_tuples.failed.ipynb").read_text()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_bad_input_in_a_chapter_stays_bad_input(stand_ins, smoke_params, tmp_path):
    notebooks = stand_ins({1: "raise BadInput('corpus.jsonl, line 3: no text')"})
    with pytest.raises(BadInput, match=r"corpus.jsonl, line 3: no text \(chapter 01_corpus, cell \[4\]\)"):
        run_chapters(smoke_params, tmp_path / "runs", notebooks=notebooks, say=str)


@pytest.mark.parametrize(
    ("tags", "source", "sentence"),
    [
        ([], "seed = 1\nruns = 'r'", "has 0 cells tagged 'parameters'"),
        (["parameters"], "seed = 1", "differs in runs: mend"),
        (["parameters"], "seed = 1\nruns = 'r'\nsead = 2", "differs in sead: mend"),
    ],
)
def test_a_template_must_take_what_is_injected(tags, source, sentence, tmp_path):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": tags})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    with pytest.raises(BadInput, match=sentence):
        read_template(tmp_path / "a.ipynb", {"seed", "runs"})


def test_a_folder_of_other_parameters_is_refused(smoke_params, tmp_path):
    write_params(smoke_params, tmp_path / "smoke")
    write_params(smoke_params, tmp_path / "smoke")
    other = changed(smoke_params, {"seed": 7, "corpus.documents": 25})
    with pytest.raises(BadInput, match=r"corpus.documents \(24 there, 25 now\)") as refusal:
        write_params(other, tmp_path / "smoke")
    assert "seed" in str(refusal.value) and "--start-over" in str(refusal.value)
    start_over(tmp_path / "smoke", say=str)
    write_params(other, tmp_path / "smoke")


def test_what_only_memory_depends_on_may_change_under_way(smoke_params, tmp_path):
    write_params(smoke_params, tmp_path / "smoke")
    other = changed(
        smoke_params, {"machine.micro_batch": 2, "machine.scan_batch": 7, "machine.activation_checkpointing": True}
    )
    write_params(other, tmp_path / "smoke")
    assert read_params(tmp_path / "smoke/params.yaml") == other
    assert params_hash(other) == params_hash(smoke_params) != params_hash(changed(other, {"train.batch_tuples": 3}))


def test_a_chapter_that_was_killed_while_its_copy_was_written_is_no_former_run(stand_ins, smoke_params, tmp_path):
    folder, copy = tmp_path / "runs/smoke", tmp_path / "runs/smoke/06_eval.ipynb"
    write_params(smoke_params, folder)
    for number, name in CHAPTERS.items():
        (folder / "summary.parquet").write_text("values")
        finish_step(start_step(number, smoke_params, folder.parent), [], ["summary.parquet"] if number == 6 else [])
        (folder / f"{name}.ipynb").touch()
    copy.unlink()
    run_chapters(smoke_params, folder.parent, last=6, notebooks=stand_ins(), say=str)
    assert copy.is_file() and not (folder / "previous").exists()

    finish_step(start_step(6, smoke_params, folder.parent), [], ["summary.parquet"])
    run_chapters(smoke_params, folder.parent, first=6, last=6, notebooks=stand_ins(), say=str)
    assert (folder / "previous/summary.parquet").read_text() == "values"


def test_what_is_left_of_a_subset_is_planned_by_what_chapter_01_found(smoke_params, tmp_path):
    asked = changed(smoke_params, {"corpus.documents": 20_000, "corpus.subset": "500", "machine.device": "cpu"})
    whole, here = changed(asked, {"corpus.subset": ""}), this_machine("cpu")
    assert expected_seconds(asked, 5, tmp_path) == estimate_seconds(asked, 5, here)
    (tmp_path / "smoke").mkdir()
    pd.DataFrame({"part": ["seen"] * 568 + ["new"] * 4}).to_parquet(tmp_path / "smoke/docs.parquet")
    found = changed(asked, {"corpus.documents": 568})
    assert expected_seconds(asked, 5, tmp_path) == estimate_seconds(found, 5, here) < estimate_seconds(asked, 5, here)
    assert expected_seconds(whole, 5, tmp_path) == estimate_seconds(whole, 5, here)


def test_start_over_removes_runs_only(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("mine")
    with pytest.raises(BadInput, match="not the folder of a run"):
        start_over(tmp_path / "thesis", say=str)
    assert (tmp_path / "thesis/chapter.txt").read_text() == "mine"


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_run_leaves_no_kernel_and_resumes(number, code, stand_ins, tmp_path):
    runs = tmp_path / "runs"
    notebooks = stand_ins({2: "import time\nif not (folder / 'go').exists(): time.sleep(300)"})
    command = [sys.executable, "-m", "zmem_lib.run", "run", "params/smoke.yaml", "--to", "02"]
    command += ["--runs", str(runs), "--notebooks", str(notebooks)]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    kernel = pid_in(runs / "smoke/out_2.txt")
    driver.send_signal(number)
    _, errors = driver.communicate(timeout=240)
    assert driver.returncode == code
    assert "Traceback" not in errors
    if number == signal.SIGINT:
        assert errors.strip() == "zmem: stopped; give the same command again to resume where it was"
    assert gone(kernel), "the kernel outlived its driver"
    assert not (runs / "smoke/02_tuples.ipynb").exists()
    if number != signal.SIGINT:
        return
    (runs / "smoke/go").touch()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "01_corpus: finished before, skipped" in done.stdout

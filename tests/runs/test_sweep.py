"""A batch of runs: its names, its checks before the first run, failures, resuming, and the same on Ray."""

import os
import re
import signal
import subprocess
import sys
from inspect import signature
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, gone, pid_in

from zmem_lib.chapters import CHAPTERS, NOTEBOOKS, finish_step, start_step
from zmem_lib.files import BadInput, held
from zmem_lib.run import main
from zmem_lib.runs.cluster import last_sentence, share_of
from zmem_lib.runs.pipeline import run_chapters
from zmem_lib.runs.sweep import batch_jobs, is_whole, list_lines, read_grid, run_name, sweep_here

SMOKE = ROOT / "params/smoke.yaml"
GRID = {"corpus.documents": ("24", "30"), "seed": ("1", "2")}
FAILS = "if seed == 2: raise BadInput('seed 2 is bad')"
SUMMARY = """import pandas as pd
from zmem_lib.tables import write_table
from zmem_lib.tables import TABLES
row = ["bm25", "seen", "recall@1", 0.5, 0.4, 0.6, 10, 5]
write_table(pd.DataFrame([row], columns=list(TABLES["summary"])), folder / "summary.parquet", "summary")"""


def names(jobs):
    return [job.params.run for job in jobs]


def test_a_grid_is_the_product_of_its_values_over_every_file():
    jobs = batch_jobs([SMOKE, ROOT / "params/tiny.yaml"], GRID, ["answer.top_k=2"])
    stems = [
        f"{run}-corpus.documents-{n}-seed-{seed}" for run in ("smoke", "tiny") for n in (24, 30) for seed in (1, 2)
    ]
    assert names(jobs) == stems
    assert [(job.params.corpus.documents, job.params.seed) for job in jobs[:4]] == [(24, 1), (24, 2), (30, 1), (30, 2)]
    assert {job.params.answer.top_k for job in jobs} == {2}
    assert names(batch_jobs([SMOKE], {})) == ["smoke"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("500", "a-key-500"),
        ("1.0e-4", "a-key-1.0e-4"),
        ("Qwen/Qwen2.5-0.5B", "a-key-Qwen2.5-0.5B"),
        ("/models/my base/", "a-key-my-base"),
        ("../../x", "a-key-x"),
    ],
)
def test_a_name_is_that_of_a_folder(value, name):
    assert run_name("a", {"key": value}) == name


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["corpus.documents"], "'corpus.documents' is not KEY=VALUE,VALUE"),
        (["corpus.documents="], "is not KEY=VALUE,VALUE"),
        (["run=a,b"], "a run is named after its file and its values"),
        (["seed=1", "seed=2"], "seed stands there twice"),
    ],
)
def test_a_grid_that_cannot_be_read_is_refused(texts, sentence):
    with pytest.raises(BadInput, match=sentence):
        read_grid(texts)


@pytest.mark.parametrize(
    ("files", "grid", "overrides", "sentence"),
    [
        ([SMOKE], {"seed": ("1", "many")}, [], "'seed' must be a valid integer"),
        ([SMOKE], {"sead": ("1",)}, [], "did you mean 'seed'"),
        ([SMOKE], {"seed": ("1",)}, ["seed=2"], "seed stands in --set and in --grid"),
        ([SMOKE, SMOKE], {}, [], "two runs of one name, smoke"),
        ([SMOKE], {"lm.name": ("x/one", "y/one")}, [], "two runs of one name, smoke-lm.name-one"),
    ],
)
def test_all_runs_are_checked_before_the_first(files, grid, overrides, sentence):
    shape = (
        ["lm.vocab_size=0", "lm.hidden_size=0", "lm.layers=0", "lm.heads=0", "train.optimiser=adamw"]
        if "lm.name" in grid
        else []
    )
    with pytest.raises(BadInput, match=sentence):
        batch_jobs(files, grid, [*overrides, *shape])


def executor(bad_seed=0, called=None):
    """What stands in for pipeline.run_chapters: leaves manifests and copies, of a bad seed those of chapter 01 only."""

    def execute(params, runs, *, notebooks, say):
        signature(run_chapters).bind(params, runs, notebooks=notebooks, say=say)
        (called if called is not None else []).append(params.run)
        for number, name in CHAPTERS.items():
            if params.seed == bad_seed and number > 1:
                raise BadInput(f"seed {bad_seed} is bad")
            finish_step(start_step(number, params, runs), [], [])
            (runs / params.run / f"{name}.ipynb").touch()

    return execute


def test_a_batch_goes_on_after_a_failure_and_resumes(tmp_path):
    runs, said = tmp_path / "runs", []
    jobs = batch_jobs([SMOKE], GRID)
    batch = (jobs, runs, NOTEBOOKS)
    with held(runs / names(jobs)[2]):  # somebody else is at work there
        failures = sweep_here(*batch, execute=executor(bad_seed=2), say=said.append)
    assert list(failures) == names(jobs)[1:]
    assert "seed 2 is bad" in failures[names(jobs)[1]] and f"{names(jobs)[1]}: failed: seed 2 is bad" in said
    assert "another run works in" in failures[names(jobs)[2]]
    assert [is_whole(job.params, runs) for job in jobs] == [True, False, False, False]

    lines = list_lines(jobs, runs)
    assert lines[0].endswith("  finished") and "1 of its chapters are done" in lines[1] and "about" in lines[-1]

    called = []
    assert sweep_here(*batch, execute=executor(called=called), say=said.append) == {}
    assert called == names(jobs)[1:]
    said.clear()
    assert sweep_here(*batch, say=said.append) == {}
    assert said == [f"{name} ({i} of 4): finished before, skipped" for i, name in enumerate(names(jobs), 1)]
    assert list_lines(jobs, runs)[-1].endswith("  finished")


def test_the_command_says_which_failed_and_ends_with_1(stand_ins, tmp_path, capsys):
    runs, notebooks = tmp_path / "runs", stand_ins({1: FAILS})
    command = ["sweep", str(SMOKE), "--grid", "seed=2,1", "--runs", str(runs), "--notebooks", str(notebooks)]
    assert main([*command, "--list"]) == 0 and not runs.exists()
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == ["smoke-seed-2", "smoke-seed-1", "in"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert re.match(r"zmem: 1 of 2 runs failed \(the same command .*\): smoke-seed-2: seed 2 is bad", printed.err)
    assert "smoke-seed-1 (2 of 2)" in printed.out and (runs / "smoke-seed-1/07_report.ipynb").is_file()


@pytest.mark.long
def test_ctrl_c_ends_the_batch_and_not_one_run_of_it(stand_ins, tmp_path):
    runs = tmp_path / "runs"
    batch = sweep_process(runs, stand_ins({2: "import time\ntime.sleep(300)"}))
    kernel = pid_in(runs / "smoke-seed-1/out_2.txt", batch)
    batch.send_signal(signal.SIGINT)
    _, errors = batch.communicate(timeout=60)
    assert batch.returncode == 130 and errors.count("zmem: stopped") == 1
    assert gone(kernel) and not (runs / "smoke-seed-2").exists()


def test_a_run_has_a_share_of_the_cluster():
    assert share_of({"CPU": 16.0, "GPU": 4.0, "memory": 1e9}) == {"num_cpus": 2, "num_gpus": 1}
    assert share_of({"CPU": 1.0}) == {"num_cpus": 1, "num_gpus": 0}


def test_what_a_run_said_last_is_its_reason(tmp_path):
    (tmp_path / "log").write_text("01_corpus: about 5 s ...\nzmem: seed 2 is bad\n\n")
    assert last_sentence(tmp_path / "log", 2).startswith("seed 2 is bad (all it said")
    assert last_sentence(tmp_path / "log", -9).startswith("died without a word")
    assert last_sentence(tmp_path / "log", 0) == ""


def test_without_ray_one_sentence_says_how_to_get_it(stand_ins, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    where = ["--runs", str(tmp_path / "runs"), "--notebooks", str(stand_ins())]
    assert main(["sweep", str(SMOKE), "--on", "ray", *where]) == 2
    assert "needs the package ray: install it with pip install 'zmem[cluster]'" in capsys.readouterr().err


@pytest.mark.long
def test_a_batch_on_ray_goes_on_after_a_failure_and_a_crash_and_ends_by_ctrl_c(stand_ins, tmp_path):
    pytest.importorskip("ray")
    runs, fourth = tmp_path / "runs", tmp_path / "runs/smoke-seed-4"
    (job,) = batch_jobs([SMOKE], {"seed": ("1",)})
    executor()(job.params, runs, notebooks=tmp_path, say=str)
    (runs / "smoke-seed-1/07_report.ipynb").unlink()  # what is left to do of it
    crash, wait = "if seed == 3: os.kill(os.getppid(), 9)", "import time\nif seed == 4: time.sleep(300)"
    notebooks = stand_ins({1: "\n".join([FAILS, crash, wait]), 7: SUMMARY})
    batch = sweep_process(runs, notebooks, "--grid", "seed=1,2,3,4", "--on", "ray")
    heard = ""
    while heard.count(" of 4)") < 3:  # there may be cores for several at once
        line = batch.stdout.readline()
        if not line and "timed out during startup" in (errors := batch.stderr.read()):
            pytest.skip(errors)  # Ray grants itself 30 seconds, which a machine at work may not have
        assert line, heard + batch.stderr.read()
        heard += line
    kernel, family = pid_in(fourth / "out_1.txt", batch), psutil.Process(batch.pid).children(recursive=True)
    batch.send_signal(signal.SIGINT)
    _, errors = batch.communicate(timeout=300)
    assert batch.returncode == 130 and errors.count("zmem: ") == 1 and "Traceback" not in errors, errors
    assert gone(kernel) and not psutil.wait_procs(family, timeout=30)[1]

    said = {line.split(" (")[0]: line.partition("): ")[2] for line in heard.splitlines()}
    assert said["smoke-seed-1"].startswith("done in ") and (runs / "smoke-seed-1/07_report.ipynb").is_file()
    assert said["smoke-seed-2"].startswith("failed: seed 2 is bad")
    assert said["smoke-seed-3"].startswith("failed: died without a word")
    assert "01_corpus: about" in (fourth / "sweep.log").read_text() and not (fourth / "01_corpus.ipynb").exists()


def sweep_process(runs: Path, notebooks: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-u", "-m", "zmem_lib.run", "sweep", str(SMOKE), "--runs", str(runs)]
    command += ["--notebooks", str(notebooks), *(more or ["--grid", "seed=1,2"])]
    environment = os.environ | {"RAY_ADDRESS": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)

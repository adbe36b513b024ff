"""The command line: what a mistake prints, what --help says, how long a chapter is said to take."""

import json

import pytest
from conftest import ROOT, zmem

from zmem_lib.chapters import CHAPTERS
from zmem_lib.params import changed, flat
from zmem_lib.run import main
from zmem_lib.runs.machine import measure_flops_per_second
from zmem_lib.runs.plan import earlier_seconds, estimate_seconds
from zmem_lib.text import about

SMOKE = str(ROOT / "params/smoke.yaml")
MISTAKES = [
    (["run", "params/none.yaml"], "params/none.yaml does not exist"),
    (["run", SMOKE, "--set", "n_document=5"], "did you mean 'n_documents'"),
    (["run", SMOKE, "--set", "corpus.documents=many"], "must be a whole number"),
    (["run", SMOKE, "--set", "train.z_lr=1e-2"], "write 1.0e-4"),
    (["run", SMOKE, "--set", "seed"], "has no '='"),
    (["run", SMOKE, "--set", "seed=[1"], "not valid YAML"),
    (["run", SMOKE, "--from", "05", "--to", "03"], "--from 05 comes after --to 03"),
    (["run", SMOKE, "--from", "02"], "01_corpus of runs/smoke is not finished"),
    (["run", SMOKE, "--to", "03", "--book"], "--book needs chapter 07"),
    (["ask", "nowhere", "who?"], "not the folder of a run (there is none yet)"),
    (["ask", "nowhere", " "], "the question is empty"),
    (["ask", "nowhere", "who?", "--top-k", "0"], "--top-k must be at least 1"),
    (["book"], "no run in runs went through to chapter 07"),
    (["book", "nowhere"], "run folder runs/nowhere does not exist"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES, ids=[" ".join(a)[-40:] for a, _ in MISTAKES])
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("zmem: ") and printed.err.count("\n") == 1
    assert sentence in printed.err


@pytest.mark.parametrize("content", ["run: [1", "- a\n- b", "\x00", ""])
def test_a_broken_parameter_file_is_named(content, capsys, tmp_path):
    (tmp_path / "p.yaml").write_text(content)
    assert main(["run", str(tmp_path / "p.yaml")]) == 2
    assert "p.yaml" in capsys.readouterr().err


def test_a_mistake_shows_no_traceback_in_a_process_of_its_own():
    done = zmem("run", SMOKE, "--set", "sead=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "did you mean 'seed'" in done.stderr


def test_help_names_every_command_and_option(capsys):
    for arguments, words in [
        ([], ["run", "ask", "book", "params/tiny.yaml"]),
        (["run"], ["--set KEY=VALUE", "--from NN", "--to NN", "--runs DIR", "--start-over", "resumes"]),
        (["plan"], ["--price DOLLARS", "--measure", "--set KEY=VALUE", "before anything is downloaded"]),
        (["ask"], ["--top-k N", "QUESTION", "evidence"]),
        (["book"], ["RUN", "front page"]),
    ]:
        with pytest.raises(SystemExit, match="0"):
            main([*arguments, "--help"])
        said = capsys.readouterr().out
        assert [word for word in words if word not in said] == []


@pytest.mark.parametrize("value", ["0", "08", "first", "-1"])
def test_a_chapter_is_a_number_from_1_to_7(value, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", SMOKE, f"--from={value}"])
    assert "give 01 to 07" in capsys.readouterr().err


def test_estimates_grow_with_the_work(smoke_params):
    for chapter in CHAPTERS:
        assert 0 < estimate_seconds(smoke_params, chapter, 1.0e10) < 600
    longer = changed(smoke_params, {"train.steps": 40_000})
    assert estimate_seconds(longer, 3, 1.0e10) > 100 * estimate_seconds(smoke_params, 3, 1.0e12)
    larger = changed(smoke_params, {"corpus.documents": 10_000})
    assert estimate_seconds(larger, 5, 1.0e10) > estimate_seconds(smoke_params, 5, 1.0e10)
    assert measure_flops_per_second(size=256, repeats=2) > 1.0e7


def test_an_earlier_run_is_believed_before_the_formula(smoke_params, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/manifest_03.json").write_text(
        json.dumps({"params": flat(changed(smoke_params, {"run": "other"})), "seconds": 12.5})
    )
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/manifest_03.json").write_text("{}")
    assert earlier_seconds(tmp_path, smoke_params, 3) == 12.5
    assert earlier_seconds(tmp_path, changed(smoke_params, {"seed": 9}), 3) is None


def test_durations_are_said_as_one_says_them():
    assert [about(s) for s in (1, 42, 170, 9000)] == ["about 5 s", "about 40 s", "about 3 min", "about 2.5 h"]

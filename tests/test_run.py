"""The command line: what a mistake prints, what --help says, and questions that are typed in."""

import io
import tomllib

import pytest
from conftest import ROOT, zmem

from zmem_lib import run
from zmem_lib.run import COMMANDS, main

SMOKE = str(ROOT / "params/smoke.yaml")
MISTAKES = [
    (["run", "params/none.yaml"], "params/none.yaml does not exist"),
    (["run", SMOKE, "--set", "n_documents=5"], "it is called 'corpus.documents' now"),
    (["run", SMOKE, "--set", "corpus.documents=many"], "must be a valid integer"),
    (["run", SMOKE, "--set", "train.z_rate=1e-2"], "write 1.0e-4"),
    (["run", SMOKE, "--set", "seed"], "has no '='"),
    (["run", SMOKE, "--set", "seed=[1"], "not valid YAML"),
    (["run", SMOKE, "--from", "05", "--to", "03"], "--from 05 comes after --to 03"),
    (["run", SMOKE, "--from", "02"], "01_corpus of runs/smoke is not finished"),
    (["run", SMOKE, "--to", "03", "--book"], "--book needs chapter 07"),
    (["plan", SMOKE, SMOKE, "--measure"], "--measure takes one parameter file"),
    (["ask", "nowhere", "who?"], "not the folder of a run (there is none yet)"),
    (["ask", "nowhere"], "not the folder of a run (there is none yet)"),
    (["ask", "nowhere", " "], "the question is empty"),
    (["ask", "nowhere", "who?", "--top-k", "0"], "--top-k must be at least 1"),
    (["book"], "no run in runs went through to chapter 07"),
    (["book", "nowhere"], "run folder runs/nowhere does not exist"),
    (["keep", "nowhere", "--as", "../x"], "names a folder in results/runs"),
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
        ([], [*COMMANDS, "params/squad.yaml", "Execute the chapters 01 to 07 with the parameters of a YAML file\n"]),
        (["run"], ["--set KEY=VALUE", "--from NN", "--to NN", "--runs DIR", "--start-over", "resumes"]),
        (["plan"], ["--price DOLLARS", "--measure", "--set KEY=VALUE", "before anything is downloaded"]),
        (["ask"], ["--top-k N", "[QUESTION]", "evidence"]),
        (["book"], ["RUN", "front page"]),
        *(([name], ["--help", "."]) for name in COMMANDS),
    ]:
        with pytest.raises(SystemExit, match="0"):
            main([*arguments, "--help"])
        said = capsys.readouterr().out
        assert [word for word in words if word not in said] == []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`zmem {name} " not in readme] == [], "each stands in the table of commands"


@pytest.mark.parametrize("value", ["0", "08", "first", "-1"])
def test_a_chapter_is_a_number_from_1_to_7(value, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", SMOKE, f"--from={value}"])
    said = capsys.readouterr().err
    assert "argument --from: invalid" in said
    assert f"invalid int value: {value!r}" in said or "choose from 1, 2, 3, 4, 5, 6, 7" in said


def test_questions_are_asked_for_until_an_empty_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("zmem_lib.systems.collection.open_collection", lambda run, runs: None)
    monkeypatch.setattr(
        "zmem_lib.systems.ask.answer_lines", lambda collection, question, top_k: [f"{question} {top_k}"]
    )
    for typed, told in (("who?\n where? \n\nnot read\n", ["who? 2", "where? 2"]), ("who?", ["who? 2"]), ("", [])):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert main(["ask", "tiny", "--top-k", "2", "--runs", str(tmp_path)]) == 0
        assert [line for line in capsys.readouterr().out.replace("question: ", "").splitlines() if line] == told


def test_the_installed_command_is_this_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"zmem": f"{run.__name__}:{main.__name__}"}

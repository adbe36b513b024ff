"""Parameter files: every one is readable and says only what differs, every mistake in one is named."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from zmem_lib.files import BadInput
from zmem_lib.params import (
    FIRST_CHAPTER,
    LATE,
    changed,
    check_params,
    completed,
    counted,
    described,
    dumped,
    flat,
    from_flat,
    named,
    param_lines,
    params_hash,
    read_params,
    resolve,
    without_places,
)
from zmem_lib.run import main
from zmem_lib.sections import Params

FILES = sorted((ROOT / "params").glob("*.yaml"))
TINY = read_params(ROOT / "params/tiny.yaml")


def write(folder: Path, **files: str) -> Path:
    """Parameter files by their stems; the last one's path."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_names_its_run_and_repeats_nothing_that_it_extends(path):
    assert read_params(path).run == path.stem
    own = yaml.safe_load(path.read_text(encoding="utf-8"))
    bases = own.pop("extends", [])
    below = completed({})
    for base in [bases] if isinstance(bases, str) else bases:
        below |= resolve(path.parent / base)[0]
    assert [name for name, value in from_flat(own).items() if below.get(name) == value] == []


def test_a_file_over_two_others_that_share_one(tmp_path):
    path = write(
        tmp_path,
        shared="seed: 3\ntrain: {steps: 5, lm_lr: 0.1}\n",
        left="extends: shared.yaml\ntrain: {steps: 6}\n",
        right="extends: shared.yaml\nwrite: {steps: 7}\n",
        own="extends: [left.yaml, right.yaml]\nrun: a\nlm: {name: org/name}\ntrain: {z_rate: 0.2}\n",
    )
    params = read_params(path, ["write.steps=8", "corpus.path=", "train.lm=false", "report.language=ko"])
    assert (params.seed, params.train.lm_lr, params.train.z_rate) == (3, 0.1, 0.2)
    assert params.train.steps == 5, "the last of several that it extends counts, with what that one extends"
    assert (params.write.steps, params.corpus.path, params.train.lm) == (8, "", False)
    _, origins = resolve(path, ["write.steps=8"])
    assert {name: Path(origin).stem for name, origin in origins.items()} == {
        "run": "own", "lm.name": "own", "train.z_rate": "own", "seed": "shared", "train.steps": "shared",
        "train.lm_lr": "shared", "write.steps": "the command line",
    }  # fmt: skip
    lines = param_lines(path, ["write.steps=8"])
    assert len(lines) == len(flat(params)) == len(described())
    assert [line for line in lines if line.startswith("write.steps")] == [
        f"{'write.steps = 8':36}  updates of a block (int >= 1); the command line"
    ]
    assert next(line for line in lines if line.startswith("answer.top_k")).endswith("; default")


def test_a_file_that_extends_itself_is_named(tmp_path):
    path = write(tmp_path, a="extends: b.yaml\nrun: a\n", b="extends: a.yaml\n")
    with pytest.raises(BadInput, match=r"b.yaml extends itself, through .*a.yaml: remove one of the two lines"):
        read_params(path)
    for text, sentence in (("extends: none.yaml", "none.yaml does not exist"), ("extends: 3", "extends must be the n")):
        with pytest.raises(BadInput, match=sentence):
            read_params(write(tmp_path, a=f"{text}\nrun: a\n"))


def test_a_run_opens_when_there_is_a_key_more_than_when_it_was_made(tmp_path):
    values = TINY.model_dump()
    del values["train"]["distill_weight"], values["memory"]["start"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    assert read_params(path) == TINY, "with the neutral default"
    path.write_text(dumped(TINY))
    assert read_params(path) == TINY
    path.write_text(dumped(TINY) + "new_key: 1\n")
    with pytest.raises(BadInput, match="unknown parameter 'new_key'"):
        read_params(path)


def test_a_run_with_flat_keys_opens(tmp_path):
    old = {
        "run": "old", "lm": "scratch", "vocab_size": 512, "hidden_size": 64, "layers": 2, "heads": 2, "lm_lr": 0.5,
        "n_documents": 7, "markup_documents": 2, "top_k": 3, "pseudo_questions": 4, "text_weight": 1.0,
    }  # fmt: skip
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(old))
    params = read_params(path)
    assert (params.lm.name, params.corpus.documents, params.train.lm_lr) == ("scratch", 7, 0.5)
    assert (params.answer.top_k, params.train.read_items, params.train.self_questions) == (3, 3, 4)
    assert params.answer.dense_epochs == 0
    path.write_text(yaml.safe_dump(old | {"dense_steps": 80}))
    assert read_params(path).answer.dense_epochs == 1, "80 steps then: the tuned encoder was there"
    assert completed({"answer.dense_steps": 10})["answer.dense_epochs"] == 1
    assert completed({"answer.dense_steps": 0})["answer.dense_epochs"] == 0
    path.write_text("run: old\nanswer: {dense_steps: 80}\n")
    with pytest.raises(BadInput, match=r"'answer.dense_steps': it is called 'answer.dense_epochs' now"):
        read_params(path)
    path.write_text(yaml.safe_dump(old | {"n_dokuments": 1}))
    with pytest.raises(BadInput, match="unknown parameter 'n_dokuments'"):
        read_params(path)


def test_hash_and_what_counts_up_to_a_chapter():
    assert params_hash(TINY) == params_hash(changed(TINY, {})) != params_hash(changed(TINY, {"seed": 2}))
    other = {
        "corpus": {"documents": 9}, "lm": {"window_tokens": 600}, "memory": {"z_tokens": 2}, "train": {"steps": 9},
        "write": {"steps": 9}, "answer": {"top_k": 2}, "evaluate": {"bootstrap_samples": 9},
        "report": {"language": "ko"}, "machine": {"device": "cpu", "micro_batch": 3, "api_budget": 1.0},
    }  # fmt: skip
    for section, values in other.items():
        now = changed(TINY, {f"{section}.{key}": value for key, value in values.items()})
        moved = [number for number in range(1, 8) if params_hash(now, number) != params_hash(TINY, number)]
        assert moved == list(range(FIRST_CHAPTER.get(section, 8), 8)), section
        assert (set(counted(flat(now), 7)) >= {f"{section}.{key}" for key in values}) == (section != "machine")
    assert [name for name in flat(TINY) if name not in counted(flat(TINY), 7) and not name.startswith("machine.")] == [
        "run"
    ]
    assert {name.rstrip(".") for name in LATE} == {name for name, first in FIRST_CHAPTER.items() if first > 4} | {
        "machine"
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"corpus.document": 5}, "unknown parameter 'corpus.document': did you mean 'corpus.documents'?"),
        ({"n_documents": 5}, "unknown parameter 'n_documents': it is called 'corpus.documents' now"),
        ({"markup_documents": 5}, "unknown parameter 'markup_documents': there is none any more"),
        ({"corpus": "squad"}, "'corpus' is a section, not a parameter: write for instance corpus.name"),
        ({"trian.steps": 5}, "unknown parameter 'trian.steps': did you mean 'train.steps'?"),
        ({"run.name": "a"}, "unknown parameter 'run.name': did you mean"),
        ({"corpus.documents": "many"}, "parameter 'corpus.documents' must be a valid integer, not 'many'"),
        ({"corpus.documents": 4.5}, "'corpus.documents' must be a valid integer, not 4.5"),
        ({"corpus.documents": True}, "'corpus.documents' must be a valid integer, not True"),
        ({"corpus.documents": 0}, "'corpus.documents' must be greater than or equal to 1, not 0"),
        ({"corpus.documents": 2**31}, "'corpus.documents' must be less than or equal to 2147483647"),
        ({"seed": -1}, "'seed' must be greater than or equal to 0, not -1"),
        (
            {"train.z_rate": "1e-2"},
            "'train.z_rate' must be a valid number, not '1e-2' (YAML reads 1e-4 as text: write 1.0e-4)",
        ),
        ({"train.z_rate": float("nan")}, "'train.z_rate' must be a finite number, not nan"),
        ({"train.self_questions_after": 1.0}, "'train.self_questions_after' must be less than 1, not 1.0"),
        ({"train.lm": "yes"}, "'train.lm' must be a valid boolean, not 'yes'"),
        (
            {"corpus.name": "squat"},
            "'corpus.name' must be synthetic, almanac, folder, texts, squad, mirage, ragbench, t2ragbench or popqa",
        ),
        ({"run": "../elsewhere"}, "names a folder"),
        ({"run": "a b"}, "names a folder"),
        ({"lm.adapter": "."}, "lm.adapter needs a model that learns through one: raise lm.lora_rank"),
        ({"answer.reader": "schooled"}, "answer.reader schooled needs an adapter that has learned to read"),
        ({"lm.hidden_size": 100, "lm.heads": 3}, "lm.hidden_size 100 must be a multiple of twice lm.heads (3)"),
        (
            {"memory.start": "pooled", "write.start": "encode"},
            "memory.start and write.start cannot be encode and pooled",
        ),
        ({"memory.kind": "kv", "memory.z_width": 0}, "set memory.start and write.start both to chosen"),
        ({"memory.start": "chosen", "write.start": "pooled"}, "cannot be chosen and pooled"),
        (
            {"memory.kind": "kv", "memory.z_width": 8, "memory.start": "chosen", "write.start": "chosen"},
            "memory.z_width 8 is of soft tokens",
        ),
        (
            {
                "memory.kind": "kv",
                "memory.z_width": 0,
                "memory.start": "chosen",
                "write.start": "chosen",
                "machine.activation_checkpointing": True,
            },
            "machine.activation_checkpointing drops keys and values",
        ),
    ],
)
def test_a_mistake_is_named(change, sentence):
    with pytest.raises(BadInput, match="the file: ") as refusal:
        check_params({**flat(TINY), **change}, "the file")
    assert sentence in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_run_without_a_name_is_refused():
    with pytest.raises(BadInput, match="parameter 'run' is missing: add a line for it"):
        check_params({}, "the file")


def test_paths_are_made_whole_but_words_with_a_meaning_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("scratch", "packaged", "mine"):
        (tmp_path / name).mkdir()
    given = ["corpus.path=mine", "answer.rerank_model=org/name"]
    params = read_params(ROOT / "params/tiny.yaml", given)
    assert (params.lm.name, params.answer.dense_model, params.answer.rerank_model) == (
        "scratch",
        "packaged",
        "org/name",
    )
    assert params.corpus.path == str(tmp_path / "mine")
    (tmp_path / "models/mine").mkdir(parents=True)
    assert named("org/name") == "org/name" and named("models/mine") == "mine" and named("/a/b") == "b" == named("../b")
    places = {"corpus.path": "data/squad", "evaluate.human_labels": "b/labels.csv", "evaluate.judge_model": "/m/nli"}
    assert without_places({"seed": 1, **places}) == {
        "seed": 1, "corpus.path": "squad", "evaluate.human_labels": "labels.csv", "evaluate.judge_model": "nli",
    }  # fmt: skip


def test_every_parameter_says_what_it_means_within_its_bounds():
    for name, (meaning, bounds) in described().items():
        assert meaning and bounds, name
    assert described()["train.recite_inside"][1] == "float >= 0 <= 1"
    assert described()["corpus.documents"][1] == "int >= 1"
    assert described()["report.language"][1] == "en | ko"
    with pytest.raises(ValueError, match="frozen"):
        Params(run="a").seed = 2


def test_the_command_prints_them_and_stops_when_nobody_reads_on(capsys):
    assert main(["params", str(ROOT / "params/smoke.yaml"), "--set", "seed=9", "--set", "train.steps=8"]) == 0
    printed = capsys.readouterr().out
    assert "seed = 9" in printed and "train.steps = 8" in printed and "params/shared/full.yaml" in printed
    command = f"{sys.executable} -m zmem_lib.run params params/tiny.yaml | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith('run = "tiny"') and done.stderr == ""

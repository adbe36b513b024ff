"""The ablation: what its rows replace, which runs it makes, and that it goes on where it was stopped."""

import json
import shutil
from dataclasses import replace

import pytest
from conftest import ROOT
from fake_runs import executor, fake_run

from zmem_lib.ablation import PARTS, ROWS, is_off
from zmem_lib.files import BadInput, held
from zmem_lib.params import changed, check_params, flat, read_params
from zmem_lib.report.results import read_manifest
from zmem_lib.run import main
from zmem_lib.runs.ablate import Study, ablate, jobs, known_rows, off_rows, row_lines
from zmem_lib.runs.pipeline import write_params

PLAIN = ROWS["plain"][0]
SMOKE = str(ROOT / "params/smoke.yaml")
ALL_ON = {
    "lm.name": "models/base", "lm.vocab_size": 0, "lm.hidden_size": 0, "lm.layers": 0, "lm.heads": 0,
    "lm.lora_rank": 0, "memory.z_width": 32, "memory.key_width": 16, "memory.start": "encode",
    "train.encode_share": 0.2, "train.encode_weight": 0.1, "train.text_weight": 0.2, "train.key_weight": 0.2,
    "train.key_negatives": 2, "train.distill_weight": 0.2, "train.distractor_share": 0.1, "train.self_questions": 2,
    "train.id_steps": 4, "write.start": "encode", "write.stop": 0.9, "write.proximal": 0.1, "write.self_questions": 2,
    "answer.select": "key_then_likelihood",
}  # fmt: skip
BUDGET = {
    "corpus.documents", "corpus.new_documents", "train.steps", "train.batch_tuples", "train.batch_recite",
    "train.batch_read", "train.batch_text", "memory.z_tokens", "write.steps", "train.read_weight", "answer.questions",
}  # fmt: skip


@pytest.fixture
def all_on(smoke_params):
    return check_params({**flat(smoke_params), **ALL_ON}, "a file with every part on")


@pytest.fixture
def study(smoke_params, tmp_path):
    few = {"train.question_weight": 0.5, "train.recite_weight": 1.0, "train.recite_inside": 0.5, "train.steps": 40}
    rows, folders = ("plain", "full", "recite"), (tmp_path / "runs", tmp_path / "results")
    return Study(changed(smoke_params, PLAIN | few), rows, (0, 1), *folders)


def test_every_row_changes_its_part_and_no_budget(all_on, tmp_path):
    made = jobs(Study(all_on, tuple(ROWS), (3,), tmp_path, tmp_path))
    assert [job.row for job in made] == list(ROWS), "with every part on, no row is off"
    full = flat(made[2].params)
    for job in made:
        values = flat(job.params)
        moved = {key for key in values if values[key] != full[key]} - {"run"}
        overrides = ROWS[job.row][0]
        assert {key: values[key] for key in overrides} == overrides
        assert moved == {key for key, value in overrides.items() if full[key] != value}
        assert bool(moved) == (job.row != "full") and not moved & BUDGET
        assert (values["seed"], values["run"]) == (3, f"ablation-smoke-{job.row}-3")
    assert len({job.params for job in made}) == len(ROWS), "two rows are the same run"


def test_the_plain_formula_has_no_part_of_ours(all_on):
    plain = {**flat(all_on), **PLAIN}
    for row in set(PARTS) - {"base", "muon"}:  # what learns how fast is no part of a formula
        switch = next(iter(PARTS[row][0]))
        assert plain[switch] == PARTS[row][0][switch], f"{row} is on in the plain formula"
    assert {key for key in plain if key.endswith("_weight") and plain[key]} == {"train.read_weight"}


def test_a_part_that_is_off_in_the_file_makes_no_row(study):
    everything = replace(study, rows=tuple(ROWS), seeds=(1,))
    added = ["muon", "with-distill", "with-distractors", "with-encode"]
    off = [job.row for job in jobs(everything)]
    assert off == ["frozen", "plain", "full", "recite", "recite-inside", "question", *added]
    wider = changed(study.params, {"lm.vocab_size": 1024})  # made from scratch already, whatever its shape
    assert "base" in off_rows(replace(everything, params=wider))
    plain = check_params({**flat(study.params), **PLAIN}, "the plain formula")
    assert [job.row for job in jobs(replace(everything, params=plain))] == ["frozen", "full", *added]


def test_rows_are_made_once_and_again_where_parameters_change(study, tmp_path):
    called, said = [], []
    execute = executor(lambda params: 0.25 * params.seed, called)
    ablate(replace(study, rows=("full", "key")), execute=execute, say=said.append)
    assert called == ["ablation-smoke-full-0", "ablation-smoke-full-1"]
    assert said[0] == "row key: off in this file already, skipped"

    ablate(study, execute=execute, say=said.append)
    assert called[2:] == [f"ablation-smoke-{row}-{seed}" for row in ("plain", "recite") for seed in (0, 1)]
    assert [line.split(":")[0] for line in said if "kept in" in line and "skipped" in line] == [
        "ablation-smoke-full-0 (3 of 6)", "ablation-smoke-full-1 (4 of 6)",
    ]  # fmt: skip
    folders = sorted(path.name for path in (study.results / "ablations/smoke").iterdir())
    assert folders == ["full-0", "full-1", "plain-0", "plain-1", "recite-0", "recite-1"]
    manifest = read_manifest(study.results / "ablations/smoke/recite-1")
    assert (manifest["row"], manifest["seed"]) == ("recite", 1)
    assert manifest["overrides"] == {"train.recite_weight": 0.0, "train.recite_inside": 0.0}

    shutil.rmtree(study.runs)  # what is kept does not need the run
    ablate(study, execute=execute, say=said.append)
    assert len(called) == 6
    longer = replace(study, params=changed(study.params, {"train.steps": 80}), rows=("full",))
    ablate(longer, execute=execute, say=said.append)
    assert called[6:] == ["ablation-smoke-full-0", "ablation-smoke-full-1"]
    assert read_manifest(study.results / "ablations/smoke/full-0")["params"]["train.steps"] == 80


def test_a_run_of_other_parameters_is_removed_only_on_demand(study):
    one = replace(study, rows=("full",), seeds=(0,))
    left = study.runs / "ablation-smoke-full-0"
    write_params(changed(study.params, {"run": left.name, "train.steps": 7}), left)
    execute = executor(lambda params: 0.5, [])
    with pytest.raises(BadInput, match=r"train.steps \(7 there, 40 now\).*--start-over"):
        ablate(one, execute=execute, say=str)
    ablate(replace(one, again=True), execute=execute, say=str)
    assert read_params(left / "params.yaml").train.steps == 40


def test_a_row_that_fails_leaves_the_others_kept_and_is_made_next_time(study):
    called = []
    fine = executor(lambda params: 0.5, called)

    def failing(params, runs, **options):
        if params.run == "ablation-smoke-plain-1":
            raise BadInput("no space left")
        return fine(params, runs, **options)

    with pytest.raises(BadInput, match="no space"):
        ablate(study, execute=failing, say=str)
    assert called == ["ablation-smoke-plain-0"]
    ablate(study, execute=fine, say=str)
    assert len(called) == 6 and len(set(called)) == 6


def test_rows_of_other_code_are_listed_as_such_and_made_again(study):
    one = replace(study, rows=("full",), seeds=(0, 1))
    called, said = [], []
    execute = executor(lambda params: 0.5, called)
    ablate(one, execute=execute, say=str)
    paths = [study.results / f"ablations/smoke/full-{seed}/manifest.json" for seed in (0, 1)]
    for path, other in zip(paths, ({"03": "of another revision"}, {}), strict=True):
        manifest = json.loads(path.read_text())
        path.write_text(json.dumps(manifest | {"code": manifest["code"] | other}))
    assert "(kept: 1 of 2 seeds, 1 of other code)" in row_lines(one)[0]
    called.clear()
    ablate(one, execute=execute, say=said.append)
    assert called == ["ablation-smoke-full-0"] and said[0].endswith("(again: what is kept is of other code)")
    assert "(kept: 2 of 2 seeds)" in row_lines(one)[0]
    moved = replace(one, params=changed(one.params, {"machine.micro_batch": 2}))
    assert "(kept: 2 of 2 seeds)" in row_lines(moved)[0], "what a run takes is no other row"
    other = replace(one, params=changed(one.params, {"train.steps": 9}))
    assert "(kept: 0 of 2 seeds, 2 of other parameters)" in row_lines(other)[0]


def test_rows_of_the_time_before_sections_are_read_and_listed(study):
    made = study.results / "ablations/smoke/full-0"
    shutil.copytree(ROOT / "tests/kept/full-0", made)
    assert "kept: 0 of 2 seeds, 1 of other parameters" in row_lines(replace(study, rows=("full",)))[0]
    tiny = replace(study, params=read_params(ROOT / "params/tiny.yaml"), rows=("full",), results=ROOT / "results")
    assert is_off(flat(study.params), "key") and "full" in row_lines(tiny)[0]


def test_a_row_is_locked_while_it_runs(study):
    def execute(params, runs, **options):
        with pytest.raises(BadInput, match="another run works in"), held(runs / params.run):
            pass
        return fake_run(params, runs)

    ablate(replace(study, rows=("full",), seeds=(0,)), execute=execute, say=str)


def test_mistakes_are_found_before_the_first_run(study):
    with pytest.raises(BadInput, match="no row 'distil': did you mean 'distill'"):
        known_rows(["full", "distil"])
    assert known_rows(["key", "full"]) == ("full", "key") and known_rows([]) == tuple(ROWS)
    called = []
    with pytest.raises(
        BadInput, match="row plain of the ablation: parameter 'seed' must be greater than or equal to 0"
    ):
        ablate(replace(study, seeds=(0, -1)), execute=executor(lambda params: 0.5, called), say=str)
    assert called == []


def test_the_list_says_what_is_kept_and_what_is_replaced(study):
    rows = ("full", "recite", "key")
    ablate(replace(study, rows=("full",), seeds=(0,)), execute=executor(lambda params: 0.5, []), say=str)
    full, recite, changes, key = row_lines(replace(study, rows=rows))
    assert full.startswith("full ") and "kept: 1 of 2 seeds" in full
    assert "kept: 0 of 2 seeds" in recite and changes.split() == ["train.recite_weight=0.0", "train.recite_inside=0.0"]
    assert "off in this file" in key


def test_the_command_lists_and_refuses(capsys, tmp_path):
    assert main(["ablate", SMOKE, "--rows", "full", "key", "--seeds", "5", "--list", "--results", str(tmp_path)]) == 0
    assert "kept: 0 of 1 seeds" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert main(["ablate", SMOKE, "--rows", "keys"]) == 2
    assert (
        capsys.readouterr().err == "zmem: the ablation has no row 'keys': did you mean 'key' (--list names them all)\n"
    )

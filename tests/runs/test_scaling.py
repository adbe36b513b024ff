"""A training step with few and many documents."""

import pytest
from tiny_models import small_params

from zmem_lib.memory.train import train_step
from zmem_lib.run import main
from zmem_lib.runs.scaling import make_setting, own_lessons, step_times

PARAMS = small_params({"memory.key_width": 8, "train.encode_share": 0.5, "train.key_weight": 0.1, "train.key_negatives": 2, "corpus.documents": 6, "corpus.new_documents": 2})


def test_every_size_is_timed_in_memory_and_the_largest_on_disk(tmp_path):
    table = step_times(PARAMS, [6, 2000], steps=3, folder=tmp_path)
    assert list(table.documents) == [6, 2000, 2000] and list(table.table) == ["memory", "memory", "disk"]
    assert (table.step_s > 0).all() and table.ratio[0] == 1.0
    assert table.ratio.max() < 4  # not 2000 / 6; how near to one it comes is for a quiet machine to say
    assert list((tmp_path / "2000").glob("rows*"))


def test_a_step_moves_only_the_rows_of_its_batch_of_many(tmp_path):
    docs, tuples = own_lessons(PARAMS)
    one = make_setting(PARAMS, docs, tuples, 50, None)
    before = one.training.z_table.rows.clone()
    train_step(one.training, 1)
    moved = (one.training.z_table.rows != before).any(1).sum()
    assert moved <= PARAMS.train.batch_tuples + PARAMS.train.batch_recite < 50


def test_the_command_says_it(monkeypatch, capsys):
    monkeypatch.setattr(
        "zmem_lib.runs.scaling.scale_lines", lambda params, sizes, *, steps: [f"{params.run} {sizes} {steps}"]
    )
    assert main(["scale", "params/smoke.yaml", "--documents", "5", "10", "--steps", "2"]) == 0
    assert capsys.readouterr().out == "smoke [5, 10] 2\n"


@pytest.mark.parametrize("options", [["--documents", "0"], ["--steps", "0"]])
def test_nothing_to_time_is_refused(options, capsys):
    assert main(["scale", "params/smoke.yaml", *options]) == 2
    assert "at least 1" in capsys.readouterr().err

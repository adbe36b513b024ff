"""Writing z: the model stays as it is, documents do not touch each other, the loss falls."""

from dataclasses import replace

import pytest
import torch
from tiny_models import random_blocks, sentence, small_lm, small_params

import zmem_lib.memory.write as writing
from zmem_lib.memory.lessons import recitations
from zmem_lib.memory.lm import generate, greedy_scores, learning_weights
from zmem_lib.memory.write import snapshot_steps, write_z
from zmem_lib.params import changed

PARAMS = small_params({"write.steps": 20, "machine.write_batch": 2, "write.lr": 0.05, "train.recite_inside": 0.5})


def texts_of(memory_lm, *lengths):
    return [recitations(memory_lm.prompts, sentence(i, n), 64) for i, n in enumerate(lengths)]


def test_writing_leaves_every_weight_bit_identical_and_lowers_the_loss():
    memory_lm = small_lm(PARAMS)
    weights = [weight.clone() for weight in learning_weights(memory_lm)]
    z = random_blocks(3, PARAMS, seed=1)
    snapshots, log = write_z(memory_lm, texts_of(memory_lm, 8, 8, 8), z, params=PARAMS, start="random")
    assert all(torch.equal(a, b) for a, b in zip(weights, learning_weights(memory_lm), strict=True))
    assert list(snapshots) == [0, 1, 2, 5, 10, 20] == list(log.step)
    assert torch.equal(snapshots[0], z) and not torch.equal(snapshots[20], snapshots[10])
    assert log.nll.iloc[-1] < 0.9 * log.nll.iloc[0] and log.seconds_per_document.is_monotonic_increasing
    assert log.recited.between(0, 1).all() and (log.writing == 1.0).all()


def test_documents_written_together_equal_documents_written_alone():
    params = changed(PARAMS, {"train.recite_inside": 0.0})
    memory_lm, z = small_lm(params), random_blocks(2, params, seed=1)
    rows = texts_of(memory_lm, 4, 7)
    together, _ = write_z(memory_lm, rows, z, params=params)
    for i in range(2):
        alone, _ = write_z(memory_lm, rows[i : i + 1], z[i : i + 1], params=params)
        torch.testing.assert_close(together[20][i], alone[20][0], atol=2e-3, rtol=1e-2)


def test_what_is_recited_is_what_greedy_decoding_writes():
    memory_lm, z = small_lm(PARAMS), random_blocks(4, PARAMS)
    rows = [options[0] for options in texts_of(memory_lm, 5, 9, 6, 3)]
    begun = memory_lm.prompts.marks["evidence"]
    for i in range(4):  # a text that begins as the model would write it, and another that does not
        written = generate(memory_lm, z[i : i + 1], [begun], 3)[0]
        row = replace(rows[i], ids=begun + written + rows[i].ids[len(begun) + len(written) :])
        greedy = generate(memory_lm, z[i : i + 1], [begun], len(row.ids))[0]
        asked = row.ids[len(begun) :]
        same = next(
            (n for n, (a, b) in enumerate(zip(greedy, asked, strict=False)) if a != b), min(len(greedy), len(asked))
        )
        _, recited = greedy_scores(memory_lm, z[i : i + 1], [row])
        assert recited.item() == pytest.approx(same / len(asked))


def test_a_document_that_recites_well_enough_stops_and_the_others_go_on(monkeypatch):
    params = changed(PARAMS, {"write.stop": 0.9})
    memory_lm, z = small_lm(params), random_blocks(2, params)
    scores = (torch.tensor([0.1, 5.0]), torch.tensor([0.95, 0.1]))  # nll, share recited
    monkeypatch.setattr(writing, "greedy_scores", lambda *_: scores)
    snapshots, log = write_z(memory_lm, texts_of(memory_lm, 8, 8), z, params=params)
    assert all(torch.equal(snapshot[0], z[0]) for snapshot in snapshots.values())
    assert not torch.equal(snapshots[20][1], snapshots[10][1]) and (log.writing == 0.5).all()


def test_without_a_stop_every_document_is_written_to_the_end():
    memory_lm, z = small_lm(PARAMS), random_blocks(2, PARAMS)
    snapshots, _ = write_z(memory_lm, texts_of(memory_lm, 3, 9), z, params=PARAMS)
    assert (snapshots[20] != snapshots[10]).flatten(1).any(1).all()


def test_the_proximal_term_keeps_z_near_its_start():
    memory_lm, z = small_lm(PARAMS), random_blocks(2, PARAMS)
    away = []
    for weight in (0.0, 10.0):
        snapshots, _ = write_z(
            memory_lm, texts_of(memory_lm, 8, 8), z, params=changed(PARAMS, {"write.proximal": weight})
        )
        away.append((snapshots[20] - z).square().mean())
    assert away[1] < 0.5 * away[0]


def test_snapshot_steps_end_with_the_last():
    assert snapshot_steps(300) == [0, 1, 2, 5, 10, 20, 50, 100, 200, 300]
    assert snapshot_steps(1) == [0, 1]

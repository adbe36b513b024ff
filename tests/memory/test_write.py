"""Writing z: the model stays as it is, documents do not touch each other, the loss falls."""

from dataclasses import replace

import pytest
import torch
from tiny_models import generate, random_blocks, sentence, small_lm, small_params

import zmem_lib.memory.write as writing
from zmem_lib.memory.encoder import start_z
from zmem_lib.memory.likelihood import alike, greedy_scores
from zmem_lib.memory.lm import learning_weights
from zmem_lib.memory.write import numbers_of, snapshot_steps, write

PARAMS = small_params({"write.steps": 20, "machine.write_batch": 2, "write.rate": 0.3, "train.recite_inside": 0.5})
NUMBERS = numbers_of(PARAMS)


def texts(*lengths):
    return [sentence(i, n) for i, n in enumerate(lengths)]


def test_writing_leaves_every_weight_bit_identical_and_lowers_the_loss():
    memory_lm = small_lm(PARAMS)
    weights = [weight.clone() for weight in learning_weights(memory_lm)]
    z = random_blocks(3, PARAMS, seed=1)
    snapshots, log = write(memory_lm, texts(8, 8, 8), z, **NUMBERS)
    assert all(torch.equal(a, b) for a, b in zip(weights, learning_weights(memory_lm), strict=True))
    assert list(snapshots) == [0, 1, 2, 5, 10, 20] == list(log.step)
    assert torch.equal(snapshots[0], z) and not torch.equal(snapshots[20], snapshots[10])
    assert log.nll.iloc[-1] < 0.9 * log.nll.iloc[0] and log.seconds_per_document.is_monotonic_increasing
    assert log.recited.between(0, 1).all() and (log.writing == 1.0).all()


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
def test_any_batch_size_and_any_company_gives_the_same_z(batch):
    memory_lm = small_lm(PARAMS)
    pairs = zip(texts(9, 7, 5), texts(6, 3, 8), strict=True)  # two sentences each, the longest document first
    said = [f"{one} {other}" for one, other in pairs]
    asked = [
        [memory_lm.prompts.evidence(sentence(90 + j), text, 20) for j in range(i + 1)] for i, text in enumerate(said)
    ]
    numbers = NUMBERS | {"steps": 4, "batch": batch}  # later, rounding grows in Adam
    together, _ = write(memory_lm, said, asked=asked, **numbers)
    alone, _ = write(memory_lm, said[1:2], asked=asked[1:2], **numbers)
    torch.testing.assert_close(together[0][1], alone[0][0])
    torch.testing.assert_close(together[4][1], alone[4][0], atol=2e-3, rtol=1e-2)
    assert (together[4][0] - together[4][1]).abs().max() > 0.1


def test_what_is_recited_is_what_greedy_decoding_writes():
    memory_lm, z = small_lm(PARAMS), random_blocks(4, PARAMS)
    rows = [memory_lm.prompts.recite(text, 64) for text in texts(5, 9, 6, 3)]
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
    memory_lm, z = small_lm(PARAMS), random_blocks(2, PARAMS)
    scores = (torch.tensor([0.1, 5.0]), torch.tensor([0.95, 0.1]))  # nll, share recited
    monkeypatch.setattr(writing, "greedy_scores", lambda *_: scores)
    snapshots, log = write(memory_lm, texts(8, 8), z, **NUMBERS | {"stop": 0.9})
    assert all(torch.equal(snapshot[0], z[0]) for snapshot in snapshots.values())
    end, _ = write(memory_lm, texts(8, 8), z, **NUMBERS | {"stop": 0.9, "curve": False})
    assert list(end) == [20] and torch.equal(end[20], snapshots[20]), "no more is kept, and it ends the same"
    assert not torch.equal(snapshots[20][1], snapshots[10][1]) and (log.writing == 0.5).all()


def test_the_rate_of_writing_is_in_units_of_the_embeddings_and_falls():
    memory_lm, z = small_lm(PARAMS), random_blocks(2, PARAMS)
    snapshots, _ = write(memory_lm, texts(8, 8), z, **NUMBERS | {"rate": 0.2})
    first = (snapshots[1] - snapshots[0]).abs().median().item()
    late = (snapshots[20] - snapshots[10]).abs().median().item() / 10
    assert first == pytest.approx(0.2 * memory_lm.heads.scale, rel=1e-2)
    assert late < 0.5 * first


def test_without_a_stop_every_document_is_written_to_the_end():
    memory_lm, z = small_lm(PARAMS), random_blocks(2, PARAMS)
    snapshots, _ = write(memory_lm, texts(3, 9), z, **NUMBERS)
    assert (snapshots[20] != snapshots[10]).flatten(1).any(1).all()


def test_the_proximal_term_keeps_z_near_its_start():
    memory_lm, z = small_lm(PARAMS), random_blocks(2, PARAMS)
    away = []
    for weight in (0.0, 10.0):
        snapshots, _ = write(memory_lm, texts(8, 8), z, **NUMBERS | {"proximal": weight})
        away.append((snapshots[20] - z).square().mean())
    assert away[1] < 0.5 * away[0]


def test_a_text_needs_no_more_than_a_model():
    memory_lm = small_lm(PARAMS)
    snapshots, log = write(memory_lm, texts(6, 5), steps=5, rate=0.5)
    assert (
        torch.equal(snapshots[0], start_z("random", texts(6, 5), memory_lm, limit=40, seed=1))
        and log.nll.iloc[-1] < log.nll.iloc[0]
    )
    none, log = write(memory_lm, [], steps=5)
    assert none[5].shape == (0, PARAMS.memory.z_tokens, 32) and list(log.n) == [0] * 4


def test_snapshot_steps_end_with_the_last():
    assert snapshot_steps(300) == [0, 1, 2, 5, 10, 20, 50, 100, 200, 300]
    assert snapshot_steps(1) == [0, 1]


def test_rows_of_unlike_length_do_not_stand_side_by_side():
    lengths = [10, 12, 15, 16, 40, 41, 42, 43, 200]
    batches = alike(lengths, 3, writing.LIKE)
    assert [[lengths[i] for i in batch] for batch in batches] == [[10, 12, 15], [16], [40, 41, 42], [43], [200]]
    assert alike([], 3, writing.LIKE) == []

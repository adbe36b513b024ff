"""Writing z: the model stays as it is, documents do not touch each other, the loss falls."""

import torch
from tiny_models import sentence, small_lm, small_params

from zmem_lib.write import snapshot_steps, start_z, write_z

PARAMS = small_params(write_steps=20, write_batch=2, write_lr=0.05)


def test_writing_leaves_every_weight_bit_identical_and_lowers_the_loss():
    memory_lm = small_lm(PARAMS)
    weights = [weight.clone() for weight in memory_lm.lm.parameters()]
    rows = [memory_lm.prompts.recite(sentence(i), 64) for i in range(3)]
    z = start_z("random", 3, torch.zeros(1, PARAMS.z_tokens, PARAMS.hidden_size), memory_lm, seed=1)
    snapshots, log = write_z(memory_lm, rows, z, params=PARAMS, start="random")
    assert all(torch.equal(a, b) for a, b in zip(weights, memory_lm.lm.parameters(), strict=True))
    assert list(snapshots) == [0, 1, 2, 5, 10, 20] == list(log.step)
    assert torch.equal(snapshots[0], z) and not torch.equal(snapshots[20], snapshots[10])
    assert log.nll.iloc[-1] < 0.9 * log.nll.iloc[0] and log.seconds_per_document.is_monotonic_increasing


def test_documents_written_together_equal_documents_written_alone():
    memory_lm = small_lm(PARAMS)
    rows = [memory_lm.prompts.recite(sentence(i, 4 + 3 * i), 64) for i in range(2)]
    z = start_z("random", 2, torch.zeros(1, PARAMS.z_tokens, PARAMS.hidden_size), memory_lm, seed=1)
    together, _ = write_z(memory_lm, rows, z, params=PARAMS)
    for i in range(2):
        alone, _ = write_z(memory_lm, rows[i : i + 1], z[i : i + 1], params=PARAMS)
        torch.testing.assert_close(together[20][i], alone[20][0], atol=2e-3, rtol=1e-2)


def test_mean_start_is_the_mean_of_the_seen_blocks():
    z_seen = torch.randn(6, PARAMS.z_tokens, PARAMS.hidden_size)
    z = start_z("mean", 2, z_seen, small_lm(PARAMS), seed=1)
    torch.testing.assert_close(z, z_seen.mean(0).expand(2, -1, -1))


def test_snapshot_steps_end_with_the_last():
    assert snapshot_steps(300) == [0, 1, 2, 5, 10, 20, 50, 100, 200, 300]
    assert snapshot_steps(1) == [0, 1]

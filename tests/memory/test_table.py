"""The table of z: lookup, moving rows, saving, controls."""

import pytest
import torch
from tiny_training import tensors_of

from zmem_lib.memory.table import BETAS, load_z, make_ztable, move_rows, save_z, shuffle_index


@pytest.mark.parametrize("on_disk", [False, True])
def test_blocks_are_those_given(on_disk, tmp_path):
    z = torch.randn(5, 3, 4)
    table = make_ztable(z, folder=tmp_path if on_disk else None)
    assert torch.equal(table.z, z)
    assert torch.equal(table.rows, z.flatten(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.bin", "rows.bin", "second.bin"] * on_disk


def test_moving_every_row_is_adam():
    z, gradients = torch.randn(3, 2, 2), torch.randn(4, 3, 4)
    table, weight = make_ztable(z), z.flatten(1).clone().requires_grad_(True)
    optimiser = torch.optim.Adam([weight], lr=0.1, betas=BETAS)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimiser.step()
        move_rows(table, torch.arange(3), gradient, 0.1)
    torch.testing.assert_close(table.rows, weight.detach())


def test_moving_some_rows_leaves_all_others_bit_identical():
    table = make_ztable(torch.randn(50, 2, 3))
    move_rows(table, torch.arange(50), torch.randn(50, 6), 0.1)
    before = {name: tensor.clone() for name, tensor in tensors_of(table).items()}
    index = torch.tensor([7, 3])
    move_rows(table, index, torch.randn(2, 6), 0.1)
    others = torch.ones(50, dtype=torch.bool).index_fill(0, index, False)
    for name, tensor in tensors_of(table).items():
        assert torch.equal(tensor[others], before[name][others]) and not torch.equal(tensor[index], before[name][index])


def test_a_row_without_a_gradient_is_not_moved_by_what_it_learned_before():
    table = make_ztable(torch.randn(3, 2, 2))
    move_rows(table, torch.arange(3), torch.ones(3, 4), 0.1)
    before = {name: tensor.clone() for name, tensor in tensors_of(table).items()}
    move_rows(table, torch.arange(3), torch.tensor([[1.0] * 4, [0.0] * 4, [1.0] * 4]), 0.1)
    for name, tensor in tensors_of(table).items():
        assert torch.equal(tensor[1], before[name][1])
        assert not torch.equal(tensor[0], before[name][0])


def test_saved_and_loaded_blocks_are_bit_equal(tmp_path):
    z, keys = torch.randn(2, 3, 4), torch.randn(2, 5)
    save_z(["a", "ü b"], z, tmp_path / "z.safetensors", keys)
    doc_ids, loaded, loaded_keys = load_z(tmp_path / "z.safetensors")
    assert doc_ids == ["a", "ü b"] and torch.equal(loaded, z) and torch.equal(loaded_keys, keys)
    save_z(["a", "b"], z, tmp_path / "z.safetensors")
    assert load_z(tmp_path / "z.safetensors")[2].shape == (2, 0)


def test_shuffling_never_leaves_a_document_its_own_block():
    for n in (2, 3, 50):
        other = shuffle_index(n, seed=3)
        assert sorted(other.tolist()) == list(range(n)) and (other != torch.arange(n)).all()

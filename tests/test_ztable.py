"""The table of z: lookup, saving, controls."""

import torch

from zmem_lib.ztable import ZTable, load_z, mean_z, random_z, save_z, shuffle_index


def test_rows_are_the_blocks_given():
    z = torch.randn(5, 3, 4)
    table = ZTable(z)
    assert torch.equal(table.z(), z)
    assert torch.equal(table(torch.tensor([4, 0])), z[[4, 0]])


def test_saved_and_loaded_blocks_are_bit_equal(tmp_path):
    z = torch.randn(2, 3, 4)
    save_z(["a", "ü b"], z, tmp_path / "z.safetensors")
    doc_ids, loaded = load_z(tmp_path / "z.safetensors")
    assert doc_ids == ["a", "ü b"] and torch.equal(loaded, z)


def test_random_blocks_have_the_scale_of_the_embeddings_and_follow_the_seed():
    embeddings = torch.randn(100, 8) * 0.3
    z = random_z(200, embeddings, k=4, seed=1)
    assert z.shape == (200, 4, 8) and abs(z.std() - embeddings.std()) < 0.01
    assert torch.equal(z, random_z(200, embeddings, k=4, seed=1))
    assert not torch.equal(z, random_z(200, embeddings, k=4, seed=2))


def test_mean_start_is_the_mean():
    z = torch.randn(5, 3, 4)
    torch.testing.assert_close(mean_z(2, z)[1], z.mean(0))


def test_shuffling_never_leaves_a_document_its_own_block():
    for n in (2, 3, 50):
        other = shuffle_index(n, seed=3)
        assert sorted(other.tolist()) == list(range(n)) and (other != torch.arange(n)).all()

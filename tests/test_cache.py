"""A piece of work is made once for its parameters and inputs, and again for others."""

import pandas as pd
import pytest
import torch

from zmem_lib.cache import drop_cache, inside, open_cache, remembered

PIECES = {
    "a.json": {"x": [1, 2]},
    "a.parquet": pd.DataFrame({"x": [1, 2]}),
    "a.safetensors": {"x": torch.arange(3)},
}


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_is_made_once_and_comes_back_as_it_was(name, tmp_path):
    cache, made = open_cache(tmp_path / "under_way", "params"), []

    def make():
        made.append(name)
        return PIECES[name]

    for _ in range(2):
        assert str(remembered(cache, name, make)) == str(PIECES[name])
    assert made == [name]
    assert str(remembered(None, name, make)) == str(PIECES[name]) and len(made) == 2
    remembered(inside(cache, "part"), name, make)
    assert len(made) == 3 and (tmp_path / "under_way/part" / name).is_file()
    drop_cache(cache)
    assert not (tmp_path / "under_way").exists()
    assert inside(None, "part") is None and drop_cache(None) is None


def test_other_parameters_code_or_inputs_make_it_again(tmp_path):
    source, made = tmp_path / "source", []
    source.write_text("1")

    def piece(*made_with: object) -> int:
        cache = open_cache(tmp_path / "under_way", *made_with, files=[source])
        return remembered(cache, "a.json", lambda: made.append(1) or len(made))

    assert [piece("params", {"memory": "x"}) for _ in range(2)] == [1, 1]
    assert piece("params", {"memory": "y"}) == 2 == piece("params", {"memory": "y"})
    source.write_text("2")
    assert piece("params", {"memory": "y"}) == 3
    (tmp_path / "under_way/a.json.made_with").unlink()
    assert piece("params", {"memory": "y"}) == 4, "a piece without its note is of nobody knows what"

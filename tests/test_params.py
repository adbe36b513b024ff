"""Parameter files: every one is complete, and every mistake in one is named."""

from pathlib import Path

import pytest
import yaml

from zmem_lib.files import BadInput
from zmem_lib.params import Params, changed, check_params, flat, notebook_params, params_hash, read_params

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "params").glob("*.yaml"))
TINY = flat(read_params(ROOT / "params/tiny.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_parameter_file_is_complete_and_names_its_run(path):
    params = read_params(path)
    assert params.run == path.stem
    assert list(yaml.safe_load(path.read_text(encoding="utf-8"))) == list(flat(params)), "another order of keys"


def test_overrides_and_notebook_values():
    params = read_params(ROOT / "params/tiny.yaml", ["seed=7", "train.lm_lr=2.0e-4", "corpus.path=", "train.lm=false"])
    assert (params.seed, params.train.lm_lr, params.corpus.path, params.train.lm) == (7, 2.0e-4, "", False)
    assert notebook_params({**TINY, "runs": "../runs", "step": object()}) == Params(**TINY)


def test_hash_is_equal_for_equal_parameters_only():
    params = Params(**TINY)
    assert params_hash(params) == params_hash(Params(**TINY)) != params_hash(changed(params, {"seed": 2}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n_document": 5}, "unknown parameter 'n_document': did you mean 'n_documents'"),
        ({"n_documents": "many"}, "'n_documents' must be a whole number, not 'many'"),
        ({"n_documents": 4.5}, "'n_documents' must be a whole number, not 4.5"),
        ({"n_documents": True}, "'n_documents' must be a whole number, not True"),
        ({"n_documents": 0}, "'n_documents' must be greater than zero"),
        ({"seed": -1}, "'seed' must be zero or more"),
        ({"z_lr": "1e-2"}, "write 1.0e-4"),
        ({"z_lr": float("nan")}, "'z_lr' must be greater than zero"),
        ({"train_lm": "yes"}, "'train_lm' must be true or false"),
        ({"corpus": "squat"}, "must be one of synthetic, folder"),
        ({"run": "../elsewhere"}, "names a folder"),
        ({"run": "a b"}, "names a folder"),
        ({"hidden_size": 100, "heads": 3}, "multiple of twice heads"),
    ],
)
def test_a_mistake_is_named(change, sentence):
    with pytest.raises(BadInput, match="the file: ") as refusal:
        check_params({**TINY, **change}, "the file")
    assert sentence in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_missing_parameter_is_named():
    with pytest.raises(BadInput, match="'z_tokens' is missing"):
        check_params({key: value for key, value in TINY.items() if key != "z_tokens"}, "the file")

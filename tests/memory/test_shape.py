"""The shape of a language model: published counts, a local folder, and what is not known."""

from pathlib import Path

import pytest
import torch
from tiny_models import pretrained
from transformers import AutoConfig, AutoModelForCausalLM

from zmem_lib.files import BadInput
from zmem_lib.memory.shape import model_config, model_shape, published
from zmem_lib.params import read_params

PARAMS = Path(__file__).parents[2] / "params"
PRETRAINED = [path for path in PARAMS.glob("*.yaml") if "/" in read_params(path).lm.name]
PUBLISHED = {  # billions of weights, from the model cards
    "HuggingFaceTB/SmolLM2-135M-Instruct": 0.1345,
    "google/gemma-3-270m": 0.268,
    "Qwen/Qwen2.5-0.5B-Instruct": 0.494,
    "Qwen/Qwen2.5-3B-Instruct": 3.09,
    "Qwen/Qwen2.5-7B-Instruct": 7.62,
    "meta-llama/Llama-3.2-3B-Instruct": 3.21,
    "meta-llama/Llama-3.1-8B-Instruct": 8.03,
    "mistralai/Mistral-7B-Instruct-v0.3": 7.25,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_shape_of_a_published_model_has_its_weights(name):
    config = model_config(pretrained({"lm.name": name}))
    with torch.device("meta"):
        lm = AutoModelForCausalLM.from_config(config)
    weights = sum(weight.numel() for weight in lm.parameters())
    assert weights == pytest.approx(PUBLISHED[name] * 1e9, rel=0.01)
    known = published()[name]
    assert known["weights"] == weights
    assert 2 * weights < known["download_bytes"] < 2 * weights + 100_000, "bfloat16 and a header"
    shape = model_shape(pretrained({"lm.name": name}))
    assert shape.linear + shape.other == weights


def test_llama_rope_scaling_is_kept():
    rope = model_config(pretrained({"lm.name": "meta-llama/Llama-3.1-8B-Instruct"})).rope_parameters
    assert rope["rope_type"] == "llama3" and rope["factor"] == 8.0 and rope["rope_theta"] == 500000.0
    assert rope["original_max_position_embeddings"] == 8192


def test_every_parameter_file_names_a_model_whose_shape_is_known():
    names = {read_params(path).lm.name for path in PRETRAINED}
    assert names and names <= set(published())


def test_an_unknown_model_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(BadInput, match=r"nobody/nothing.*Qwen2\.5-3B"):
        model_config(pretrained({"lm.name": "nobody/nothing"}))
    with pytest.raises(BadInput, match="not known here"):
        model_config(pretrained({"lm.name": str(tmp_path)}))


def test_a_folder_counts_before_the_published_shapes(tmp_path):
    AutoConfig.for_model("qwen2", hidden_size=64, num_attention_heads=4, vocab_size=1000).save_pretrained(tmp_path)
    assert model_shape(pretrained({"lm.name": str(tmp_path), "lm.revision": ""})).vocabulary == 1000

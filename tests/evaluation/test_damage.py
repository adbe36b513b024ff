"""Perplexity of plain text before and after training."""

import math

import pytest
import torch
from families import save_family
from tiny_models import small_lm, small_params

from zmem_lib.evaluation.damage import PIECES, damage_table, plain_nll, plain_pieces
from zmem_lib.memory.lm import make_memory_lm
from zmem_lib.report.findings import damaged

SHAPELESS = {"lm.vocab_size": 0, "lm.hidden_size": 0, "lm.layers": 0, "lm.heads": 0}


@pytest.fixture(scope="module", params=["Qwen/Qwen2.5-0.5B-Instruct", "meta-llama/Llama-3.2-3B-Instruct"])
def pretrained(request, tmp_path_factory):
    params = small_params({"lm.name": save_family(request.param, tmp_path_factory.mktemp("lm"))} | SHAPELESS)
    return make_memory_lm(params, []), params


def test_perplexity_is_that_of_the_model_itself(pretrained):
    memory_lm, params = pretrained
    pieces, found = plain_pieces(memory_lm), plain_nll(memory_lm, params)
    assert len(found) == len(pieces) == PIECES and len(set(map(tuple, pieces))) == PIECES
    ids = torch.tensor([memory_lm.prompts.begin + pieces[5]])
    loss = memory_lm.lm(input_ids=ids, labels=ids).loss.item()
    assert found[5] == pytest.approx(loss, abs=1e-4)


def test_an_adapter_that_learned_changes_it_and_one_that_did_not_does_not(pretrained):
    memory_lm, params = pretrained
    before = plain_nll(memory_lm, params)
    assert plain_nll(memory_lm, params) == before
    table = damage_table(before, before, params).set_index("what")
    assert table.value["factor"] == 1.0 and table.value["before"] == pytest.approx(math.exp(sum(before) / len(before)))
    with torch.no_grad():
        for name, weight in memory_lm.lm.named_parameters():
            if "lora_B" in name:
                weight.add_(0.2)
    table = damage_table(before, plain_nll(memory_lm, params), params).set_index("what")
    assert table.value["factor"] == pytest.approx(table.value["after"] / table.value["before"]) != 1.0
    assert (table.ci_low <= table.value).all() and (table.value <= table.ci_high).all() and set(table.n) == {PIECES}
    assert f"{table.value['after']:.2f} after" in damaged(table.reset_index())


def test_a_model_made_here_has_nothing_to_lose():
    params = small_params()
    assert plain_nll(small_lm(params), params) == []
    table = damage_table([], [], params)
    assert table.empty and "from scratch" in damaged(table)

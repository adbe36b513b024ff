"""The adapter that comes with the project: packed in bytes, unpacked once, read as any other."""

import pytest
import torch
from conftest import ROOT
from families import save_family
from tiny_models import small_params

from zmem_lib import schooled
from zmem_lib.files import BadInput, read_tensors
from zmem_lib.fingerprint import sources_of
from zmem_lib.hub import find_adapter
from zmem_lib.memory.likelihood import generate_all
from zmem_lib.memory.lm import make_memory_lm, save_memory_lm
from zmem_lib.packaged import CACHE
from zmem_lib.params import changed, read_params
from zmem_lib.schooled import UNIT, WEIGHTS, pack, unpack

LORA = {"lm.lora_rank": 4, "lm.vocab_size": 0, "lm.hidden_size": 0, "lm.layers": 0, "lm.heads": 0}
LORA |= {"memory.start": "pooled", "memory.key_width": 6, "memory.z_width": 0, "train.encode_share": 0.5}


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A small model's packed adapter, its parameters, and the folder that it was packed from."""
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(schooled, "SCHOOLED", tmp_path / "packed")
    params = small_params(LORA | {"lm.name": save_family("meta-llama/Llama-3.2-3B-Instruct", tmp_path / "lm")})
    memory_lm = make_memory_lm(params, [])
    with torch.no_grad():
        for name, weight in memory_lm.lm.named_parameters():
            if "lora_B" in name:  # else nothing was learned
                weight.normal_(std=0.05)
    save_memory_lm(memory_lm, tmp_path / "made", "what it learned\n")
    pack(tmp_path / "made", tmp_path / "packed")
    return params, tmp_path / "made", tmp_path / "packed"


def test_what_is_packed_comes_back_but_for_its_last_digits(packed):
    params, made, place = packed
    folder = find_adapter("packaged")
    assert (folder / "README.md").read_text() == "what it learned\n"
    for file in schooled.FILES:
        before, after = read_tensors(made / file)[0], read_tensors(folder / file)[0]
        assert before.keys() == after.keys() and len(before) > 2
        for name, tensor in before.items():
            near = tensor.abs().amax(-1, keepdim=True) / 127 / 2 + 1e-9 if tensor.dim() > 1 else torch.zeros(())
            assert ((after[name] - tensor).abs() <= near * 1.001).all(), name
    there = read_tensors(place / WEIGHTS)[0]
    assert sum(one.numel() for name, one in there.items() if one.dtype is torch.int8 and not name.endswith(UNIT)) > 1000
    again = changed(params, {"lm.adapter": "packaged"})
    heads = make_memory_lm(again, []).heads
    assert torch.equal(heads.places, read_tensors(folder / "heads.safetensors")[0]["places"])
    made_at = folder.stat().st_mtime_ns
    assert find_adapter("packaged") == folder and folder.stat().st_mtime_ns == made_at, "once"


def test_a_project_without_it_says_what_to_give(packed):
    (packed[2] / WEIGHTS).unlink()
    with pytest.raises(BadInput, match=r"^lm\.adapter packaged: .* give the folder that zmem school leaves"):
        find_adapter("packaged")


def test_a_chapter_knows_the_adapter_that_it_begins_from(packed):
    params = changed(packed[0], {"lm.adapter": "packaged"})
    ((name, before),) = sources_of(params, 3).items()
    assert name == f"packed/{WEIGHTS}"
    (packed[2] / WEIGHTS).write_bytes(b"others")
    assert sources_of(params, 3)[name] != before


def test_the_one_that_comes_with_the_project_writes_the_sentence_that_answers(tmp_path):
    unpack(schooled.SCHOOLED, tmp_path / "adapter")  # not the one that the cache has from another day
    memory_lm = make_memory_lm(read_params(ROOT / "params/school.yaml", [f"lm.adapter={tmp_path / 'adapter'}"]), [])
    prompts, asked = (
        memory_lm.prompts,
        {"Where did Ada Weber learn chemistry?": 1, "When did her first book appear?": 2},
    )
    sentences = [
        "Ada Weber was born in Trier, the third of seven children.",
        "She learned chemistry at the university of Bonn, and then in Graz.",
        "Her first book, on salts, appeared in 1930.",
    ]
    text = prompts.text(" ".join(sentences), 100)
    given = [text + prompts.asked(question) for question in asked]
    written = generate_all(memory_lm, None, given, max_tokens=40, batch=2)
    assert [prompts.decode(ids).strip() for ids in written] == [sentences[i] for i in asked.values()]

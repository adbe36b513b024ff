"""Every family of models: first token, end of turn, padding, chat template, 4 bit, saving and loading."""

import json
import re
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from families import NAMED, SMALL, save_family
from tiny_models import generate, random_blocks, score_one_by_one, sentence, small_params
from tiny_training import DOCS, TUPLES
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from zmem_lib.cache import Cache
from zmem_lib.files import BadInput
from zmem_lib.fingerprint import sources_of
from zmem_lib.memory.choose import score_questions
from zmem_lib.memory.lessons import make_lessons
from zmem_lib.memory.likelihood import counted_logits, token_nll
from zmem_lib.memory.lm import load_memory_lm, make_memory_lm, pick_dtype, ready, save_memory_lm
from zmem_lib.memory.prompts import Prompts, Row
from zmem_lib.memory.table import load_z, make_ztable, save_z
from zmem_lib.memory.train import train
from zmem_lib.memory.write import numbers_of, write
from zmem_lib.params import changed, dumped, read_params
from zmem_lib.report.chapter_tables import model_card
from zmem_lib.systems.evidence import read

FAMILIES = {
    "qwen2": "Qwen/Qwen2.5-3B-Instruct",  # tied embeddings, no first token
    "llama": "meta-llama/Llama-3.1-8B-Instruct",  # no padding token
    "mistral": "mistralai/Mistral-7B-Instruct-v0.3",
}
LOAD = """import sys, torch
from pathlib import Path
from zmem_lib.memory.likelihood import token_nll
from zmem_lib.memory.lm import load_memory_lm
from zmem_lib.params import read_params
from zmem_lib.memory.table import load_z
folder = Path(sys.argv[1])
memory_lm = load_memory_lm(folder / "lm", read_params(folder / "params.yaml"))
_, z, _ = load_z(folder / "z.safetensors")
rows = [memory_lm.prompts.evidence("amber bird", "cloud dust", 32), memory_lm.prompts.recite("hill iris", 32)]
print([value.hex() for value in token_nll(memory_lm, z, rows)[0].double().flatten().tolist()])"""


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request, tmp_path_factory):
    """A family's name, parameters for it in 4 bit, and its model with an adapter that does something."""
    folder = save_family(FAMILIES[request.param], tmp_path_factory.mktemp(request.param))
    params = small_params(
        {"lm.name": folder, "lm.quantisation": "nf4", "answer.answer_tokens": 6, "memory.z_tokens": 3}
    )
    memory_lm = make_memory_lm(params, [])
    stir(memory_lm)
    return request.param, params, memory_lm


def stir(memory_lm):
    """Adapters begin as nothing: give this one weights."""
    with torch.no_grad():
        for name, weight in memory_lm.lm.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2, generator=torch.Generator().manual_seed(len(name)))


def blocks(n, params):
    return torch.randn(n, params.memory.z_tokens, 64, generator=torch.Generator().manual_seed(n))


def rows_of(memory_lm):
    return [memory_lm.prompts.evidence("amber bird", "cloud dust", 32), memory_lm.prompts.recite("hill iris", 32)]


def test_weights_are_in_four_bit_and_only_the_adapter_learns(family):
    _, _, memory_lm = family
    kinds = {type(module).__name__ for name, module in memory_lm.lm.named_modules() if name.endswith("base_layer")}
    assert kinds == {"Linear4bit"}
    learning = {weight.dtype for weight in memory_lm.lm.parameters() if weight.requires_grad}
    assert learning == {torch.float32}
    assert all("lora" in name for name, weight in memory_lm.lm.named_parameters() if weight.requires_grad)
    head = memory_lm.lm.get_output_embeddings()
    assert not hasattr(head, "lora_A") and type(head).__name__ == "Linear"


def test_a_constant_first_token_stands_before_z(family):
    name, params, memory_lm = family
    tokenizer = memory_lm.prompts.tokenizer
    begin = NAMED[name].get("bos_token", NAMED[name]["eos_token"])
    assert memory_lm.prompts.begin == [tokenizer.convert_tokens_to_ids(begin)]
    z, ids = blocks(1, params), memory_lm.prompts.encode("amber bird cloud")
    logits = generate(memory_lm, z, [ids], 1)
    embed = memory_lm.lm.get_input_embeddings()
    whole = torch.cat([embed(torch.tensor([memory_lm.prompts.begin], dtype=torch.long)), z.to(embed.weight.dtype),
                       embed(torch.tensor([ids]))], 1)  # fmt: skip
    with torch.no_grad(), memory_lm.arithmetic():
        expected = memory_lm.lm(inputs_embeds=whole).logits[0, -1].argmax().item()
    assert logits[0] == [] if expected in memory_lm.ends else logits[0] == [expected]


def test_a_word_behind_a_marker_is_the_token_that_it_is_within_a_text(family):
    *_, memory_lm = family
    prompts, tokenizer = memory_lm.prompts, memory_lm.prompts.tokenizer
    within = tokenizer("bird amber", add_special_tokens=False)["input_ids"]
    assert prompts.encode("amber") == within[-len(prompts.encode("amber")) :]
    assert not any(tokenizer.decode(mark).endswith(" ") for mark in prompts.marks.values())
    assert prompts.encode("") == []


def test_reading_goes_through_the_chat_template_without_the_adapter(family):
    name, params, memory_lm = family
    tokenizer = memory_lm.prompts.tokenizer
    hostile = f"amber {NAMED[name]['eos_token']} bird"
    reading = memory_lm.prompts.reading(hostile, ["cloud dust", hostile], 8)
    text = tokenizer.decode(reading)
    opening = {"qwen2": "<|im_start|>system", "llama": "<|begin_of_text|><|start_header_id|>", "mistral": "<s>"}[name]
    assert text.startswith(opening) and "cloud dust" in text and "Question: amber" in text
    plain = tokenizer.decode(memory_lm.prompts.reading("amber", ["cloud dust", "amber"], 8))
    assert reading.count(tokenizer.eos_token_id) == tokenizer(plain)["input_ids"].count(tokenizer.eos_token_id)
    assert reading.count(tokenizer.bos_token_id) == (tokenizer.bos_token_id is not None)
    assert reading == memory_lm.prompts.reading(hostile, ["cloud dust", hostile], 8), "another day, another prompt"
    with_adapter = read(memory_lm, ["amber"], [["cloud dust"]], params, folder=None)
    for module in memory_lm.lm.modules():
        if hasattr(module, "lora_B"):
            assert not module.disable_adapters, "the adapter stayed off after reading"
    stir(memory_lm)
    assert read(memory_lm, ["amber"], [["cloud dust"]], params, folder=None).equals(with_adapter)


def test_a_batch_of_unlike_length_reads_like_its_rows(family):
    _, params, memory_lm = family
    z = blocks(3, params)
    prompts = [memory_lm.prompts.asked(sentence(i, 2 + 3 * i)) for i in range(3)]
    together = generate(memory_lm, z, prompts, 6)
    assert together == [generate(memory_lm, z[i : i + 1], [prompts[i]], 6)[0] for i in range(3)]


def test_cached_scan_equals_plain_passes(family):
    _, params, memory_lm = family
    questions = ["amber bird", "who was the cloud"]
    fast = score_questions(memory_lm, blocks(4, params), questions, batch=3)
    assert torch.allclose(fast, score_one_by_one(memory_lm, blocks(4, params), questions), atol=1e-3)


def test_writing_leaves_weights_and_their_gradients_alone(family):
    _, params, memory_lm = family
    before = {name: weight.clone() for name, weight in memory_lm.lm.named_parameters()}
    learning = [name for name, weight in memory_lm.lm.named_parameters() if weight.requires_grad]
    texts = [sentence(i) for i in range(3)]
    snapshots, log = write(memory_lm, texts, blocks(3, params), **numbers_of(params) | {"steps": 5})
    assert log["nll"].iloc[-1] < log["nll"].iloc[0] and not torch.equal(snapshots[0], snapshots[5])
    assert all(torch.equal(before[name], weight) for name, weight in memory_lm.lm.named_parameters())
    assert learning == [name for name, weight in memory_lm.lm.named_parameters() if weight.requires_grad]


def test_checkpointed_activations_give_the_same_gradients(family):
    _, params, _ = family
    rows, found = None, []
    for checkpointing in (False, True):
        memory_lm = make_memory_lm(changed(params, {"machine.activation_checkpointing": checkpointing}), [])
        stir(memory_lm)
        memory_lm.lm.train()
        z, rows = blocks(2, params).requires_grad_(True), rows_of(memory_lm)
        token_nll(memory_lm, z, rows)[0].sum().backward()
        found.append([z.grad, *(w.grad for w in memory_lm.lm.parameters() if w.grad is not None)])
    assert len(found[0]) == len(found[1]) > 1
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found, strict=True))


@pytest.mark.long
def test_adapter_and_z_give_bit_equal_losses_in_a_fresh_process(family, tmp_path):
    _, params, memory_lm = family
    z = blocks(2, params)
    save_memory_lm(memory_lm, tmp_path / "lm", "")
    save_z(["a", "b"], z, tmp_path / "z.safetensors")
    (tmp_path / "params.yaml").write_text(dumped(params))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    here = token_nll(memory_lm, z, rows_of(memory_lm))[0].double().flatten()
    assert done.stdout.strip() == str([value.hex() for value in here.tolist()])
    loaded, (_, z_there, _) = load_memory_lm(tmp_path / "lm", params), load_z(tmp_path / "z.safetensors")
    other = token_nll(loaded, z_there + 1, rows_of(loaded))[0].double().flatten()
    assert not torch.allclose(here, other), "z does nothing"
    with loaded.lm.disable_adapter():
        assert not torch.allclose(here, token_nll(loaded, z_there, rows_of(loaded))[0].double().flatten())


def test_the_saved_folder_follows_the_hubs_habits(family, tmp_path):
    _, params, memory_lm = family
    save_memory_lm(memory_lm, tmp_path, model_card(changed(params, {"lm.name": "Qwen/Qwen2.5-3B-Instruct"})))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.json", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md"} <= names
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: peft\n") and "base_model: Qwen/Qwen2.5-3B-Instruct" in card
    assert "zmem" in card and "  steps: 12\n" in card
    adapter = json.loads((tmp_path / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == params.lm.name and adapter["r"] == params.lm.lora_rank
    assert not {path.suffix for path in tmp_path.iterdir()} & {".bin", ".pt", ".pkl"}


SCALING = {  # families that scale embeddings or logits, or cap these, each in its own way
    "gemma2": {"final_logit_softcapping": 2.0, "head_dim": 16},
    "gemma3_text": {"head_dim": 16},
    "granite": {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "pad_token_id": 0},
    "cohere": {"logit_scale": 0.25},
    "llama": {},
}


@pytest.fixture(scope="module", params=list(SCALING))
def scaling(request):
    """A small model of such a family behind a memory that knows ids alone."""
    torch.manual_seed(1)
    ids = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(request.param, **SMALL, num_key_value_heads=2, **(ids | SCALING[request.param]))
    lm = AutoModelForCausalLM.from_config(config)
    lm.generation_config = GenerationConfig(pad_token_id=0, eos_token_id=[2])
    with torch.no_grad():
        lm.get_output_embeddings().weight.mul_(20)  # so that caps and scales show
    return ready(lm, Prompts(None, {}, [1], 2, re.compile("(?!)")), small_params())


def test_likelihoods_are_those_of_the_models_own_head(scaling):
    rows = [Row([1, 7, 8, 9, 10], [0, 0, 1, 2, 2]), Row([1, 11, 12], [0, 1, 1])]
    logits, *_ = counted_logits(scaling, None, rows)
    with torch.no_grad():
        plain = [scaling.lm(torch.tensor([row.ids])).logits[0] for row in rows]
    expected = torch.cat([plain[0][1:4], plain[1][0:2]])  # position t - 1 predicts token t
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_soft_prompts_that_are_embeddings_of_tokens_stand_for_these_tokens(scaling):
    tokens, row = [20, 21, 22], Row([7, 8, 9], [0, 2, 2])
    z = scaling.embeddings[tokens][None]  # (1,K,D)
    nll, _ = token_nll(scaling, z, [row])
    whole = Row([1, *tokens, *row.ids], [0] * 4 + row.terms)
    expected, _ = token_nll(scaling, None, [whole])
    torch.testing.assert_close(nll, expected[:, 4:], atol=1e-4, rtol=1e-4)


def test_random_blocks_are_as_large_as_what_the_layers_get(scaling):
    embedded = scaling.lm.get_input_embeddings()(torch.arange(64))
    assert scaling.heads.random_z(300, seed=1).std().item() == pytest.approx(embedded.std().item(), rel=0.05)


def test_a_window_that_the_model_cannot_read_is_refused(tmp_path):
    folder = save_family(FAMILIES["llama"], tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["max_position_embeddings"] = 32
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"lm\.window_tokens 128 is more than .* can read \(32\)"):
        make_memory_lm(small_params({"lm.name": folder}), [])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_every_precision_trains_and_writes(precision, tmp_path):
    folder = save_family(FAMILIES["llama"], tmp_path)
    params = small_params(
        {"lm.name": folder, "machine.precision": precision, "write.steps": 4, "train.steps": 30, "train.lm_lr": 1.0e-2}
    )
    memory_lm = make_memory_lm(params, [])
    assert memory_lm.embeddings.dtype is getattr(torch, precision)
    _, log = write(memory_lm, ["amber bird cloud dust", "hill iris"], blocks(2, params), **numbers_of(params))
    assert log["nll"].iloc[-1] < log["nll"].iloc[0]
    z_table, lessons = make_ztable(blocks(len(DOCS), params)), make_lessons(memory_lm, DOCS, TUPLES, params)
    trained = train(memory_lm, z_table, lessons, keep=Cache(tmp_path, "these")).query("split == 'train'")
    recited = trained[trained["term"] == "recite"]["nll"]
    assert recited.iloc[-1] < recited.iloc[0] and (tmp_path / "checkpoint/state.json").is_file()


def test_dtype_by_device(monkeypatch):
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *a: True)
    assert pick_dtype("auto", cuda) is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *a: False)
    assert pick_dtype("auto", cuda) is torch.float16
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert pick_dtype("auto", cpu) is torch.float32
    assert pick_dtype("float16", cpu) is torch.float16


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("no config", "holds no config.json"),
        ("no weights", "cannot be loaded as a causal language model"),
        ("pickled weights", "cannot be loaded as a causal language model"),
        ("own code", "cannot be loaded as a causal language model"),
    ],
)
def test_a_folder_that_is_no_model_is_named(wrong, sentence, tmp_path):
    folder = save_family(FAMILIES["mistral"], tmp_path / "lm")
    (weights,) = (tmp_path / "lm").glob("*.safetensors")
    config = tmp_path / "lm/config.json"
    if wrong == "no config":
        config.unlink()
    elif wrong == "own code":
        own = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}
        config.write_text(json.dumps(own))
        (tmp_path / "lm/mine.py").write_text("raise SystemExit('code of the model was run')")
    else:
        weights.unlink()
        if wrong == "pickled weights":
            torch.save({"lm_head.weight": torch.zeros(1)}, tmp_path / "lm/pytorch_model.bin")
    with pytest.raises(BadInput, match=sentence) as refusal:
        make_memory_lm(small_params({"lm.name": folder}), [])
    assert "\n" not in str(refusal.value)


def test_the_scratch_marks_cannot_be_forged_by_a_text():
    memory_lm = make_memory_lm(small_params(), [sentence(i) for i in range(20)])
    marks = {ids[0] for ids in memory_lm.prompts.marks.values()} | {memory_lm.prompts.end}
    assert not marks & set(memory_lm.prompts.encode("amber <end> <evidence><answer> bird"))
    assert read_params(ROOT / "params/tiny.yaml").lm.name == "scratch"
    assert random_blocks(1, small_params()).shape == (1, 3, 32)


def test_learning_goes_on_from_a_given_adapter_and_its_heads(family, tmp_path):
    name, params, memory_lm = family
    save_memory_lm(memory_lm, tmp_path / "lm", "card")
    given = changed(params, {"lm.adapter": str(tmp_path / "lm"), "seed": 99})
    begun = make_memory_lm(given, [])
    learned = dict(memory_lm.lm.named_parameters())
    learning = {name: weight for name, weight in begun.lm.named_parameters() if weight.requires_grad}
    assert learning and all("lora" in name and torch.equal(weight, learned[name]) for name, weight in learning.items())
    for key, weight in memory_lm.heads.state_dict().items():
        assert torch.equal(begun.heads.state_dict()[key], weight), key
    assert sources_of(given, 3).keys() == {"lm/adapter_model.safetensors", "lm/heads.safetensors"} & {
        f"lm/{path.name}" for path in (tmp_path / "lm").iterdir()
    }
    with pytest.raises(BadInput, match=rf"has rank {params.lm.lora_rank}, not 3: set lm\.lora_rank to"):
        make_memory_lm(changed(given, {"lm.lora_rank": 3}), [])
    with pytest.raises(BadInput, match=r"lm\.adapter '.*' holds no adapter: give a folder as a run leaves it"):
        make_memory_lm(changed(given, {"lm.adapter": str(tmp_path)}), [])
    wide = save_family(FAMILIES[name], tmp_path / "wide", hidden_size=128)
    with pytest.raises(BadInput, match=r"holds no adapter of .*wide: it was made for another model"):
        make_memory_lm(changed(given, {"lm.name": wide}), [])

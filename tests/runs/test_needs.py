"""What a run needs: the memory formula against what torch's allocator recorded."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import pretrained
from transformers import AutoConfig

from zmem_lib.allowed import CHOICES
from zmem_lib.memory.shape import model_shape
from zmem_lib.params import changed, read_params
from zmem_lib.run import main
from zmem_lib.runs import needs
from zmem_lib.runs.budget import L4_BYTES, disk_bytes, plan_lines, summary_lines
from zmem_lib.runs.machine import L4
from zmem_lib.runs.measure import measure
from zmem_lib.runs.plan import PADDING, estimate_seconds

PARAMS = Path(__file__).parents[2] / "params"
FILES = sorted(PARAMS.glob("*.yaml"))
PRETRAINED = [path for path in FILES if "/" in read_params(path).lm]


def stem(path: Path) -> str:
    return path.stem


@pytest.fixture
def small(tmp_path):
    """Parameters of a run with a small model of the same family, in a folder that holds its configuration alone."""
    config = AutoConfig.for_model(
        "qwen2", hidden_size=128, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
        num_hidden_layers=4, vocab_size=1000, tie_word_embeddings=True,
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    batches = {"batch_tuples": 4, "batch_recite": 4, "write_batch": 4, "n_documents": 200}
    lengths = {"document_tokens": 80, "evidence_tokens": 40, "z_tokens": 4, "lora_rank": 4}
    return pretrained(lm=str(tmp_path), lm_revision="", device="cpu", **batches, **lengths)


def test_four_bits_take_a_quarter_of_bfloat16_in_the_linear_layers():
    params = pretrained({"lm.name": "Qwen/Qwen2.5-7B-Instruct"})
    shape = model_shape(params)
    plain = needs.weight_bytes(changed(params, {"lm.quantisation": "none"}), 2)
    assert plain == 2 * (shape.linear + shape.other)
    saved = plain - needs.weight_bytes(params, 2)
    assert saved / (2 * shape.linear) == pytest.approx(1 - 4.127 / 16, abs=1e-3)


def test_pieces_of_a_batch_need_less_memory():
    whole, pieces = pretrained({"machine.micro_batch": 0}), pretrained({"machine.micro_batch": 2})
    assert needs.gpu_total(needs.memory(pieces, 3)) < needs.gpu_total(needs.memory(whole, 3))


@pytest.mark.parametrize("name", ["batch_tuples", "z_tokens", "evidence_tokens", "lora_rank"])
def test_training_needs_more_memory_for_more_of_anything(name):
    params = pretrained({"train.batch_tuples": 32, "machine.micro_batch": 0})
    larger = replace(params, **{name: 2 * getattr(params, name)})
    assert needs.gpu_total(needs.memory(larger, 3)) > needs.gpu_total(needs.memory(params, 3))


def test_the_gpu_holds_no_more_for_more_documents():
    params = pretrained()
    for chapter in (3, 4, 5):
        assert needs.memory(changed(params, {"corpus.documents": 100_000}), chapter) == needs.memory(params, chapter)


def test_checkpointing_needs_less_memory_and_more_time():
    params = pretrained({"train.batch_tuples": 32})
    without = changed(params, {"machine.activation_checkpointing": False})
    assert needs.memory(params, 3)["activations"] < 0.2 * needs.memory(without, 3)["activations"]
    assert estimate_seconds(params, 3, L4) > 1.2 * estimate_seconds(without, 3, L4)


@pytest.mark.parametrize(("precision", "checkpointing"), [("bfloat16", True), ("bfloat16", False), ("float32", False)])
def test_planned_memory_is_what_the_allocator_recorded(small, precision, checkpointing):
    params = changed(small, {"machine.precision": precision, "machine.activation_checkpointing": checkpointing})
    size = needs.number_bytes(params, on_gpu=False)
    for chapter, cost in measure(params).items():
        planned = sum(needs.memory(params, chapter, size).values())
        assert planned == pytest.approx(cost.peak_bytes, rel=0.15), chapter


def test_planned_memory_of_a_model_made_from_scratch():
    params = changed(read_params(PARAMS / "smoke.yaml"), {"machine.device": "cpu", "machine.precision": "float32", "train.read_weight": 0.0})
    for chapter, cost in measure(params).items():
        planned = sum(needs.memory(params, chapter, 4).values())
        assert planned == pytest.approx(cost.peak_bytes, rel=0.35), chapter


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with 24 GB")
@pytest.mark.parametrize("name", ["qwen2.5-3b", "qwen2.5-7b"])
def test_planned_memory_on_a_gpu(name):
    params = read_params(PARAMS / f"{name}.yaml")
    for chapter, cost in measure(params).items():
        planned = sum(needs.memory(params, chapter, needs.number_bytes(params)).values())
        assert planned == pytest.approx(cost.peak_bytes, rel=0.2), chapter
        assert max(planned, cost.peak_bytes) <= 22 * needs.GIB


@pytest.mark.parametrize("path", PRETRAINED, ids=stem)
def test_pretrained_runs_fit_an_l4_in_every_chapter(path):
    params = read_params(path)
    for chapter in (3, 4, 5):
        assert needs.gpu_total(needs.memory(params, chapter)) <= 22 * needs.GIB < L4_BYTES, chapter


@pytest.mark.parametrize("path", FILES, ids=stem)
def test_plan_is_printed_for_every_parameter_file(path, capsys):
    assert main(["plan", str(path), "--price", "2"]) == 0
    text = capsys.readouterr().out
    assert "planned cost: $" in text and "at $2.00 an hour" in text
    assert ("03_train_joint" in text) == read_params(path).has_lm
    assert "TOO MUCH" not in text


def test_plan_says_when_an_l4_is_too_small():
    params = read_params(PARAMS / "qwen2.5-7b.yaml", ["lm.quantisation=none", "train.batch_tuples=64"])
    assert "TOO MUCH" in "\n".join(plan_lines(params))


def test_table_of_the_book_is_the_plan():
    page = (PARAMS.parent / "book" / "g2.md").read_text(encoding="utf-8")
    rows = summary_lines(read_params(path) for path in PRETRAINED)
    assert [row for row in rows if row not in page] == [], "make it again: zmem plan params/*.yaml"


def test_plan_measures_where_it_is_asked_to(small, capsys):
    overrides = [f"{key}={getattr(small, key)}" for key in ("lm", "device", "document_tokens", "evidence_tokens")]
    overrides += ["lm.revision=", "corpus.documents=20", "train.batch_tuples=2", "train.batch_recite=2", "machine.write_batch=2"]
    assert main(["plan", str(PARAMS / "qwen2.5-0.5b.yaml"), "--measure", "--set", *overrides]) == 0
    assert "chapter 03: planned" in capsys.readouterr().out


def test_plan_refuses_in_one_sentence(capsys):
    assert main(["plan", str(PARAMS / "tiny.yaml"), "--set", "lm.name=nobody/nothing"]) == 2
    assert main(["plan", str(PARAMS / "tiny.yaml"), "--price", "-1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_download_is_planned_only_for_what_is_downloaded():
    assert disk_bytes(pretrained())["model, downloaded"] > 988e6
    assert disk_bytes(read_params(PARAMS / "tiny.yaml"))["model, downloaded"] == 0
    assert disk_bytes(read_params(PARAMS / "tiny.yaml"))["data set, downloaded"] == 0


def test_every_corpus_has_its_padding_and_every_chapter_an_estimate():
    assert set(PADDING) == set(CHOICES["corpus"])
    for chapter in range(1, 8):
        assert 0 < estimate_seconds(pretrained(), chapter, L4) < 24 * 3600

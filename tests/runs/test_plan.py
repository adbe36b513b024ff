"""What a run needs: the memory formula against what torch's allocator recorded, the time formula, the plan as text."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT
from tiny_models import pretrained
from transformers import AutoConfig

from zmem_lib.chapters import CHAPTERS, finish_step, start_step
from zmem_lib.memory.shape import model_shape
from zmem_lib.meter import about
from zmem_lib.params import changed, described, flat, read_params
from zmem_lib.run import main
from zmem_lib.runs import needs
from zmem_lib.runs.duration import L4, PADDING, Machine, estimate_seconds, expected_seconds, this_machine
from zmem_lib.runs.measure import measure
from zmem_lib.runs.plan import L4_BYTES, api_requests, chapter_seconds, model_lines, plan_lines, summary_lines

PARAMS = ROOT / "params"
FILES = sorted(PARAMS.glob("*.yaml"))
PRETRAINED = [path for path in FILES if "/" in read_params(path).lm.name]


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
    return pretrained({
        "lm.name": str(tmp_path), "lm.revision": "", "lm.lora_rank": 4, "corpus.documents": 200, "memory.z_tokens": 4,
        "memory.z_width": 64,
        "memory.document_tokens": 80, "memory.evidence_tokens": 40, "train.batch_tuples": 4, "train.batch_recite": 4,
        "machine.device": "cpu", "machine.write_batch": 4,
    })  # fmt: skip


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


@pytest.mark.parametrize("name", ["train.batch_tuples", "memory.z_tokens", "memory.evidence_tokens", "lm.lora_rank"])
def test_training_needs_more_memory_for_more_of_anything(name):
    params = pretrained({"train.batch_tuples": 32, "machine.micro_batch": 0})
    larger = changed(params, {name: 2 * flat(params)[name]})
    assert needs.gpu_total(needs.memory(larger, 3)) > needs.gpu_total(needs.memory(params, 3))


def test_the_gpu_holds_no_more_for_more_documents():
    params = pretrained()
    for chapter in (3, 4, 5):
        assert needs.memory(changed(params, {"corpus.documents": 100_000}), chapter) == needs.memory(params, chapter)


def test_a_block_is_as_wide_as_its_tokens_are():
    params = pretrained({"memory.z_tokens": 16, "memory.z_width": 256, "memory.key_width": 128})
    assert needs.row_bytes(params) == 4 * (16 * 256 + 128)
    assert "z of 16 x 256, with a key of 128, 16.5 KiB each" in model_lines(params)[-1]
    whole = changed(params, {"memory.z_width": 0, "memory.key_width": 0})
    assert "z of 16 x 896, 56.0 KiB each" in model_lines(whole)[-1]


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
        assert planned == pytest.approx(cost.peak_memory_bytes, rel=0.15), chapter


def test_planned_memory_of_a_model_made_from_scratch(smoke_params):
    plain = {"machine.device": "cpu", "machine.precision": "float32", "train.read_weight": 0.0}
    params = changed(smoke_params, plain)
    for chapter, cost in measure(params).items():
        planned = sum(needs.memory(params, chapter, 4).values())
        assert planned == pytest.approx(cost.peak_memory_bytes, rel=0.35), chapter


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with 24 GB")
@pytest.mark.parametrize("name", ["qwen2.5-3b", "qwen2.5-7b"])
def test_planned_memory_on_a_gpu(name):
    params = read_params(PARAMS / f"{name}.yaml")
    for chapter, cost in measure(params).items():
        planned = sum(needs.memory(params, chapter, needs.number_bytes(params)).values())
        assert planned == pytest.approx(cost.peak_memory_bytes, rel=0.2), chapter
        assert max(planned, cost.peak_memory_bytes) <= 22 * needs.GIB


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
    params = read_params(path)
    assert ("03_train_joint" in text) == (params.has_lm and not params.schools)
    assert ("learning" in text) == params.schools
    assert "TOO MUCH" not in text


def test_plan_says_when_an_l4_is_too_small():
    params = read_params(PARAMS / "qwen2.5-7b.yaml", ["lm.quantisation=none", "train.batch_tuples=64"])
    assert "TOO MUCH" in "\n".join(plan_lines(params))


def test_table_of_the_book_is_the_plan():
    page = (ROOT / "book/g2.md").read_text(encoding="utf-8")
    rows = summary_lines(read_params(path) for path in PRETRAINED)
    assert [row for row in rows if row not in page] == [], "make it again: zmem plan params/*.yaml"


def test_plan_measures_where_it_is_asked_to(small, capsys):
    values = flat(small)
    names = ("lm.name", "machine.device", "memory.document_tokens", "memory.evidence_tokens")
    overrides = [f"{name}={values[name]}" for name in names]
    overrides += ["lm.revision=", "corpus.documents=20", "train.batch_tuples=2", "train.batch_recite=2"]
    overrides += ["machine.write_batch=2", "memory.z_width=64"]
    assert main(["plan", str(PARAMS / "qwen2.5-0.5b.yaml"), "--measure", "--set", *overrides]) == 0
    assert "chapter 03: planned" in capsys.readouterr().out


def test_plan_refuses_in_one_sentence(capsys):
    assert main(["plan", str(PARAMS / "tiny.yaml"), "--set", "lm.name=nobody/nothing"]) == 2
    assert main(["plan", str(PARAMS / "tiny.yaml"), "--price", "-1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_download_is_planned_only_for_what_is_downloaded():
    assert needs.disk_bytes(pretrained())["model, downloaded"] > 988e6
    assert needs.disk_bytes(read_params(PARAMS / "tiny.yaml"))["model, downloaded"] == 0
    assert needs.disk_bytes(read_params(PARAMS / "tiny.yaml"))["data set, downloaded"] == 0


def test_reader_and_judge_at_an_address_are_counted(smoke_params):
    at = {"answer.reader": "api", "answer.api_url": "http://h/v1", "answer.api_model": "big", "evaluate.judge": "api"}
    at |= {"answer.api_input_price": 1.0, "answer.api_output_price": 2.0, "machine.api_budget": 3.0}
    params = changed(smoke_params, at | {"evaluate.judge_model": "wise"})
    text, (requests, read, written) = "\n".join(plan_lines(params)), api_requests(params)
    assert "Reader big, planned" in text and "Judge wise, planned" in text and "stops before $3.00" in text
    assert f"{requests:,}" in text and f"${(read + 2 * written) / 1e6:.2f}" in text
    assert "addresses" not in "\n".join(plan_lines(smoke_params))


def test_every_corpus_has_its_padding_and_every_chapter_an_estimate():
    assert set(PADDING) == set(described()["corpus.name"][1].split(" | "))
    for chapter in CHAPTERS:
        assert 0 < estimate_seconds(pretrained(), chapter, L4) < 24 * 3600


def test_estimates_grow_with_the_work(smoke_params):
    for chapter in CHAPTERS:
        assert 0 < estimate_seconds(smoke_params, chapter, Machine(1.0e10)) < 600
    longer = changed(smoke_params, {"train.steps": 40_000})
    assert estimate_seconds(longer, 3, Machine(1.0e10)) > 100 * estimate_seconds(smoke_params, 3, Machine(1.0e12))
    larger = changed(smoke_params, {"corpus.documents": 10_000})
    assert estimate_seconds(larger, 5, Machine(1.0e10)) > estimate_seconds(smoke_params, 5, Machine(1.0e10))
    assert this_machine("cpu").flops_per_second > 1.0e7


def test_keys_and_values_pass_no_model(smoke_params):
    soft, kv = (changed(smoke_params, {"memory.kind": kind, "memory.z_tokens": 64}) for kind in ("soft", "kv"))
    for chapter in (3, 4, 5):
        assert estimate_seconds(kv, chapter, Machine(1.0e10)) < estimate_seconds(soft, chapter, Machine(1.0e10))


def test_a_packaged_model_needs_no_token_of_the_hub(capsys):
    assert main(["plan", str(PARAMS / "korquad-gemma.yaml")]) == 0
    assert "licence of the model: gemma; no token needed" in capsys.readouterr().out


def test_an_earlier_run_is_believed_before_the_formula(smoke_params, tmp_path):
    manifest = finish_step(start_step(3, changed(smoke_params, {"run": "other"}), tmp_path), [], [], least_seconds=12.5)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/manifest_03.json").write_text("{}")
    assert expected_seconds(changed(smoke_params, {"run": "new"}), 3, tmp_path) == manifest["seconds"] == 12.5
    unlike = changed(smoke_params, {"seed": 9, "machine.device": "cpu"})
    assert expected_seconds(unlike, 3, tmp_path) == estimate_seconds(unlike, 3, this_machine("cpu"))


def test_durations_are_said_as_one_says_them():
    assert [about(s) for s in (1, 42, 170, 9000)] == ["about 5 s", "about 40 s", "about 3 min", "about 2.5 h"]


def test_a_schooling_is_planned_as_what_it_does_and_writing_all_anew_costs_more():
    school = read_params(ROOT / "params/school.yaml")
    seconds = chapter_seconds(school)
    assert list(seconds) == ["01_corpus", "02_tuples", "learning", "measuring"] and school.schools
    longer = chapter_seconds(changed(school, {"train.steps": 4 * school.train.steps}))
    assert longer["learning"] == pytest.approx(4 * seconds["learning"])
    assert longer["measuring"] > seconds["measuring"] > 0, "two doublings more"
    assert any(line.split()[0] == "learning" for line in plan_lines(school) if line.strip())
    joint, text, asked = (
        chapter_seconds(changed(read_params(ROOT / "params/squad-packaged.yaml"), {"write.seen": seen}))["04_write_znew"]
        for seen in ("joint", "text", "questions")
    )
    assert joint < text < asked

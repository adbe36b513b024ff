"""Schooling on one folder, then a run on another that begins from what was schooled: a small random model, on a CPU."""

import json
from pathlib import Path

import matplotlib
import pytest
import torch
from conftest import ROOT
from families import save_family
from test_model_params import SMALL, execute
from tiny_models import sentence

from zmem_lib.chapters import CHAPTERS, is_finished
from zmem_lib.files import read_tensors
from zmem_lib.memory.encoder import start_z
from zmem_lib.memory.lm import make_memory_lm
from zmem_lib.memory.table import load_z
from zmem_lib.params import Params, changed, dumped, read_params
from zmem_lib.tables import read_table
from zmem_lib.text import passages

LESS = SMALL | {"memory.z_width": 0, "answer.dense_epochs": 0, "corpus.documents": 24, "corpus.new_documents": 6}


def write_corpus(folder: Path, first: int) -> list[str]:
    """A corpus of 40 passages with three questions each; returns its texts."""
    folder.mkdir()
    docs, asked = [], []
    for i in range(first, first + 40):
        spans = [f"{sentence(10 * i + j)} Person{i} keeps animal{i}x{j}." for j in range(3)]
        docs.append({"doc_id": f"d{i}", "title": f"Person{i}", "text": " ".join(spans)})
        asked += [
            {"question_id": f"q{i}-{j}", "question": f"What animal, number {j}, does Person{i} keep?",
             "answers": [f"animal{i}x{j}"], "doc_id": f"d{i}", "split": ("train", "test", "dev")[j]}
            for j in range(3)
        ]  # fmt: skip
    for name, rows in {"corpus": docs, "questions": asked}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [row["text"] for row in docs] + [row["question"] for row in asked]


@pytest.mark.long
def test_what_was_schooled_learns_a_corpus_reads_and_writes_every_document(tmp_path, monkeypatch):
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "agg")
    monkeypatch.setenv("ZMEM_PROGRESS", "")
    runs, texts = tmp_path / "runs", [*write_corpus(tmp_path / "other", 100), *write_corpus(tmp_path / "mine", 0)]
    lm = {"lm.name": save_family("meta-llama/Llama-3.2-3B-Instruct", tmp_path / "lm", texts), "lm.lora_rank": 4}
    places = {"corpus.path": str(tmp_path / "other"), "corpus.new_path": str(tmp_path / "mine")}
    places["corpus.apart_from"] = str(tmp_path / "mine")
    school = changed(read_params(ROOT / "params/school.yaml"), LESS | lm | places)
    places = {"corpus.path": str(tmp_path / "mine"), "lm.adapter": str(runs / "school/lm"), "corpus.new_articles": 2}
    mine = changed(read_params(ROOT / "params/squad-packaged.yaml"), LESS | lm | places)
    runs.mkdir()
    for params, chapters in ((school, [1, 2, 3]), (mine, [*CHAPTERS])):
        (runs / "params.yaml").write_text(dumped(params))
        (runs / params.run).mkdir()
        for number in chapters:
            execute(CHAPTERS[number], params, runs)
        assert all(is_finished(runs / params.run, number, params) for number in chapters)
    log = read_table(runs / "school/train_log.parquet", "train_log")
    assert {"question", "evidence", "text", "read", "key", "recite"} <= set(log["term"])
    assert torch.equal(load_z(runs / "school/z_seen.safetensors")[1], started(runs / "school", school))
    folder = runs / mine.run
    saved = (place / "lm/adapter_model.safetensors" for place in (folder, runs / "school"))
    learned, schooled = (read_tensors(path)[0] for path in saved)
    assert learned.keys() == schooled.keys() and any(not torch.equal(learned[name], schooled[name]) for name in learned)
    (ids, trained, _), (same, written, _) = (load_z(folder / f"z_{kind}.safetensors") for kind in ("seen", "written"))
    assert ids == same and (trained != written).flatten(1).any(1).all()
    summary = read_table(folder / "summary.parquet", "summary")
    assert {"zmem-oracle", "zmem-other-question", "text-evidence", "bm25"} <= set(summary["system"])


def started(folder: Path, params: Params) -> torch.Tensor:
    """Where the blocks of a run began: with its first model, before it learned."""
    docs = read_table(folder / "docs.parquet", "docs").query("part == 'seen'")
    memory_lm = make_memory_lm(params, [])
    return start_z("pooled", passages(docs), memory_lm, limit=params.memory.document_tokens, seed=params.seed)

"""Schooling on one folder, then a run on another that begins from what was schooled: a small random model, on a CPU."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
from conftest import ROOT
from families import save_family
from test_model_params import SMALL, execute
from tiny_models import sentence

from zmem_lib.chapters import CHAPTERS, is_finished
from zmem_lib.files import BadInput, read_tensors
from zmem_lib.memory import train
from zmem_lib.memory.table import load_z
from zmem_lib.params import Params, changed, dumped, read_params
from zmem_lib.runs import school as schooling
from zmem_lib.tables import read_table

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
    school = changed(read_params(ROOT / "params/school.yaml"), LESS | lm | places | {"machine.checkpoint_minutes": 0.0})
    places = {"corpus.path": str(tmp_path / "mine"), "lm.adapter": str(runs / "school/lm"), "corpus.new_articles": 2}
    mine = changed(read_params(ROOT / "params/squad-packaged.yaml"), LESS | lm | places)
    runs.mkdir()

    def run_here(params: Params, runs: Path, *, last: int = 7, **_: object) -> Path:
        (runs / "params.yaml").write_text(dumped(params))
        (runs / params.run).mkdir(exist_ok=True)
        for number in range(1, last + 1):
            if not is_finished(runs / params.run, number, params):
                execute(CHAPTERS[number], params, runs)
        return runs / params.run

    monkeypatch.setattr(schooling, "run_chapters", run_here)
    monkeypatch.setattr(schooling, "FIRST_ROWS", 8)
    monkeypatch.setattr(schooling, "LEAST_GAIN", -1.0)
    said: list[str] = []
    steps = stopped_in_training(monkeypatch, school, runs)
    lm_folder = schooling.school(school, runs, notebooks=ROOT / "notebooks", say=said.append)
    assert lm_folder == runs / "school/lm" and not (runs / "school/under_way_school").exists()
    assert len(steps) == len(set(steps)) == school.train.steps, "what was learned is not learned again"
    curve = pd.read_parquet(runs / "school/school.parquet")
    tuples = school.train.batch_tuples
    assert sorted(curve["rows"].unique()) == [step * tuples for step in schooling.marks(school.train.steps, tuples)]
    assert set(curve["system"]) == set(schooling.MEASURED) and len(said) == curve["rows"].nunique()
    assert (curve["n"] > 0).all() and (curve["ci_low"] <= curve["value"]).all()
    assert curve["seconds"].is_monotonic_increasing and curve["seconds"].nunique() == len(said)
    card = (lm_folder / "README.md").read_text()
    assert "text-evidence" in card and f"{curve['rows'].max():,}" in card and "zmem school" in card
    folder = run_here(mine, runs)
    saved = (place / "lm/adapter_model.safetensors" for place in (folder, runs / "school"))
    learned, schooled = (read_tensors(path)[0] for path in saved)
    assert learned.keys() == schooled.keys() and any((learned[name] != schooled[name]).any() for name in learned)
    (ids, trained, _), (same, written, _) = (load_z(folder / f"z_{kind}.safetensors") for kind in ("seen", "written"))
    assert ids == same and (trained != written).flatten(1).any(1).all()
    assert all(is_finished(folder, number, mine) for number in CHAPTERS)
    summary = read_table(folder / "summary.parquet", "summary")
    assert {"zmem-oracle", "zmem-other-question", "text-evidence", "bm25"} <= set(summary["system"])


def stopped_in_training(monkeypatch: pytest.MonkeyPatch, params: Params, runs: Path) -> list[int]:
    """Begin a schooling that dies at a step in its second half; returns the list of steps, which goes on growing."""
    steps, died, step_of, deadly = [], [], train.train_step, params.train.steps * 2 // 3

    def mortal(training: Any, step: int) -> dict[str, float]:
        if step == deadly and not died:
            died.append(step)
            raise KeyboardInterrupt
        steps.append(step)
        return step_of(training, step)

    monkeypatch.setattr(train, "train_step", mortal)
    with pytest.raises(KeyboardInterrupt):
        schooling.school(params, runs, notebooks=ROOT / "notebooks", say=lambda _: None)
    return steps


def test_marks_are_doublings_and_a_plateau_ends_it():
    assert schooling.marks(1000, 16) == [0, 63, 125, 250, 500, 1000] and schooling.marks(10, 16) == [0, 10]
    tables = [
        pd.DataFrame({"system": schooling.LEADING, "metric": "answer_in_evidence", "value": means})
        for means in ((0.1, 0.1), (0.5, 0.1), (0.51, 0.13), (0.52, 0.14))
    ]
    assert schooling.gains(tables[:2]) and schooling.gains(tables[:3]), "one of the two is enough"
    assert not schooling.gains(tables)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"train.encode_share": 0.5}, "encode_share to 1"), ({"corpus.new_documents": 0}, "raise corpus.new_documents")],
)
def test_what_is_no_schooling_is_refused(changes, says, tmp_path):
    params = changed(read_params(ROOT / "params/school.yaml"), changes)
    with pytest.raises(BadInput, match=says):
        schooling.school(params, tmp_path, notebooks=ROOT / "notebooks")

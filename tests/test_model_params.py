"""Every parameter file of a hub model, with a small random model of its class: seven notebooks, in 4 bit, on a CPU.

The corpus is a small copy of MIRAGE in its own files. The notebooks' cells are executed in this process: the kernel and
papermill have their own tests.
"""

import ast
import json
from pathlib import Path

import matplotlib
import nbformat
import pytest
from conftest import ROOT
from families import save_family
from tiny_models import WORDS, save_cross_encoder, sentence

from zmem_lib.chapters import CHAPTERS, is_finished
from zmem_lib.params import Params, changed, dumped, read_params
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import CHANCES, read_table

FILES = {path.stem: read_params(path) for path in sorted((ROOT / "params").glob("*.yaml"))}
HUB = {name: params for name, params in FILES.items() if "/" in params.lm.name and not params.schools}
SMALL = {
    "machine.device": "cpu", "corpus.documents": 40, "corpus.new_documents": 10, "train.steps": 3,
    "train.batch_tuples": 4, "train.batch_recite": 4, "memory.z_tokens": 3, "memory.z_width": 32,
    "memory.evidence_tokens": 24,
    "memory.document_tokens": 48, "write.steps": 2, "answer.questions": 4, "answer.answer_tokens": 4, "answer.top_k": 2,
    "answer.rerank_depth": 3, "answer.long_context_tokens": 96, "answer.noise_questions": 1, "answer.dense_epochs": 0,
    "evaluate.bootstrap_samples": 20,
}  # fmt: skip


def write_mirage(folder: Path, n: int) -> list[str]:
    """A copy of MIRAGE's two files with n questions and five chunks for each; returns its texts."""
    folder.mkdir()
    asked, pool = [], []
    for i in range(n):
        name, answer = f"{WORDS[i % len(WORDS)].title()} {i}", WORDS[(i + 3) % len(WORDS)]
        question = {"source": "popqa", "query_id": f"q{i}", "query": f"What is {name} known for?", "doc_name": name}
        asked.append(question | {"answer": [answer], "doc_url": "", "num_doc_labels": 1})
        for j in range(5):
            text = f"{sentence(10 * i + j)} {name} is known for {answer}." if j == 0 else sentence(10 * i + j, 20)
            pool.append({"mapped_id": f"q{i}", "doc_name": name, "doc_chunk": text, "support": int(j == 0)})
    (folder / "dataset.json").write_text(json.dumps(asked))
    (folder / "doc_pool.json").write_text(json.dumps(pool))
    return [row["query"] for row in asked] + [row["doc_chunk"] for row in pool]


def execute(name: str, params: Params, runs: Path) -> None:
    """The cells of a notebook, with these parameters; what a cell shows is rendered as the page would have it."""
    notebook = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
    space = {"__name__": "__main__", "display": show}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        body = ast.parse(cell.source).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), name, "exec"), space)
        shown = eval(compile(ast.Expression(last.value), name, "eval"), space) if last else None
        show(shown)
        if "parameters" in cell.metadata.get("tags", []):
            space |= {"run": params.run, "runs": str(runs), "params_file": str(runs / "params.yaml")}


def show(*values: object) -> None:
    for value in values:
        if hasattr(value, "_repr_html_"):
            value._repr_html_()


@pytest.mark.long
@pytest.mark.parametrize("name", HUB)
def test_a_small_model_of_the_class_goes_through_all_chapters(name, tmp_path, monkeypatch):
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "agg")
    monkeypatch.setenv("ZMEM_PROGRESS", "")
    texts = write_mirage(tmp_path / "mirage", 12)
    made = {
        "lm.adapter": "",
        "lm.name": save_family(HUB[name].lm.name, tmp_path / "lm", texts),
        "answer.rerank_model": save_cross_encoder(tmp_path / "reranker"),
        "corpus.path": str(tmp_path / "mirage"),
    }
    params = changed(HUB[name], SMALL | made)
    folder = tmp_path / "runs" / params.run
    folder.mkdir(parents=True)
    (tmp_path / "runs/params.yaml").write_text(dumped(params))
    for chapter in CHAPTERS.values():
        execute(chapter, params, tmp_path / "runs")
    assert all(is_finished(folder, number, params) for number in CHAPTERS)
    summary = read_table(folder / "summary.parquet", "summary")
    left_out = {"dense-tuned", "text-twin", "zmem-other-question"}  # the last: there is one question to a document
    assert set(summary["system"]) == {*SYSTEMS, *CHANCES} - left_out
    assert {"unasked-document", "new"} <= set(summary["part"])
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {
        ".parquet", ".json", ".safetensors", ".faiss", ".jinja", ".md", ".png", ".html", ".pptx",
    }  # fmt: skip
    assert not list(folder.glob("under_way_*")), "pieces of a finished chapter were left"


@pytest.mark.parametrize("name", HUB)
def test_parameter_files_of_hub_models_say_what_they_need(name):
    params = HUB[name]
    assert len(params.lm.revision) == 40, "a revision that moves"
    assert (params.lm.quantisation, params.corpus.name, params.corpus.documents) == ("nf4", "mirage", 4000)
    assert params.train.read_weight == 0 and params.lm.lora_rank > 0

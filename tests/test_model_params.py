"""Every parameter file of a hub model, with a small random model of its class: seven notebooks, in 4 bit, on a CPU.

The corpus is a small copy of MIRAGE in its own files. The notebooks' cells are executed in this process: the kernel and
papermill have their own tests.
"""

import ast
import json
from dataclasses import replace
from pathlib import Path

import matplotlib
import nbformat
import pytest
from conftest import ROOT
from families import save_family
from tiny_models import WORDS, save_cross_encoder, sentence

from zmem_lib.chapters import CHAPTERS, is_finished
from zmem_lib.params import Params, flat, read_params
from zmem_lib.tables import CHANCES, SYSTEMS, read_table

FILES = {path.stem: read_params(path) for path in sorted((ROOT / "params").glob("*.yaml"))}
HUB = {name: params for name, params in FILES.items() if "/" in params.lm.name}
SMALL = {
    "device": "cpu", "n_documents": 40, "n_new_documents": 10, "train_steps": 3, "batch_tuples": 4, "batch_recite": 4,
    "z_tokens": 3, "write_steps": 2, "scan_questions": 4, "evidence_tokens": 24, "answer_tokens": 4, "top_k": 2,
    "document_tokens": 48, "bootstrap_samples": 20, "rerank_depth": 3, "long_context_tokens": 96, "noise_questions": 1,
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
            space |= flat(params) | {"runs": str(runs)}


def show(*values: object) -> None:
    for value in values:
        if hasattr(value, "_repr_html_"):
            value._repr_html_()


@pytest.mark.parametrize("name", HUB)
def test_a_small_model_of_the_class_goes_through_all_chapters(name, tmp_path, monkeypatch):
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "agg")
    monkeypatch.setenv("ZMEM_PROGRESS", "")
    texts = write_mirage(tmp_path / "mirage", 12)
    lm = save_family(HUB[name].lm, tmp_path / "lm", texts)
    reranker = save_cross_encoder(tmp_path / "reranker")
    params = replace(HUB[name], lm=lm, rerank_model=reranker, corpus_path=str(tmp_path / "mirage"), **SMALL)
    folder = tmp_path / "runs" / params.run
    for chapter in CHAPTERS.values():
        execute(chapter, params, tmp_path / "runs")
    assert all(is_finished(folder, number, params) for number in CHAPTERS)
    summary = read_table(folder / "summary.parquet", "summary")
    assert set(summary["system"]) == {*SYSTEMS, *CHANCES} - {"dense-tuned", "text-twin"}
    assert {"unasked-document", "new"} <= set(summary["part"])
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {
        ".parquet", ".json", ".safetensors", ".faiss", ".jinja", ".md", ".png", ".html", ".pptx",
    }  # fmt: skip
    assert not list(folder.glob("under_way_*")), "pieces of a finished chapter were left"


@pytest.mark.parametrize("name", HUB)
def test_parameter_files_of_hub_models_say_what_they_need(name):
    params = HUB[name]
    assert len(params.lm.revision) == 40, "a revision that moves"
    assert (params.lm.quantisation, params.corpus.name, params.corpus.documents) == ("nf4", "mirage", 2000)
    assert params.train.read_weight == 0 and params.lm.lora_rank > 0

"""The form of the chapters: output-free templates whose parameters are params/tiny.yaml, and no logic in them."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from zmem_lib.chapters import CHAPTERS

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FORBIDDEN = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Try)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    nb = nbformat.read(request.param, as_version=4)
    nbformat.validate(nb)
    return nb


def code_cells(notebook, *, parameters: bool = False):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in cells if ("parameters" in cell.metadata.get("tags", [])) == parameters]


def test_there_is_a_notebook_for_every_chapter():
    assert [path.stem for path in PATHS] == list(CHAPTERS.values())


def test_parameters_cell_names_the_run_and_its_files(notebook):
    (cell,) = code_cells(notebook, parameters=True)
    assigned = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    assert assigned == {"run": "tiny", "runs": "../runs", "params_file": "../params/tiny.yaml"}


def test_cells_are_short_and_without_logic(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 12, cell.source
        assert not any(line.lstrip().startswith(("%", "!")) for line in cell.source.splitlines()), cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, FORBIDDEN), cell.source
            assert not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*"), cell.source


def test_template_has_no_output_and_a_kernel(notebook):
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))
    assert all(not cell.outputs for cell in code_cells(notebook, parameters=True))
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata


def test_chapter_begins_with_its_title_and_question_and_has_chapter_length(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and re.match(r"# (\d · )?[A-Z]", first.source) and "?" in first.source
    assert 12 <= len(notebook.cells) <= 27

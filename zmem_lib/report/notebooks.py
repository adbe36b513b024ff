"""Notebook templates and their executed copies: read and checked, put into a language, tidied.

Takes paths and nbformat notebooks; the pipeline executes what is returned here.
"""

import ast
from pathlib import Path

import nbformat

from zmem_lib.files import BadInput

NEEDS_LM = "needs-lm"  # tag of cells that a run without a language model leaves out
SHOWN_AS = {"parameters": "remove-cell", "injected-parameters": "hide-input"}


def read_template(path: Path, names: set[str]) -> nbformat.NotebookNode:
    """Read a notebook whose one `parameters` cell must set every name that will be injected, and no other."""
    if not path.is_file():
        raise BadInput(f"notebook {path} does not exist: restore it from the repository")
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise BadInput(f"notebook {path} has {len(cells)} cells tagged 'parameters': it must have one")
    there = {target.id for node in ast.parse(cells[0].source).body for target in getattr(node, "targets", [])}
    if there != names:
        raise BadInput(
            f"notebook {path}: its parameters cell must set run, runs and params_file, and differs in {', '.join(sorted(there ^ names))}: "
            "make the names equal"
        )
    return notebook


def translate(notebook: nbformat.NotebookNode, language: str) -> None:
    """Put the prose cells of page one into a language; those that have no translation stay as they are."""
    from zmem_lib.report.wording import phrases  # imports matplotlib

    words = phrases(language)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = words.get(f"cell.{cell.get('id')}", cell.source)


def cells_of(cells: list[nbformat.NotebookNode], *, has_lm: bool) -> list[nbformat.NotebookNode]:
    """The cells of a template that a run executes and shows: without a language model, not those tagged NEEDS_LM."""
    return [cell for cell in cells if has_lm or NEEDS_LM not in cell.metadata.get("tags", [])]


def tidy_copy(path: Path) -> None:
    """Show only the values in force, folded, in the book; drop papermill's timings, in which equal runs differ."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        tags = cell.metadata.get("tags", [])
        if more := [SHOWN_AS[tag] for tag in tags if tag in SHOWN_AS]:
            cell.metadata["tags"] = [*tags, *more]
    nbformat.write(notebook, path)

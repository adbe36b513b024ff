"""The form of the chapters: output-free templates that open params/tiny.yaml, and no logic in them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from zmem_lib.chapters import CHAPTERS
from zmem_lib.fingerprint import EXPLORE
from zmem_lib.params import read_params

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


def test_the_parameters_cell_names_the_run_and_its_file_and_the_next_opens_them(notebook):
    (cell,) = code_cells(notebook, parameters=True)
    assigned = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    assert assigned == {"run": "tiny", "runs": "../runs", "params_file": "../params/tiny.yaml"}
    assert read_params(PATHS[0].parent / assigned["params_file"]).run == assigned["run"]
    opened = "\n".join(cell.source for cell in code_cells(notebook))
    assert 'params = read_params(params_file, [f"run={run}"])' in opened


def test_every_cell_can_run_again(notebook):
    """No cell makes something else of a name that it, or a cell before it, has taken from elsewhere."""
    taken: set[str] = set()
    for cell in code_cells(notebook):
        bound: set[str] = set()
        for reads, binds in uses(ast.parse(cell.source).body):
            taken |= reads - bound
            bound |= binds
        assert not taken & bound, f"{taken & bound} in\n{cell.source}"


def uses(statements: list[ast.stmt]) -> Iterator[tuple[set[str], set[str]]]:
    """Names that statements read, and names that they bind or change, one after the other."""
    for statement in statements:
        if isinstance(statement, ast.For):
            yield loaded(statement.iter), stored(statement.target)
            yield from uses(statement.body)
        elif isinstance(statement, ast.With):
            for item in statement.items:
                yield loaded(item.context_expr), stored(item.optional_vars) if item.optional_vars else set()
            yield from uses(statement.body)
        elif isinstance(statement, ast.If):
            yield loaded(statement.test), set()
            yield from uses([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            yield set(), {alias.asname or alias.name for alias in statement.names}
        else:
            also = stored(statement.target) if isinstance(statement, ast.AugAssign) else set()
            yield loaded(statement) | also, stored(statement) | grown(statement)


def loaded(tree: ast.AST) -> set[str]:
    return names_of(tree, ast.Load)


def stored(tree: ast.AST) -> set[str]:
    return names_of(tree, ast.Store)


def names_of(tree: ast.AST, context: type) -> set[str]:
    """Names in a context, without those of comprehensions."""
    loops = [node.target for node in ast.walk(tree) if isinstance(node, ast.comprehension)]
    inner = {name.id for target in loops for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)} - inner


def grown(tree: ast.AST) -> set[str]:
    """Names of lists and dicts that are added to."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    methods = [
        func for func in calls if isinstance(func, ast.Attribute) and func.attr in ("append", "extend", "update")
    ]
    return {func.value.id for func in methods if isinstance(func.value, ast.Name)}


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
    assert 12 <= len(before_explore(notebook)) <= 27


def test_chapter_ends_in_explore_when_all_is_kept(notebook):
    """What a reader may change comes after the manifest, and writes nothing into the run."""
    chapter, explore = before_explore(notebook), notebook.cells[len(before_explore(notebook)) :]
    assert any("finish_step(" in cell.source for cell in chapter if cell.cell_type == "code")
    assert [cell.cell_type for cell in explore[:2]] == ["markdown", "code"], "an invitation, then a cell"
    assert not [cell.source for cell in explore[1:] if cell.source.startswith("## ")], "the last section"
    calls = [node for cell in explore if cell.cell_type == "code" for node in ast.walk(ast.parse(cell.source))]
    named = {node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
             for node in calls if isinstance(node, ast.Call)}  # fmt: skip
    assert not named & {"write_table", "write_json", "finish_step", "save_figure", "save_z", "add", "delete", "open"}


def before_explore(notebook):
    headings = [cell.cell_type == "markdown" and cell.source.startswith(EXPLORE) for cell in notebook.cells]
    return notebook.cells[: headings.index(True)]

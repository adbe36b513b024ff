"""One chapter executed: a notebook template goes to a kernel by papermill, and comes back as the run's copy.

A copy gets its name only when its chapter went through; a failed one is kept as NN_name.failed.ipynb.
"""

import ast
from pathlib import Path
from typing import Any

import nbformat

from zmem_lib.chapters import CHAPTERS, FINDINGS
from zmem_lib.files import BadInput, ChapterFailed, disk_refusal
from zmem_lib.params import Params

NEEDS_LM = "needs-lm"  # tag of cells that a run without a language model leaves out
SHOWN_AS = {"parameters": "remove-cell", "injected-parameters": "hide-input"}
PAPERMILL = {
    "kernel_name": "python3",  # with kernel_environment: that of the interpreter that runs this
    "progress_bar": False,
    "shutdown_kernel": "immediate",  # a kernel that is asked to end while it computes prints a traceback
}


def run_chapter(number: int, params: Params, runs: Path, *, notebooks: Path) -> None:
    """Execute one template into the run's folder; raises ChapterFailed or BadInput."""
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    name, folder = CHAPTERS[number], runs / params.run
    values = {"run": params.run, "runs": "..", "params_file": "params.yaml"}  # seen from the copy
    template = read_template(notebooks / f"{name}.ipynb", set(values))
    if not params.has_lm:
        template.cells = [cell for cell in template.cells if NEEDS_LM not in cell.metadata.get("tags", [])]
    if number == FINDINGS:
        translate(template, params.report.language)
    under_way, failed, copy = (folder / f"{stem}.ipynb" for stem in (f".{name}", f"{name}.failed", name))
    copy.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    try:
        config = Config({"KernelManager": {"transport_encryption": "auto"}})  # without, the kernel prints a warning
        papermill.execute_notebook(template, str(under_way), values, cwd=str(folder), config=config, **PAPERMILL)
        tidy_copy(under_way)
        under_way.replace(copy)
    except PapermillExecutionError as error:
        under_way.replace(failed)
        raise explained(error, name, failed) from error
    except OSError as error:
        if sentence := disk_refusal(str(error), copy):
            raise BadInput(sentence) from error
        raise
    except RuntimeError as error:  # nbclient's, while the kernel computes, or jupyter_client's, while it starts
        if "Kernel died" not in str(error):
            raise
        if under_way.exists():
            under_way.replace(failed)
        raise ChapterFailed(
            f"chapter {name} lost its kernel, most often for want of memory: lower machine.micro_batch, write_batch, "
            "scan_batch or answer_batch (--set machine.NAME=N) and give the same command again, which resumes"
        ) from error
    finally:
        under_way.unlink(missing_ok=True)


def explained(error: Any, name: str, failed: Path) -> Exception:
    """The exception to raise for a failed cell: BadInput where the chapter raised it, else ChapterFailed."""
    message = " ".join(error.evalue.split())
    if sentence := message if error.ename == BadInput.__name__ else disk_refusal(message, failed.parent):
        return BadInput(f"{sentence} (chapter {name}, cell [{error.exec_count}])")
    return ChapterFailed(
        f"chapter {name} failed in cell [{error.exec_count}]: {error.ename}: {message} "
        f"(the whole traceback stands in {failed})"
    )


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
        wrong, wanted = ", ".join(sorted(there ^ names)), ", ".join(sorted(names))
        raise BadInput(f"notebook {path}: its parameters cell must set {wanted}, and differs in {wrong}: mend it")
    return notebook


def translate(notebook: nbformat.NotebookNode, language: str) -> None:
    """Put the prose cells of page one into a language; those that have no translation stay as they are."""
    from zmem_lib.report.wording import phrases  # imports matplotlib

    words = phrases(language)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = words.get(f"cell.{cell.get('id')}", cell.source)


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

"""What makes a chapter's figures: the code that it runs, the packages, the files of its corpus, the revision.

The code is that of the notebook's cells and of the library's modules that they import, directly or through others.
Comments, docstrings and layout are no code; neither are modules that only read, keep or name things (PLUMBING), nor
rooms that only show or execute, nor the cells from EXPLORE on, which readers change. What lies beside the code and
is read by it counts (READ).
"""

import ast
import hashlib
import json
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path

from zmem_lib import schooled
from zmem_lib.files import hash_path, text_files
from zmem_lib.hub import PACKAGED
from zmem_lib.params import Params

LIBRARY = Path(__file__).parent
PLUMBING = ("params", "sections", "combinations", "files", "cache", "hub", "chapters", "fingerprint")
SHOWING = ("report", "runs")  # rooms
READ = ("{}.yaml", "{}/*.yaml", "{}/*.j2")  # beside the code of a room, or a module of none: words, prompts, tables
EXPLORE = "## Explore"  # begins a chapter's last section
PACKAGES = {  # by the name of import: those whose version may move a figure
    "torch": "torch", "transformers": "transformers", "peft": "peft", "numpy": "numpy", "pandas": "pandas",
    "bm25s": "bm25s", "Stemmer": "PyStemmer", "regex": "regex", "sentence_transformers": "sentence-transformers",
    "faiss": "faiss-cpu", "sklearn": "scikit-learn", "ragas": "ragas", "ir_measures": "ir-measures",
}  # fmt: skip
KNOWN = [  # files of a corpus in the folder format, of a kept data set, of an adapter
    *(f"{name}.jsonl{end}" for name in ("corpus", "questions", "unanswerable*") for end in ("", ".gz")),
    "subsets.json", "*.safetensors",
]  # fmt: skip
DATA = (".json", ".jsonl", ".csv", ".parquet", ".json.gz", ".jsonl.gz", ".csv.gz")  # of other corpora's files


def made_by(notebook: Path, *, shown: bool = False) -> dict[str, dict[str, str]]:
    """Hashes of the `code` that a notebook runs, by room, and versions of its `packages`; `shown`: report counts."""
    cells = _cells(notebook)
    found, names = {"notebook": [_digest(cells)]}, _imports(cells)
    for name, path in _modules(cells, shown).items():
        imported, digest = _read(path)
        names += imported
        found.setdefault(name.partition(".")[0], []).append(digest)
    for room, digests in found.items():
        digests += [hash_path(path) for form in READ for path in sorted(LIBRARY.glob(form.format(room)))]
    code = {room: hashlib.sha256("".join(digests).encode()).hexdigest()[:16] for room, digests in found.items()}
    roots = {name.partition(".")[0] for name in names}
    return {"code": code, "packages": {name: _version(name) for root, name in PACKAGES.items() if root in roots}}


def sources_of(params: Params, number: int) -> dict[str, str]:
    """Hashes of the files from outside that a chapter reads, by name; nothing of what is not there (any more).

    Of chapter 01 the corpus: a folder that holds corpus.jsonl is one in the folder format, of any other path all data
    files count, or all texts. Of chapter 03 the adapter that it begins from.
    """
    corpus = params.corpus
    adapter = str(schooled.SCHOOLED) if params.lm.adapter == PACKAGED else params.lm.adapter
    found, places = {}, {1: (corpus.path, corpus.new_path, corpus.apart_from), 3: (adapter,)}
    for place in filter(None, places.get(number, ())):
        root = Path(place).expanduser()
        own = [path for pattern in KNOWN for path in sorted(root.glob(pattern))]
        own = text_files(root) if number == 1 and not params.tests else own
        others = () if own else sorted(root.rglob("*"))
        files = [root] if root.is_file() else own or [path for path in others if path.name.endswith(DATA)]
        found |= {path.relative_to(root.parent).as_posix(): hash_path(path) for path in files}
    return found


def git_revision() -> str:
    """The project's git revision, with `+changes` where files differ from it; empty without git or a repository."""
    if not shutil.which("git"):
        return ""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    return subprocess.run(command, cwd=LIBRARY, capture_output=True, text=True, check=False).stdout.strip()


def _modules(cells: ast.Module, shown: bool) -> dict[str, Path]:
    """The library's modules that count, by dotted name, of what these cells import and what that imports in turn."""
    aside = SHOWING[1:] if shown else SHOWING
    found: dict[str, Path] = {}
    todo = _imports(cells)
    while todo:
        name = todo.pop().removeprefix("zmem_lib.")
        path = LIBRARY / f"{name.replace('.', '/')}.py"
        if name not in found and name not in PLUMBING and name.partition(".")[0] not in aside and path.is_file():
            found[name] = path
            todo += _read(path)[0]
    return dict(sorted(found.items()))


def _cells(notebook: Path) -> ast.Module:
    """The code of a notebook's cells before EXPLORE as one module; an empty one where there is no such file."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"] if notebook.is_file() else []
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    making = takewhile(lambda cell: cell[0] == "code" or not cell[1].startswith(EXPLORE), sources)
    return ast.parse("\n".join(source for kind, source in making if kind == "code"))


@cache
def _read(path: Path) -> tuple[list[str], str]:
    """Imports and digest of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return _imports(tree), _digest(tree)


def _imports(tree: ast.Module) -> list[str]:
    """Dotted names that a module imports, inside functions too: modules, and what it takes from them."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _digest(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

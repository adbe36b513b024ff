"""Modules import strictly downwards; the core needs little; heavy packages are imported in one module each."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "zmem_lib"
ROOMS = {  # the rooms that each room may call; modules without a room stand below or above them
    "api": set(),
    "corpora": set(),
    "memory": set(),
    "planning": {"corpora", "memory"},
    "ids": {"memory"},
    "retrieval": {"memory"},
    "evaluation": {"memory", "judges"},
    "judges": {"api", "evaluation", "memory", "retrieval"},
    "pages": {"corpora", "evaluation", "judges", "memory", "planning", "retrieval"},
}
CORE = {
    "keep", "memory.base_lm", "memory.checkpoint", "memory.encode", "memory.heads", "memory.lessons",
    "memory.losses", "memory.memory_lm", "memory.prompts", "memory.rates", "memory.select", "memory.shape",
    "memory.train", "memory.write", "memory.ztable",
}  # fmt: skip
CORE_MAY = {"torch", "transformers", "tokenizers", "peft", "safetensors", "numpy", "pandas", "tqdm"}
ALONE = {
    "faiss", "rank_bm25", "bm25s", "sklearn", "sentence_transformers", "ragas", "papermill", "selenium", "ir_measures",
    "openai", "ppi_py", "pptx", "ray",
}  # fmt: skip
FILES = sorted(LIBRARY.rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


MODULES = {dotted(path): path for path in FILES if path.name != "__init__.py"}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, inside functions too; of this library, its modules."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in within if name.removeprefix("zmem_lib.") in MODULES} or {node.module}
    return names


def own(path: Path) -> set[str]:
    """The modules of this library that a file imports."""
    return {name.removeprefix("zmem_lib.") for name in imports(path)} & set(MODULES)


def room(module: str) -> str:
    return module.rpartition(".")[0]


def test_imports_go_downwards():
    below = {module: own(path) for module, path in MODULES.items()}
    TopologicalSorter(below).prepare()  # raises where there is a cycle
    assert not [module for module in below if "run" in below[module]], "something imports the command line"


def test_rooms_are_called_by_those_who_may():
    assert {room(module) for module in MODULES} == {"", *ROOMS}
    for module, path in MODULES.items():
        called = {room(other) for other in own(path)} - {"", room(module)}
        if room(module):
            assert called <= ROOMS[room(module)], module
        elif "pages" in called:
            assert module in ("run", "commands", "pipeline"), f"{module} makes pages"


def test_the_core_runs_on_a_bare_machine():
    for module in CORE:
        roots = {name.split(".")[0] for name in imports(MODULES[module])} - set(sys.stdlib_module_names) - {"zmem_lib"}
        assert roots <= CORE_MAY, f"{module} imports {roots - CORE_MAY}"


@pytest.mark.parametrize("package", sorted(ALONE))
def test_a_heavy_package_is_known_to_one_module(package):
    users = [path.name for path in FILES if any(name.split(".")[0] == package for name in imports(path))]
    assert len(users) <= 1, users


def test_modules_stay_short():
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 250, path.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_can_bring_code_along(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "dill", "cloudpickle", "joblib", "marshal"}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {ast.unparse(call.func) for call in calls}
    assert not called & {"torch.load", "torch.save", "pd.read_pickle", "eval", "exec", "yaml.load", "yaml.unsafe_load"}
    assert not [name for name in called if name.endswith(".to_pickle")]
    trusted = [word.value for call in calls for word in call.keywords if word.arg == "trust_remote_code"]
    assert all(isinstance(value, ast.Constant) and value.value is False for value in trusted)

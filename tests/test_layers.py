"""Modules import strictly downwards; the memory needs little; heavy packages are imported in one module each."""

import ast
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "zmem_lib"
ROOMS = (
    "",
    "data",
    "memory",
    "ids",
    "opponents",
    "api",
    "systems",
    "evaluation",
    "judges",
    "report",
    "runs",
)  # upwards
COMMAND_LINE = "run"
MEMORY_MAY = {  # and what comes with these
    "torch", "transformers", "peft", "safetensors", "numpy", "pandas", "tqdm", "tokenizers", "huggingface_hub",
    "filelock", "yaml", "regex",
}  # fmt: skip
ALONE = {
    "faiss", "filelock", "bm25s", "Stemmer", "sklearn", "sentence_transformers", "ragas", "papermill", "ir_measures",
    "openai", "pptx", "ray", "selenium",
}  # fmt: skip
FEWEST, MOST = 60, 400  # lines of a module that is no table of data
DATA = {"ablation"}  # reads rows that stand in YAML
FILES = sorted(LIBRARY.rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


MODULES = {dotted(path): path for path in FILES if path.name != "__init__.py"}


@cache
def imports(path: Path, *, at_load: bool = False) -> frozenset[str]:
    """Dotted names that a file imports, of this library its modules; with `at_load` not those inside functions."""
    names = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if at_load and node in later:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in within if name.removeprefix("zmem_lib.") in MODULES} or {node.module}
    return frozenset(name.removeprefix("zmem_lib.") for name in names)


def own(module: str, *, at_load: bool = False) -> set[str]:
    """The modules of this library that a module imports."""
    return imports(MODULES[module], at_load=at_load) & set(MODULES)


def room(module: str) -> str:
    return module.rpartition(".")[0]


def test_there_is_no_circle():
    below = {module: own(module) for module in MODULES}
    TopologicalSorter(below).prepare()  # raises where there is one
    assert not [module for module in below if COMMAND_LINE in below[module]], "something imports the command line"


@pytest.mark.parametrize("name", ROOMS, ids=lambda name: name or "top level")
def test_a_room_calls_those_below_it(name):
    assert {room(module) for module in MODULES} == set(ROOMS)
    above = set(ROOMS[ROOMS.index(name) + 1 :])
    modules = [module for module in MODULES if room(module) == name and module != COMMAND_LINE]
    upwards = [f"{module} imports {other}" for module in modules for other in own(module) if room(other) in above]
    assert sorted(upwards) == []


def test_the_memory_runs_on_a_bare_machine():
    todo, reached = [module for module in MODULES if room(module) == "memory"], set()
    while todo:
        module = todo.pop()
        reached.add(module)
        todo += own(module, at_load=True) - reached
    needed = {
        f"{module} imports {name}"
        for module in reached
        for name in imports(MODULES[module], at_load=room(module) != "memory") - set(MODULES)
        if (root := name.partition(".")[0]) not in sys.stdlib_module_names and root not in MEMORY_MAY
    }
    assert sorted(needed) == []


@pytest.mark.parametrize("package", sorted(ALONE))
def test_a_heavy_package_is_known_to_one_module(package):
    users = [path.name for path in FILES if any(name.partition(".")[0] == package for name in imports(path))]
    assert len(users) <= 1, users


def test_modules_are_read_in_minutes_and_say_something():
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: n for name, n in lines.items() if n > MOST or (n < FEWEST and name not in DATA)} == {}


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_no_file_can_bring_code_along(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    roots = {name.partition(".")[0] for name in imports(path)}
    assert not roots & {"pickle", "dill", "cloudpickle", "joblib", "marshal"}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {ast.unparse(call.func) for call in calls}
    assert not called & {"torch.load", "torch.save", "pd.read_pickle", "eval", "exec", "yaml.load", "yaml.unsafe_load"}
    assert not [name for name in called if name.endswith(".to_pickle")]
    trusted = [word.value for call in calls for word in call.keywords if word.arg == "trust_remote_code"]
    assert all(isinstance(value, ast.Constant) and value.value is False for value in trusted)

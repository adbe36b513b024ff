"""Modules import strictly downwards; the core needs little; heavy packages are imported in one module each."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "zmem_lib"
LAYERS = [  # a module imports from earlier lines only
    {"errors"},
    {"combinations"},
    {"allowed"},
    {"params", "schema", "text", "meter", "hub", "rates", "phrases_en", "phrases_ko", "slides_phrases"},
    {"numbers_in", "ragchecker", "trace", "judge_prompts", "by_ragas"},
    {"artifacts", "lock", "machine", "needs", "canvas", "api_cache", "api_request"},
    {"ztable", "api_queue"},
    {"api"},
    {"judging"},
    {"checkpoint", "heads", "keep", "prompts", "metrics", "risk", "stats", "index", "doc_ids", "plan"},
    {"corpora", "tuples", "base_lm", "model_card", "bm25"},
    {"dense"},
    {"retrieve"},
    {"memory_lm", "added", "entailment"},
    {"encode"},
    {"select", "reader", "lessons", "id_head", "taught", "fusion", "asking"},
    {"generated_id", "pseudo", "rerank"},
    {"run_ids", "losses"},
    {"train", "write", "damage"},
    {"bench"},
    {"answering"},
    {"upkeep"},
    {"systems"},
    {"controls"},
    {"cost", "measure", "budget", "scaling"},
    {"abstain", "evaluate", "ask", "figures", "published", "results"},
    {"judges"},
    {"chance", "grounding", "ppi", "score", "selectors", "curves", "wording", "pairs", "contexts"},
    {"findings_controls", "noise_items", "report_abstain", "report_corpus", "report_memory", "report_noise"},
    {"compare_runs"},
    {"noise"},
    {"headline"},
    {"verdict", "previous", "page_plots", "slides_scheme", "templates"},
    {"findings", "report_side"},
    {"report", "pipeline"},
    {"ablate", "sweep", "report_controls", "report_page", "report_judges", "report_runs", "slides"},
    {"slides_html", "slides_pptx", "cluster", "book"},
    {"compare_rows"},
    {"report_ablation", "commands"},
    {"run"},
]
CORE = {
    "ztable", "heads", "base_lm", "memory_lm", "encode", "prompts", "lessons", "losses", "train", "write", "select",
    "checkpoint", "keep",
}  # fmt: skip
CORE_MAY = {"torch", "transformers", "tokenizers", "peft", "safetensors", "numpy", "pandas", "tqdm"}
ALONE = {
    "faiss", "rank_bm25", "bm25s", "sklearn", "sentence_transformers", "ragas", "papermill", "selenium", "ir_measures",
    "openai", "ppi_py", "pptx", "ray",
}  # fmt: skip
FILES = sorted(LIBRARY.rglob("*.py"))


def module_of(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "zmem_lib":
            names |= {f"zmem_lib.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def layer(module: str) -> int:
    (level,) = (i for i, names in enumerate(LAYERS) if module in names)
    return level


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "__init__.py"], ids=lambda path: path.stem)
def test_imports_go_downwards(path):
    module = module_of(path)
    for name in imports(path):
        if name.startswith("zmem_lib."):
            other = name.split(".")[1]
            allowed = layer(other) < layer(module) or other == module
            assert allowed, f"{module} imports {other}, which does not stand below it"


def test_the_core_runs_on_a_bare_machine():
    import sys

    for path in FILES:
        if module_of(path) in CORE:
            roots = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"zmem_lib"}
            assert roots <= CORE_MAY, f"{path.name} imports {roots - CORE_MAY}"


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

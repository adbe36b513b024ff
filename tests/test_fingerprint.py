"""What makes a chapter's figures: which code, packages and files count, and which changes are none."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from zmem_lib import fingerprint
from zmem_lib.fingerprint import git_revision, made_by, sources_of
from zmem_lib.params import changed, read_params

MODULES = {
    "text.py": "WORDS = 3\n",
    "params.py": "import torch\n",
    "data/rows.py": "def rows():\n    return []\n",
    "memory/table.py": """'A table.'
import numpy as np


def rows():  # of it
    'All of them.'
    from zmem_lib.text import WORDS
    return WORDS
""",
    "report/page.py": "import pandas\nfrom zmem_lib.data.rows import rows\n",
    "report/page.en.md.j2": "words",
    "memory/prompts.yaml": "ask: words",
    "text.yaml": "- words",
    "data/words.yaml": "- words",
}


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small library and a function that writes a file of it anew, and says which rooms have other code then."""
    monkeypatch.setattr(fingerprint, "LIBRARY", tmp_path)
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    notebook = tmp_path / "03.ipynb"
    cells(notebook, "from zmem_lib.memory import table\n", "from zmem_lib.report import page\nimport zmem_lib.params\n")

    def changing(name: str, text: str, *, shown: bool = False) -> list[str]:
        fingerprint._read.cache_clear()
        before = made_by(notebook, shown=shown)["code"]
        (tmp_path / name).write_text(text)
        fingerprint._read.cache_clear()
        now = made_by(notebook, shown=shown)["code"]
        return [room for room in before if before[room] != now[room]]

    yield changing
    fingerprint._read.cache_clear()


def cells(path: Path, *sources: str) -> None:
    code = [{"cell_type": "code", "source": [source], "metadata": {}} for source in sources]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": ["# prose"]}, *code]}))


def test_code_is_what_the_cells_import_and_what_that_imports(library, tmp_path):
    assert set(made_by(tmp_path / "03.ipynb")["code"]) == {"notebook", "memory", "text"}
    assert set(made_by(tmp_path / "03.ipynb", shown=True)["code"]) == {"notebook", "memory", "text", "report", "data"}
    assert library("text.py", "WORDS = 4\n") == ["text"]
    assert library("memory/table.py", MODULES["memory/table.py"].replace("return WORDS", "return 0")) == ["memory"]
    assert library("report/page.py", "import pandas\nfrom zmem_lib.data.rows import rows\nrows()\n") == []
    assert library("report/page.py", "from zmem_lib.data.rows import rows\n", shown=True) == ["report"]
    assert library("report/page.en.md.j2", "other words", shown=True) == ["report"]
    assert library("memory/prompts.yaml", "ask: other words") == ["memory"]
    assert library("text.yaml", "- other words") == ["text"] and library("data/words.yaml", "- other words") == []
    assert library("params.py", "import torch\nX = 1\n") == [], "its values are hashed, and nothing of it computes"


def test_comments_docstrings_and_prose_are_no_code(library, tmp_path):
    source = MODULES["memory/table.py"]
    assert library("memory/table.py", source.replace("  # of it", "  # of them all")) == []
    assert library("memory/table.py", source.replace("'All of them.'", "'Each.'")) == []
    assert library("memory/table.py", source.replace("\n\n\n", "\n\n")) == []
    before = made_by(tmp_path / "03.ipynb")["code"]
    cells(
        tmp_path / "03.ipynb",
        "from zmem_lib.memory import table  # a table\n\n",
        "from zmem_lib.report import page\nimport zmem_lib.params\n",
    )
    assert made_by(tmp_path / "03.ipynb")["code"] == before
    cells(tmp_path / "03.ipynb", "from zmem_lib.memory import table\ntable.rows()\n")
    assert made_by(tmp_path / "03.ipynb")["code"]["notebook"] != before["notebook"]


def test_what_a_reader_changes_in_explore_makes_no_figure(library, tmp_path):
    path = tmp_path / "03.ipynb"
    before = made_by(path)["code"]
    notebook = json.loads(path.read_text())
    explore = [{"cell_type": "markdown", "source": ["## Explore\n", "\n", "Change a line."]}]
    explore += [{"cell_type": "code", "source": ["from zmem_lib.data import rows\n", "rows.rows()"]}]
    path.write_text(json.dumps({"cells": notebook["cells"] + explore}))
    assert made_by(path)["code"] == before and set(made_by(path)["packages"]) == {"numpy"}
    path.write_text(json.dumps({"cells": notebook["cells"] + explore[1:]}))
    assert set(made_by(path)["code"]) == {*before, "data"}, "without the heading it counts"


def test_packages_are_those_that_are_used(library, tmp_path):
    assert set(made_by(tmp_path / "03.ipynb")["packages"]) == {"numpy"}
    assert set(made_by(tmp_path / "03.ipynb", shown=True)["packages"]) == {"numpy", "pandas"}


def test_the_chapters_use_what_they_are_about():
    rooms = {
        number: set(made_by(path)["code"])
        for number, path in enumerate(sorted((ROOT / "notebooks").glob("*.ipynb")), 1)
    }
    assert {"data", "notebook"} <= rooms[1] and "memory" not in rooms[1] | rooms[2]
    assert "memory" in rooms[3] & rooms[4] and "systems" not in rooms[3] | rooms[4]
    assert {"opponents", "systems", "memory"} <= rooms[5] and {"evaluation", "judges"} <= rooms[6]
    assert not {"report", "runs", "params", "files"} & set().union(*rooms.values())
    trained = made_by(ROOT / "notebooks/03_train_joint.ipynb")["packages"]
    assert {"torch", "transformers", "peft"} <= set(trained) and "ragas" not in trained
    assert {"bm25s", "faiss-cpu", "sentence-transformers"} <= set(
        made_by(ROOT / "notebooks/05_baselines.ipynb")["packages"]
    )


def test_sources_are_the_files_of_local_corpora(smoke_params, tmp_path):
    assert (
        sources_of(smoke_params, 1)
        == {}
        == sources_of(changed(smoke_params, {"corpus.path": str(tmp_path / "none")}), 1)
    )
    own = {"own/corpus.jsonl.gz", "own/questions.jsonl", "own/unanswerable-2.jsonl"}
    for name in (*own, "own/train.csv", "hub/data/a.parquet", "hub/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    both = changed(smoke_params, {"corpus.path": str(tmp_path / "own"), "corpus.new_path": str(tmp_path / "hub")})
    assert set(sources_of(both, 1)) == {*own, "hub/data/a.parquet"}
    alone = changed(smoke_params, {"corpus.path": str(tmp_path / "own/train.csv")})
    assert set(sources_of(alone, 1)) == {"train.csv"}
    texts = read_params(ROOT / "params/mine.yaml", [f"corpus.path={tmp_path}"])
    assert set(sources_of(texts, 1)) == {f"{tmp_path.name}/hub/README.md"}


def test_a_revision_says_that_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "LIBRARY", tmp_path)
    assert git_revision() == "", "there is no repository"
    named = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "a").write_text("1")
    for command in (["init", "-q"], ["add", "a"], ["commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    clean = git_revision()
    assert len(clean) == 40 and set(clean) <= set("0123456789abcdef")
    (tmp_path / "a").write_text("2")
    assert git_revision() == f"{clean}+changes"

"""Corpora in folders, for tests: twelve documents with three questions each, a second corpus, how they are loaded."""

import json
from pathlib import Path

from conftest import ROOT

from zmem_lib.data.corpus import load_corpus
from zmem_lib.data.rows import Corpus
from zmem_lib.params import Params, changed, read_params

TINY = read_params(ROOT / "params/tiny.yaml")
DOCS = [{"doc_id": f"d{i}", "title": f"T{i}", "text": f"Text {i} says x{i}. And more."} for i in range(12)]
QUESTIONS = [
    {"question_id": f"q{i}{j}", "question": f"What says {i}, {j}?", "answers": ["absent", f"x{i}"], "doc_id": f"d{i}",
     "answer_start": DOCS[i]["text"].index(f"x{i}"), "split": ("train", "train", "test")[j]}
    for i in range(12) for j in range(3)
]  # fmt: skip


def params_of(values: dict[str, object]) -> Params:
    """The parameters of tiny with other values by dotted name."""
    return changed(TINY, {name: str(value) if isinstance(value, Path) else value for name, value in values.items()})


def write(folder: Path, docs: list = DOCS, questions: list = QUESTIONS) -> Path:
    """Write the two files; a row that is text is a line as it stands."""
    for name, rows in (("corpus", docs), ("questions", questions)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def in_folder(folder: Path, values: dict[str, object] | None = None) -> Params:
    """The parameters of a corpus in a folder: eight seen and three new documents, or as `values` say."""
    usual = {"corpus.name": "folder", "corpus.path": folder, "corpus.documents": 8, "corpus.new_documents": 3}
    return params_of(usual | (values or {}))


def load(folder: Path, values: dict[str, object] | None = None) -> Corpus:
    return load_corpus(in_folder(folder, values))


def second_folder(folder: Path) -> Path:
    """Six documents with a question each: d0 is the first corpus's own, d1 to d3 share only their ids with it."""
    docs = [DOCS[0]] + [DOCS[i] | {"text": f"Other text {i} says y{i}."} for i in range(1, 4)]
    docs += [{"doc_id": f"e{i}", "text": f"Fresh {i} says y{i}."} for i in range(2)]
    questions = [
        {"question_id": f"q{i}0", "question": f"Who says {i}?", "answers": [f"y{i}"], "doc_id": doc["doc_id"],
         "split": "train"}
        for i, doc in enumerate(docs)
    ]  # fmt: skip
    both = questions[1] | {"question_id": "both", "gold_doc_ids": ["d0", "d1"], "answer_start": None}
    folder.mkdir()
    return write(folder, docs, [*questions, both])

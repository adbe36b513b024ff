"""A corpus of your own: `corpus.jsonl` and `questions.jsonl` (or each with `.gz`) in the folder `corpus.path`.

corpus.jsonl: doc_id, text, and optionally title. questions.jsonl: question_id, question, answers (a list of text),
doc_id or gold_doc_ids, and optionally answer_start (offset of an answer in the first gold document's text, or null),
split (train, dev or test; without one, a hash of question_id decides: a fifth test, a tenth dev) and evidence.
Other fields are ignored, blank lines too. One JSON object a line, UTF-8; every fault is named with file, line, field.

With `corpus.subset` the corpus is that part of it which `subsets.json` in the same folder gives the name: an object of
names, each with a list of `titles` or of `doc_ids`; corpus.documents is then the most that are taken of it. Questions
that no document answers may lie in `unanswerable*.jsonl` (absent.py).

The almanac, an encyclopedia of a country that does not exist, is such a folder, which comes with this module; its
subset `ko` is another, in Korean.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, StrictInt

from zmem_lib.data import rows
from zmem_lib.data.rows import AllFilled, Filled, Own
from zmem_lib.files import BadInput
from zmem_lib.params import Params

SUBSETS = "subsets.json"
ALMANAC = Path(__file__).with_name("almanac")
OUTSIDE = "documents outside of the subset"


class Document(BaseModel):
    doc_id: Filled
    text: Filled
    title: Own | None = None


class Question(BaseModel):
    question_id: Filled
    question: Filled
    answers: AllFilled
    doc_id: Filled | None = None  # where there are no gold_doc_ids
    gold_doc_ids: AllFilled | None = None
    answer_start: StrictInt | None = None
    split: Literal["train", "dev", "test"] | None = None
    evidence: Own | None = None


class Unanswerable(BaseModel):
    question_id: Filled
    question: Filled
    doc_id: Filled


class Subset(BaseModel):
    titles: AllFilled | None = None
    doc_ids: AllFilled | None = None


def folder_of(params: Params) -> Path:
    """The folder of the run's corpus; raises BadInput."""
    path, subset = params.corpus.path, params.corpus.subset
    if params.corpus.name == "almanac":
        if path or subset not in ("", "ko"):
            raise BadInput("corpus almanac takes no corpus.path, and no corpus.subset but ko: leave them empty")
        return ALMANAC / (subset or "en")
    if not path:
        raise BadInput("corpus folder needs corpus.path: give the folder that holds corpus.jsonl and questions.jsonl")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise BadInput(f"corpus.path {folder} is not a folder (seen from {Path.cwd()}): correct corpus.path")
    return folder


def files(params: Params) -> tuple[Path, Path]:
    """Where the documents lie, and the questions; raises BadInput."""
    folder = folder_of(params)
    if params.corpus.subset and params.corpus.name != "almanac":
        read_subset(folder / SUBSETS, params.corpus.subset)  # to refuse it before anything is read
    paths = []
    for name in ("corpus.jsonl", "questions.jsonl"):
        there = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
        if not there:
            raise BadInput(f"{folder} has neither {name} nor {name}.gz: corpus.path must be the folder that holds them")
        paths.append(there[0])
    return paths[0], paths[1]


def load(params: Params) -> rows.Corpus:
    """Read the corpus: documents (no part yet) and all questions (split of the corpus's own); raises BadInput."""
    docs_path, questions_path = files(params)
    docs, dropped = read_docs(docs_path), {}
    questions = read_questions(questions_path, dict(zip(docs["doc_id"], docs["text"], strict=True)))
    subset = params.corpus.subset
    if params.corpus.name == "almanac":
        return rows.Corpus(docs, questions, source=f"the almanac of this project {subset}".strip(), dropped=dropped)
    if subset:
        path = docs_path.with_name(SUBSETS)
        column, values = read_subset(path, subset)
        if unknown := sorted(values - set(docs[column])):
            raise BadInput(f"{path}, subset {subset!r}: no document has the {column} {unknown[0]!r}: correct it")
        kept = docs[column].isin(values)
        dropped, docs = {OUTSIDE: int((~kept).sum())}, docs[kept].reset_index(drop=True)
    source = f"folder {docs_path.absolute().parent.name} {subset}".strip()
    return rows.Corpus(docs, questions, source=source, dropped=dropped)


def read_docs(path: Path) -> pd.DataFrame:
    """doc_id, title, text of every document, in the file's order."""
    docs = [vars(row) | {"title": row.title or ""} for _, row in own_rows(Document, "doc_id", path)]
    if not docs:
        raise BadInput(f"{path} holds no document: write one JSON object with doc_id, title and text a line")
    return pd.DataFrame(docs, columns=rows.DOC_COLUMNS)


def read_questions(path: Path, texts: dict[str, str]) -> pd.DataFrame:
    """All questions with the columns of the schema; the answer that answer_start points at is put first."""
    questions = []
    for where, row in own_rows(Question, "question_id", path):
        gold, name = row.gold_doc_ids or [row.doc_id or ""], "gold_doc_ids" if row.gold_doc_ids else "doc_id"
        if not gold[0]:
            raise BadInput(f"{where}: field 'doc_id' is missing: add it, or gold_doc_ids")
        if unknown := [doc_id for doc_id in gold if doc_id not in texts]:
            raise BadInput(f"{where}: field {name!r} names {unknown[0]!r}, which no document has: add it or correct it")
        start, text = row.answer_start, texts[gold[0]]
        answers = sorted(row.answers, key=lambda answer: not rows.stands_at(answer, start, text))
        if start is not None and not rows.stands_at(answers[0], start, text):
            wrong = f"no answer stands at answer_start {start} of its document"
            raise BadInput(f"{where}: {wrong}: correct it or write null")
        more = {"answer_start": -1 if start is None else start, "evidence": row.evidence or ""}
        more |= {"split": row.split} if row.split else {}
        gold = list(dict.fromkeys(gold))
        questions.append(rows.question_row(row.question_id, row.question, answers, gold, **more))
    if not questions:
        raise BadInput(f"{path} holds no question: write one JSON object with question_id, question, answers a line")
    return pd.DataFrame(questions)


def own_rows(model: type[rows.Row], key: str, *paths: Path) -> Iterator[tuple[str, rows.Row]]:
    """The rows of files with their places; raises BadInput where `key` has a value that it had before."""
    places: dict[str, str] = {}
    for path in paths:
        for where, record in rows.read_rows(path):
            row = rows.parsed(model, record, where)
            first = places.setdefault(getattr(row, key), where)
            if first != where:
                first = first.removeprefix(f"{path}, ")  # of the same file the line alone
                value = rows.shown(getattr(row, key))
                raise BadInput(f"{where}: {key} {value} is already that of {first}: give every line its own")
            yield where, row


def read_subset(path: Path, name: str) -> tuple[str, set[str]]:
    """The column by which a subset chooses documents (title or doc_id), and its values there; raises BadInput."""
    try:
        subsets = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"corpus.subset is {name!r}, but there is no {path}: write one, or leave it empty") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error}): correct it") from error
    if not isinstance(subsets, dict) or name not in subsets:
        names = rows.shown(list(subsets)) if isinstance(subsets, dict) else "no names"
        raise BadInput(f"corpus.subset is {name!r}, but {path} has {names}: give one of these")
    subset = rows.parsed(Subset, subsets[name], f"{path}, subset {name!r}")
    for column, values in (("title", subset.titles), ("doc_id", subset.doc_ids)):
        if values:
            return column, set(values)
    raise BadInput(f"{path}, subset {name!r}: must be an object with a list of titles or of doc_ids: add one")

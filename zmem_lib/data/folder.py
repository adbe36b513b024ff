"""A corpus of your own: `corpus.jsonl` and `questions.jsonl` (or each with `.gz`) in the folder `corpus.path`.

corpus.jsonl: doc_id, text, and optionally title. questions.jsonl: question_id, question, answers (a list of text),
doc_id or gold_doc_ids, and optionally answer_start (offset of an answer in the first gold document's text, or null),
split (train, dev or test; without one, a hash of question_id decides: a fifth test, a tenth dev) and evidence.
Other fields are ignored, blank lines too. One JSON object a line, UTF-8; every fault is named with file, line, field.

With `corpus.subset` the corpus is that part of it which `subsets.json` in the same folder gives the name: an object of
names, each with a list of `titles` or of `doc_ids`; n_documents is then the most that are taken of it.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.data.licences import LICENCES
from zmem_lib.data.rows import Corpus, hash_split
from zmem_lib.files import BadInput
from zmem_lib.params import Params
from zmem_lib.text import unprintable

SPLITS = ("train", "dev", "test")
SUBSETS = "subsets.json"
OUTSIDE = "documents outside of the subset"
LINE_BYTES = 16 * 2**20  # of a line at most: a longer one is no passage, and would fill the memory


def files(params: Params) -> tuple[Path, Path]:
    """Where the documents and the questions lie; raises BadInput."""
    if not params.corpus.path:
        raise BadInput("corpus folder needs corpus_path: give the folder that holds corpus.jsonl and questions.jsonl")
    folder = Path(params.corpus.path).expanduser()
    if not folder.is_dir():
        raise BadInput(f"corpus_path {folder} is not a folder (seen from {Path.cwd()}): correct corpus_path")
    if params.corpus.subset:
        read_subset(folder / SUBSETS, params.corpus.subset)
    return find_file(folder, "corpus.jsonl"), find_file(folder, "questions.jsonl")


def load(params: Params) -> Corpus:
    """Read the corpus: documents (no part yet) and all questions (split of the corpus's own); raises BadInput."""
    docs_path, questions_path = files(params)
    docs, dropped = read_docs(docs_path), {}
    questions = read_questions(questions_path, dict(zip(docs["doc_id"], docs["text"], strict=True)))
    if params.corpus.subset:
        kept = subset_docs(docs, docs_path.with_name(SUBSETS), params.corpus.subset)
        dropped, docs = {OUTSIDE: len(docs) - len(kept)}, kept
    source = f"folder {params.corpus.path} {params.corpus.subset}".strip()
    return Corpus(docs, questions, licence=LICENCES["folder"], source=source, dropped=dropped)


def read_subset(path: Path, name: str) -> tuple[str, set[str]]:
    """The column by which a subset chooses documents (title or doc_id), and its values there; raises BadInput."""
    where = f"{path}, subset {name!r}"
    try:
        subsets = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"corpus_subset is {name!r}, but there is no {path}: write one, or leave it empty") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error}): correct it") from error
    if not isinstance(subsets, dict) or name not in subsets:
        names = ", ".join(subsets) if isinstance(subsets, dict) else "no names"
        raise BadInput(f"corpus_subset is {name!r}, but {path} has {_shown(names)}: give one of these")
    for field, column in (("titles", "title"), ("doc_ids", "doc_id")):
        if isinstance(subsets[name], dict) and field in subsets[name]:
            return column, set(_texts(subsets[name], field, where))
    raise BadInput(f"{where}: must be an object with a list of titles or of doc_ids: add one")


def subset_docs(docs: pd.DataFrame, path: Path, name: str) -> pd.DataFrame:
    """The documents of a named subset, in the corpus's order; raises BadInput where one that it names is not there."""
    column, values = read_subset(path, name)
    if unknown := sorted(values - set(docs[column])):
        raise BadInput(f"{path}, subset {name!r}: no document has the {column} {_shown(unknown[0])}: correct it")
    return docs[docs[column].isin(values)].reset_index(drop=True)


def find_file(folder: Path, name: str) -> Path:
    """The file of that name in the folder, or its .gz; raises BadInput if there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise BadInput(f"{folder} has neither {name} nor {name}.gz: corpus_path must be the folder that holds them")


def read_docs(path: Path) -> pd.DataFrame:
    """doc_id, title, text of every document, in the file's order."""
    docs, lines = [], {}
    for line, where, record in read_lines(path):
        doc = {name: _text(record, name, where) for name in ("doc_id", "text")}
        doc["title"] = "" if record.get("title") is None else _text(record, "title", where, may_be_empty=True)
        _unique("doc_id", doc["doc_id"], line, lines, where)
        docs.append(doc)
    if not docs:
        raise BadInput(f"{path} holds no document: write one JSON object with doc_id, title and text a line")
    return pd.DataFrame(docs)[["doc_id", "title", "text"]]


def read_questions(path: Path, texts: dict[str, str]) -> pd.DataFrame:
    """All questions with the columns of the schema; the answer that answer_start points at is put first."""
    questions, lines = [], {}
    for line, where, record in read_lines(path):
        question = {name: _text(record, name, where) for name in ("question_id", "question")}
        _unique("question_id", question["question_id"], line, lines, where)
        gold, answers = _gold(record, texts, where), _texts(record, "answers", where)
        start = _answer_start(record, answers, texts[gold[0]], where)
        if start >= 0:
            answers.sort(key=lambda answer: not texts[gold[0]].startswith(answer, start))
        question |= {"answers": answers, "gold_doc_ids": gold, "answer_start": start, "kind": ""}
        question["evidence"] = (
            "" if record.get("evidence") is None else _text(record, "evidence", where, may_be_empty=True)
        )
        questions.append(question | {"split": _split(record, question["question_id"], where)})
    if not questions:
        raise BadInput(f"{path} holds no question: write one JSON object with question_id, question, answers a line")
    return pd.DataFrame(questions)


def read_lines(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Line number, "file, line n" for messages, and the JSON object of every line that is not blank."""
    for line, raw in enumerate(_whole_lines(path), 1):
        where = f"{path}, line {line}"
        if len(raw) > LINE_BYTES:
            raise BadInput(f"{where}: longer than {LINE_BYTES // 2**20} MiB: write one JSON object a line")
        try:
            text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
            record = json.loads(text) if text else None
        except UnicodeDecodeError as error:
            raise BadInput(f"{where}: not valid UTF-8 at byte {error.start + 1}: save the file as UTF-8") from error
        except (ValueError, RecursionError) as error:  # of ValueError: JSON that is broken, and a number without end
            said = getattr(error, "msg", str(error))
            raise BadInput(f"{where}: not valid JSON ({said}): write one JSON object a line") from error
        if text and not isinstance(record, dict):
            raise BadInput(f"{where}: must be a JSON object with named fields, not {text[:40]!r}")
        if text:
            yield line, where, record


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, gzipped or not; of one that is too long no more than shows that it is."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            while line := stream.readline(LINE_BYTES + 1):
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{path} is not a whole gzip file ({error}): compress it again") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error}): correct that there") from error


def _text(record: dict, name: str, where: str, *, may_be_empty: bool = False) -> str:
    if name not in record:
        raise BadInput(f"{where}: field {name!r} is missing: add it")
    value = record[name]
    if not isinstance(value, str) or not (value.strip() or may_be_empty):
        raise BadInput(f"{where}: field {name!r} must be text that is not empty, not {_shown(value)}")
    return _printable(value, name, where)


def _texts(record: dict, name: str, where: str) -> list[str]:
    values = record.get(name)
    if not isinstance(values, list) or not values or not all(isinstance(v, str) and v.strip() for v in values):
        state = f"not {_shown(values)}" if name in record else "but is missing"
        raise BadInput(f"{where}: field {name!r} must be a list of one or more texts that are not empty, {state}")
    return [_printable(value, name, where) for value in values]


def _printable(text: str, name: str, where: str) -> str:
    if found := unprintable(text):
        raise BadInput(f"{where}: field {name!r} has {found}: remove it")
    return text


def _shown(value: Any) -> str:
    try:
        return repr(str(value)[:40])
    except RecursionError:
        return "what is nested so deep"


def _unique(name: str, value: str, line: int, lines: dict[str, int], where: str) -> None:
    first = lines.setdefault(value, line)
    if first != line:
        raise BadInput(f"{where}: {name} {value!r} is already that of line {first}: give every line its own")


def _gold(record: dict, texts: dict[str, str], where: str) -> list[str]:
    name = "gold_doc_ids" if record.get("gold_doc_ids") is not None else "doc_id"
    gold = _texts(record, name, where) if name == "gold_doc_ids" else [_text(record, name, where)]
    for doc_id in gold:
        if doc_id not in texts:
            raise BadInput(f"{where}: field {name!r} names {doc_id!r}, which no document has: add it or correct it")
    return list(dict.fromkeys(gold))


def _answer_start(record: dict, answers: list[str], text: str, where: str) -> int:
    start = record.get("answer_start")
    if start is None:
        return -1
    if type(start) is not int:
        raise BadInput(f"{where}: field 'answer_start' must be a whole number or null, not {_shown(start)}")
    if start < 0 or not any(text.startswith(answer, start) for answer in answers):
        raise BadInput(f"{where}: no answer stands at answer_start {start} of its document: correct it or write null")
    return start


def _split(record: dict, question_id: str, where: str) -> str:
    split = record.get("split")
    if split is None:
        return hash_split(question_id)
    if split not in SPLITS:
        raise BadInput(f"{where}: field 'split' must be one of {', '.join(SPLITS)} or null, not {_shown(split)}")
    return split

"""MIRAGE (Park et al., 2025): questions of five data sets, each with five chunks of Wikipedia in one shared pool.

A document is a chunk, and the chunks of a question are one group, so that a subset keeps or leaves out a question with
its support and its negatives. Gold documents are a question's chunks with support 1. There is no evidence and no split
in the data: evidence is the sentence with the answer, the split a hash of the question's id. As no chunk has two
questions, no test question is about a document that training asks about. Files: dataset.json and doc_pool.json.
"""

from collections.abc import Iterator

from zmem_lib.data.licences import licence_of
from zmem_lib.data.rows import Corpus, question_row, tables
from zmem_lib.data.source import Files, Row, field, find_files, rows_of, shown, text, texts
from zmem_lib.files import BadInput
from zmem_lib.params import Params

REPO = "nlpai-lab/mirage"
EMPTY = "questions without words or without an answer"
REPEATED = "questions that ask the same as an earlier one, word for word (or have its id), with their chunks"
UNSUPPORTED = "questions none of whose chunks supports them, with their chunks"
STRAY = "chunks of questions that are not there or were dropped"
BLANK = "chunks without text"


def files(params: Params) -> Files:
    """The two files, local or fetched; raises BadInput."""
    return find_files(params, REPO)


def load(params: Params) -> Corpus:
    """The chunk pool and its questions; raises BadInput."""
    found = files(params)
    dropped = dict.fromkeys((EMPTY, REPEATED, UNSUPPORTED, STRAY, BLANK), 0)
    asked = _asked(found, dropped)
    chunks: dict[str, list[dict]] = {question_id: [] for question_id in asked}
    for where, row in _rows(found, "doc_pool"):
        group, chunk = text(row, "mapped_id", where), text(row, "doc_chunk", where)
        if group not in asked:
            dropped[STRAY] += 1
        elif not chunk.strip():
            dropped[BLANK] += 1
        else:
            doc = {"doc_id": f"{group}-{len(chunks[group])}", "title": text(row, "doc_name", where).strip()}
            chunks[group].append(doc | {"text": chunk, "group": group, "support": _support(row, where)})
    questions = []
    for question_id, (question, answers) in asked.items():
        gold = [doc["doc_id"] for doc in chunks[question_id] if doc["support"]]
        if gold:
            questions.append(question_row(question_id, question, answers, gold))
        else:
            dropped[UNSUPPORTED] += 1
            dropped[STRAY] += len(chunks.pop(question_id))
    made = tables((doc for group in chunks.values() for doc in group), questions)
    return Corpus(*made, licence=licence_of(params), source=found.source, dropped=dropped)


def _asked(found: Files, dropped: dict[str, int]) -> dict[str, tuple[str, list[str]]]:
    """Question and answers by id."""
    asked: dict[str, tuple[str, list[str]]] = {}
    said: set[str] = set()
    for where, row in _rows(found, "dataset"):
        question_id, question, answers = (
            text(row, "query_id", where),
            text(row, "query", where),
            texts(row, "answer", where),
        )
        words = " ".join(question.casefold().split())
        if not words or not answers:
            dropped[EMPTY] += 1
        elif question_id in asked or words in said:
            dropped[REPEATED] += 1
        else:
            asked[question_id] = question.strip(), answers
            said.add(words)
    return asked


def _rows(found: Files, name: str) -> Iterator[Row]:
    paths = [path for path in found.paths if path.name.startswith(f"{name}.")]
    if not paths:
        raise BadInput(
            f"{found.root} holds no {name}.json: corpus_path must be the folder with dataset.json and doc_pool.json"
        )
    for path in paths:
        yield from rows_of(path)


def _support(row: dict, where: str) -> bool:
    value = field(row, "support", where)
    if str(value) not in ("0", "1"):
        raise BadInput(f"{where}: field 'support' must be 0 or 1, not {shown(value)}")
    return str(value) == "1"

"""MIRAGE (Park et al., 2025): questions of five data sets, each with five chunks of Wikipedia in one shared pool.

A document is a chunk, and the chunks of a question are one group, so that a subset keeps or leaves out a question with
its support and its negatives. Gold documents are a question's chunks with support 1. There is no evidence and no split
in the data: evidence is the sentence with the answer. As no chunk has two questions, no test question is about a
document that training asks about, and a group can either teach or test: a hash of the question's id says which, and
more of them test than elsewhere (rows.py: GROUPS_TEST_SHARE). Files: dataset.json and doc_pool.json.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Literal

from pydantic import BaseModel

from zmem_lib.data.data_set import EMPTY, DataSet, Files, Tables
from zmem_lib.data.rows import GROUPS_TEST_SHARE, Distinct, Row, Stripped, Text, folded, question_row, rows_as, tables
from zmem_lib.files import BadInput

REPEATED = "questions that ask the same as an earlier one, word for word (or have its id), with their chunks"
UNSUPPORTED = "questions none of whose chunks supports them, with their chunks"
STRAY = "chunks of questions that are not there or were dropped"
BLANK = "chunks without text"


class Question(BaseModel):  # of dataset.json
    query_id: Text
    query: Stripped
    answer: Distinct


class Chunk(BaseModel):  # of doc_pool.json
    mapped_id: Text  # the question's
    doc_name: Stripped
    doc_chunk: Text
    support: Literal[0, 1, "0", "1"]


def read(found: Files, dropped: dict[str, int]) -> Tables:
    """The chunk pool and its questions."""
    asked: dict[str, Question] = {}
    wordings: set[str] = set()
    for row in _rows(found, "dataset", Question):
        if not (row.query and row.answer):
            dropped[EMPTY] += 1
        elif row.query_id in asked or folded(row.query) in wordings:
            dropped[REPEATED] += 1
        else:
            asked[row.query_id] = row
            wordings.add(folded(row.query))
    chunks: dict[str, list[dict]] = {question_id: [] for question_id in asked}
    supporting: dict[str, list[str]] = {question_id: [] for question_id in asked}
    for row in _rows(found, "doc_pool", Chunk):
        group = row.mapped_id
        if group not in asked:
            dropped[STRAY] += 1
        elif not row.doc_chunk.strip():
            dropped[BLANK] += 1
        else:
            doc_id = f"{group}-{len(chunks[group])}"
            chunks[group].append({"doc_id": doc_id, "title": row.doc_name, "text": row.doc_chunk, "group": group})
            supporting[group] += [doc_id] * int(row.support)
    questions = []
    for question_id, row in asked.items():
        if supporting[question_id]:
            questions.append(
                question_row(question_id, row.query, row.answer, supporting[question_id], GROUPS_TEST_SHARE)
            )
        else:
            dropped[UNSUPPORTED] += 1
            dropped[STRAY] += len(chunks.pop(question_id))
    return tables(chain(*chunks.values()), questions)


def _rows(found: Files, name: str, model: type[Row]) -> Iterator[Row]:
    paths = [path for path in found.paths if path.name.startswith(f"{name}.")]
    if not paths:
        there = f"{found.paths[0].parent} holds no {name}.json"
        raise BadInput(f"{there}: corpus.path must be the folder with dataset.json and doc_pool.json")
    return chain.from_iterable(rows_as(model, path) for path in paths)


MIRAGE = DataSet({"": "nlpai-lab/mirage"}, reasons=(EMPTY, REPEATED, UNSUPPORTED, STRAY, BLANK), read=read)

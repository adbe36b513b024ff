"""PopQA's long-tail questions with the passages that Self-RAG and CRAG use (Mallen et al., 2023; Asai et al., 2023).

A document is a passage of Wikipedia; equal passages are one, and those that come first with a question are one group.
The data set names no gold passage: here it is the first of a question's passages that holds one of its answers (as
whole words, case and punctuation aside), which favours what the retriever that made the file put first. A question
without such a passage is dropped. There is no evidence in the data; a hash of the question's id says which groups teach
and which test (rows.py: GROUPS_TEST_SHARE). The file popqa_longtail_w_gs.jsonl has no home on the hub that stays.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field

from zmem_lib.data.data_set import EMPTY, REPEATED, ById, DataSet, collect
from zmem_lib.data.rows import GROUPS_TEST_SHARE, Distinct, Stripped, Text, question_row, rows_as
from zmem_lib.text import normalise

NO_GOLD = "questions none of whose passages holds an answer"


def _from_text(value: Any) -> Any:
    """A list that is written as JSON text, as PopQA's own possible_answers are."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise ValueError(f"must be a list, or one written as JSON ({error})") from error


class Passage(BaseModel):
    title: Stripped
    text: Text


class Asked(BaseModel):
    question: Stripped
    answers: Annotated[Distinct, BeforeValidator(_from_text)] = Field(
        validation_alias=AliasChoices("answers", "possible_answers")
    )
    ctxs: list[Passage]
    id: Stripped = ""


def _rows(path: Path) -> Iterator[Asked]:
    """The rows of a file, those without an id named by their place."""
    for number, row in enumerate(rows_as(Asked, path), 1):
        row.id = row.id or f"{path.name.split('.')[0]}-{number}"
        yield row


def _add(row: Asked, docs: ById, questions: ById) -> str | None:
    """Put a row's passages and question into the tables; a question that is left out: why."""
    passages = []
    for one in row.ctxs:
        if one.text.strip():
            doc = {"doc_id": f"p{len(docs) + 1:06d}", "title": one.title, "text": one.text, "group": row.id}
            passages.append(docs.setdefault((one.title, one.text), doc))
    if not (row.question and row.answers):
        return EMPTY
    if row.id in questions:
        return REPEATED
    answers = [f" {answer} " for answer in map(normalise, row.answers) if answer]
    for doc in passages:
        words = f" {normalise(doc['text'])} "
        if any(answer in words for answer in answers):
            gold = [doc["doc_id"]]
            questions[row.id] = question_row(row.id, row.question, row.answers, gold, GROUPS_TEST_SHARE)
            return None
    return NO_GOLD


POPQA = DataSet(
    repos={"": ""},
    reasons=(EMPTY, REPEATED, NO_GOLD),
    read=partial(collect, _rows, _add),
    elsewhere="download eval_data of Self-RAG (github.com/AkariAsai/self-rag names the place) and give the path of its "
    "popqa_longtail_w_gs.jsonl",
)

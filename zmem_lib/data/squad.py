"""SQuAD 1.1 and 2.0 (Rajpurkar et al., 2016 and 2018), and KorQuAD 1.0 (Lim et al., 2019), whose files are alike.

A document is a paragraph; paragraphs of the same text are one. Evidence is not part of the data: it is the sentence at
the answer's offset. Files: the published JSON, or rows of id, title, context, question, answers (text, answer_start)
as the hub has them. The published splits part whole articles, so that no test document would have a training question:
here a hash of the question's id splits instead. `corpus.subset` is v1.1 (or empty), v2.0 or korquad.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, StrictInt

from zmem_lib.data.data_set import REPEATED, ById, DataSet, collect
from zmem_lib.data.rows import Text, parsed, question_row, read_rows, stands_at
from zmem_lib.text import canonical

IMPOSSIBLE = "questions that the paragraph does not answer (SQuAD 2.0)"
EMPTY = "questions without words, or about an empty paragraph"
ELSEWHERE = "questions whose answers do not stand in their paragraph"


def _one_by_one(answers: Any) -> Any:
    """Answers that the hub keeps as two lists in one object, as a list of answers."""
    if not isinstance(answers, dict):
        return answers
    texts, starts = answers.get("text"), answers.get("answer_start")
    if not (isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)):
        raise ValueError("must hold two lists of the same length, text and answer_start")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


class Answer(BaseModel):
    text: Text
    answer_start: StrictInt | None = None


class Question(BaseModel):
    question: Text
    id: Text
    answers: Annotated[list[Answer], BeforeValidator(_one_by_one)]
    is_impossible: Any = False


class HubRow(Question):  # a question with its paragraph
    context: Text
    title: Text = ""


class Paragraph(BaseModel):
    context: Text
    qas: list[Question]


class Article(BaseModel):
    title: Text = ""
    paragraphs: list[Paragraph]


class Published(BaseModel):  # the JSON file
    data: list[Article]


def _rows(path: Path) -> Iterator[HubRow]:
    """The rows of a file, those of the published JSON made like the hub's."""
    for where, record in read_rows(path):
        if "data" not in record:
            yield parsed(HubRow, record, where)
            continue
        for article in parsed(Published, record, where).data:
            for paragraph in article.paragraphs:
                of_all: dict[str, Any] = {"title": article.title, "context": paragraph.context}
                yield from (HubRow.model_construct(**vars(question), **of_all) for question in paragraph.qas)


def _add(row: HubRow, docs: ById, questions: ById) -> str | None:
    """Put a row's paragraph and question into the tables; a question that is left out: why."""
    if not (row.context.strip() and row.question.strip()):
        return EMPTY
    doc = {"doc_id": f"p{len(docs) + 1:05d}", "title": row.title.replace("_", " "), "text": row.context}
    doc = docs.setdefault(row.context, doc)
    answers = [(answer.text, answer.answer_start) for answer in row.answers if answer.text.strip()]
    if row.is_impossible or not answers:
        return IMPOSSIBLE
    if row.id in questions:
        return REPEATED
    context = canonical(row.context)
    if not any(canonical(text) in context for text, _ in answers):
        return ELSEWHERE
    placed = [(text, start) for text, start in answers if stands_at(text, start, row.context)]
    first, start = placed[0] if placed else (answers[0][0], -1)
    texts = list(dict.fromkeys([first, *(text for text, _ in answers)]))
    questions[row.id] = question_row(row.id, row.question.strip(), texts, [doc["doc_id"]], answer_start=start)
    return None


SQUAD = DataSet(
    repos={
        "": "rajpurkar/squad", "v1.1": "rajpurkar/squad", "v2.0": "rajpurkar/squad_v2",
        "korquad": "KorQuAD/squad_kor_v1",
    },
    reasons=(IMPOSSIBLE, REPEATED, EMPTY, ELSEWHERE),
    read=partial(collect, _rows, _add),
)  # fmt: skip

"""SQuAD 1.1 and 2.0 (Rajpurkar et al., 2016 and 2018), and KorQuAD 1.0 (Lim et al., 2019), whose files are alike.

A document is a paragraph; paragraphs of the same text are one. Evidence is not part of the data: it is the sentence at
the answer's offset. Files: the published JSON, or rows of id, title, context, question, answers (text, answer_start)
as the hub has them. The published splits part whole articles, so that no test document would have a training question:
here a hash of the question's id splits instead. `corpus.subset` is v1.1 (or empty), v2.0 or korquad.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zmem_lib.data.licences import licence_of
from zmem_lib.data.rows import Corpus, question_row, tables
from zmem_lib.data.source import Files, Row, as_text, field, find_files, rows_of, shown, text
from zmem_lib.files import BadInput
from zmem_lib.params import Params

REPOS = {
    "": "rajpurkar/squad",
    "v1.1": "rajpurkar/squad",
    "v2.0": "rajpurkar/squad_v2",
    "korquad": "KorQuAD/squad_kor_v1",
}
IMPOSSIBLE = "questions that the paragraph does not answer (SQuAD 2.0)"
REPEATED = "questions whose id an earlier one has"
EMPTY = "questions without words, or about an empty paragraph"
ELSEWHERE = "questions whose answers do not stand in their paragraph"


def files(params: Params) -> Files:
    """The files of the subset, local or fetched; raises BadInput."""
    if params.corpus.subset not in REPOS:
        raise BadInput(f"corpus_subset of squad must be v1.1, v2.0 or korquad, not {params.corpus.subset!r}")
    return find_files(params, REPOS[params.corpus.subset])


def load(params: Params) -> Corpus:
    """All paragraphs and the questions that can be answered from them; raises BadInput."""
    found = files(params)
    docs: dict[str, dict] = {}  # by text
    questions: dict[str, dict] = {}
    dropped = dict.fromkeys((IMPOSSIBLE, REPEATED, EMPTY, ELSEWHERE), 0)
    for path in found.paths:
        for where, row in _questions(path):
            reason = _add(row, where, docs, questions)
            if reason:
                dropped[reason] += 1
    licence = licence_of(params)
    return Corpus(*tables(docs.values(), questions.values()), licence=licence, source=found.source, dropped=dropped)


def _questions(path: Path) -> Iterator[Row]:
    """The rows of a file, those of the published JSON made like the hub's."""
    for where, row in rows_of(path):
        if not isinstance(row.get("data"), list):
            yield where, row
            continue
        for i, article in enumerate(row["data"], 1):
            for j, paragraph in enumerate(_objects(article, "paragraphs", f"{path}, article {i}"), 1):
                place = f"{path}, article {i}, paragraph {j}"
                for k, question in enumerate(_objects(paragraph, "qas", place), 1):
                    more = {"title": article.get("title"), "context": field(paragraph, "context", place)}
                    yield f"{place}, question {k}", question | more


def _add(row: dict[str, Any], where: str, docs: dict[str, dict], questions: dict[str, dict]) -> str | None:
    """Put a row's paragraph and question into the tables; a question that is left out: why."""
    context, question, question_id = (text(row, name, where) for name in ("context", "question", "id"))
    if not (context.strip() and question.strip()):
        return EMPTY
    title = as_text(row.get("title"), f"{where}: field 'title'").replace("_", " ")
    doc = docs.setdefault(context, {"doc_id": f"p{len(docs) + 1:05d}", "title": title, "text": context})
    answers = _answers(row, where)
    if row.get("is_impossible") or not answers:
        return IMPOSSIBLE
    if question_id in questions:
        return REPEATED
    if not any(answer in context for answer, _ in answers):
        return ELSEWHERE
    placed = [(answer, start) for answer, start in answers if start >= 0 and context.startswith(answer, start)]
    first, start = placed[0] if placed else (answers[0][0], -1)
    said = list(dict.fromkeys([first, *(answer for answer, _ in answers)]))
    questions[question_id] = question_row(question_id, question.strip(), said, [doc["doc_id"]], answer_start=start)
    return None


def _answers(row: dict[str, Any], where: str) -> list[tuple[str, int]]:
    """Text and offset of every answer that is not empty; the hub keeps them as two lists in one object."""
    answers = field(row, "answers", where)
    if isinstance(answers, dict):
        pair = field(answers, "text", where), field(answers, "answer_start", where)
        same = all(isinstance(one, list) for one in pair) and len(pair[0]) == len(pair[1])
        answers = [{"text": said, "answer_start": start} for said, start in zip(*pair, strict=True)] if same else pair
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        raise BadInput(f"{where}: field 'answers' must be a list of answers, not {shown(answers)}")
    found = [(text(answer, "text", where), answer.get("answer_start", -1)) for answer in answers]
    for _, start in found:
        if type(start) is not int:
            raise BadInput(f"{where}: field 'answer_start' must be a whole number, not {shown(start)}")
    return [(said, start) for said, start in found if said.strip()]


def _objects(record: Any, name: str, where: str) -> list[dict[str, Any]]:
    values = field(record, name, where) if isinstance(record, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise BadInput(
            f"{where}: field {name!r} must be a list of objects: this is not SQuAD's format (see book/data.md)"
        )
    return values

"""PopQA's long-tail questions with the passages that Self-RAG and CRAG use (Mallen et al., 2023; Asai et al., 2023).

A document is a passage of Wikipedia; equal passages are one. The data set names no gold passage: here it is the first
of a question's passages that holds one of its answers (as whole words, case and punctuation aside), which favours what
the retriever that made the file put first. A question without such a passage is dropped. There is no evidence in the
data; splits are by a hash of the question's id. The file popqa_longtail_w_gs.jsonl has no home on the hub that stays.
"""

import json
from typing import Any

from zmem_lib.data.licences import licence_of
from zmem_lib.data.rows import Corpus, question_row, tables
from zmem_lib.data.source import Files, as_text, field, find_files, rows_of, shown, text, texts
from zmem_lib.evaluation.metrics import answer_in_evidence
from zmem_lib.files import BadInput
from zmem_lib.params import Params

EMPTY = "questions without words or without an answer"
REPEATED = "questions whose id an earlier one has"
NO_GOLD = "questions none of whose passages holds an answer"


def files(params: Params) -> Files:
    """The file with contexts, which no hub has; raises BadInput."""
    if not params.corpus.path:
        raise BadInput(
            "corpus popqa needs corpus_path: download eval_data of Self-RAG (github.com/AkariAsai/self-rag names the "
            "place) and give the path of its popqa_longtail_w_gs.jsonl"
        )
    return find_files(params, "")


def load(params: Params) -> Corpus:
    """All passages of the file and the questions that one of theirs answers; raises BadInput."""
    found = files(params)
    docs: dict[tuple[str, str], dict] = {}  # by title and text
    questions: dict[str, dict] = {}
    dropped = dict.fromkeys((EMPTY, REPEATED, NO_GOLD), 0)
    for path in found.paths:
        for number, (where, row) in enumerate(rows_of(path), 1):
            reason = _add(row, where, f"{path.name.split('.')[0]}-{number}", docs=docs, questions=questions)
            if reason:
                dropped[reason] += 1
    licence = licence_of(params)
    return Corpus(*tables(docs.values(), questions.values()), licence=licence, source=found.source, dropped=dropped)


def _add(
    row: dict[str, Any], where: str, name: str, *, docs: dict[tuple[str, str], dict], questions: dict[str, dict]
) -> str | None:
    """Put a row's passages and question into the tables; a question that is left out: why."""
    question, answers = text(row, "question", where).strip(), _answers(row, where)
    passages = [doc for doc in _passages(row, where) if doc[1].strip()]
    mine = [
        docs.setdefault(doc, {"doc_id": f"p{len(docs) + 1:06d}", "title": doc[0], "text": doc[1]}) for doc in passages
    ]
    if not (question and answers):
        return EMPTY
    question_id = as_text(row.get("id"), f"{where}: field 'id'").strip() or name
    if question_id in questions:
        return REPEATED
    gold = next((doc["doc_id"] for doc in mine if answer_in_evidence(doc["text"], answers, "squad")), None)
    if gold is None:
        return NO_GOLD
    questions[question_id] = question_row(question_id, question, answers, [gold])
    return None


def _answers(row: dict[str, Any], where: str) -> list[str]:
    """`answers`, or PopQA's own possible_answers, which is a list written as JSON text."""
    name = "answers" if "answers" in row or "possible_answers" not in row else "possible_answers"
    if not isinstance(row.get(name), str):
        return texts(row, name, where)
    try:
        written = json.loads(row[name])
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: field {name!r} must be a list, or one written as JSON ({error})") from error
    return texts({name: written}, name, where)


def _passages(row: dict[str, Any], where: str) -> list[tuple[str, str]]:
    found = field(row, "ctxs", where)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadInput(f"{where}: field 'ctxs' must be a list of objects with title and text, not {shown(found)}")
    return [(text(one, "title", where).strip(), text(one, "text", where)) for one in found]

"""T2-RAGBench (Strich et al., 2025): numerical questions about pages of financial reports, text and table.

A document is a context (context_id), its title the file that it comes from. Answers are program_answer and, where it
differs, original_answer; they are compared as text, not as numbers. There is no evidence in the data, and an answer
that was computed stands nowhere in the context, so many questions make no tuple. `corpus.subset` is FinQA, ConvFinQA
or TAT-DQA. Splits are the data set's own where the files hold training rows, else by a hash of the question's id.
"""

from typing import Any

from zmem_lib.data.licences import licence_of
from zmem_lib.data.rows import Corpus, question_row
from zmem_lib.data.source import Files, find_files, subset_of, subset_tables, text
from zmem_lib.params import Params

REPO = "G4KMU/t2-ragbench"
SUBSETS = ("FinQA", "ConvFinQA", "TAT-DQA")
EMPTY = "questions without words or without an answer"
BLANK = "rows without a context"
REPEATED = "questions whose id an earlier one has"
CHANGED = "rows whose context_id stood before another context"


def files(params: Params) -> Files:
    """The files of the subset, local or fetched; raises BadInput."""
    subset_of(params, SUBSETS)
    return find_files(params, REPO)


def load(params: Params) -> Corpus:
    """The contexts of one subset and the questions about them; raises BadInput."""
    found, subset = files(params), params.corpus.subset
    dropped = dict.fromkeys((EMPTY, BLANK, REPEATED, CHANGED), 0)
    made = subset_tables(found, subset, SUBSETS, dropped=dropped, add=_add)
    return Corpus(*made, licence=licence_of(params), source=f"{found.source}, subset {subset}", dropped=dropped)


def _add(row: dict[str, Any], where: str, docs: dict[str, dict], questions: dict[str, dict]) -> str | None:
    """Put a row's context and question into the tables; a row that is left out: why."""
    context, doc_id = text(row, "context", where), text(row, "context_id", where).strip()
    if not (context.strip() and doc_id):
        return BLANK
    doc = {"doc_id": doc_id, "title": text(row, "file_name", where).strip(), "text": context}
    if docs.setdefault(doc_id, doc)["text"] != context:
        return CHANGED
    question_id, question = (text(row, name, where).strip() for name in ("id", "question"))
    answers = [text(row, name, where).strip() for name in ("program_answer", "original_answer")]
    answers = list(dict.fromkeys(filter(None, answers)))
    if not (question and answers):
        return EMPTY
    if question_id in questions:
        return REPEATED
    questions[question_id] = question_row(question_id, question, answers, [doc_id])
    return None

"""T2-RAGBench (Strich et al., 2025): numerical questions about pages of financial reports, text and table.

A document is a context (context_id), its title the file that it comes from. Answers are program_answer and, where it
differs, original_answer; they are compared as text, not as numbers. There is no evidence in the data, and an answer
that was computed stands nowhere in the context, so many questions make no tuple. `corpus.subset` is FinQA, ConvFinQA
or TAT-DQA. Splits are the data set's own where the files hold training rows, else by a hash of the question's id.
"""

from functools import partial

from pydantic import BaseModel

from zmem_lib.data.data_set import ById, DataSet, collect
from zmem_lib.data.rows import Stripped, Text, question_row, rows_as

EMPTY = "questions without words or without an answer"
BLANK = "rows without a context"
REPEATED = "questions whose id an earlier one has"
CHANGED = "rows whose context_id stood before another context"


class Asked(BaseModel):
    context: Text
    context_id: Stripped
    file_name: Stripped
    id: Stripped
    question: Stripped
    program_answer: Stripped
    original_answer: Stripped


def _add(row: Asked, docs: ById, questions: ById) -> str | None:
    """Put a row's context and question into the tables; a row that is left out: why."""
    if not (row.context.strip() and row.context_id):
        return BLANK
    doc = {"doc_id": row.context_id, "title": row.file_name, "text": row.context}
    if docs.setdefault(row.context_id, doc)["text"] != row.context:
        return CHANGED
    answers = list(dict.fromkeys(filter(None, (row.program_answer, row.original_answer))))
    if not (row.question and answers):
        return EMPTY
    if row.id in questions:
        return REPEATED
    questions[row.id] = question_row(row.id, row.question, answers, [row.context_id])
    return None


T2RAGBENCH = DataSet(
    repos=dict.fromkeys(("FinQA", "ConvFinQA", "TAT-DQA"), "G4KMU/t2-ragbench"),
    reasons=(EMPTY, BLANK, REPEATED, CHANGED),
    read=partial(collect, partial(rows_as, Asked), _add),
    parts=True,
)

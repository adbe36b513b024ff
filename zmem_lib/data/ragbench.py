"""RAGBench (Friel et al., 2024) and T2-RAGBench (Strich et al., 2025): questions with the documents they came with.

RAGBench: a document is a text that a retriever gave; equal texts are one. Gold documents are those that hold a relevant
sentence (all_relevant_sentence_keys), evidence is those sentences, one a line. There is no human answer: `answers` is
the response that a language model wrote, so that exact match says little here. `corpus.subset` is one of the twelve.

T2-RAGBench: numerical questions about pages of financial reports, text and table. A document is a context (context_id),
its title the file that it comes from. Answers are program_answer and, where it differs, original_answer; they are
compared as text, not as numbers. There is no evidence in the data, and an answer that was computed stands nowhere in
the context, so many questions make no tuple. `corpus.subset` is FinQA, ConvFinQA or TAT-DQA.

Splits are the data set's own where the files hold training rows, else by a hash of the question's id.
"""

from functools import partial
from typing import Annotated

from pydantic import BaseModel, BeforeValidator

from zmem_lib.data.data_set import EMPTY, REPEATED, ById, DataSet, collect
from zmem_lib.data.rows import Distinct, Stripped, Text, Texts, question_row, rows_as

SUBSETS = ("covidqa", "cuad", "delucionqa", "emanual", "expertqa", "finqa", "hagrid", "hotpotqa", "msmarco",
           "pubmedqa", "tatqa", "techqa")  # fmt: skip
UNANSWERED = "rows without a question or a response"
REPEATED_ROW = "rows whose id an earlier one has"
IRRELEVANT = "rows without a relevant sentence in their documents"
BLANK = "rows without a context"
CHANGED = "rows whose context_id stood before another context"

Sentences = Annotated[list[list[tuple[Stripped, Stripped]]], BeforeValidator(lambda value: value or [])]


class Asked(BaseModel):  # of RAGBench
    id: Stripped
    question: Stripped
    response: Stripped
    documents: Texts
    documents_sentences: Sentences  # by document: key and text of each
    all_relevant_sentence_keys: Distinct


class AskedOfPage(BaseModel):  # of T2-RAGBench
    context: Text
    context_id: Stripped
    file_name: Stripped
    id: Stripped
    question: Stripped
    program_answer: Stripped
    original_answer: Stripped


def _add(row: Asked, docs: ById, questions: ById) -> str | None:
    """Put a row's documents and question into the tables; a row that is left out: why."""
    if not (row.question and row.response):
        return UNANSWERED
    if row.id in questions:
        return REPEATED_ROW
    keys = set(row.all_relevant_sentence_keys)
    relevant = [[text for key, text in sentences if key in keys and text] for sentences in row.documents_sentences]
    gold = []
    for place, text in enumerate(row.documents):
        if text.strip():
            doc = docs.setdefault(text, {"doc_id": f"d{len(docs) + 1:06d}", "title": "", "text": text})
            gold += [doc["doc_id"]] if place < len(relevant) and relevant[place] else []
    if not gold:
        return IRRELEVANT
    evidence = "\n".join(text for sentences in relevant for text in sentences)
    gold = list(dict.fromkeys(gold))
    questions[row.id] = question_row(row.id, row.question, [row.response], gold, evidence=evidence)
    return None


def _add_of_page(row: AskedOfPage, docs: ById, questions: ById) -> str | None:
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


RAGBENCH = DataSet(
    repos=dict.fromkeys(SUBSETS, "rungalileo/ragbench"),
    reasons=(UNANSWERED, REPEATED_ROW, IRRELEVANT),
    read=partial(collect, partial(rows_as, Asked), _add),
    parts=True,
    wanted="{subset}/*",
)
T2RAGBENCH = DataSet(
    repos=dict.fromkeys(("FinQA", "ConvFinQA", "TAT-DQA"), "G4KMU/t2-ragbench"),
    reasons=(EMPTY, BLANK, REPEATED, CHANGED),
    read=partial(collect, partial(rows_as, AskedOfPage), _add_of_page),
    parts=True,
)

"""RAGBench (Friel et al., 2024): questions with the documents that a retriever gave and the sentences that matter.

A document is a text; equal texts are one document. Gold documents are those that hold a relevant sentence
(all_relevant_sentence_keys), evidence is those sentences, one a line. There is no human answer: `answers` is the
response that a language model wrote, so that exact match says little here. `corpus.subset` is one of the twelve.
Splits are the data set's own where the files hold training rows, else by a hash of the question's id.
"""

from functools import partial
from typing import Annotated

from pydantic import BaseModel, BeforeValidator

from zmem_lib.data.data_set import ById, DataSet, collect
from zmem_lib.data.rows import Distinct, Stripped, Texts, question_row, rows_as

SUBSETS = ("covidqa", "cuad", "delucionqa", "emanual", "expertqa", "finqa", "hagrid", "hotpotqa", "msmarco",
           "pubmedqa", "tatqa", "techqa")  # fmt: skip
EMPTY = "rows without a question or a response"
REPEATED = "rows whose id an earlier one has"
IRRELEVANT = "rows without a relevant sentence in their documents"

Sentences = Annotated[list[list[tuple[Stripped, Stripped]]], BeforeValidator(lambda value: value or [])]


class Asked(BaseModel):
    id: Stripped
    question: Stripped
    response: Stripped
    documents: Texts
    documents_sentences: Sentences  # by document: key and text of each
    all_relevant_sentence_keys: Distinct


def _add(row: Asked, docs: ById, questions: ById) -> str | None:
    """Put a row's documents and question into the tables; a row that is left out: why."""
    if not (row.question and row.response):
        return EMPTY
    if row.id in questions:
        return REPEATED
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


RAGBENCH = DataSet(
    repos=dict.fromkeys(SUBSETS, "rungalileo/ragbench"),
    reasons=(EMPTY, REPEATED, IRRELEVANT),
    read=partial(collect, partial(rows_as, Asked), _add),
    parts=True,
    wanted="{subset}/*",
)

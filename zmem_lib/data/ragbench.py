"""RAGBench (Friel et al., 2024): questions with the documents that a retriever gave and the sentences that matter.

A document is a text; equal texts are one document. Gold documents are those that hold a relevant sentence
(all_relevant_sentence_keys), evidence is those sentences, one a line. There is no human answer: `answers` is the
response that a language model wrote, so that exact match says little here. `corpus.subset` is one of the twelve.
Splits are the data set's own where the files hold training rows, else by a hash of the question's id.
"""

from itertools import chain
from typing import Any

from zmem_lib.data.licences import licence_of
from zmem_lib.data.rows import Corpus, question_row
from zmem_lib.data.source import Files, as_text, field, find_files, shown, subset_of, subset_tables, text, texts
from zmem_lib.files import BadInput
from zmem_lib.params import Params

REPO = "rungalileo/ragbench"
SUBSETS = ("covidqa", "cuad", "delucionqa", "emanual", "expertqa", "finqa", "hagrid", "hotpotqa", "msmarco",
           "pubmedqa", "tatqa", "techqa")  # fmt: skip
EMPTY = "rows without a question or a response"
REPEATED = "rows whose id an earlier one has"
IRRELEVANT = "rows without a relevant sentence in their documents"


def files(params: Params) -> Files:
    """The files of the subset, local or fetched; raises BadInput."""
    subset = subset_of(params, SUBSETS)
    return find_files(params, REPO, patterns=(f"{subset}/*",))


def load(params: Params) -> Corpus:
    """The documents of one subset and the questions about them; raises BadInput."""
    found, subset = files(params), params.corpus.subset
    dropped = dict.fromkeys((EMPTY, REPEATED, IRRELEVANT), 0)
    made = subset_tables(found, subset, SUBSETS, dropped=dropped, add=_add)
    return Corpus(*made, licence=licence_of(params), source=f"{found.source}, subset {subset}", dropped=dropped)


def _add(row: dict[str, Any], where: str, docs: dict[str, dict], questions: dict[str, dict]) -> str | None:
    """Put a row's documents and question into the tables; a row that is left out: why."""
    question_id, question, response = (text(row, name, where).strip() for name in ("id", "question", "response"))
    if not (question and response):
        return EMPTY
    if question_id in questions:
        return REPEATED
    relevant = _relevant(row, where)
    gold = []
    for i, document in enumerate(texts(row, "documents", where, keep=True)):
        if document.strip():
            doc = docs.setdefault(document, {"doc_id": f"d{len(docs) + 1:06d}", "title": "", "text": document})
            gold += [doc["doc_id"]] if relevant.get(i) else []
    if not gold:
        return IRRELEVANT
    evidence = "\n".join(sentence for i in sorted(relevant) for sentence in relevant[i])
    gold = list(dict.fromkeys(gold))
    questions[question_id] = question_row(question_id, question, [response], gold, evidence=evidence)
    return None


def _relevant(row: dict[str, Any], where: str) -> dict[int, list[str]]:
    """The relevant sentences of each document, by its place in the row."""
    keys = set(texts(row, "all_relevant_sentence_keys", where))
    documents, place = field(row, "documents_sentences", where) or [], f"{where}: field 'documents_sentences'"
    lists = isinstance(documents, list) and all(isinstance(sentences, list) for sentences in documents)
    if not lists or not all(isinstance(pair, list) and len(pair) == 2 for pair in chain(*documents)):
        raise BadInput(f"{place} must hold a list of [key, text] for each document, not {shown(documents)}")
    relevant = {}
    for i, sentences in enumerate(documents):
        said = [as_text(one, place).strip() for key, one in sentences if as_text(key, place).strip() in keys]
        relevant[i] = [one for one in said if one]
    return relevant

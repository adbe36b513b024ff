"""What every loader returns, and the few rules that all of them share."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

TEST_SHARE, DEV_SHARE = 0.2, 0.1
DOC_COLUMNS = ["doc_id", "title", "text"]
QUESTION_COLUMNS = ["question_id", "question", "answers", "gold_doc_ids", "split", "kind", "answer_start", "evidence"]


@dataclass(frozen=True)
class Corpus:
    """Documents and questions, where they come from, and what was left out of them.

    docs: doc_id, title, text; optionally `group` (documents that a subset keeps together or leaves out together) and
    `part` (of a corpus that has chosen its documents itself). questions: the columns of schema.TABLES["questions"].
    """

    docs: pd.DataFrame
    questions: pd.DataFrame
    licence: str
    source: str  # the folder, or the repository and commit
    dropped: dict[str, int]  # reason -> number of rows left out


def tables(docs: Iterable[dict], questions: Iterable[dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Documents and questions as data frames that have their columns even where there is no row."""
    docs = list(docs)
    columns = [*DOC_COLUMNS, *(["group"] if docs and "group" in docs[0] else [])]
    return pd.DataFrame(docs, columns=columns), pd.DataFrame(list(questions), columns=QUESTION_COLUMNS)


def question_row(question_id: str, question: str, answers: list[str], gold_doc_ids: list[str], **more: object) -> dict:
    """One row of the questions; by default the split is that of `hash_split`, and place and evidence are unknown."""
    row = {"question_id": question_id, "question": question, "answers": answers, "gold_doc_ids": gold_doc_ids}
    return row | {"split": hash_split(question_id), "kind": "", "answer_start": -1, "evidence": ""} | more


def hash_split(question_id: str) -> str:
    """train, dev or test by a hash of the id, so that it depends on nothing else: a fifth test, a tenth dev."""
    share = int(hashlib.sha1(question_id.encode()).hexdigest()[:12], 16) / 16**12
    return "test" if share < TEST_SHARE else "dev" if share < TEST_SHARE + DEV_SHARE else "train"

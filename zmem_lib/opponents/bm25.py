"""BM25: Okapi's formula (Robertson and Zaragoza, 2009), as the package rank_bm25 has it, over passages cut into terms.

Returns, for every question, the ids of the best `depth` documents and their scores, equal scores in the corpus's order.
bm25s (Lù, 2407.03618) keeps every term's scores ready; its idf is exchanged for rank_bm25's.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import bm25s
import numpy as np
import pandas as pd

from zmem_lib.files import BadInput, must_exist, read_json, write_atomic, write_json

K1, B = 1.5, 0.75
EPSILON = 0.25  # of the mean idf: what a term gets that more than half of the documents have
DECIMALS = 6  # of a score: above the noise of summing in another order, which would tell equal scores apart
WORD = re.compile(r"\w+")

Ranking = tuple[list[list[str]], list[list[float]]]


@dataclass(frozen=True)
class BM25Index:
    """Documents as lists of terms, how they were cut into terms, the row of each term, and what scores them."""

    doc_ids: list[str]
    terms: list[list[str]]
    tokens: str
    row_of: dict[str, int]
    scorer: bm25s.BM25


def split_terms(text: str, tokens: str) -> list[str]:
    """Lower-cased words; with `bigrams`, the character pairs of each word (for Korean and other joined-up scripts)."""
    words = WORD.findall(text.lower())
    if tokens == "words":
        return words
    return [word[i : i + 2] for word in words for i in range(max(1, len(word) - 1))]


def build_bm25(doc_ids: list[str], passages: list[str], *, tokens: str) -> BM25Index:
    """Index the passages; tokens is `words` or `bigrams`."""
    return _index(list(doc_ids), [split_terms(passage, tokens) for passage in passages], tokens)


def save_bm25(index: BM25Index, folder: Path) -> None:
    """Write the terms and settings, from which the index is built again at load."""
    table = pd.DataFrame({"doc_id": index.doc_ids, "terms": index.terms})
    write_atomic(folder / "terms.parquet", lambda temporary: table.to_parquet(temporary, index=False))
    write_json({"tokens": index.tokens, "k1": K1, "b": B}, folder / "settings.json")


def load_bm25(folder: Path) -> BM25Index:
    """Read what save_bm25 wrote."""
    table = pd.read_parquet(must_exist(folder / "terms.parquet"))
    tokens = read_json(folder / "settings.json")["tokens"]
    return _index(list(table["doc_id"]), [list(terms) for terms in table["terms"]], tokens)


def rank_bm25(index: BM25Index, questions: list[str], depth: int) -> Ranking:
    """The best `depth` documents for every question, and their scores."""
    ids, scores = [], []
    for question in questions:
        known = [index.row_of[term] for term in split_terms(question, index.tokens) if term in index.row_of]
        all_scores = index.scorer.get_scores_from_ids(known).round(DECIMALS)  # (N,)
        best = best_rows(all_scores, depth)
        ids.append([index.doc_ids[row] for row in best])
        scores.append(all_scores[best].tolist())
    return ids, scores


def best_rows(scores: np.ndarray, depth: int) -> np.ndarray:
    """The rows of the `depth` highest of scores (N,), highest first, equal ones in row order; of fewer all."""
    last = np.partition(scores, -depth)[-depth] if depth < len(scores) else -np.inf
    reached = np.flatnonzero(scores >= last)
    return reached[np.argsort(-scores[reached], kind="stable")[:depth]]


def _index(doc_ids: list[str], terms: list[list[str]], tokens: str) -> BM25Index:
    if not any(terms):
        raise BadInput("BM25 needs at least one passage with a word in it: look at the text of the documents")
    row_of: dict[str, int] = {}
    rows = [[row_of.setdefault(term, len(row_of)) for term in document] for document in terms]
    scorer = bm25s.BM25(method="atire", idf_method="lucene", k1=K1, b=B, dtype="float64")  # Lucene's is never zero
    scorer.index((rows, row_of), create_empty_token=False, show_progress=False)
    having = np.diff(scorer.scores["indptr"])  # (V,) documents that have each term
    lucene = np.log(1 + (len(terms) - having + 0.5) / (having + 0.5))
    idf = np.log(len(terms) - having + 0.5) - np.log(having + 0.5)  # (V,): Robertson's
    idf = np.where(idf < 0, EPSILON * idf.mean(), idf)  # a common term would count against a document that has it
    scorer.scores["data"] *= np.repeat(idf / lucene, having)
    return BM25Index(doc_ids, terms, tokens, row_of, scorer)

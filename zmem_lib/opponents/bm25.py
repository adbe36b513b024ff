"""BM25 as Lucene counts it (Robertson and Zaragoza, 2009; Kamphuis et al., 2020), over passages cut into terms.

Terms are words without stop words, stemmed, in the language that most of the corpus's words are of; Hangul and scripts
without spaces are letters and pairs of them. k1 and b are chosen on dev questions. bm25s (Lù, 2407.03618) keeps every
term's scores ready and carries NLTK's lists of stop words; the stemmers are Snowball's. Returns, for every question,
the ids of the best `depth` documents and their scores, equal scores in the corpus's order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pandas as pd
import Stemmer
from bm25s import stopwords

from zmem_lib.files import BadInput, must_exist, read_json, write_atomic, write_json
from zmem_lib.text import words

K1, B = 1.2, 0.75  # Lucene's, where no dev question chooses
K1S, BS = (0.3, 0.6, 0.9, 1.2, 1.6), (0.4, 0.6, 0.75, 0.9)
DEV_SAMPLE = 1000  # dev questions that choose, at most
DECIMALS = 6  # of a score: above the noise of summing in another order, which would tell equal scores apart
STOP_WORDS = {
    "danish": stopwords.STOPWORDS_DANISH, "dutch": stopwords.STOPWORDS_DUTCH, "english": stopwords.STOPWORDS_EN_PLUS,
    "french": stopwords.STOPWORDS_FRENCH, "german": stopwords.STOPWORDS_GERMAN, "italian": stopwords.STOPWORDS_ITALIAN,
    "norwegian": stopwords.STOPWORDS_NORWEGIAN, "portuguese": stopwords.STOPWORDS_PORTUGUESE,
    "russian": stopwords.STOPWORDS_RUSSIAN, "spanish": stopwords.STOPWORDS_SPANISH,
    "swedish": stopwords.STOPWORDS_SWEDISH, "turkish": stopwords.STOPWORDS_TURKISH,
}  # fmt: skip
READ = 1000  # passages that tell a corpus's language
LEAST = 0.15  # of their words are stop words of it; else it is none that is known here

Ranking = tuple[list[list[str]], list[list[float]]]


@dataclass(frozen=True)
class BM25Index:
    """Documents as lists of terms, how they were cut into terms and are scored, the row of each term, what scores."""

    doc_ids: list[str]
    terms: list[list[str]]
    language: str  # "": neither stop words nor stemmer
    k1: float
    b: float
    row_of: dict[str, int]
    scorer: bm25s.BM25


def split_terms(text: str, language: str) -> list[str]:
    """The terms of a text in this language; "" for one that has neither stop words nor a stemmer here."""
    found = words(text, pieces=True)
    if not language:
        return found
    left_out = _stop_words(language)
    return _stemmer(language).stemWords([word for word in found if word not in left_out])


def language_of(passages: list[str]) -> str:
    """The language whose stop words make up most of the first passages' words; "" where that is a small share."""
    counts = Counter(word for passage in passages[:READ] for word in words(passage))
    shares = {name: sum(counts[word] for word in _stop_words(name)) / max(counts.total(), 1) for name in STOP_WORDS}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= LEAST else ""


def build_bm25(
    doc_ids: list[str], passages: list[str], *, language: str | None = None, k1: float = K1, b: float = B
) -> BM25Index:
    """Index the passages, in the language that they are found to be of where none is given."""
    language = language_of(passages) if language is None else language
    return _index(list(doc_ids), [split_terms(passage, language) for passage in passages], language, k1, b)


def choose_bm25(index: BM25Index, dev: pd.DataFrame, seed: int) -> tuple[BM25Index, pd.DataFrame]:
    """The index with the k1 and b that rank dev questions best, by mrr@10, and what was tried: k1, b, recall@1, mrr@10.

    dev: question, gold_doc_ids; without a question nothing is tried. Of equal settings Lucene's stay, or the first.
    """
    dev, rows, best = dev.sample(min(len(dev), DEV_SAMPLE), random_state=seed), [], (-1.0, index)
    for k1, b in dict.fromkeys([(K1, B), *product(K1S, BS)]) if len(dev) else ():
        tried = _index(index.doc_ids, index.terms, index.language, k1, b)
        ranked, _ = rank_bm25(tried, list(dev["question"]), 10)
        shares = reciprocal_gold_ranks(ranked, list(dev["gold_doc_ids"]))
        rows.append({"k1": k1, "b": b, "recall@1": (shares == 1).mean(), "mrr@10": shares.mean(), "n": len(dev)})
        best = max(best, (shares.mean(), tried), key=lambda pair: pair[0])
    return best[1], pd.DataFrame(rows, columns=["k1", "b", "recall@1", "mrr@10", "n"]).sort_values(["k1", "b"])


def save_bm25(index: BM25Index, folder: Path, tried: pd.DataFrame | None = None) -> None:
    """Write the terms and settings, from which the index is built again at load, and what was tried to choose them."""
    table = pd.DataFrame({"doc_id": index.doc_ids, "terms": index.terms})
    write_atomic(folder / "terms.parquet", lambda temporary: table.to_parquet(temporary, index=False))
    settings: dict[str, Any] = {"language": index.language, "k1": index.k1, "b": index.b}
    write_json(settings | ({} if tried is None else {"tried": tried.to_dict("list")}), folder / "settings.json")


def load_bm25(folder: Path) -> BM25Index:
    """Read what save_bm25 wrote."""
    table = pd.read_parquet(must_exist(folder / "terms.parquet"))
    return _index(list(table["doc_id"]), [list(terms) for terms in table["terms"]], **settings_of(folder))


def settings_of(folder: Path) -> Mapping[str, Any]:
    """The language, k1 and b of the index in a folder."""
    settings = read_json(folder / "settings.json")
    if "language" not in settings:
        raise BadInput(f"{folder} is of an earlier version of this program: run the chapters from 05 on again")
    return {name: settings[name] for name in ("language", "k1", "b")}


def rank_bm25(index: BM25Index, questions: list[str], depth: int) -> Ranking:
    """The best `depth` documents for every question, and their scores."""
    ids, scores = [], []
    for question in questions:
        known = [index.row_of[term] for term in split_terms(question, index.language) if term in index.row_of]
        all_scores = index.scorer.get_scores_from_ids(known).round(DECIMALS)  # (N,)
        best = best_rows(all_scores, depth)
        ids.append([index.doc_ids[row] for row in best])
        scores.append(all_scores[best].tolist())
    return ids, scores


def reciprocal_gold_ranks(ranked: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> np.ndarray:
    """1 / the rank of the first gold document of each question (Q,), 0 where none is ranked."""
    found = [[doc_id in right for doc_id in ids] for ids, right in zip(ranked, gold, strict=True)]
    return np.array([1 / (1 + hits.index(True)) if any(hits) else 0.0 for hits in found])


def best_rows(scores: np.ndarray, depth: int) -> np.ndarray:
    """The rows of the `depth` highest of scores (N,), highest first, equal ones in row order; of fewer all."""
    last = np.partition(scores, -depth)[-depth] if depth < len(scores) else -np.inf
    reached = np.flatnonzero(scores >= last)
    return reached[np.argsort(-scores[reached], kind="stable")[:depth]]


def _index(doc_ids: list[str], terms: list[list[str]], language: str, k1: float, b: float) -> BM25Index:
    if not any(terms):
        raise BadInput("BM25 needs at least one passage with a word in it: look at the text of the documents")
    row_of: dict[str, int] = {}
    rows = [[row_of.setdefault(term, len(row_of)) for term in document] for document in terms]
    scorer = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")  # its idf is positive whatever a term's frequency
    scorer.index((rows, row_of), create_empty_token=False, show_progress=False)
    return BM25Index(doc_ids, terms, language, k1, b, row_of, scorer)


@cache
def _stop_words(language: str) -> frozenset[str]:
    return frozenset(part for word in STOP_WORDS[language] for part in words(word))


@cache
def _stemmer(language: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(language)

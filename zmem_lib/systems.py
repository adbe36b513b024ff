"""The systems that are compared: each a function from questions to answers, with the same reader and token budget.

`zmem` chooses z (method 1 or 2) and generates evidence from it; `bm25` and `dense` retrieve passages, and so do
`bm25_asked` and `dense_tuned`, which have learned from the training questions as z-memory has; `hybrid_rrf` and
`hybrid` fuse the rankings of `bm25` and `dense`; `text_twin` is z-memory's own language model with the passages' text
in the place of z; `gold_passage` is given the right passage, `closed_book` none. The controls of z are in controls.py.
Every system chooses among all documents, seen and new, and hands the reader at most `top_k` evidence items.
"""

import time
from collections.abc import Callable

import pandas as pd

from zmem_lib import fusion, retrieve
from zmem_lib.answering import answer, chosen_passages, recall
from zmem_lib.artifacts import read_json
from zmem_lib.bench import DEPTH, SELECTORS, Bench, both_rankings, by_text
from zmem_lib.select import Ranking


def zmem(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """z chosen as `select` says, evidence generated from it."""
    began = time.perf_counter()
    ranking = SELECTORS[bench.params.select](list(questions.question), bench)
    items, spent = recall(questions, bench, [ids[: bench.params.top_k] for ids in ranking[0]])
    return answer(questions, bench, items, ranking=ranking, spent=spent, began=began)


def retrieved(questions: pd.DataFrame, bench: Bench, choose: Callable[[list[str]], Ranking]) -> pd.DataFrame:
    """The passages of the documents that `choose` ranks first, read."""
    began = time.perf_counter()
    ranking = choose(list(questions.question))
    items = chosen_passages(bench, [ids[: bench.params.top_k] for ids in ranking[0]])
    return answer(questions, bench, items, ranking=ranking, began=began)


def bm25(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25."""
    return retrieved(questions, bench, lambda asked: retrieve.rank_bm25(bench.bm25, asked, DEPTH))


def dense(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by the inner product of sentence embeddings."""
    return retrieved(questions, bench, lambda asked: retrieve.rank_dense(bench.dense, bench.encoder, asked, DEPTH))


def bm25_asked(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25 over passage and training questions; the reader gets the passage alone."""
    index = retrieve.load_bm25(bench.folder / "bm25_asked")
    return retrieved(questions, bench, lambda asked: retrieve.rank_bm25(index, asked, DEPTH))


def dense_tuned(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by the same encoder as `dense`, trained on the training questions."""
    index = retrieve.load_dense(bench.folder / "dense_tuned.faiss")
    encoder = retrieve.load_encoder(str(bench.folder / "dense_tuned"), bench.params.device)
    return retrieved(questions, bench, lambda asked: retrieve.rank_dense(index, encoder, asked, DEPTH))


def hybrid_rrf(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25 and dense together: reciprocal rank fusion."""
    return retrieved(questions, bench, lambda asked: fusion.reciprocal_ranks(*both_rankings(asked, bench), DEPTH))


def hybrid(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25 and dense together: the sum of scores with the weight that was best on dev questions."""
    weight = read_json(bench.folder / fusion.WEIGHT_FILE)["weight"]
    return retrieved(questions, bench, lambda asked: fusion.weighted_sum(*both_rankings(asked, bench), weight, DEPTH))


def text_twin(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages of z-memory's shortlist, ranked by the same language model on their text."""
    return retrieved(questions, bench, lambda asked: by_text(asked, bench))


def gold_passage(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """The gold document's text: what the reader does with perfect retrieval."""
    began = time.perf_counter()
    return answer(questions, bench, chosen_passages(bench, [ids[:1] for ids in questions.gold_doc_ids]), began=began)


def closed_book(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """No evidence: what the reader knows by itself."""
    return answer(questions, bench, [[] for _ in range(len(questions))], began=time.perf_counter())

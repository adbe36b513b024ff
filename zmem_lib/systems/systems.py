"""The systems that are compared: each a function from questions to answers, with the same reader and token budget.

`zmem` chooses z (method 1 or 2) and generates evidence from it; `bm25` and `dense` retrieve passages, and so do
`bm25_asked` and `dense_tuned`, which have learned from the training questions as z-memory has; `hybrid_rrf` and
`hybrid` fuse the rankings of `bm25` and `dense`; `text_twin` is z-memory's own language model with the passages' text
in the place of z; `gold_passage` is given the right passage, `closed_book` none. The controls of z are in controls.py.
Of z-memory and retrieval together: `zmem_then_text` reads the passages of the documents that z chooses, `zmem_and_bm25`
fuses both rankings and writes from z. `hybrid_rerank` and `lm_rerank` put the hybrid's first documents in order anew.
Every system chooses among all documents, seen and new, and hands the reader at most `answer.top_k` evidence items; only
`long_context` hands it as many as fit. CRAG (2401.15884) and Self-RAG (2310.11511) would be one more function each.
"""

import time
from collections.abc import Callable

import pandas as pd

from zmem_lib.files import read_json
from zmem_lib.memory.choose import Ranking
from zmem_lib.opponents import fusion, retrieve
from zmem_lib.opponents.rerank import can_ask
from zmem_lib.params import Params
from zmem_lib.systems.collection import (
    DEPTH,
    SELECTORS,
    Z_WEIGHT_FILE,
    Bench,
    both_rankings,
    by_cross_encoder,
    by_hybrid,
    by_lm,
    by_text,
    by_z,
    has_text_twin,
    z_and_bm25,
)
from zmem_lib.systems.evidence import answer, chosen_passages, packed, recall, wide
from zmem_lib.tables import UNREAD


def possible(system: str, params: Params) -> bool:
    """Whether a run's parameters allow a system: those that need something are named here."""
    needed = {
        "dense-tuned": params.answer.dense_steps > 0,
        "hybrid+rerank": bool(params.answer.rerank_model) and params.answer.rerank_depth > 0,
        "lm-rerank": params.answer.rerank_depth > 0 and can_ask(params),
        "text-twin": has_text_twin(params),
        "long-context": params.answer.long_context_tokens > 0,
    }
    return needed.get(system, True) and (params.has_lm or system in UNREAD)


def zmem(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """z chosen as `select` says, evidence generated from it."""
    return recalled(questions, bench, lambda asked: SELECTORS[bench.params.answer.select](asked, bench))


def zmem_and_bm25(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """z chosen by z-memory's ranking and BM25's, summed with the weight that was best on dev questions."""
    weight = read_json(bench.folder / Z_WEIGHT_FILE)["weight"]
    return recalled(questions, bench, lambda asked: fusion.weighted_sum(*z_and_bm25(asked, bench), weight, DEPTH))


def recalled(questions: pd.DataFrame, bench: Bench, choose: Callable[[list[str]], Ranking]) -> pd.DataFrame:
    """Evidence generated from the z of the documents that `choose` ranks first, read."""
    began = time.perf_counter()
    ranking = choose(list(questions.question))
    items, spent = recall(questions, bench, [ids[: bench.params.answer.top_k] for ids in ranking[0]])
    return answer(questions, bench, items, ranking=ranking, spent=spent, began=began)


def zmem_then_text(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """z chosen as `select` says; the reader gets the passages of its documents."""
    return retrieved(questions, bench, lambda asked: by_z(asked, bench))


def retrieved(questions: pd.DataFrame, bench: Bench, choose: Callable[[list[str]], Ranking]) -> pd.DataFrame:
    """The passages of the documents that `choose` ranks first, read."""
    began = time.perf_counter()
    ranking = choose(list(questions.question))
    items = chosen_passages(bench, [ids[: bench.params.answer.top_k] for ids in ranking[0]])
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
    encoder = retrieve.load_encoder(str(bench.folder / "dense_tuned"), bench.params.machine.device)
    return retrieved(questions, bench, lambda asked: retrieve.rank_dense(index, encoder, asked, DEPTH))


def hybrid_rrf(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25 and dense together: reciprocal rank fusion."""
    return retrieved(questions, bench, lambda asked: fusion.reciprocal_ranks(*both_rankings(asked, bench), DEPTH))


def hybrid(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25 and dense together: the sum of scores with the weight that was best on dev questions."""
    return retrieved(questions, bench, lambda asked: by_hybrid(asked, bench))


def hybrid_rerank(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """The hybrid's first passages in the order of a cross-encoder."""
    return retrieved(questions, bench, lambda asked: by_cross_encoder(asked, bench))


def lm_rerank(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """The hybrid's first passages in the order in which the language model expects the question behind them."""
    return retrieved(questions, bench, lambda asked: by_lm(asked, bench))


def long_context(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """As many of the hybrid's passages as fit into `answer.long_context_tokens`; its ranking are the documents of these."""
    began = time.perf_counter()
    ids, scores = by_hybrid(list(questions.question), bench, fusion.FUSED)
    items = [packed(bench, texts) for texts in chosen_passages(bench, ids)]
    given = [mine[: len(its)] for mine, its in zip(ids, items, strict=True)]
    ranking = given, [mine[: len(its)] for mine, its in zip(scores, items, strict=True)]
    return answer(questions, wide(bench), items, ranking=ranking, began=began)


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

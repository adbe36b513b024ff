"""The ways of choosing documents: each takes a table of questions and what a run holds, and returns their rankings.

Most rank all documents, seen and new and added. The last ones are given the document: the right one of each question,
or a wrong one, by which z-memory is told from a placebo. SELECTORS are z-memory's own, of which a run's parameter
`answer.select` names one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from torch import Tensor

from zmem_lib.files import read_json
from zmem_lib.ids.run_ids import rank_by_id
from zmem_lib.memory.choose import Ranking, question_log_p, rank, rerank, score_questions
from zmem_lib.memory.encoder import TEMPERATURE, question_vectors
from zmem_lib.memory.table import shuffle_index, unit
from zmem_lib.opponents import fusion
from zmem_lib.opponents.bm25 import rank_bm25
from zmem_lib.opponents.dense import load_cross_encoder, rank_dense
from zmem_lib.opponents.index import build_flat, search, vectors_of
from zmem_lib.opponents.rerank import cross_scores, log_p_given_text, reordered
from zmem_lib.params import Params
from zmem_lib.systems.holdings import Holdings
from zmem_lib.systems.systems import always

Choose = Callable[[pd.DataFrame, Holdings], Ranking]
DEPTH = 20  # documents in a ranking
INDEX_FROM = 10_000  # documents from which the keys are searched by an index
WEIGHT_FILE, Z_WEIGHT_FILE = "hybrid.json", "zmem_bm25.json"  # weights chosen on dev questions: of dense, and of BM25
DEV_SAMPLE, Z_DEV_SAMPLE = 500, 100  # dev questions that choose them: z-memory has to rank its own for this alone


@dataclass(frozen=True)
class Selector:
    """A way of choosing, what its scores are, and when a run's parameters allow it."""

    choose: Choose
    score: str
    possible: Callable[[Params], bool] = always


# --- z-memory -----------------------------------------------------------------------------------------------------


def by_likelihood(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By log p(question | z), an exact scan of all."""
    scores = score_questions(
        held.memory_lm, held.z, list(questions["question"]),
        batch=held.params.machine.scan_batch, keep=held.cache,
    )  # fmt: skip
    return rank(scores, list(held.docs["doc_id"]), DEPTH)  # of (Q,N)


def by_key(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By the cosine of a document's key and the question's vector."""
    return by_vectors(question_vectors(held.memory_lm, list(questions["question"])), held)


def by_vectors(vectors: Tensor, held: Holdings) -> Ranking:
    """By the cosine of a document's key and each of vectors (Q,E)."""
    keys, doc_ids = unit(held.keys), list(held.docs["doc_id"])  # (N,E)
    depth = max(DEPTH, held.params.answer.shortlist)
    if len(keys) < INDEX_FROM:
        return rank(vectors @ keys.T, doc_ids, depth)  # of (Q,N)
    rows, scores = search(build_flat(keys.numpy()), vectors.numpy(), depth)  # (Q,depth) each
    return [[doc_ids[row] for row in best] for best in rows], scores.tolist()


def by_key_then_likelihood(
    questions: pd.DataFrame, held: Holdings, vectors: Tensor | None = None
) -> Ranking:
    """The `answer.shortlist` best by key, in the order of log p(question | z) and key together.

    `vectors` (Q,E) are those of the questions, where they are known.
    """
    asked, row_of = list(questions["question"]), held.row_of
    by_cosine = by_key(questions, held) if vectors is None else by_vectors(vectors, held)

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        rows = [held.memory_lm.prompts.question(asked[q]) for q, _ in pairs]
        z = held.z[[row_of[doc_id] for _, doc_id in pairs]]  # (B,K,W)
        return question_log_p(held.memory_lm, z, rows, batch=held.params.machine.scan_batch)

    return rerank(score, by_cosine, held.params.answer.shortlist)


def by_generated_id(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By log p(id | question): method 2."""
    asked = list(questions["question"])
    return rank_by_id(held.memory_lm, asked, held.folder, tree=held.tree, depth=DEPTH)


SELECTORS = {
    "query_likelihood": Selector(by_likelihood, "log p(question | z)"),
    "key": Selector(by_key, "cosine of key and question", lambda params: params.memory.key_width > 0),
    "key_then_likelihood": Selector(
        by_key_then_likelihood, f"log p(question | z) + cosine of key and question / {TEMPERATURE}",
        lambda params: params.memory.key_width > 0,
    ),
    "generated_id": Selector(by_generated_id, "log p(id | question)", lambda params: params.train.id_steps > 0),
}  # fmt: skip


def by_select(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """As the run's parameter `answer.select` says."""
    return SELECTORS[held.params.answer.select].choose(questions, held)


def by_select_anew(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The same, made anew: a scan that another system has kept would cost nothing."""
    return by_select(questions, replace(held, cache=None))


def by_z_and_bm25(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """z-memory's ranking and BM25's, summed with the weight that was best on dev questions."""
    weight = read_json(held.folder / Z_WEIGHT_FILE)["weight"]
    return fusion.weighted_sum(*z_and_bm25(questions, held), weight, DEPTH)


def z_and_bm25(questions: pd.DataFrame, held: Holdings) -> tuple[Ranking, Ranking]:
    """z-memory's ranking and BM25's, as they are fused."""
    return by_select_anew(questions, held), by_bm25(questions, held, fusion.FUSED)


# --- text ---------------------------------------------------------------------------------------------------------


def by_bm25(questions: pd.DataFrame, held: Holdings, depth: int = DEPTH) -> Ranking:
    """By BM25 over the passages."""
    return rank_bm25(held.bm25(), list(questions["question"]), depth)


def by_bm25_asked(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By BM25 over passage and training questions."""
    return rank_bm25(held.bm25("bm25_asked"), list(questions["question"]), DEPTH)


def by_dense(questions: pd.DataFrame, held: Holdings, depth: int = DEPTH) -> Ranking:
    """By the inner product of sentence embeddings."""
    return rank_dense(held.dense(), held.encoder(), list(questions["question"]), depth)


def by_dense_tuned(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By the same encoder as `by_dense`, trained on the training questions."""
    index, encoder = held.dense("dense_tuned"), held.encoder("dense_tuned")
    return rank_dense(index, encoder, list(questions["question"]), DEPTH)


def bm25_and_dense(questions: pd.DataFrame, held: Holdings) -> tuple[Ranking, Ranking]:
    """Both rankings, as deep as they are fused."""
    return by_bm25(questions, held, fusion.FUSED), by_dense(questions, held, fusion.FUSED)


def by_ranks(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By BM25 and embeddings together: reciprocal rank fusion."""
    return fusion.reciprocal_ranks(*bm25_and_dense(questions, held), DEPTH)


def by_hybrid(questions: pd.DataFrame, held: Holdings, depth: int = DEPTH) -> Ranking:
    """By BM25 and embeddings together: the sum of scores with the weight that was best on dev questions."""
    weight = read_json(held.folder / WEIGHT_FILE)["weight"]
    return fusion.weighted_sum(*bm25_and_dense(questions, held), weight, depth)


def by_hybrid_deeply(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The same, as deep as the hybrid goes."""
    return by_hybrid(questions, held, fusion.FUSED)


def by_lm(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of log p(question | the passage's text) alone."""
    return hybrid_reordered(questions, held, text_score(questions, held))


def by_cross_encoder(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of a cross-encoder's score of question and passage."""
    params, asked, text_of = held.params, list(questions["question"]), held.text_of
    device = str((held.memory_lm or held.encoder()).device)
    model = held.once(
        f"reranker {params.answer.rerank_model}", lambda: load_cross_encoder(params.answer.rerank_model, device)
    )

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        return cross_scores(model, [(asked[q], text_of[doc_id]) for q, doc_id in pairs], params.machine.answer_batch)

    return hybrid_reordered(questions, held, score)


def hybrid_reordered(
    questions: pd.DataFrame, held: Holdings, score: Callable[[list[tuple[int, str]]], list[float]]
) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of `score` of (question number, document id)."""
    depth = held.params.answer.rerank_depth
    return reordered(score, by_hybrid(questions, held, max(DEPTH, depth)), depth)


def by_text(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """z-memory's shortlist in the order of log p(question | the passage's text) and key: the text twin."""
    shortlist = held.params.answer.shortlist
    return rerank(text_score(questions, held), by_key(questions, held), shortlist)


def text_score(
    questions: pd.DataFrame, held: Holdings
) -> Callable[[list[tuple[int, str]]], list[float]]:
    """The function that gives log p(question | the passage's text) for pairs (number of the question, document id)."""
    asked, text_of = list(questions["question"]), held.text_of

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        read = [(asked[q], text_of[doc_id]) for q, doc_id in pairs]
        return log_p_given_text(held.memory_lm, read, held.params)

    return score


# --- weights ------------------------------------------------------------------------------------------------------


def choose_hybrid_weight(dev: pd.DataFrame, held: Holdings) -> pd.DataFrame:
    """Choose the weight of the dense scores beside BM25's on at most DEV_SAMPLE dev questions; what was tried."""
    return _choose_weight(dev, held, bm25_and_dense, DEV_SAMPLE, held.folder / WEIGHT_FILE)


def choose_z_weight(dev: pd.DataFrame, held: Holdings) -> pd.DataFrame:
    """Choose the weight of BM25 beside z-memory on at most Z_DEV_SAMPLE dev questions; what was tried."""
    return _choose_weight(dev, held, z_and_bm25, Z_DEV_SAMPLE, held.folder / Z_WEIGHT_FILE)


def _choose_weight(dev: pd.DataFrame, held: Holdings, pair: Callable, most: int, path: Path) -> pd.DataFrame:
    dev = dev.sample(min(len(dev), most), random_state=held.params.seed)
    both = pair(dev, held) if len(dev) else (([], []), ([], []))
    return fusion.choose_weight(*both, list(dev["gold_doc_ids"]), path)


# --- given --------------------------------------------------------------------------------------------------------


def right(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The first gold document of each question."""
    return [list(ids[:1]) for ids in questions["gold_doc_ids"]], [[]] * len(questions)


def nothing(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """No document."""
    return [[] for _ in range(len(questions))], [[]] * len(questions)


def shuffled(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """Another document than the gold one, drawn at random."""
    doc_ids = list(held.docs["doc_id"])
    other = dict(zip(doc_ids, shuffle_index(len(doc_ids), held.params.seed).tolist(), strict=True))
    return [[doc_ids[other[ids[0]]]] for ids in questions["gold_doc_ids"]], [[]] * len(questions)


def most_similar(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The document whose passage resembles the gold one most (cosine, dense model)."""
    return nearest(held, [ids[0] for ids in questions["gold_doc_ids"]], 1), [[]] * len(questions)


def nearest(held: Holdings, doc_ids: list[str], depth: int) -> list[list[str]]:
    """For each document the `depth` others whose passages resemble its own most (cosine, dense model), best first."""
    index = held.dense()
    row_of = {doc_id: row for row, doc_id in enumerate(index.doc_ids)}
    own = vectors_of(index.flat)[[row_of[doc_id] for doc_id in doc_ids]]  # (Q,E)
    rows, _ = search(index.flat, own, depth + 1)  # (Q,depth+1): its own passage is one of them, as a rule
    others = [[index.doc_ids[row] for row in best] for best in rows.tolist()]
    return [[other for other in best if other != name][:depth] for best, name in zip(others, doc_ids, strict=True)]

"""The ways of choosing documents: each takes a table of questions and what a run holds, and returns their rankings.

Most rank all documents, seen and new and added. The last ones are given the document: the right one of each question,
or a wrong one, by which z-memory is told from a placebo. SELECTORS are z-memory's own, of which a run's parameter
`answer.select` names one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

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
Score = Callable[[list[tuple[int, str]]], list[float]]  # of pairs: number of the question, document id
DEPTH = 20  # documents in a ranking
INDEX_FROM = 10_000  # documents from which the keys are searched by an index
WEIGHT_FILE, Z_WEIGHT_FILE = "hybrid.json", "zmem_bm25.json"  # weights chosen on dev questions: of dense, and of BM25
DEV_SAMPLE, Z_DEV_SAMPLE = 500, 100  # dev questions that choose them: z-memory has to rank its own for this alone


@dataclass(frozen=True)
class Selector:
    """One of z-memory's ways of choosing, what its scores are, and when a run's parameters allow it."""

    choose: Choose
    score: str
    possible: Callable[[Params], bool] = always


# --- z-memory ---------------------------------------------------------------------------------------------------------


def by_likelihood(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By log p(question | z), an exact scan of all."""
    asked, batch = list(questions["question"]), held.params.machine.scan_batch
    scores = score_questions(held.memory_lm, held.z, asked, batch=batch, keep=held.cache)  # (Q,N)
    return rank(scores, list(held.docs["doc_id"]), DEPTH)


def by_key(questions: pd.DataFrame, held: Holdings, vectors: Tensor | None = None) -> Ranking:
    """By the cosine of a document's key and the question's vector; vectors (Q,E), where they are known."""
    if vectors is None:
        vectors = question_vectors(held.memory_lm, list(questions["question"]))  # (Q,E)
    keys, doc_ids, depth = unit(held.keys), list(held.docs["doc_id"]), max(DEPTH, held.params.answer.shortlist)
    if len(keys) < INDEX_FROM:
        return rank(vectors @ keys.T, doc_ids, depth)  # of (Q,N)
    rows, scores = search(build_flat(keys.numpy()), vectors.numpy(), depth)  # (Q,depth) each
    return [[doc_ids[row] for row in best] for best in rows], scores.tolist()


def by_key_then_likelihood(questions: pd.DataFrame, held: Holdings, vectors: Tensor | None = None) -> Ranking:
    """The `answer.shortlist` best by key, in the order of log p(question | z) and key together."""
    asked, row_of = list(questions["question"]), held.row_of

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        rows = [held.memory_lm.prompts.question(asked[q]) for q, _ in pairs]
        z = held.z[[row_of[doc_id] for _, doc_id in pairs]]  # (B,K,W)
        return question_log_p(held.memory_lm, z, rows, batch=held.params.machine.scan_batch)

    return rerank(score, by_key(questions, held, vectors), held.params.answer.shortlist)


def by_generated_id(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By log p(id | question): method 2."""
    return rank_by_id(held.memory_lm, list(questions["question"]), held.folder, tree=held.tree, depth=DEPTH)


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
    return fusion.weighted_sum(*z_and_bm25(questions, held), read_json(held.folder / Z_WEIGHT_FILE)["weight"], DEPTH)


def z_and_bm25(questions: pd.DataFrame, held: Holdings) -> tuple[Ranking, Ranking]:
    """z-memory's ranking and BM25's, as they are fused."""
    return by_select_anew(questions, held), by_bm25(questions, held, fusion.FUSED)


# --- text -------------------------------------------------------------------------------------------------------------


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
    """The same by an encoder that was trained on the training questions."""
    return rank_dense(held.dense("dense_tuned"), held.encoder("dense_tuned"), list(questions["question"]), DEPTH)


def bm25_and_dense(questions: pd.DataFrame, held: Holdings) -> tuple[Ranking, Ranking]:
    """Both rankings, as deep as they are fused."""
    return by_bm25(questions, held, fusion.FUSED), by_dense(questions, held, fusion.FUSED)


def by_ranks(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By BM25 and embeddings together: reciprocal rank fusion."""
    return fusion.reciprocal_ranks(*bm25_and_dense(questions, held), DEPTH)


def by_hybrid(questions: pd.DataFrame, held: Holdings, depth: int = DEPTH) -> Ranking:
    """By BM25 and embeddings together: the sum of scores with the weight that was best on dev questions."""
    return fusion.weighted_sum(*bm25_and_dense(questions, held), read_json(held.folder / WEIGHT_FILE)["weight"], depth)


def by_hybrid_deeply(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The same, as deep as rankings are fused."""
    return by_hybrid(questions, held, fusion.FUSED)


def by_lm(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of log p(question | the passage's text) alone."""
    depth = held.params.answer.rerank_depth
    return reordered(text_score(questions, held), by_hybrid(questions, held, max(DEPTH, depth)), depth)


def by_cross_encoder(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of a cross-encoder's score of question and passage."""
    asked, text_of, answer = list(questions["question"]), held.text_of, held.params.answer
    device = str((held.memory_lm or held.encoder()).device)
    model = held.once(f"reranker {answer.rerank_model}", lambda: load_cross_encoder(answer.rerank_model, device))

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        texts = [(asked[q], text_of[doc_id]) for q, doc_id in pairs]
        return cross_scores(model, texts, held.params.machine.answer_batch)

    return reordered(score, by_hybrid(questions, held, max(DEPTH, answer.rerank_depth)), answer.rerank_depth)


def by_text(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """z-memory's shortlist in the order of log p(question | the passage's text) and key: the text twin."""
    return rerank(text_score(questions, held), by_key(questions, held), held.params.answer.shortlist)


def text_score(questions: pd.DataFrame, held: Holdings) -> Score:
    """The function that gives log p(question | the passage's text)."""
    asked, text_of = list(questions["question"]), held.text_of

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        return log_p_given_text(held.memory_lm, [(asked[q], text_of[doc_id]) for q, doc_id in pairs], held.params)

    return score


def choose_hybrid_weight(dev: pd.DataFrame, held: Holdings) -> pd.DataFrame:
    """Choose the weight of the dense scores beside BM25's on dev questions; returns what was tried."""
    dev = dev.sample(min(len(dev), DEV_SAMPLE), random_state=held.params.seed)
    return fusion.choose_weight(*bm25_and_dense(dev, held), list(dev["gold_doc_ids"]), held.folder / WEIGHT_FILE)


def choose_z_weight(dev: pd.DataFrame, held: Holdings) -> pd.DataFrame:
    """Choose the weight of BM25 beside z-memory on dev questions; returns what was tried."""
    dev = dev.sample(min(len(dev), Z_DEV_SAMPLE), random_state=held.params.seed)
    both = z_and_bm25(dev, held) if len(dev) else (([], []), ([], []))
    return fusion.choose_weight(*both, list(dev["gold_doc_ids"]), held.folder / Z_WEIGHT_FILE)


# --- given ------------------------------------------------------------------------------------------------------------


def right(questions: pd.DataFrame, _: Holdings) -> Ranking:
    """The first gold document of each question."""
    return _given([ids[0] for ids in questions["gold_doc_ids"]])


def shuffled(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """Another document than the gold one, drawn at random."""
    doc_ids = list(held.docs["doc_id"])
    other = dict(zip(doc_ids, shuffle_index(len(doc_ids), held.params.seed).tolist(), strict=True))
    return _given([doc_ids[other[ids[0]]] for ids in questions["gold_doc_ids"]])


def most_similar(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The document whose passage resembles the gold one most."""
    return _given([ids[0] for ids in nearest(held, right(questions, held)[0], 1)])


def nothing(questions: pd.DataFrame, _: Holdings) -> Ranking:
    """No document."""
    return [[] for _ in range(len(questions))], [[] for _ in range(len(questions))]


def nearest(held: Holdings, chosen: list[list[str]], depth: int) -> list[list[str]]:
    """For each document, the first of a list, the `depth` others that resemble it most (cosine of the dense model)."""
    index, doc_ids = held.dense(), [ids[0] for ids in chosen]
    row_of = {doc_id: row for row, doc_id in enumerate(index.doc_ids)}
    own = vectors_of(index.flat)[[row_of[doc_id] for doc_id in doc_ids]]  # (Q,E)
    rows, _ = search(index.flat, own, depth + 1)  # (Q,depth+1): its own passage is one of them, as a rule
    others = [[index.doc_ids[row] for row in best] for best in rows.tolist()]
    return [[other for other in best if other != name][:depth] for best, name in zip(others, doc_ids, strict=True)]


def _given(doc_ids: list[str]) -> Ranking:
    return [[doc_id] for doc_id in doc_ids], [[] for _ in doc_ids]

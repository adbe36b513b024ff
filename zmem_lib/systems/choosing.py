"""The ways of choosing documents: each takes a table of questions and what a run holds, and returns their rankings.

Most rank all documents. The last ones are given the right one, or a wrong one, by which z-memory is told from a
placebo. SELECTORS are z-memory's own, of which the parameter `answer.select` names one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
from torch import Tensor

from zmem_lib.files import read_json
from zmem_lib.ids.search import rank_by_id
from zmem_lib.memory.choose import Ranking, question_log_p, rank, rerank, score_questions
from zmem_lib.memory.encoder import TEMPERATURE, question_vectors
from zmem_lib.memory.table import shuffle_index, unit
from zmem_lib.opponents import fusion
from zmem_lib.opponents.bm25 import rank_bm25
from zmem_lib.opponents.dense import load_cross_encoder, rank_dense
from zmem_lib.opponents.index import build_flat, search, vectors_of
from zmem_lib.opponents.rerank import Pairs, cross_scores, log_p_given_text, reordered
from zmem_lib.params import Params
from zmem_lib.systems.holdings import Holdings

Choose = Callable[[pd.DataFrame, Holdings], Ranking]
Score = Callable[[list[tuple[int, str]]], list[float]]  # of pairs: number of the question, document id
TextScore = Callable[[Pairs], list[float]]  # of pairs: question, passage
DEPTH = 20  # documents in a ranking
INDEX_FROM = 10_000  # documents from which the keys are searched by an index
WEIGHT_FILE, Z_WEIGHT_FILE = "hybrid.json", "zmem_bm25.json"  # weights chosen on dev questions: of dense, and of BM25


@dataclass(frozen=True)
class Selector:
    """One of z-memory's ways of choosing, what its scores are, and when a run's parameters allow it."""

    choose: Choose
    score: str
    possible: Callable[[Params], bool] = lambda _: True


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


# --- text -------------------------------------------------------------------------------------------------------------


def by_bm25(questions: pd.DataFrame, held: Holdings, depth: int = DEPTH, index: str = "bm25") -> Ranking:
    """By BM25 over the passages, or over what else the index of this name holds."""
    return rank_bm25(held.bm25(index), list(questions["question"]), depth)


def by_dense(questions: pd.DataFrame, held: Holdings, depth: int = DEPTH, encoder: str = "dense") -> Ranking:
    """By the inner product of sentence embeddings, of the encoder as it came or of another."""
    return rank_dense(held.dense(encoder), held.encoder(encoder), list(questions["question"]), depth)


by_bm25_asked = partial(by_bm25, index="bm25_asked")  # each passage with the training questions about it
by_dense_tuned = partial(by_dense, encoder="dense_tuned")  # trained on these questions


@dataclass(frozen=True)
class Fusion:
    """Two rankings that are summed, as deep as they are fused, with a weight of the second chosen on dev questions."""

    both: Callable[[pd.DataFrame, Holdings], tuple[Ranking, Ranking]]
    file: str  # of the weight
    dev_sample: int  # dev questions that choose it

    def rank(self, questions: pd.DataFrame, held: Holdings, depth: int = DEPTH) -> Ranking:
        """By both together: the sum of scores with the weight that was best on dev questions."""
        return fusion.weighted_sum(*self.both(questions, held), read_json(held.folder / self.file)["weight"], depth)

    def choose_weight(self, dev: pd.DataFrame, held: Holdings) -> pd.DataFrame:
        """Choose the weight on dev questions; returns what was tried."""
        dev = dev.sample(min(len(dev), self.dev_sample), random_state=held.params.seed)
        both = self.both(dev, held) if len(dev) else (([], []), ([], []))
        return fusion.choose_weight(*both, list(dev["gold_doc_ids"]), held.folder / self.file)


HYBRID = Fusion(
    lambda questions, held: (by_bm25(questions, held, fusion.FUSED), by_dense(questions, held, fusion.FUSED)),
    WEIGHT_FILE, 500,
)  # fmt: skip
Z_AND_BM25 = Fusion(  # z-memory has to rank its dev questions for this alone
    lambda questions, held: (by_select_anew(questions, held), by_bm25(questions, held, fusion.FUSED)),
    Z_WEIGHT_FILE, 100,
)  # fmt: skip
by_hybrid, choose_hybrid_weight = HYBRID.rank, HYBRID.choose_weight
by_z_and_bm25, choose_z_weight = Z_AND_BM25.rank, Z_AND_BM25.choose_weight
by_hybrid_deeply = partial(by_hybrid, depth=fusion.FUSED)


def by_ranks(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By BM25 and embeddings together: reciprocal rank fusion."""
    return fusion.reciprocal_ranks(*HYBRID.both(questions, held), DEPTH)


def by_lm(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of log p(question | the passage's text) alone."""
    return _reordered(questions, held, partial(log_p_given_text, held.memory_lm, params=held.params))


def by_cross_encoder(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of a cross-encoder's score of question and passage."""
    name, device = held.params.answer.rerank_model, str((held.memory_lm or held.encoder()).device)
    model = held.once(f"reranker {name}", lambda: load_cross_encoder(name, device))
    return _reordered(questions, held, lambda pairs: cross_scores(model, pairs, held.params.machine.answer_batch))


def by_text(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """z-memory's shortlist in the order of log p(question | the passage's text) and key: the text twin."""
    score = _of_texts(questions, held, partial(log_p_given_text, held.memory_lm, params=held.params))
    return rerank(score, by_key(questions, held), held.params.answer.shortlist)


def _reordered(questions: pd.DataFrame, held: Holdings, score: TextScore) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of a score of question and passage alone."""
    depth = held.params.answer.rerank_depth
    return reordered(_of_texts(questions, held, score), by_hybrid(questions, held, max(DEPTH, depth)), depth)


def _of_texts(questions: pd.DataFrame, held: Holdings, score: TextScore) -> Score:
    """The score of question and passage as one of the question's number and the document's id."""
    asked, text_of = list(questions["question"]), held.text_of
    return lambda pairs: score([(asked[q], text_of[doc_id]) for q, doc_id in pairs])


# --- given, without scores --------------------------------------------------------------------------------------------


def right(questions: pd.DataFrame, _: Holdings) -> Ranking:
    """The first gold document of each question."""
    return [[ids[0]] for ids in questions["gold_doc_ids"]], []


def shuffled(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """Another document than the gold one, drawn at random."""
    doc_ids = list(held.docs["doc_id"])
    other = dict(zip(doc_ids, shuffle_index(len(doc_ids), held.params.seed).tolist(), strict=True))
    return [[doc_ids[other[ids[0]]]] for ids in questions["gold_doc_ids"]], []


def most_similar(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """The document whose passage resembles the gold one most."""
    return nearest(held, list(questions["gold_doc_ids"]), 1), []


def nothing(questions: pd.DataFrame, _: Holdings) -> Ranking:
    """No document."""
    return [[] for _ in range(len(questions))], []


def nearest(held: Holdings, chosen: list[list[str]], depth: int) -> list[list[str]]:
    """For each document, the first of a list, the `depth` others that resemble it most (cosine of the dense model)."""
    index, doc_ids = held.dense(), [ids[0] for ids in chosen]
    row_of = {doc_id: row for row, doc_id in enumerate(index.doc_ids)}
    own = vectors_of(index.flat)[[row_of[doc_id] for doc_id in doc_ids]]  # (Q,E)
    rows, _ = search(index.flat, own, depth + 1)  # (Q,depth+1): its own passage is one of them, as a rule
    others = [[index.doc_ids[row] for row in best] for best in rows.tolist()]
    return [[other for other in best if other != name][:depth] for best, name in zip(others, doc_ids, strict=True)]

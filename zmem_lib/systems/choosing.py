"""The ways of choosing documents: each takes a table of questions and what a run holds, and returns their rankings.

Most rank all documents. The last ones are given the right one, or a wrong one, by which z-memory is told from a
placebo. SELECTORS are z-memory's own, of which the parameter `answer.select` names one. FUSIONS weigh two rankings,
or a first stage and what reranks it, all by one rule and each by a weight that dev questions choose.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor

from zmem_lib.files import must_exist, read_json, write_json
from zmem_lib.ids.search import rank_by_id
from zmem_lib.memory.choose import Ranking, question_log_p, rank, rerank, score_questions
from zmem_lib.memory.encoder import question_vectors
from zmem_lib.memory.table import shuffle_index, unit
from zmem_lib.meter import metered
from zmem_lib.opponents import fusion
from zmem_lib.opponents.bm25 import rank_bm25
from zmem_lib.opponents.dense import nearest_documents, rank_dense
from zmem_lib.opponents.index import build_flat, search, vectors_of
from zmem_lib.opponents.rerank import Pairs, cross_scores, log_p_given_text
from zmem_lib.params import Params
from zmem_lib.systems.holdings import Holdings
from zmem_lib.systems.systems import possible_systems

Choose = Callable[[pd.DataFrame, Holdings], Ranking]
TextScore = Callable[[Pairs], list[float]]  # of pairs: question, passage
DEPTH = 20  # documents in a ranking
INDEX_FROM = 10_000  # documents from which the keys are searched by an index
WEIGHTS = "weights.json"  # of every fusion: its second ranking's weight, and what was tried


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


def key_and_likelihood(
    questions: pd.DataFrame, held: Holdings, vectors: Tensor | None = None
) -> tuple[Ranking, Ranking]:
    """The ranking by key, and its `answer.shortlist` best by log p(question | z)."""
    asked, row_of, by_keys = list(questions["question"]), held.row_of, by_key(questions, held, vectors)

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        rows = [held.memory_lm.prompts.question(asked[q]) for q, _ in pairs]
        z = held.z[[row_of[doc_id] for _, doc_id in pairs]]  # (B,K,W)
        return question_log_p(held.memory_lm, z, rows, batch=held.params.machine.scan_batch)

    return by_keys, rerank(score, by_keys, held.params.answer.shortlist)


def by_key_then_likelihood(questions: pd.DataFrame, held: Holdings, vectors: Tensor | None = None) -> Ranking:
    """By key and, of the `answer.shortlist` best by key, log p(question | z)."""
    return weighed("key_then_likelihood", key_and_likelihood(questions, held, vectors), held)


def by_generated_id(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By log p(id | question): method 2."""
    return rank_by_id(held.memory_lm, list(questions["question"]), held.folder, tree=held.tree, depth=DEPTH)


SELECTORS = {
    "query_likelihood": Selector(by_likelihood, "log p(question | z)"),
    "key": Selector(by_key, "cosine of key and question", lambda params: params.memory.key_width > 0),
    "key_then_likelihood": Selector(
        by_key_then_likelihood, "stretched cosine of key and log p(question | z), weighed",
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


# --- two rankings, weighed --------------------------------------------------------------------------------------------


def bm25_and_dense(questions: pd.DataFrame, held: Holdings) -> tuple[Ranking, Ranking]:
    """The rankings by BM25 and by embeddings, as deep as they are fused."""
    return by_bm25(questions, held, fusion.FUSED), by_dense(questions, held, fusion.FUSED)


def z_and_bm25(questions: pd.DataFrame, held: Holdings) -> tuple[Ranking, Ranking]:
    """z-memory's own ranking and BM25's."""
    return by_select_anew(questions, held), by_bm25(questions, held, fusion.FUSED)


def key_and_text(questions: pd.DataFrame, held: Holdings) -> tuple[Ranking, Ranking]:
    """The ranking by key, and its `answer.shortlist` best by log p(question | the passage's text): the text twin."""
    score = partial(log_p_given_text, held.memory_lm, params=held.params)
    return _reread(questions, held, score, by_key(questions, held), held.params.answer.shortlist)


def hybrid_and_lm(questions: pd.DataFrame, held: Holdings) -> tuple[Ranking, Ranking]:
    """The hybrid, and its first `answer.rerank_depth` by log p(question | the passage's text)."""
    return _hybrid_reread(questions, held, partial(log_p_given_text, held.memory_lm, params=held.params))


def hybrid_and_cross_encoder(questions: pd.DataFrame, held: Holdings) -> tuple[Ranking, Ranking]:
    """The hybrid, and its first `answer.rerank_depth` by a cross-encoder's score of question and passage."""
    model, batch = held.cross_encoder, held.params.machine.answer_batch
    return _hybrid_reread(questions, held, lambda pairs: cross_scores(model, pairs, batch))


@dataclass(frozen=True)
class Fusion:
    """Two rankings that are summed, and by how many dev questions the weight of the second is chosen."""

    both: Callable[[pd.DataFrame, Holdings], tuple[Ranking, Ranking]]
    dev_sample: int


FUSIONS = {  # by the system or selector that ranks so; a later one may rest on an earlier one
    "hybrid": Fusion(bm25_and_dense, 500),
    "key_then_likelihood": Fusion(key_and_likelihood, 200),
    "text-twin": Fusion(key_and_text, 200),
    "lm-rerank": Fusion(hybrid_and_lm, 200),
    "hybrid+rerank": Fusion(hybrid_and_cross_encoder, 200),
    "zmem+bm25": Fusion(z_and_bm25, 100),  # z-memory may have to scan for it
}


def weighed(name: str, both: tuple[Ranking, Ranking], held: Holdings, depth: int = DEPTH) -> Ranking:
    """The best `depth` documents by both rankings together, with the weight that this fusion has in the run."""
    return fusion.weighted_sum(*both, read_json(must_exist(held.folder / WEIGHTS))[name]["weight"], depth)


def by_fusion(questions: pd.DataFrame, held: Holdings, name: str, depth: int = DEPTH) -> Ranking:
    """As the fusion of this name ranks."""
    return weighed(name, FUSIONS[name].both(questions, held), held, depth)


by_hybrid, by_z_and_bm25 = partial(by_fusion, name="hybrid"), partial(by_fusion, name="zmem+bm25")
by_hybrid_deeply = partial(by_hybrid, depth=fusion.FUSED)
by_text, by_lm = partial(by_fusion, name="text-twin"), partial(by_fusion, name="lm-rerank")
by_cross_encoder = partial(by_fusion, name="hybrid+rerank")


def fusions_of(params: Params) -> list[str]:
    """The fusions of the systems and selectors that a run's parameters allow."""
    selectors = [name for name, selector in SELECTORS.items() if params.has_lm and selector.possible(params)]
    return [name for name in FUSIONS if name in (*selectors, *possible_systems(params))]


def choose_weights(dev: pd.DataFrame, held: Holdings) -> pd.DataFrame:
    """Choose the weight of every fusion on dev questions and keep it in the run's folder, one after the other.

    Columns: fusion, weight (of the second ranking), n, mrr@10 with the first ranking alone (0), as chosen, and with the
    second alone (1), seconds.
    """
    kept: dict[str, Any] = {}
    rows = []
    for name in fusions_of(held.params):
        sample = dev.sample(min(len(dev), FUSIONS[name].dev_sample), random_state=held.params.seed)
        if len(sample):
            FUSIONS[name].both(sample[:1], held)  # what it loads counts as the time of none
        with metered() as cost:
            both = FUSIONS[name].both(sample, held) if len(sample) else (([], []), ([], []))
            weight, tried = fusion.choose_weight(*both, list(sample["gold_doc_ids"]))
        kept[name] = {"weight": weight, "n": len(sample), "tried": tried.to_dict("list")}
        write_json(kept, held.folder / WEIGHTS)  # the next one may rest on it
        reached = tried.set_index("weight")[fusion.CHOSEN_BY]
        ends = {f"{fusion.CHOSEN_BY}, {what}": reached[at] for what, at in (("0", 0.0), ("chosen", weight), ("1", 1.0))}
        rows.append({"fusion": name, "weight": weight, "n": len(sample), **ends, "seconds": cost.seconds})
    return pd.DataFrame(rows)


def by_ranks(questions: pd.DataFrame, held: Holdings) -> Ranking:
    """By BM25 and embeddings together: reciprocal rank fusion."""
    return fusion.reciprocal_ranks(*bm25_and_dense(questions, held), DEPTH)


def _hybrid_reread(questions: pd.DataFrame, held: Holdings, score: TextScore) -> tuple[Ranking, Ranking]:
    depth = held.params.answer.rerank_depth
    return _reread(questions, held, score, by_hybrid(questions, held, depth=max(DEPTH, depth)), depth)


def _reread(
    questions: pd.DataFrame, held: Holdings, score: TextScore, first: Ranking, depth: int
) -> tuple[Ranking, Ranking]:
    """A ranking, and its first `depth` documents by a score of question and passage alone."""
    asked, text_of = list(questions["question"]), held.text_of
    return first, rerank(lambda pairs: score([(asked[q], text_of[doc_id]) for q, doc_id in pairs]), first, depth)


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
    index, doc_ids, row_of = held.dense(), [ids[0] for ids in chosen], {}
    for row, doc_id in enumerate(index.doc_ids):
        row_of.setdefault(doc_id, row)  # of a first window
    own = vectors_of(index.flat)[[row_of[doc_id] for doc_id in doc_ids]]  # (Q,E)
    others, _ = nearest_documents(index, own, depth + 1)  # it is one of them itself, as a rule
    return [[other for other in best if other != name][:depth] for best, name in zip(others, doc_ids, strict=True)]

"""What systems work with: the memory, its documents and the indexes, and the ways to choose a document.

Every way takes questions and returns, for each, the best documents of all, seen and new, with their scores.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from zmem_lib.cache import Cache
from zmem_lib.files import read_json
from zmem_lib.ids.search import rank_by_id
from zmem_lib.ids.tree import IdTree
from zmem_lib.memory.choose import Ranking, question_log_p, rank, rank_by_key, rerank, score_questions
from zmem_lib.memory.lm import MemoryLM, load_memory_lm
from zmem_lib.memory.table import load_z
from zmem_lib.opponents import fusion, retrieve
from zmem_lib.opponents.fusion import rank_both
from zmem_lib.opponents.rerank import cross_scores, log_p_given_text, reordered
from zmem_lib.params import Params
from zmem_lib.text import passages

DEPTH = 20  # documents in a ranking
Z_WEIGHT_FILE = "zmem_bm25.json"  # of BM25's scores beside z-memory's
Z_DEV_SAMPLE = 100  # dev questions that choose it: z-memory has to rank them for this alone


@dataclass(frozen=True)
class Bench:
    """What systems work with; row i of z (N,K,W) and keys (N,E) belongs to the i-th of docs."""

    params: Params
    memory_lm: MemoryLM | None  # None, and z and keys empty, in a run without a language model
    docs: pd.DataFrame
    z: Tensor
    keys: Tensor
    bm25: Any
    dense: Any
    encoder: Any
    folder: Path
    keep: Cache | None = None  # where finished pieces of the chapter lie
    tree: IdTree | None = None  # of the generated ids of docs, where documents came or went after the chapters


def load_bench(folder: Path, params: Params, docs: pd.DataFrame, keep: Cache | None = None) -> Bench:
    """Everything that chapters 03 to 05 left in a run's folder."""
    if not params.has_lm:
        return Bench(params, None, docs, torch.empty(0), torch.empty(0), **indexes(folder, params), keep=keep)
    seen_ids, z_seen, seen_keys = load_z(folder / "z_seen.safetensors")
    new_ids, z_new, new_keys = load_z(folder / "z_new.safetensors")
    memory_lm = load_memory_lm(folder / "lm", params)
    return Bench(
        params=params,
        memory_lm=memory_lm,
        docs=docs.set_index("doc_id").loc[seen_ids + new_ids].reset_index(),
        z=torch.cat([z_seen, z_new]),  # (N,K,W)
        keys=torch.cat([seen_keys, new_keys]),  # (N,E)
        **indexes(folder, params),
        keep=keep,
    )


def indexes(folder: Path, params: Params) -> dict[str, Any]:
    """What retrieves passages: fields of Bench."""
    return {
        "bm25": retrieve.load_bm25(folder / "bm25"),
        "dense": retrieve.load_dense(folder / "dense.faiss"),
        "encoder": retrieve.load_encoder(params.answer.dense_model, params.machine.device),
        "folder": folder,
    }


def rows_of(bench: Bench) -> dict[str, int]:
    """The row of z of each document."""
    return {doc_id: row for row, doc_id in enumerate(bench.docs.doc_id)}


def texts_of(bench: Bench) -> dict[str, str]:
    """Title and text of each document."""
    return dict(zip(bench.docs.doc_id, passages(bench.docs), strict=True))


def by_likelihood(asked: list[str], bench: Bench) -> Ranking:
    """Documents ranked by log p(question | z), an exact scan of all."""
    scores = score_questions(
        bench.memory_lm, bench.z, asked, batch=bench.params.machine.scan_batch, keep=bench.keep
    )  # (Q,N)
    return rank(scores, list(bench.docs.doc_id), DEPTH)


def by_key(asked: list[str], bench: Bench) -> Ranking:
    """Documents ranked by the cosine of their key and the question's vector."""
    depth = max(DEPTH, bench.params.answer.shortlist)
    return rank_by_key(bench.memory_lm, bench.keys, asked, list(bench.docs.doc_id), depth=depth)


def by_key_then_likelihood(asked: list[str], bench: Bench) -> Ranking:
    """The `answer.shortlist` best by key, in the order of log p(question | z) and key together."""
    row_of = rows_of(bench)

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        rows = [bench.memory_lm.prompts.question(asked[q]) for q, _ in pairs]
        z = bench.z[[row_of[doc_id] for _, doc_id in pairs]]  # (B,K,W)
        return question_log_p(bench.memory_lm, z, rows, batch=bench.params.machine.scan_batch)

    return rerank(score, by_key(asked, bench), bench.params.answer.shortlist)


def by_text(asked: list[str], bench: Bench) -> Ranking:
    """The same shortlist in the order of log p(question | the passage's text) and key: the text twin."""
    return rerank(text_score(asked, bench), by_key(asked, bench), bench.params.answer.shortlist)


def has_text_twin(params: Params) -> bool:
    """Whether the model has learned questions from texts, and keys by which to choose them."""
    return params.train.text_weight > 0 and params.memory.key_width > 0


def text_score(asked: list[str], bench: Bench) -> Callable[[list[tuple[int, str]]], list[float]]:
    """The function that gives log p(question | the passage's text) for pairs (number of the question, document id)."""
    text_of = texts_of(bench)

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        read = [(asked[q], text_of[doc_id]) for q, doc_id in pairs]
        return log_p_given_text(bench.memory_lm, read, bench.params)

    return score


def by_hybrid(asked: list[str], bench: Bench, depth: int = DEPTH) -> Ranking:
    """Documents ranked by BM25 and the encoder together, with the weight that was chosen on dev questions."""
    weight = read_json(bench.folder / fusion.WEIGHT_FILE)["weight"]
    return fusion.weighted_sum(*both_rankings(asked, bench), weight, depth)


def by_lm(asked: list[str], bench: Bench) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of log p(question | the passage's text) alone."""
    depth = bench.params.answer.rerank_depth
    return reordered(text_score(asked, bench), by_hybrid(asked, bench, max(DEPTH, depth)), depth)


def by_cross_encoder(asked: list[str], bench: Bench) -> Ranking:
    """The hybrid's first `answer.rerank_depth` in the order of the cross-encoder's score of question and passage."""
    params, text_of = bench.params, texts_of(bench)
    device = (bench.memory_lm or bench.encoder).device
    encoder = retrieve.load_cross_encoder(params.answer.rerank_model, str(device))

    def score(pairs: list[tuple[int, str]]) -> list[float]:
        return cross_scores(encoder, [(asked[q], text_of[doc_id]) for q, doc_id in pairs], params.machine.answer_batch)

    return reordered(score, by_hybrid(asked, bench, max(DEPTH, params.answer.rerank_depth)), params.answer.rerank_depth)


def both_rankings(asked: list[str], bench: Bench) -> tuple[Ranking, Ranking]:
    """The passages ranked by BM25, and by the encoder, as deep as they are fused."""
    return rank_both(bench.bm25, bench.dense, bench.encoder, asked)


def by_generated_id(asked: list[str], bench: Bench) -> Ranking:
    """Documents ranked by log p(id | question): method 2."""
    return rank_by_id(bench.memory_lm, asked, bench.folder, tree=bench.tree, depth=DEPTH)


def by_z(asked: list[str], bench: Bench) -> Ranking:
    """Documents ranked as `select` says, made anew: a scan that another system has kept would cost nothing."""
    return SELECTORS[bench.params.answer.select](asked, replace(bench, keep=None))


def z_and_bm25(asked: list[str], bench: Bench) -> tuple[Ranking, Ranking]:
    """z-memory's ranking and BM25's, as they are fused."""
    return by_z(asked, bench), retrieve.rank_bm25(bench.bm25, asked, fusion.FUSED)


def choose_z_weight(dev: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Choose the weight of BM25 beside z-memory on at most Z_DEV_SAMPLE dev questions, write it, return what was tried.

    As `fusion.choose_weight` does for the hybrid. Without a memory there is nothing to weigh: nothing is tried.
    """
    if bench.memory_lm is None:
        return fusion.try_weights(([], []), ([], []), []).head(0)
    dev = dev.sample(min(len(dev), Z_DEV_SAMPLE), random_state=bench.params.seed)
    both = z_and_bm25(list(dev["question"]), bench) if len(dev) else (([], []), ([], []))
    tried = fusion.try_weights(*both, list(dev["gold_doc_ids"]))
    fusion.save_weight(tried, len(dev), bench.folder / Z_WEIGHT_FILE)
    return tried


SELECTORS: dict[str, Callable[[list[str], Bench], Ranking]] = {
    "query_likelihood": by_likelihood,
    "key": by_key,
    "key_then_likelihood": by_key_then_likelihood,
    "generated_id": by_generated_id,
}

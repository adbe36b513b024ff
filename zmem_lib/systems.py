"""The systems that are compared: each a function from questions to answers, with the same reader and token budget.

`zmem` chooses z by query likelihood and generates evidence from it; `zmem_oracle` is given the gold document's z, and
`zmem_shuffled` another document's; `bm25` and `dense` retrieve passages; `gold_passage` is given the right one,
`closed_book` none. Every system chooses among all documents, seen and new, and hands the reader at most `top_k`
evidence items.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from zmem_lib import retrieve
from zmem_lib.keep import Keep
from zmem_lib.memory_lm import MemoryLM, generate_all, load_memory_lm
from zmem_lib.params import Params
from zmem_lib.reader import read
from zmem_lib.schema import check
from zmem_lib.select import Ranking, rank, score_questions
from zmem_lib.text import passages
from zmem_lib.tuples import parts_of
from zmem_lib.ztable import load_z, shuffle_index

DEPTH = 20  # documents in a ranking
NO_RANKING: Ranking = ([], [])


@dataclass(frozen=True)
class Bench:
    """What systems work with; row i of z (N,K,D) belongs to the i-th of docs."""

    params: Params
    memory_lm: MemoryLM
    docs: pd.DataFrame
    z: Tensor
    bm25: Any
    dense: Any
    encoder: Any
    keep: Keep | None = None  # where finished pieces of the chapter lie


def load_bench(folder: Path, params: Params, docs: pd.DataFrame, keep: Keep | None = None) -> Bench:
    """Everything that chapters 03 to 05 left in a run's folder."""
    seen_ids, z_seen = load_z(folder / "z_seen.safetensors")
    new_ids, z_new = load_z(folder / "z_new.safetensors")
    memory_lm = load_memory_lm(folder / "lm", params)
    return Bench(
        params=params,
        memory_lm=memory_lm,
        docs=docs.set_index("doc_id").loc[seen_ids + new_ids].reset_index(),
        z=torch.cat([z_seen, z_new]),  # (N,K,D)
        bm25=retrieve.load_bm25(folder / "bm25"),
        dense=retrieve.load_dense(folder / "dense.faiss"),
        encoder=retrieve.load_encoder(params.dense_model, str(memory_lm.device)),
        keep=keep,
    )


def zmem(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """z chosen by log p(question | z), evidence generated from it."""
    began = time.perf_counter()
    asked = list(questions.question)
    scores = score_questions(bench.memory_lm, bench.z, asked, batch=bench.params.batch_scan, keep=bench.keep)  # (Q,N)
    ranking = rank(scores, list(bench.docs.doc_id), DEPTH)
    scanned = [len(bench.docs) * len(bench.memory_lm.prompts.question(question).ids) for question in asked]
    items, tokens = recall(questions, bench, [ids[: bench.params.top_k] for ids in ranking[0]])
    spent = [(tokens[i][0] + scanned[i], tokens[i][1]) for i in range(len(asked))]
    return answer(questions, bench, items, ranking=ranking, spent=spent, began=began)


def zmem_oracle(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Evidence generated from the gold document's z: what the memory holds, were z always chosen right."""
    began = time.perf_counter()
    items, spent = recall(questions, bench, [ids[:1] for ids in questions.gold_doc_ids])
    return answer(questions, bench, items, spent=spent, began=began)


def zmem_shuffled(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Evidence generated from another document's z: what the model writes without the memory."""
    began = time.perf_counter()
    doc_ids = list(bench.docs.doc_id)
    other = dict(zip(doc_ids, shuffle_index(len(doc_ids), bench.params.seed).tolist(), strict=True))
    items, spent = recall(questions, bench, [[doc_ids[other[ids[0]]]] for ids in questions.gold_doc_ids])
    return answer(questions, bench, items, spent=spent, began=began)


def bm25(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25."""
    began = time.perf_counter()
    ranking = retrieve.rank_bm25(bench.bm25, list(questions.question), DEPTH)
    items = chosen_passages(bench, [ids[: bench.params.top_k] for ids in ranking[0]])
    return answer(questions, bench, items, ranking=ranking, began=began)


def dense(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by the inner product of sentence embeddings."""
    began = time.perf_counter()
    ranking = retrieve.rank_dense(bench.dense, bench.encoder, list(questions.question), DEPTH)
    items = chosen_passages(bench, [ids[: bench.params.top_k] for ids in ranking[0]])
    return answer(questions, bench, items, ranking=ranking, began=began)


def gold_passage(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """The gold document's text: what the reader does with perfect retrieval."""
    began = time.perf_counter()
    return answer(questions, bench, chosen_passages(bench, [ids[:1] for ids in questions.gold_doc_ids]), began=began)


def closed_book(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """No evidence: what the reader knows by itself."""
    return answer(questions, bench, [[] for _ in range(len(questions))], began=time.perf_counter())


def recall(
    questions: pd.DataFrame, bench: Bench, chosen: list[list[str]]
) -> tuple[list[list[str]], list[tuple[int, int]]]:
    """Evidence items generated from the z of each chosen document, and (input, output) tokens, by question."""
    row_of = {doc_id: i for i, doc_id in enumerate(bench.docs.doc_id)}
    pairs = [(q, row_of[doc_id]) for q, ids in enumerate(chosen) for doc_id in ids]
    asked = list(questions.question)
    z = bench.z[[row for _, row in pairs]]  # (B,K,D)
    written = generate_evidence(
        bench.memory_lm,
        z,
        [asked[q] for q, _ in pairs],
        evidence_tokens=bench.params.evidence_tokens,
        batch=bench.params.batch_answers,
    )
    items: list[list[str]] = [[] for _ in asked]
    spent = [(0, 0) for _ in asked]
    for (q, _), text in zip(pairs, written, strict=True):
        items[q].append(text)
        prompts = bench.memory_lm.prompts
        read_in, written_out = spent[q]
        read_in += z.shape[1] + len(prompts.asked(asked[q]))
        spent[q] = (read_in, written_out + len(prompts.encode(text)))
    return items, spent


def generate_evidence(
    memory_lm: MemoryLM, z: Tensor, questions: list[str], *, evidence_tokens: int, batch: int
) -> list[str]:
    """The evidence that the model writes from z (B,K,D) for each question."""
    prompts = [memory_lm.prompts.asked(question) for question in questions]
    output = generate_all(memory_lm, z, prompts, max_tokens=evidence_tokens, batch=batch)
    return [memory_lm.prompts.decode(ids) for ids in output]


def chosen_passages(bench: Bench, chosen: list[list[str]]) -> list[list[str]]:
    """The texts of the chosen documents, by question."""
    text_of = dict(zip(bench.docs.doc_id, passages(bench.docs), strict=True))
    return [[text_of[doc_id] for doc_id in ids] for ids in chosen]


def answer(
    questions: pd.DataFrame,
    bench: Bench,
    items: list[list[str]],
    *,
    ranking: Ranking = NO_RANKING,
    spent: list[tuple[int, int]] | None = None,
    began: float,
) -> pd.DataFrame:
    """Read the items and return the answers table; `spent` are the tokens already read and written per question."""
    readings = read(bench.memory_lm, list(questions.question), items, bench.params)
    n = len(questions)
    spent = spent or [(0, 0)] * n
    ids, scores = ranking if ranking[0] else ([[]] * n, [[]] * n)
    table = pd.DataFrame(
        {
            "question_id": list(questions.question_id),
            "part": list(questions.part),
            "ranked_doc_ids": ids,
            "ranked_scores": scores,
            "evidence": readings.evidence,
            "evidence_tokens": readings.evidence_tokens,
            "answer": readings.answers,
            "seconds": (time.perf_counter() - began) / max(n, 1),
            "input_tokens": [a + b for a, (b, _) in zip(readings.input_tokens, spent, strict=True)],
            "output_tokens": [a + b for a, (_, b) in zip(readings.output_tokens, spent, strict=True)],
        }
    )
    return check(table, "answers")


def pick_questions(questions: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The fixed sample that every system answers: at most `scan_questions` per part and kind, with their `part`.

    Parts: seen and unasked-document (test), new (new-test), trained (as many training questions, to show the fit).
    """
    questions = questions.assign(part=parts_of(questions))
    questions = questions[questions.part != ""]
    shuffled = questions.sample(frac=1, random_state=params.seed)
    limit = params.scan_questions or len(shuffled)
    picked = shuffled.groupby(["part", "kind"], sort=False).head(limit)
    return picked.sort_values("question_id").reset_index(drop=True)

"""The controls of z-memory: what the same model answers when z is given, exchanged, drawn at random, or helped by text.

`zmem_oracle` is given the gold document's z: what the memory holds, were z always chosen right. `zmem_shuffled`,
`zmem_similar` and `zmem_random` get another z: what the model writes without the memory, the placebo of document
latents. `zmem_text` has the gold document's z and its passage.
"""

import time

import pandas as pd
import torch

from zmem_lib.memory.table import shuffle_index
from zmem_lib.opponents.index import search, vectors_of
from zmem_lib.systems.collection import Bench
from zmem_lib.systems.evidence import answer, chosen_passages, from_blocks, recall


def zmem_oracle(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Evidence generated from the gold document's z."""
    return from_documents(questions, bench, golds(questions))


def zmem_shuffled(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Evidence generated from another document's z, drawn at random."""
    doc_ids = list(bench.docs.doc_id)
    other = dict(zip(doc_ids, shuffle_index(len(doc_ids), bench.params.seed).tolist(), strict=True))
    return from_documents(questions, bench, [doc_ids[other[doc_id]] for doc_id in golds(questions)])


def zmem_similar(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Evidence generated from the z of the document whose passage resembles the gold one most (cosine, dense model)."""
    return from_documents(questions, bench, [ids[0] for ids in nearest(bench, golds(questions), 1)])


def nearest(bench: Bench, doc_ids: list[str], depth: int) -> list[list[str]]:
    """For each document the `depth` others whose passages resemble its own most (cosine, dense model), best first."""
    vectors, ids = vectors_of(bench.dense.flat), bench.dense.doc_ids  # (N,E)
    row_of = {doc_id: row for row, doc_id in enumerate(ids)}
    found, _ = search(bench.dense.flat, vectors[[row_of[doc_id] for doc_id in doc_ids]], depth + 1)  # (Q,depth+1)
    named = [[ids[row] for row in best] for best in found.tolist()]  # its own passage is one of them, as a rule
    return [[other for other in best if other != own][:depth] for best, own in zip(named, doc_ids, strict=True)]


def zmem_random(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Evidence generated from a block drawn at random, with the mean and the spread of all documents' blocks."""
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(bench.params.seed)
    noise = torch.randn(len(questions), *bench.z.shape[1:], generator=generator)  # (Q,K,W)
    z = bench.z.mean(0) + noise * bench.z.std(0)
    items, spent = from_blocks(questions, bench, [(q, 0) for q in range(len(questions))], z)
    return answer(questions, bench, items, spent=spent, began=began)


def zmem_text(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """The evidence that the gold document's z writes, and its passage beside it: two items."""
    began = time.perf_counter()
    chosen = [[doc_id] for doc_id in golds(questions)]
    written, spent = recall(questions, bench, chosen)
    items = [[*mine, *text] for mine, text in zip(written, chosen_passages(bench, chosen), strict=True)]
    return answer(questions, bench, items, spent=spent, began=began)


def from_documents(questions: pd.DataFrame, bench: Bench, doc_ids: list[str]) -> pd.DataFrame:
    """Answers from the z of one given document per question."""
    began = time.perf_counter()
    items, spent = recall(questions, bench, [[doc_id] for doc_id in doc_ids])
    return answer(questions, bench, items, spent=spent, began=began)


def golds(questions: pd.DataFrame) -> list[str]:
    """The first gold document of each question."""
    return [ids[0] for ids in questions.gold_doc_ids]

"""One question to a finished run: what z-memory, BM25 and dense retrieval bring, and what the reader makes of each."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from zmem_lib.opponents.retrieve import build_bm25
from zmem_lib.params import Params, changed
from zmem_lib.systems.added import current_dense, current_memory
from zmem_lib.systems.collection import Bench, load_bench
from zmem_lib.systems.evidence import chosen_passages, recall
from zmem_lib.systems.systems import bm25, dense, zmem
from zmem_lib.systems.upkeep import current_tree, finished_params
from zmem_lib.tables import read_table
from zmem_lib.text import passages

SYSTEMS = {"zmem": zmem, "bm25": bm25, "dense": dense}
SCORES = {"key": "cosine of key and question", "generated_id": "log p(id | question)"}  # else of likelihood
SHOWN_CHARACTERS = 300  # of a piece of evidence


def answer_lines(folder: Path, question: str, top_k: int | None = None) -> Iterator[str]:
    """Lines that tell, system by system, the chosen documents, their evidence and the reader's answer."""
    params = finished_params(folder)
    bench = current_bench(folder, changed(params, {"answer.top_k": top_k or params.answer.top_k}))
    asked = pd.DataFrame({"question_id": ["asked"], "question": [question], "gold_doc_ids": [[]], "part": ["seen"]})
    yield f"question: {question}"
    yield f"documents: {len(bench.docs)}, of which the reader gets {bench.params.answer.top_k}"
    for name, system in SYSTEMS.items():
        yield ""
        yield from system_lines(name, system(asked, bench).iloc[0], asked, bench)


def current_bench(folder: Path, params: Params) -> Bench:
    """What the run's chapters left, with the documents that it has now: those added since, without the deleted."""
    bench = load_bench(folder, params, read_table(folder / "docs.parquet", "docs"))
    docs, z, keys = current_memory(folder, params)
    if docs.equals(bench.docs) and torch.equal(z, bench.z):
        return bench
    return replace(
        bench,
        docs=docs,
        z=z,
        keys=keys,
        bm25=build_bm25(list(docs.doc_id), passages(docs), tokens=params.answer.bm25_tokens),
        dense=current_dense(bench.dense, bench.encoder, before=bench.docs, docs=docs),
        tree=current_tree(folder, (docs, z, keys)) if params.answer.select == "generated_id" else None,
    )


def system_lines(name: str, row: pd.Series, asked: pd.DataFrame, bench: Bench) -> Iterator[str]:
    """One system's part: each chosen document with score, title and evidence, then the answer."""
    chosen = list(row.ranked_doc_ids[: bench.params.answer.top_k])
    items = row.evidence.split("\n") if name == "zmem" else chosen_passages(bench, [chosen])[0]
    if len(items) != len(chosen):  # an item of several lines: the reader's text does not tell them apart
        items = recall(asked, bench, [chosen])[0][0]
    title_of = dict(zip(bench.docs.doc_id, bench.docs.title, strict=True))
    score = SCORES.get(bench.params.answer.select, "log p(question | z)") if name == "zmem" else "score"
    verb = "writes" if name == "zmem" else "brings"
    yield f"{name}: answer {row.answer!r}"
    for rank, (doc_id, value, item) in enumerate(zip(chosen, row.ranked_scores, items, strict=False), 1):
        yield f"  {rank}. {doc_id}  {title_of[doc_id]}  ({score} {value:.2f})"
        yield f"     {verb}: {shortened(item)}"


def shortened(text: str) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 2] + " …"

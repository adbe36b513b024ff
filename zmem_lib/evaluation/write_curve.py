"""What the new documents' z can do at every snapshot of its writing, from every start: the table write_curve.

Takes a run's snapshots and new-dev questions, which no other chapter uses. Of each snapshot: what its z writes (the
gold document's z given), what the reader makes of it, whether the document is found among all of the corpus, and how
much of the text greedy decoding recites.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from zmem_lib.cache import Cache, remembered
from zmem_lib.evaluation.metrics import answer_in_evidence, em
from zmem_lib.evaluation.stats import bootstrap_mean
from zmem_lib.files import BadInput
from zmem_lib.memory.choose import rank, score_questions
from zmem_lib.memory.lm import MemoryLM, greedy_scores
from zmem_lib.memory.table import load_z
from zmem_lib.meter import progress
from zmem_lib.params import Params
from zmem_lib.systems.collection import Bench, by_key_then_likelihood
from zmem_lib.systems.evidence import generate_evidence
from zmem_lib.systems.reader import read
from zmem_lib.tables import TABLES, check, read_table
from zmem_lib.text import passages

CURVE_METRICS = ("answer_in_evidence", "em", "recall@1", "recited")
Find = Callable[[Tensor, Tensor], list[str]]  # z and keys of the new documents -> the first document of each question


@dataclass(frozen=True)
class Asked:
    """What every snapshot is measured with."""

    questions: pd.DataFrame
    texts: dict[str, str]  # of the new documents
    find: Find


def write_curve(folder: Path, params: Params, memory_lm: MemoryLM, keep: Cache | None = None) -> pd.DataFrame:
    """The measures CURVE_METRICS of each snapshot with their intervals, the table write_curve.

    Of the new-dev questions at most `answer.questions`, drawn by the run's seed, are asked; `recited` is of all new
    documents. Beside them stand the recite loss and the seconds per document of write_log.
    """
    log = read_table(folder / "write_log.parquet", "write_log")
    questions = read_table(folder / "questions.parquet", "questions").query("split == 'new-dev'")
    if 0 < params.answer.questions < len(questions):
        questions = questions.sample(params.answer.questions, random_state=params.seed)
    snapshots = sorted((folder / "z_new_steps").glob("*.safetensors")) if len(questions) else []
    asked = what_is_asked(folder, questions, params, memory_lm) if snapshots else None
    rows = []
    for path in progress(snapshots, "scoring snapshots", len(snapshots)):
        start, step = path.stem.rsplit("_", 1)
        scores = remembered(keep, f"curve_{path.stem}.safetensors", partial(snapshot_scores, path, asked, params, memory_lm))
        logged = {"start": start, "step": int(step), **_logged(log, start, int(step))}
        for metric in CURVE_METRICS:
            estimate = bootstrap_mean(scores[metric].tolist(), params.evaluate.bootstrap_samples, params.seed)
            rows.append(logged | {"metric": metric, **vars(estimate)})
    return check(pd.DataFrame(rows, columns=list(TABLES["write_curve"])), "write_curve")


def what_is_asked(folder: Path, questions: pd.DataFrame, params: Params, memory_lm: MemoryLM) -> Asked:
    """The questions, the new documents' texts, and how a document is found among all: by key then likelihood.

    Without keys by likelihood; then the seen documents, whose z stays as it is, are scanned once for all snapshots.
    """
    docs = read_table(folder / "docs.parquet", "docs").set_index("doc_id")
    seen_ids, z_seen, seen_keys = load_z(folder / "z_seen.safetensors")
    new_ids, _, _ = load_z(folder / "z_new.safetensors")
    texts = dict(zip(new_ids, passages(docs.loc[new_ids]), strict=True))
    text, batch = list(questions["question"]), params.machine.scan_batch
    doc_ids = seen_ids + new_ids
    if params.memory.key_width:
        docs = docs.loc[doc_ids].reset_index()

        def by_key(z: Tensor, keys: Tensor) -> list[str]:
            z, keys = torch.cat([z_seen, z]), torch.cat([seen_keys, keys])  # (N,K,W), (N,E)
            bench = Bench(params, memory_lm, docs, z, keys, bm25=None, dense=None, encoder=None, folder=folder)
            return [ids[0] for ids in by_key_then_likelihood(text, bench)[0]]

        return Asked(questions, texts, by_key)
    seen = score_questions(memory_lm, z_seen, text, batch=batch)  # (Q,N)

    def by_scan(z: Tensor, keys: Tensor) -> list[str]:
        scores = torch.cat([seen, score_questions(memory_lm, z, text, batch=batch)], 1)  # (Q,N+M)
        return [ids[0] for ids in rank(scores, doc_ids, 1)[0]]

    return Asked(questions, texts, by_scan)


def snapshot_scores(path: Path, asked: Asked, params: Params, memory_lm: MemoryLM) -> dict[str, Tensor]:
    """Of one snapshot, per question: answer_in_evidence, em, recall@1 (Q,); per document: recited (M,)."""
    doc_ids, z, keys = load_z(path)
    row_of = {doc_id: row for row, doc_id in enumerate(doc_ids)}
    golds, text = list(asked.questions["gold_doc_ids"]), list(asked.questions["question"])
    index = [next(row_of[doc_id] for doc_id in gold if doc_id in row_of) for gold in golds]
    tokens, batch = params.memory.evidence_tokens, params.machine.answer_batch
    written = generate_evidence(memory_lm, z[index], text, evidence_tokens=tokens, batch=batch)
    run = path.parents[1]  # of RUN/z_new_steps/START_STEP.safetensors
    readings = read(memory_lm, text, [[item] for item in written], params, folder=run)
    pairs = {"answer_in_evidence": (answer_in_evidence, readings.evidence), "em": (em, readings.answers)}
    answers, rule = list(asked.questions["answers"]), params.corpus.normalisation
    scores = {
        name: [measure(said, right, rule) for said, right in zip(texts, answers, strict=True)]
        for name, (measure, texts) in pairs.items()
    }
    found = asked.find(z, keys)
    scores["recall@1"] = [float(doc_id in gold) for doc_id, gold in zip(found, golds, strict=True)]
    scores["recited"] = recited(memory_lm, z, [asked.texts[doc_id] for doc_id in doc_ids], params)
    return {name: torch.tensor(values).double() for name, values in scores.items()}


def recited(memory_lm: MemoryLM, z: Tensor, texts: list[str], params: Params) -> list[float]:
    """The share of each text that greedy decoding writes from its z (M,K,W)."""
    rows = [memory_lm.prompts.recite(text, params.memory.document_tokens) for text in texts]
    found = []
    for begin in range(0, len(rows), params.machine.write_batch):
        some = slice(begin, begin + params.machine.write_batch)
        found += greedy_scores(memory_lm, z[some], rows[some])[1].tolist()
    return found


def _logged(log: pd.DataFrame, start: str, step: int) -> dict[str, float]:
    """Recite loss and seconds per document of the last logged step up to `step`."""
    rows = log[(log["start"] == start) & (log["step"] <= step)].sort_values("step")
    if rows.empty:
        raise BadInput(f"write_log.parquet has no row of start {start!r} up to step {step}: run chapter 04 again")
    return {"seconds_per_document": rows["seconds_per_document"].iloc[-1], "recite_nll": rows["nll"].iloc[-1]}

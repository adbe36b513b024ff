"""What new documents' z can do at every snapshot of their writing, from every start and at other rates: write_curve.

Of each snapshot: what its z writes for new-dev questions, which no other chapter uses (the gold document's z given),
what the reader makes of it, whether the document is found among all of the run, and how much of it greedy decoding
recites. The snapshots are of the documents that these questions are about; all others are as the run answers from them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from zmem_lib.cache import remembered
from zmem_lib.evaluation.metrics import answer_in_evidence, em
from zmem_lib.evaluation.stats import bootstrap_mean
from zmem_lib.files import BadInput
from zmem_lib.memory.choose import rank, score_questions
from zmem_lib.memory.encoder import question_vectors
from zmem_lib.memory.likelihood import greedy_scores
from zmem_lib.memory.table import load_z
from zmem_lib.meter import progress
from zmem_lib.params import Params
from zmem_lib.systems.choosing import by_key_then_likelihood
from zmem_lib.systems.collection import Collection
from zmem_lib.systems.evidence import generate_evidence, read
from zmem_lib.tables import TABLES, check, no_rows, read_table

CURVE_METRICS = ("answer_in_evidence", "em", "recall@1", "recited")
Find = Callable[[Sequence[str], Tensor], list[str]]  # documents, z of theirs -> the first document of each question


def write_curve(collection: Collection) -> pd.DataFrame:
    """The measures CURVE_METRICS of each snapshot with their intervals, the table write_curve.

    `recited` is of documents, the others of at most `answer.questions` new-dev questions. Beside them stand the recite
    loss and the seconds per document of write_log.
    """
    folder, params = collection.folder, collection.params
    log = read_table(folder / "write_log.parquet", "write_log")
    questions = new_dev_questions(folder, params)
    snapshots = sorted((folder / "z_new_steps").glob("*.safetensors")) if len(questions) else []
    if not snapshots:
        return no_rows("write_curve")
    find, golds, rows = finder(collection, questions), questions["gold_doc_ids"].str[0], []
    for path in progress(snapshots, "scoring snapshots", len(snapshots)):
        start, step = path.stem.rsplit("_", 1)
        make = partial(snapshot_scores, path, questions, collection, find)
        scores = remembered(collection.cache, f"curve_{path.stem}.safetensors", make)
        logged = log[(log["start"] == start) & (log["step"] <= int(step))].sort_values("step")
        if logged.empty:
            raise BadInput(f"write_log.parquet has no row of {start!r} up to step {int(step)}: run chapter 04 again")
        place = {"start": start, "step": int(step), "recite_nll": logged["nll"].iloc[-1]}
        place["seconds_per_document"] = logged["seconds_per_document"].iloc[-1]
        for metric in CURVE_METRICS:
            clusters = None if metric == "recited" else golds  # that one is of documents
            values, samples = scores[metric].tolist(), params.evaluate.bootstrap_samples
            estimate = bootstrap_mean(values, samples, params.seed, clusters=clusters)
            rows.append(place | {"metric": metric, **vars(estimate)})
    return check(pd.DataFrame(rows, columns=list(TABLES["write_curve"])), "write_curve")


def new_dev_questions(folder: Path, params: Params) -> pd.DataFrame:
    """At most `answer.questions` dev questions about new documents."""
    questions = read_table(folder / "questions.parquet", "questions").query("split == 'new-dev'")
    few = 0 < params.answer.questions < len(questions)
    return questions.sample(params.answer.questions, random_state=params.seed) if few else questions


def finder(collection: Collection, questions: pd.DataFrame) -> Find:
    """How documents are found among all, some of them with another z: by key then likelihood, or by that alone.

    What does not change is made once for all snapshots: the questions' vectors, or the scan of the documents.
    """
    asked, by_key = list(questions["question"]), collection.params.memory.key_width > 0
    scan = partial(score_questions, collection.memory_lm, questions=asked, batch=collection.params.machine.scan_batch)
    known = question_vectors(collection.memory_lm, asked) if by_key else scan(collection.z)  # (Q,E), or (Q,N)

    def find(doc_ids: Sequence[str], z: Tensor) -> list[str]:
        rows = torch.tensor([collection.row_of[doc_id] for doc_id in doc_ids])  # (M,)
        if by_key:
            there = replace(collection, z=collection.z.index_copy(0, rows, z))  # (N,K,W)
            ranked, _ = by_key_then_likelihood(questions, there, known)
        else:
            ranked, _ = rank(known.index_copy(1, rows, scan(z)), list(collection.docs["doc_id"]), 1)  # of (Q,N)
        return [ids[0] for ids in ranked]

    return find


def snapshot_scores(path: Path, questions: pd.DataFrame, collection: Collection, find: Find) -> dict[str, Tensor]:
    """Of one snapshot, per question: answer_in_evidence, em, recall@1 (Q,); per document: recited (M,)."""
    memory_lm, params = collection.memory_lm, collection.params
    doc_ids, z, _ = load_z(path)
    row_of = {doc_id: row for row, doc_id in enumerate(doc_ids)}
    golds, asked, answers = (list(questions[name]) for name in ("gold_doc_ids", "question", "answers"))
    index = [next(row_of[doc_id] for doc_id in gold if doc_id in row_of) for gold in golds]
    written = generate_evidence(memory_lm, z[index], asked, params)  # from (Q,K,W)
    readings = read(memory_lm, asked, [[item] for item in written], params, folder=collection.folder)
    rule, shown = params.corpus.normalisation, [items[0] for items in readings["evidence"]]
    text_of, batch, recited = collection.text_of, params.machine.write_batch, []
    rows = [memory_lm.prompts.recite(text_of[doc_id], params.memory.document_tokens) for doc_id in doc_ids]
    for begin in range(0, len(rows), batch):
        some = slice(begin, begin + batch)
        recited += greedy_scores(memory_lm, z[some], rows[some])[1].tolist()
    scores = {
        "answer_in_evidence": [answer_in_evidence(*pair, rule) for pair in zip(shown, answers, strict=True)],
        "em": [em(*pair, rule) for pair in zip(readings["answer"], answers, strict=True)],
        "recall@1": [float(doc_id in gold) for doc_id, gold in zip(find(doc_ids, z), golds, strict=True)],
        "recited": recited,
    }
    return {name: torch.tensor(values).double() for name, values in scores.items()}

"""One question to a finished run: what z-memory, BM25 and dense retrieval bring, and what the reader makes of each."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from zmem_lib.artifacts import is_finished, read_table
from zmem_lib.errors import BadInput
from zmem_lib.params import Params, read_params
from zmem_lib.systems import Bench, bm25, chosen_passages, dense, load_bench, recall, zmem

SYSTEMS = {"zmem": zmem, "bm25": bm25, "dense": dense}
SHOWN_CHARACTERS = 300  # of a piece of evidence


def answer_lines(folder: Path, question: str, top_k: int | None = None) -> Iterator[str]:
    """Lines that tell, system by system, the chosen documents, their evidence and the reader's answer."""
    params = finished_params(folder)
    docs = read_table(folder / "docs.parquet", "docs")
    bench = load_bench(folder, replace(params, top_k=top_k or params.top_k), docs)
    asked = pd.DataFrame({"question_id": ["asked"], "question": [question], "gold_doc_ids": [[]], "part": ["seen"]})
    yield f"question: {question}"
    yield f"documents: {len(bench.docs)}, of which the reader gets {bench.params.top_k}"
    for name, system in SYSTEMS.items():
        yield ""
        yield from system_lines(name, system(asked, bench).iloc[0], asked, bench)


def system_lines(name: str, row: pd.Series, asked: pd.DataFrame, bench: Bench) -> Iterator[str]:
    """One system's part: each chosen document with score, title and evidence, then the answer."""
    chosen = list(row.ranked_doc_ids[: bench.params.top_k])
    items = row.evidence.split("\n") if name == "zmem" else chosen_passages(bench, [chosen])[0]
    if len(items) != len(chosen):  # an item of several lines: the reader's text does not tell them apart
        items = recall(asked, bench, [chosen])[0][0]
    title_of = dict(zip(bench.docs.doc_id, bench.docs.title, strict=True))
    score = "log p(question | z)" if name == "zmem" else "score"
    verb = "writes" if name == "zmem" else "brings"
    yield f"{name}: answer {row.answer!r}"
    for rank, (doc_id, value, item) in enumerate(zip(chosen, row.ranked_scores, items, strict=False), 1):
        yield f"  {rank}. {doc_id}  {title_of[doc_id]}  ({score} {value:.2f})"
        yield f"     {verb}: {shortened(item)}"


def shortened(text: str) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 2] + " …"


def finished_params(folder: Path) -> Params:
    """The parameters of a run whose chapters 01 to 05 are finished; raises BadInput that says what is missing."""
    if not (folder / "params.yaml").is_file():
        there = sorted(path.parent.name for path in folder.parent.glob("*/params.yaml"))
        known = f"there are {', '.join(there)}" if there else "there is none yet"
        raise BadInput(f"{folder} is not the folder of a run ({known}): execute it first (zmem run PARAMS.yaml)")
    params = read_params(folder / "params.yaml")
    for number in range(1, 6):
        if not is_finished(folder, number, params):
            raise BadInput(f"chapter {number:02d} of {folder} is not finished: resume the run first (zmem run)")
    return params

"""What a system's answers cost: they are made, timed and kept here, one system after the other.

And the rankings of the same questions that tell the ways of choosing apart: z-memory's own, and the text twin's, with
the same language model and shortlist, and text in the place of z.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.cache import remembered
from zmem_lib.files import read_json
from zmem_lib.memory.table import load_z
from zmem_lib.meter import memory_explained, metered
from zmem_lib.params import Params
from zmem_lib.systems.choosing import SELECTORS, Choose, by_text
from zmem_lib.systems.evidence import answers_of
from zmem_lib.systems.holdings import Holdings
from zmem_lib.systems.systems import KEYS, SYSTEMS, TEXTS, Z, possible_systems
from zmem_lib.tables import check, read_table, write_table
from zmem_lib.text import passages

TWIN = "text-twin"
TIMED = 20  # questions that a ranking is timed on which an answer has already


def answered(
    name: str, questions: pd.DataFrame, held: Holdings, *, suffix: str = ""
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A system's answers, kept in the run's folder, and their row of the table costs but for what building took."""
    path = held.folder / f"answers_{name}{suffix}.parquet"

    def make() -> dict[str, float]:
        with metered() as cost, memory_explained("machine.answer_batch", "machine.scan_batch"):
            table = answers_of(name, questions, held)
        write_table(table, path, "answers")
        return asdict(cost)

    spent = remembered(held.cache, f"cost_{name}{suffix}.json", make)
    answers, n = read_table(path, "answers"), max(len(questions), 1)
    return answers, {
        "system": name,
        "seconds_per_question": spent["seconds"] / n,
        "bytes_stored": bytes_stored(name, held),
        "peak_memory_bytes": spent["peak_memory_bytes"],
        "money_per_question": float(answers["money"].sum()) / n,
        "n": len(answers),
    }


def build_seconds(name: str, built: Mapping[str, float], folder: Path, params: Params) -> float:
    """Seconds that it took to make what a system stores: `built` says them of everything that chapter 05 has made.

    To it come those of the memory (chapters 03 and 04), or of a training that taught to order passages, alone.
    """
    made = dict(built) | {"weight of select": built.get(f"weight of {params.answer.select}", 0.0)}
    if params.has_lm:
        training, writing = (read_json(folder / f"manifest_{number:02d}.json")["seconds"] for number in (3, 4))
        made |= {"memory": training + writing, "learning from texts": training if params.train.text_weight else 0.0}
    return sum(made.get(what, 0.0) for what in SYSTEMS[name].rests_on)


def bytes_stored(name: str, held: Holdings) -> int:
    """Bytes that a system keeps per corpus: z and keys, texts, an index; models, which do not grow with it, apart."""

    def bytes_of(what: str) -> int:
        if what == TEXTS:
            return sum(len(passage.encode()) for passage in passages(held.docs))
        if what == KEYS:
            return sum(load_z(held.folder / file)[2].nbytes for file in Z)  # of (N,E)
        path = held.folder / what
        return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())

    return sum(map(bytes_of, SYSTEMS[name].stores))


def selectors_of(params: Params) -> dict[str, Choose]:
    """The ways of choosing that a run's parameters allow, by name; the text twin's where its model reads texts."""
    own = {name: selector.choose for name, selector in SELECTORS.items() if selector.possible(params)}
    return own | ({TWIN: by_text} if TWIN in possible_systems(params) else {})


def rank_all(questions: pd.DataFrame, held: Holdings, answers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every selector's ranking of the questions, and its seconds per question: the table rankings.

    The full scan and the text twin's ranking are taken from answers that have them, and timed on TIMED questions.
    """
    scanned = held.params.answer.select == "query_likelihood"
    made, tables = {TWIN: TWIN} | ({"query_likelihood": "zmem"} if scanned else {}), []
    for name, choose in selectors_of(held.params).items():
        table = questions[["question_id", "part"]].reset_index(drop=True)
        some, there = questions, held  # pieces of it that lie in the chapter's folder are used
        if (found := answers.get(made.get(name, ""))) is not None:
            some, there = questions.iloc[:: -(-len(questions) // TIMED) or 1], replace(held, cache=None)
            table = table.merge(found[["question_id", "ranked_doc_ids", "ranked_scores"]], on="question_id")
        began = time.perf_counter()
        ranking = choose(some, there)
        seconds = (time.perf_counter() - began) / max(len(some), 1)
        if found is None:
            table["ranked_doc_ids"], table["ranked_scores"] = ranking
        tables.append(table.assign(selector=name, seconds=seconds))
    return check(pd.concat(tables), "rankings")

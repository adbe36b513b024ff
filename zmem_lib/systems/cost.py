"""What a system's answers cost: they are made, timed and kept here, one system after the other.

And the rankings of the same questions that tell the ways of choosing apart: z-memory's own, and the text twin's, with
the same language model and shortlist, and text in the place of z.
"""

import gzip
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.cache import remembered
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
LAPS = ("choose", "evidence", "read")
LEARNED = {"memory": "lm", "learning from texts": "lm", "dense tuned": "dense_tuned"}  # folders of weights
AGAINST = "hybrid"  # the text system by whose questions building a memory is to be repaid


def answered(
    name: str, questions: pd.DataFrame, held: Holdings, *, suffix: str = ""
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A system's answers, kept in the run's folder, and their row of the table costs but for what building took.

    One question is answered before the clock starts: what a system loads, or does once, counts as the time of none.
    """
    path = held.folder / f"answers_{name}{suffix}.parquet"

    def make() -> dict[str, Any]:
        laps: list[float] = []
        with memory_explained("machine.answer_batch", "machine.scan_batch"):
            answers_of(name, questions.iloc[:1], replace(held, cache=None))
            with metered() as cost:
                table = answers_of(name, questions, held, laps=laps)
        write_table(table, path, "answers")
        return {"laps": laps, "peak_memory_bytes": cost.peak_memory_bytes}

    spent = remembered(held.cache, f"cost_{name}{suffix}.json", make)
    answers, n = read_table(path, "answers"), max(len(questions), 1)
    return answers, {
        "system": name,
        **{f"{what}_seconds": lap / n for what, lap in zip(LAPS, spent["laps"], strict=True)},
        "seconds_per_question": sum(spent["laps"]) / n,
        **bytes_of(name, held),
        "peak_memory_bytes": spent["peak_memory_bytes"],
        "money_per_question": float(answers["money"].sum()) / n,
        "n": len(answers),
    }


def build_seconds(name: str, built: Mapping[str, float], folder: Path, params: Params) -> dict[str, float]:
    """What it took to make what a system stores, and of that training and writing, as three columns of costs.

    `built` says the seconds of everything that chapter 05 has made. Chapter 03 counts from its lessons' first step to
    the last, its own questions included, and chapter 04 with the start that the run keeps: nothing that is only shown.
    """
    made = dict(built) | {"weight of select": built.get(f"weight of {params.answer.select}", 0.0)}
    training = writing = 0.0
    if params.has_lm:
        training = float(read_table(folder / "train_log.parquet", "train_log")["seconds"].max())
        log, docs = (read_table(folder / f"{name}.parquet", name) for name in ("write_log", "docs"))
        each = log.loc[log["start"] == params.write.start, "seconds_per_document"].max()
        writing = float(each * (docs["part"] == "new").sum()) if len(log) else 0.0
        made |= {"memory": training + writing, "learning from texts": training if params.train.text_weight else 0.0}
    rests_on = SYSTEMS[name].rests_on
    learned = "memory" in rests_on or ("learning from texts" in rests_on and params.train.text_weight > 0)
    return {
        "train_seconds": training if learned else 0.0,
        "write_seconds": writing if "memory" in rests_on else 0.0,
        "build_seconds": sum(made.get(what, 0.0) for what in rests_on),
    }


def break_even(costs: pd.DataFrame, name: str, against: str) -> float:
    """After how many questions a system's building is repaid by cheaper questions than another's; infinite for never.

    NaN where the table costs lacks one of the two.
    """
    rows: dict[Any, Any] = {row.system: row for row in costs.itertuples()}
    if not {name, against} <= rows.keys():
        return math.nan
    dearer = rows[name].build_seconds - rows[against].build_seconds
    spared = rows[against].seconds_per_question - rows[name].seconds_per_question
    if dearer <= 0:
        return 0.0
    return dearer / spared if spared > 0 else math.inf


def bytes_of(name: str, held: Holdings) -> dict[str, int]:
    """What a system stores, what weights learned for it, and the corpus as text and packed: columns of costs."""
    text, packed = held.once("text bytes", lambda: text_bytes(held))
    rests_on = set(SYSTEMS[name].rests_on) - ({"learning from texts"} if not held.params.train.text_weight else set())
    folders = {held.folder / LEARNED[what] for what in rests_on & LEARNED.keys()}
    return {
        "bytes_stored": bytes_stored(name, held),
        "bytes_learned": sum(file.stat().st_size for folder in folders for file in folder.glob("*.safetensors")),
        "bytes_text": text,
        "bytes_gzip": packed,
    }


def text_bytes(held: Holdings) -> tuple[int, int]:
    """Bytes of all passages in one file, and of that file by gzip."""
    text = "\n".join(passages(held.docs)).encode()
    return len(text), len(gzip.compress(text))


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
        choose(questions.iloc[:1], replace(held, cache=None))  # what it loads counts as the time of none
        began = time.perf_counter()
        ranking = choose(some, there)
        seconds = (time.perf_counter() - began) / max(len(some), 1)
        if found is None:
            table["ranked_doc_ids"], table["ranked_scores"] = ranking
        tables.append(table.assign(selector=name, seconds=seconds))
    return check(pd.concat(tables), "rankings")

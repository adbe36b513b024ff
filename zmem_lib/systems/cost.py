"""What a system's answers cost: they are made, timed and kept here, one system after the other.

Seconds and memory are measured by meter.py the same way for every system; bytes are those of what a system stores.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.cache import remembered
from zmem_lib.files import read_json
from zmem_lib.memory.table import load_z
from zmem_lib.meter import memory_explained, metered
from zmem_lib.params import Params
from zmem_lib.systems.evidence import answers_of
from zmem_lib.systems.holdings import Holdings
from zmem_lib.systems.systems import KEYS, SYSTEMS, TEXTS, Z
from zmem_lib.tables import read_table, write_table
from zmem_lib.text import passages


def answered(
    name: str, questions: pd.DataFrame, held: Holdings, *, suffix: str = ""
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A system's answers, kept in the run's folder, and their row of the table costs but for what building took.

    Those of a chapter that was killed stay.
    """
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

    To it come those of the memory (chapters 03 and 04) and, where a model puts passages in order as it has learned to
    (`train.text_weight`), of its training.
    """
    made = dict(built)
    if params.has_lm:
        training, writing = (read_json(folder / f"manifest_{number:02d}.json")["seconds"] for number in (3, 4))
        made |= {"memory": training + writing, "learning from texts": training if params.train.text_weight else 0.0}
    return sum(made.get(what, 0.0) for what in SYSTEMS[name].rests_on)


def bytes_stored(name: str, held: Holdings) -> int:
    """Bytes that a system keeps per corpus: z and keys, texts, an index; models, which do not grow with it, apart."""
    size = 0
    for what in SYSTEMS[name].stores:
        if what == TEXTS:
            size += sum(len(passage.encode()) for passage in passages(held.docs))
        elif what == KEYS:
            size += sum(load_z(held.folder / file)[2].nbytes for file in Z)  # of (N,E)
        else:
            path = held.folder / what
            files = path.rglob("*") if path.is_dir() else [path]
            size += sum(file.stat().st_size for file in files if file.is_file())
    return size

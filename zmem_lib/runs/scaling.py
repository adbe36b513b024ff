"""How long a training step takes with tables of different length: a benchmark of the claim that N does not matter.

Takes the parameters of a run, returns seconds per step for each number of documents, with the table in memory and on
disk. The documents are those of the run's corpus, over and over; each copy has a row of its own. The steps of all
settings are made in turn, so that whatever else the machine does meets them alike.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from zmem_lib.combinations import refuse_memoryless
from zmem_lib.data.corpus import load_corpus
from zmem_lib.memory.lessons import make_lessons
from zmem_lib.memory.lm import make_memory_lm
from zmem_lib.memory.table import make_ztable
from zmem_lib.memory.train import Training, make_training, train_step
from zmem_lib.params import Params
from zmem_lib.text import passages
from zmem_lib.data.tuples import make_tuples

FIRST = 4  # steps that are not counted: they warm up
TUPLES = 2  # per document: making their table is not what is measured


@dataclass(frozen=True)
class Setting:
    """What one table is trained with, and what its steps took."""

    training: Training
    seconds: list[float]


def step_times(params: Params, sizes: Sequence[int], *, steps: int, folder: Path) -> pd.DataFrame:
    """Median seconds of processor time per training step: columns documents, table, step_s, ratio (to the first row).

    Every size is measured in memory, the largest also memory-mapped in `folder`. On a GPU the time is the clock's.
    """
    docs, tuples = own_lessons(params)
    wanted = [(n, "memory") for n in sizes] + [(max(sizes), "disk")]
    settings = [
        make_setting(params, docs, tuples, n, folder / str(n) if kind == "disk" else None) for n, kind in wanted
    ]
    clock = time.process_time if settings[0].training.memory_lm.device.type == "cpu" else gpu_clock
    for step in range(FIRST + steps):
        for one in settings:
            began = clock()
            train_step(one.training, step)
            one.seconds.append(clock() - began)
    table = pd.DataFrame(wanted, columns=["documents", "table"])
    table["step_s"] = [pd.Series(one.seconds[FIRST:]).median() for one in settings]
    return table.assign(ratio=table.step_s / table.step_s.iloc[0])


def gpu_clock() -> float:
    """Seconds, when all that the GPU was given to do is done."""
    torch.cuda.synchronize()
    return time.perf_counter()


def own_lessons(params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The seen documents of the run's corpus, and a few training tuples of each."""
    corpus = load_corpus(params)
    docs = corpus.docs[corpus.docs.part == "seen"].reset_index(drop=True)
    tuples = make_tuples(corpus.docs, corpus.questions, params.corpus.evidence_window)
    tuples = tuples[(tuples.split == "train") & tuples.doc_id.isin(docs.doc_id)]
    return docs, tuples.groupby("doc_id").head(TUPLES)


def make_setting(params: Params, docs: pd.DataFrame, tuples: pd.DataFrame, n: int, folder: Path | None) -> Setting:
    """A model and a random table of n rows, whose documents are those given, over and over."""
    memory_lm, copies = make_memory_lm(params, passages(docs)), range(-(-n // len(docs)))
    many = pd.concat([docs.assign(doc_id=docs.doc_id + f"/{i}") for i in copies], ignore_index=True).head(n)
    more = [tuples.assign(doc_id=tuples.doc_id + f"/{i}", question_id=tuples.question_id + f"/{i}") for i in copies]
    generator = torch.Generator().manual_seed(params.seed)
    z = torch.randn(n, params.memory.z_tokens, memory_lm.heads.width, generator=generator) * memory_lm.heads.scale  # (N,K,W)
    keys = torch.randn(n, params.memory.key_width, generator=generator)  # (N,E)
    lessons = make_lessons(memory_lm, many, pd.concat(more, ignore_index=True), params)
    z_table = make_ztable(z, keys, folder=folder)
    return Setting(make_training(memory_lm, z_table, lessons), [])


def scale_lines(params: Params, sizes: Sequence[int], *, steps: int) -> list[str]:
    """The table as lines, for `zmem scale`."""
    refuse_memoryless(params, "the time of a training step")
    with tempfile.TemporaryDirectory() as folder:
        table = step_times(params, sizes, steps=steps, folder=Path(folder))
    lines = [f"one training step of {params.run}, median of {steps}"]
    for row in table.itertuples():
        lines.append(f"  {row.documents:>9,} documents, table in {row.table:<6}  {row.step_s:.4f} s  {row.ratio:.2f} x")
    return lines

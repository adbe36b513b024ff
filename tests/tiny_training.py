"""Ten documents, their tuples, and a small memory that can be trained on them, for tests."""

import pandas as pd
import torch
from tiny_models import sentence, small_lm, small_params

from zmem_lib.memory.encoder import start_z
from zmem_lib.memory.lessons import make_lessons
from zmem_lib.memory.table import make_ztable

N = 10
DOCS = pd.DataFrame([{"doc_id": f"d{i}", "title": f"t{i}", "text": sentence(i, 12), "part": "seen"} for i in range(N)])
TUPLES = pd.DataFrame(
    [
        {"tuple_id": f"{i}-{j}", "question_id": f"{i}-{j}", "doc_id": f"d{i}", "question": sentence(100 + i * 3 + j, 5),
         "evidence": sentence(i, 3 + (i + j) % 4), "evidence_start": 0, "answers": [sentence(i, 1)], "split": split}
        for i in range(N) for j, split in enumerate(("train", "train", "dev"))
    ]
)  # fmt: skip


def tensors_of(z_table):
    """All that a table changes, by name."""
    return {name: part for name, part in vars(z_table).items() if isinstance(part, torch.Tensor)}


def setting(changes=None):
    """A small memory before its first step: model, table, lessons."""
    params = small_params(changes)
    memory_lm = small_lm(params)
    z_table = make_ztable(start_z(params.memory.start, list(DOCS.text), memory_lm, limit=40, seed=params.seed))
    return memory_lm, z_table, make_lessons(memory_lm, DOCS, TUPLES, params)

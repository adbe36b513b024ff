"""A small collection with a random model, a stand-in for the sentence encoder, and questions about its documents."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from tiny_models import random_blocks, sentence, small_lm

from zmem_lib.files import write_json
from zmem_lib.memory.table import unit
from zmem_lib.opponents.bm25 import build_bm25
from zmem_lib.opponents.dense import DenseIndex
from zmem_lib.opponents.index import build_flat
from zmem_lib.params import Params
from zmem_lib.systems.choosing import FUSIONS, WEIGHTS
from zmem_lib.systems.collection import Collection
from zmem_lib.text import passages, words


class WordEncoder:
    """Stands in for the sentence encoder: bags of hashed words. It notes what it was given."""

    prompts: ClassVar = {"query": "", "document": ""}
    similarity_fn_name = "cosine"
    max_seq_length = None  # it reads any length

    def __init__(self):
        self.given: list[str] = []

    def encode(self, texts, **_):
        self.given += texts
        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in words(text):
                vectors[row, sum(word.encode()) % 64] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-6)


def small_docs(n: int) -> pd.DataFrame:
    """Documents d0, d1, ... of random words, of different length."""
    rows = [{"doc_id": f"d{i}", "title": f"t{i}", "text": sentence(i, 6 + 2 * i), "part": "seen"} for i in range(n)]
    return pd.DataFrame(rows)


def small_questions(n: int) -> pd.DataFrame:
    """A question about each of n small documents."""
    rows = [{"question_id": f"q{i}", "question": sentence(i, 4), "gold_doc_ids": [f"d{i}"]} for i in range(n)]
    return pd.DataFrame(rows).assign(part="seen", kind="")


def small_collection(
    params: Params, docs: pd.DataFrame, folder: Path, *, vectors: np.ndarray | None = None
) -> Collection:
    """Random z and keys for the documents, BM25 and dense indexes over them; every fusion weighs both sides alike."""
    doc_ids, texts, encoder = list(docs["doc_id"]), passages(docs), WordEncoder()
    write_json({name: {"weight": 0.5} for name in FUSIONS}, folder / WEIGHTS)
    generator = torch.Generator().manual_seed(1)
    keys = torch.randn(len(docs), params.memory.key_width, generator=generator)
    loaded = {
        "lm": small_lm(params),
        "bm25": build_bm25(doc_ids, texts),
        "dense": DenseIndex(doc_ids, build_flat(encoder.encode(texts) if vectors is None else vectors)),
        "encoder dense": encoder,
    }
    return Collection(folder, params, docs, random_blocks(len(docs), params), unit(keys), loaded=loaded)

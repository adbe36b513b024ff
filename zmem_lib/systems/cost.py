"""What a system's answers cost: they are made, timed and kept here, one system after the other.

Seconds and memory are measured by meter.py the same way for every system; bytes are those of what a system stores.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.files import read_json, write_json
from zmem_lib.memory.table import load_z
from zmem_lib.meter import Cost, memory_explained, metered
from zmem_lib.params import Params
from zmem_lib.systems.collection import Bench
from zmem_lib.tables import SYSTEMS, read_table, write_table
from zmem_lib.text import passages

System = Callable[[pd.DataFrame, Bench], pd.DataFrame]
Z_FILES = ("z_seen.safetensors", "z_new.safetensors")  # blocks and keys
BOTH = ("bm25", "dense.faiss")
INDEXES = {
    "bm25": BOTH[:1], "bm25-asked": ("bm25_asked",), "dense": BOTH[1:], "dense-tuned": ("dense_tuned.faiss",),
    "hybrid-rrf": BOTH, "hybrid": BOTH, "hybrid+rerank": BOTH, "lm-rerank": BOTH, "long-context": BOTH,
    "zmem+bm25": BOTH[:1],
}  # fmt: skip
WITH_TEXTS = {*INDEXES, "zmem+text", "text-twin", "zmem-text", "gold-passage"} - {"zmem+bm25"}
ON_HYBRID = ("hybrid+rerank", "lm-rerank", "long-context")


def answered(
    name: str, system: System, questions: pd.DataFrame, bench: Bench, *, folder: Path
) -> tuple[pd.DataFrame, Cost]:
    """One system's answers, written to the run's folder, and their cost; those of a chapter that was killed stay."""
    path, note = folder / f"answers_{name}.parquet", bench.keep.folder / f"answers_{name}.json"
    if note.is_file() and path.is_file() and (kept := read_json(note)).pop("made_with") == bench.keep.made_with:
        return read_table(path, "answers"), Cost(**kept)
    with metered() as cost, memory_explained("machine.answer_batch", "machine.scan_batch"):
        answers = system(questions, bench)
    write_table(answers, path, "answers")
    write_json(asdict(cost) | {"made_with": bench.keep.made_with}, note)
    return answers, cost


def memory_seconds(folder: Path, params: Params) -> dict[str, float]:
    """Seconds that it took to make the memory (chapters 03 and 04), for each system that uses its z or its keys."""
    if not params.has_lm:
        return {}
    manifests = [folder / f"manifest_{number:02d}.json" for number in (3, 4)]
    seconds = sum(read_json(path)["seconds"] for path in manifests)
    return dict.fromkeys([name for name in SYSTEMS if name.startswith("zmem") or name == "text-twin"], seconds)


def built_on_others(made: Mapping[str, float], z_weight: float, folder: Path, params: Params) -> dict[str, float]:
    """Seconds that it took to make what systems store that stand on others: `made` has those of zmem, bm25 and hybrid.

    `z_weight` are those of choosing BM25's weight beside z-memory. A language model that puts passages in order as it
    has learned to (`train.text_weight`) had to be trained first, in chapter 03.
    """
    found = dict.fromkeys(ON_HYBRID, made["hybrid"])
    if not params.has_lm:
        return found
    found["zmem+bm25"] = made["zmem"] + made["bm25"] + z_weight
    if params.train.text_weight:
        found["lm-rerank"] += read_json(folder / "manifest_03.json")["seconds"]
    return found


def cost_row(system: str, cost: Cost, answers: pd.DataFrame, *, folder: Path, docs: pd.DataFrame) -> dict[str, Any]:
    """What a system's answers cost, for the costs table."""
    return {
        "system": system,
        "seconds_per_question": cost.seconds / max(len(answers), 1),
        "bytes_stored": bytes_stored(system, folder, docs),
        "peak_memory_bytes": cost.peak_memory_bytes,
        "money_per_question": float(answers["money"].sum()) / max(len(answers), 1),
        "n": len(answers),
    }


def bytes_stored(system: str, folder: Path, docs: pd.DataFrame) -> int:
    """Bytes that a system keeps per corpus: z and keys, texts, an index; models, which do not grow with it, apart."""
    size = 0
    if system.startswith("zmem"):
        size += sum(path_bytes(folder / name) for name in Z_FILES)
    if system == "text-twin":
        keys = [load_z(folder / name)[2] for name in Z_FILES]  # (N,E)
        size += sum(vectors.numel() * vectors.element_size() for vectors in keys)
    size += sum(path_bytes(folder / name) for name in INDEXES.get(system, ()))
    if system in WITH_TEXTS:
        size += sum(len(passage.encode()) for passage in passages(docs))
    return size


def path_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())

"""What a run leaves on disk: parquet tables, safetensors, one manifest per chapter, all written atomically.

A file is written under a temporary name and renamed, so a killed process leaves the old file or the new one,
never half of one.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm.auto import tqdm

from zmem_lib.errors import BadInput, writing
from zmem_lib.meter import peak_gpu_memory_bytes, peak_memory_bytes
from zmem_lib.params import Params, params_hash
from zmem_lib.schema import OF_MEMORY, check, no_rows

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY = re.compile(r"\..+\.(\d+|ipynb)")  # .NAME.PID of write_atomic, and a notebook under way
PACKAGES = ("torch", "transformers", "peft", "numpy", "pandas")
PROGRESS_ENV = "ZMEM_PROGRESS"  # unset: bars here; empty: no bars; else a terminal to draw them on


@dataclass(frozen=True)
class Step:
    """One chapter under way: the folder it writes to, its parameters and when it began."""

    folder: Path
    number: int
    params: Params
    began: float


def start_step(number: int, params: Params, runs: str | Path) -> Step:
    """Begin chapter `number` of the run in `runs/params.run`, which is made if it is not there."""
    folder = Path(runs) / params.run
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return Step(folder, number, params, time.time())


def finish_step(
    step: Step, inputs: Iterable[str], outputs: Iterable[str], *, least_seconds: float = 0.0
) -> dict[str, Any]:
    """Write and return the chapter's manifest; inputs and outputs are names inside the run's folder.

    A chapter that was stopped and resumed took longer than since it was begun again: `least_seconds` if that is more.
    """
    manifest = {
        "chapter": step.number,
        "params": asdict(step.params),
        "params_hash": params_hash(step.params, step.number),
        "inputs": {name: hash_path(step.folder / name) for name in inputs},
        "outputs": {name: hash_path(step.folder / name) for name in outputs},
        "packages": {name: version(name) for name in PACKAGES},
        "git_revision": git_revision(),
        "seconds": round(max(time.time() - step.began, least_seconds), 2),
        "peak_memory_bytes": peak_memory_bytes(),
        "peak_gpu_memory_bytes": peak_gpu_memory_bytes(),
    }
    write_json(manifest, step.folder / f"manifest_{step.number:02d}.json")
    return manifest


def is_finished(folder: Path, number: int, params: Params) -> bool:
    """Whether chapter `number` in `folder` was finished with these parameters and its files are as it left them."""
    path = folder / f"manifest_{number:02d}.json"
    if not path.is_file():
        return False
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files, made_with = manifest["inputs"] | manifest["outputs"], manifest["params_hash"]
    except (ValueError, KeyError, TypeError):  # damaged, or of another version: the chapter is executed again
        return False
    return made_with == params_hash(params, number) and all(
        (folder / name).exists() and hash_path(folder / name) == digest for name, digest in files.items()
    )


def write_table(frame: pd.DataFrame, path: Path, table: str) -> pd.DataFrame:
    """Check the frame against the schema of `table`, write it as parquet, return it."""
    frame = check(frame, table)
    write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))
    return frame


def write_absent_tables(folder: Path) -> list[str]:
    """Write, without a row, the tables of what a run without a language model does not have; returns their names.

    So whoever reads a run's tables finds the same ones in every run.
    """
    tables = {name: no_rows(name) for name in OF_MEMORY} | {
        f"asked_{part}": no_rows("asked") for part in ("seen", "new")
    }
    for name, frame in tables.items():
        write_atomic(folder / f"{name}.parquet", partial(frame.to_parquet, index=False))
    return list(tables)


def read_table(path: Path, table: str) -> pd.DataFrame:
    """Read a parquet table and check it against the schema of `table`."""
    return check(pd.read_parquet(must_exist(path)), table)


def write_tensors(tensors: Mapping[str, "Tensor"], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as safetensors, moved to the CPU; metadata is text by text."""
    from safetensors.torch import save_file  # imports torch, which four of the chapters do not need

    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, lambda temporary: save_file(on_cpu, temporary, metadata=dict(metadata or {})))


def read_tensors(path: Path) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    """Read a safetensors file: its tensors by name, and its metadata."""
    from safetensors import safe_open

    with safe_open(must_exist(path), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def write_json(value: Any, path: Path) -> None:
    """Write a value as indented JSON."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_atomic(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def read_json(path: Path) -> Any:
    """Read what write_json wrote."""
    return json.loads(must_exist(path).read_text(encoding="utf-8"))


def write_atomic(path: Path, write: Callable[[str], Any]) -> None:
    """Call `write` with a temporary name beside `path`, then rename it to `path`; BadInput if the disk refuses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(str(temporary))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name, then swap it in; BadInput if the disk refuses, and the old one stays."""
    new = folder.with_name(f"{folder.name}.new")
    with writing(folder):
        shutil.rmtree(new, ignore_errors=True)
        try:
            new.mkdir(parents=True)
            yield new
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)


def drop_temporaries(folder: Path) -> None:
    """Remove what killed processes left half written in a folder; none may be at work in it."""
    for path in folder.rglob(".*"):
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def must_exist(path: Path) -> Path:
    """Return the path; raises BadInput that names the missing file and the way to make it."""
    if not path.exists():
        raise BadInput(f"{path} does not exist: run the earlier chapters of this run first (zmem run PARAMS.yaml)")
    return path


def hash_path(path: Path) -> str:
    """A short content hash of a file, or of all files in a folder with their names."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        digest.update(file.relative_to(path.parent).as_posix().encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def git_revision() -> str:
    """The project's git revision, or an empty text outside a repository."""
    here = Path(__file__).parent
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def progress(items: Iterable, label: str, total: int | None = None) -> Iterable:
    """A progress bar over items: in the notebook, or on the driver's terminal, or none where papermill is batched."""
    target = os.environ.get(PROGRESS_ENV)
    if target is None:
        return tqdm(items, desc=label, total=total, leave=False)
    if not target:
        return items
    from tqdm import tqdm as terminal_bar

    return terminal_bar(items, desc=label, total=total, leave=False, file=Path(target).open("w"))

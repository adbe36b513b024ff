"""Files of a run: written atomically, read, hashed, locked; and the two exceptions that end in one sentence.

A file is written under a temporary name and renamed, so a killed process leaves the old file or the new one, never
half of one.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY = re.compile(r"\..+\.(\d+|ipynb)")  # .NAME.PID of write_atomic, and a notebook under way
LOCK = ".lock"  # it stays when the holder ends: removing it would let two later runs hold two files of one name
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # a file system that has none: go on, on trust
NO_SPACE = ("No space left on device", "Disk quota exceeded", "File too large")  # as the system says it, in any library
READ_ONLY = "Read-only file system"


class BadInput(ValueError):
    """What was wrong, where, and what to do, in one sentence."""


class ChapterFailed(RuntimeError):
    """A notebook stopped with an error: which one, at which cell, and what it said."""


def disk_refusal(said: str, path: str | Path) -> str:
    """The sentence for what a library said of a disk that is full or read-only; empty where it said something else."""
    if any(sign in said for sign in NO_SPACE):
        return f"no space left on the disk while writing {path}: free some and give the same command again to resume"
    if READ_ONLY in said:
        return f"{path} lies on a disk that is read-only: give another folder (--runs DIR, --out DIR)"
    return ""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Write `path` in this block: a disk that refuses becomes BadInput that names it, whichever library says so."""
    try:
        yield
    except Exception as error:
        if sentence := disk_refusal(str(error), path):
            raise BadInput(sentence) from error
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            said = (error.strerror or str(error)).lower()
            raise BadInput(f"{path} cannot be written ({said}): put that right, or give another folder") from error
        raise


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


def write_json(value: Any, path: Path) -> None:
    """Write a value as indented JSON."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_atomic(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def read_json(path: Path) -> Any:
    """Read what write_json wrote."""
    return json.loads(must_exist(path).read_text(encoding="utf-8"))


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


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, made if need be, while this lasts; raises BadInput that says who is in it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise BadInput(
                f"another run works in {folder} ({file.read().strip() or 'it has just begun'}): wait for its end, "
                "stop it, or give this one another name (--set run=NAME)"
            ) from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
        with writing(folder / LOCK):
            file.truncate(0)
            file.write(f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
            file.flush()
        yield

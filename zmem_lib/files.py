"""Files of a run: written atomically, read, hashed, locked; and the two exceptions that end in one sentence.

A file is written under a temporary name and renamed, so a killed process leaves the old one or the new, never half.
"""

import errno
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

from filelock import FileLock, Timeout, UnixFileLock

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY = re.compile(r"\..+\.(\d+|ipynb)")  # .NAME.PID of write_atomic, and a notebook under way
NEW, OLD = ".new", ".old"  # end the names of a folder that is being filled, and of the one that it replaces
LOCK = ".lock"  # it stays when the holder ends: removing it would let two later runs hold two files of one name
WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)  # a file system that has none: go on, on trust
TEXT_ENDINGS = (".txt", ".md")
NO_SPACE = ("No space left on device", "Disk quota exceeded", "File too large")  # as the system says it, in any library


class BadInput(ValueError):
    """What was wrong, where, and what to do, in one sentence."""


class ChapterFailed(RuntimeError):
    """A notebook stopped with an error: which one, at which cell, and what it said."""


def disk_refusal(said: str, path: str | Path) -> str:
    """The sentence for what a library said of a disk that is full or read-only; empty where it said something else."""
    if any(sign in said for sign in NO_SPACE):
        return f"no space left on the disk while writing {path}: free some and give the same command again to resume"
    if "Read-only file system" in said:
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
    """Fill a folder under a temporary name, then swap it in; BadInput if the disk refuses, and the old one stays.

    Whoever is killed in between leaves the old one aside, where must_exist finds it and `restore` brings it back from.
    """
    new, old = beside(folder, NEW), beside(folder, OLD)
    with writing(folder):
        restore(folder)
        shutil.rmtree(new, ignore_errors=True)
        try:
            new.mkdir(parents=True)
            yield new
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def beside(folder: Path, ending: str) -> Path:
    """The temporary name of a folder."""
    return folder.with_name(f".{folder.name}{ending}")


def restore(folder: Path) -> None:
    """Bring back a folder that a killed process had put aside and not replaced; none may be at work on it."""
    old = beside(folder, OLD)
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def drop_temporaries(folder: Path) -> None:
    """Remove what killed processes left half written in a folder; none may be at work in it."""
    for path in sorted(folder.rglob(".*")):
        if path.name.endswith(OLD):
            restore(path.with_name(path.name[1 : -len(OLD)]))
        elif path.name.endswith(NEW):
            shutil.rmtree(path, ignore_errors=True)
        elif TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def must_exist(path: Path) -> Path:
    """The path, or where it lies while the folder around it is replaced; raises BadInput where there is neither."""
    for place in (path, beside(path, OLD), beside(path.parent, OLD) / path.name):
        if place.exists():
            return place
    raise BadInput(f"{path} does not exist: run the earlier chapters of this run first (zmem run PARAMS.yaml)")


def text_files(folder: Path) -> list[Path]:
    """The .txt and .md files of a folder and of those inside it, in order; what is hidden is left out."""
    inside = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in TEXT_ENDINGS and path.is_file())
    return [path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


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
def held(folder: Path, *, waiting: bool = False) -> Iterator[None]:
    """Keep others out of a folder, made if need be; who is in it already is waited for, or said in BadInput."""
    lock = FileLock(folder / LOCK, timeout=-1 if waiting else 0)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            holder = " ".join((folder / LOCK).read_text(encoding="utf-8").split()) or "it has just begun"
            raise BadInput(
                f"another run works in {folder} ({holder}): wait for its end, stop it, or give this one another name "
                "(--set run=NAME)"
            ) from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
    try:
        if isinstance(lock, UnixFileLock):  # else the file system has no such locks, and the file itself is one
            note = f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
            with writing(folder / LOCK):
                (folder / LOCK).write_text(note, encoding="utf-8")
        yield
    finally:
        lock.release()

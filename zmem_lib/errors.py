"""The two exceptions whose sentence the command line prints without a traceback, and what a refusing disk means."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

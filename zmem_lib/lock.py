"""One run into one folder at a time: a lock on the hidden file `.lock` there, released by any death of its holder."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zmem_lib.errors import BadInput, writing

LOCK = ".lock"  # it stays when the holder ends: removing it would let two later runs hold two files of one name
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # a file system that has none: go on, on trust


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

"""What surrounds chapters at work: the environment that kernels inherit, and how a signal ends them."""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from unittest.mock import patch

from zmem_lib.meter import PROGRESS_ENV

SILENT = {"bitsandbytes": logging.ERROR, "papermill": logging.CRITICAL, "asyncio": logging.CRITICAL}
MOST_THREADS = 16


@contextmanager
def kernel_environment() -> Iterator[None]:
    """What kernels, and commands, inherit while this lasts: no other environment, nothing of the user's, bars or none."""
    for logger, level in SILENT.items():  # what papermill logs comes as an exception too
        logging.getLogger(logger).setLevel(level)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(min(cores, 2), min(cores // 2, MOST_THREADS))  # LOG.md says why
    with tempfile.TemporaryDirectory(prefix="zmem-") as ipython:
        wanted = {
            "JUPYTER_PREFER_ENV_PATH": "1",  # a python3 kernel in the home folder may be of another environment
            "IPYTHONDIR": ipython,  # start-up files in the home folder may print, or change how plots look
            "RAGAS_DO_NOT_TRACK": "true",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # those of transformers too
            "TOKENIZERS_PARALLELISM": "false",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "KINETO_LOG_LEVEL": "99",  # else torch's profiler says when it starts
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
            "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "10000"),  # on shared cores, do not spin for long
            PROGRESS_ENV: os.ttyname(sys.stderr.fileno()) if sys.stderr.isatty() else "",
        }
        with patch.dict(os.environ, wanted):
            yield


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the kernel and unwind this block, and nothing that fails on the way hide them.

    An exception raised by a signal is lost where it meets a callback; the kernel's death is not.
    """
    import psutil

    received: list[BaseException] = []

    def end(signum: int, frame: object) -> None:
        received.append(KeyboardInterrupt() if signum == signal.SIGINT else SystemExit(128 + signum))
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        raise received[0]

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception as error:
        raise received[0] if received else error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise received[0]

"""Seconds and peak memory of a piece of work, measured the same way for every system, and what to do without memory.

Memory is what torch had allocated at most on a GPU. On a CPU there is only the resident set of the whole process, which
says nothing of one piece of work.
"""

import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import tqdm.auto

from zmem_lib.files import BadInput

GPU_PEAKS = [0]  # of this process, before its one count was set back for a piece of work
PROGRESS_ENV = "ZMEM_PROGRESS"  # unset: bars here; empty: no bars; else a terminal to draw them on
NO_MEMORY = ("out of memory", "can't allocate memory", "ALLOC_FAILED")  # of the GPU, of the CPU, of cuBLAS


@dataclass
class Cost:
    """Filled when the metered block ends: wall seconds, and the most bytes on the GPU; 0 where none was worked with."""

    seconds: float = 0.0
    peak_memory_bytes: int = 0


@contextmanager
def metered() -> Iterator[Cost]:
    """Measure the block: `with metered() as cost: ...`, then read `cost`."""
    cost, torch = Cost(), torch_on_gpu()
    if torch:
        GPU_PEAKS.append(torch.cuda.max_memory_allocated())
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - began
        cost.peak_memory_bytes = torch.cuda.max_memory_allocated() if torch else 0


def peaks() -> dict[str, int]:
    """Bytes of this process's largest resident set so far, and torch's most on the GPU."""
    torch, unit = torch_on_gpu(), 1 if sys.platform == "darwin" else 1024
    return {
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "peak_gpu_memory_bytes": max(*GPU_PEAKS, torch.cuda.max_memory_allocated()) if torch else 0,
    }


def torch_on_gpu() -> ModuleType | None:
    """The module torch, if this process works with it on a GPU; it is not imported for that."""
    torch = sys.modules.get("torch")
    return torch if torch and torch.cuda.is_available() and torch.cuda.is_initialized() else None


@contextmanager
def memory_explained(*knobs: str) -> Iterator[None]:
    """Turn a lack of memory in the block into BadInput that names the parameters to lower, the best one first."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = " ".join(str(error).split())
        if not isinstance(error, MemoryError) and not any(sign in said for sign in NO_MEMORY):
            raise
        where = "the GPU" if "CUDA" in said else "this machine"
        told, knob = said[:120] or "no more could be had", " or ".join(f"{name} (--set {name}=N)" for name in knobs)
        raise BadInput(
            f"{where} has too little memory ({told}): lower {knob}, or end what else takes memory, and give the same "
            "command again, which goes on from the last checkpoint"
        ) from error


def progress(items: Iterable, label: str, total: int | None = None) -> Iterable:
    """A progress bar over items: in the notebook, or on the driver's terminal, or none where papermill is batched."""
    target = os.environ.get(PROGRESS_ENV)
    if target:
        return tqdm.tqdm(items, desc=label, total=total, leave=False, file=Path(target).open("w"))
    return items if target == "" else tqdm.auto.tqdm(items, desc=label, total=total, leave=False)


def about(seconds: float) -> str:
    """A duration as one says it: 'about 40 s', 'about 3 min', 'about 2.5 h'."""
    if seconds < 90:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"

"""The seven chapters of a run: which of them it executes, and the manifest that each leaves when it is finished."""

import json
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zmem_lib.cache import Cache, open_cache
from zmem_lib.files import hash_path, write_json, writing
from zmem_lib.meter import peak_gpu_memory_bytes, peak_memory_bytes
from zmem_lib.params import Params, flat, params_hash

CHAPTERS = {
    1: "01_corpus",
    2: "02_tuples",
    3: "03_train_joint",
    4: "04_write_znew",
    5: "05_baselines",
    6: "06_eval",
    7: "07_report",
}
MEMORY_CHAPTERS = (3, 4)  # of training and writing: left out of a run without a language model
PACKAGES = ("torch", "transformers", "peft", "numpy", "pandas")


@dataclass(frozen=True)
class Step:
    """One chapter under way: the folder it writes to, its parameters and when it began."""

    folder: Path
    number: int
    params: Params
    began: float


def chapters_of(params: Params) -> dict[int, str]:
    """Number and name of the chapters that a run executes."""
    return {number: name for number, name in CHAPTERS.items() if params.has_lm or number not in MEMORY_CHAPTERS}


def start_step(number: int, params: Params, runs: str | Path) -> Step:
    """Begin chapter `number` of the run in `runs/params.run`, which is made if it is not there."""
    folder = Path(runs).resolve() / params.run
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return Step(folder, number, params, time.time())


def step_cache(step: Step, inputs: Iterable[str]) -> Cache:
    """The place for a chapter's pieces of work, valid for its parameters and the present content of its inputs."""
    files = [step.folder / name for name in inputs]
    return open_cache(step.folder / f"under_way_{step.number:02d}", params_hash(step.params, step.number), files=files)


def finish_step(
    step: Step, inputs: Iterable[str], outputs: Iterable[str], *, least_seconds: float = 0.0
) -> dict[str, Any]:
    """Write and return the chapter's manifest; inputs and outputs are names inside the run's folder.

    A chapter that was stopped and resumed took longer than since it was begun again: `least_seconds` if that is more.
    """
    manifest = {
        "chapter": step.number,
        "params": flat(step.params),
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


def git_revision() -> str:
    """The project's git revision, or an empty text outside a repository."""
    here = Path(__file__).parent
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return answer.stdout.strip()

"""The seven chapters of a run: which of them it executes, and the manifest that each leaves when it is finished.

A chapter is finished where the parameters, inputs, code, packages and files from outside that made it, and what it
left, are those of now. Where only code or packages are others it is still whole: what it left may be read, asked and
kept.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zmem_lib.cache import Cache, open_cache
from zmem_lib.files import hash_path, write_json, writing
from zmem_lib.fingerprint import git_revision, made_by, sources_of
from zmem_lib.meter import peaks
from zmem_lib.params import Params, completed, counted, flat, params_hash

CHAPTERS = {
    1: "01_corpus", 2: "02_tuples", 3: "03_train_joint", 4: "04_write_znew", 5: "05_baselines", 6: "06_eval",
    7: "07_report",
}  # fmt: skip
MEMORY_CHAPTERS = (3, 4)  # of training and writing: left out of a run without a language model
MEASURING_CHAPTERS = (5, 6, 7)  # left out of a run over texts that nobody has asked about
EVALUATION = 6
FINDINGS = 7  # the chapter that shows what the others found
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@dataclass(frozen=True)
class Step:
    """One chapter under way: the folder it writes to, its parameters and when it began."""

    folder: Path
    number: int
    params: Params
    began: float


def chapters_of(params: Params) -> dict[int, str]:
    """Number and name of the chapters that a run executes."""
    return chapters_by(has_lm=params.has_lm, tests=params.tests)


def chapters_by(*, has_lm: bool, tests: bool) -> dict[int, str]:
    """Number and name of the chapters of a run with or without a language model, and with or without test questions."""
    left_out = MEMORY_CHAPTERS * (not has_lm) + MEASURING_CHAPTERS * (not tests)
    return {number: name for number, name in CHAPTERS.items() if number not in left_out}


def start_step(number: int, params: Params, runs: str | Path) -> Step:
    """Begin chapter `number` of the run in `runs/params.run`, which is made if it is not there."""
    folder = Path(runs).resolve() / params.run
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return Step(folder, number, params, time.time())


def step_cache(step: Step, inputs: Iterable[str]) -> Cache:
    """The place for a chapter's pieces of work, valid for its parameters, its code and its inputs as they are now."""
    made_with = (params_hash(step.params, step.number), chapter_made_by(step.number)["code"])
    files = [step.folder / name for name in inputs]
    return open_cache(step.folder / f"under_way_{step.number:02d}", *made_with, files=files)


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
        "sources": sources_of(step.params, step.number),
        **chapter_made_by(step.number),
        "git_revision": git_revision(),
        "seconds": round(max(time.time() - step.began, least_seconds), 2),
        **peaks(),
    }
    write_json(manifest, step.folder / f"manifest_{step.number:02d}.json")
    return manifest


def is_finished(folder: Path, number: int, params: Params) -> bool:
    """Whether nothing that made chapter `number` in `folder` has changed, and its files are as it left them."""
    return read_manifest(folder, number) is not None and not changes(folder, number, params)


def is_whole(folder: Path, number: int, params: Params) -> bool:
    """Whether chapter `number` in `folder` went through with these parameters, and its files are as it left them."""
    manifest = read_manifest(folder, number)
    return manifest is not None and not _other_params(manifest, number, params) and not _other_files(manifest, folder)


def changes(folder: Path, number: int, params: Params) -> str:
    """What of that which made a chapter is another now, in words; empty where nothing is, or it never went through."""
    manifest = read_manifest(folder, number)
    if manifest is None:
        return ""
    if "code" not in manifest:
        return "it does not say which code made it"
    sources, now = sources_of(params, number), chapter_made_by(number)
    gone = {name: digest for name, digest in manifest["sources"].items() if name not in sources}  # no reason by itself
    found = {
        "parameter": _other_params(manifest, number, params),
        "file": _other_files(manifest, folder),
        "file from outside": _differing(manifest["sources"], sources | gone),
        "code of": _differing(manifest["code"], now["code"]),
        "package": _differing(manifest["packages"], now["packages"]),
    }
    return ", ".join(f"{what} {' and '.join(names)} changed" for what, names in found.items() if names)


def chapter_made_by(number: int) -> dict[str, dict[str, str]]:
    """Of a chapter the `code` that it runs, as hashes by room, and the versions of the `packages` that it uses."""
    return made_by(NOTEBOOKS / f"{CHAPTERS[number]}.ipynb", shown=number == FINDINGS)


def read_manifest(folder: Path, number: int) -> dict[str, Any] | None:
    """The manifest of a chapter that went through; None without one, or for one that is damaged or of another kind."""
    try:
        manifest = json.loads((folder / f"manifest_{number:02d}.json").read_text(encoding="utf-8"))
        return manifest if isinstance(manifest["inputs"] | manifest["outputs"] | manifest["params"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):  # the chapter is executed again
        return None


def _other_params(manifest: Mapping[str, Any], number: int, params: Params) -> list[str]:
    """Names of the parameters that count in a chapter and were others."""
    return _differing(counted(completed(manifest["params"]), number), counted(flat(params), number))


def _other_files(manifest: Mapping[str, Any], folder: Path) -> list[str]:
    files = manifest["inputs"] | manifest["outputs"]
    return [name for name, digest in files.items() if not (path := folder / name).exists() or hash_path(path) != digest]


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in dict.fromkeys([*now, *before]) if before.get(name) != now.get(name)]

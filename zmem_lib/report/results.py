"""What is kept of finished runs in the repository: results/, small CSV tables with a manifest beside them.

Takes a run's folder, leaves results/ablations/RUN/ROW-SEED/ (one row of an ablation) or results/runs/NAME/ (a whole
run), and reads them again. Means and counts only: no text of a document or a question, no id, no path of a machine.
The manifest says which parameters, code, packages and machine made it.
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.chapters import CHAPTERS, chapters_of, code, is_whole
from zmem_lib.files import NEW, OLD, BadInput, must_exist, new_folder, read_json, write_json
from zmem_lib.params import Params, completed, flat, params_hash, read_params, without_places
from zmem_lib.tables import TABLES, check, read_table

RESULTS = Path(__file__).parents[2] / "results"
ROW_SYSTEMS = ("zmem", "zmem-oracle", "zmem-shuffled", "bm25", "gold-passage", "closed-book")
ROW_METRICS = ("em", "f1", "answer_in_evidence", "recall@1", "mrr@10")
WHOLE = (  # tables that are kept as they are
    "summary", "pairs", "contexts", "write_curve", "costs", "selectors", "retention", "abstention", "damage", "noise",
)  # fmt: skip
LOG_ROWS = 100  # of a curve of the training log, at most
MANIFEST = "manifest.json"
AGAIN = "remove its folder and make it again (zmem ablate, zmem keep)"
NEEDED = range(1, 7)  # chapters; the report, 07, finds nothing of its own


def keep_row(folder: Path, params: Params, target: Path, about: Mapping[str, Any]) -> None:
    """Keep a finished row of an ablation: the summary's main rows, ways of choosing, where writing began and ended."""
    summary = read_table(folder / "summary.parquet", "summary")
    main = summary["system"].isin(ROW_SYSTEMS) & summary["metric"].isin(ROW_METRICS)
    curve = read_table(folder / "write_curve.parquet", "write_curve")
    step = curve.groupby(["start", "metric"])["step"]
    ends = (curve["step"] == step.transform("min")) | (curve["step"] == step.transform("max"))
    selectors = read_table(folder / "selectors.parquet", "selectors")
    tables = {"summary": summary[main], "write_curve": curve[ends], "selectors": selectors}
    _keep(tables, manifest_of(folder, params) | dict(about), target)


def keep_run(folder: Path, target: Path) -> None:
    """Keep a finished run's tables in `target`; raises BadInput for a run that did not go through to chapter 06."""
    if not (folder / "params.yaml").is_file():
        raise BadInput(f"{folder} is not the folder of a run: execute one first (zmem run PARAMS.yaml)")
    params = read_params(folder / "params.yaml")
    for number in (number for number in chapters_of(params) if number in NEEDED):
        if not is_whole(folder, number, params):
            raise BadInput(
                f"chapter {CHAPTERS[number]} of {folder} is not finished, or was changed since: give the command "
                "that executes the run again (zmem run PARAMS.yaml), which resumes"
            )
    there = [name for name in WHOLE if (folder / f"{name}.parquet").is_file()]  # an earlier run may lack the newest
    tables = {name: read_table(folder / f"{name}.parquet", name) for name in there}
    tables["failures"] = failure_counts(read_table(folder / "failures.parquet", "failures"))
    tables["train_log"] = thinned(read_table(folder / "train_log.parquet", "train_log"))
    _keep(tables, manifest_of(folder, params), target)


def failure_counts(failures: pd.DataFrame) -> pd.DataFrame:
    """How many answers of each system and part are of each kind: columns system, part, failure, n."""
    return failures.groupby(["system", "part", "failure"], sort=False).size().rename("n").reset_index()


def thinned(train_log: pd.DataFrame) -> pd.DataFrame:
    """The log with at most LOG_ROWS evenly spaced rows of each term and split, the first and the last among them."""
    kept = []
    for _, log in train_log.groupby(["term", "split"], sort=False):
        places = np.unique(np.linspace(0, len(log) - 1, min(len(log), LOG_ROWS)).round().astype(int))
        kept.append(log.sort_values("step").iloc[places])
    return pd.concat(kept) if kept else train_log


def manifest_of(folder: Path, params: Params) -> dict[str, Any]:
    """What made a run: parameters, code, versions and revisions, seconds and memory by chapter, the processor."""
    there = {number: folder / f"manifest_{number:02d}.json" for number in CHAPTERS}
    chapters = {f"{number:02d}": read_json(path) for number, path in there.items() if path.is_file()}
    return {
        "run": params.run,
        "params_hash": params_hash(params),
        "params": without_places(flat(params)),
        "code": {number: _digest(chapter["code"]) for number, chapter in chapters.items()},
        "packages": {name: which for chapter in chapters.values() for name, which in chapter["packages"].items()},
        "git_revisions": sorted({chapter["git_revision"] for chapter in chapters.values()}),
        "seconds": {number: chapter["seconds"] for number, chapter in chapters.items()},
        "peak_memory_bytes": max(chapter["peak_memory_bytes"] for chapter in chapters.values()),
        "peak_gpu_memory_bytes": max(chapter["peak_gpu_memory_bytes"] for chapter in chapters.values()),
        "machine": machine(),
    }


def is_of_present_code(manifest: Mapping[str, Any], params: Params) -> bool:
    """Whether the code of now made what is kept of a run, the chapter apart that only reports."""
    now = {f"{number:02d}": _digest(code(number)) for number in chapters_of(params) if number in NEEDED}
    return manifest["code"].items() >= now.items()


def _digest(by_room: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(by_room, sort_keys=True).encode()).hexdigest()[:16]


def machine() -> dict[str, Any]:
    """Processor, its cores and the GPU if there is one, by their makers' names; nothing says whose machine it is."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {"processor": named[0] if named else platform.machine(), "cores": os.cpu_count(), "gpu": gpu}


def _keep(tables: Mapping[str, pd.DataFrame], manifest: Mapping[str, Any], target: Path) -> None:
    with new_folder(target) as folder:
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
        write_json(manifest, folder / MANIFEST)


def row_folder(results: Path, run: str, row: str, seed: int) -> Path:
    """Where a row of the ablation of a run is kept."""
    return results / "ablations" / run / f"{row}-{seed}"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of what is kept in a folder, None where nothing is; raises BadInput for one that is damaged."""
    try:
        path = must_exist(folder / MANIFEST)
    except BadInput:
        return None
    try:
        manifest = {"code": {}} | json.loads(path.read_text(encoding="utf-8"))
        manifest["params"] = completed(manifest["params"])
        manifest["params_hash"], manifest["params"]["run"].strip()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{folder / MANIFEST} is damaged ({error}): {AGAIN}") from error
    return manifest


def read_kept(folder: Path, table: str) -> pd.DataFrame:
    """A kept table, checked against its schema; raises BadInput for one that is missing or damaged."""
    path, columns = must_exist(folder / f"{table}.csv"), TABLES[table]
    kinds = {name: {"str": str, "int": "int64", "float": "float64"}[kind] for name, kind in columns.items()}
    empty = {name: [""] for name, kind in columns.items() if kind == "float"}  # a text may be "nan" or nothing
    try:
        return check(pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty), table)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({' '.join(str(error).split())}): {AGAIN}") from error


def kept_in(parent: Path) -> dict[str, dict[str, Any]]:
    """The manifests of all that is kept in the folders of `parent`, by the folder's name."""
    names = {path.name.removeprefix(".").removesuffix(OLD) for path in parent.glob("*") if not path.name.endswith(NEW)}
    found = {name: read_manifest(parent / name) for name in sorted(names)}
    return {name: manifest for name, manifest in found.items() if manifest is not None}

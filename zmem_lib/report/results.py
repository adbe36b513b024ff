"""What is kept of finished runs: results/ in the repository, and previous/ in the run's folder, of its last execution.

results/ablations/RUN/ROW-SEED/ holds one row of an ablation, results/runs/NAME/ a whole run: small CSV tables, and a
manifest that says what made them. Means and counts only: no text of a document or a question, no id but as a hash, no
path of a machine. A run's former summary and parameters are set aside when it is executed again; chapter 07 compares
the new ones with them, or, where there are none, with the run of that name in results/runs.
"""

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from zmem_lib.chapters import CHAPTERS, chapter_made_by, chapters_of, is_whole
from zmem_lib.combinations import refuse_untested
from zmem_lib.data.rows import hash_of
from zmem_lib.evaluation.metrics import METRICS
from zmem_lib.files import NEW, OLD, BadInput, hash_path, must_exist, new_folder, read_json, write_json
from zmem_lib.params import Params, completed, flat, params_hash, read_params, without_places
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import MEASURES, TABLES, TEST_PARTS, check, read_table, with_later

RESULTS = Path(__file__).parents[2] / "results"
ROW_SYSTEMS = ("zmem", "zmem-oracle", "zmem-shuffled", "bm25", "gold-passage", "closed-book")
ROW_METRICS = tuple(name for name, metric in METRICS.items() if metric.tested)
WHOLE = (  # tables that are kept as they are
    "summary", "primary", "pairs", "contexts", "write_curve", "costs", "selectors", "right_z", "abstention", "damage",
    "noise",
)  # fmt: skip
PAIRED = {  # system, metric: of the row full the means of every document are kept, to pair seen and new over the seeds
    "evidence, right z": ("zmem-oracle", "answer_in_evidence"), "recall@1, z": ("zmem", "recall@1"),
    "exact, z": ("zmem", "em"), "recall@1, BM25": ("bm25", "recall@1"),
}  # fmt: skip
LOG_ROWS = 100  # of a curve of the training log, at most
MANIFEST = "manifest.json"
AGAIN = "remove its folder and make it again (zmem ablate, zmem keep)"
NEEDED = range(1, 7)  # chapters; the report, 07, finds nothing of its own
PREVIOUS = "previous"  # folder within a run's
PLACE = ["system", "part", "metric"]
EXACT = 1e-5  # kept tables have six digits
Found = tuple[str, pd.DataFrame, Mapping[str, Any]]  # where: previous or kept; its summary; its parameters


def keep_row(folder: Path, params: Params, target: Path, about: Mapping[str, Any]) -> None:
    """Keep a finished row of an ablation: the summary's main rows, ways of choosing, where writing began and ended.

    Of the row `full` also what every document got.
    """
    summary = read_table(folder / "summary.parquet", "summary")
    main = summary["system"].isin(ROW_SYSTEMS) & summary["metric"].isin(ROW_METRICS)
    curve = read_table(folder / "write_curve.parquet", "write_curve")
    step = curve.groupby(["start", "metric"])["step"]
    ends = (curve["step"] == step.transform("min")) | (curve["step"] == step.transform("max"))
    selectors = read_table(folder / "selectors.parquet", "selectors")
    tables = {"summary": summary[main], "write_curve": curve[ends], "selectors": selectors}
    if about.get("row") == "full":
        tables["by_document"] = means_by_document(read_table(folder / "scores.parquet", "scores"))
    _keep(tables, manifest_of(folder, params) | dict(about), target)


def keep_run(folder: Path, target: Path) -> None:
    """Keep a finished run's tables in `target`; raises BadInput for a run that did not go through to chapter 06."""
    if not (folder / "params.yaml").is_file():
        raise BadInput(f"{folder} is not the folder of a run: execute one first (zmem run PARAMS.yaml)")
    params = read_params(folder / "params.yaml")
    refuse_untested(params, "keeping its tables")
    for number in (number for number in chapters_of(params) if number in NEEDED):
        if not is_whole(folder, number, params):
            raise BadInput(
                f"chapter {CHAPTERS[number]} of {folder} is not finished, or was changed since: give the command "
                "that executes the run again (zmem run PARAMS.yaml), which resumes"
            )
    there = [name for name in WHOLE if (folder / f"{name}.parquet").is_file()]  # an earlier run may lack the newest
    tables = {name: read_table(folder / f"{name}.parquet", name) for name in there}
    failures = read_table(folder / "failures.parquet", "failures")
    tables["failures"] = failures.groupby(["system", "part", "failure"], sort=False).size().rename("n").reset_index()
    tables["train_log"] = thinned(read_table(folder / "train_log.parquet", "train_log"))
    _keep(tables, manifest_of(folder, params), target)


def means_by_document(scores: pd.DataFrame) -> pd.DataFrame:
    """The table by_document of scores: of each of PAIRED the mean over the questions about one seen or new document."""
    places = pd.DataFrame(PAIRED.values(), columns=["system", "metric"])
    some = scores[scores["part"].isin(["seen", "new"])].merge(places)
    means = some.groupby([*PLACE, "cluster"], sort=False)["value"].mean().dropna().reset_index()
    means["document"] = [f"{hash_of(cluster):012x}" for cluster in means["cluster"]]
    return check(means[list(TABLES["by_document"])], "by_document")


def thinned(train_log: pd.DataFrame) -> pd.DataFrame:
    """The log with at most LOG_ROWS evenly spaced rows of each term and split, the first and the last among them."""
    kept = [train_log.iloc[:0]]
    for _, log in train_log.groupby(["term", "split"], sort=False):
        places = np.unique(np.linspace(0, len(log) - 1, min(len(log), LOG_ROWS)).round().astype(int))
        kept.append(log.sort_values("step").iloc[places])
    return pd.concat(kept)


def manifest_of(folder: Path, params: Params) -> dict[str, Any]:
    """What made a run: parameters, code, versions and revisions, seconds and memory by chapter, the processor."""
    chapters = {path.stem[-2:]: read_json(path) for path in sorted(folder.glob("manifest_*.json"))}
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
    now = {
        f"{number:02d}": _digest(chapter_made_by(number)["code"]) for number in chapters_of(params) if number in NEEDED
    }
    return manifest["code"].items() >= now.items()


def _digest(by_room: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(by_room, sort_keys=True).encode()).hexdigest()[:16]


def machine() -> dict[str, Any]:
    """Processor, its cores and the GPU if there is one, by their makers' names; nothing says whose machine it is."""
    import torch

    about = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    named = re.search(r"^model name\s*:(.*)", about, re.MULTILINE)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {"processor": named[1].strip() if named else platform.machine(), "cores": os.cpu_count(), "gpu": gpu}


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
        "".join((manifest["params_hash"], manifest["params"]["run"]))  # both are texts
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{folder / MANIFEST} is damaged ({error}): {AGAIN}") from error
    return manifest


def read_kept(folder: Path, table: str) -> pd.DataFrame:
    """A kept table, checked against its schema; raises BadInput for one that is missing or damaged."""
    path, columns = must_exist(folder / f"{table}.csv"), TABLES[table]
    kinds = {name: {"str": str, "int": "int64", "float": "float64"}[kind] for name, kind in columns.items()}
    empty = {name: [""] for name, kind in columns.items() if kind == "float"}  # a text may be "nan" or nothing
    try:
        found = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty)
        return check(with_later(found, table), table)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({' '.join(str(error).split())}): {AGAIN}") from error


def kept_in(parent: Path) -> dict[str, dict[str, Any]]:
    """The manifests of all that is kept in the folders of `parent`, by the folder's name."""
    names = {path.name.removeprefix(".").removesuffix(OLD) for path in parent.glob("*") if not path.name.endswith(NEW)}
    found = {name: read_manifest(parent / name) for name in sorted(names)}
    return {name: manifest for name, manifest in found.items() if manifest is not None}


def keep_previous(folder: Path) -> None:
    """Copy summary and parameters of a run whose chapter 06 was finished into previous/; else leave that as it is."""
    manifest, summary = folder / "manifest_06.json", folder / "summary.parquet"
    if not (manifest.is_file() and summary.is_file() and (folder / "params.yaml").is_file()):
        return
    try:
        made = json.loads(manifest.read_text(encoding="utf-8"))["outputs"].get(summary.name)
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged, or of another version: nothing to go by
        return
    if made != hash_path(summary):  # of a chapter that was stopped
        return
    with new_folder(folder / PREVIOUS) as new:
        shutil.copyfile(summary, new / summary.name)
        shutil.copyfile(folder / "params.yaml", new / "params.yaml")


def find_previous(folder: Path, run: str, results: Path = RESULTS) -> Found | None:
    """The former summary and parameters of a run: those set aside in its folder, else those kept in results/runs."""
    aside, kept = folder / PREVIOUS, results / "runs" / run
    if (aside / "summary.parquet").is_file():
        params = yaml.safe_load((aside / "params.yaml").read_text(encoding="utf-8"))
        return "previous", read_table(aside / "summary.parquet", "summary"), params
    if (manifest := read_manifest(kept)) is not None:
        return "kept", read_kept(kept, "summary"), manifest["params"]
    return None


def changed_params(before: Mapping[str, Any], params: Params) -> dict[str, tuple[Any, Any]]:
    """Former and present value of every parameter that differs and may change what a run finds; paths by their name."""
    now, former = without_places(flat(params)), without_places(completed(before))
    return {key: (former[key], now[key]) for key in now if not key.startswith("machine.") and former[key] != now[key]}


def moved_values(before: pd.DataFrame, now: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The values whose new interval no longer covers the former value, most moved first; and how many were compared.

    Columns: system, part, metric, before, now, ci_low, ci_high, n, clusters.
    """
    former = before[before["n"] > 0][[*PLACE, "value"]].rename(columns={"value": "before"})
    both = now[(now["n"] > 0) & now["metric"].isin(MEASURES)].rename(columns={"value": "now"}).merge(former, on=PLACE)
    both = both[both["system"].isin(list(SYSTEMS)) & both["part"].isin(TEST_PARTS)]
    moved = both[~both["before"].between(both["ci_low"] - EXACT, both["ci_high"] + EXACT)]
    moved = moved.iloc[(moved["before"] - moved["now"]).abs().argsort(kind="stable")[::-1]]
    return moved[[*PLACE, "before", "now", "ci_low", "ci_high", "n", "clusters"]].reset_index(drop=True), len(both)

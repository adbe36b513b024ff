"""What changed since the last run of the same name: its summary and parameters are set aside before they are replaced.

Before chapter 06 is executed again, and before a run is started over, `keep_previous` copies the finished summary and
the parameters into previous/ of the run's folder. Chapter 07 holds the new summary against them, or, where there are
none, against the run of that name that is kept in results/runs.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from zmem_lib.files import hash_path, new_folder
from zmem_lib.params import Params, completed, flat, without_places
from zmem_lib.report.results import RESULTS, read_kept, read_manifest
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import MEASURES, TEST_PARTS, read_table

FOLDER = "previous"
PLACE = ["system", "part", "metric"]
EXACT = 1e-5  # kept tables have six digits
Found = tuple[str, pd.DataFrame, Mapping[str, Any]]  # where: previous or kept; its summary; its parameters


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
    with new_folder(folder / FOLDER) as new:
        shutil.copyfile(summary, new / summary.name)
        shutil.copyfile(folder / "params.yaml", new / "params.yaml")


def find_previous(folder: Path, run: str, results: Path = RESULTS) -> Found | None:
    """The former summary and parameters of a run: those set aside in its folder, else those kept in results/runs."""
    aside, kept = folder / FOLDER, results / "runs" / run
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

    Columns: system, part, metric, before, now, ci_low, ci_high, n.
    """
    former = before[before["n"] > 0][[*PLACE, "value"]].rename(columns={"value": "before"})
    both = now[(now["n"] > 0) & now["metric"].isin(MEASURES)].rename(columns={"value": "now"}).merge(former, on=PLACE)
    both = both[both["system"].isin(list(SYSTEMS)) & both["part"].isin(TEST_PARTS)]
    left = (both["before"] < both["ci_low"] - EXACT) | (both["before"] > both["ci_high"] + EXACT)
    moved = both[left]
    moved = moved.iloc[(moved["before"] - moved["now"]).abs().argsort(kind="stable")[::-1]]
    return moved[[*PLACE, "before", "now", "ci_low", "ci_high", "n"]].reset_index(drop=True), len(both)

"""A run killed at random moments in every chapter, and resumed each time, ends in the same tables and tensors."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pandas as pd
import psutil
import pytest
from conftest import ROOT

from zmem_lib.chapters import CHAPTERS, finish_step, start_step
from zmem_lib.files import LOCK, read_tensors
from zmem_lib.params import read_params

pytestmark = pytest.mark.long

SEED = int(os.environ.get("ZMEM_KILL_SEED", "1"))  # other seeds, other moments
KILLED = [1, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7]  # the chapter in which the run is killed, one time after the other
FOLDERS = {"bm25", "bm25_asked", "figures", "ids", "ids_new", "lm", "z_new_steps"}
COST_COLUMNS = (
    "seconds",
    "build_seconds",
    "seconds_per_question",
    "seconds_per_document",
    "peak_memory_bytes",
    "train_seconds",
    "write_seconds",
    "choose_seconds",
    "evidence_seconds",
    "read_seconds",
)


def test_a_run_killed_in_every_chapter_ends_like_one_that_never_was(smoke_runs, tmp_path):
    random, moments, folder = Random(SEED), [], tmp_path / "smoke"
    command = [sys.executable, "-u", "-m", "zmem_lib.run", "run", "params/smoke.yaml", "--runs", str(tmp_path)]
    command += ["--set", "machine.checkpoint_minutes=0"]
    lengths = seconds_by_chapter((smoke_runs / "output.txt").read_text())
    for before, number in zip([0, *KILLED], KILLED, strict=False):
        name = CHAPTERS[number]
        if (folder / f"{name}.ipynb").exists():  # the last kill came after its end
            continue
        driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        heard, began = wait_for(driver, f"{name}: about"), time.time()
        within = random.uniform(0, lengths[name])
        if number == before:  # after it has kept a checkpoint, or another piece of its work
            wait_until(lambda: driver.poll() is not None or newest(folder) > began)  # noqa: B023
            within = random.uniform(0, lengths[name] / 8)
        time.sleep(within)
        kill_all(driver)
        moments.append(f"{name} {'+' * (number == before)}{within:.2f} s")
        assert driver.returncode in (-9, 0), f"{moments}\n{heard}{driver.stdout.read()}"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{moments}\n{done.stdout}{done.stderr}"
    assert len(moments) >= len(CHAPTERS) - 1 and differences(smoke_runs / "smoke", folder) == [], moments
    hidden = {path.name for path in folder.rglob(".*")}
    folders = {path.name for path in folder.iterdir() if path.is_dir()}
    assert hidden == {LOCK} and folders == FOLDERS, moments


def seconds_by_chapter(output: str) -> dict[str, float]:
    """How long each chapter took, from what the driver said."""
    lines = [line.split(": done in ") for line in output.splitlines() if ": done in " in line]
    return {name: float(seconds.removesuffix(" s")) for name, seconds in lines}


def wait_for(driver: subprocess.Popen, start: str) -> str:
    """Read the driver's lines until one begins with `start`."""
    heard = ""
    for line in driver.stdout:
        heard += line
        if line.startswith(start):
            return heard
    raise AssertionError(f"the run never came to {start!r}:\n{heard}")


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until it is true, and fail if it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def newest(folder: Path) -> float:
    """When the last of a run's files was written, executed copies apart."""
    times = [0.0]
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it is just being renamed
            times.append(path.stat().st_mtime if path.is_file() and path.suffix != ".ipynb" else 0.0)
    return max(times)


def kill_all(driver: subprocess.Popen) -> None:
    """Kill the driver and its kernel, with no chance to tidy up."""
    try:
        processes = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    except psutil.NoSuchProcess:  # it ended by itself
        processes = []
    for process in processes:
        process.kill()
    psutil.wait_procs(processes[1:], timeout=30)
    driver.wait(timeout=30)


def differences(here: Path, there: Path) -> list[str]:
    """Names of the tables and tensor files that are not equal in two runs' folders, cost columns apart."""
    kinds = (".parquet", ".safetensors", ".faiss")
    names = {path.relative_to(folder) for folder in (here, there) for path in folder.rglob("*") if path.suffix in kinds}
    assert len(names) > 20
    return sorted(str(name) for name in names if not equal(here / name, there / name))


def equal(here: Path, there: Path) -> bool:
    """Whether two tables, tensor files or indexes are equal, cost columns apart."""
    if not (here.is_file() and there.is_file()):
        return False
    if here.suffix == ".parquet":
        return table(here).equals(table(there))
    if here.suffix == ".safetensors":
        (one, said), (other, too) = read_tensors(here), read_tensors(there)
        return said == too and one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)
    return here.read_bytes() == there.read_bytes()


def table(path: Path) -> pd.DataFrame:
    """A table without its cost columns and cost metrics, with lists as text, so that two can be compared."""
    frame = pd.read_parquet(path).drop(columns=list(COST_COLUMNS), errors="ignore")
    if "metric" in frame:
        frame = frame[~frame["metric"].str.contains("seconds")].reset_index(drop=True)
    return frame.map(lambda value: value if isinstance(value, str | int | float) else str(list(value)))  # a list


def test_a_resumed_chapter_counts_the_seconds_of_its_training_too(tmp_path):
    params = read_params(ROOT / "params/smoke.yaml")
    assert finish_step(start_step(3, params, tmp_path), [], [])["seconds"] < 60
    resumed = finish_step(start_step(3, params, tmp_path), [], [], least_seconds=500.0)
    assert resumed["seconds"] == 500.0

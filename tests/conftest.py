"""What several tests share: paths, stand-in notebooks, and one smoke run for the whole session."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest
from filelock import FileLock

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's client is imported, so before any test module
os.environ["OMP_NUM_THREADS"] = "1"  # with two, sums differ in their last digit from run to run: no two runs are equal

from zmem_lib.params import Params, read_params

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would all below

ROOT = Path(__file__).parents[1]
CORPORA = ROOT.parent / "shared/data"  # real ones, beside the repository; tests skip where they are absent
SECRETS = {
    "HF_TOKEN": "hf_kept-from-every-file",
    "OPENAI_API_KEY": "sk-kept-from-every-file",
    "ZMEM_API_KEY": "zm-kept-from-every-file",
}
STAND_IN = """import os, sys
from zmem_lib.chapters import finish_step, start_step
from zmem_lib.files import BadInput
from zmem_lib.params import read_params
params = read_params(params_file, [f"run={{run}}"])
step = start_step({number}, params, runs)
folder, seed = step.folder, params.seed
(folder / "out_{number}.txt").write_text(f"{{sys.executable}} {{os.getpid()}}")"""
FINISH = "manifest = finish_step(step, [], [])"


@pytest.fixture
def smoke_params() -> Params:
    return read_params(ROOT / "params/smoke.yaml")


@pytest.fixture
def stand_ins(tmp_path: Path, smoke_params: Params) -> Callable[..., Path]:
    """Make a folder of seven notebooks that do nothing but write one file; `cells` puts code into a chapter."""

    def make(cells: dict[int, str] | None = None) -> Path:
        from zmem_lib.chapters import CHAPTERS

        folder = tmp_path / "notebooks"
        folder.mkdir(exist_ok=True)
        for number, name in CHAPTERS.items():
            notebook = stand_in(number, name, smoke_params, (cells or {}).get(number, "1"))
            nbformat.write(notebook, folder / f"{name}.ipynb")
        return folder

    return make


def stand_in(number: int, name: str, params: Params, cell: str) -> nbformat.NotebookNode:
    values = {"run": params.run, "runs": "../runs", "params_file": "../params/smoke.yaml"}
    parameters = nbformat.v4.new_code_cell("\n".join(f"{key} = {value!r}" for key, value in values.items()))
    parameters.metadata["tags"] = ["parameters"]
    sources = [STAND_IN.format(number=number), cell, FINISH]
    cells = [nbformat.v4.new_markdown_cell(f"# {name}"), parameters, *map(nbformat.v4.new_code_cell, sources)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def zmem(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    """Call the command line in a process of its own."""
    command = [sys.executable, "-m", "zmem_lib.run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=900, **options)


def pid_in(path: Path, process: subprocess.Popen | None = None) -> int:
    """The id of the kernel that wrote it last into `path`, once it is there; of a process that must not end before."""
    for _ in range(1200):
        if path.is_file() and (text := path.read_text()):
            return int(text.rsplit(" ", 1)[1])
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{path} was not written")


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds, or is a zombie; one that does not is killed."""
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    return False


@pytest.fixture(scope="session")
def smoke_runs(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A runs folder with one run of all seven notebooks at params/smoke.yaml, made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    runs = (base if worker_id == "master" else base.parent) / "smoke/runs"
    runs.parent.mkdir(exist_ok=True)
    with FileLock(runs.with_suffix(".lock")):
        if not (runs / "output.txt").exists():
            done = zmem("run", "params/smoke.yaml", "--runs", runs, env=os.environ | SECRETS)
            assert done.returncode == 0, done.stdout + done.stderr
            (runs / "output.txt").write_text(done.stdout + "\n--- stderr\n" + done.stderr, encoding="utf-8")
    return runs

"""The runs of a batch on a Ray cluster, or on a Ray that is started here for as long as they take.

Every run is a task that calls the command line in a process of its own, so that a crash ends that run alone; what it
says stands in runs/NAME/sweep.log. The machines of a cluster (RAY_ADDRESS) need this project, the runs folder and the
parameter files under the same paths, as on a shared disk.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zmem_lib.files import BadInput
from zmem_lib.runs.pipeline import say_now
from zmem_lib.runs.sweep import Job, is_whole

LOG = "sweep.log"
RUN_CORES = 2  # of a run, where the cluster has them
ENDING_S = 30.0  # that a stopped run has to end its kernel
POLL_S = 0.2
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no call home
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns of what a later version will do
}
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


def sweep_on_ray(jobs: Sequence[Job], runs: Path, notebooks: Path) -> dict[str, str]:
    """Execute the runs as Ray tasks, a GPU each where there are any; return why those that failed did, by name."""
    todo = [job for job in jobs if not is_whole(job.params, runs)]
    for job in jobs:
        if job not in todo:
            say_now(f"{job.params.run}: finished before, skipped")
    if not todo:
        return {}
    with connected() as ray:
        share = share_of(ray.cluster_resources())
        say_now(f"ray: {len(todo)} runs, each with {share['num_cpus']} cores and {share['num_gpus']} GPUs")
        task = ray.remote(**share, max_retries=0)(execute_run)
        pending = {task.remote(job, runs, notebooks, Path.cwd()): job for job in todo}
        try:
            return collected(ray, pending)
        except (KeyboardInterrupt, SystemExit):
            for ref in pending:
                ray.cancel(ref)
            ray.wait(list(pending), num_returns=len(pending), timeout=ENDING_S)  # those at work end their runs
            raise


@contextmanager
def connected() -> Iterator[Any]:
    """Ray, connected to the cluster of RAY_ADDRESS or started here, until this block ends; raises BadInput."""
    os.environ.update(RAY_ENVIRONMENT)
    try:
        import ray
    except ImportError as error:
        raise BadInput("--on ray needs the package ray: install it with pip install 'zmem[cluster]'") from error
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises many kinds, and the bare one where it cannot start
        where, message = os.environ.get("RAY_ADDRESS") or "this machine", " ".join(str(error).split())[:200]
        todo = "correct RAY_ADDRESS, or try again when the machine is less busy"
        raise BadInput(f"Ray does not answer at {where} ({message}): {todo}") from error
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # Ray's leaves with another code
    try:
        yield ray
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)


def share_of(resources: dict[str, float]) -> dict[str, int]:
    """Cores and GPUs of one run, out of what the whole cluster has."""
    cores = max(1, min(RUN_CORES, int(resources.get("CPU", 1))))
    return {"num_cpus": cores, "num_gpus": int(resources.get("GPU", 0) >= 1)}


def collected(ray: Any, pending: dict[Any, Job]) -> dict[str, str]:
    """Wait for the tasks, one after the other as they end, say how each did, and return why some failed."""
    failures: dict[str, str] = {}
    for place in range(1, len(pending) + 1):
        (ref,), _ = ray.wait(list(pending), num_returns=1)
        name, of_all = pending.pop(ref).params.run, f"({place} of {place + len(pending)})"
        try:
            code, reason, seconds = ray.get(ref)
        except ray.exceptions.RayError as error:  # the machine or the worker that had it is gone
            code, reason, seconds = 1, f"its task was lost ({type(error).__name__})", 0.0
        if code:
            failures[name] = reason
        say_now(f"{name} {of_all}: {f'failed: {reason}' if code else f'done in {seconds:.0f} s'}")
    return failures


def execute_run(job: Job, runs: Path, notebooks: Path, cwd: Path) -> tuple[int, str, float]:
    """Call the command line in the folder `cwd`: exit code, its last sentence, seconds. A Ray task."""
    began, log = time.time(), cwd / runs / job.params.run / LOG
    command = [sys.executable, "-m", "zmem_lib.run", "run", job.file, "--runs", runs, "--notebooks", notebooks]
    search_path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(search_path)}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        streams = {"stdout": output, "stderr": subprocess.STDOUT, "preexec_fn": _end_with_parent}
        process = subprocess.Popen([*command, "--set", *job.overrides], cwd=cwd, env=environment, **streams)
        try:
            while process.poll() is None:  # a cancelled task is interrupted between lines of Python only, not in wait()
                time.sleep(POLL_S)
        finally:
            process.terminate()
            process.wait()
    return process.returncode, last_sentence(log, process.returncode), time.time() - began


def last_sentence(log: Path, code: int) -> str:
    """What a run said last, without `zmem: ` in front; of one that was killed, that it was."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1].removeprefix("zmem: ") if lines and code > 0 else "died without a word, most often for want of memory"
    return f"{last} (all it said stands in {log})" if code else ""


def _end_with_parent() -> None:
    """Let SIGTERM and SIGINT through, which Ray's workers block, and end this process where its worker dies."""
    import ctypes

    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

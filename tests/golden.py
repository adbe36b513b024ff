#!/usr/bin/env python3
"""Whether two folders of runs hold the same figures: every table of every run, time and memory apart.

usage: golden.py RUNS_BEFORE RUNS_NOW   (both made with OMP_NUM_THREADS=1 by `zmem run FILE --runs DIR`)
A change that moves no figure passes it; what differs is named, table by table, and the exit code is 1.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

MEASURED = {
    "seconds", "seconds_per_document", "seconds_per_question", "build_seconds", "peak_memory_bytes", "bytes_stored",
    "train_seconds", "write_seconds", "choose_seconds", "evidence_seconds", "read_seconds", "bytes_learned",
}  # fmt: skip
KINDS = ("rephrased", "unasked")  # of seen questions: once copied rows, now a column


def comparable(path: Path) -> pd.DataFrame:
    """A table in the layout of old without what differs between equal runs, its cells comparable, its rows in order."""
    frame = pd.read_parquet(path)
    if path.name.startswith("answers_"):
        frame = frame.drop(columns="kind", errors="ignore")
        lists = frame["evidence"].map(lambda cell: not isinstance(cell, str))
        frame["evidence"] = frame["evidence"].where(~lists, frame["evidence"].map("\n".join))
    if path.name == "scores.parquet" and "kind" in frame:
        kinds = frame[(frame["part"] == "seen") & frame["kind"].isin(KINDS)]
        frame = pd.concat([frame, kinds.assign(part=kinds["kind"])]).drop(columns="kind")
    frame = frame[[name for name in frame if name not in MEASURED]]
    if "metric" in frame:
        frame = frame[~frame["metric"].isin(MEASURED)]
    frame = frame.map(lambda cell: tuple(cell.tolist()) if isinstance(cell, np.ndarray) else cell)
    words = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    return (frame.sort_values(words, kind="stable") if words else frame).reset_index(drop=True)


def differences(before: Path, now: Path) -> list[str]:
    """One line for every table that is missing or differs."""
    found = []
    for path in sorted(before.glob("*/*.parquet")):
        name = path.relative_to(before)
        if not (now / name).is_file():
            found.append(f"{name}: missing")
            continue
        old, new = comparable(path), comparable(now / name)
        if list(old) != list(new) or len(old) != len(new):
            found.append(f"{name}: {old.shape} {list(old)} was, {new.shape} {list(new)} is")
        elif not old.equals(new):
            columns = {c: int((~((old[c] == new[c]) | (old[c].isna() & new[c].isna()))).sum()) for c in old}
            found.append(f"{name}: " + ", ".join(f"{c} differs in {n} rows" for c, n in columns.items() if n))
    return found


if __name__ == "__main__":
    lines = differences(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(lines) or "the same")
    sys.exit(bool(lines))

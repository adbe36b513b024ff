"""From verdicts to shares with intervals; where people judged a few answers as well, theirs correct the judge's.

Takes the table verdicts, and the file of people's verdicts that `evaluate.human_labels` names; returns the table judged. With
people's values Y and the judge's f of n answers, and f of N others that nobody else judged, the mean is
l mean(f of N) + mean(Y - l f of n), with the l of least variance in [0, 1]: prediction-powered inference (2301.09633),
with PPI++'s l (2311.01453), as ARES judges RAG (2311.09476) with l = 1. Else the judge is believed, and the interval is
the bootstrap's, which knows nothing of its mistakes.
"""

import csv
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.evaluation.stats import LEVEL, Estimate, bootstrap_mean
from zmem_lib.files import BadInput
from zmem_lib.judges.judgement import JUDGE_METRICS
from zmem_lib.params import Params
from zmem_lib.tables import COMPARED, TABLES, check

LEAST_LABELS = 10  # of one system, part and metric: from fewer, no normal interval is to be had
FIELDS = ("question_id", "system", "metric", "value")
JUDGE, PEOPLE, BOTH = "judge", "people", "judge and people"  # whose verdicts a row rests on


def judged_table(verdicts: pd.DataFrame, labels: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The table judged: for every system, part and metric a share with interval, how many were judged, and by whom."""
    both = verdicts.merge(labels.rename(columns={"value": "label"}), on=list(FIELDS[:3]), how="left")
    rows = []
    for (system, part, metric), some in both.groupby(["system", "part", "metric"], sort=False):
        found, by = estimate(some["value"].to_numpy(float), some["label"].to_numpy(float), params)
        place = {"system": system, "part": part, "metric": metric}
        counts = {"asked": len(some), "labels": int((some["value"].notna() & some["label"].notna()).sum())}
        rows.append(place | vars(found) | counts | {"by": by})
    return check(pd.DataFrame(rows, columns=list(TABLES["judged"])), "judged")


def estimate(judged: np.ndarray, labels: np.ndarray, params: Params) -> tuple[Estimate, str]:
    """The mean of a judge's values (n,), corrected by people's (n,) of which most are NaN, and who is behind it."""
    kept = ~np.isnan(judged)
    judged, labels = judged[kept], labels[kept]
    known = ~np.isnan(labels)
    if known.sum() < LEAST_LABELS:
        return bootstrap_mean(judged, params.evaluate.bootstrap_samples, params.seed), JUDGE
    if known.all():
        return bootstrap_mean(labels, params.evaluate.bootstrap_samples, params.seed), PEOPLE
    return prediction_powered(labels[known], judged[known], judged[~known]), BOTH


def prediction_powered(labels: np.ndarray, judged: np.ndarray, others: np.ndarray) -> Estimate:
    """The mean and its interval from people's values (n,), the judge's of the same answers (n,) and of others (N,)."""
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    weight = None if np.ptp(np.concatenate([judged, others])) else 0.0  # of a judge who always says the same: none
    value = ppi_mean_pointestimate(labels, judged, others, lam=weight)
    low, high = ppi_mean_ci(labels, judged, others, alpha=1 - LEVEL, lam=weight)
    return Estimate(*(float(np.squeeze(number)) for number in (value, low, high)), len(labels) + len(others))


def read_labels(params: Params, questions: Collection[str]) -> pd.DataFrame:
    """People's verdicts from the file of `evaluate.human_labels` (.csv or .jsonl); raises BadInput naming line and field.

    Empty where the file is not there: people can label answers only after these were written.
    """
    rows, seen = [], {}
    path = Path(params.evaluate.human_labels)
    for line, row in _rows(path) if path.is_file() else ():
        where = f"{path}, line {line}"
        _check_row(row, where, questions=questions, metrics=JUDGE_METRICS[params.evaluate.judge])
        key = tuple(row[name] for name in FIELDS[:3])
        if key in seen:
            raise BadInput(f"{where}: the same question_id, system and metric as in line {seen[key]}: remove one")
        seen[key] = line
        rows.append((*key, float(row["value"])))
    return pd.DataFrame(rows, columns=list(FIELDS)).astype({"value": float})


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of the file with their numbers, as mappings."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"human_labels {path} is not UTF-8 text ({error}): save it as UTF-8") from error
    if path.suffix == ".csv":
        reader = csv.DictReader(text.splitlines())
        yield from ((reader.line_num, row) for row in reader)
        return
    for line, one in enumerate(text.splitlines(), 1):
        if one.strip():
            yield line, _json_row(one, f"{path}, line {line}")


def _json_row(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise BadInput(f"{where}: not valid JSON ({error}): write one object a line") from error
    if not isinstance(row, dict):
        raise BadInput(f"{where}: must be a JSON object with {', '.join(FIELDS)}")
    return row


def _check_row(row: dict[str, Any], where: str, *, questions: Collection[str], metrics: Collection[str]) -> None:
    """Raise BadInput where a field is missing, or holds what the run or the judge does not know."""
    for name in FIELDS:
        if row.get(name) in (None, ""):
            raise BadInput(f"{where}: field {name!r} is missing: each line has {', '.join(FIELDS)}")
    known = {"question_id": questions, "system": COMPARED, "metric": metrics}
    for name, allowed in known.items():
        if row[name] not in allowed:
            hint = "" if name == "question_id" else f": choose from {', '.join(allowed)}"
            raise BadInput(f"{where}: field {name!r} holds {row[name]!r}, which this run does not have{hint}")
    try:
        right = not isinstance(row["value"], bool) and 0 <= float(row["value"]) <= 1
    except (TypeError, ValueError):
        right = False
    if not right:
        raise BadInput(f"{where}: field 'value' must be a number from 0 to 1, not {row['value']!r}")

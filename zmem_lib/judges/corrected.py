"""From verdicts to shares with intervals; where people judged a few answers as well, theirs correct the judge's.

Takes the table verdicts, and the file of people's verdicts that `evaluate.human_labels` names; returns the table
judged. With people's values Y and the judge's f of n answers, and f of N others that nobody else judged, the mean is
l mean(f of N) + mean(Y - l f of n), with the l of least variance in [0, 1]: prediction-powered inference (2301.09633),
with PPI++'s l (2311.01453), as ARES judges RAG (2311.09476) with l = 1. Else the judge is believed, and the interval is
the bootstrap's, which knows nothing of its mistakes.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, PlainValidator

from zmem_lib.data.rows import Filled, parsed, read_rows, shown
from zmem_lib.evaluation.stats import LEVEL, Estimate, bootstrap_mean
from zmem_lib.files import BadInput
from zmem_lib.judges.judgement import JUDGE_METRICS
from zmem_lib.params import Params
from zmem_lib.systems.systems import compared
from zmem_lib.tables import TABLES, check

LEAST_LABELS = 10  # of one system, part and metric: from fewer, no normal interval is to be had
KEY = ("question_id", "system", "metric")
JUDGE, PEOPLE, BOTH = "judge", "people", "judge and people"  # whose verdicts a row rests on


def judged_table(verdicts: pd.DataFrame, labels: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The table judged: for every system, part and metric a share with interval, how many were judged, and by whom."""
    both = verdicts.merge(labels.rename(columns={"value": "label"}), on=list(KEY), how="left")
    rows = []
    for (system, part, metric), some in both.groupby(["system", "part", "metric"], sort=False):
        share, by = estimate(some["value"].to_numpy(float), some["label"].to_numpy(float), params)
        place = {"system": system, "part": part, "metric": metric}
        counts = {"asked": len(some), "labels": int((some["value"].notna() & some["label"].notna()).sum())}
        rows.append(place | vars(share) | counts | {"by": by})
    return check(pd.DataFrame(rows, columns=list(TABLES["judged"])), "judged")


def estimate(judged: np.ndarray, labels: np.ndarray, params: Params) -> tuple[Estimate, str]:
    """The mean of a judge's values (n,), corrected by people's (n,) of which most are NaN, and who is behind it."""
    kept = ~np.isnan(judged)
    judged, labels = judged[kept], labels[kept]
    known = ~np.isnan(labels)
    if LEAST_LABELS <= known.sum() < len(known):
        return prediction_powered(labels[known], judged[known], judged[~known]), BOTH
    by_people = known.sum() >= LEAST_LABELS
    believed = labels if by_people else judged
    return bootstrap_mean(believed, params.evaluate.bootstrap_samples, params.seed), PEOPLE if by_people else JUDGE


def prediction_powered(labels: np.ndarray, judged: np.ndarray, others: np.ndarray) -> Estimate:
    """The mean and its interval from people's values (n,), the judge's of the same answers (n,) and of others (N,)."""
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    weight = None if np.ptp(np.concatenate([judged, others])) else 0.0  # of a judge who always says the same: none
    value = ppi_mean_pointestimate(labels, judged, others, lam=weight)
    low, high = ppi_mean_ci(labels, judged, others, alpha=1 - LEVEL, lam=weight)
    return Estimate(*(float(np.squeeze(number)) for number in (value, low, high)), len(labels) + len(others))


def _share(value: Any) -> float:
    try:
        share = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        share = np.nan
    if not 0 <= share <= 1:
        raise ValueError(f"must be a number from 0 to 1, not {shown(value)}")
    return share


class Label(BaseModel):
    """A person's verdict on an answer."""

    question_id: Filled
    system: Filled
    metric: Filled
    value: Annotated[float, PlainValidator(_share)]


def read_labels(params: Params, questions: Collection[str]) -> pd.DataFrame:
    """People's verdicts from the file of `evaluate.human_labels` (.csv or .jsonl); raises BadInput with line and field.

    Empty where the file is not there: people can label answers only after these were written.
    """
    known = {"question_id": questions, "system": compared(), "metric": JUDGE_METRICS[params.evaluate.judge]}
    values: dict[tuple[str, ...], float] = {}
    path = Path(params.evaluate.human_labels)
    for where, record in read_rows(path) if path.is_file() else ():
        label = parsed(Label, record, where)
        key = tuple(getattr(label, name) for name in KEY)
        for name, value in zip(KEY, key, strict=True):
            if value not in known[name]:
                hint = "" if name == "question_id" else f": choose from {', '.join(known[name])}"
                raise BadInput(f"{where}: field {name!r} holds {value!r}, which this run does not have{hint}")
        if key in values:
            raise BadInput(f"{where}: an earlier line has the same question_id, system and metric: remove one")
        values[key] = label.value
    rows = [(*key, value) for key, value in values.items()]
    return pd.DataFrame(rows, columns=[*KEY, "value"]).astype({"value": float})

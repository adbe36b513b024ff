"""From verdicts to shares with intervals; where people judged a few answers as well, theirs correct the judge's.

Takes the table verdicts, and the file of people's verdicts that `evaluate.human_labels` names; returns the table
judged. With people's values Y and the judge's f of n answers, and f of N others that nobody else judged, the mean is
l mean(f of N) + mean(Y - l f of n), with the l of least variance in [0, 1]: prediction-powered inference (2301.09633),
with PPI++'s l (2311.01453), as ARES judges RAG (2311.09476) with l = 1; its standard error is clustered, as all are
here. Else the judge is believed, and the interval is the bootstrap's, which knows nothing of its mistakes.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, PlainValidator
from scipy.special import stdtrit

from zmem_lib.data.rows import Filled, parsed, read_rows, shown
from zmem_lib.evaluation.stats import LEVEL, Clusters, Estimate, bootstrap_mean, by_cluster
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
        columns = some["value"].to_numpy(float), some["label"].to_numpy(float), some["cluster"].to_numpy()
        share, by = estimate(*columns, params)
        place = {"system": system, "part": part, "metric": metric}
        counts = {"asked": len(some), "labels": int((some["value"].notna() & some["label"].notna()).sum())}
        rows.append(place | vars(share) | counts | {"by": by})
    return check(pd.DataFrame(rows, columns=list(TABLES["judged"])), "judged")


def estimate(judged: np.ndarray, labels: np.ndarray, clusters: np.ndarray, params: Params) -> tuple[Estimate, str]:
    """The mean of a judge's values (n,), corrected by people's (n,) of which most are NaN, and who is behind it."""
    kept = ~np.isnan(judged)
    judged, labels, clusters = judged[kept], labels[kept], clusters[kept]
    known = ~np.isnan(labels)
    if LEAST_LABELS <= known.sum() < len(known):
        return prediction_powered(labels, judged, clusters), BOTH
    by_people = known.sum() >= LEAST_LABELS
    believed, samples = labels if by_people else judged, params.evaluate.bootstrap_samples
    return bootstrap_mean(believed, samples, params.seed, clusters=clusters), PEOPLE if by_people else JUDGE


def prediction_powered(labels: np.ndarray, judged: np.ndarray, clusters: Clusters) -> Estimate:
    """The mean and its interval from a judge's values (n+N,) and people's (n+N,), which are NaN for the others N.

    What an answer adds to the error is its share of the mean, less what that is on average: summed by cluster, as one
    document may have answers of both kinds.
    """
    known = ~np.isnan(labels)
    n, others = known.sum(), (~known).sum()
    spread = (1 + n / others) * judged.var()
    weight = np.cov(labels[known], judged[known], bias=True)[0, 1] / spread if spread else 0.0
    weight = min(max(weight, 0.0), 1.0)
    parts = np.where(known, (labels - weight * judged) / n, weight * judged / others)  # (n+N,), whose sum is the mean
    residuals = parts.copy()
    residuals[known] -= parts[known].mean()
    residuals[~known] -= parts[~known].mean()
    sums, _, _ = by_cluster(residuals, clusters)  # (G,)
    count, value = len(sums), float(parts.sum())
    error = np.sqrt(count / (count - 1) * (sums**2).sum()) if count > 1 else np.nan
    half = stdtrit(count - 1, (1 + LEVEL) / 2) * error
    return Estimate(value, float(value - half), float(value + half), len(parts), count)


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

"""Every table and figure that the chapters show: data frames in, Styler, DataFrame, text or Figure out.

The plots live in figures.py and the sentences of the findings in findings.py. Text of a corpus is escaped wherever
it goes into HTML; systems, parts and metrics are this project's own words.
"""

from collections.abc import Mapping

import pandas as pd

from zmem_lib.figures import (
    failure_bars,
    in_order,
    loss_curves,
    quality_bars,
    recall_curves,
    write_loss,
    write_quality,
)
from zmem_lib.schema import SYSTEMS

__all__ = [
    "answers_overview", "failure_bars", "loss_curves", "quality_bars", "recall_curves", "write_loss", "write_quality",
]  # fmt: skip


def answers_overview(answers_by_system: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per system: the number of answers n, and the mean seconds and tokens of one answer."""
    names = in_order(pd.Series(list(answers_by_system), dtype=str), SYSTEMS)
    rows = {}
    for name in names:
        answers = answers_by_system[name]
        means = {
            "seconds per answer": round(answers["seconds"].mean(), 4),
            "input tokens": round(answers["input_tokens"].mean(), 1),
            "output tokens": round(answers["output_tokens"].mean(), 1),
            "evidence tokens": round(answers["evidence_tokens"].mean(), 1),
        }
        rows[name] = {"n": len(answers), **means}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")

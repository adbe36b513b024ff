"""The kept rows of an ablation, compared: what each measured, and where that differs from the row `full`.

Takes the manifests and tables under results/ablations/RUN/, returns data frames and sentences. A difference to `full`
is taken seed by seed; it is called clear only where the values of the two rows, over their seeds, do not overlap. A row
of one seed has no spread of its own: its value has to lie outside all those of `full`, and its interval over the
questions outside that of `full` in that seed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.ablation import ROWS, is_off
from zmem_lib.params import from_flat
from zmem_lib.report.results import read_kept
from zmem_lib.tables import in_order

MEASURES = {  # name in tables: system, part, metric
    "evidence, rephrased": ("zmem-oracle", "rephrased", "answer_in_evidence"),
    "evidence, unasked": ("zmem-oracle", "unasked", "answer_in_evidence"),
    "evidence, seen": ("zmem-oracle", "seen", "answer_in_evidence"),  # where the corpus tells no kinds apart
    "evidence, new": ("zmem-oracle", "new", "answer_in_evidence"),
    "recall@1, seen": ("zmem", "seen", "recall@1"),
    "recall@1, new": ("zmem", "new", "recall@1"),
    "exact, seen": ("zmem", "seen", "em"),
}


def measured(parent: Path, kept: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The measures of the kept rows, those that there are: row, seed, measure, value, its interval, n (questions)."""
    names = {place: name for name, place in MEASURES.items()}
    frames = []
    for folder, manifest in kept.items():
        summary = read_kept(parent / folder, "summary")
        places = zip(summary["system"], summary["part"], summary["metric"], strict=True)
        frame = summary.assign(measure=[names.get(place) for place in places])
        frames.append(frame.dropna(subset=["measure", "value"]).assign(row=manifest["row"], seed=manifest["seed"]))
    values = pd.concat(frames, ignore_index=True)
    if (values["measure"] == "evidence, rephrased").any():
        values = values[values["measure"] != "evidence, seen"]
    return values[["row", "seed", "measure", "value", "ci_low", "ci_high", "n"]]


def compared(values: pd.DataFrame) -> pd.DataFrame:
    """By row and measure: mean, low and high over the seeds, seeds, n, difference to `full`, and whether it is clear.

    The difference is the mean over the seeds that both rows have.
    """
    found = []
    for measure in in_order(values["measure"], tuple(MEASURES)):
        mine = values[values["measure"] == measure]
        full = mine[mine["row"] == "full"].set_index("seed")
        for row in in_order(mine["row"], tuple(ROWS)):
            own = mine[mine["row"] == row].set_index("seed")
            one = own["value"]
            gap = (one - full["value"]).dropna()  # seed by seed
            clear = is_clear(own.loc[gap.index], full, full.loc[gap.index])
            estimate = {"mean": one.mean(), "low": one.min(), "high": one.max(), "seeds": len(one)}
            more = {"difference": gap.mean(), "clear": clear, "n": int(own["n"].max())}
            found.append({"row": row, "measure": measure, **estimate, **more})
    return pd.DataFrame(found)


def is_clear(own: pd.DataFrame, full: pd.DataFrame, common: pd.DataFrame) -> bool:
    """Whether a row's seeds differ from those of `full` that it has in `common`; one alone, from all of them too."""
    if len(own) > 1:
        return apart(own["value"], own["value"], common["value"], common["value"])
    from_all = apart(own["value"], own["value"], full["value"], full["value"])
    return (
        len(own) == 1 < len(full)
        and from_all
        and apart(own["ci_low"], own["ci_high"], common["ci_low"], common["ci_high"])
    )


def apart(low: pd.Series, high: pd.Series, other_low: pd.Series, other_high: pd.Series) -> bool:
    """Whether what lies from the smallest `low` to the largest `high` does not meet the same of the other."""
    return bool(high.max() < other_low.min() or low.min() > other_high.max())


def differing(manifest: Mapping[str, Any], full: Mapping[str, Any]) -> list[str]:
    """Names of the parameters in which a kept row differs from `full` otherwise than by being that row."""
    here, there, own = manifest["params"], full["params"], {"run", "seed", *from_flat(manifest["overrides"])}
    names = (key for key in {*here, *there} - own if not key.startswith("machine."))
    return sorted(key for key in names if here.get(key) != there.get(key))


def missing_rows(same: Mapping[str, Mapping[str, Any]], full: Mapping[str, Any]) -> list[str]:
    """A sentence on rows that are not kept though they are not off in the file; none where all are there."""
    kept = {manifest["row"] for manifest in same.values()}
    names = [f"`{row}`" for row in ROWS if row not in kept and not is_off(full["params"], row)]
    return [f"Not kept yet: {', '.join(names)}"] if names else []


def other_parameters(kept: Mapping[str, Mapping[str, Any]], full: Mapping[str, Any]) -> list[str]:
    """A sentence on kept rows that are left out, since their parameters are not those of `full`."""
    names = [
        f"`{folder}` ({', '.join(found)})" for folder, manifest in kept.items() if (found := differing(manifest, full))
    ]
    return [f"Left out, being made with other parameters than `full`: {', '.join(names)}"] if names else []

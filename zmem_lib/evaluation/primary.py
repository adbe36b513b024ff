"""The primary tests: those that were fixed in the parameters before anybody saw a score (`evaluate.primary`).

Takes the table scores; returns the table primary. They are one family, corrected after Holm (1979), and few, so that a
difference need not be large to be seen; whatever else is compared is exploratory. As not told apart does not mean the
same, each is also tested for sameness: that the difference lies within `evaluate.margin` (TOST, Schuirmann, 1987).
"""

from collections.abc import Sequence
from itertools import permutations
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.evaluation import stats
from zmem_lib.sections import TEST
from zmem_lib.tables import TABLES, check

PRIMARY, EXPLORATORY = "primary", "exploratory"  # families of tests
Test = tuple[str, str, str, str, str]  # first, its part, second, its part, measure


def primary_table(
    scores: pd.DataFrame, samples: int, seed: int, *, tests: Sequence[Test], margin: float
) -> pd.DataFrame:
    """Each of the tests of `planned`: difference, interval, p, and p of sameness, both corrected after Holm.

    Systems over the same questions are tested by flipping signs, parts of the questions by permuting documents. A test
    of which the scores lack a side has n 0 and is in no correction.
    """
    found = [tested(scores, test, samples, seed) for test in tests]
    made = [one for one in found if one["n"]]
    for one in made:
        one["detectable"] = stats.detectable(one["error"], one["rarest_p"], len(made))
        one["least_margin"] = stats.least_margin(one["error"], one["fewest"], len(made))
        one["p_same"] = stats.same_p(one["value"], one["error"], margin, one["fewest"])
    p_values, same = (np.array([one[name] for one in made], dtype=float) for name in ("p", "p_same"))
    for one, p, p_same in zip(made, stats.holm(p_values), stats.holm(np.nan_to_num(same, nan=1.0)), strict=True):
        one |= {"p_holm": p, "p_same": p_same if one["error"] > 0 else np.nan}
    kinds = {name: float for name, kind in TABLES["primary"].items() if kind == "float"}
    frame = pd.DataFrame(found, columns=list(TABLES["primary"])).assign(margin=margin).astype(kinds)
    return check(frame, "primary")


def planned(text: str) -> list[Test]:
    """The tests that `evaluate.primary` names: first, its part, second, its part, measure.

    `FIRST vs SECOND on MEASURE` is two, about seen and about new documents; with `of PART` behind both it is one.
    """
    tests = []
    for one in filter(None, map(str.strip, text.split(";"))):
        first, part, second, other, metric = TEST.findall(one)[0]
        places = [(part, other)] if part else [("seen", "seen"), ("new", "new")]
        tests += [(first, part, second, other, metric) for part, other in places]
    return tests


def tested(scores: pd.DataFrame, test: Test, samples: int, seed: int) -> dict[str, Any]:
    """One test of the primary table, not corrected yet, with what its power follows from; n 0 where a side is lacking.

    `fewest` counts the clusters of the side that has fewer, `rarest_p` is the smallest p that a permutation can have.
    """
    row: dict[str, Any] = dict(zip(("first", "first_part", "second", "second_part", "metric"), test, strict=True))
    some = scores[(scores["metric"] == row["metric"]) & scores["value"].notna()]
    sides = [some[(some["system"] == name) & (some["part"] == part)] for name, part in (test[:2], test[2:4])]
    if row["first_part"] == row["second_part"]:
        both = sides[0].merge(sides[1][["question_id", "value"]], on="question_id", suffixes=("", "_second"))
        if both.empty:
            return row | {"n": 0, "clusters": 0}
        gap, clusters = (both["value"] - both["value_second"]).to_numpy(), both["cluster"]
        error, fewest = stats.clustered_error(gap, clusters)
        p = stats.paired_p(gap[:, None], seed, clusters=clusters)[0]
        row |= vars(stats.bootstrap_mean(gap, samples, seed, clusters=clusters))
        return row | {"p": p, "error": error, "fewest": fewest, "rarest_p": 2.0 ** (1 - fewest)}
    if any(side.empty for side in sides):
        return row | {"n": 0, "clusters": 0}
    (error, count), (other_error, others) = (stats.clustered_error(side["value"], side["cluster"]) for side in sides)
    first, second = sides
    row |= vars(stats.bootstrap_difference(first, second, samples, seed)) | {"p": stats.unpaired_p(first, second, seed)}
    rarest_p = 1 / comb(count + others, count)
    return row | {"error": float(np.hypot(error, other_error)), "fewest": min(count, others), "rarest_p": rarest_p}


def by_pair(primary: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What the primary table says of pairs over the same questions, by part, measure, first and second, either way."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    rows: Any = primary[(primary["n"] > 0) & (primary["first_part"] == primary["second_part"])].itertuples()
    for row in rows:
        told = {"p_holm": row.p_holm, "detectable": row.detectable, "family": PRIMARY}
        found |= {(row.first_part, row.metric, *pair): told for pair in permutations((row.first, row.second))}
    return found

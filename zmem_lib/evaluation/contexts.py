"""What its context does to a reader: the four measures of MIRAGE (Park et al., 2504.17137, section 3.3).

Takes the table scores, returns the table contexts. Every question falls into one of four, by whether its answer is
right (`em_loose`) without any context (b: closed book), with the right context alone (o), and with the context that a
system chose or wrote (m). With o the gold passage it is MIRAGE's own; with o the gold document's z it tells, for
systems that write from z, what is lost in choosing from what is lost in encoding.
"""

import numpy as np
import pandas as pd

from zmem_lib.evaluation.stats import bootstrap_mean
from zmem_lib.systems.systems import compared, which
from zmem_lib.tables import CONTEXTS, TABLES, TEST_PARTS, check


def context_table(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """The share of questions in each of the four, by part, system and right context, with its interval."""
    held_against = {"gold-passage": compared(), "zmem-oracle": which(lambda one: one.compared and one.grounded)}
    rows = []
    for part, some in scores[(scores["metric"] == "em_loose") & scores["part"].isin(TEST_PARTS)].groupby("part"):
        wide = some.pivot(index="question_id", columns="system", values="value")
        for right, systems in held_against.items():
            for system in (name for name in systems if {name, right, "closed-book"} <= set(wide)):
                b, o, m = (wide[name].to_numpy() > 0 for name in ("closed-book", right, system))  # (n,) each
                for name, where in zip(CONTEXTS, fourfold(b, o, m), strict=True):
                    place = {"part": part, "system": system, "right": right, "metric": name}
                    rows.append(place | vars(bootstrap_mean(where, samples, seed)))
    return check(pd.DataFrame(rows, columns=list(TABLES["contexts"])), "contexts")


def fourfold(b: np.ndarray, o: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, ...]:
    """Which questions (n,) are of each of CONTEXTS: every one is of exactly one."""
    return o & ~m, o & m, ~o & ~b, ~o & b

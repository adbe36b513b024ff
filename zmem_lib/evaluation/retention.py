"""What the right z keeps of its document's text, and whether it was read at all: the table right_z.

Takes the table scores; all systems here are brief (systems.py): evidence of as many tokens, from which the same reader
answers. Strict retention is the share of questions whose answer stands in what the right z writes, over that of the
best evidence from the text: what the same model writes from it, or its sentence nearest to the question; dev questions
choose which. Beside it two differences: right z minus a random sentence of its text, which a memory must beat to have
read anything, and right z minus the same z asked another question, which it beats only if it heeds the question.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from zmem_lib.evaluation import stats
from zmem_lib.evaluation.metrics import answer_in_evidence
from zmem_lib.evaluation.pairs import by_system
from zmem_lib.evaluation.scoring import kinds_as_parts
from zmem_lib.files import write_json
from zmem_lib.systems import choosing
from zmem_lib.systems.evidence import HANDED
from zmem_lib.systems.holdings import Holdings
from zmem_lib.systems.systems import SYSTEMS, possible_systems
from zmem_lib.tables import TABLES, check

RIGHT, RANDOM, OTHER = "zmem-oracle", "gold+random-sentence", "zmem-other-question"
FROM_TEXT = ("gold+sentence", "text-evidence")  # the better one on dev questions is held against; if equal, the first
FILE = "from_text.json"  # which, and by what
DEV_SAMPLE = 200  # questions
LEAST = 0.1  # share of the questions: where the text gives fewer, no share of that can be told


def share(right: np.ndarray, text: np.ndarray) -> float:
    """The mean of the one over that of the other, both (n,)."""
    return float(right.mean() / text.mean()) if text.mean() else np.nan


def difference(right: np.ndarray, other: np.ndarray) -> float:
    """The mean of the one minus that of the other, both (n,)."""
    return float((right - other).mean())


MEASURED = {"retention": share, "difference": difference}


def choose_from_text(dev: pd.DataFrame, held: Holdings) -> pd.Series:
    """Choose the better evidence from the text on dev questions, write which; returns the shares of their answers."""
    dev = dev.sample(min(len(dev), DEV_SAMPLE), random_state=held.params.seed)
    chosen, rule, shares = choosing.right(dev, held)[0], held.params.corpus.normalisation, {}
    for name in (name for name in FROM_TEXT if name in possible_systems(held.params)):
        items = HANDED[SYSTEMS[name].hands](dev, held, chosen)[0]
        hits = [answer_in_evidence(some[0], golds, rule) for some, golds in zip(items, dev["answers"], strict=True)]
        shares[name] = float(np.mean(hits)) if hits else 0.0
    best = max(shares, key=lambda name: shares[name])
    write_json({"system": best, "n": len(dev), "shares": shares}, held.folder / FILE)
    return pd.Series(shares, name="answer in evidence")


def right_z_table(scores: pd.DataFrame, from_text: str, samples: int, seed: int) -> pd.DataFrame:
    """The right z against `from_text` as a share, against the controls as differences, by part: the table right_z.

    Over the questions that both answered, by whole documents; a share is NaN where the text gives less than LEAST.
    """
    rows, against = [], {from_text: "retention", RANDOM: "difference", OTHER: "difference"}
    for part, some in kinds_as_parts(scores[scores["metric"] == "answer_in_evidence"]).groupby("part", sort=False):
        for other, measure in against.items():
            both, clusters = by_system(some[some["system"].isin([RIGHT, other])])  # (n,2), (n,)
            if {RIGHT, other} <= set(both):
                two = both[[RIGHT, other]].to_numpy().T  # (2,n)
                told = stats.bootstrap(MEASURED[measure], two, clusters=clusters, samples=samples, seed=seed)
                if measure == "retention" and both[other].mean() < LEAST:
                    told = replace(told, value=np.nan, ci_low=np.nan, ci_high=np.nan)
                rows.append({"part": part, "against": other, "measure": measure, **vars(told)})
    return check(pd.DataFrame(rows, columns=list(TABLES["right_z"])).astype({"value": float}), "right_z")

"""What a score of confidence is worth: formulas over arrays with one entry per question.

Whoever answers only the questions of which they are surest has a risk (share of wrong answers) at every coverage (share
of questions answered): El-Yaniv and Wiener (2010); for networks Geifman and El-Yaniv (1705.08500). The mean of the
risks over all coverages is the AURC of Geifman, Uziel and El-Yaniv (1805.08206).
"""

import numpy as np
import pandas as pd

from zmem_lib.evaluation.stats import Values

RISK = 0.1  # at most so many of the answers given are to be wrong
BOUNDS = ("best", "random")  # the best possible order of the questions, and one by chance


def risk_coverage(confidence: Values, wrong: Values) -> pd.DataFrame:
    """Share of wrong answers (risk) among the surest k of n, by their share k/n (coverage), for k from 1 to n.

    Within a tie the wrong ones are spread evenly: the mean over every order of it.
    """
    risks = _risks(confidence, wrong)
    return pd.DataFrame({"coverage": np.arange(1, len(risks) + 1) / len(risks), "risk": risks})


def aurc(confidence: Values, wrong: Values) -> float:
    """Area under the risk-coverage curve, the mean of its risks; the lower the better, the share of wrong by chance."""
    return float(_risks(confidence, wrong).mean())


def coverage_at(confidence: Values, wrong: Values, *, risk: float = RISK) -> float:
    """The largest coverage that some threshold gives with at most this risk; 0 if none does."""
    sizes, errors = (np.cumsum(one) for one in _levels(confidence, wrong))
    return float(max(sizes[errors <= risk * sizes], default=0) / len(wrong))


def auroc(confidence: Values, answerable: Values) -> float:
    """How often a random answerable question is surer than a random other one (a tie: half); NaN without both.

    The area under the ROC curve as Mann and Whitney's U (1947), by mean ranks.
    """
    answerable = np.asarray(answerable, dtype=bool)
    _, level, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[level]
    n, others = answerable.sum(), (~answerable).sum()
    return float((ranks[answerable].sum() - n * (n + 1) / 2) / (n * others)) if n and others else np.nan


def threshold(confidence: Values, answerable: Values) -> float:
    """The confidence from which to answer: most of answerable answered plus share of others refused; the lowest such.

    Youden's J (1950), which does not depend on how many of each there are. Needs some of both.
    """
    confidence, answerable = np.asarray(confidence, dtype=float), np.asarray(answerable, dtype=bool)
    levels = np.unique(confidence)
    answers = confidence[None] >= levels[:, None]  # (levels,n)
    return float(levels[np.argmax(answers[:, answerable].mean(1) - answers[:, ~answerable].mean(1))])


def _risks(confidence: Values, wrong: Values) -> np.ndarray:
    """Risk of the surest k answers, for k from 1 to n."""
    sizes, errors = _levels(confidence, wrong)
    return np.repeat(errors / sizes, sizes).cumsum() / np.arange(1, len(wrong) + 1)


def _levels(confidence: Values, wrong: Values) -> tuple[np.ndarray, np.ndarray]:
    """Number of answers, and of wrong ones, at each level of confidence, the surest first."""
    confidence, wrong = np.asarray(confidence, dtype=float), np.asarray(wrong, dtype=float)
    assert confidence.shape == wrong.shape and len(wrong) and not np.isnan(confidence).any()
    _, level = np.unique(-confidence, return_inverse=True)
    return np.bincount(level), np.bincount(level, weights=wrong)

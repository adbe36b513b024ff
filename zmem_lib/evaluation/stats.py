"""Bootstrap intervals of a mean and of any statistic, and tests of the differences of systems over the same questions.

Percentile bootstrap (Efron and Tibshirani, 1993, chapter 13); of two systems the differences are resampled question by
question (Koehn, 2004), so what makes a question hard for both does not widen the interval. Many differences at once are
tested by permutation (Fisher, 1935; Smucker et al., CIKM 2007, for rankings) and corrected after Holm (1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

LEVEL = 0.95
POWER = 0.8  # chance of finding the difference that `detectable` names
SAMPLES = 1_000  # of an interval in a chapter before evaluation, which knows nothing of `evaluate`
FLIPS = 9_999  # of a permutation test
BLOCK_CELLS = 4_000_000  # resampled values held in memory at once
Values = Sequence[float] | np.ndarray | pd.Series


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, over the n values that were not NaN."""

    value: float
    ci_low: float
    ci_high: float
    n: int


def bootstrap_mean(values: Values, samples: int, seed: int) -> Estimate:
    """The mean of the values that are not NaN and its percentile bootstrap interval; all NaN where none is left."""
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    if not len(array):
        return Estimate(np.nan, np.nan, np.nan, 0)
    generator, rows = np.random.default_rng(seed), max(1, BLOCK_CELLS // len(array))
    sizes = [min(rows, samples - start) for start in range(0, samples, rows)]
    means = [array[generator.integers(0, len(array), (size, len(array)))].mean(1) for size in sizes]  # (size,) each
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(array.mean()), float(low), float(high), len(array))


def grouped_means(frame: pd.DataFrame, by: list[str], samples: int, seed: int) -> pd.DataFrame:
    """Of every group by columns, in order of appearance, the mean of `value`, its interval and n."""
    groups = frame.groupby(by, sort=False)["value"]
    rows = [dict(zip(by, key, strict=True)) | vars(bootstrap_mean(values, samples, seed)) for key, values in groups]
    return pd.DataFrame(rows, columns=[*by, "value", "ci_low", "ci_high", "n"])


def bootstrap(
    statistic: Callable[..., float], columns: Sequence[Values] | np.ndarray, *, samples: int, seed: int
) -> Estimate:
    """Any statistic of columns whose rows belong together, and the interval from resampling whole rows.

    Samples for which it is NaN (not defined: a class is missing) are left out; all NaN where there is no row.
    """
    arrays = [np.asarray(column) for column in columns]
    n = len(arrays[0])
    value = statistic(*arrays) if n else np.nan
    if np.isnan(value):
        return Estimate(np.nan, np.nan, np.nan, n)
    generator = np.random.default_rng(seed)
    rows = (generator.integers(0, n, n) for _ in range(samples))
    found = [statistic(*(array[row] for array in arrays)) for row in rows]
    low, high = np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high), n)


def paired_p(differences: np.ndarray, seed: int) -> np.ndarray:
    """Two-sided p-values (D,) of paired permutation tests, one for each column of differences (n,D) by question.

    Were two systems alike, each difference could as well have the other sign. The signs of whole rows are drawn FLIPS
    times; the observed ones count as one draw, so that no p is 0 (Phipson and Smyth, 2010).
    """
    n, generator = len(differences), np.random.default_rng(seed)
    observed, rows = np.abs(differences.sum(0)) - 1e-9, max(1, BLOCK_CELLS // max(n, 1))  # (D,)
    hits = np.zeros_like(observed)  # (D,)
    for start in range(0, FLIPS, rows):
        signs = generator.choice([-1.0, 1.0], (min(rows, FLIPS - start), n))
        hits += (np.abs(signs @ differences) >= observed).sum(0)  # (D,)
    return (1 + hits) / (1 + FLIPS)


def holm(p_values: np.ndarray) -> np.ndarray:
    """The p-values of one family, corrected after Holm (1979), which bounds the chance of any false finding."""
    order, m = np.argsort(p_values), len(p_values)
    corrected = np.empty(m)
    corrected[order] = np.minimum(np.maximum.accumulate((m - np.arange(m)) * p_values[order]), 1.0)
    return corrected


def detectable(differences: np.ndarray, tests: int = 1) -> float:
    """The least mean difference that as many questions show in POWER of all studies, as one of a family of `tests`.

    At the level of Holm's first step, (1 - LEVEL) / tests, from the normal approximation and the spread of the
    differences (n,). NaN where they have none to judge by; infinite where no permutation of n signs is so rare.
    """
    n, level = len(differences), (1 - LEVEL) / tests
    spread = differences.std(ddof=1) if n > 1 else 0.0
    if spread and max(2.0 ** (1 - n), 1 / (1 + FLIPS)) > level:
        return np.inf
    quantiles = NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(POWER)
    return float(quantiles * spread / np.sqrt(n)) if spread else np.nan

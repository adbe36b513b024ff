"""Bootstrap intervals of a mean, of the difference of two systems over the same questions, and of any statistic.

Percentile bootstrap (Efron and Tibshirani, 1993, chapter 13); the paired test of two systems resamples questions,
not answers (Koehn, 2004), so what makes a question hard for both does not widen the interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
BLOCK_CELLS = 4_000_000  # resampled values held in memory at once


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, over the n values that were not NaN."""

    value: float
    ci_low: float
    ci_high: float
    n: int


def bootstrap_mean(values: Sequence[float], samples: int, seed: int) -> Estimate:
    """The mean of the values that are not NaN and its percentile bootstrap interval; all NaN where none is left."""
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    if not len(array):
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = np.quantile(_resampled_means(array, samples, seed), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(array.mean()), float(low), float(high), len(array))


def paired_difference(first: Sequence[float], second: Sequence[float], samples: int, seed: int) -> Estimate:
    """Mean of first minus second, value by value for the same questions, and its bootstrap interval."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    assert first.shape == second.shape, f"paired values must have one length, not {first.shape} and {second.shape}"
    return bootstrap_mean(first - second, samples, seed)


def bootstrap(
    statistic: Callable[..., float], columns: Sequence[Sequence[float]], *, samples: int, seed: int
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


def _resampled_means(array: np.ndarray, samples: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rows = max(1, BLOCK_CELLS // len(array))
    sizes = [min(rows, samples - start) for start in range(0, samples, rows)]
    return np.concatenate([array[generator.integers(0, len(array), (size, len(array)))].mean(1) for size in sizes])

"""Intervals of means and of any statistic, tests of differences, and of equivalence, all by clusters.

Questions about one document share what makes it hard, so ten about one tell less than one about each of ten. What is
drawn again, and whose sign is flipped, is a whole cluster: everybody says which (`clusters`, a name for every value;
None: each value is its own). Intervals are percentiles of the cluster bootstrap (Davison and Hinkley, 1997, section
3.8), widened for few clusters (Hesterberg, 2015); of two systems over the same questions the differences are drawn
(Koehn, 2004). Many differences at once are tested by flipping signs (Fisher, 1935; by cluster: Canay, Romano and
Shaikh, 2017) and corrected after Holm (1979). Standard errors are clustered (Miller, 2411.00640, section 2.2); that two
are the same within a margin is shown by two one-sided tests, TOST (Schuirmann, 1987).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit  # Student's t: probability and quantile, by degrees of freedom

LEVEL = 0.95
POWER = 0.8  # chance of finding the difference that `detectable` names, or the sameness that `least_margin` does
SAMPLES = 1_000  # of an interval in a chapter before evaluation, which knows nothing of `evaluate`
FLIPS = 9_999  # of a permutation test
BLOCK_CELLS = 4_000_000  # resampled values held in memory at once
Values = Sequence[float] | np.ndarray | pd.Series
Clusters = Sequence[str] | np.ndarray | pd.Series | pd.Index | None
NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, over the n values that were not NaN, of so many clusters (0: an older table's)."""

    value: float
    ci_low: float
    ci_high: float
    n: int
    clusters: int


def bootstrap_mean(values: Values, samples: int, seed: int, *, clusters: Clusters) -> Estimate:
    """The mean of the values that are not NaN and its interval; all NaN where none is left.

    The interval is NaN where all values are of one cluster: what varies between clusters cannot be seen there.
    """
    array = np.asarray(values, dtype=float)
    kept = ~np.isnan(array)
    sums, sizes, _ = by_cluster(array[kept], None if clusters is None else np.asarray(clusters)[kept])
    if not len(sums):
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    low, high = interval(resampled_means(sums, sizes, samples, seed), len(sums))
    return Estimate(float(array[kept].mean()), low, high, int(sizes.sum()), len(sums))


def bootstrap_difference(first: pd.DataFrame, second: pd.DataFrame, samples: int, seed: int) -> Estimate:
    """The mean of the first minus that of the second, which have no cluster in common; each is drawn for itself.

    Both have the columns `value` and `cluster`. The interval is widened as for the one with fewer clusters.
    """
    (sums, sizes, _), (others, other_sizes, _) = (by_cluster(one["value"], one["cluster"]) for one in (first, second))
    drawn = resampled_means(sums, sizes, samples, seed) - resampled_means(others, other_sizes, samples, seed + 1)
    low, high = interval(drawn, min(len(sums), len(others)))
    value = float(first["value"].mean() - second["value"].mean())
    return Estimate(value, low, high, len(first) + len(second), len(sums) + len(others))


def grouped_means(frame: pd.DataFrame, by: list[str], samples: int, seed: int) -> pd.DataFrame:
    """Of every group by columns, in order of appearance, the mean of `value` with its interval by `cluster`."""
    rows = [
        dict(zip(by, key, strict=True)) | vars(bootstrap_mean(some["value"], samples, seed, clusters=some["cluster"]))
        for key, some in frame[[*by, "value", "cluster"]].groupby(by, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*by, "value", "ci_low", "ci_high", "n", "clusters"])


def bootstrap(
    statistic: Callable[..., float], columns: Sequence[Values] | np.ndarray, *, clusters: Clusters, samples: int,
    seed: int,
) -> Estimate:  # fmt: skip
    """Any statistic of columns whose rows belong together, and the interval from resampling whole clusters of rows.

    Samples for which it is NaN (not defined: a class is missing) are left out; all NaN where there is no row.
    """
    arrays = [np.asarray(column) for column in columns]
    n = len(arrays[0])
    value = statistic(*arrays) if n else np.nan
    _, sizes, codes = by_cluster(np.zeros(n), clusters)
    if np.isnan(value):
        return Estimate(np.nan, np.nan, np.nan, n, len(sizes))
    rows_of = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])  # of each cluster
    generator, found = np.random.default_rng(seed), []
    for _ in range(samples):
        rows = np.concatenate([rows_of[one] for one in generator.integers(0, len(sizes), len(sizes))])
        found.append(statistic(*(array[rows] for array in arrays)))
    return Estimate(float(value), *interval(np.array(found), len(sizes)), n, len(sizes))


def paired_p(differences: np.ndarray, seed: int, *, clusters: Clusters) -> np.ndarray:
    """Two-sided p-values (D,) of paired permutation tests, one for each column of differences (n,D) by question.

    Were two systems alike, the differences of a cluster could as well have the other sign. Its sign is drawn FLIPS
    times; the observed ones count as one draw, so that no p is 0 (Phipson and Smyth, 2010).
    """
    sums, _, _ = by_cluster(differences, clusters)  # (G,D)
    n, generator = len(sums), np.random.default_rng(seed)
    observed, rows = np.abs(sums.sum(0)) - 1e-9, max(1, BLOCK_CELLS // max(n, 1))  # (D,)
    hits = np.zeros_like(observed)  # (D,)
    for start in range(0, FLIPS, rows):
        signs = generator.choice([-1.0, 1.0], (min(rows, FLIPS - start), n))
        hits += (np.abs(signs @ sums) >= observed).sum(0)  # (D,)
    return (1 + hits) / (1 + FLIPS)


def unpaired_p(first: pd.DataFrame, second: pd.DataFrame, seed: int) -> float:
    """Two-sided p of the difference between two sets of clusters (as in `bootstrap_difference`), by permutation.

    Were both of one kind, any clusters could as well be the first's: which are is drawn FLIPS times.
    """
    both = pd.concat([first, second], ignore_index=True)
    sums, sizes, _ = by_cluster(both["value"], both["cluster"])  # (G,) each, the first's before the second's
    k, n, generator = first["cluster"].nunique(), len(sums), np.random.default_rng(seed)
    observed, hits = abs(first["value"].mean() - second["value"].mean()) - 1e-9, 0
    rows = max(1, BLOCK_CELLS // n)
    for start in range(0, FLIPS, rows):
        order = generator.random((min(rows, FLIPS - start), n)).argsort(1)  # (B,G)
        ones, others = order[:, :k], order[:, k:]
        gaps = sums[ones].sum(1) / sizes[ones].sum(1) - sums[others].sum(1) / sizes[others].sum(1)  # (B,)
        hits += int((np.abs(gaps) >= observed).sum())
    return (1 + hits) / (1 + FLIPS)


def holm(p_values: np.ndarray) -> np.ndarray:
    """The p-values of one family, corrected after Holm (1979), which bounds the chance of any false finding."""
    order, m = np.argsort(p_values), len(p_values)
    corrected = np.empty(m)
    corrected[order] = np.minimum(np.maximum.accumulate((m - np.arange(m)) * p_values[order]), 1.0)
    return corrected


def clustered_error(values: Values | np.ndarray, clusters: Clusters) -> tuple[float, int]:
    """The clustered standard error of the mean of values (n,), and the number of clusters; NaN of a single one."""
    array = np.asarray(values, dtype=float)
    sums, _, _ = by_cluster(array - array.mean(), clusters)  # (G,)
    count = len(sums)
    return (float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(array)) if count > 1 else np.nan), count


def detectable(error: float, rarest_p: float, tests: int = 1) -> float:
    """The least mean difference that as many clusters show in POWER of all studies, as one of a family of `tests`.

    At the level of Holm's first step, (1 - LEVEL) / tests, from the normal approximation and the standard error. NaN
    where that is not known or 0; infinite where no permutation is so rare: `rarest_p` is the smallest p there is.
    """
    level = (1 - LEVEL) / tests
    if not error > 0:
        return np.nan
    if max(rarest_p, 1 / (1 + FLIPS)) > level:
        return np.inf
    return (NORMAL.inv_cdf(1 - level / 2) + NORMAL.inv_cdf(POWER)) * error


def same_p(value: float, error: float, margin: float, clusters: int) -> float:
    """p of TOST: the larger of the two tests that a difference is above -margin and below margin; NaN without error."""
    if not error > 0:
        return np.nan
    above, below = (value + margin) / error, (margin - value) / error
    return float(stdtr(clusters - 1, -min(above, below)))


def least_margin(error: float, clusters: int, tests: int = 1) -> float:
    """The least margin within which so many clusters show sameness in POWER of all studies, were there no difference.

    At the level (1 - LEVEL) / tests, as `detectable`.
    """
    if not error > 0:
        return np.nan
    level = (1 - LEVEL) / tests
    return float(stdtrit(clusters - 1, 1 - level) + stdtrit(clusters - 1, (1 + POWER) / 2)) * error


def by_cluster(values: Values | np.ndarray, clusters: Clusters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums (G,) or (G,D) of values (n,) or (n,D) by cluster, sizes (G,), and the cluster's number of each row (n,)."""
    array = np.asarray(values, dtype=float)
    codes = np.arange(len(array)) if clusters is None else pd.factorize(np.asarray(clusters, dtype=object))[0]
    sizes = np.bincount(codes)
    if array.ndim == 1:
        return np.bincount(codes, weights=array), sizes, codes
    sums = np.zeros((len(sizes), array.shape[1]))  # (G,D)
    np.add.at(sums, codes, array)
    return sums, sizes, codes


def resampled_means(sums: np.ndarray, sizes: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """The mean over all values of clusters drawn with replacement, as many as there are, `samples` times."""
    generator, rows = np.random.default_rng(seed), max(1, BLOCK_CELLS // len(sums))
    means = []
    for start in range(0, samples, rows):
        drawn = generator.integers(0, len(sums), (min(rows, samples - start), len(sums)))  # (B,G)
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))  # (B,)
    return np.concatenate(means)


def interval(found: np.ndarray, clusters: int) -> tuple[float, float]:
    """The percentile interval of resampled values (B,), its levels as far out as Student's t lies for few clusters.

    Hesterberg (2015, The American Statistician 69, section 3.3, "expanded percentile interval").
    """
    if clusters < 2:
        return np.nan, np.nan
    reach = np.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, (1 + LEVEL) / 2)
    low, high = np.nanquantile(found, [NORMAL.cdf(-reach), NORMAL.cdf(reach)])
    return float(low), float(high)

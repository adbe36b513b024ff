"""Bootstrap intervals: seeded, as wide as theory says, and paired where the questions are the same."""

import numpy as np
import pytest

from zmem_lib import stats
from zmem_lib.stats import bootstrap_mean, paired_difference


def test_interval_of_a_share_is_close_to_the_normal_one():
    values = [1.0] * 120 + [0.0] * 280
    estimate = bootstrap_mean(values, 4000, seed=1)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 400)
    assert (estimate.value, estimate.n) == (pytest.approx(0.3), 400)
    assert estimate.ci_low == pytest.approx(0.3 - half, abs=0.006)
    assert estimate.ci_high == pytest.approx(0.3 + half, abs=0.006)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    estimates = [bootstrap_mean(generator.normal(2, 1, 80), 400, seed=i) for i in range(200)]
    assert 0.88 <= np.mean([one.ci_low <= 2 <= one.ci_high for one in estimates]) <= 0.99


def test_same_seed_same_interval_and_blocks_do_not_matter(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = bootstrap_mean(values, 500, seed=7)
    assert whole == bootstrap_mean(values, 500, seed=7)
    assert whole != bootstrap_mean(values, 500, seed=8)
    monkeypatch.setattr(stats, "BLOCK_CELLS", 1000)
    assert whole == bootstrap_mean(values, 500, seed=7)


def test_nan_is_left_out_and_counted():
    estimate = bootstrap_mean([1.0, np.nan, 0.0], 200, seed=1)
    assert (estimate.value, estimate.n) == (0.5, 2)
    empty = bootstrap_mean([np.nan], 200, seed=1)
    assert empty.n == 0 and np.isnan([empty.value, empty.ci_low, empty.ci_high]).all()


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(2)
    hard = generator.random(300)  # what makes a question hard for both systems
    difference = paired_difference(hard + 0.05, hard, 500, seed=1)
    assert difference.value == pytest.approx(0.05)
    assert difference.ci_high - difference.ci_low < 1e-9 < bootstrap_mean(hard, 500, seed=1).ci_high - hard.mean()


def test_pairs_of_unequal_length_are_refused():
    with pytest.raises(AssertionError, match="one length"):
        paired_difference([1.0], [1.0, 0.0], 10, seed=1)

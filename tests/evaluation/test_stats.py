"""Bootstrap intervals: seeded, as wide as theory says, and paired where the questions are the same."""

import numpy as np
import pytest
from scipy.stats import binomtest

from zmem_lib.evaluation import stats
from zmem_lib.evaluation.stats import bootstrap_mean, detectable, holm, paired_p


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
    difference = bootstrap_mean((hard + 0.05) - hard, 500, seed=1)
    assert difference.value == pytest.approx(0.05)
    assert difference.ci_high - difference.ci_low < 1e-9 < bootstrap_mean(hard, 500, seed=1).ci_high - hard.mean()


def test_permutation_p_is_that_of_an_exact_test():
    generator = np.random.default_rng(5)
    gaps = generator.integers(0, 2, (40, 3)) - generator.integers(0, 2, (40, 3)) * [1.0, 1.0, 0.0]
    for column, p in zip(gaps.T, paired_p(gaps, seed=0), strict=True):
        exact = binomtest(int((column > 0).sum()), int((column != 0).sum())).pvalue  # of differences of one size
        assert p == pytest.approx(exact, abs=0.015)
    few = np.array([[1.0], [1.0], [1.0], [0.0]])  # of the eight signs of three differences, two are as extreme
    assert paired_p(few, seed=1)[0] == pytest.approx(2 / 8, abs=0.02)
    assert paired_p(np.zeros((30, 1)), seed=1)[0] == 1.0
    assert paired_p(np.ones((60, 1)), seed=1)[0] == 1e-4, "never 0"


def test_permutation_finds_nothing_where_there_is_nothing(monkeypatch):
    noise = np.random.default_rng(6).normal(size=(50, 400))
    p_values = paired_p(noise, seed=1)
    assert 0.02 <= np.mean(p_values < 0.05) <= 0.09
    monkeypatch.setattr(stats, "BLOCK_CELLS", 5000)
    assert (paired_p(noise, seed=1) == p_values).all(), "blocks do not matter"


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.6, 0.5])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).size == 0


def test_the_detectable_difference_is_found_as_often_as_it_says():
    generator, n = np.random.default_rng(7), 100
    least = detectable(generator.normal(0, 0.5, n))
    studies = generator.normal(least, 0.5, (n, 500))
    found = np.abs(studies.mean(0)) / (studies.std(0, ddof=1) / np.sqrt(n)) > 1.96
    assert 0.65 <= found.mean() <= 0.92  # about 0.8; the spread is itself estimated from one sample
    assert np.isnan(detectable(np.zeros(9))) and np.isnan(detectable(np.ones(1)))


def test_a_corrected_test_needs_a_larger_difference_and_more_questions():
    gap = np.array([1.0, 0.0] * 10)  # of 20 questions, by hand: (2.807 + 0.842) * 0.513 / 4.472 for ten tests
    assert detectable(gap, 10) == pytest.approx(0.4186, abs=1e-3)
    assert detectable(gap) < detectable(gap, 10) < detectable(gap, 45)
    assert detectable(gap[:6], 1) < np.inf and detectable(gap[:6], 2) == np.inf  # 2 of 64 signs: p = .031
    assert detectable(gap, 501) == np.inf, "the test draws 9,999 permutations"
    one = np.ones((6, 1))  # the strongest result that six questions can have
    assert paired_p(one, seed=1)[0] == pytest.approx(2 / 64, abs=0.006)

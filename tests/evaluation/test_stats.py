"""Intervals and tests: seeded, as wide as theory says, paired where the questions are the same, by document."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, t

from zmem_lib.evaluation import stats
from zmem_lib.evaluation.stats import (
    bootstrap_difference,
    bootstrap_mean,
    clustered_error,
    detectable,
    holm,
    least_margin,
    paired_p,
    same_p,
    unpaired_p,
)


def test_interval_of_a_share_is_close_to_the_normal_one():
    values = [1.0] * 120 + [0.0] * 280
    estimate = bootstrap_mean(values, 4000, seed=1, clusters=None)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 400)
    assert (estimate.value, estimate.n) == (pytest.approx(0.3), 400)
    assert estimate.ci_low == pytest.approx(0.3 - half, abs=0.006)
    assert estimate.ci_high == pytest.approx(0.3 + half, abs=0.006)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    estimates = [bootstrap_mean(generator.normal(2, 1, 80), 400, seed=i, clusters=None) for i in range(200)]
    assert 0.88 <= np.mean([one.ci_low <= 2 <= one.ci_high for one in estimates]) <= 0.99


def test_same_seed_same_interval_and_blocks_do_not_matter(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = bootstrap_mean(values, 500, seed=7, clusters=None)
    assert whole == bootstrap_mean(values, 500, seed=7, clusters=None)
    assert whole != bootstrap_mean(values, 500, seed=8, clusters=None)
    monkeypatch.setattr(stats, "BLOCK_CELLS", 1000)
    assert whole == bootstrap_mean(values, 500, seed=7, clusters=None)


def test_nan_is_left_out_and_counted():
    estimate = bootstrap_mean([1.0, np.nan, 0.0], 200, seed=1, clusters=None)
    assert (estimate.value, estimate.n) == (0.5, 2)
    empty = bootstrap_mean([np.nan], 200, seed=1, clusters=None)
    assert empty.n == 0 and np.isnan([empty.value, empty.ci_low, empty.ci_high]).all()


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(2)
    hard = generator.random(300)  # what makes a question hard for both systems
    difference = bootstrap_mean((hard + 0.05) - hard, 500, seed=1, clusters=None)
    assert difference.value == pytest.approx(0.05)
    assert (
        difference.ci_high - difference.ci_low
        < 1e-9
        < bootstrap_mean(hard, 500, seed=1, clusters=None).ci_high - hard.mean()
    )


def test_permutation_p_is_that_of_an_exact_test():
    generator = np.random.default_rng(5)
    gaps = generator.integers(0, 2, (40, 3)) - generator.integers(0, 2, (40, 3)) * [1.0, 1.0, 0.0]
    for column, p in zip(gaps.T, paired_p(gaps, seed=0, clusters=None), strict=True):
        exact = binomtest(int((column > 0).sum()), int((column != 0).sum())).pvalue  # of differences of one size
        assert p == pytest.approx(exact, abs=0.015)
    few = np.array([[1.0], [1.0], [1.0], [0.0]])  # of the eight signs of three differences, two are as extreme
    assert paired_p(few, seed=1, clusters=None)[0] == pytest.approx(2 / 8, abs=0.02)
    assert paired_p(np.zeros((30, 1)), seed=1, clusters=None)[0] == 1.0
    assert paired_p(np.ones((60, 1)), seed=1, clusters=None)[0] == 1e-4, "never 0"


def test_permutation_finds_nothing_where_there_is_nothing(monkeypatch):
    noise = np.random.default_rng(6).normal(size=(50, 400))
    p_values = paired_p(noise, seed=1, clusters=None)
    assert 0.02 <= np.mean(p_values < 0.05) <= 0.09
    monkeypatch.setattr(stats, "BLOCK_CELLS", 5000)
    assert (paired_p(noise, seed=1, clusters=None) == p_values).all(), "blocks do not matter"


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.6, 0.5])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).size == 0


def least(gap, tests=1):
    error, count = clustered_error(gap, None)
    return detectable(error, 2.0 ** (1 - count), tests)


def test_the_detectable_difference_is_found_as_often_as_it_says():
    generator, n = np.random.default_rng(7), 100
    difference = least(generator.normal(0, 0.5, n))
    studies = generator.normal(difference, 0.5, (n, 500))
    found = np.abs(studies.mean(0)) / (studies.std(0, ddof=1) / np.sqrt(n)) > 1.96
    assert 0.65 <= found.mean() <= 0.92  # about 0.8; the spread is itself estimated from one sample
    assert np.isnan(least(np.zeros(9))) and np.isnan(least(np.ones(1)))


def test_a_corrected_test_needs_a_larger_difference_and_more_questions():
    gap = np.array([1.0, 0.0] * 10)  # of 20 questions, by hand: (2.807 + 0.842) * 0.513 / 4.472 for ten tests
    assert least(gap, 10) == pytest.approx(0.4186, abs=1e-3)
    assert least(gap) < least(gap, 10) < least(gap, 45)
    assert least(gap[:6], 1) < np.inf and least(gap[:6], 2) == np.inf  # 2 of 64 signs: p = .031
    assert least(gap, 501) == np.inf, "the test draws 9,999 permutations"
    one = np.ones((6, 1))  # the strongest result that six questions can have
    assert paired_p(one, seed=1, clusters=None)[0] == pytest.approx(2 / 64, abs=0.006)


# --- clusters ---------------------------------------------------------------------------------------------------------


def studies(number, documents, generator, likeness=0.3, mean=0.6):
    """Made-up studies: right or wrong answers to 1 to 9 questions about each document, whose difficulty they share.

    `likeness` is the correlation of two answers about one document (of the beta-binomial distribution).
    """
    spread = (1 - likeness) / likeness
    for _ in range(number):
        sizes = generator.integers(1, 10, documents)
        names = np.repeat(np.arange(documents), sizes)
        yield (
            (generator.random(len(names)) < generator.beta(mean * spread, (1 - mean) * spread, documents)[names]),
            names,
        )


@pytest.mark.parametrize("documents", [27, 67])
def test_the_interval_by_document_covers_the_truth_as_often_as_it_says_and_that_by_question_does_not(documents):
    covered = {"document": 0, "question": 0}
    for values, names in studies(1000, documents, np.random.default_rng(documents)):
        for by, clusters in (("document", names), ("question", None)):
            one = bootstrap_mean(values, 400, seed=1, clusters=clusters)
            covered[by] += one.ci_low <= 0.6 <= one.ci_high
    assert 930 <= covered["document"] <= 970
    assert covered["question"] < 850


def test_sign_flips_by_document_find_nothing_where_there_is_nothing_and_those_by_question_do(monkeypatch):
    monkeypatch.setattr(stats, "FLIPS", 999)
    generator, found = np.random.default_rng(11), {"document": 0, "question": 0}
    for (one, names), flip in zip(studies(200, 40, generator, mean=0.5), generator.random(200), strict=True):
        gap = (2.0 * one - 1)[:, None] * np.sign(flip)  # as likely +1 as -1, alike within a document
        for by, clusters in (("document", names), ("question", None)):
            found[by] += paired_p(gap, seed=1, clusters=clusters)[0] < 0.05
    assert 2 <= found["document"] <= 20 and found["question"] > 30


def test_signs_of_whole_documents_by_hand():
    """Of four documents with differences 2, 1, 1 and 0 in sum, two of the eight signs that count are as extreme."""
    gap = np.array([[1.0], [1.0], [1.0], [0.5], [0.5], [0.0]])
    names = ["a", "a", "b", "c", "c", "d"]
    assert paired_p(gap, seed=1, clusters=names)[0] == pytest.approx(2 / 8, abs=0.02)
    assert paired_p(gap, seed=1, clusters=None)[0] == pytest.approx(2 / 32, abs=0.01)


def test_a_document_asked_twice_tells_no_more_than_once():
    values, names = np.random.default_rng(3).random(40), np.arange(40)
    once = bootstrap_mean(values, 500, seed=1, clusters=names)
    twice = bootstrap_mean(np.repeat(values, 2), 500, seed=1, clusters=np.repeat(names, 2))
    assert (twice.value, twice.ci_low, twice.ci_high) == pytest.approx((once.value, once.ci_low, once.ci_high))
    assert (once.n, once.clusters, twice.n, twice.clusters) == (40, 40, 80, 40)
    assert clustered_error(np.repeat(values, 2), np.repeat(names, 2)) == pytest.approx(clustered_error(values, None))
    assert clustered_error(values, None)[0] == pytest.approx(values.std(ddof=1) / np.sqrt(40))


def test_one_document_has_no_interval():
    alone = bootstrap_mean([1.0, 0.0, 1.0], 100, seed=1, clusters=["a"] * 3)
    assert (alone.value, alone.n, alone.clusters) == (pytest.approx(2 / 3), 3, 1)
    assert np.isnan([alone.ci_low, alone.ci_high]).all() and np.isnan(clustered_error([1.0, 0.0], ["a", "a"])[0])


def test_the_error_by_document_by_hand():
    """Residuals of 1, 1 | 0, 0 | 0.5, 0.5 around 0.5 are 1, -1 and 0 in sum: sqrt(3 / 2 * 2) / 6."""
    error, count = clustered_error([1, 1, 0, 0, 0.5, 0.5], list("aabbcc"))
    assert (error, count) == (pytest.approx(np.sqrt(3) / 6), 3)


def two_parts(first, second, documents):
    frames = []
    for name, values in (("new", first), ("seen", second)):
        names = [f"{name}{i}" for i in range(documents) for _ in range(len(values) // documents)]
        frames.append(pd.DataFrame({"value": values, "cluster": names}))
    return frames


def test_parts_of_other_documents_are_told_apart_by_permuting_documents():
    """By hand: of the six ways to call two of four documents new, two give a difference of 1 or more."""
    new, seen = two_parts([1.0] * 4, [0.0] * 4, 2)
    assert unpaired_p(new, seen, seed=1) == pytest.approx(2 / 6, abs=0.02)
    gap = bootstrap_difference(new, seen, 100, seed=1)
    assert (gap.value, gap.n, gap.clusters) == (1.0, 8, 4)
    new, seen = two_parts([1.0] * 20, [0.0] * 20, 10)
    assert unpaired_p(new, seen, seed=1) <= 3e-4
    assert unpaired_p(new, new.assign(cluster=new["cluster"] + "'"), seed=1) == 1.0
    generator, few = np.random.default_rng(5), 0
    for _ in range(100):
        (one, names), (other, others) = studies(2, 15, generator)
        frames = [pd.DataFrame({"value": one * 1.0, "cluster": names})]
        frames.append(pd.DataFrame({"value": other * 1.0, "cluster": 100 + others}))
        few += unpaired_p(*frames, seed=1) < 0.05
    assert few <= 12


def test_sameness_is_shown_where_the_interval_of_ninety_per_cent_lies_within_the_margin():
    gap = np.random.default_rng(2).normal(0.01, 0.1, 200)
    error, count = clustered_error(gap, None)
    reach = t.ppf(0.95, count - 1) * error
    edge = abs(gap.mean()) + reach  # the margin at which p is .05
    assert same_p(gap.mean(), error, edge, count) == pytest.approx(0.05)
    assert same_p(gap.mean(), error, 1.5 * edge, count) < 0.05 < same_p(gap.mean(), error, 0.9 * edge, count)
    assert same_p(0.3, error, 0.05, count) > 0.99, "a difference beyond the margin"
    assert np.isnan(same_p(0.0, 0.0, 0.05, 9)) and np.isnan(least_margin(np.nan, 1))


def test_the_least_margin_is_shown_as_often_as_it_says():
    generator, n = np.random.default_rng(8), 60
    margin = least_margin(0.4 / np.sqrt(n), n)
    made = generator.normal(0, 0.4, (500, n))
    shown = [same_p(one.mean(), one.std(ddof=1) / np.sqrt(n), margin, n) < 0.05 for one in made]
    assert 0.72 <= np.mean(shown) <= 0.88  # about 0.8
    assert least_margin(0.4 / np.sqrt(n), n, tests=6) > margin > least_margin(0.2 / np.sqrt(n), n)

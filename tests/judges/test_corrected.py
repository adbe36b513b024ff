"""Prediction-powered shares against the formula, the bootstrap without labels, and files that are refused."""

from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from zmem_lib.evaluation.stats import bootstrap_mean
from zmem_lib.files import BadInput
from zmem_lib.judges.corrected import (
    BOTH,
    JUDGE,
    LEAST_LABELS,
    PEOPLE,
    estimate,
    judged_table,
    prediction_powered,
    read_labels,
)
from zmem_lib.params import changed, read_params
from zmem_lib.tables import TABLES

METRIC = "checker_precision"


@pytest.fixture
def params():
    return changed(
        read_params("params/tiny.yaml"),
        {"evaluate.judge": "nli", "evaluate.judge_model": "m", "evaluate.bootstrap_samples": 200},
    )


def draws(seed, n, others, flip=0.2):
    generator = np.random.default_rng(seed)
    truth = (generator.random(n + others) < 0.6).astype(float)
    judged = np.where(generator.random(n + others) < flip, 1.0, truth)  # a judge who is too kind
    return truth, judged


def formula(labels, judged, others):
    """PPI++ written out: the weight of least variance, the mean, the normal interval."""
    n, rest = len(labels), len(others)
    both = np.concatenate([judged, others])
    weight = np.cov(labels, judged, bias=True)[0, 1] / ((1 + n / rest) * both.var())
    weight = min(max(weight, 0.0), 1.0)
    mean = weight * others.mean() + (labels - weight * judged).mean()
    spread = np.sqrt(weight**2 * others.var() / rest + (labels - weight * judged).var() / n)
    return weight, mean, NormalDist().inv_cdf(0.975) * spread


def powered(labels, judged, clusters=None):
    """People's values of the first answers, the judge's of all."""
    unknown = np.full(len(judged) - len(labels), np.nan)
    return prediction_powered(np.concatenate([labels, unknown]), judged, clusters)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_formula(seed):
    truth, judged = draws(seed, 40, 300)
    weight, mean, half = formula(truth[:40], judged[:40], judged[40:])
    assert 0.1 < weight < 1
    found = powered(truth[:40], judged)
    assert found.value == pytest.approx(mean, abs=5e-3) and found.n == 340
    assert found.ci_high - found.ci_low == pytest.approx(2 * half, rel=0.05)
    assert (found.ci_low + found.ci_high) / 2 == pytest.approx(found.value)


def test_a_kind_judge_is_corrected_and_the_interval_covers_the_truth():
    covered, believed = 0, 0
    for seed in range(200):
        truth, judged = draws(seed, 60, 400)
        found = powered(truth[:60], judged)
        covered += found.ci_low <= 0.6 <= found.ci_high
        naive = bootstrap_mean(judged, 200, seed, clusters=None)
        believed += naive.ci_low <= 0.6 <= naive.ci_high
    assert covered >= 180 and believed <= 60


def test_answers_about_one_document_count_together():
    """Everybody's verdict twice, in pairs: the same mean and the same interval as once."""
    truth, judged = draws(0, 40, 100)
    labels, names = np.append(truth[:40], np.full(100, np.nan)), np.arange(140)
    once = prediction_powered(labels, judged, names)
    twice = prediction_powered(np.repeat(labels, 2), np.repeat(judged, 2), np.repeat(names, 2))
    assert (twice.value, twice.ci_high) == pytest.approx((once.value, once.ci_high))
    assert (once.n, once.clusters, twice.n, twice.clusters) == (140, 140, 280, 140)
    apart = prediction_powered(np.repeat(labels, 2), np.repeat(judged, 2), None)
    assert apart.ci_high - apart.ci_low < 0.75 * (once.ci_high - once.ci_low)


def test_a_useless_judge_leaves_what_people_say():
    generator = np.random.default_rng(0)
    labels, judged, others = generator.random(100), np.full(100, 0.5), np.full(50, 0.5)
    found = powered(labels, np.concatenate([judged, others]))
    half = t.ppf(0.975, 149) * labels.std() / 10 * np.sqrt(150 / 149)
    assert (found.value, found.ci_high) == pytest.approx((labels.mean(), labels.mean() + half))


def test_who_is_behind_an_estimate(params):
    judged, none, ids = np.array([1.0, 0, 1, np.nan] * 10), np.full(40, np.nan), np.arange(40)
    found, by = estimate(judged, none, ids, params)
    assert by == JUDGE and found == bootstrap_mean(judged, 200, params.seed, clusters=ids) and found.n == 30
    few = none.copy()
    few[:LEAST_LABELS] = 1.0  # of which two the judge left out
    assert estimate(judged, few, ids, params)[1] == JUDGE
    some = none.copy()
    some[:20] = 0.0
    found, by = estimate(judged, some, ids, params)
    assert by == BOTH and found.n == 30 and found.value < 0.3
    found, by = estimate(judged, np.zeros(40), ids, params)
    assert (by, found.value, found.n) == (PEOPLE, 0, 30)


def test_the_table_counts_asked_judged_and_labelled(params):
    rows = [
        (f"q{i}", s, "seen", METRIC, np.nan if i == 0 else float(i % 2), f"d{i}")
        for s in ("zmem", "bm25")
        for i in range(30)
    ]
    verdicts = pd.DataFrame(rows, columns=list(TABLES["verdicts"]))
    labels = pd.DataFrame(
        [(f"q{i}", "zmem", METRIC, 1.0) for i in range(15)], columns=["question_id", "system", "metric", "value"]
    )
    table = judged_table(verdicts, labels, params).set_index("system")
    assert table["asked"].tolist() == [30, 30] and table["n"].tolist() == [29, 29]
    assert table["labels"].tolist() == [14, 0] and table["by"].tolist() == [BOTH, JUDGE]
    assert table.loc["zmem", "value"] > table.loc["bm25", "value"]
    plain = judged_table(verdicts, labels.iloc[:0], params)
    assert set(plain["by"]) == {JUDGE}
    assert judged_table(verdicts.iloc[:0], labels.iloc[:0], params).empty


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_both_kinds_of_file(params, tmp_path):
    lines = f'{{"question_id": "q1", "system": "zmem", "metric": "{METRIC}", "value": 1}}\n\n'
    table = f"question_id,system,metric,value\nq1,zmem,{METRIC},1\n"
    found = [
        read_labels(changed(params, {"evaluate.human_labels": write(tmp_path, name, text)}), {"q1"})
        for name, text in (("a.jsonl", lines), ("a.csv", table))
    ]
    assert found[0].values.tolist() == [["q1", "zmem", METRIC, 1.0]] == found[1].values.tolist()


def test_no_file_yet_is_no_fault(params, tmp_path):
    later = changed(params, {"evaluate.human_labels": str(tmp_path / "later.csv")})
    assert read_labels(later, {"q1"}).empty and read_labels(params, {"q1"}).empty


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (f"q9,zmem,{METRIC},1", "line 2: field 'question_id' holds 'q9'"),
        (f"q1,zmen,{METRIC},1", "line 2: field 'system' holds 'zmen'"),
        ("q1,zmem,ragas_faithfulness,1", "line 2: field 'metric' holds 'ragas_faithfulness'"),  # not this judge's
        (f"q1,zmem,{METRIC},yes", "line 2: field 'value' must be a number from 0 to 1, not 'yes'"),
        (f"q1,zmem,{METRIC},1.5", "line 2: field 'value' must be"),
        (f"q1,zmem,{METRIC},nan", "line 2: field 'value' must be"),
        (f"q1,zmem,{METRIC}", "line 2: field 'value' must be a number from 0 to 1, not None"),
        (f",zmem,{METRIC},1", "line 2: field 'question_id' must be text that is not empty"),
        (f"q1,zmem,{METRIC},1\nq1,zmem,{METRIC},0", "line 3: an earlier line has the same question_id"),
    ],
)
def test_malformed_lines_are_named(params, tmp_path, row, said):
    path = write(tmp_path, "labels.csv", f"question_id,system,metric,value\n{row}\n")
    with pytest.raises(BadInput, match=said.replace("(", r"\(")):
        read_labels(changed(params, {"evaluate.human_labels": path}), {"q1"})


@pytest.mark.parametrize(("text", "said"), [("[1]", "line 1: must be a JSON object"), ("{", "line 1: not valid JSON")])
def test_malformed_json_is_named(params, tmp_path, text, said):
    with pytest.raises(BadInput, match=said):
        read_labels(changed(params, {"evaluate.human_labels": write(tmp_path, "labels.jsonl", text)}), {"q1"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["evaluate.judge=nli"], r"needs evaluate\.judge_model"),
        (["evaluate.human_labels=a.csv"], "correct a judge"),
        (["evaluate.judge=nli", "evaluate.judge_model=m", "evaluate.human_labels=a.txt"], "must name a .csv or .jsonl"),
    ],
)
def test_combinations_are_refused_before_anything_runs(changes, said):
    with pytest.raises(BadInput, match=said):
        read_params("params/tiny.yaml", changes)

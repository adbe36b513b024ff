"""Confidence, risk and coverage: worked by hand, at their bounds, against the plain computation, and as tables."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import random_blocks, score_one_by_one, sentence, small_lm, small_params

from zmem_lib.cache import Cache
from zmem_lib.evaluation import abstention
from zmem_lib.evaluation.risk import aurc, auroc, coverage_at, risk_coverage, threshold
from zmem_lib.evaluation.stats import bootstrap, bootstrap_mean
from zmem_lib.report import chapter_tables, figures
from zmem_lib.report.findings import abstaining
from zmem_lib.systems import cost
from zmem_lib.systems.collection import Collection
from zmem_lib.tables import check, write_table

PARAMS = small_params({"machine.answer_batch": 3})
WRONG = [0, 1, 0, 1]
DOCS = pd.DataFrame({"doc_id": ["d"], "title": "", "text": "x", "part": "seen"})

# --- formulas ---------------------------------------------------------------------------------------------------------


def test_risk_coverage_by_hand():
    curve = risk_coverage([4.0, 3.0, 2.0, 1.0], WRONG)
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve["risk"].tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert aurc([4.0, 3.0, 2.0, 1.0], WRONG) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert aurc([1.0, 2.0, 3.0, 4.0], WRONG) == pytest.approx((1 + 1 / 2 + 2 / 3 + 1 / 2) / 4)  # the other way round


def test_a_tie_is_the_mean_over_its_orders():
    tied = risk_coverage([9.0, 5.0, 5.0, 1.0], [0, 1, 0, 1])["risk"]
    orders = [risk_coverage([4.0, 3.0, 2.0, 1.0], order)["risk"] for order in ([0, 1, 0, 1], [0, 0, 1, 1])]
    assert tied.tolist() == pytest.approx(((orders[0] + orders[1]) / 2).tolist())


def test_chance_is_the_share_of_wrong_answers():
    generator = np.random.default_rng(0)
    wrong = generator.random(200) < 0.3
    assert aurc(np.zeros(200), wrong) == pytest.approx(wrong.mean())
    by_chance = [aurc(generator.random(200), wrong) for _ in range(300)]
    assert np.mean(by_chance) == pytest.approx(wrong.mean(), abs=0.01)


def test_perfect_order_is_the_best_there_is():
    wrong = np.random.default_rng(1).random(400) < 0.25
    best = aurc(-wrong.astype(float), wrong)
    sure = np.where(wrong, 0, 1) + np.random.default_rng(2).random(400) / 2  # every right answer before every wrong one
    share = wrong.mean()
    assert aurc(sure, wrong) == pytest.approx(best)
    assert best == pytest.approx(share + (1 - share) * math.log(1 - share), abs=2e-3)  # 1805.08206, for large n
    assert best < aurc(np.random.default_rng(3).random(400), wrong)
    assert aurc([3.0, 2.0], [0, 0]) == 0 and aurc([3.0, 2.0], [1, 1]) == 1


def test_coverage_at_a_risk_cuts_between_ties_only():
    confidence, wrong = [5, 4, 3, 3, 1], [0, 0, 1, 0, 1]
    assert coverage_at(confidence, wrong, risk=0.0) == 0.4
    assert coverage_at(confidence, wrong, risk=0.25) == 0.8
    assert coverage_at(confidence, wrong, risk=0.24) == 0.4  # at 3 of 5 the tie's mean would have been 1/6
    assert coverage_at(confidence, wrong, risk=0.4) == 1.0
    assert coverage_at([2, 1], [1, 0], risk=0.1) == 0.0


def test_auroc_by_hand_and_as_scikit_learn_has_it():
    assert auroc([3.0, 2.0, 2.0, 1.0], [1, 1, 0, 0]) == (1 + 1 + 0.5 + 1) / 4
    assert auroc([1.0, 2.0], [1, 0]) == 0.0 and math.isnan(auroc([1.0, 2.0], [1, 1]))
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(4)
    answerable = generator.random(300) < 0.6
    confidence = np.round(generator.normal(answerable, 1), 1)  # with ties
    assert len(set(confidence)) < 100
    assert auroc(confidence, answerable) == pytest.approx(metrics.roc_auc_score(answerable, confidence))


def test_threshold_answers_what_it_should():
    confidence, answerable = [1, 2, 3, 4, 5], [0, 0, 1, 0, 1]
    assert threshold(confidence, answerable) == 3
    assert threshold([1, 2], [1, 0]) == 1  # nothing to be gained: answer all
    assert threshold([math.inf, 0.0], [1, 0]) == math.inf


def test_nan_is_no_confidence():
    with pytest.raises(AssertionError):
        aurc([1.0, math.nan], [0, 1])


def test_bootstrap_of_a_mean_is_that_of_the_mean():
    values, names = np.random.default_rng(5).random(150), np.repeat(np.arange(75), 2)
    drawn = {"samples": 2000, "seed": 1}
    any_statistic, mean = (
        bootstrap(np.mean, (values,), clusters=names, **drawn),
        bootstrap_mean(values, clusters=names, **drawn),
    )
    assert any_statistic.value == pytest.approx(mean.value) and (any_statistic.n, any_statistic.clusters) == (150, 75)
    assert any_statistic.ci_low == pytest.approx(mean.ci_low, abs=0.004)
    assert any_statistic.ci_high == pytest.approx(mean.ci_high, abs=0.004)


def test_bootstrap_keeps_rows_together_and_leaves_out_what_is_not_defined():
    sure = np.arange(40.0)
    one = bootstrap(auroc, (sure, sure >= 20), clusters=None, samples=200, seed=1)
    assert (one.value, one.ci_low, one.ci_high) == (1, 1, 1)
    few = bootstrap(
        auroc, ([2.0, 1.0], [1, 0]), clusters=None, samples=50, seed=1
    )  # half of the samples have one class
    assert (few.value, few.ci_low, few.ci_high, few.n) == (1, 1, 1, 2)
    none = bootstrap(auroc, ([], []), clusters=None, samples=5, seed=1)
    assert none.n == 0 and math.isnan(none.value)


# --- what the model says ----------------------------------------------------------------------------------------------


def test_entropy_of_uniform_logits_is_that_of_the_vocabulary():
    memory_lm = small_lm(PARAMS)
    with torch.no_grad():
        memory_lm.lm.get_output_embeddings().weight.zero_()
    z = random_blocks(2, PARAMS)
    entropy = abstention.first_token_entropy(memory_lm, z, [sentence(1, 3), sentence(2, 6)], batch=2)
    size = memory_lm.lm.get_output_embeddings().weight.shape[0]
    torch.testing.assert_close(entropy, torch.full((2,), math.log(size)))


def test_batched_entropy_equals_one_by_one():
    memory_lm, z = small_lm(PARAMS), random_blocks(7, PARAMS)
    questions = [sentence(i, n) for i, n in enumerate((3, 9, 5, 1, 12, 4, 2))]
    batched = abstention.first_token_entropy(memory_lm, z, questions, batch=3)
    embed, plain = memory_lm.lm.get_input_embeddings(), []
    for block, question in zip(z, questions, strict=True):
        begun = embed(torch.tensor(memory_lm.prompts.begin, dtype=torch.long))
        tokens = embed(torch.tensor(memory_lm.prompts.asked(question)))
        with torch.no_grad():
            logits = memory_lm.lm(inputs_embeds=torch.cat([begun, block, tokens])[None]).logits[0, -1]
        p = logits.double().softmax(-1)
        plain.append(-(p * p.clamp(min=1e-300).log()).sum())
    torch.testing.assert_close(batched.double(), torch.stack(plain), atol=1e-4, rtol=1e-4)
    assert batched.std() > 0.01  # the questions differ, so equality says something


def test_question_likelihood_is_the_selectors_score_by_token():
    memory_lm, z = small_lm(PARAMS), random_blocks(3, PARAMS)
    questions = [sentence(i, n) for i, n in enumerate((3, 8, 5))]
    tokens = torch.tensor([len(memory_lm.prompts.encode(question)) for question in questions])
    expected = score_one_by_one(memory_lm, z, questions).diagonal() / tokens
    found = abstention.question_likelihood(memory_lm, z, questions, batch=2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_no_question_no_value():
    memory_lm = small_lm(PARAMS)
    for score in (abstention.first_token_entropy, abstention.question_likelihood):
        assert score(memory_lm, random_blocks(0, PARAMS), [], batch=2).shape == (0,)


def test_doubt_is_about_the_first_z_of_each_answer():
    memory_lm, z = small_lm(PARAMS), random_blocks(3, PARAMS)
    docs = pd.DataFrame({"doc_id": ["a", "b", "c"]})
    held = Collection(Path(), PARAMS, docs, z, torch.empty(3, 0), loaded={"lm": memory_lm})
    questions = pd.DataFrame({"question_id": ["q1", "q2"], "question": [sentence(1, 3), sentence(2, 6)]})
    answers = pd.DataFrame({"question_id": ["q2", "q1"], "ranked_doc_ids": [["c", "a"], ["b"]]})
    doubt = abstention.doubt_table(questions, answers, held)
    asked = [questions["question"][1], questions["question"][0]]
    assert doubt["question_id"].tolist() == ["q2", "q1"]
    expected = abstention.first_token_entropy(memory_lm, z[[2, 1]], asked, batch=2)
    assert doubt["entropy"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


# --- tables -----------------------------------------------------------------------------------------------------------


def answers_of(rows):
    """Rows of question_id, part, ranked_scores, answer."""
    frame = pd.DataFrame(rows, columns=["question_id", "part", "ranked_scores", "answer"])
    ids = [[f"d{i}" for i in range(len(scores))] for scores in frame["ranked_scores"]]
    frame = frame.assign(ranked_doc_ids=ids, evidence=[[] for _ in ids], evidence_tokens=0, kind="")
    return check(frame.assign(seconds=0.1, input_tokens=1, output_tokens=1, money=0.0), "answers")


ABSENT = check(
    pd.DataFrame(
        [("x1", "Who?", "nobody", "test"), ("x2", "Whose?", "left out", "test"), ("x3", "Whom?", "nobody", "dev")],
        columns=["question_id", "question", "kind", "split"],
    ),
    "absent",
)
QUESTIONS = pd.DataFrame(
    {
        "question_id": ["q1", "q2", "q3", "v1", "v2"], "question": ["1?", "2?", "3?", "4?", "5?"],
        "answers": [["Oslo"], ["Rome"], ["Bonn"], ["Ghent"], ["Lima"]], "gold_doc_ids": [["d1"]] * 5,
        "split": ["test", "test", "new-test", "dev", "new-dev"],
    }
)  # fmt: skip
TEST = [("q1", "seen", [9.0, 1.0], "oslo"), ("q2", "seen", [8.0, 5.0], "Oslo"), ("q3", "new", [7.0, 3.0], "Bonn")]
ASIDE = [("x1", "absent", [6.0, 5.5], ""), ("x2", "absent", [9.5, 9.0], "Rome"), ("x3", "absent-dev", [5.0, 4.0], "?"),
         ("v1", "dev", [5.0, 3.0], "Ghent")]  # fmt: skip
DOUBT = pd.DataFrame(
    {
        "question_id": ["q1", "q2", "q3", "x1", "x2", "x3", "v1"],
        "entropy": [0.5, 1.0, 0.6, 2.0, 3.0, 1.5, 0.1],
        "likelihood": [-1.0, -2.0, -1.0, -2.0, -3.0, -4.0, -1.0],
    }
)


@pytest.fixture(scope="module")
def confidence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    for name in ("zmem", "bm25"):
        write_table(answers_of(ASIDE), folder / f"answers_{name}-aside.parquet", "answers")
    silent = answers_of([(*row[:2], [], row[3]) for row in TEST])  # ranks nothing
    answers = abstention.with_aside(folder, {"zmem": answers_of(TEST), "bm25": answers_of(TEST), "closed-book": silent})
    assert {name: len(table) for name, table in answers.items()} == {"zmem": 7, "bm25": 7}
    return abstention.confidence_table(QUESTIONS, ABSENT, answers, doubt=DOUBT, rule="squad")


@pytest.fixture(scope="module")
def abstained(confidence):
    return abstention.abstention_table(confidence, 200, 1)


def value(abstained, system, part, score, metric):
    rows = abstained.query("system == @system and part == @part and score == @score and metric == @metric")
    (found,) = rows["value"]
    return found


def test_confidence_by_hand(confidence):
    mine = confidence.query("system == 'zmem'").pivot(index="question_id", columns="score", values="value")
    assert mine.loc["q1"].to_dict() == {"top": 9.0, "margin": 8.0, "entropy": -0.5, "likelihood": -1.0}
    assert set(confidence.query("system == 'bm25'")["score"]) == {"top", "margin"}
    wrong = confidence.drop_duplicates("question_id").set_index("question_id")["wrong"]
    assert wrong.to_dict() == {"q1": 0, "q2": 1, "q3": 0, "x1": 1, "x2": 1, "x3": 1, "v1": 0}
    kinds = confidence.drop_duplicates("question_id").set_index("question_id")["kind"]
    assert kinds[["x1", "x2", "q1"]].tolist() == ["nobody", "left out", ""]


def test_abstention_by_hand(abstained):
    def of(*row):
        return pytest.approx(value(abstained, "zmem", *row))

    assert of("answerable", "top", "aurc") == (0 + 1 / 2 + 1 / 3) / 3  # q1, q2, q3
    assert of("answerable", "margin", "aurc") == (0 + 0 + 1 / 3) / 3  # q1, q3, q2
    assert of("all", "margin", "aurc") == (0 + 0 + 1 / 3 + 2 / 4 + 3 / 5) / 5  # then x1 and x2, both wrong
    assert of("all", "best", "aurc") == of("all", "margin", "aurc")
    assert of("all", "random", "aurc") == 3 / 5 and of("answerable", "random", "aurc") == 1 / 3
    assert of("all", "top", "coverage@risk") == 0 and of("all", "entropy", "coverage@risk") == 2 / 5
    assert of("absent", "top", "auroc") == 3 / 6 and of("absent", "margin", "auroc") == 1
    assert of("nobody", "top", "auroc") == 1 and of("left out", "top", "auroc") == 0


def test_threshold_comes_from_dev_and_is_tried_on_test(abstained):
    def of(*row):
        return pytest.approx(value(abstained, "zmem", *row))

    assert of("answerable", "margin", "answered") == 1 and of("absent", "margin", "refused") == 1  # v1 has 2, x3 has 1
    assert of("all", "margin", "risk") == 1 / 3
    assert of("absent", "entropy", "refused") == 1  # from -0.1, which none of the others reaches
    assert of("answerable", "entropy", "answered") == 0
    row = abstained.query("score == 'entropy' and metric == 'risk'").iloc[0]
    assert row["n"] == 0 and math.isnan(row["value"])


def test_without_absent_questions_the_answerable_ones_stand_alone():
    answers = {"bm25": answers_of(TEST)}
    none = abstention.confidence_table(QUESTIONS, ABSENT.head(0), answers, doubt=DOUBT.head(0), rule="squad")
    found = abstention.abstention_table(none, 50, 1)
    assert set(found["part"]) == {"answerable"} and set(found["metric"]) == {"aurc", "coverage@risk"}
    empty = abstention.confidence_table(QUESTIONS, ABSENT.head(0), {}, doubt=DOUBT.head(0), rule="squad")
    assert len(empty) == 0 and len(abstention.abstention_table(empty, 50, 1)) == 0


def test_what_is_asked_aside_are_absent_questions_and_as_many_dev_questions():
    asked = abstention.to_ask(ABSENT, QUESTIONS, PARAMS)
    parts = dict(zip(asked["question_id"], asked["part"], strict=True))
    dev = parts.keys() & {"v1", "v2"}
    assert len(dev) == 1 and parts == {"x1": "absent", "x2": "absent", "x3": "absent-dev"} | dict.fromkeys(dev, "dev")
    assert asked["gold_doc_ids"].map(len).tolist() == [0, 0, 0, 1]
    assert abstention.to_ask(ABSENT.head(0), QUESTIONS, PARAMS).empty


def test_answers_aside_have_a_place_of_their_own(tmp_path, monkeypatch):
    asked, places = abstention.to_ask(ABSENT, QUESTIONS, PARAMS), []

    def answers(name, questions, held, laps=None):
        if laps is not None:
            laps += [0.0, 0.0, 0.0]
        places.extend([held.cache.folder] if held.cache else [])  # the one that warms up keeps nothing
        return answers_of([(row.question_id, row.part, [1.0], "") for row in questions.itertuples()])

    monkeypatch.setattr(cost, "answers_of", answers)
    held = Collection(
        tmp_path, PARAMS, DOCS, torch.empty(0), torch.empty(0), cache=Cache(tmp_path / "under_way_05", "abc")
    )
    found = abstention.answer_aside(asked, ["zmem"], held)
    assert places == [tmp_path / "under_way_05/aside"] and len(found["zmem"]) == 4
    assert (tmp_path / "answers_zmem-aside.parquet").is_file()
    again = abstention.answer_aside(asked, ["zmem"], held)
    assert len(places) == 1 and again["zmem"]["part"].equals(found["zmem"]["part"])  # kept
    assert abstention.answer_aside(asked.head(0), ["zmem"], held) == {}


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_figure_has_a_panel_for_each_system_and_a_line_for_each_score(confidence):
    figure = figures.risk_coverage_curves(confidence)
    titles = {axis.get_title(): len(axis.get_lines()) for axis in figure.axes}
    assert titles == {"z-memory (n = 5)": 2 + 4, "BM25 (n = 5)": 2 + 2}
    line = next(one for one in figure.axes[0].get_lines() if one.get_label() == figures.CONFIDENCE["margin"])
    assert line.get_ydata().tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2, 3 / 5])
    assert len(figure.legends) == 1
    assert not figures.risk_coverage_curves(confidence.head(0)).axes[0].get_visible()


def test_overview_and_sentence_say_what_the_table_holds(abstained):
    html = chapter_tables.abstention_overview(abstained).data
    row = html[html.index(">random<") :]  # the first: of z-memory, answerable
    assert re.search(r'data row\d+ col0" >([^<]+)', row)[1] == "0.33"
    heads = re.findall(r'col_heading level0 col\d+" >([^<]+)', html)
    assert heads[:3] == ["AURC", "coverage at risk 0.1", "AUROC"] and html.index(">answerable<") < html.index(">zmem<")
    said = abstaining(abstained)
    assert said.startswith("**Knowing when not.**") and "chance 0.60" in said
    assert "z-memory 0.29 [" in said and "BM25 0.29 [" in said and "z-memory 1.00 [1.00, 1.00] (1.00 and 1.00)" in said
    alone = abstaining(abstained[abstained["part"] == "answerable"])
    assert "chance 0.33" in alone and "AUROC" not in alone
    assert abstaining(abstained.head(0)) == ""

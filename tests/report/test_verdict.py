"""The sentences of page one on kept runs whose tables are known, and on changed copies of them."""

from pathlib import Path

import pandas as pd
import pytest

from zmem_lib.params import read_params
from zmem_lib.report import verdict
from zmem_lib.report.results import read_kept
from zmem_lib.report.wording import RIVALS, gaps_of
from zmem_lib.tables import TABLES, no_rows

ROOT = Path(__file__).parents[2]


def tables_of(run):
    folder = ROOT / "tests/kept" / run
    return {name: read_kept(folder, name) for name in ("summary", "pairs")} | {"right_z": no_rows("right_z")}


@pytest.fixture(scope="module")
def sleepqa():
    return tables_of("sleepqa")


@pytest.fixture(scope="module")
def tiny():
    return tables_of("tiny")


def params(run, language="en", **changes):
    return read_params(
        ROOT / f"params/{run}.yaml", [f"report.language={language}", *(f"{k}={v}" for k, v in changes.items())]
    )


def without_memory(tables):
    pairs = tables["pairs"]
    kept = ~pairs["first"].str.startswith("zmem") & ~pairs["second"].str.startswith("zmem")
    summary = tables["summary"]
    return tables | {"pairs": pairs[kept], "summary": summary[~summary["system"].str.startswith("zmem")]}


def test_a_memory_that_finds_nothing_is_called_worse_though_nobody_reads(sleepqa):
    found, exact = verdict.verdict(sleepqa, params("sleepqa"))
    assert (
        "on unasked documents (n = 300) z-memory with 0.00 is worse than BM25 and dense fused by score with 0.66"
        in found
    )
    assert "the best of 7 others (of these: better than 0, worse than 6, not told apart from 1)" in found
    assert "on new documents (n = 46) z-memory with 0.37 is worse than BM25 with 0.70" in found
    assert "on unasked documents (n = 300) the answers decide nothing" in exact and "better" not in exact
    assert "more than 0.01 of them exact" in exact  # 2 of 300, rounded up: never less than what was found


def test_a_memory_that_answers_best_is_called_better(tiny):
    found, exact = verdict.verdict(tiny, params("tiny"))
    assert "z-memory with 0.97 is not told apart from BM25 with 1.00" in found
    assert "z-memory with 0.87 is better than BM25 with 0.70" in exact and "nothing" not in exact


def test_the_verdict_follows_the_corrected_test_and_no_value(tiny):
    uncorrected = tiny["pairs"].assign(p=0.001, p_holm=0.2)
    exact = verdict.verdict(tiny | {"pairs": uncorrected}, params("tiny"))[1]
    assert "better than BM25" not in exact and "z-memory with 0.87 is not told apart from BM25 with 0.70" in exact


def test_variants_of_the_memory_are_no_rivals(tiny):
    pairs = tiny["pairs"]
    variant = pairs[pairs["second"] == "bm25"].assign(second="zmem+text")
    both = tiny | {"pairs": pd.concat([pairs, variant])}
    assert verdict.verdict(both, params("tiny")) == verdict.verdict(tiny, params("tiny"))
    assert "zmem+text" not in RIVALS and "zmem+text" not in gaps_of(both["pairs"], "seen", "em")


def test_a_pair_is_read_from_either_side(tiny):
    (gap,) = [gap for rival, gap in gaps_of(tiny["pairs"], "seen", "em", "dense").items() if rival == "bm25"]
    row = tiny["pairs"].query("part == 'seen' and metric == 'em' and first == 'bm25' and second == 'dense'").iloc[0]
    assert (gap.value, gap.ci_low, gap.ci_high) == (-row.value, -row.ci_high, -row.ci_low)


def test_without_a_memory_the_verdict_is_among_the_retrievers(tiny):
    bare = without_memory(tiny)
    found, exact = verdict.verdict(bare, params("tiny"))
    assert "on seen documents (n = 150) BM25 has the highest value, 1.00, and is told apart from" in found
    rivals = bare["pairs"].query("part == 'seen' and metric == 'recall@1' and (first == 'bm25' or second == 'bm25')")
    assert f"from {(rivals['p_holm'] < 0.05).sum()} of {len(rivals)} others" in found
    assert "on seen documents (n = 150) BM25 has the highest value" in exact
    assert verdict.controls(bare, params("tiny"))[0].startswith("**Reader")
    nobody = bare | {"summary": bare["summary"].iloc[:0], "pairs": bare["pairs"].iloc[:0]}
    assert verdict.verdict(nobody, params("tiny")) == [
        "No system that has to find its document was compared in this run."
    ]


def test_too_few_questions_to_show_anything_are_said_to_be(tiny):
    pairs = tiny["pairs"].copy()
    few = (pairs["part"] == "new") & (pairs["metric"] == "recall@1")
    pairs.loc[few, "detectable"] = float("inf")
    pairs.loc[few & (pairs["second"] == "bm25"), "detectable"] = float("nan")  # the two never differ
    (found, exact), (korean, _) = (
        verdict.verdict(tiny | {"pairs": pairs}, params("tiny", one)) for one in ("en", "ko")
    )
    assert found.endswith("on new documents n = 75 is too few for any difference to show (z-memory has 1.00).")
    assert "on seen documents (n = 150) z-memory" in found and "too few" not in exact
    assert "새 문서에서는 질문이 너무 적어(n = 75)" in korean


def test_korean_says_the_same_figures(sleepqa):
    found, exact = verdict.verdict(sleepqa, params("sleepqa", "ko"))
    assert (
        "미질의 문서(n = 300)에서 z-메모리의 값(0.00)은 BM25와 밀집 검색의 점수 융합의 값(0.66)보다 유의하게 낮습니다"
        in found
    )
    assert "우세 0, 열세 6, 차이 미확인 1" in found and "답변으로 우열을 가릴 수 없습니다" in exact


def test_controls_hold_the_right_z_against_the_best_of_the_wrong_ones(tiny):
    rows = [
        (f"{part}{i}", system, part, "answer_in_evidence", float(i < right), f"{part}{i // 2}")
        for part in ("seen", "new")
        for system, right in (("zmem-oracle", 18), ("zmem-shuffled", 2), ("zmem-similar", 4))
        for i in range(20)
    ]
    scores = pd.DataFrame(rows, columns=["question_id", "system", "part", "metric", "value", "cluster"])
    said = verdict.controls(tiny | {"scores": scores}, params("tiny", **{"evaluate.bootstrap_samples": 200}))
    assert said[0].startswith(
        "**Placebo, seen documents** (n = 20 from 10 documents): with the right z the answer stands in 0.90 ["
    )
    assert "the difference is +0.70 [" in said[0] and "comes from the document's own z" in said[0]
    turned = scores.replace({"system": {"zmem-oracle": "zmem-similar", "zmem-similar": "zmem-oracle"}})
    assert "the memory does not work here" in verdict.controls(tiny | {"scores": turned}, params("tiny"))[0]
    assert [line.split(",")[0] for line in said] == ["**Placebo"] * 2 + ["**Reader"] * 2


READ = {"zmem-oracle": 0.43, "zmem-other-question": 0.10, "gold+random-sentence": 0.28, "gold+sentence": 0.84}


def with_evidence(tables, *, right=0.43, retention=0.51):
    """The tables with these shares of answers in evidence of the seen documents, each known to .05."""
    shares = READ | {"zmem-oracle": right}
    rows = [
        (name, "seen", metric, share, share - 0.05, share + 0.05, 400, 200)
        for metric in ("answer_in_evidence", "f1")
        for name, share in shares.items()
    ]
    old = tables["summary"]
    summary = pd.concat([old[~old["system"].isin(list(READ))], pd.DataFrame(rows, columns=list(old))])
    gap = right - READ["gold+random-sentence"]
    told = [("gold+random-sentence", "difference", gap), ("gold+sentence", "retention", retention)]
    rows = [("seen", name, measure, value, value - 0.05, value + 0.05, 400, 200) for name, measure, value in told]
    return tables | {"summary": summary, "right_z": pd.DataFrame(rows, columns=list(TABLES["right_z"]))}


def test_page_one_says_whether_the_block_is_read_and_what_it_keeps(tiny):
    tables = with_evidence(tiny)
    assert verdict.verdict(tables, params("tiny"))[-1] == (
        "**Reading its block** (the answer stands in what the right block writes): on seen documents (n = 400 from "
        "200 documents) 0.43, more than in a random sentence of the passage, 0.28."
    )
    words = verdict.phrases("en")
    assert verdict.read_or_recited(tables, "seen", words) == (
        "**Read, or recited? seen documents** (n = 400 from 200 documents): asked its question, the right block "
        "writes a sentence with the answer for 0.43 [0.38, 0.48] of the questions, asked another "
        "question of the same document for 0.10 [0.05, 0.15]; a random sentence of the passage has it "
        "for 0.28 [0.23, 0.33], the sentence nearest to the question for 0.84 [0.79, 0.89]. It "
        "writes more than chance finds in the passage."
    )
    assert verdict.kept(tables, "seen", words) == (
        "**Strict retention, seen documents** (n = 400 from 200 documents): the right block writes the answer "
        "0.51 [0.46, 0.56] times as often as it stands in the gold passage's sentence nearest to the question "
        "(0.43 against 0.84, with as many tokens; F1 of the reader 0.43 against 0.84)."
    )
    assert "reads a text worse than a block" in verdict.kept(with_evidence(tiny, retention=1.6), "seen", words)
    assert verdict.read_or_recited(tables, "new", words) == verdict.kept(tables, "new", words) == ""


@pytest.mark.parametrize(("right", "nothing"), [(0.28, True), (0.10, True), (0.30, True), (0.34, False)])
def test_a_memory_that_does_not_beat_the_random_sentence_has_read_nothing(tiny, right, nothing):
    tables = with_evidence(tiny, right=right)
    assert ("has read nothing" in verdict.verdict(tables, params("tiny"))[-1]) == nothing
    assert ("has read nothing" in verdict.read_or_recited(tables, "seen", verdict.phrases("en"))) == nothing
    korean = verdict.verdict(tables, params("tiny", "ko"))[-1]
    assert ("읽지 못하였습니다" in korean) == nothing and f"{right:.2f}" in korean


def test_limits_say_what_n_can_show_and_what_was_sampled(tiny):
    rows = [(f"q{i}", ["a"], "test") for i in range(400)] + [(f"t{i}", ["a"], "train") for i in range(9)]
    questions = pd.DataFrame(rows, columns=["question_id", "gold_doc_ids", "split"])
    docs = pd.DataFrame({"doc_id": ["a", "b"], "part": ["seen", "new"]})
    said = verdict.limits(tiny | {"questions": questions, "docs": docs}, params("tiny"))
    pairs = tiny["pairs"].query("part == 'seen' and metric == 'recall@1' and first == 'zmem'")["detectable"].dropna()
    (power,) = [line for line in said if line.startswith("So many documents")]
    assert f"seen documents (n = 150) {pairs.min():.2f}–{pairs.max():.2f} (recall@1)" in power
    assert "A fixed sample of the test questions was answered: 150 of 400 about seen documents." in said
    assert any("made by a program" in line for line in said) and any("seed 7" in line for line in said)
    assert not any(
        "made by a program" in line
        for line in verdict.limits(tiny | {"questions": questions, "docs": docs}, params("sleepqa"))
    )


def test_limits_say_when_new_documents_are_favoured(tiny):
    questions = pd.DataFrame({"question_id": ["q"], "gold_doc_ids": [["a"]], "split": ["test"]})
    docs = pd.DataFrame({"doc_id": list("abcdefghij"), "part": ["seen"] * 9 + ["new"]})

    def said(share, language="en"):
        first = [("zmem", share), ("bm25", 0.02)]
        rows = [(name, "seen", "new_first", value, value - 0.05, value + 0.05, 300, 60) for name, value in first]
        summary = tiny["summary"].query("metric != 'new_first'")
        summary = pd.concat([summary, pd.DataFrame(rows, columns=list(summary))])
        tables = tiny | {"summary": summary, "questions": questions, "docs": docs}
        return [
            line
            for line in verdict.limits(tables, params("tiny", language))
            if "n = 300 from 60 documents" in line or "n = 300, 문서 60개" in line
        ]

    assert said(0.14) == [], "the interval holds .1, the share of new documents"
    (line,) = said(0.93)
    assert "a new document first for the share 0.93 [0.88, 0.98] (BM25: 0.02 [" in line and "; 1 of the 10 doc" in line
    (korean,) = said(0.93, "ko")
    assert "0.93 [0.88, 0.98]" in korean and "전체 10개 중 1개" in korean

"""Answers to scores, summary and failures, on tables small enough to count by hand."""

import pandas as pd
import pytest
from tiny_models import small_params

from zmem_lib.evaluation import scoring
from zmem_lib.files import BadInput
from zmem_lib.params import changed

PARAMS = small_params()
DOCS = pd.DataFrame({"doc_id": ["d1", "d2", "d3", "x", "n1", "y"], "title": "", "part": ["seen"] * 4 + ["new"] * 2,
                     "text": ["She lived in Velmoor.", "He was a smith.", "c", "d", "In 1901.", "f"]})  # fmt: skip


def make_questions():
    rows = [
        ("s1", ["Velmoor"], ["d1"], "test", "rephrased"),
        ("s2", ["smith"], ["d2", "d3"], "test", "unasked"),
        ("n1", ["1901"], ["n1"], "new-test", ""),
    ]
    questions = pd.DataFrame(rows, columns=["question_id", "answers", "gold_doc_ids", "split", "kind"])
    return questions.assign(question="Where?", answer_start=-1, evidence="")


def make_answers(evidence, answers, ranked):
    return pd.DataFrame(
        {
            "question_id": ["s1", "s2", "n1"], "part": ["seen", "seen", "new"], "kind": ["rephrased", "unasked", ""],
            "ranked_doc_ids": ranked, "ranked_scores": [[0.0] * len(ids) for ids in ranked],
            "evidence": [[text] * bool(text) for text in evidence], "evidence_tokens": [4, 6, 8],
            "answer": answers, "seconds": [0.5, 0.5, 0.5], "input_tokens": 10, "output_tokens": 2, "money": 0.0,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def systems():
    found = ["She lived in Velmoor.", "He was a smith.", "Nothing."]
    return {
        "bm25": make_answers(found, ["velmoor", "baker", "1901"], [["d1", "x"], ["x", "d3"], ["x", "y"]]),
        "zmem-oracle": make_answers(found, ["the Velmoor", "baker", "1902"], [[], [], []]),
        "closed-book": make_answers(["", "", ""], ["Velmoor", "baker", ""], [[], [], []]),
    }


@pytest.fixture(scope="module")
def scores(systems):
    tuples = pd.DataFrame(
        {"question_id": ["s1", "s2", "s2"], "evidence": ["She lived in Velmoor.", "Aa. Bb.", "Bb. Cc."]}
    )
    questions = scoring.with_references(make_questions(), tuples)
    assert questions["reference_contexts"].tolist() == [["She lived in Velmoor."], ["Aa.", "Bb.", "Cc."], []]
    return scoring.score_answers(questions, DOCS, systems, PARAMS)


def mean(scores, system, part, metric):
    kept = scores[(scores["system"] == system) & (scores["metric"] == metric)]
    kept = kept[(kept["part"] == part) | ((kept["part"] == "seen") & (kept["kind"] == part))]
    return kept["value"].mean() if len(kept) else None


def test_scores_by_hand(scores):
    assert set(scores["part"]) == {"seen", "new"} and set(scores["kind"]) == {"rephrased", "unasked", ""}
    assert not scores.duplicated(["question_id", "system", "metric"]).any(), "kinds are a column, no copied rows"
    assert mean(scores, "bm25", "seen", "em") == 0.5
    assert mean(scores, "bm25", "rephrased", "em") == 1 and mean(scores, "bm25", "unasked", "em") == 0
    assert mean(scores, "bm25", "seen", "answer_in_evidence") == 1
    assert mean(scores, "bm25", "seen", "recall@1") == 0.5 and mean(scores, "bm25", "seen", "recall@5") == 1
    assert mean(scores, "bm25", "new", "recall@20") == 0
    assert mean(scores, "bm25", "seen", "evidence_tokens") == 5
    assert mean(scores, "closed-book", "new", "answer_in_evidence") == 0
    assert mean(scores, "bm25", "rephrased", "ragas_context_recall") == 1


def test_systems_that_rank_nothing_have_no_retrieval_scores(scores):
    assert mean(scores, "zmem-oracle", "seen", "recall@1") is None
    assert mean(scores, "closed-book", "seen", "em") == 0.5


def test_summary_counts_nan_and_leaves_nothing_out(scores):
    summary = scoring.summarise(scores, 200, seed=1).set_index(["system", "part", "metric"])
    assert not summary.index.duplicated().any()
    assert set(summary.index.get_level_values("part")) == {"seen", "rephrased", "unasked", "new"}
    assert summary.loc[("bm25", "rephrased", "em"), ["value", "n"]].tolist() == [1, 1]
    assert summary.loc[("bm25", "unasked", "em"), ["value", "n"]].tolist() == [0, 1]
    assert tuple(summary.loc[("bm25", "seen", "em"), ["value", "ci_low", "ci_high", "n"]]) == (0.5, 0, 1, 2)
    assert summary.loc[("bm25", "new", "ragas_context_recall"), "n"] == 0  # new questions have no reference here
    assert summary.loc[("bm25", "new", "ragas_context_recall_nan"), "value"] == 1
    assert ("bm25", "seen", "ragas_context_recall_nan") not in summary.index


def test_failures_in_order_of_precedence(systems):
    index = ["system", "part", "question_id"]
    table = scoring.failures(make_questions(), systems, top_k=1, rule="squad").set_index(index)["failure"]
    assert table["bm25"]["seen"].tolist() == ["right", "wrong z"]  # s2: d3 comes second
    assert table["bm25"]["new"].tolist() == ["right"]  # by luck: an exact match counts whatever was retrieved
    assert table["zmem-oracle"]["new"].tolist() == ["wrong evidence"]
    assert table["zmem-oracle"]["unasked"].tolist() == ["wrong reading"]
    assert table["closed-book"]["seen"].tolist() == ["right", "wrong reading"]
    long = {"long-context": systems["bm25"]}
    table_long = scoring.failures(make_questions(), long, top_k=1, rule="squad").set_index(index)["failure"]
    assert table_long["long-context"]["seen"].tolist() == ["right", "wrong reading"], "all of its ranking was read"
    wider = scoring.failures(make_questions(), systems, top_k=2, rule="squad").set_index(index)["failure"]
    assert wider["bm25"]["seen"].tolist() == ["right", "wrong reading"]


def test_the_rule_of_comparison_is_passed_down(systems):
    evidence = [["Velmoors"], ["y"], ["z"]]
    systems = {"bm25": systems["bm25"].assign(answer=["vel moor", "smith", "x"], evidence=evidence)}
    ruled = {rule: changed(PARAMS, {"corpus.normalisation": rule}) for rule in ("squad", "korquad")}
    exact = {rule: scoring.score_answers(make_questions(), DOCS, systems, params) for rule, params in ruled.items()}
    assert (
        mean(exact["squad"], "bm25", "rephrased", "f1") == 0 and mean(exact["korquad"], "bm25", "rephrased", "f1") == 1
    )
    found = {rule: mean(scores, "bm25", "rephrased", "answer_in_evidence") for rule, scores in exact.items()}
    assert found == {"squad": 0, "korquad": 1}
    kinds = {
        rule: scoring.failures(make_questions(), systems, top_k=1, rule=rule)
        .query("part == 'rephrased'")["failure"]
        .item()
        for rule in exact
    }
    assert kinds == {"squad": "wrong evidence", "korquad": "wrong reading"}


def test_unasked_documents_are_scored_apart_from_seen_ones(systems):
    apart = {"bm25": systems["bm25"].assign(part=["unasked-document", "unasked-document", "new"])}
    scores = scoring.score_answers(make_questions(), DOCS, apart, PARAMS, ragas=False)
    assert set(scores["part"]) == {"unasked-document", "new"}
    assert set(scoring.failures(make_questions(), apart, top_k=1, rule="squad")["part"]) == {"unasked-document", "new"}


def test_answers_of_another_corpus_are_refused(systems):
    with pytest.raises(BadInput, match="'s1'"):
        scoring.failures(make_questions().query("question_id != 's1'"), systems, top_k=1, rule="squad")


def test_measures_of_documents_are_those_of_the_first_one_and_its_item(systems):
    ranked = {
        "bm25": systems["bm25"],
        "zmem": systems["bm25"].assign(evidence=[["lived in Harrow", "Velmoor"], ["x"], []]),
    }
    scores = scoring.score_answers(make_questions(), DOCS, ranked | {"zmem-oracle": systems["zmem-oracle"]}, PARAMS)
    wide = scores.pivot(index=["system", "question_id"], columns="metric", values="value")
    assert (
        wide["new_first"]["zmem"].to_dict() == {"s1": 0, "s2": 0, "n1": 0}
        and wide["new_first"]["zmem-oracle"].isna().all()
    )
    assert wide["evidence_overlap"]["bm25"].isna().all(), "text is not asked"
    assert wide["evidence_overlap"]["zmem"].to_dict() == pytest.approx(
        {"s1": 2 / 3, "s2": 0, "n1": float("nan")}, nan_ok=True
    )
    assert wide["evidence_substring"]["zmem-oracle"].to_dict() == {"s1": 1, "s2": 1, "n1": 0}, "against the gold one"
    assert wide["answer_in_evidence"]["zmem"]["s1"] == 1, "all items count there"
    new = scoring.score_answers(make_questions(), DOCS.assign(part="new"), ranked, PARAMS, ragas=False)
    assert new.loc[new["metric"] == "new_first", "value"].eq(1).all()


def test_numbers_are_matched_for_their_corpus_only(scores, systems):
    numbers = changed(PARAMS, {"corpus.name": "t2ragbench"})
    found = scoring.score_answers(make_questions(), DOCS, {"bm25": systems["bm25"]}, numbers, ragas=False)
    assert mean(found, "bm25", "new", "number_match") == mean(found, "bm25", "new", "number_match_strict") == 1
    assert mean(scores, "bm25", "new", "number_match") is None


def test_where_nobody_reads_no_answer_is_measured(systems):
    alone = scoring.score_answers(
        make_questions(), DOCS, {"bm25": systems["bm25"]}, changed(PARAMS, {"lm.name": "none"})
    )
    assert {"recall@1", "answer_in_evidence", "evidence_tokens", "ragas_context_recall", "new_first"} <= set(
        alone["metric"]
    )
    assert not {"em", "f1", "accuracy", "input_tokens", "ragas_string_presence"} & set(alone["metric"])


def test_rankings_by_hand():
    questions = pd.DataFrame(
        {
            "question_id": ["a", "b", "c"],
            "answers": [["x"]] * 3,
            "gold_doc_ids": [["d1"], ["d2"], ["d3"]],
            "kind": ["rephrased", "unasked", ""],
        }
    )
    rankings = pd.DataFrame(
        {
            "question_id": ["a", "b", "c"],
            "part": ["seen", "seen", "new"],
            "selector": "key",
            "ranked_doc_ids": [["d1", "d2"], ["d1", "d2"], ["d1"]],
            "ranked_scores": [[1.0, 0.5]] * 3,
            "seconds": 0.25,
        }
    )
    table = scoring.selector_table(questions, rankings, 100, seed=1).set_index(["part", "metric"])
    assert set(table.index.get_level_values("part")) == {"seen", "rephrased", "unasked", "new"}
    value = table["value"]
    assert value["seen", "recall@1"] == 0.5 and value["seen", "recall@5"] == 1 and value["seen", "mrr@10"] == 0.75
    assert value["unasked", "recall@1"] == 0 and value["new", "recall@20"] == 0 and value["seen", "seconds"] == 0.25
    assert table.loc[("seen", "recall@1"), "n"] == 2


# --- chance: counted by hand, over other documents only -------------------------------------------------------------

ASKED = [
    ("q0", "Where was Ada born?", ["Oslo"], ["a"], "rephrased"),
    ("q1", "What did Ada do?", ["smith"], ["a"], "unasked"),
    ("q2", "Where was Bob born?", ["Oslo"], ["b"], ""),
    ("q3", "What did Bob do?", ["baker"], ["b"], ""),
]
OF_OTHERS = {"q0": "Ada came from Oslo.", "q1": "She was a smith.", "q2": "Oslo was his home.", "q3": "A baker."}


@pytest.fixture
def levels(monkeypatch):
    monkeypatch.setattr(scoring, "ALIKE", 1)
    questions = pd.DataFrame(ASKED, columns=["question_id", "question", "answers", "gold_doc_ids", "kind"])
    tuples = questions.assign(doc_id=[ids[0] for ids in questions["gold_doc_ids"]], evidence=list(OF_OTHERS.values()))
    asked = questions[["question_id"]].assign(part=["seen", "seen", "new", "new"])
    table = scoring.chance_scores(questions, tuples, asked, rule="squad", seed=1)
    assert dict(zip(table["question_id"], table["kind"], strict=True)) == {row[0]: row[4] for row in ASKED}
    return table.set_index(["system", "part", "question_id"])["value"]


def test_the_evidence_is_of_other_documents(levels):
    assert levels["chance"]["seen"].to_dict() == {"q0": 0.5, "q1": 0.0}  # of b: Oslo once in two, no smith
    assert levels["chance"]["new"].to_dict() == {"q2": 0.5, "q3": 0.0}


def test_questions_worded_alike_ask_for_the_same_kind_of_thing(levels):
    assert levels["chance-alike"]["seen"].to_dict() == {"q0": 1.0, "q1": 0.0}


def test_with_one_document_there_is_no_chance():
    questions = pd.DataFrame(ASKED[:2], columns=["question_id", "question", "answers", "gold_doc_ids", "kind"])
    tuples = questions.assign(doc_id="a", evidence="Oslo smith")
    asked = questions[["question_id"]].assign(part="seen")
    table = scoring.chance_scores(questions, tuples, asked, rule="squad", seed=1)
    assert table["value"].isna().all()

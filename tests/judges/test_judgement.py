"""Judged answers: samples, chunks, RAGChecker's and RAGBench's figures by a played judge, a server that fails, NLI."""

import json
import re
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fake_api import error, said, serving
from test_by_ragas import play
from test_entailment import save_nli

from zmem_lib.api import client
from zmem_lib.judges import judgement
from zmem_lib.judges.ask import Judge, ask_claims, ask_entailed
from zmem_lib.judges.by_ragas import judged_by_ragas
from zmem_lib.params import changed, read_params
from zmem_lib.runs.plan import judge_requests, plan_lines
from zmem_lib.systems.systems import compared

N = 6


@pytest.fixture
def params():
    return changed(
        read_params("params/tiny.yaml"),
        {"evaluate.judge": "api", "evaluate.judge_model": "m", "answer.api_url": "http://x", "machine.device": "cpu"},
    )


def tables(n=N):
    docs = pd.DataFrame({"doc_id": ["a", "b"], "title": ["Ada", ""], "text": ["born in Velmoor.", "smith."]})
    ids = [f"s{i}" for i in range(n)] + [f"n{i}" for i in range(n)] + ["t0"]
    questions = pd.DataFrame(
        {"question_id": ids, "question": [f"Where, {one}?" for one in ids], "answers": [["Velmoor"]] * len(ids),
         "gold_doc_ids": [["a"]] * len(ids), "kind": ["unasked"] * 2 + [""] * (len(ids) - 2)}
    )  # fmt: skip
    answers = pd.DataFrame(
        {"question_id": ids, "part": ["seen"] * n + ["new"] * n + ["trained"],
         "evidence": [["Ada\nborn in Velmoor."]] * len(ids), "ranked_doc_ids": [["a", "b"]] * len(ids),
         "answer": "Velmoor"}
    )  # fmt: skip
    systems = {
        "bm25": answers,
        "zmem": answers.iloc[::-1].assign(evidence=[["x y"]] * len(ids)),
        "zmem-oracle": answers,
    }
    return questions, docs, systems


def judge_saying(answer):
    return Judge(lambda prompts: [client.Reply(answer(messages[-1]["content"]), 1, 1, 0.25) for messages in prompts])


def test_the_plan_counts_what_a_judge_is_asked(params):
    """An answer with two pieces of evidence, of a claim each, by hand: ragas 4 + 2, RAGChecker 4 + 4, RAGBench 1."""
    asked = []

    def ask(prompts, reads):
        asked.extend(prompts)
        return [read(json.dumps(play(prompt))) for prompt, read in zip(prompts, reads, strict=True)]

    def answer(text):
        asked.append(text)
        claim = f"claim {len(asked)}"
        return json.dumps({"claims": [claim], "entailed": [1], "relevant": [], "used": [], "supported": []})

    judge = judge_saying(answer)
    judged_by_ragas(rows(), ask, lambda texts: np.ones((len(texts), 2)))
    judgement.by_ragchecker(rows(), partial(ask_claims, judge), partial(ask_entailed, judge))
    judgement.by_ragbench(rows(), judge)
    planned = changed(params, {"evaluate.judge_questions": 1, "answer.top_k": 2})
    requests, read, written = judge_requests(planned)
    assert len(asked) == 15 and requests == 15 * 3 * len(compared()) and written == 60 * requests
    priced = changed(planned, {"evaluate.judge_input_price": 1.0, "evaluate.judge_output_price": 2.0})
    lines = "\n".join(plan_lines(priced))
    assert "Judge m, planned" in lines and f"${(read + 2 * written) / 1e6:.2f}, at $1 and $2 for a million" in lines
    assert "no limit (machine.api_budget)" in lines


def test_every_compared_system_is_judged_on_the_same_sample(params):
    items = judgement.judged_items(*tables(), changed(params, {"evaluate.judge_questions": 2}))
    assert set(items["system"]) == {"bm25", "zmem"} <= set(compared()) and set(items["part"]) == {"seen", "new"}
    asked = items.groupby(["part", "system"])["question_id"].agg(lambda ids: tuple(sorted(ids))).unstack()
    assert (asked["bm25"] == asked["zmem"]).all() and all(len(ids) == 2 for ids in asked["bm25"])
    again = judgement.judged_items(*tables(), changed(params, {"evaluate.judge_questions": 2}))
    assert items["question_id"].tolist() == again["question_id"].tolist()
    assert len(judgement.judged_items(*tables(), changed(params, {"evaluate.judge_questions": 0}))) == 2 * 2 * N
    assert len(judgement.judged_items(*tables(), changed(params, {"evaluate.judge_questions": 99}))) == 2 * 2 * N
    assert items.loc[items["system"] == "bm25", "chunks"].iloc[0] == ["Ada\nborn in Velmoor."]
    assert items["question"].iloc[0] == f"Where, {items['question_id'].iloc[0]}?"


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ("", []),
        ("one\n\ntwo", ["one", "two"]),
        ("Ada\none\nBo\ntwo\nthree", ["Ada\none", "Bo\ntwo", "three"]),
        ("Ada\nBo\nx", ["Ada\nBo", "x"]),  # a title that is also the text
        ("x\nAda", ["x", "Ada"]),
    ],
)
def test_chunks(evidence, expected):
    assert judgement.chunks(evidence, {"Ada", "Bo"}) == expected


def rows(**changed):
    row = {"question": "Q?", "answer": "A.", "answers": ["G."], "chunks": ["c1", "c2"]}
    return pd.DataFrame([row | changed])


def test_ragchecker_puts_every_claim_before_every_text():
    """The answer says r1 (right, in c1) and r2 (wrong, in c2); the gold answer g1 (in c1, not in the answer)."""
    claims = {"A.": ["r1", "r2"], "G.": ["g1"]}
    truth = {("r1", "G."), ("r1", "c1"), ("r2", "c2"), ("g1", "c1")}
    asked = []

    def entail(checks):
        asked.extend(checks)
        return [np.array([float((claim, text) in truth) for claim in some]) for some, text, _ in checks]

    (found,) = judgement.by_ragchecker(rows(), lambda pairs: [claims[text] for _, text in pairs], entail)
    assert found == pytest.approx({
        "precision": 0.5, "recall": 0, "f1": 0, "claim_recall": 1, "context_precision": 0.5, "context_utilization": 0,
        "noise_sensitivity_relevant": 0, "noise_sensitivity_irrelevant": 0.5, "hallucination": 0, "self_knowledge": 0,
        "faithfulness": 1,
    })  # fmt: skip
    assert [(text, question) for _, text, question in asked] == [
        ("G.", "Q?"), ("c1", ""), ("c2", ""), ("A.", "Q?"), ("c1", ""), ("c2", ""),
    ]  # fmt: skip


def test_ragchecker_without_claims_evidence_or_judge():
    def entail(checks):
        return [np.ones(len(some)) for some, _, _ in checks]

    def split(told):
        return lambda pairs: [told[text] for _, text in pairs]

    (failed,) = judgement.by_ragchecker(rows(), split({"A.": None, "G.": ["g"]}), entail)
    assert np.isnan(failed["precision"]) and np.isnan(failed["faithfulness"]) and failed["claim_recall"] == 1
    (failed,) = judgement.by_ragchecker(rows(), split({"A.": ["r"], "G.": None}), entail)
    assert np.isnan(failed["claim_recall"]) and np.isnan(failed["recall"]) and failed["faithfulness"] == 1
    (empty,) = judgement.by_ragchecker(rows(chunks=[]), split({"A.": ["r"], "G.": []}), entail)
    assert empty["faithfulness"] == 0 and np.isnan(empty["context_precision"])


def test_ragbench_by_named_sentences():
    reply = '{"relevant": ["1.1"], "used": ["1.1", "2.1"], "supported": ["1r1"]}'
    texts = {"chunks": ["One two three. Four.", "Five six."], "answer": "Yes."}
    (found,) = judgement.by_ragbench(rows(**texts), judge_saying(lambda _: reply))
    assert found == pytest.approx({"relevance": 0.5, "utilization": 5 / 6, "completeness": 1, "adherence": 1})
    (failed,) = judgement.by_ragbench(rows(**texts), judge_saying(lambda _: reply.replace("2.1", "9.9")))
    assert all(np.isnan(value) for value in failed.values())


def test_none_asks_nobody(params, tmp_path):
    found, about = judgement.judge_answers(*tables(), changed(params, {"evaluate.judge": "none"}), tmp_path)
    assert found.empty and found["value"].dtype == float and about == {"judge": "none"}


def served(number, request):
    """A judge that plays all parts: refuses questions about s0, talks nonsense about s1, answers the rest."""
    prompt = request["messages"][-1]["content"]
    if "s0?" in prompt:
        return error(500, "out of order")
    if "s1?" in prompt or "could not be used" in prompt:
        return said("I would rather not say.")
    return said(json.dumps(reply_to(prompt)))


def reply_to(prompt):
    if prompt.startswith("Break an answer"):
        return {"claims": ["It is Velmoor."]}
    if prompt.startswith("Which of these claims"):
        return {"entailed": [1] if "Velmoor" in prompt[prompt.index("Text: ") : prompt.index("Claims:")] else []}
    if prompt.startswith("A question was answered"):
        keys = re.findall(r"^\[(.+?)\]", prompt, re.MULTILINE)
        return {"relevant": [k for k in keys if "." in k], "used": [], "supported": [k for k in keys if "r" in k]}
    given = json.JSONDecoder().raw_decode(prompt[prompt.rindex("input: ") + 7 :])[0]
    if "statements" in given:
        return {"statements": [{"statement": s, "reason": "", "verdict": 1} for s in given["statements"]]}
    if "response" in given:
        return {"question": "Where?", "noncommittal": 0}
    if "attributed" in prompt:
        return {"classifications": [{"statement": "", "reason": "", "attributed": 1}]}
    return {"statements": ["s"]} if "context" not in given else {"reason": "", "verdict": 1}


def test_a_server_that_fails_for_some_is_counted_and_a_rerun_is_free(params, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "PATIENCE", replace(client.PATIENCE, tries=1, first_wait=0.01))
    encoder = SimpleNamespace(encode=lambda texts, **_: np.ones((len(texts), 2)))
    monkeypatch.setattr(judgement, "load_encoder", lambda *_: encoder)
    prices = {"evaluate.judge_input_price": 1.0, "evaluate.judge_output_price": 2.0}
    with serving(served) as fake:
        there = changed(params, prices | {"machine.api_parallel": 4, "answer.top_k": 1, "answer.api_url": fake.url})
        first, about = judgement.judge_answers(*tables(3), there, tmp_path / "run")
        asked = len(fake.requests)
        second, again = judgement.judge_answers(*tables(3), there, tmp_path / "run")
        new = [request["messages"][-1]["content"] for request in fake.requests[asked:]]
    pd.testing.assert_frame_equal(first, second)
    assert new and all("s0?" in prompt for prompt in new), "only what failed is asked again"
    assert set(first["metric"]) == set(judgement.JUDGE_METRICS["api"]) and len(judgement.JUDGE_METRICS["api"]) == 19
    wide = first[first["part"] == "seen"].set_index(["system", "metric", "question_id"])["value"]
    for metric in ("ragas_context_recall", "checker_precision", "ragbench_adherence"):
        assert wide["bm25"][metric].isna().sum() == 2, metric  # s0 and s1, and no other
    assert wide["bm25"]["checker_faithfulness"].dropna().eq(1).all()
    assert wide["zmem"]["checker_faithfulness"].dropna().eq(0).all()  # its evidence is x y
    assert wide["bm25"]["checker_self_knowledge"].dropna().eq(0).all()
    assert wide["zmem"]["checker_self_knowledge"].dropna().eq(1).all()
    assert len(first[first["part"] == "unasked"]) == 2 * 2 * 19, "two questions of that kind, two systems"
    assert about["unanswered"] > 0 and about["unreadable"] > 0 and about["money"] > 0
    assert about == again and about["judge"] == "api" and about["model"] == "m"
    assert {"claims", "entailed", "sentences"} <= set(about["prompts"]) and about["answers"] == 2 * 2 * 3
    json.dumps(about)


def test_a_local_model_of_entailment_judges_by_ragchecker_alone_and_no_path_is_told(params, tmp_path):
    save_nli(tmp_path / "nli")
    labels = tmp_path / "labels.csv"
    labels.write_text("question_id,system,metric,value")
    values = {"judge": "nli", "judge_model": str(tmp_path / "nli"), "judge_questions": 2, "human_labels": str(labels)}
    nli = changed(params, {f"evaluate.{name}": value for name, value in values.items()})
    found, about = judgement.judge_answers(*tables(), nli, tmp_path)
    assert set(found["metric"]) == set(judgement.CHECKER_METRICS) and found["value"].dropna().between(0, 1).all()
    assert about["judge"] == "nli" and about["answers"] == 8 and len(about["labels"]) == 3
    assert about["model"] == "nli" and about["human_labels"] == "labels.csv" and about["human_labels_hash"]
    assert str(tmp_path) not in json.dumps(about) + found.to_csv()

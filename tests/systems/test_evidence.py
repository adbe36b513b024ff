"""The reader at an address: the same evidence and instruction as the local one, real tokens and dollars, no secret."""

import shutil
import time

import pandas as pd
import pytest
import torch
import yaml
from conftest import SECRETS
from fake_api import said, serving
from tiny_models import small_lm, small_params

from zmem_lib.files import read_json, write_json
from zmem_lib.memory.prompts import CHAT_TASK, CHAT_TASK_ALONE
from zmem_lib.params import changed, flat, read_params
from zmem_lib.report import chapter_tables, page
from zmem_lib.report.page import costs_by_step
from zmem_lib.run import main
from zmem_lib.runs.plan import plan_lines
from zmem_lib.systems import cost, evidence
from zmem_lib.systems.collection import Collection
from zmem_lib.systems.evidence import read
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import TABLES

PARAMS = small_params({"memory.evidence_tokens": 4, "answer.answer_tokens": 3})
KEY = SECRETS["ZMEM_API_KEY"]


@pytest.fixture(scope="module")
def memory_lm():
    return small_lm(PARAMS)


def remote(fake, params=PARAMS):
    return changed(
        params,
        {
            "answer.reader": "api",
            "answer.api_url": fake.url,
            "answer.api_model": "fake",
            "answer.api_input_price": 1.0,
            "answer.api_output_price": 2.0,
        },
    )


def last_word(number, request):
    """Two lines, of which the first is the last word but two, and the second the key."""
    asked = request["messages"][0]["content"]
    return said(f"  {asked.split()[-1]} \n{KEY}", asked=len(asked), written=3)


def test_both_readers_get_the_same_evidence(memory_lm, tmp_path):
    questions, items = ["who is amber", "where is bird"], [["cloud dust ember fern grove hill", "iris"], []]
    local = read(memory_lm, questions, items, PARAMS, folder=None)
    with serving(last_word) as fake:
        other = read(memory_lm, questions, items, remote(fake), folder=tmp_path / "runs/one")
    assert other[["evidence", "evidence_tokens"]].equals(local[["evidence", "evidence_tokens"]])
    assert local.money.eq(0).all() and list(other.answer) == ["amber", "bird"]
    first, second = local.evidence[0]
    assert len(first) < len(items[0][0]) and second == "iris"
    turns = [request["messages"] for request in fake.requests]
    assert turns[0] == [
        {"role": "user", "content": f"{CHAT_TASK}\n\nEvidence: {first}\n\nEvidence: iris\n\nQuestion: who is amber"}
    ]
    assert turns[1] == [{"role": "user", "content": f"{CHAT_TASK_ALONE}\n\nQuestion: where is bird"}]
    assert {request["max_tokens"] for request in fake.requests} == {PARAMS.answer.answer_tokens}
    lengths = [len(turn[0]["content"]) for turn in turns]
    assert (list(other.input_tokens), list(other.output_tokens)) == (lengths, [3, 3])
    assert list(other.money) == pytest.approx([(length * 1.0 + 3 * 2.0) / 1e6 for length in lengths])


def test_what_was_read_is_not_read_again_and_costs_the_same(memory_lm, monkeypatch):
    questions, items, prompts = ["who is amber", "where is bird"], [["cloud dust"], []], []
    whole, known = evidence.generate_all, {}

    def watched(*given, **named):
        prompts.extend(given[2])
        time.sleep(0.05 * len(given[2]))
        return whole(*given, **named)

    monkeypatch.setattr(evidence, "generate_all", watched)
    first = read(memory_lm, questions, items, PARAMS, folder=None, known=known)
    assert len(prompts) == 2 and first.spared_seconds.eq(0).all()
    again = read(memory_lm, ["who is bird", *questions], [["iris"], *items], PARAMS, folder=None, known=known)
    assert len(prompts) == 3, "the new one alone"
    assert list(again.answer[1:]) == list(first.answer) and list(again.evidence[1:]) == list(first.evidence)
    assert again.spared_seconds[0] == 0 and again.spared_seconds[1:].ge(0.05).all()
    twice = read(memory_lm, questions[:1] * 2, items[:1] * 2, PARAMS, folder=None)
    assert len(prompts) == 4 and list(twice.spared_seconds > 0) == [False, True] and twice.answer.nunique() == 1


def test_what_answers_cost_stands_in_answers_costs_and_tables(memory_lm, tmp_path, monkeypatch):
    folder = tmp_path / "runs/one"
    docs = pd.DataFrame({"doc_id": ["a"], "title": ["t"], "text": ["x"], "part": ["seen"]})
    questions = pd.DataFrame({"question_id": ["p", "q"], "question": ["who is it", "where is it"], "part": "seen"})
    with serving(last_word) as fake:
        params = remote(fake)
        held = Collection(folder, params, docs, torch.empty(0), torch.empty(0), loaded={"lm": memory_lm})
        items = [["amber bird"], ["cloud"]]
        answers = evidence.answer(questions, held, items, spent=[(5, 1), (5, 1)], began=0.0)
    sent = [len(request["messages"][0]["content"]) for request in fake.requests]
    assert list(answers["input_tokens"]) == [length + 5 for length in sent]
    assert list(answers["money"]) == pytest.approx([(length + 6) / 1e6 for length in sent])
    assert evidence.answer(questions, held, items, began=0.0)["money"].equals(answers["money"]), "a rerun shows it too"

    def made(*_, laps=None):
        if laps is not None:
            laps.extend([1.0, 2.0, 4.0])
        return answers

    monkeypatch.setattr(cost, "answers_of", made)
    kept, row = cost.answered("bm25", questions, held)
    assert kept["money"].equals(answers["money"])
    assert (row["choose_seconds"], row["seconds_per_question"]) == (0.5, 3.5)
    assert row["money_per_question"] == pytest.approx(sum(sent) / 2e6 + 6e-6)
    overview = chapter_tables.answers_overview({"bm25": answers, "zmem": answers.assign(money=0.0)})
    assert overview[chapter_tables.PAID]["bm25"] == round(1000 * row["money_per_question"], 4) > 0
    assert overview[chapter_tables.PAID]["zmem"] == 0
    assert chapter_tables.PAID not in chapter_tables.answers_overview({"zmem": answers.assign(money=0.0)})
    summary = pd.DataFrame(
        [("bm25", "seen", name, 7.0, 7.0, 7.0, 2) for name in ("input_tokens", "output_tokens")],
        columns=["system", "part", "metric", "value", "ci_low", "ci_high", "n"],
    )
    costs = pd.DataFrame([row | dict.fromkeys(("train_seconds", "write_seconds", "build_seconds"), 0.0)])
    curve = pd.DataFrame(columns=list(TABLES["write_curve"]))
    spent = costs_by_step({"costs": costs, "summary": summary, "write_curve": curve}, params)
    assert list(spent["money"]) == [row["money_per_question"]]
    shown = page.costs_table(spent, params).data
    assert f">{1000 * row['money_per_question']:.4f}<" in shown
    told = chapter_tables.answering_finding(60.0, questions, docs, params).data
    assert f"The reader of all was `fake` at `{fake.url}`" in told
    assert "the run's own model (all of it)" in chapter_tables.answering_finding(60.0, questions, docs, PARAMS).data


def test_the_plan_counts_requests_tokens_and_dollars(smoke_params):
    assert "Reader" not in "\n".join(plan_lines(smoke_params))
    params = changed(
        smoke_params,
        {
            "answer.reader": "api",
            "answer.api_model": "fake",
            "answer.api_url": "http://h/v1",
            "answer.api_input_price": 1.0,
            "answer.api_output_price": 2.0,
            "answer.questions": 100,
            "corpus.absent_questions": 10,
            "corpus.new_documents": 0,
            "answer.top_k": 2,
            "memory.evidence_tokens": 50,
            "answer.answer_tokens": 8,
            "machine.api_budget": 3.0,
        },
    )
    requests = len(SYSTEMS) * 3 * 100 + 2 * 3 * 10
    read_tokens = requests * (40 + 15 + 2 * 50)
    lines = "\n".join(plan_lines(params))
    assert f"{requests:,}" in lines and f"{read_tokens:,}" in lines and f"{requests * 8:,}" in lines
    assert f"${(read_tokens + 2 * 8 * requests) / 1e6:.2f}, at $1 and $2 for a million" in lines
    assert "Judge" not in lines and "the run stops before $3.00" in lines


def test_ask_and_score_use_the_reader_at_the_address_and_leave_no_secret(smoke_runs, tmp_path, monkeypatch, capsys):
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    runs = tmp_path / "runs"
    shutil.copytree(smoke_runs / "smoke", runs / "smoke")
    question = pd.read_parquet(runs / "smoke/questions.parquet")["question"][0]
    ask = ["ask", "smoke", question, "--runs", str(runs)]
    with serving(last_word) as fake:
        params = remote(fake, read_params(runs / "smoke/params.yaml"))
        (runs / "smoke/params.yaml").write_text(yaml.safe_dump(flat(params), sort_keys=False))
        for path in (runs / "smoke").glob("manifest_*.json"):  # as if its chapters had been made with this reader
            write_json(read_json(path) | {"params": flat(params)}, path)
        assert main(ask) == 0
        asked = capsys.readouterr()
        assert asked.out.count(f": answer {question.split()[-1]!r}") == 3
        n = len(fake.requests)
        assert main(["score", "smoke", "--systems", "bm25", "--questions", "2", "--runs", str(runs)]) == 0
        assert len(fake.requests) > n
    scored = capsys.readouterr()
    assert main(ask) == 0
    assert capsys.readouterr().out == asked.out, "the server is gone, its answers are kept"
    files = [path for path in runs.rglob("*") if path.is_file()]
    assert "api_cache.sqlite" in {path.name for path in files}
    for secret in SECRETS.values():
        assert [path.name for path in files if secret.encode() in path.read_bytes()] == []
        assert secret not in asked.out + scored.out + scored.err

"""A model at an address: asked once, kept, within a budget, with a key that stands nowhere; the server is a thread."""

import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import replace

import pytest
from conftest import ROOT, SECRETS
from fake_api import Told, echo, error, said, serving

from zmem_lib.api import cache as api_cache
from zmem_lib.api import client
from zmem_lib.api.client import Address, Patience, Reply, ask_all, judge_address, reader_address
from zmem_lib.api.request import asked_wait
from zmem_lib.files import BadInput
from zmem_lib.params import changed, params_hash

KEY = SECRETS["ZMEM_API_KEY"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    patience = Patience(tries=4, first_wait=0.01, longest_wait=0.05, timeout=5, farewell=2)
    monkeypatch.setattr(client, "PATIENCE", patience)
    monkeypatch.setenv("ZMEM_API_KEY", KEY)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "api_cache.sqlite"


def address(fake, cache, **changes):
    usual = Address(fake.url, "fake", 4, 0.0, 1.0, 2.0, cache, "one")
    return replace(usual, **changes)


def prompts(n, begin=0):
    return [[{"role": "user", "content": f"question {i}"}] for i in range(begin, begin + n)]


def texts(n, begin=0):
    return [f"answer to question {i}" for i in range(begin, begin + n)]


def spent(cache, run="one"):
    with api_cache.opened(cache) as opened:
        return api_cache.spent(opened, run)


def test_replies_come_in_order_with_tokens_and_money(cache):
    with serving(lambda number, request: said(echo(number, request).body["choices"][0]["message"]["content"])) as fake:
        replies = ask_all(address(fake, cache), prompts(9), max_tokens=7)
    assert [reply.text for reply in replies] == texts(9)
    assert set(replies) == {Reply(text, 100, 10, (100 * 1 + 10 * 2) / 1e6) for text in texts(9)}
    assert {(one["model"], one["max_tokens"], one["temperature"]) for one in fake.requests} == {("fake", 7, 0)}
    assert spent(cache) == pytest.approx(9 * 120e-6)


def test_what_was_answered_is_asked_no_more_even_by_another_run(cache):
    with serving() as fake:
        there = address(fake, cache)
        first = ask_all(there, prompts(5) + prompts(2), max_tokens=7)
        assert len(fake.requests) == 5, "the same question twice is one question"
        assert first[5:] == first[:2]
    assert ask_all(there, prompts(5), max_tokens=7) == first[:5], "the server is gone"
    assert ask_all(replace(there, run="two"), prompts(5), max_tokens=7) == first[:5]
    assert (spent(cache), spent(cache, "two")) == (pytest.approx(5 * 120e-6), 0)
    for other in (replace(there, model="other"), replace(there, url=there.url + "/x")):
        assert client.key_of(other, prompts(1)[0], 7) != client.key_of(there, prompts(1)[0], 7)
    assert client.key_of(there, prompts(1)[0], 8) != client.key_of(there, prompts(1)[0], 7)


def test_as_many_requests_are_under_way_as_allowed_and_the_first_alone(cache):
    under_way = []

    def answer(number, request):
        under_way.append(len(fake.requests))
        return echo(number, request)

    with serving(answer, seconds=0.05) as fake:
        ask_all(address(fake, cache, parallel=3), prompts(12), max_tokens=7)
    assert fake.most == 3
    assert under_way[0] == 1, "a second one was sent before the first was answered"


def faulty(**faults):
    """Answers that fail at the first tries of some questions: {number of the question: what is told in turn}."""
    left = {key: list(told) for key, told in faults.items()}

    def answer(number, request):
        queue = left.get("q" + request["messages"][-1]["content"].split()[-1], [])
        told = queue.pop(0) if queue else echo(number, request)
        return told() if callable(told) else told

    return answer


def test_what_may_pass_is_tried_again(cache, monkeypatch):
    monkeypatch.setattr(client, "PATIENCE", replace(client.PATIENCE, timeout=0.3))

    def stalled():
        time.sleep(0.8)
        return said("too late")

    broken, empty = Told(b'{"choices": [{"mess'), Told({"choices": []})
    faults = {
        "q1": [error(500, "out of order"), error(503, "still")],
        "q2": [broken, empty, Told(b"<html>", headers={"Content-Type": "text/html"})],
        "q3": [stalled],
        "q4": [Told(b"", 502)],
    }
    with serving(faulty(**faults)) as fake:
        replies = ask_all(address(fake, cache), prompts(6), max_tokens=7)
    assert [reply.text for reply in replies] == texts(6)
    assert len(fake.requests) == 6 + 2 + 3 + 1 + 1


def test_all_questions_wait_as_long_as_the_server_asks(cache):
    times = []

    def answer(number, request):
        times.append(time.monotonic())
        return error(429, "slow down", {"Retry-After": "0.8"}) if number == 2 else echo(number, request)

    with serving(answer, seconds=0.05) as fake:
        replies = ask_all(address(fake, cache, parallel=2), prompts(20), max_tokens=7)
    assert [reply.text for reply in replies] == texts(20) and len(times) == 21
    waited = [one - times[2] for one in times[3:]]
    assert not [one for one in waited if 0.4 < one < 0.8], "who was under way may end, nobody begins"
    assert len([one for one in waited if one >= 0.8]) >= 16
    with (
        serving(lambda *_: error(429, "tomorrow", {"Retry-After": "86400"})) as fake,
        pytest.raises(BadInput, match=r"fails \(429: 'tomorrow'\).*asks to wait 86400 s"),
    ):
        ask_all(address(fake, cache), prompts(1), max_tokens=7)
    assert asked_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0 and asked_wait("soon") is None


def test_tries_are_bounded_and_a_judge_may_fail(cache):
    with serving(faulty(q1=[error(500, "bug")] * 99)) as fake:
        replies = ask_all(address(fake, cache), prompts(4), max_tokens=7, may_fail=True)
        assert [reply and reply.text for reply in replies] == ["answer to question 0", None, *texts(2, 2)]
        assert len(fake.requests) == 3 + client.PATIENCE.tries
        with pytest.raises(BadInput, match=r"fails \(500: 'bug'\): look what is wrong there.*answers so far are kept"):
            ask_all(address(fake, cache), prompts(6), max_tokens=7)
    with serving(lambda *_: error(500, "all")) as fake, pytest.raises(BadInput, match="10 questions failed one after"):
        ask_all(address(fake, cache), prompts(40), max_tokens=7, may_fail=True)


def test_a_refused_question_fails_alone_and_is_remembered(cache):
    with serving(faulty(q2=[error(400, "content filter")] * 9)) as fake:
        there = address(fake, cache)
        replies = ask_all(there, prompts(4), max_tokens=7, may_fail=True)
        assert [bool(reply) for reply in replies] == [True, True, False, True]
        assert len(fake.requests) == 4
        assert ask_all(there, prompts(4), max_tokens=7, may_fail=True) == replies
        assert len(fake.requests) == 4
        with pytest.raises(BadInput, match=r"refuses a question \(400: 'content filter'\)"):
            ask_all(there, prompts(4), max_tokens=7)


REFUSALS = {
    "key": (error(401, f"Incorrect API key provided: {KEY}"), "refuses the key (401): set ZMEM_API_KEY"),
    "model": (error(404, "no such model"), "has no model 'fake', or answers at another address (404: 'no such model')"),
    "credit": (error(429, "quota", code="insufficient_quota"), "has no credit left"),
    "payment": (error(402, f"pay,\n{KEY}"), "refuses a question (402: 'pay, [key]')"),
    "no usage": (Told(said("yes").body | {"usage": None}), "does not count tokens"),
    "no chat": (Told(f"hello {KEY}".encode()), "no chat completion in JSON ('hello [key]')"),
    "thinks": (said("", finish="length"), "fake used up its 7 tokens before it wrote a word"),
}


@pytest.mark.parametrize("may_fail", [False, True])
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusing_server_is_said_once_in_a_sentence_without_the_key(cache, name, may_fail):
    told, sentence = REFUSALS[name]
    with serving(lambda *_: told) as fake, pytest.raises(BadInput) as caught:
        ask_all(address(fake, cache), prompts(30), max_tokens=7, may_fail=may_fail)
    said_so = str(caught.value)
    assert sentence in said_so and said_so.isprintable()
    assert len(fake.requests) == {"no chat": 4 * (10 if may_fail else 1)}.get(name, 1)
    assert KEY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__)
    assert KEY.encode() not in cache.read_bytes()


def test_an_address_where_nobody_answers(cache):
    with serving() as fake:
        pass
    with pytest.raises(BadInput, match=r"127.0.0.1:[0-9]+/v1 cannot be reached.*correct answer.api_url"):
        ask_all(address(fake, cache), prompts(3), max_tokens=7, may_fail=True)


def test_the_form_of_a_question_follows_what_the_model_accepts(cache):
    def newer(number, request):
        if "max_tokens" in request:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if "temperature" in request:
            return error(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        return echo(number, request)

    with serving(newer) as fake:
        replies = ask_all(address(fake, cache), prompts(5), max_tokens=7)
    assert [reply.text for reply in replies] == texts(5)
    assert [("max_tokens" in one, "temperature" in one) for one in fake.requests[:3]] == [
        (True, True), (False, True), (False, False),
    ]  # fmt: skip
    assert all(one["max_completion_tokens"] == 7 for one in fake.requests[1:]) and len(fake.requests) == 7
    long = "'max_tokens' is too large: this model's context has 512 tokens"
    with serving(lambda *_: error(400, long)) as fake, pytest.raises(BadInput, match="too large"):
        ask_all(address(fake, cache), prompts(2), max_tokens=7)
    assert len(fake.requests) == 1


def test_the_budget_is_never_exceeded_and_a_higher_one_resumes(cache):
    worst = client.worst_case(Address("", "", 1, 0, 1.0, 2.0, cache, ""), prompts(1)[0], 7)
    assert worst == pytest.approx((len("question 0") + client.MESSAGE_TOKENS + 7 * 2) / 1e6)
    with serving(lambda n, r: said("a", asked=20, written=5), seconds=0.02) as fake:
        there = address(fake, cache, budget=100.5e-6)  # each costs 30e-6, and at worst 40e-6
        with pytest.raises(BadInput, match=r"--set machine\.api_budget=DOLLARS.*run one stops, having spent \$0\.0001"):
            ask_all(there, prompts(9), max_tokens=7)
        assert len(fake.requests) == 3 and spent(cache) == pytest.approx(90e-6)
        with pytest.raises(BadInput):
            ask_all(there, prompts(9), max_tokens=7)
        assert len(fake.requests) == 3, "a restart does not forget what was spent"
        assert len(ask_all(there, prompts(3), max_tokens=7)) == 3, "what is kept costs nothing"
        ask_all(replace(there, budget=1.0), prompts(9), max_tokens=7)
        assert len(fake.requests) == 9
        ask_all(replace(there, run="two"), prompts(1, 50), max_tokens=7)
        assert len(fake.requests) == 10, "another run has a budget of its own"


def test_a_try_that_may_have_been_paid_for_counts(cache):
    with serving(faulty(q0=[Told(b"{")])) as fake:
        ask_all(address(fake, cache), prompts(1), max_tokens=7)
    assert spent(cache) == pytest.approx(120e-6 + 40e-6)


def test_ctrl_c_keeps_what_came_and_what_is_under_way(cache):
    struck = []

    def answer(number, request):
        if number and number % 40 == 20:  # pressed again where an interrupt was lost, as it is in a finaliser
            struck.append(number)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.1)
        return echo(number, request)

    with serving(answer) as fake:
        there = address(fake, cache)
        with pytest.raises(KeyboardInterrupt):
            ask_all(there, prompts(400), max_tokens=7)
        asked = len(fake.requests)
        assert struck[-1] < asked < struck[-1] + 10
        time.sleep(0.2)
        assert len(fake.requests) == asked, "nothing is sent after Ctrl-C"
        with api_cache.opened(cache) as opened:
            kept = opened.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
        assert kept == asked
        before = len(fake.requests)
        ask_all(there, prompts(asked), max_tokens=7)
        assert len(fake.requests) == before


ANOTHER = """import sys
from pathlib import Path
from zmem_lib.api.client import Address, ask_all
url, cache, run = sys.argv[1:]
asked = [[{"role": "user", "content": f"question {i}"}] for i in range(60)]
replies = ask_all(Address(url, "fake", 4, 0.0, 1.0, 2.0, Path(cache), run), asked, max_tokens=7)
print(hash(tuple((reply.text, reply.money) for reply in replies)))"""


def test_two_processes_share_a_cache(cache, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    monkeypatch.setenv("ZMEM_PROGRESS", "")
    with serving(lambda number, request: said(f"answer {number}"), seconds=0.01) as fake:
        commands = [[sys.executable, "-c", ANOTHER, fake.url, str(cache), run] for run in ("one", "two")]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
        outputs = [process.communicate(timeout=120) for process in [subprocess.Popen(c, **pipes) for c in commands]]
        assert [errors for _, errors in outputs] == ["", ""]
        assert outputs[0] == outputs[1], "both have the answers that came first"
        assert spent(cache) + spent(cache, "two") == pytest.approx(len(fake.requests) * 120e-6)


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\x00" + b"\xff" * 5000, "reply", "table"])
def test_a_damaged_cache_is_named(cache, damage):
    there = Address("http://127.0.0.1:9/v1", "fake", 1, 0.0, 0.0, 0.0, cache, "one")
    if isinstance(damage, bytes):
        cache.write_bytes(damage)
    else:
        with api_cache.opened(cache) as opened, opened:
            if damage == "table":
                opened.execute("DROP TABLE answers")
                opened.execute("CREATE TABLE answers (other TEXT)")
            else:
                whole = {"text": "yes", "input_tokens": 1, "output_tokens": 1}
                api_cache.keep_reply(opened, client.key_of(there, prompts(1)[0], 7), whole, run="one", money=0.0)
                opened.execute("UPDATE answers SET reply = '{'")
    with pytest.raises(BadInput, match=r"api_cache\.sqlite is damaged .*: remove it"):
        ask_all(there, prompts(1), max_tokens=7)


def test_the_key_goes_to_the_address_alone_and_nothing_else_goes_there(cache, monkeypatch):
    other = SECRETS["OPENAI_API_KEY"]
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"OPENAI_{name}", other)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Other: {other}\nAuthorization: Bearer {other}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with serving() as fake:
        ask_all(address(fake, cache), prompts(1), max_tokens=7)
        monkeypatch.setenv("ZMEM_API_KEY", "")
        ask_all(address(fake, cache), prompts(1, 1), max_tokens=7)
    assert [headers["authorization"] for headers in fake.headers] == [f"Bearer {KEY}", "Bearer none"]
    assert other not in str(fake.headers) + str(fake.requests)
    monkeypatch.setenv("ZMEM_API_KEY", f"{KEY}\n{KEY}")
    with (
        serving() as fake,
        pytest.raises(BadInput, match="ZMEM_API_KEY in the environment holds white space") as caught,
    ):
        ask_all(address(fake, cache), prompts(1, 2), max_tokens=7)
    assert KEY not in str(caught.value) and not fake.requests


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(cache, status):
    with serving() as elsewhere:
        away = Told(b"", status, {"Location": f"{elsewhere.url}/chat/completions?key={KEY}"})
        with (
            serving(lambda *_: away) as fake,
            pytest.raises(BadInput, match=r"redirects to 'http://.*key=.key.'") as caught,
        ):
            ask_all(address(fake, cache), prompts(3), max_tokens=7)
    assert elsewhere.requests == [] and len(fake.requests) == 1 and KEY not in str(caught.value)


def test_the_key_is_cut_out_of_replies_too(cache):
    with serving(lambda *_: said(f"your key is {KEY}\ud800")) as fake:
        (reply,) = ask_all(address(fake, cache), prompts(1), max_tokens=7)
    assert reply.text == "your key is [key]?" and KEY.encode() not in cache.read_bytes()


def test_reader_and_judge_share_server_budget_and_cache(smoke_params, tmp_path):
    params = changed(
        smoke_params,
        {"answer.reader": "api", "answer.api_url": "http://localhost:8000/v1/", "answer.api_model": "a",
         "answer.api_input_price": 1.0, "answer.api_output_price": 2.0, "evaluate.judge_model": "b",
         "evaluate.judge_input_price": 4.0, "evaluate.judge_output_price": 5.0, "machine.api_budget": 3.0},
    )  # fmt: skip
    folder = tmp_path / "runs/smoke"
    reader, judge = reader_address(params, folder), judge_address(params, folder)
    assert reader == Address(
        "http://localhost:8000/v1", "a", 8, 3.0, 1.0, 2.0, tmp_path / "runs/api_cache.sqlite", "smoke"
    )
    assert judge == replace(reader, model="b", input_price=4.0, output_price=5.0)
    assert params_hash(changed(params, {"machine.api_budget": 9.0, "machine.api_parallel": 1})) == params_hash(params)

"""Questions to a model at an address, as reader or as judge: any server that speaks OpenAI's protocol will do.

What was answered once is read from the cache (cache.py), the rest is asked (request.py), many questions at once: one by
one until a first answer shows that key, model and form are right, then as many as the address allows. A thread makes
one try and hands its outcome to the main thread, which alone decides, waits and stores: whatever stops it, no answer
that has come is lost. `machine.api_budget` is kept by asking nothing that could, at worst, exceed it.
"""

import hashlib
import json
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from zmem_lib.api.cache import Reply, is_refused, keep_refusal, keep_reply, kept_reply, opened, pay, spent
from zmem_lib.api.request import Address, Form, Messages, Outcome, conversation, tried
from zmem_lib.files import BadInput
from zmem_lib.meter import progress
from zmem_lib.params import Params

CACHE = "api_cache.sqlite"
MESSAGE_TOKENS = 16  # of the marks around one message, at most
IN_A_ROW = 10  # questions that fail one after the other: then the server does


@dataclass(frozen=True)
class Patience:
    """How long and how often is tried; seconds."""

    tries: int = 6
    first_wait: float = 1.0  # doubled each time
    longest_wait: float = 30.0
    longest_asked: float = 300.0  # that a server may ask for
    timeout: float = 180.0  # of one try
    connect: float = 10.0
    farewell: float = 5.0  # after Ctrl-C, for what is under way


PATIENCE = Patience()


@dataclass(frozen=True)
class Question:
    """One prompt on its way."""

    key: str
    messages: Messages
    worst: float  # dollars that a try may cost
    tries: int = 0
    ready: float = 0.0  # by time.monotonic()


@dataclass
class Line:
    """What asking works with; all from `waiting` on changes while it goes on."""

    address: Address
    cache: Connection
    client: Any
    max_tokens: int
    may_fail: bool
    waiting: list[Question]
    form: Form = field(default_factory=Form)
    under_way: dict[Future[Outcome], Question] = field(default_factory=dict)
    replies: dict[str, Reply | None] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)  # of questions that the server will never answer


def dollars(address: Address, input_tokens: int, output_tokens: int) -> float:
    """What so many tokens cost at an address."""
    return (input_tokens * address.input_price + output_tokens * address.output_price) / 1e6


def reader_address(params: Params, folder: Path) -> Address:
    """Where the final reader of a run answers; `folder` is the run's."""
    answer, machine = params.answer, params.machine
    return Address(
        url=answer.api_url.rstrip("/"),
        model=answer.api_model,
        parallel=machine.api_parallel,
        budget=machine.api_budget,
        input_price=answer.api_input_price,
        output_price=answer.api_output_price,
        cache=folder.parent / CACHE,
        run=params.run,
    )


def judge_address(params: Params, folder: Path) -> Address:
    """Where the judge of a run answers: the same server and budget, another model and price."""
    evaluate = params.evaluate
    prices = {"input_price": evaluate.judge_input_price, "output_price": evaluate.judge_output_price}
    return replace(reader_address(params, folder), model=evaluate.judge_model, **prices)


def ask_all(
    address: Address, prompts: Sequence[list[dict[str, str]]], *, max_tokens: int, may_fail: bool = False
) -> list[Reply | None]:
    """The replies to chat messages (role, content), in order, at temperature 0 and of at most `max_tokens`.

    With `may_fail`, None for a prompt that could not be answered after all tries; else, and for a server that cannot
    be reached or refuses, BadInput. Answers that came before are kept.
    """
    keys = [key_of(address, messages, max_tokens) for messages in prompts]
    with opened(address.cache) as cache:
        replies = {key: kept_reply(cache, key) for key in dict.fromkeys(keys)}
        missing = [
            Question(key, messages, worst_case(address, messages, max_tokens))
            for key, messages in dict(zip(keys, prompts, strict=True)).items()
            if not replies[key] and not (may_fail and is_refused(cache, key))
        ]
        if missing:
            with conversation(address, PATIENCE.timeout, PATIENCE.connect) as client:
                replies |= _ask_waiting(Line(address, cache, client, max_tokens, may_fail, missing))
    return [replies[key] for key in keys]


def key_of(address: Address, messages: Messages, max_tokens: int) -> str:
    """The hash of all that decides an answer."""
    asked = [address.url, address.model, list(messages), {"max_tokens": max_tokens, "temperature": 0}]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def worst_case(address: Address, messages: Messages, max_tokens: int) -> float:
    """Dollars that one try costs at most: no tokenizer makes more tokens than a text has bytes."""
    tokens = sum(len(message["content"].encode("utf-8", "replace")) + MESSAGE_TOKENS for message in messages)
    return dollars(address, tokens, max_tokens)


def _ask_waiting(line: Line) -> dict[str, Reply | None]:
    """Ask until all are answered, or until a sentence says why not; what is under way then is waited for and stored."""
    bar, stop = iter(progress(range(len(line.waiting)), "asking", len(line.waiting))), ""
    try:
        while not stop and (line.waiting or line.under_way):
            before = len(line.replies)
            stop = _send(line) or _take(line)
            if len(line.replies) > before:
                next(bar, None)
        _drain(line, PATIENCE.timeout)
    except (KeyboardInterrupt, SystemExit):
        _drain(line, PATIENCE.farewell)
        raise
    if stop:
        paid = f", having spent ${spent(line.cache, line.address.run):.4f}" if line.address.budget else ""
        raise BadInput(f"{stop} (run {line.address.run} stops{paid}; the answers so far are kept)")
    for key, said in line.refusals.items():  # once others are answered: now it is the question's fault
        keep_refusal(line.cache, key, said)
    next(bar, None)
    return line.replies


def _send(line: Line) -> str:
    """Start what may be started now; returns why nothing more may be, or nothing."""
    address, waiting = line.address, line.waiting
    room = address.parallel if any(line.replies.values()) else 1
    while waiting:
        now = time.monotonic()
        later = [one.ready > now for one in waiting]
        if all(later) or len(line.under_way) + sum(later) >= room:  # what failed keeps its place while it waits
            return ""
        place = later.index(False)
        at_worst = sum(one.worst for one in line.under_way.values()) + waiting[place].worst
        if address.budget and spent(line.cache, address.run) + at_worst > address.budget:
            if line.under_way:  # they may cost less than at worst
                return ""
            limit = f"machine.api_budget (${address.budget:g} for reader and judge)"
            hint = "raise it (--set machine.api_budget=DOLLARS) and give the same command again, which resumes"
            return f"the next question might exceed {limit}: {hint}"
        question, future = waiting.pop(place), Future()
        line.under_way[future] = question
        threading.Thread(target=_try, args=(line, question, line.form, future), daemon=True).start()
    return ""


def _try(line: Line, question: Question, form: Form, future: Future[Outcome]) -> None:
    """In a thread of its own, which no exit waits for: one try, whose outcome is handed to the main thread."""
    try:
        future.set_result(tried(line.client, line.address, question.messages, form=form, max_tokens=line.max_tokens))
    except BaseException as error:  # a fault of this program's: raised again in the main thread
        future.set_exception(error)


def _take(line: Line) -> str:
    """Wait for an outcome, or until a question may be tried again; act on it; returns why to stop, or nothing."""
    now = time.monotonic()
    later = min((one.ready - now for one in line.waiting if one.ready > now), default=None)
    if not line.under_way:
        time.sleep(later or 0.0)
    for future in wait(line.under_way, later, FIRST_COMPLETED).done:
        stop = _settle(line, line.under_way[future], future.result())
        del line.under_way[future]  # last, so that Ctrl-C in between finds it
        if stop:
            return stop
    return ""


def _settle(line: Line, question: Question, outcome: Outcome) -> str:
    """Store a reply, let the question wait for its next try, or give it up; returns why to stop, or nothing."""
    if outcome.kind == "reply":
        return _store(line, question, outcome)
    if outcome.lost:
        pay(line.cache, line.address.run, question.worst)
    if outcome.kind == "form":
        line.form = replace(line.form, **outcome.form)
        line.waiting.insert(0, question)
        return ""
    if outcome.kind == "again" and question.tries + 1 < PATIENCE.tries:
        asked, now = outcome.wait, time.monotonic()
        if asked is not None and asked > PATIENCE.longest_asked:
            return f"{outcome.said} (it asks to wait {asked:.0f} s)"
        backoff = min(PATIENCE.longest_wait, PATIENCE.first_wait * 2**question.tries) * random.uniform(0.5, 1.5)
        if asked is not None:  # then all wait
            line.waiting[:] = [replace(one, ready=max(one.ready, now + asked)) for one in line.waiting]
        ready = now + (backoff if asked is None else asked + backoff / 10)
        line.waiting.insert(0, replace(question, tries=question.tries + 1, ready=ready))
        return ""
    kind = outcome.at_last if outcome.kind == "again" else outcome.kind
    if kind == "server" or not line.may_fail:
        return outcome.said
    line.replies[question.key] = None
    if outcome.kind == "question":
        line.refusals[question.key] = outcome.said
    failed = list(line.replies.values())[-IN_A_ROW:] == [None] * IN_A_ROW
    return f"{IN_A_ROW} questions failed one after the other: {outcome.said}" if failed else ""


def _store(line: Line, question: Question, outcome: Outcome) -> str:
    """Keep a reply; returns why to stop where the first one shows a model that thinks and does not come to write."""
    first, reply, address = not any(line.replies.values()), outcome.reply, line.address
    money = dollars(address, reply["input_tokens"], reply["output_tokens"])
    line.replies[question.key] = keep_reply(line.cache, question.key, reply, run=address.run, money=money)
    if first and not reply["text"] and reply["finish"] == "length":
        hint = "choose one that does not think first, or give it room (answer.answer_tokens)"
        return f"{address.model} used up its {line.max_tokens} tokens before it wrote a word: {hint}"
    return ""


def _drain(line: Line, seconds: float) -> None:
    """Wait for what is under way, which is paid for, and store what comes."""
    with suppress(TimeoutError):
        for future in as_completed(line.under_way, seconds):
            question, outcome = line.under_way[future], None if future.exception() else future.result()
            if outcome and outcome.kind == "reply" and question.key not in line.replies:
                _store(line, question, outcome)
            elif outcome and outcome.lost:
                pay(line.cache, line.address.run, question.worst)
            del line.under_way[future]

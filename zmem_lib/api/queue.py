"""Many questions to one address at once: sent, tried again, stored as their answers come.

Takes a Line and its questions, fills the Line's replies. Questions are asked one by one until a first answer shows that
key, model and form are right, then as many at a time as the address allows. A thread makes one try and hands its
outcome to the main thread, which alone decides, waits and stores: whatever stops it, no answer that has come is lost.
"""

import random
import threading
import time
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from sqlite3 import Connection
from typing import Any

from zmem_lib.api.cache import keep_loss, keep_refusal, keep_reply, spent
from zmem_lib.api.request import Address, Form, Messages, Outcome, merged, tried
from zmem_lib.files import BadInput
from zmem_lib.meter import progress

POLL_S = 0.01
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


@dataclass(frozen=True)
class Reply:
    """What a model answered, and what that cost when it was bought."""

    text: str
    input_tokens: int
    output_tokens: int
    money: float  # dollars


@dataclass(frozen=True)
class Question:
    """One prompt on its way."""

    key: str
    messages: Messages
    worst: float  # dollars that a try may cost
    tries: int = 0
    ready: float = 0.0  # by time.monotonic()


@dataclass(frozen=True)
class Line:
    """What asking works with; the last six are filled while it goes on."""

    address: Address
    cache: Connection
    client: Any
    patience: Patience
    max_tokens: int
    may_fail: bool
    forms: list[Form] = field(default_factory=lambda: [Form()])  # the last one is in use
    under_way: dict[str, Question] = field(default_factory=dict)
    came: dict[str, Outcome | BaseException] = field(default_factory=dict)  # by the threads
    done: SimpleQueue = field(default_factory=SimpleQueue)  # the keys of what came
    replies: dict[str, Reply | None] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)  # of questions that the server will never answer


def dollars(address: Address, input_tokens: int, output_tokens: int) -> float:
    """What so many tokens cost at an address."""
    return (input_tokens * address.input_price + output_tokens * address.output_price) / 1e6


def made_reply(reply: dict[str, Any], money: float) -> Reply:
    """A reply as it is kept, and what was paid for it."""
    return Reply(reply["text"], reply["input_tokens"], reply["output_tokens"], money)


def ask_waiting(line: Line, waiting: list[Question]) -> dict[str, Reply | None]:
    """Ask until all are answered, or until a sentence says why not; what is under way then is waited for and stored."""
    bar, stop = iter(progress(range(len(waiting)), "asking", len(waiting))), ""
    try:
        while not stop and (waiting or line.under_way):
            stop = _send(line, waiting)
            before = len(line.replies)
            if not stop:
                stop = _take(line, waiting, _pause(line, waiting))
            if len(line.replies) > before:
                next(bar, None)
        _drain(line, line.patience.timeout)
    except (KeyboardInterrupt, SystemExit):
        _drain(line, line.patience.farewell)
        raise
    if stop:
        paid = f", having spent ${spent(line.cache, line.address.run):.4f}" if line.address.budget else ""
        raise BadInput(f"{stop} (run {line.address.run} stops{paid}; the answers so far are kept)")
    for key, said in line.refusals.items():  # once others are answered: now it is the question's fault
        keep_refusal(line.cache, key, said)
    next(bar, None)
    return line.replies


def _send(line: Line, waiting: list[Question]) -> str:
    """Start what may be started now; returns why nothing more may be, or nothing."""
    address = line.address
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
            return (
                f"the next question might exceed api_budget (${address.budget:g} for reader and judge): raise it "
                "(--set api_budget=DOLLARS) and give the same command again, which resumes"
            )
        question = waiting.pop(place)
        line.came.pop(question.key, None)
        line.under_way[question.key] = question
        threading.Thread(target=_try, args=(line, question, line.forms[-1]), daemon=True).start()
    return ""


def _try(line: Line, question: Question, form: Form) -> None:
    """In a thread of its own: one try, whose outcome is handed to the main thread."""
    try:
        outcome = tried(line.client, line.address, question.messages, form=form, max_tokens=line.max_tokens)
    except BaseException as error:  # a fault of this program's: raised again in the main thread
        outcome = error
    line.came[question.key] = outcome
    line.done.put(question.key)


def _pause(line: Line, waiting: list[Question]) -> float | None:
    """Seconds until a question may be tried again; None where only an outcome brings anything about."""
    now = time.monotonic()
    later = [one.ready - now for one in waiting if one.ready > now]
    return min(later) if later else None if line.under_way else 0.0


def _take(line: Line, waiting: list[Question], timeout: float | None) -> str:
    """Wait for an outcome and act on it; returns why to stop, or nothing."""
    try:
        key = line.done.get(timeout=timeout)
    except Empty:
        return ""
    stop = _settle(line, waiting, line.under_way[key], line.came[key])
    del line.under_way[key]  # last, so that Ctrl-C in between finds it
    return stop


def _settle(line: Line, waiting: list[Question], question: Question, outcome: Outcome | BaseException) -> str:
    """Store a reply, put the question back, or give it up; returns why to stop, or nothing."""
    if isinstance(outcome, BaseException):
        raise outcome
    if outcome.kind == "reply":
        return _store(line, question, outcome)
    if outcome.lost:
        keep_loss(line.cache, line.address.run, question.worst)
    if outcome.kind == "form":
        line.forms.append(merged(line.forms[-1], outcome.form))
        waiting.insert(0, question)
        return ""
    if outcome.kind == "again" and question.tries + 1 < line.patience.tries:
        return _put_back(line, waiting, question, outcome)
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
    kept = keep_reply(line.cache, question.key, reply, run=address.run, money=money)
    line.replies[question.key] = made_reply(*kept)
    if first and not reply["text"] and reply["finish"] == "length":
        return (
            f"{address.model} used up its {line.max_tokens} tokens before it wrote a word: choose one that does not "
            "think first, or give it room (answer_tokens)"
        )
    return ""


def _put_back(line: Line, waiting: list[Question], question: Question, outcome: Outcome) -> str:
    """Let a question wait for its next try; where the server says how long, all wait."""
    wait, patience = outcome.wait, line.patience
    if wait is not None and wait > patience.longest_asked:
        return f"{outcome.said} (it asks to wait {wait:.0f} s)"
    backoff = min(patience.longest_wait, patience.first_wait * 2**question.tries) * random.uniform(0.5, 1.5)
    ready = time.monotonic() + (backoff if wait is None else wait + backoff / 10)
    waiting.insert(0, replace(question, tries=question.tries + 1, ready=ready))
    if wait is not None:
        waiting[:] = [replace(one, ready=max(one.ready, time.monotonic() + wait)) for one in waiting]
    return ""


def _drain(line: Line, seconds: float) -> None:
    """Wait for what is under way, which is paid for, and store what comes."""
    end = time.monotonic() + seconds
    while line.under_way and time.monotonic() < end:
        for key in [key for key in line.under_way if key in line.came]:
            outcome = line.came[key]
            if isinstance(outcome, Outcome) and outcome.kind == "reply" and key not in line.replies:
                _store(line, line.under_way[key], outcome)
            elif isinstance(outcome, Outcome) and outcome.lost:
                keep_loss(line.cache, line.address.run, line.under_way[key].worst)
            del line.under_way[key]
        time.sleep(POLL_S)

"""One question to a model at an address, by OpenAI's client: a try ends in a reply, or in why there is none.

Nothing that a server does raises. The key is ZMEM_API_KEY of the environment and no other: it goes to the address
alone, in one header, follows no redirect, and is cut out of whatever the server says.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from zmem_lib.files import BadInput

KEY_ENV = "ZMEM_API_KEY"
NO_KEY = "none"  # what a local server gets, which asks for none
LEAST_SECRET = 8  # characters: shorter ones, such as vLLM's EMPTY, are words that an answer may hold
SENT = {
    "host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent",
    "x-stainless-raw-response",  # by which the client knows that the body is wanted as it came
}  # fmt: skip
AGAIN = (408, 409, 425, 429)  # and 5xx: status codes after which the same question may be answered
OF_THE_QUESTION = (400, 413, 422)  # others refuse every question
REFUSES = re.compile(r"unsupported|not support|unrecogni[sz]ed|unknown|not permitted|deprecated|use 'max_completion")
SHOWN_CHARACTERS = 300  # of what a server says

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Address:
    """Where a model answers, and what it may cost."""

    url: str
    model: str
    parallel: int  # requests under way at once
    budget: float  # dollars for the run, 0: no limit
    input_price: float  # dollars for a million tokens
    output_price: float
    cache: Path  # sqlite file, shared by the runs of a folder
    run: str  # whose budget is counted


@dataclass(frozen=True)
class Form:
    """The parameters that a model accepts: newer ones refuse `max_tokens`, some of them any temperature."""

    limit: str = "max_tokens"
    temperature: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of a try: `kind` is reply, form, again, question or server.

    form: a parameter was refused; again: may succeed later, else becomes `at_last`; question: this one cannot be
    answered; server: none can.
    """

    kind: str
    said: str = ""  # one sentence of what was wrong, without the key
    reply: Mapping[str, Any] = field(default_factory=dict)  # text, input_tokens, output_tokens, model, finish
    at_last: str = "server"
    wait: float | None = None  # seconds that the server asks for
    lost: bool = False  # whether it may have been paid for without a reply
    form: Mapping[str, Any] = field(default_factory=dict)  # what to change of the form


@contextmanager
def conversation(address: Address, timeout: float, connect: float) -> Iterator[Any]:
    """OpenAI's client for an address, which sends no header but its own and follows no redirect."""
    import openai

    key = secret_key()

    def plain(request: Any) -> None:  # whatever OPENAI_* in the environment adds is meant for another address
        for name in [name for name in request.headers if name.lower() not in SENT]:
            del request.headers[name]
        request.headers["authorization"] = f"Bearer {key or NO_KEY}"

    limits = openai.Timeout(timeout, connect=connect)
    web = openai.DefaultHttpxClient(timeout=limits, follow_redirects=False, event_hooks={"request": [plain]})
    client = openai.OpenAI(api_key=NO_KEY, base_url=address.url, max_retries=0, timeout=limits, http_client=web)
    with client:
        yield client


def secret_key() -> str:
    """The key for the address from the environment, empty where there is none; BadInput, without it, if it is none."""
    key = os.environ.get(KEY_ENV, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise BadInput(f"{KEY_ENV} in the environment holds white space or signs that no key has: set it again")
    return key


def clean(text: str) -> str:
    """A text without the key and without halves of surrogate pairs, which no table can hold."""
    key, text = secret_key(), text.encode("utf-8", "replace").decode()
    return text.replace(key, "[key]") if len(key) >= LEAST_SECRET else text


def tried(client: Any, address: Address, messages: Messages, *, form: Form, max_tokens: int) -> Outcome:
    """Ask once."""
    import openai

    asked = {"model": address.model, "messages": list(messages), form.limit: max_tokens}
    asked |= {"temperature": 0.0} if form.temperature else {}
    try:
        raw = client.chat.completions.with_raw_response.create(**asked)
        return read_body(raw.http_response.text, address)
    except openai.APIConnectionError as error:
        cause = type(error.__cause__).__name__
        if isinstance(error, openai.APITimeoutError) and cause != "ConnectTimeout":
            said = f"the server at {address.url} does not answer in time: lower machine.api_parallel, or look there"
            return Outcome("again", said, at_last="question", lost=True)
        said = f"{address.url} cannot be reached, or breaks off: correct answer.api_url, or start the server there"
        return Outcome("again", said, lost=cause in ("RemoteProtocolError", "ReadError"))
    except openai.APIStatusError as error:
        return refused(error.status_code, error.response.text, error.response.headers, address=address, form=form)


def read_body(body: str, address: Address) -> Outcome:
    """The reply in a body of JSON; a broken one may come whole the next time."""
    try:
        told = json.loads(body)
        choice, usage = told["choices"][0], told.get("usage")
        text = choice["message"].get("content") or ""
        if not usage:
            said = f"the server at {address.url} does not count tokens (its replies have no `usage`): take another"
            return Outcome("server", said, lost=True)
        reply = {
            "text": clean(text),
            "input_tokens": int(usage["prompt_tokens"]),
            "output_tokens": int(usage["completion_tokens"]),
            "model": clean(str(told.get("model", ""))),
            "finish": clean(str(choice.get("finish_reason"))),
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        sends = f"no chat completion in JSON ({shown(body)}): correct answer.api_url"
        return Outcome("again", f"what the server at {address.url} sends is {sends}", at_last="question", lost=True)
    return Outcome("reply", reply=reply)


def refused(status: int, body: str, headers: Mapping[str, str], *, address: Address, form: Form) -> Outcome:
    """What a status code other than 2xx means."""
    where, said = f"the server at {address.url}", told_by(body)
    if status < 400:
        return Outcome("server", f"{where} redirects to {shown(headers.get('location', ''))}: correct answer.api_url")
    if status in (401, 403):
        need = "refuses the key" if secret_key() else "needs a key"
        return Outcome("server", f"{where} {need} ({status}): set {KEY_ENV} in the environment to a valid one")
    if status in (404, 405):
        lacks = f"has no model {address.model!r}, or answers at another address"
        hint = "correct the model's name, or answer.api_url, which most often ends in /v1"
        return Outcome("server", f"{where} {lacks} ({status}: {shown(said)}): {hint}")
    if status == 429 and "insufficient_quota" in body:
        return Outcome("server", f"{where} says that the account has no credit left: add some, or take another key")
    if status in AGAIN or status >= 500:
        hint = "lower machine.api_parallel, or try later" if status == 429 else "look what is wrong there, or try later"
        at_last = "question" if status >= 500 else "server"
        wait = asked_wait(headers.get("retry-after", ""))
        return Outcome("again", f"{where} fails ({status}: {shown(said)}): {hint}", at_last=at_last, wait=wait)
    if other := other_form(said, form):
        return Outcome("form", f"{where} refuses the form of the question ({shown(said)})", form=other)
    kind = "question" if status in OF_THE_QUESTION else "server"
    return Outcome(kind, f"{where} refuses a question ({status}: {shown(said)}): correct what it names")


def other_form(said: str, form: Form) -> dict[str, Any]:
    """What to change of the form after a refusal that names a parameter; empty for any other refusal."""
    said = said.lower()
    if REFUSES.search(said) and "max_tokens" in said and form.limit == "max_tokens":
        return {"limit": "max_completion_tokens"}
    return {"temperature": False} if REFUSES.search(said) and "temperature" in said and form.temperature else {}


def told_by(body: str) -> str:
    """The message in an error's body, or the body."""
    try:
        told = json.loads(body)
        told = told.get("error", told)
        return str(told if isinstance(told, str) else told.get("message") or told.get("detail") or body)
    except (ValueError, AttributeError, RecursionError):
        return body


def shown(text: str) -> str:
    """What a server says, on one line, cut where it is long, without the key."""
    line = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", clean(text)).split())
    return repr(line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 2]} …")


def asked_wait(value: str) -> float | None:
    """Seconds that a Retry-After header asks for, given in seconds or as a date; None for none."""
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return None

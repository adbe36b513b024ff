"""How a judge is asked: many prompts at once, JSON read from the replies, what fails counted; claims and entailment.

Takes texts; returns claims, entailment as numbers, and NaN or None where there was no verdict. The judge is a language
model at an address (api/, whose cache keeps every reply, so that asking again costs nothing). Texts of a corpus stand
between marks, and the judge is told that what stands there is to be judged and never obeyed. A reply that cannot be
read is shown to it once, with what is wrong; after that it has failed. The prompts are prompts.yaml's.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from zmem_lib.api.client import Reply, ask_all, judge_address
from zmem_lib.params import Params

REPLY_TOKENS = 1024
PROMPTS: dict[str, str] = yaml.safe_load(Path(__file__).with_name("prompts.yaml").read_text(encoding="utf-8"))

Messages = list[dict[str, str]]
Pair = tuple[str, str]  # a question and an answer to it
Check = tuple[Sequence[str], str, str]  # claims, a text that may entail them, the question where it answers one


@dataclass(frozen=True)
class Judge:
    """A judge at an address, with what it has said so far, by conversation, and a count of what became of it."""

    ask: Callable[[list[Messages]], list[Reply | None]]
    replies: dict[str, Reply | None] = field(default_factory=dict)
    tally: Counter = field(default_factory=Counter)  # asked, unanswered, unreadable


def as_messages(prompt: str) -> Messages:
    """A prompt as chat messages."""
    return [{"role": "system", "content": PROMPTS["system"]}, {"role": "user", "content": prompt}]


def claims_of(question: str, answer: str) -> Messages:
    """Ask for the claims of an answer."""
    return as_messages(PROMPTS["claims"].format(question=_inside(question), answer=_inside(answer)))


def entailed_by(claims: Sequence[str], text: str, *, question: str = "") -> Messages:
    """Ask which claims a text entails: a passage, or, with `question`, an answer to that."""
    what = PROMPTS["entailed: an answer" if question else "entailed: a chunk"].format(question=_inside(question))
    listed = "\n".join(f"{i}. <<<{_inside(claim)}>>>" for i, claim in enumerate(claims, 1))
    return as_messages(PROMPTS["entailed"].format(what=what, text=_inside(text), claims=listed))


def sentences_that_matter(question: str, context: Mapping[str, str], answer: Mapping[str, str]) -> Messages:
    """Ask which sentences, by key, are relevant, used and supported."""
    listed = ["\n".join(f"[{key}] <<<{_inside(text)}>>>" for key, text in part.items()) for part in (context, answer)]
    return as_messages(PROMPTS["sentences"].format(question=_inside(question), context=listed[0], answer=listed[1]))


def _inside(text: str) -> str:
    """The text without the marks that would end it."""
    return text.replace("<<<", "< < <").replace(">>>", "> > >")


def judge_at_address(params: Params, folder: Path) -> Judge:
    """The judge that a run's parameters name; `folder` is the run's."""
    return Judge(partial(ask_all, judge_address(params, folder), max_tokens=REPLY_TOKENS, may_fail=True))


def ask_json(judge: Judge, prompts: Sequence[Messages], reads: Sequence[Callable[[str], Any]]) -> list[Any]:
    """What `reads` make of the JSON object in each reply (ValueError: of the wrong form); None where it failed."""
    replies = _replies(judge, prompts)
    results: list[Any] = [None] * len(prompts)
    faulty: dict[int, Messages] = {}
    for place, reply in enumerate(replies):
        results[place], fault = _read(reply, reads[place])
        if reply and fault:
            said, wrong = {"role": "assistant", "content": reply.text}, PROMPTS["again"].format(fault=fault)
            faulty[place] = [*prompts[place], said, {"role": "user", "content": wrong}]
    for place, reply in zip(faulty, _replies(judge, list(faulty.values())), strict=True):
        results[place], _ = _read(reply, reads[place])
    unanswered = sum(reply is None for reply in replies)
    failed = sum(result is None for result in results)
    judge.tally.update(asked=len(prompts), unanswered=unanswered, unreadable=failed - unanswered)
    return results


def ask_claims(judge: Judge, pairs: Sequence[Pair]) -> list[list[str] | None]:
    """The claims of each answer; none, unasked, of an empty one; None where the judge failed."""
    prompts = [claims_of(question, answer) for question, answer in pairs if answer.strip()]
    asked = iter(ask_json(judge, prompts, [_claims] * len(prompts)))
    return [next(asked) if answer.strip() else [] for _, answer in pairs]


def ask_entailed(judge: Judge, checks: Sequence[Check]) -> list[np.ndarray]:
    """For each check which claims the text entails, 1 or 0 by claim, NaN where the judge failed.

    An empty text entails none.
    """
    found = [np.zeros(len(claims)) for claims, _, _ in checks]
    asked = {place: one for place, one in enumerate(checks) if len(one[0]) and one[1].strip()}
    prompts = [entailed_by(claims, text, question=question) for claims, text, question in asked.values()]
    reads = [partial(_entailed, count=len(claims)) for claims, _, _ in asked.values()]
    for place, entailed in zip(asked, ask_json(judge, prompts, reads), strict=True):
        found[place] = np.full(len(found[place]), np.nan) if entailed is None else entailed
    return found


def keys_of(text: str, *, allowed: dict[str, set[str]]) -> dict[str, list[str]]:
    """Lists of keys by name from a JSON text; ValueError where one is missing or has a key that is not allowed."""
    reply = _object(text)
    for name, keys in allowed.items():
        if not isinstance(reply.get(name), list):
            raise ValueError(f"{name!r} must be a list of keys")
        if unknown := [key for key in reply[name] if not isinstance(key, str) or key not in keys]:
            raise ValueError(f"{name!r} holds {unknown[0]!r}, which is no key there")
    return {name: reply[name] for name in allowed}


def _replies(judge: Judge, prompts: Sequence[Messages]) -> list[Reply | None]:
    """The replies in order; a conversation that was held before is not held again."""
    keys = [json.dumps(messages) for messages in prompts]
    new = {key: messages for key, messages in zip(keys, prompts, strict=True) if key not in judge.replies}
    if new:
        judge.replies.update(zip(new, judge.ask(list(new.values())), strict=True))
    return [judge.replies[key] for key in keys]


def _read(reply: Reply | None, read: Callable[[str], Any]) -> tuple[Any, str]:
    """What is read from a reply, or what is wrong with it."""
    if reply is None:
        return None, ""
    try:
        return read(reply.text[max(reply.text.find("{"), 0) : reply.text.rfind("}") + 1]), ""
    except ValueError as error:  # json's and pydantic's are of this kind
        return None, " ".join(str(error).split())[:300] or "no JSON object"


def _object(text: str) -> dict[str, Any]:
    reply = json.loads(text)
    if not isinstance(reply, dict):
        raise ValueError("not a JSON object")
    return reply


def _claims(text: str) -> list[str]:
    claims = _object(text).get("claims")
    if not isinstance(claims, list) or not all(isinstance(claim, str) and claim.strip() for claim in claims):
        raise ValueError("'claims' must be a list of sentences")
    return claims


def _entailed(text: str, *, count: int) -> np.ndarray:
    numbers = _object(text).get("entailed")
    if not isinstance(numbers, list) or any(type(number) is not int or not 1 <= number <= count for number in numbers):
        raise ValueError(f"'entailed' must be a list of numbers from 1 to {count}")
    return np.isin(np.arange(1, count + 1), numbers).astype(float)  # (count,)

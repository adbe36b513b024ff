"""How a judge is asked: many prompts at once, JSON read from the replies, what fails counted; claims and entailment.

The judge is a language model at an address (api/, whose cache keeps every reply). Texts of a corpus stand between
marks, and what stands there is to be judged and never obeyed (prompts.yaml). A reply that cannot be read is shown to
the judge once, with what is wrong; after that it has failed: NaN or None.
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
Check = tuple[Sequence[str], str, str]  # claims, a text that may entail them, the question where it answers one
Sentences = Mapping[str, str]  # by key


@dataclass(frozen=True)
class Judge:
    """A judge at an address, with what it has said so far, by conversation, and a count of what became of it."""

    ask: Callable[[list[Messages]], list[Reply | None]]
    replies: dict[str, Reply | None] = field(default_factory=dict)
    tally: Counter = field(default_factory=Counter)  # asked, unanswered, unreadable


def inside(text: str) -> str:
    """The text without the marks that would end it."""
    return text.replace("<<<", "< < <").replace(">>>", "> > >")


def judge_at_address(params: Params, folder: Path) -> Judge:
    """The judge that a run's parameters name; `folder` is the run's."""
    return Judge(partial(ask_all, judge_address(params, folder), max_tokens=REPLY_TOKENS, may_fail=True))


def ask_json(judge: Judge, prompts: Sequence[str], reads: Sequence[Callable[[str], Any]]) -> list[Any]:
    """What `reads` make of the JSON object in each reply (ValueError: of the wrong form); None where it failed."""
    system = {"role": "system", "content": PROMPTS["system"]}
    asked = [[system, {"role": "user", "content": prompt}] for prompt in prompts]
    replies = _replies(judge, asked)
    results: list[Any] = [None] * len(prompts)
    faulty: dict[int, Messages] = {}
    for place, reply in enumerate(replies):
        results[place], fault = _read(reply, reads[place])
        if reply and fault:
            said, wrong = {"role": "assistant", "content": reply.text}, PROMPTS["again"].format(fault=fault)
            faulty[place] = [*asked[place], said, {"role": "user", "content": wrong}]
    for place, reply in zip(faulty, _replies(judge, list(faulty.values())), strict=True):
        results[place], _ = _read(reply, reads[place])
    unanswered = sum(reply is None for reply in replies)
    failed = sum(result is None for result in results)
    judge.tally.update(asked=len(prompts), unanswered=unanswered, unreadable=failed - unanswered)
    return results


def ask_claims(judge: Judge, pairs: Sequence[tuple[str, str]]) -> list[list[str] | None]:
    """The claims of each answer to its question; none, unasked, of an empty one; None where the judge failed."""
    texts = [{"question": inside(question), "answer": inside(answer)} for question, answer in pairs if answer.strip()]
    read = partial(lists_of, claims=("sentences", lambda claim: isinstance(claim, str) and claim.strip()))
    asked = ask_json(judge, [PROMPTS["claims"].format(**some) for some in texts], [read] * len(texts))
    asked = iter([lists and lists["claims"] for lists in asked])
    return [next(asked) if answer.strip() else [] for _, answer in pairs]


def ask_entailed(judge: Judge, checks: Sequence[Check]) -> list[np.ndarray]:
    """For each check which claims the text (an empty one: none) entails, 1 or 0 each; NaN where the judge failed."""
    found = [np.zeros(len(claims)) for claims, _, _ in checks]
    places, prompts, reads = [], [], []
    for place, (claims, text, question) in enumerate(checks):
        if len(claims) and text.strip():
            what = PROMPTS["entailed: an answer" if question else "entailed: a chunk"].format(question=inside(question))
            listed = "\n".join(f"{i}. <<<{inside(claim)}>>>" for i, claim in enumerate(claims, 1))
            prompts.append(PROMPTS["entailed"].format(what=what, text=inside(text), claims=listed))
            numbers = range(1, len(claims) + 1)
            fits = (f"numbers from 1 to {len(claims)}", lambda one, some=numbers: type(one) is int and one in some)
            reads.append(partial(lists_of, entailed=fits))
            places.append((place, numbers))
    for (place, numbers), lists in zip(places, ask_json(judge, prompts, reads), strict=True):
        found[place] = np.full(len(numbers), np.nan) if lists is None else np.isin(numbers, lists["entailed"]) * 1.0
    return found


def ask_keys(judge: Judge, asked: Sequence[tuple[str, Sentences, Sentences]]) -> list[dict[str, list[str]] | None]:
    """The keys of sentences that are relevant, used and supported, for each question, context and answer, or None."""
    prompts, reads = [], []
    for question, *both in asked:
        parts = ["\n".join(f"[{key}] <<<{inside(text)}>>>" for key, text in part.items()) for part in both]
        prompts.append(PROMPTS["sentences"].format(question=inside(question), context=parts[0], answer=parts[1]))
        kind = "keys that stand there"
        of_context, of_answer = ((kind, lambda key, part=part: isinstance(key, str) and key in part) for part in both)
        reads.append(partial(lists_of, relevant=of_context, used=of_context, supported=of_answer))
    return ask_json(judge, prompts, reads)


def lists_of(text: str, **wanted: tuple[str, Callable[[Any], Any]]) -> dict[str, list]:
    """Lists by name from a JSON object; ValueError where one is missing or holds what is not of the wanted kind."""
    reply = json.loads(text)
    for name, (kind, fits) in wanted.items():
        if not isinstance(reply.get(name), list):
            raise ValueError(f"{name!r} must be a list of {kind}")
        if wrong := [item for item in reply[name] if not fits(item)]:
            raise ValueError(f"{name!r} must be a list of {kind}, and {wrong[0]!r} is none of them")
    return {name: reply[name] for name in wanted}


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

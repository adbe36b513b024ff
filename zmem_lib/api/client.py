"""Questions to a model at an address, as reader or as judge: any server that speaks OpenAI's protocol will do.

Takes an Address and chat messages; returns replies in order, with tokens as the server counts them, and dollars. What
was answered once is read from the cache (cache.py), the rest is asked (queue.py, request.py). `machine.api_budget`
is kept by asking nothing that could, at worst, exceed it.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from zmem_lib.api.cache import is_refused, kept_reply, opened
from zmem_lib.api.queue import Line, Patience, Question, Reply, ask_waiting, dollars, made_reply
from zmem_lib.api.request import Address, Messages, conversation
from zmem_lib.params import Params

__all__ = ["Address", "Reply", "ask_all", "judge_address", "reader_address"]

CACHE = "api_cache.sqlite"
MESSAGE_TOKENS = 16  # of the marks around one message, at most
PATIENCE = Patience()


def reader_address(params: Params, folder: Path) -> Address:
    """Where the final reader of a run answers; `folder` is the run's."""
    return _address(
        params, folder, params.answer.api_model, (params.answer.api_input_price, params.answer.api_output_price)
    )


def judge_address(params: Params, folder: Path) -> Address:
    """Where the judge of a run answers: the same server and budget, another model and price."""
    return _address(
        params,
        folder,
        params.evaluate.judge_model,
        (params.evaluate.judge_input_price, params.evaluate.judge_output_price),
    )


def _address(params: Params, folder: Path, model: str, prices: tuple[float, float]) -> Address:
    return Address(
        url=params.answer.api_url.rstrip("/"),
        model=model,
        parallel=params.machine.api_parallel,
        budget=params.machine.api_budget,
        input_price=prices[0],
        output_price=prices[1],
        cache=folder.parent / CACHE,
        run=params.run,
    )


def ask_all(
    address: Address, prompts: Sequence[list[dict[str, str]]], *, max_tokens: int, may_fail: bool = False
) -> list[Reply | None]:
    """The replies to chat messages (role, content), in order, at temperature 0 and of at most `max_tokens`.

    With `may_fail`, None for a prompt that could not be answered after all tries; else, and for a server that cannot
    be reached or refuses, BadInput. Answers that came before are kept.
    """
    keys = [key_of(address, messages, max_tokens) for messages in prompts]
    with opened(address.cache) as cache:
        replies: dict[str, Reply | None] = {}
        missing: dict[str, Question] = {}
        for key, messages in zip(keys, prompts, strict=True):
            if key in replies or key in missing:
                continue
            if kept := kept_reply(cache, key):
                replies[key] = made_reply(*kept)
            elif may_fail and is_refused(cache, key):
                replies[key] = None
            else:
                missing[key] = Question(key, messages, worst_case(address, messages, max_tokens))
        if missing:
            with conversation(address, PATIENCE.timeout, PATIENCE.connect) as client:
                line = Line(address, cache, client, PATIENCE, max_tokens, may_fail)
                replies |= ask_waiting(line, list(missing.values()))
    return [replies[key] for key in keys]


def key_of(address: Address, messages: Messages, max_tokens: int) -> str:
    """The hash of all that decides an answer."""
    asked = [address.url, address.model, list(messages), {"max_tokens": max_tokens, "temperature": 0}]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def worst_case(address: Address, messages: Messages, max_tokens: int) -> float:
    """Dollars that one try costs at most: no tokenizer makes more tokens than a text has bytes."""
    tokens = sum(len(message["content"].encode("utf-8", "replace")) + MESSAGE_TOKENS for message in messages)
    return dollars(address, tokens, max_tokens)

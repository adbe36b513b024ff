"""The reader: question and evidence in, answer out; the same model, prompt and token budget for every system.

The run's own model, or with `reader: api` one at an address. Of the first kind, a model all of whose weights learn has
learned the reader's task beside its memory (train.py); any other reads with its adapter off and through its chat
template. A model at an address gets the same turn as a chat message, with the evidence cut by the run's own tokenizer,
so that every reader sees the same. The answer is the first line of what is written.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from zmem_lib.api.client import ask_all, reader_address
from zmem_lib.memory.lm import MemoryLM, generate_all
from zmem_lib.params import Params
from zmem_lib.text import first_words


@dataclass(frozen=True)
class Readings:
    """Answers of one system, what they were read from, and what they cost: lists by question."""

    answers: list[str]
    evidence: list[str]  # as the reader saw it: each item cut, one per line
    evidence_tokens: list[int]
    input_tokens: list[int]  # as the model that reads counts them, and so the next
    output_tokens: list[int]
    money: list[float]  # dollars, when an answer was bought


@dataclass(frozen=True)
class Written:
    """What the reader wrote, by question."""

    texts: list[str]
    input_tokens: list[int]
    output_tokens: list[int]
    money: list[float]


def read(
    memory_lm: MemoryLM, questions: Sequence[str], items: Sequence[list[str]], params: Params, *, folder: Path | None
) -> Readings:
    """Answer each question from its evidence items, each cut to `memory.evidence_tokens`; `folder` is the run's."""
    prompts, limit = memory_lm.prompts, params.memory.evidence_tokens
    cut = [[prompts.encode(item, limit) for item in its] for its in items]
    shown = [[prompts.decode(ids) for ids in its] for its in cut]
    if params.answer.reader == "api":
        written = read_at_address(memory_lm, questions, shown, params, folder=folder)
    else:
        written = read_here(memory_lm, questions, items, params)
    return Readings(
        answers=[text.strip().partition("\n")[0].strip() for text in written.texts],
        evidence=["\n".join(its) for its in shown],
        evidence_tokens=[sum(len(ids) for ids in its) for its in cut],
        input_tokens=written.input_tokens,
        output_tokens=written.output_tokens,
        money=written.money,
    )


def read_here(memory_lm: MemoryLM, questions: Sequence[str], items: Sequence[list[str]], params: Params) -> Written:
    """What the run's own model writes."""
    prompts = memory_lm.prompts
    readings = [prompts.reading(q, its, params.memory.evidence_tokens) for q, its in zip(questions, items, strict=True)]
    adapter_off = nullcontext() if params.learns_whole else memory_lm.lm.disable_adapter()
    with adapter_off:
        output = generate_all(
            memory_lm, None, readings, max_tokens=params.answer.answer_tokens, batch=params.machine.answer_batch
        )
    return Written(
        texts=[prompts.decode(ids) for ids in output],
        input_tokens=[len(reading) for reading in readings],
        output_tokens=[len(ids) for ids in output],
        money=[0.0] * len(readings),
    )


def read_at_address(
    memory_lm: MemoryLM, questions: Sequence[str], shown: Sequence[list[str]], params: Params, *, folder: Path
) -> Written:
    """What the model at the run's address writes, or wrote when it was asked the same before; raises BadInput."""
    turns = [[memory_lm.prompts.turn(q, its)] for q, its in zip(questions, shown, strict=True)]
    replies = ask_all(reader_address(params, folder), turns, max_tokens=params.answer.answer_tokens)
    return Written(
        texts=[reply.text for reply in replies],
        input_tokens=[reply.input_tokens for reply in replies],
        output_tokens=[reply.output_tokens for reply in replies],
        money=[reply.money for reply in replies],
    )


def unread(items: Sequence[list[str]], words: int) -> Readings:
    """Evidence that nobody reads, where there is no language model: each item's first words; no answer, no token."""
    cut = [[first_words(item, words) for item in its] for its in items]
    return Readings(
        answers=[""] * len(cut),
        evidence=["\n".join(its) for its in cut],
        evidence_tokens=[sum(len(item.split()) for item in its) for its in cut],
        input_tokens=[0] * len(cut),
        output_tokens=[0] * len(cut),
        money=[0.0] * len(cut),
    )

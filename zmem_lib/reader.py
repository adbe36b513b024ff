"""The reader: question and evidence in, answer out; the same model, prompt and token budget for every system.

A model all of whose weights learn has learned the reader's task beside its memory (train.py); any other reads with its
adapter off and through its chat template. The answer is the first line of what it writes.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from zmem_lib.memory_lm import MemoryLM, generate_all
from zmem_lib.params import Params
from zmem_lib.text import first_words


@dataclass(frozen=True)
class Readings:
    """Answers of one system, what they were read from, and what they cost: lists by question."""

    answers: list[str]
    evidence: list[str]  # as the reader saw it: each item cut, one per line
    evidence_tokens: list[int]
    input_tokens: list[int]
    output_tokens: list[int]


def read(memory_lm: MemoryLM, questions: Sequence[str], items: Sequence[list[str]], params: Params) -> Readings:
    """Answer each question from its evidence items, each cut to `evidence_tokens`."""
    prompts = memory_lm.prompts
    limit = params.evidence_tokens
    readings = [prompts.reading(q, e, limit) for q, e in zip(questions, items, strict=True)]
    cut = [[prompts.encode(item, limit) for item in its] for its in items]
    adapter_off = nullcontext() if params.learns_whole else memory_lm.lm.disable_adapter()
    with adapter_off:
        output = generate_all(memory_lm, None, readings, max_tokens=params.answer_tokens, batch=params.batch_answers)
    return Readings(
        answers=[prompts.decode(ids).partition("\n")[0].strip() for ids in output],
        evidence=["\n".join(prompts.decode(ids) for ids in its) for its in cut],
        evidence_tokens=[sum(len(ids) for ids in its) for its in cut],
        input_tokens=[len(reading) for reading in readings],
        output_tokens=[len(ids) for ids in output],
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
    )

"""The reader: question and evidence in, answer out; the same model, prompt and token budget for every system.

A model made from scratch has learned the reader's task beside its memory (train.py); any other model reads with its
adapter off.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from zmem_lib.memory_lm import MemoryLM, generate_all
from zmem_lib.params import Params


@dataclass(frozen=True)
class Readings:
    """Answers of one system, and what they cost: lists by question."""

    answers: list[str]
    evidence_tokens: list[int]
    input_tokens: list[int]
    output_tokens: list[int]


def read(memory_lm: MemoryLM, questions: Sequence[str], items: Sequence[list[str]], params: Params) -> Readings:
    """Answer each question from its evidence items, each cut to `evidence_tokens`."""
    prompts = memory_lm.prompts
    readings = [prompts.reading(q, e, params.evidence_tokens) for q, e in zip(questions, items, strict=True)]
    adapter_off = memory_lm.lm.disable_adapter() if params.lm != "scratch" else nullcontext()
    with adapter_off:
        output = generate_all(memory_lm, None, readings, max_tokens=params.answer_tokens, batch=params.batch_answers)
    return Readings(
        answers=[prompts.tokenizer.decode(ids).strip() for ids in output],
        evidence_tokens=[sum(len(prompts.encode(e, params.evidence_tokens)) for e in its) for its in items],
        input_tokens=[len(reading) for reading in readings],
        output_tokens=[len(ids) for ids in output],
    )

"""The reader: question and evidence in, answer out; the same model, prompt and token budget for every system.

The run's own model, or with `answer.reader` api one at an address. A model all of whose weights learn has learned the
reader's task beside its memory (train.py); any other reads with its adapter off and through its chat template. A model
at an address gets the same turn as a chat message, with the evidence cut by the run's own tokenizer, so that every
reader sees the same. The answer is the first line of what is written.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pandas as pd

from zmem_lib.api.client import Reply, ask_all, reader_address
from zmem_lib.memory.lm import MemoryLM, generate_all
from zmem_lib.params import Params
from zmem_lib.text import first_words


def read(
    memory_lm: MemoryLM, questions: Sequence[str], items: Sequence[list[str]], params: Params, *, folder: Path | None
) -> pd.DataFrame:
    """Answer each question from its evidence items, each cut to `memory.evidence_tokens`; `folder` is the run's.

    Columns of the table answers: answer, evidence as the reader saw it, its tokens, and, as the model that reads counts
    them, input_tokens and output_tokens; money is dollars, where an answer was bought.
    """
    prompts, limit = memory_lm.prompts, params.memory.evidence_tokens
    cut = [[prompts.encode(item, limit) for item in some] for some in items]
    shown = [[prompts.decode(ids) for ids in some] for some in cut]
    if params.answer.reader == "api":
        turns = [[prompts.turn(question, some)] for question, some in zip(questions, shown, strict=True)]
        replies = ask_all(reader_address(params, folder), turns, max_tokens=params.answer.answer_tokens)
    else:
        replies = read_here(memory_lm, questions, items, params)
    return _table(replies, shown, [sum(map(len, some)) for some in cut])


def read_here(memory_lm: MemoryLM, questions: Sequence[str], items: Sequence[list[str]], params: Params) -> list[Reply]:
    """What the run's own model writes."""
    prompts, limit = memory_lm.prompts, params.memory.evidence_tokens
    asked = [prompts.reading(question, some, limit) for question, some in zip(questions, items, strict=True)]
    options = {"max_tokens": params.answer.answer_tokens, "batch": params.machine.answer_batch}
    with nullcontext() if params.learns_whole else memory_lm.lm.disable_adapter():
        written = generate_all(memory_lm, None, asked, **options)
    return [Reply(prompts.decode(ids), len(before), len(ids), 0.0) for before, ids in zip(asked, written, strict=True)]


def unread(items: Sequence[list[str]], words: int) -> pd.DataFrame:
    """Evidence that nobody reads, where there is no language model: each item's first words; no answer, no token."""
    shown = [[first_words(item, words) for item in some] for some in items]
    return _table([Reply("", 0, 0, 0.0)] * len(shown), shown, [len(" ".join(some).split()) for some in shown])


def _table(replies: Sequence[Reply], shown: list[list[str]], evidence_tokens: list[int]) -> pd.DataFrame:
    table = pd.DataFrame([vars(reply) for reply in replies], columns=["text", "input_tokens", "output_tokens", "money"])
    answers = [text.strip().partition("\n")[0].strip() for text in table.pop("text")]
    return table.assign(answer=answers, evidence=shown, evidence_tokens=evidence_tokens)

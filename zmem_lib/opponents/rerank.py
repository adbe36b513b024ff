"""What a model makes of question and passage together, by which a ranking's first documents are put in order anew.

Two scores of pairs (question, passage): a cross-encoder's (Nogueira and Cho, 1901.04085), and the log-likelihood of the
question behind the passage under a language model (UPR: Sachan et al., 2204.07496, section 2). A model that has learned
questions behind texts (`train.text_weight`), or was made here, is asked as in that lesson; any other as UPR asks one
that nobody tuned: its adapter off, with an instruction. Either score is weighed with that of the first stage
(fusion.py).
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from zmem_lib.memory.choose import question_log_p
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.memory.prompts import CHAT_VALUES, Prompts, Row, behind_text, join
from zmem_lib.params import Params

if TYPE_CHECKING:
    from zmem_lib.opponents.dense import CrossEncoder

INSTRUCTION = "Write a question that this passage answers."

Pairs = Sequence[tuple[str, str]]  # question, passage


def log_p_given_text(memory_lm: MemoryLM, pairs: Pairs, params: Params) -> list[float]:
    """log p(question | passage) of each pair, at most `memory.document_tokens` tokens of the passage."""
    untuned = params.lm.name != "scratch" and not params.train.text_weight
    row_of = instructed_row if untuned else lesson_row
    rows = [row_of(memory_lm.prompts, *pair, params.memory.document_tokens) for pair in pairs]
    with memory_lm.lm.disable_adapter() if untuned and not params.learns_whole else nullcontext():
        return question_log_p(memory_lm, None, rows, batch=params.machine.answer_batch)


def lesson_row(prompts: Prompts, question: str, text: str, limit: int) -> Row:
    """The question behind the text, as the text twin has learned it."""
    return behind_text(prompts.text(text, limit), prompts.question(question))


def instructed_row(prompts: Prompts, question: str, text: str, limit: int) -> Row:
    """The question as what a model writes when it is told to ask about the text, through its chat template if any."""
    told = f"Passage: {prompts.plain(prompts.decode(prompts.encode(text, limit)))}\n\n{INSTRUCTION}"
    if prompts.tokenizer.chat_template:
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": False} | CHAT_VALUES
        before = prompts.tokenizer.apply_chat_template([{"role": "user", "content": told}], **options)
        prompts = replace(prompts, space="")  # a turn begins with a line of its own
    else:
        before = prompts.begin + prompts.encode(told) + prompts.marks["question"]
    return join([(list(before), "none"), (prompts.encode(question), "question")])


def cross_scores(encoder: "CrossEncoder", pairs: Pairs, batch: int) -> list[float]:
    """The cross-encoder's score of each pair, before any squashing, which would make the highest ones equal."""
    if not pairs:
        return []
    scores = encoder.predict(list(pairs), batch_size=batch, show_progress_bar=False, activation_fn=nn.Identity())
    return [float(score) for score in scores]  # (len(pairs),)

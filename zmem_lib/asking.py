"""What the language model says when it is to ask about documents: questions, and the evidence for each.

Two ways. A model that has learned p(question | z) draws questions from it, as doc2query does from a text (1904.08375),
and writes the evidence as it does for any question. A model with a chat template reads the text, is asked for
questions, and then for the sentence that answers each. Nothing is judged here: that is pseudo.py's.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from zmem_lib.artifacts import progress
from zmem_lib.combinations import QUESTION_TOKENS
from zmem_lib.memory_lm import MemoryLM, generate_all, left_padded, trim
from zmem_lib.params import Params
from zmem_lib.prompts import CHAT_VALUES, MARKERS, Prompts

TOP_P = 0.9
BATCH = 64  # questions drawn at once; what is drawn depends on it, so it is no parameter of memory
ASK = "Write {n} questions that the text answers, one per line. Name what each is about: it is read without the text."
QUOTE = "Copy from the text, word for word, the sentence that answers the question. If none does, write: none."
NUMBERED = r"(?:(?:(?:Q(?:uestion)?\s*)?\d*\s*[.:)]|[-*•])\s+)?"
QUESTION = re.compile(r"[^?？\n]*\w[^?？\n]*[?？]")
LINE = re.compile(rf"\s*{NUMBERED}(.*\w.*[?？])\s*", re.IGNORECASE)

Pairs = list[tuple[int, str]]  # number of the document, question


def sampled_questions(memory_lm: MemoryLM, z: Tensor, params: Params) -> list[list[str]]:
    """As many questions as are wanted for each document, drawn from p(question | z) for z (N,K,W)."""
    n = params.pseudo_questions
    rows, texts = torch.arange(len(z)).repeat_interleave(n), []  # (N*n,)
    with seeded(memory_lm.device, params.seed):
        for begin in progress(range(0, len(rows), BATCH), "asking"):
            texts += sample(memory_lm, z[rows[begin : begin + BATCH]])
    return [texts[begin : begin + n] for begin in range(0, len(texts), n)]


@torch.no_grad()
def sample(memory_lm: MemoryLM, z: Tensor) -> list[str]:
    """One question for each z (B,K,W), drawn at temperature 1 from the likeliest TOP_P; empty if it has no end."""
    prompts, known = memory_lm.prompts, memory_lm.prompts.tokenizer.get_vocab()
    ends = sorted({*memory_lm.ends, *(known[special] for special, _ in MARKERS.values() if special in known)})
    embedded, mask = left_padded(memory_lm, z, [prompts.marks["question"]] * len(z))  # (B,P+T,D), (B,P+T)
    drawing = {"do_sample": True, "temperature": 1.0, "top_p": TOP_P, "top_k": 0}
    with memory_lm.arithmetic():
        new = memory_lm.lm.generate(
            inputs_embeds=embedded,
            attention_mask=mask,
            max_new_tokens=QUESTION_TOKENS,
            eos_token_id=ends,
            **drawing,
        ).tolist()  # (B,<=QUESTION_TOKENS)
    written = [prompts.tokenizer.decode(trim(ids, ends), skip_special_tokens=True) for ids in new]
    return [first_question(text, ended=bool(set(ids) & set(ends))) for text, ids in zip(written, new, strict=True)]


def first_question(text: str, *, ended: bool) -> str:
    """The text up to its first question mark or, without one, its first line; empty if the model did not end that.

    A model that never learned what stands behind a question goes on with anything, so that no marker need follow.
    """
    if match := QUESTION.match(text):
        return match[0].strip()
    line, next_line, _ = text.partition("\n")  # where markers are plain text, one of them begins a line
    return line.strip() if next_line or ended else ""


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Let torch draw from this seed, and afterwards go on as if it had not."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def recalled_evidence(memory_lm: MemoryLM, z: Tensor, pairs: Pairs, params: Params) -> list[str]:
    """The evidence that the model writes from the document's z (N,K,W) for each question."""
    prompts = [memory_lm.prompts.asked(question) for _, question in pairs]
    blocks = z[torch.tensor([row for row, _ in pairs], dtype=torch.long)]  # (B,K,W)
    output = generate_all(memory_lm, blocks, prompts, max_tokens=params.evidence_tokens, batch=params.batch_answers)
    return [memory_lm.prompts.decode(ids) for ids in output]


def chat_questions(memory_lm: MemoryLM, texts: Sequence[str], params: Params) -> list[list[str]]:
    """The questions that a chat model makes up for each text, at most as many as are wanted."""
    n = params.pseudo_questions
    turns = [f"{ASK.format(n=n)}\n\nText: {cut(memory_lm.prompts, text, params)}" for text in texts]
    written = chat(memory_lm, turns, max_tokens=n * QUESTION_TOKENS, params=params)
    return [listed_questions(lines)[:n] for lines in written]


def chat_quotes(memory_lm: MemoryLM, texts: Sequence[str], pairs: Pairs, params: Params) -> list[str]:
    """What a chat model copies from the document's text as the answer to each question."""
    short = [cut(memory_lm.prompts, text, params) for text in texts]
    turns = [f"{QUOTE}\n\nText: {short[row]}\n\nQuestion: {memory_lm.prompts.plain(q)}" for row, q in pairs]
    written = chat(memory_lm, turns, max_tokens=params.evidence_tokens, params=params)
    return [lines.partition("\n")[0].strip(" \"'“”‘’«»") for lines in written]


def chat(memory_lm: MemoryLM, turns: Sequence[str], *, max_tokens: int, params: Params) -> list[str]:
    """What the model, its adapter off, says to each turn of a user."""
    template = memory_lm.prompts.tokenizer.apply_chat_template
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": False} | CHAT_VALUES
    prompts = [template([{"role": "user", "content": turn}], **options) for turn in turns]
    off: AbstractContextManager = nullcontext() if params.learns_whole else memory_lm.lm.disable_adapter()
    with off:
        output = generate_all(memory_lm, None, prompts, max_tokens=max_tokens, batch=params.batch_answers)
    return [memory_lm.prompts.decode(ids) for ids in output]


def cut(prompts: Prompts, text: str, params: Params) -> str:
    """As much of a document as z has seen."""
    return prompts.decode(prompts.encode(text, params.document_tokens))


def listed_questions(lines: str) -> list[str]:
    """The lines that are questions, without the numbers or bullets before them."""
    return [match[1] for line in lines.splitlines() if (match := LINE.fullmatch(line))]

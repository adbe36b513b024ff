"""What the language model says when it is to ask about documents: questions, and the evidence for each.

Two ways. The text twin, which has learned p(question, evidence | text), draws questions about each sentence in turn, as
doc2query does from a text (1904.08375), and confirms those that lead back: a question must be likelier behind its own
sentence than behind any other of the document, a round trip as in Promptagator (2209.11755). A model with a chat
template reads the text, is asked for questions, and then for the sentence that answers each. What is kept: pseudo.py.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pandas as pd
import torch

from zmem_lib.combinations import QUESTION_TOKENS
from zmem_lib.memory.lm import MemoryLM, generate_all, left_padded, token_nll, trim
from zmem_lib.memory.prompts import CHAT_VALUES, MARKERS, Prompts
from zmem_lib.meter import progress
from zmem_lib.params import Params
from zmem_lib.text import passage, sentence_spans, sentence_window

TOP_P = 0.8
BATCH = 64  # questions drawn at once; what is drawn depends on it, so it is no parameter of memory
ASK = "Write {n} questions that the text answers, one per line. Name what each is about: it is read without the text."
QUOTE = "Copy from the text, word for word, the sentence that answers the question. If none does, write: none."
NUMBERED = r"(?:(?:(?:Q(?:uestion)?\s*)?\d*\s*[.:)]|[-*•])\s+)?"
QUESTION = re.compile(r"[^?？\n]*\w[^?？\n]*[?？]")
LINE = re.compile(rf"\s*{NUMBERED}(.*\w.*[?？])\s*", re.IGNORECASE)

Asked = list[list[tuple[str, str]]]  # of every document: questions, each with its evidence, where that is known
Known = set[tuple[str, str]]  # doc_id and a piece of its text that a training question asks for
Pairs = list[tuple[int, str, str]]  # number of the document, question, evidence


def sampled_questions(memory_lm: MemoryLM, docs: pd.DataFrame, n: int, known: Known, params: Params) -> Asked:
    """n questions about each document, drawn from p(question | title and one sentence), the sentences in turn.

    Their evidence is that sentence, with the neighbours that evidence has in this run (`corpus.evidence_window`). What is
    `known` as the evidence of a document's questions is not asked for, unless all is.
    """
    chosen = []
    for doc_id, text in zip(docs.doc_id, docs.text, strict=True):
        about = [text[slice(*span)] for span in evidence_spans(text, params.corpus.evidence_window)]
        about = [one for one in about if (doc_id, one) not in known] or about
        chosen.append([about[i % len(about)] for i in range(n)])
    titled = [passage(title, one) for title, many in zip(docs.title, chosen, strict=True) for one in many]
    prompts, texts = memory_lm.prompts, []
    with seeded(memory_lm.device, params.seed):
        for begin in progress(range(0, len(titled), BATCH), "asking"):
            read = [prompts.text(text, params.memory.document_tokens) for text in titled[begin : begin + BATCH]]
            texts += sample(memory_lm, [text + prompts.marks["question"] for text in read])
    return [list(zip(texts[row * n : row * n + n], many, strict=True)) for row, many in enumerate(chosen)]


def evidence_spans(text: str, window: int) -> list[tuple[int, int]]:
    """Where a document's evidence may stand: each of its sentences with `window` neighbours on each side."""
    return [sentence_window(text, start, end, window) for start, end in sentence_spans(text)]


@torch.no_grad()
def sample(memory_lm: MemoryLM, rows: Sequence[list[int]]) -> list[str]:
    """One question behind each row of ids, drawn at temperature 1 from the likeliest TOP_P; empty if it has no end."""
    prompts, known = memory_lm.prompts, memory_lm.prompts.tokenizer.get_vocab()
    ends = sorted({*memory_lm.ends, *(known[special] for special, _ in MARKERS.values() if special in known)})
    embedded, mask = left_padded(memory_lm, None, rows)  # (B,T,D), (B,T)
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


@torch.no_grad()
def confirmed_evidence(memory_lm: MemoryLM, docs: pd.DataFrame, pairs: Pairs, params: Params) -> list[str]:
    """The evidence of each pair, or nothing where another sentence of the document makes the question likelier."""
    prompts, rows = memory_lm.prompts, []
    for row, question, evidence in pairs:
        title, text = docs.title.iloc[row], docs.text.iloc[row]
        spans = evidence_spans(text, params.corpus.evidence_window)
        others = [text[slice(*span)] for span in spans if text[slice(*span)] != evidence]
        read = [prompts.text(passage(title, one), params.memory.document_tokens) for one in (evidence, *others)]
        rows.append([prompts.twin(one, prompts.question(question)) for one in read])
    flat = [row for candidates in rows for row in candidates]
    nll = [
        token_nll(memory_lm, None, flat[i : i + BATCH])[0].sum(1)
        for i in progress(range(0, len(flat), BATCH), "checking")
    ]
    groups = torch.cat(nll).split([len(candidates) for candidates in rows]) if nll else []
    return [pair[2] if group.argmin() == 0 else "" for pair, group in zip(pairs, groups, strict=True)]


def chat_questions(memory_lm: MemoryLM, texts: Sequence[str], n: int, params: Params) -> Asked:
    """At most n questions that a chat model makes up for each text; their evidence is not known yet."""
    turns = [f"{ASK.format(n=n)}\n\nText: {cut(memory_lm.prompts, text, params)}" for text in texts]
    written = chat(memory_lm, turns, max_tokens=n * QUESTION_TOKENS, params=params)
    return [[(question, "") for question in listed_questions(lines)[:n]] for lines in written]


def chat_quotes(memory_lm: MemoryLM, texts: Sequence[str], pairs: Pairs, params: Params) -> list[str]:
    """What a chat model copies from the document's text as the answer to each question."""
    short = [cut(memory_lm.prompts, text, params) for text in texts]
    turns = [f"{QUOTE}\n\nText: {short[row]}\n\nQuestion: {memory_lm.prompts.plain(q)}" for row, q, _ in pairs]
    written = chat(memory_lm, turns, max_tokens=params.memory.evidence_tokens, params=params)
    return [lines.partition("\n")[0].strip(" \"'“”‘’«»") for lines in written]


def chat(memory_lm: MemoryLM, turns: Sequence[str], *, max_tokens: int, params: Params) -> list[str]:
    """What the model, its adapter off, says to each turn of a user."""
    template = memory_lm.prompts.tokenizer.apply_chat_template
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": False} | CHAT_VALUES
    prompts = [template([{"role": "user", "content": turn}], **options) for turn in turns]
    off: AbstractContextManager = nullcontext() if params.learns_whole else memory_lm.lm.disable_adapter()
    with off:
        output = generate_all(memory_lm, None, prompts, max_tokens=max_tokens, batch=params.machine.answer_batch)
    return [memory_lm.prompts.decode(ids) for ids in output]


def cut(prompts: Prompts, text: str, params: Params) -> str:
    """As much of a document as z has seen."""
    return prompts.decode(prompts.encode(text, params.memory.document_tokens))


def listed_questions(lines: str) -> list[str]:
    """The lines that are questions, without the numbers or bullets before them."""
    return [match[1] for line in lines.splitlines() if (match := LINE.fullmatch(line))]

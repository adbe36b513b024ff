"""Questions that the language model asks itself about every document, to be trained on beside those that were given.

The text twin, which has learned p(question, evidence | text), draws questions about each sentence in turn, as doc2query
does from a text (1904.08375), and confirms those that are likelier behind their own sentence than behind any other of
the document, a round trip as in Promptagator (2209.11755). So does a model that came with an adapter. Any other with a
chat template reads the text, is asked for questions, and then for the sentence that answers each, word for word. A
question that is nearly a held-out one never trains. Such a tuple has no answer, only its evidence once more: the
reader's lessons leave it out.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from functools import cache, partial
from itertools import count, takewhile
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from transformers import TopPLogitsWarper

from zmem_lib import text as plain_text
from zmem_lib.cache import Cache, remembered
from zmem_lib.memory.choose import question_log_p
from zmem_lib.memory.encoder import text_seed
from zmem_lib.memory.likelihood import generate_all, left_padded
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.memory.prompts import MARKERS
from zmem_lib.memory.shape import Settings
from zmem_lib.meter import progress
from zmem_lib.tables import PSEUDO, TABLES, check, read_table
from zmem_lib.text import QUESTION_TOKENS, passage, passages, sentence_spans, sentence_window

NEAR = 0.8  # Jaccard similarity of their words from which two questions are near-duplicates
QUOTED_WORDS = 3  # at least, of a quotation that is not a whole sentence
FATES = ("empty", "duplicate", "near a held-out question", "unanswerable", "kept")
TOP_P = 0.8
BATCH = 64  # questions drawn at once
ASK = "Write {n} questions that the text answers, one per line. Name what each is about: it is read without the text."
QUOTE = "Copy from the text, word for word, the sentence that answers the question. If none does, write: none."
NUMBERED = r"(?:(?:(?:Q(?:uestion)?\s*)?\d*\s*[.:)]|[-*•])\s+)?"
QUESTION = re.compile(r"[^?？\n]*\w[^?？\n]*[?？]")
LINE = re.compile(rf"\s*{NUMBERED}(.*\w.*[?？])\s*", re.IGNORECASE)

Known = Collection[tuple[str, str]]  # doc_id and a piece of its text that a training question asks for
Asked = list[tuple[int, str, str]]  # number of the document, question, evidence where it is known


def own_questions(
    memory_lm: MemoryLM, docs: pd.DataFrame, n: int, *, params: Settings, questions: pd.DataFrame, known: Known = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training tuples of at most n questions per document of docs, and their counts.

    `questions` are all those of the run: the held-out ones must not come back, nor may a document's training questions.
    The counts have the columns what and n; what was asked is the sum of FATES.
    """
    if not n:
        return pd.DataFrame(columns=list(TABLES["tuples"])), pd.DataFrame({"what": ["asked"], "n": [0]})
    chats = bool(memory_lm.prompts.tokenizer.chat_template) and not params.lm.adapter  # which has learned to ask
    ask = chat_questions if chats else partial(drawn_questions, known=known)
    asked = ask(memory_lm, docs, n, params)
    sifted, fates = sift(asked, docs, questions, korquad=params.corpus.normalisation == "korquad")
    fates["empty"] += n * len(docs) - len(asked)
    quotes = (chat_quotes if chats else confirmed_quotes)(memory_lm, docs, sifted, params)
    taken, rows = set(questions.question_id), []
    free = (question_id for i in count() if (question_id := f"{PSEUDO}{i:06d}") not in taken)
    for (document, question, _), quote in zip(sifted, quotes, strict=True):
        doc = docs.iloc[document]
        if span := find_evidence(doc.text, quote, part=chats):
            question_id, evidence = next(free), doc.text[slice(*span)]
            row = {"tuple_id": f"{question_id}@{doc.doc_id}", "question_id": question_id, "doc_id": doc.doc_id}
            row |= {"question": question, "evidence": evidence, "evidence_start": span[0], "answers": [evidence]}
            rows.append(row | {"split": "train"})
    fates["unanswerable"], fates["kept"] = len(sifted) - len(rows), len(rows)
    tuples = check(pd.DataFrame(rows, columns=list(TABLES["tuples"])), "tuples")
    silent = set(docs.doc_id).difference(*questions.gold_doc_ids[questions.split == "train"])
    counts = {"asked": fates.total()} | {name: fates[name] for name in FATES}
    counts |= {"documents without training question": len(silent)}
    counts |= {"of these, documents that got one": len(silent & set(tuples.doc_id))}
    return tuples, pd.DataFrame({"what": list(counts), "n": list(counts.values())})


def kept_questions(
    memory_lm: MemoryLM, docs: pd.DataFrame, n: int, *, params: Settings, folder: Path, keep: Cache | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """n questions about each of a run's seen or new documents, and their counts, kept in the run's folder."""
    if not (n and len(docs)):
        return own_questions(memory_lm, docs, 0, params=params, questions=docs)
    train = read_table(folder / "tuples.parquet", "tuples").query("split == 'train'")
    known, questions = set(zip(train.doc_id, train.evidence, strict=True)), given_questions(folder)
    ask = cache(partial(own_questions, memory_lm, docs, n, params=params, questions=questions, known=known))
    table, counts = (folder / f"pseudo_{docs.part.iloc[0]}.{kind}" for kind in ("parquet", "json"))
    tuples = remembered(keep, table, lambda: ask()[0])
    return tuples, pd.DataFrame(remembered(keep, counts, lambda: ask()[1].to_dict("list")))


def given_questions(folder: Path) -> pd.DataFrame:
    """All questions of a run, those that no document answers among them."""
    tables = [read_table(folder / f"{name}.parquet", name) for name in ("questions", "absent")]
    return pd.concat(tables, ignore_index=True)


def sift(asked: Asked, docs: pd.DataFrame, questions: pd.DataFrame, *, korquad: bool) -> tuple[Asked, Counter]:
    """The questions that may train, once for each document, and how many of the others there were of each kind."""
    normalise = plain_text.normalise_korquad if korquad else plain_text.normalise
    trains = questions.split == "train"
    is_near = near_any(map(normalise, questions.question[~trains]))
    train = questions[trains].explode("gold_doc_ids")
    seen = set(zip(train.gold_doc_ids, map(normalise, train.question), strict=True))
    sifted, fates = [], Counter()
    for document, question, evidence in asked:
        words = normalise(question)
        key = (docs.doc_id.iloc[document], words)
        if not words:
            fates["empty"] += 1
        elif key in seen:
            fates["duplicate"] += 1
        elif is_near(words):
            fates["near a held-out question"] += 1
        else:
            seen.add(key)
            sifted.append((document, question, evidence))
    return sifted, fates


def near_any(held_out: Iterable[str]) -> Callable[[str], bool]:
    """The test whether a normalised question has nearly the words of one that is held out (Jaccard, from NEAR on).

    Two such sets of words share at least NEAR of each, so that one of the few rarest words is among them: only what has
    one of these is looked at (the prefix filter of Chaudhuri, Ganti and Kaushik, 2006).
    """
    words_of = [set(question.split()) for question in held_out]
    having: dict[str, list[int]] = defaultdict(list)
    for number, words in enumerate(words_of):
        for word in words:
            having[word].append(number)

    def is_near(question: str) -> bool:
        words = set(question.split())
        rarest = sorted(words, key=lambda word: len(having.get(word, ())))
        rarest = rarest[: len(words) - ceil(NEAR * len(words) - 1e-9) + 1]
        others = (words_of[number] for word in rarest for number in having.get(word, ()))
        return any(len(words & other) >= NEAR * len(words | other) - 1e-9 for other in others)

    return is_near


def find_evidence(text: str, quote: str, *, part: bool) -> tuple[int, int] | None:
    """Where in the text a quotation stands, white space aside, that is a sentence or several in a row; None if nowhere.

    With `part`, QUOTED_WORDS of a sentence are enough, and the place is that of the sentences they stand in.
    """
    if not quote.strip():
        return None
    spans = sentence_spans(text)
    starts, ends = {start for start, _ in spans}, {end for _, end in spans}
    found = [match.span() for match in re.finditer(r"\s+".join(map(re.escape, quote.split())), text)]
    whole = [(start, end) for start, end in found if start in starts and end in ends]
    if whole:
        return whole[0]
    return sentence_window(text, *found[0], 0) if part and found and len(quote.split()) >= QUOTED_WORDS else None


def pieces_of(text: str, window: int) -> list[str]:
    """What may be evidence in a document: each of its sentences with `window` neighbours on each side."""
    return [text[slice(*sentence_window(text, start, end, window))] for start, end in sentence_spans(text)]


def drawn_questions(memory_lm: MemoryLM, docs: pd.DataFrame, n: int, params: Settings, known: Known = ()) -> Asked:
    """n questions about each document, drawn from p(question | title and one sentence), the sentences in turn.

    Their evidence is that sentence with its neighbours (`corpus.evidence_window`). What is `known` as the evidence of a
    document's questions is not asked for, unless all is.
    """
    prompts, chosen, questions = memory_lm.prompts, [], []
    for document, (doc_id, text) in enumerate(zip(docs.doc_id, docs.text, strict=True)):
        pieces = pieces_of(text, params.corpus.evidence_window)
        pieces = [piece for piece in pieces if (doc_id, piece) not in known] or pieces
        chosen += [(document, pieces[i % len(pieces)]) for i in range(n)]
    texts = [passage(docs.title.iloc[document], piece) for document, piece in chosen]
    seeds = [text_seed(params.seed, f"{i % n} {text}") for i, text in enumerate(texts)]
    for begin in progress(range(0, len(texts), BATCH), "asking"):
        some = slice(begin, begin + BATCH)
        read = [prompts.text(text, params.memory.document_tokens) for text in texts[some]]
        questions += sample(memory_lm, [row + prompts.marks["question"] for row in read], seeds[some])
    return [(document, question, piece) for (document, piece), question in zip(chosen, questions, strict=True)]


@torch.no_grad()
def sample(memory_lm: MemoryLM, rows: Sequence[list[int]], seeds: Sequence[int]) -> list[str]:
    """One question behind each row of ids, drawn at temperature 1 from the likeliest TOP_P; empty if it has no end.

    Each row is drawn by its own seed, whatever stands beside it: to the log-probabilities comes Gumbel noise, of which
    the largest sum is a draw (Maddison et al., 1411.0030, section 2).
    """
    tokenizer = memory_lm.prompts.tokenizer
    known = tokenizer.get_vocab()
    ends = sorted({*memory_lm.ends, *(known[special] for special, _ in MARKERS.values() if special in known)})
    embedded, mask = left_padded(memory_lm, rows)  # (B,T,D), (B,T)
    likeliest, generators = TopPLogitsWarper(TOP_P), [torch.Generator().manual_seed(seed) for seed in seeds]

    def noisy(ids: Any, logits: Any) -> Tensor:
        uniform = torch.stack([torch.rand(logits.shape[1], generator=one) for one in generators]).to(logits.device)
        return likeliest(ids, logits.float()) - uniform.log().neg().log()  # (B,V)

    limits = {"max_new_tokens": QUESTION_TOKENS, "eos_token_id": ends}
    with memory_lm.arithmetic():
        new = memory_lm.lm.generate(
            inputs_embeds=embedded, attention_mask=mask, logits_processor=[noisy], **limits
        ).tolist()
    begun = [list(takewhile(lambda token: token not in ends, ids)) for ids in new]
    written = [tokenizer.decode(ids, skip_special_tokens=True) for ids in begun]
    return [first_question(text, ended=bool(set(ids) & set(ends))) for text, ids in zip(written, new, strict=True)]


def first_question(text: str, *, ended: bool) -> str:
    """The text up to its first question mark or, without one, its first line; empty if the model did not end that."""
    if match := QUESTION.match(text):  # a model that never learned what follows a question goes on with anything
        return match[0].strip()
    line, next_line, _ = text.partition("\n")  # where markers are plain text, one of them begins a line
    return line.strip() if next_line or ended else ""


def confirmed_quotes(memory_lm: MemoryLM, docs: pd.DataFrame, asked: Asked, params: Settings) -> list[str]:
    """The evidence of each question, or nothing where another sentence of the document makes it likelier."""
    prompts, limit, rows, counts = memory_lm.prompts, params.memory.document_tokens, [], []
    for document, question, evidence in asked:
        pieces = pieces_of(docs.text.iloc[document], params.corpus.evidence_window)
        pieces = [evidence, *(piece for piece in pieces if piece != evidence)]
        read = [prompts.text(passage(docs.title.iloc[document], piece), limit) for piece in pieces]
        rows += [prompts.twin(text, prompts.question(question)) for text in read]
        counts.append(len(pieces))
    log_p = iter(question_log_p(memory_lm, None, rows, batch=BATCH))
    groups = [[next(log_p) for _ in range(n)] for n in counts]
    return [evidence if group[0] == max(group) else "" for (_, _, evidence), group in zip(asked, groups, strict=True)]


def chat_questions(memory_lm: MemoryLM, docs: pd.DataFrame, n: int, params: Settings) -> Asked:
    """At most n questions that a chat model makes up for each document; their evidence is not known yet."""
    written = chat(memory_lm, docs, [(i, ASK.format(n=n), "") for i in range(len(docs))], n * QUESTION_TOKENS, params)
    matches = [list(filter(None, map(LINE.fullmatch, lines.splitlines()))) for lines in written]  # lines of questions
    return [(i, match[1], "") for i, some in enumerate(matches) for match in some[:n]]


def chat_quotes(memory_lm: MemoryLM, docs: pd.DataFrame, asked: Asked, params: Settings) -> list[str]:
    """What a chat model copies from the document's text as the answer to each question."""
    plain, limit = memory_lm.prompts.plain, params.memory.evidence_tokens
    tasks = [(i, QUOTE, f"\n\nQuestion: {plain(question)}") for i, question, _ in asked]
    return [lines.partition("\n")[0].strip(" \"'“”‘’«»") for lines in chat(memory_lm, docs, tasks, limit, params)]


def chat(
    memory_lm: MemoryLM, docs: pd.DataFrame, tasks: Sequence[tuple[int, str, str]], max_tokens: int, params: Settings
) -> list[str]:
    """What the model, its adapter off, says to each turn of a user: a document's number, the task, what follows it."""
    prompts, limit = memory_lm.prompts, params.memory.document_tokens
    texts = [prompts.cut(text, limit) for text in passages(docs)]  # as much of each as z has seen
    turns = [prompts.chat(f"{task}\n\nText: {texts[i]}{more}") for i, task, more in tasks]
    with memory_lm.lm.disable_adapter() if memory_lm.adapted else nullcontext():
        ids = generate_all(memory_lm, None, turns, max_tokens=max_tokens, batch=params.machine.answer_batch)
    return [prompts.decode(written) for written in ids]

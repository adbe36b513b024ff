"""What every system is made of: documents chosen, evidence written from z or taken from passages, answers read from it.

`answers_of` gives the table answers, for all systems with the same reader, prompt and token budget. An item of a brief
system (systems.py) has at most `answer.evidence_tokens` tokens, any other at most `memory.evidence_tokens`; where there
is no language model these are words.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import cast

import pandas as pd
import torch
from torch import Tensor

from zmem_lib.api.client import Reply, ask_all, reader_address
from zmem_lib.data.tuples import parts_of
from zmem_lib.memory.choose import Ranking
from zmem_lib.memory.likelihood import generate_all
from zmem_lib.memory.lm import MemoryLM, reading
from zmem_lib.memory.prompts import Prompts
from zmem_lib.params import Params, changed
from zmem_lib.systems import choosing
from zmem_lib.systems.holdings import Holdings
from zmem_lib.systems.systems import SYSTEMS, Hands
from zmem_lib.tables import check, read_table
from zmem_lib.text import first_words, idf_of_terms, nearest_of, normalise, passages, sentences

FIRST_TOKENS = 8  # of the first passage of a long context, at least, however small it is

Items = list[list[str]]  # evidence items by question
Handed = tuple[Items, list[tuple[int, int]]]  # items, and (input, output) tokens spent, by question
Chosen = Sequence[Sequence[str]]  # document ids by question
Readings = dict[tuple[int, ...], tuple[list[int], float]]  # by prompt: what the reader wrote, and its seconds


def pick_questions(questions: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The fixed sample that every system answers: at most `answer.questions` per part and kind, with their `part`.

    Kinds are drawn as often as they occur, so that the mean of a part is that of all its questions.
    Part trained, training questions that show the fit, is left out where there is no model that was trained.
    """
    questions = questions.assign(part=parts_of(questions))
    questions = questions[(questions["part"] != "") & (params.has_lm | (questions["part"] != "trained"))]
    shuffled = questions.sample(frac=1, random_state=params.seed)
    by_part = shuffled.groupby("part")
    most = by_part["kind"].transform("nunique") * (params.answer.questions or len(shuffled))
    picked = shuffled[by_part.cumcount() < most]
    return picked.sort_values("question_id").reset_index(drop=True)


def answers_of(
    name: str, questions: pd.DataFrame, held: Holdings, *, reads: bool = True, laps: list[float] | None = None
) -> pd.DataFrame:
    """What a system of SYSTEMS answers: the table answers; `laps` gets the seconds to choose, write and read.

    Unless it `reads`, there is evidence alone, and no answer.
    """
    system, began = SYSTEMS[name], time.perf_counter()
    if system.hands == "z, other question":
        questions = with_another(questions, held)
    choose = getattr(choosing, system.choose) if isinstance(system.choose, str) else system.choose
    ids, scores = choose(questions, held)
    chose = time.perf_counter()
    fills = system.hands == "packed"
    chosen = ids if fills else [doc_ids[: held.params.answer.top_k] for doc_ids in ids]
    items, spent = HANDED[system.hands](questions, held, chosen)
    if fills:  # as many as fit, and its ranking are the documents that it hands over
        items = [packed(held, texts) for texts in items]
        ids = [doc_ids[: len(some)] for doc_ids, some in zip(ids, items, strict=True)]
        scores = [values[: len(some)] for values, some in zip(scores, items, strict=True)]
        held = wide(held)
    ranking, handed = (ids, scores) if system.compared else None, time.perf_counter()
    table = answer(questions, held, items, ranking=ranking, spent=spent, began=began, reads=reads)
    if laps is not None:
        laps += [chose - began, handed - chose, table["seconds"].sum() - (handed - began)]
    return table


def brief_tokens(params: Params) -> int:
    """The tokens of an item of a brief system, at most."""
    return min(params.answer.evidence_tokens, params.memory.evidence_tokens)


def written(questions: pd.DataFrame, held: Holdings, chosen: Chosen) -> Handed:
    """An item from the z of each chosen document."""
    row_of = held.row_of
    pairs = [(q, row_of[doc_id]) for q, doc_ids in enumerate(chosen) for doc_id in doc_ids]
    return from_blocks(questions, held, [q for q, _ in pairs], held.z[[row for _, row in pairs]])  # of (B,K,W)


def from_noise(questions: pd.DataFrame, held: Holdings, _: Chosen) -> Handed:
    """An item from a block drawn at random, with the mean and the spread of all documents' blocks."""
    generator = torch.Generator().manual_seed(held.params.seed)
    noise = torch.randn(len(questions), *held.z.shape[1:], generator=generator)  # (Q,K,W)
    return from_blocks(questions, held, range(len(questions)), held.z.mean(0) + noise * held.z.std(0))


def from_blocks(questions: pd.DataFrame, held: Holdings, numbers: Sequence[int], z: Tensor) -> Handed:
    """Evidence items generated from z (B,K,W), one for each of B numbers of questions, and the tokens spent."""
    asked, prompts = list(questions["question"]), held.memory_lm.prompts
    texts = generate_evidence(held.memory_lm, z, [asked[q] for q in numbers], held.params)
    items, spent = [[] for _ in asked], [(0, 0) for _ in asked]
    for q, text in zip(numbers, texts, strict=True):
        items[q].append(text)
        read_in = z.shape[1] + len(prompts.asked(asked[q]))
        spent[q] = spent[q][0] + read_in, spent[q][1] + len(prompts.encode(text))
    return items, spent


def generate_evidence(memory_lm: MemoryLM, z: Tensor, questions: list[str], params: Params) -> list[str]:
    """The evidence that the model writes from z (B,K,W) for each question."""
    return written_after(memory_lm, z, [memory_lm.prompts.asked(question) for question in questions], params)


def written_after(memory_lm: MemoryLM, z: Tensor | None, prompts: list[list[int]], params: Params) -> list[str]:
    """What the model writes after each prompt, behind z (B,K,W) if any: a brief item."""
    limit, batch = brief_tokens(params), params.machine.answer_batch
    output = generate_all(memory_lm, z, prompts, max_tokens=limit, batch=batch)
    return [shortened(memory_lm.prompts, memory_lm.prompts.decode(ids), limit) for ids in output]


def written_for_another(questions: pd.DataFrame, held: Holdings, chosen: Chosen) -> Handed:
    """What the z of the chosen documents writes when it is asked the column `another` in the place of the question."""
    return written(questions.assign(question=questions["another"]), held, chosen)


def written_from_text(questions: pd.DataFrame, held: Holdings, chosen: Chosen) -> Handed:
    """What the same model writes with the text of the first chosen document in the place of z, as the text twin has it.

    Its adapter, if any, stays on: it has learned to write evidence to a question.
    """
    prompts, text_of, limit = held.memory_lm.prompts, held.text_of, held.params.memory.document_tokens
    texts = [prompts.text(text_of[doc_ids[0]], limit) for doc_ids in chosen]
    asked = [text + prompts.asked(question) for text, question in zip(texts, questions["question"], strict=True)]
    items = written_after(held.memory_lm, None, asked, held.params)
    spent = [(len(before), len(prompts.encode(item))) for before, item in zip(asked, items, strict=True)]
    return [[item] for item in items], spent


def sentences_of(questions: pd.DataFrame, held: Holdings, chosen: Chosen) -> Handed:
    """Of each chosen document the sentence that is nearest to the question."""
    return picked(chosen, held, questions["question"], nearest_sentence)


def random_sentences_of(questions: pd.DataFrame, held: Holdings, chosen: Chosen) -> Handed:
    """Of each chosen document a sentence drawn at random."""
    return picked(chosen, held, questions["question_id"], random_sentence)


def picked(chosen: Chosen, held: Holdings, by: pd.Series, pick: Callable[[str, str, Holdings], str]) -> Handed:
    """Of the text, without its title, of each chosen document what `pick` takes by the question, or its id: brief."""
    text_of = dict(zip(held.docs["doc_id"], held.docs["text"], strict=True))
    items = [[pick(one, text_of[doc_id], held) for doc_id in doc_ids] for one, doc_ids in zip(by, chosen, strict=True)]
    return cut_items(held, items, brief_tokens(held.params)), [(0, 0)] * len(items)


def nearest_sentence(question: str, text: str, held: Holdings) -> str:
    """The sentence of a text that is nearest to the question, the first of equally near ones."""
    return nearest_of(question, sentences(text), held.once("idf", lambda: idf_of_terms(passages(held.docs))))


def random_sentence(question_id: str, text: str, held: Holdings) -> str:
    """A sentence of a text, each as likely: which one, the seed and the question's id say, not the sample it is in."""
    return Random(f"{held.params.seed} {question_id}").choice(sentences(text))


def with_another(questions: pd.DataFrame, held: Holdings) -> pd.DataFrame:
    """The questions that have another one about the same first gold document, with its text in the column `another`.

    It is drawn from the run's questions of all splits, and has neither the same words nor an answer in common: a
    question said in other words would ask for the same. A question without such a one is left out.
    """
    known = read_table(held.folder / "questions.parquet", "questions").to_dict("records")
    golds = {row["question_id"]: set(map(normalise, row["answers"])) for row in known}
    about: dict[str, list[dict]] = {}
    for row in known:
        about.setdefault(row["gold_doc_ids"][0], []).append(row)
    drawn = []
    for row in questions.to_dict("records"):
        wording, answers = normalise(row["question"]), golds.get(row["question_id"], set())
        others = [
            one["question"]
            for one in about.get(row["gold_doc_ids"][0], ())
            if normalise(one["question"]) != wording and not answers & golds[one["question_id"]]
        ]
        rng = Random(f"{held.params.seed} {row['question_id']}")
        drawn.append(rng.choice(others) if others else None)
    found = questions.assign(another=pd.Series(drawn, questions.index, dtype=object))
    return found[found["another"].notna()].reset_index(drop=True)


def cut_items(held: Holdings, items: Items, limit: int) -> Items:
    """The items, each cut to so many tokens, or words where there is no language model."""

    def cut(text: str) -> str:
        return shortened(held.memory_lm.prompts, text, limit) if held.memory_lm else first_words(text, limit)

    return [list(map(cut, some)) for some in items]


def first_tokens_of(questions: pd.DataFrame, held: Holdings, chosen: Chosen) -> Handed:
    """The first tokens of the chosen documents' passages, as many as z has soft tokens."""
    items, spent = passages_of(questions, held, chosen)
    return cut_items(held, items, min(held.params.memory.z_tokens, brief_tokens(held.params))), spent


def passages_of(questions: pd.DataFrame, held: Holdings, chosen: Chosen) -> Handed:
    """The passages of the chosen documents."""
    text_of = held.text_of
    return [[text_of[doc_id] for doc_id in doc_ids] for doc_ids in chosen], [(0, 0)] * len(questions)


def written_and_passages(questions: pd.DataFrame, held: Holdings, chosen: Chosen) -> Handed:
    """What the z of the chosen documents writes, and their passages beside it."""
    items, spent = written(questions, held, chosen)
    return [[*some, *texts] for some, texts in zip(items, passages_of(questions, held, chosen)[0], strict=True)], spent


HANDED: dict[Hands, Callable[[pd.DataFrame, Holdings, Chosen], Handed]] = {
    "z": written, "text": passages_of, "z and text": written_and_passages, "packed": passages_of, "noise": from_noise,
    "z, other question": written_for_another, "written from text": written_from_text, "sentence": sentences_of,
    "random sentence": random_sentences_of, "first tokens": first_tokens_of,
}  # fmt: skip


def packed(held: Holdings, texts: list[str]) -> list[str]:
    """As many of the texts, in order, as fit into `answer.long_context_tokens` with the mark before each.

    Each is cut to `memory.evidence_tokens`, the last one to what is left; of the first, some words always come.
    """
    prompts, params, items = held.memory_lm.prompts, held.params, []
    left = params.answer.long_context_tokens
    for text in texts:
        left = left - len(prompts.marks["item"]) if items else max(left - len(prompts.marks["item"]), FIRST_TOKENS)
        if left < 1:
            break
        items.append(shortened(prompts, text, min(left, params.memory.evidence_tokens)))
        left -= len(prompts.encode(items[-1]))
    return items


def shortened(prompts: Prompts, text: str, limit: int) -> str:
    """The text where it has at most `limit` tokens, else as many of its first ones as stay so few when read again."""
    ids = prompts.encode(text)
    if len(ids) <= limit:
        return text
    cut = (prompts.decode(ids[:room]) for room in range(limit, 0, -1))
    return next((short for short in cut if len(prompts.encode(short)) <= limit), "")


def wide(held: Holdings) -> Holdings:
    """The same holdings with a smaller `machine.answer_batch`: as many tokens at once where the context is long."""
    params = held.params
    tokens = params.machine.answer_batch * params.answer.top_k * params.memory.evidence_tokens
    batch = min(max(tokens // max(params.answer.long_context_tokens, 1), 1), params.machine.answer_batch)
    return replace(held, params=changed(params, {"machine.answer_batch": batch}))


def answer(
    questions: pd.DataFrame, held: Holdings, items: Items, *, ranking: Ranking | None = None,
    spent: Sequence[tuple[int, int]] = (), began: float, reads: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Read the items and return the answers table; `spent` are the tokens already read and written per question.

    What a chapter's reader has read for another system is not read again, and counts with its seconds all the same.
    """
    params, n, spared = held.params, len(questions), 0.0
    if held.memory_lm is None or not reads:  # nobody reads: each item's first words, no answer, no token
        shown = [[first_words(item, params.memory.evidence_tokens) for item in some] for some in items]
        table = _table([Reply("", 0, 0, 0.0)] * n, shown, [len(" ".join(some).split()) for some in shown])
    else:
        known: Readings | None = held.once("readings", dict) if held.cache else None
        table = read(held.memory_lm, list(questions["question"]), items, params, folder=held.folder, known=known)
        spared = table.pop("spared_seconds").sum()
    table["ranked_doc_ids"], table["ranked_scores"] = ranking or ([[]] * n, [[]] * n)
    for name, tokens in zip(("input_tokens", "output_tokens"), zip(*spent, strict=True), strict=False):
        table[name] += tokens
    for name in ("question_id", "part", "kind"):
        table[name] = list(questions[name]) if name in questions else ""
    return check(table.assign(seconds=(time.perf_counter() - began + spared) / max(n, 1)), "answers")


def read(
    memory_lm: MemoryLM, questions: Sequence[str], items: Sequence[list[str]], params: Params, *, folder: Path,
    known: Readings | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Answer each question from its evidence items, each cut to `memory.evidence_tokens`; `folder` is the run's.

    The model reads as it is where it has learned the reader's task beside its memory (train.py), else with its adapter
    off, or with the one that `answer.reader` schooled names; through its chat template if it has one. With api a model
    at an address gets the same turn as a chat message, with the evidence cut by the run's own tokenizer. Columns:
    answer, the first line of what is written; evidence as the reader saw it; its tokens, and those that the reader
    counts; money in dollars; the seconds that were spared, as the prompt was among the `known` ones, which grow.
    """
    prompts, limit, most = memory_lm.prompts, params.memory.evidence_tokens, params.answer.answer_tokens
    spared = [0.0] * len(questions)
    cut = [[prompts.encode(item, limit) for item in some] for some in items]
    shown = [[prompts.decode(ids) for ids in some] for some in cut]
    if params.answer.reader == "api":
        turns = [[prompts.turn(question, some)] for question, some in zip(questions, shown, strict=True)]
        replies = cast("list[Reply]", ask_all(reader_address(params, folder), turns, max_tokens=most))
    else:
        asked = [prompts.reading(question, some, limit) for question, some in zip(questions, items, strict=True)]
        with reading(memory_lm, learned=params.learns_reading):
            written, spared = read_once(memory_lm, asked, {} if known is None else known, params)
        told = zip(asked, written, strict=True)
        replies = [Reply(prompts.decode(ids), len(before), len(ids), 0.0) for before, ids in told]
    table = _table(replies, shown, [sum(map(len, some)) for some in cut])
    return table.assign(spared_seconds=spared)


def read_once(
    memory_lm: MemoryLM, asked: list[list[int]], known: Readings, params: Params
) -> tuple[list[list[int]], list[float]]:
    """What is written after each prompt, and the seconds that were spared for it; the `known` ones grow."""
    prompts, began = list(map(tuple, asked)), time.perf_counter()
    fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
    most, batch = params.answer.answer_tokens, params.machine.answer_batch
    written = generate_all(memory_lm, None, list(map(list, fresh)), max_tokens=most, batch=batch)
    each, spared = (time.perf_counter() - began) / max(len(fresh), 1), dict.fromkeys(fresh, 0.0)
    known |= {prompt: (ids, each) for prompt, ids in zip(fresh, written, strict=True)}
    seconds = [spared.pop(prompt, known[prompt][1]) for prompt in prompts]  # none for the first time that it is asked
    return [known[prompt][0] for prompt in prompts], seconds


def _table(replies: Sequence[Reply], shown: Items, evidence_tokens: list[int]) -> pd.DataFrame:
    table = pd.DataFrame([vars(reply) for reply in replies], columns=["text", "input_tokens", "output_tokens", "money"])
    table["answer"] = [text.strip().partition("\n")[0].strip() for text in table.pop("text")]
    table["evidence"], table["evidence_tokens"] = shown, evidence_tokens
    return table

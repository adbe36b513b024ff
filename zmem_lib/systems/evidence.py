"""What every system is made of: evidence written from z or taken from passages, and answers read from it.

Takes the test questions and a bench; `answer` gives the table answers, the same way for all systems.
"""

import time
from dataclasses import replace

import pandas as pd
from torch import Tensor

from zmem_lib.data.tuples import parts_of
from zmem_lib.memory.choose import Ranking
from zmem_lib.memory.lm import MemoryLM, generate_all
from zmem_lib.memory.prompts import Prompts
from zmem_lib.params import Params, changed
from zmem_lib.systems.collection import Bench, rows_of, texts_of
from zmem_lib.systems.reader import read, unread
from zmem_lib.tables import check

NO_RANKING: Ranking = ([], [])


def pick_questions(questions: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The fixed sample that every system answers: at most `answer.questions` per part and kind, with their `part`.

    Parts: seen and unasked-document (test), new (new-test), trained (as many training questions, to show the fit;
    none where there is no model that was trained).
    """
    questions = questions.assign(part=parts_of(questions))
    questions = questions[(questions.part != "") & (params.has_lm | (questions.part != "trained"))]
    shuffled = questions.sample(frac=1, random_state=params.seed)
    limit = params.answer.questions or len(shuffled)
    picked = shuffled.groupby(["part", "kind"], sort=False).head(limit)
    return picked.sort_values("question_id").reset_index(drop=True)


def recall(
    questions: pd.DataFrame, bench: Bench, chosen: list[list[str]]
) -> tuple[list[list[str]], list[tuple[int, int]]]:
    """Evidence items generated from the z of each chosen document, and (input, output) tokens, by question."""
    row_of = rows_of(bench)
    pairs = [(q, row_of[doc_id]) for q, ids in enumerate(chosen) for doc_id in ids]
    return from_blocks(questions, bench, pairs, bench.z[[row for _, row in pairs]])


def from_blocks(
    questions: pd.DataFrame, bench: Bench, pairs: list[tuple[int, int]], z: Tensor
) -> tuple[list[list[str]], list[tuple[int, int]]]:
    """Evidence items generated from z (B,K,W), one for each pair (number of the question, any), and tokens spent."""
    asked, params = list(questions.question), bench.params
    written = generate_evidence(
        bench.memory_lm,
        z,
        [asked[q] for q, _ in pairs],
        evidence_tokens=params.memory.evidence_tokens,
        batch=params.machine.answer_batch,
    )
    items: list[list[str]] = [[] for _ in asked]
    spent = [(0, 0) for _ in asked]
    for (q, _), text in zip(pairs, written, strict=True):
        items[q].append(text)
        prompts = bench.memory_lm.prompts
        read_in, written_out = spent[q]
        read_in += z.shape[1] + len(prompts.asked(asked[q]))
        spent[q] = (read_in, written_out + len(prompts.encode(text)))
    return items, spent


def generate_evidence(
    memory_lm: MemoryLM, z: Tensor, questions: list[str], *, evidence_tokens: int, batch: int
) -> list[str]:
    """The evidence that the model writes from z (B,K,W) for each question."""
    prompts = [memory_lm.prompts.asked(question) for question in questions]
    output = generate_all(memory_lm, z, prompts, max_tokens=evidence_tokens, batch=batch)
    return [memory_lm.prompts.decode(ids) for ids in output]


def chosen_passages(bench: Bench, chosen: list[list[str]]) -> list[list[str]]:
    """The texts of the chosen documents, by question."""
    text_of = texts_of(bench)
    return [[text_of[doc_id] for doc_id in ids] for ids in chosen]


def packed(bench: Bench, texts: list[str]) -> list[str]:
    """As many of the texts, in order, as fit into `answer.long_context_tokens` with the mark before each; the first always.

    Each is cut to `memory.evidence_tokens`, the last one to what is left.
    """
    prompts, left, items = bench.memory_lm.prompts, bench.params.answer.long_context_tokens, []
    for text in texts:
        left -= len(prompts.marks["item"])
        if left < 1:
            break
        items.append(shortened(prompts, text, min(left, bench.params.memory.evidence_tokens)))
        left -= len(prompts.encode(items[-1]))
    return items


def shortened(prompts: Prompts, text: str, limit: int) -> str:
    """The text where it has at most `limit` tokens, else as many of its first ones as stay so few when read again."""
    ids = prompts.encode(text)
    if len(ids) <= limit:
        return text
    cut = (prompts.decode(ids[:room]) for room in range(limit, 0, -1))
    return next((one for one in cut if len(prompts.encode(one)) <= limit), "")


def wide(bench: Bench) -> Bench:
    """The bench with a smaller `machine.answer_batch`: as many tokens at once where the reader gets a long context."""
    params = bench.params
    batch = (
        params.machine.answer_batch
        * params.answer.top_k
        * params.memory.evidence_tokens
        // max(params.answer.long_context_tokens, 1)
    )
    return replace(
        bench, params=changed(params, {"machine.answer_batch": min(max(batch, 1), params.machine.answer_batch)})
    )


def answer(
    questions: pd.DataFrame,
    bench: Bench,
    items: list[list[str]],
    *,
    ranking: Ranking = NO_RANKING,
    spent: list[tuple[int, int]] | None = None,
    began: float,
) -> pd.DataFrame:
    """Read the items and return the answers table; `spent` are the tokens already read and written per question."""
    if bench.memory_lm is None:
        readings = unread(items, bench.params.memory.evidence_tokens)
    else:
        readings = read(bench.memory_lm, list(questions.question), items, bench.params, folder=bench.folder)
    n = len(questions)
    spent = spent or [(0, 0)] * n
    ids, scores = ranking if ranking[0] else ([[]] * n, [[]] * n)
    table = pd.DataFrame(
        {
            "question_id": list(questions.question_id),
            "part": list(questions.part),
            "ranked_doc_ids": ids,
            "ranked_scores": scores,
            "evidence": readings.evidence,
            "evidence_tokens": readings.evidence_tokens,
            "answer": readings.answers,
            "seconds": (time.perf_counter() - began) / max(n, 1),
            "input_tokens": [a + b for a, (b, _) in zip(readings.input_tokens, spent, strict=True)],
            "output_tokens": [a + b for a, (_, b) in zip(readings.output_tokens, spent, strict=True)],
            "money": readings.money,
        }
    )
    return check(table, "answers")

"""ragas' measures (Es et al., 2309.15217): four that need no judge, and four that ask a language model.

Takes a table of questions with answers and evidence; returns question_id, metric, value. No other module knows ragas.
Its measures are coroutines that wait for one reply after another; all of them are moved forward together, and what they
ask is handed over in batches, so that ragas itself opens no connection and needs no key.
"""

import asyncio
import os
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.text import sentence_spans

RAGAS_CONTEXT_METRICS = ("ragas_context_recall", "ragas_context_precision")
RAGAS_ANSWER_METRICS = ("ragas_string_similarity", "ragas_string_presence")
JUDGED = ("faithfulness", "answer_relevancy", "context_precision", "context_recall")
QUESTIONS_BACK = 1  # of answer relevancy: at temperature 0 ragas' three would be the same one

FLAGS = ("verdict", "attributed", "noncommittal")  # fields of a reply: ragas counts with whatever number stands there

Ask = Callable[[list[str], list[Callable[[str], Any]]], list[Any]]  # prompts, how to read replies; None: failed


def ragas_scores(items: pd.DataFrame) -> pd.DataFrame:
    """ragas' measures that need no judge: question_id, metric, value (NaN where ragas has none).

    Reads question_id, answer, answers, evidence, reference_contexts. The contexts are the sentences of the evidence, as
    the reference is made of sentences; an empty evidence is one empty sentence. The answer is held against the first
    gold answer, as ragas takes one. A measure is NaN where its reference is empty.
    """
    os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")  # else ragas calls home
    from ragas import SingleTurnSample
    from ragas import metrics as ragas

    context = (ragas.NonLLMContextRecall(), ragas.NonLLMContextPrecisionWithReference())
    measures = (*context, ragas.NonLLMStringSimilarity(), ragas.StringPresence())
    samples = [SingleTurnSample(**_ragas_sample(row)) for row in items.itertuples()]

    async def score_all() -> list[list[float]]:
        return [[await _ragas_score(measure, sample) for measure in measures] for sample in samples]

    with ThreadPoolExecutor(1) as thread:  # a notebook has an event loop already, this thread has none
        values = thread.submit(asyncio.run, score_all()).result()
    wide = pd.DataFrame(values, columns=[*RAGAS_CONTEXT_METRICS, *RAGAS_ANSWER_METRICS], dtype=float)
    wide.insert(0, "question_id", items["question_id"].to_numpy())
    return wide.melt(id_vars="question_id", var_name="metric")


def _ragas_sample(row: tuple) -> dict[str, object]:
    sentences = [row.evidence[start:end] for start, end in sentence_spans(row.evidence)]
    return {
        "response": row.answer,
        "reference": row.answers[0] if len(row.answers) else None,
        "retrieved_contexts": sentences or [""],
        "reference_contexts": [context for context in row.reference_contexts if context] or None,
    }


async def _ragas_score(measure: object, sample: object) -> float:
    needed = "reference_contexts" if "context" in measure.name else "reference"
    return float(await measure.single_turn_ascore(sample)) if getattr(sample, needed) else np.nan


def judged_by_ragas(items: pd.DataFrame, ask: Ask, encode: Callable[[list[str]], np.ndarray]) -> list[dict[str, float]]:
    """The measures JUDGED of every row (question, answer, answers, chunks), in order; NaN where the judge failed.

    NaN as well where ragas has nothing to judge: no answer, no evidence, no gold answer. `encode` gives the vectors of
    texts for answer relevancy, which holds one question that the judge makes from the answer against the real one.
    """
    measures = _measures(encode)
    places, waiting = [], []
    for place, row in enumerate(items.itertuples()):
        for measure, needs in zip(measures, _needs(row), strict=True):
            if all(len(value) for value in needs.values()):
                places.append((place, measure.name))
                waiting.append(measure.ascore(**needs))
    found: list[dict[str, float]] = [dict.fromkeys(JUDGED, np.nan) for _ in range(len(items))]
    for (place, name), result in zip(places, in_waves(waiting, ask), strict=True):
        found[place][name] = np.nan if result is None else float(result.value)
    return found


def in_waves(coroutines: Sequence[Coroutine], ask: Ask) -> list[Any]:
    """Run coroutines that wait for replies alone, all up to their next question, then ask those together; and again.

    Returns what each returns, or None where a reply that it waited for failed.
    """
    results: list[Any] = [None] * len(coroutines)
    replies: dict[int, Any] = dict.fromkeys(range(len(coroutines)))
    while replies:
        asked = {}
        for place, reply in replies.items():
            try:
                asked[place] = coroutines[place].send(reply)
            except StopIteration as end:
                results[place] = end.value
        answers = ask(*map(list, zip(*asked.values(), strict=True))) if asked else []
        replies = {place: answer for place, answer in zip(asked, answers, strict=True) if answer is not None}
        for place in asked.keys() - replies.keys():
            coroutines[place].close()
    return results


def ragas_prompts() -> dict[str, str]:
    """What ragas tells the judge, without its examples, by measure and step."""
    return {
        f"ragas: {measure.name}: {name}": prompt.instruction
        for measure in _measures(lambda texts: np.zeros((len(texts), 1)))
        for name, prompt in vars(measure).items()
        if hasattr(prompt, "instruction")
    }


@types.coroutine
def _reply_to(prompt: str, read: Callable[[str], Any]) -> Generator[tuple[str, Callable[[str], Any]], Any, Any]:
    return (yield prompt, read)


def _measures(encode: Callable[[list[str]], np.ndarray]) -> tuple[Any, ...]:
    """JUDGED, as ragas makes them."""
    os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")
    from ragas.metrics import collections as ragas

    judge = _judge()
    return (
        ragas.Faithfulness(llm=judge),
        ragas.AnswerRelevancy(llm=judge, embeddings=_vectors(encode), strictness=QUESTIONS_BACK),
        ragas.ContextPrecision(llm=judge),
        ragas.ContextRecall(llm=judge),
    )


def _needs(row: tuple) -> tuple[dict[str, Any], ...]:
    """What each of JUDGED takes."""
    chunks, gold = list(row.chunks), row.answers[0] if len(row.answers) else ""
    return (
        {"user_input": row.question, "response": row.answer, "retrieved_contexts": chunks},
        {"user_input": row.question, "response": row.answer},
        {"user_input": row.question, "reference": gold, "retrieved_contexts": chunks},
        {"user_input": row.question, "retrieved_contexts": chunks, "reference": gold},
    )


def checked(reply: Any) -> Any:
    """A reply in ragas' form; ValueError where it has a flag other than 0 and 1, or makes no question.

    ragas itself would count with any number, and take an empty question for an answer off the point.
    """
    parts = [reply, *(one for value in vars(reply).values() if isinstance(value, list) for one in value)]
    for part in (vars(part) for part in parts if hasattr(part, "__dict__")):
        if wrong := [name for name in FLAGS if part.get(name, 0) not in (0, 1)]:
            raise ValueError(f"{wrong[0]} must be 0 or 1")
        if not part.get("question", "?").strip():
            raise ValueError("the question is empty")
    return reply


def _judge() -> Any:
    """A judge as ragas takes one: it leaves each prompt to whoever moves the coroutine forward."""
    from ragas.llms.base import InstructorBaseRagasLLM

    async def agenerate(self: Any, prompt: str, response_model: Any) -> Any:
        return await _reply_to(prompt, lambda text: checked(response_model.model_validate_json(text)))

    def generate(self: Any, prompt: str, response_model: Any) -> Any:
        raise NotImplementedError("ragas asks by agenerate")

    return type("Judge", (InstructorBaseRagasLLM,), {"agenerate": agenerate, "generate": generate})()


def _vectors(encode: Callable[[list[str]], np.ndarray]) -> Any:
    """A sentence encoder as ragas takes one."""
    from ragas.embeddings.base import BaseRagasEmbedding

    def embed_text(self: Any, text: str) -> list[float]:
        return encode([text])[0].tolist()

    async def aembed_text(self: Any, text: str) -> list[float]:
        return encode([text])[0].tolist()

    async def aembed_texts(self: Any, texts: list[str]) -> list[list[float]]:
        return encode(texts).tolist()

    methods = {"embed_text": embed_text, "aembed_text": aembed_text, "aembed_texts": aembed_texts}
    return type("Vectors", (BaseRagasEmbedding,), methods)()

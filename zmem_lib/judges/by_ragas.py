"""ragas' measures that ask a language model (Es et al., 2309.15217).

Takes a table of questions with answers and evidence; returns values by row and measure. ragas' measures are coroutines
that wait for one reply after another; all of them are moved forward together, and what they ask is handed over in
batches, so that ragas itself opens no connection and needs no key.
"""

import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.evaluation.metrics import ragas_module

MEASURES = {  # by ragas' name: its class, and what that takes of a row
    "faithfulness": ("Faithfulness", ("user_input", "response", "retrieved_contexts")),
    "answer_relevancy": ("AnswerRelevancy", ("user_input", "response")),
    "context_precision": ("ContextPrecision", ("user_input", "reference", "retrieved_contexts")),
    "context_recall": ("ContextRecall", ("user_input", "retrieved_contexts", "reference")),
}
JUDGED = tuple(MEASURES)
QUESTIONS_BACK = 1  # of answer relevancy: at temperature 0 ragas' three would be the same one
FLAGS = ("verdict", "attributed", "noncommittal")  # fields of a reply: ragas counts with whatever number stands there

Ask = Callable[[list[str], list[Callable[[str], Any]]], list[Any]]  # prompts, how to read replies; None: failed
Encode = Callable[[list[str]], np.ndarray]


def judged_by_ragas(items: pd.DataFrame, ask: Ask, encode: Encode) -> list[dict[str, float]]:
    """The measures JUDGED of every row (question, answer, answers, chunks), in order; NaN where the judge failed.

    NaN as well where ragas has nothing to judge: no answer, no evidence, no gold answer. `encode` gives the vectors of
    texts for answer relevancy, which holds one question that the judge makes from the answer against the real one.
    """
    measures = _measures(encode)
    places, waiting = [], []
    for place, row in enumerate(items.itertuples()):
        row: Any = row
        texts = {"user_input": row.question, "response": row.answer, "retrieved_contexts": list(row.chunks)}
        texts["reference"] = row.answers[0] if len(row.answers) else ""
        for name, (_, needs) in MEASURES.items():
            if all(len(texts[need]) for need in needs):
                places.append((place, name))
                waiting.append(measures[name].ascore(**{need: texts[need] for need in needs}))
    values: list[dict[str, float]] = [dict.fromkeys(JUDGED, np.nan) for _ in range(len(items))]
    for (place, name), result in zip(places, in_waves(waiting, ask), strict=True):
        values[place][name] = np.nan if result is None else float(result.value)
    return values


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
        f"ragas: {name}: {step}": prompt.instruction
        for name, measure in _measures(lambda texts: np.zeros((len(texts), 1))).items()
        for step, prompt in vars(measure).items()
        if hasattr(prompt, "instruction")
    }


@types.coroutine
def _reply_to(prompt: str, read: Callable[[str], Any]) -> Generator[tuple[str, Callable[[str], Any]], Any, Any]:
    return (yield prompt, read)


def _measures(encode: Encode) -> dict[str, Any]:
    """MEASURES, as ragas makes them of a judge that leaves each prompt to whoever moves the coroutine forward."""

    class Judge(ragas_module("llms.base").InstructorBaseRagasLLM):
        async def agenerate(self, prompt: str, response_model: Any) -> Any:
            return await _reply_to(prompt, lambda text: checked(response_model.model_validate_json(text)))

        def generate(self, prompt: str, response_model: Any) -> Any:
            raise NotImplementedError("ragas asks by agenerate")

    class Vectors(ragas_module("embeddings.base").BaseRagasEmbedding):
        def embed_text(self, text: str) -> list[float]:
            return encode([text])[0].tolist()

        async def aembed_text(self, text: str) -> list[float]:
            return self.embed_text(text)

        async def aembed_texts(self, texts: list[str]) -> list[list[float]]:
            return encode(texts).tolist()

    ragas, judge = ragas_module("metrics.collections"), Judge()
    more = {"answer_relevancy": {"embeddings": Vectors(), "strictness": QUESTIONS_BACK}}
    return {name: getattr(ragas, kind)(llm=judge, **more.get(name, {})) for name, (kind, _) in MEASURES.items()}


def checked(reply: Any) -> Any:
    """A reply in ragas' form; ValueError where it has a flag other than 0 and 1, or makes no question.

    ragas itself would count with any number, and take an empty question for an answer off the point.
    """
    parts = [reply, *(part for value in vars(reply).values() if isinstance(value, list) for part in value)]
    for fields in (vars(part) for part in parts if hasattr(part, "__dict__")):
        if wrong := [name for name in FLAGS if fields.get(name, 0) not in (0, 1)]:
            raise ValueError(f"{wrong[0]} must be 0 or 1")
        if not fields.get("question", "?").strip():
            raise ValueError("the question is empty")
    return reply

"""ragas' measures that need no judge (Es et al., 2309.15217): they compare letters by edit distance.

Takes a table of questions with answers and evidence; returns question_id, metric, value. ragas' measures are coroutines
even where they ask nobody.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.text import sentence_spans

RAGAS_CONTEXT_METRICS = ("ragas_context_recall", "ragas_context_precision")
RAGAS_ANSWER_METRICS = ("ragas_string_similarity", "ragas_string_presence")


def ragas_scores(items: pd.DataFrame) -> pd.DataFrame:
    """ragas' measures that need no judge: question_id, metric, value (NaN where ragas has none).

    Reads question_id, answer, answers, evidence, reference_contexts. The contexts are the sentences of the evidence, as
    the reference is made of sentences; an empty evidence is one empty sentence. The answer is held against the first
    gold answer, as ragas takes one. A measure is NaN where its reference is empty.
    """
    metrics, sample_of = ragas_module("metrics"), ragas_module("dataset_schema").SingleTurnSample
    context = (metrics.NonLLMContextRecall(), metrics.NonLLMContextPrecisionWithReference())
    measures = (*context, metrics.NonLLMStringSimilarity(), metrics.StringPresence())
    samples = [sample_of(**_sample(row)) for row in items.itertuples()]

    async def score_all() -> list[list[float]]:
        return [[await _score(measure, sample) for measure in measures] for sample in samples]

    with ThreadPoolExecutor(1) as thread:  # a notebook has an event loop already, this thread has none
        values = thread.submit(asyncio.run, score_all()).result()
    wide = pd.DataFrame(values, columns=[*RAGAS_CONTEXT_METRICS, *RAGAS_ANSWER_METRICS], dtype=float)
    return wide.assign(question_id=items["question_id"].to_numpy()).melt("question_id", var_name="metric")


def ragas_module(name: str) -> Any:
    """A module of ragas, told not to call home; no other module of this library imports ragas."""
    os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")
    return import_module(f"ragas.{name}")


def _sample(row: Any) -> dict[str, object]:
    evidence = "\n".join(row.evidence)
    return {
        "response": row.answer,
        "reference": row.answers[0] if len(row.answers) else None,
        "retrieved_contexts": [evidence[start:end] for start, end in sentence_spans(evidence)] or [""],
        "reference_contexts": [context for context in row.reference_contexts if context] or None,
    }


async def _score(measure: Any, sample: Any) -> float:
    needed = "reference_contexts" if "context" in measure.name else "reference"
    return float(await measure.single_turn_ascore(sample)) if getattr(sample, needed) else np.nan

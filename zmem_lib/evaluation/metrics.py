"""Quality of one answer, of one evidence and of one ranking: METRICS, each a number for every question.

Exact match and F1 follow SQuAD v1.1 (Rajpurkar et al., 2016, section 6.1) or, where `rule` is korquad, the evaluation
script of KorQuAD 1.0 (Lim et al., 2019), whose F1 counts characters instead of words; letters are
composed first, and an answer that the rule empties is compared as it is. Beside them stand the measures of
MIRAGE (Park et al., 2504.17137), as its code counts, the accuracy of Self-RAG and CRAG, and how much of a written
evidence stands in its document, as ROUGE counts words (Lin, 2004). The retrieval measures are those of ir-measures
(MacAvaney et al., 2022); those of ragas that need no judge (Es et al., 2309.15217) compare letters by edit distance.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import SequenceMatcher
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.evaluation.numbers_in import number_match, number_match_strict
from zmem_lib.text import canonical, normalise, normalise_korquad, sentence_spans, words

NORMALISE = {"squad": normalise, "korquad": normalise_korquad}  # by the parameter corpus.normalisation
NUMBER_CORPUS = "t2ragbench"  # whose gold answers are numbers


def compared(text: str, rule: str) -> str:
    """A normalised answer; one of which nothing would be left, as of "A" or "?", in lower case alone."""
    return NORMALISE[rule](text) or " ".join(canonical(text).lower().split())


def em(answer: str, golds: Sequence[str], rule: str) -> float:
    """Exact match: 1 if the normalised answer equals any normalised gold answer."""
    return float(compared(answer, rule) in {compared(gold, rule) for gold in golds})


def f1(answer: str, golds: Sequence[str], rule: str) -> float:
    """Harmonic mean of precision and recall, best over the gold answers; both empty is 1 (SQuAD 2.0).

    Of the answer's words, or of its characters without spaces under the rule korquad, in any order.
    """

    def pieces(text: str) -> Counter[str]:
        parts = compared(text, rule).split()
        return Counter("".join(parts) if rule == "korquad" else parts)

    def of_one(right: Counter[str]) -> float:
        return 2 * (said & right).total() / (said.total() + right.total()) if said or right else 1.0

    said = pieces(answer)
    return max((of_one(pieces(gold)) for gold in golds), default=0.0)


def em_loose(answer: str, golds: Sequence[str]) -> float:
    """MIRAGE: 1 if any gold answer is part of the answer, letter by letter, both in lower case."""
    return float(any(canonical(gold).lower() in canonical(answer).lower() for gold in golds))


def em_strict(answer: str, golds: Sequence[str]) -> float:
    """MIRAGE: 1 if the answer is a gold answer, both in lower case, and nothing else normalised."""
    return float(canonical(answer).lower() in {canonical(gold).lower() for gold in golds})


def f1_all(answer: str, golds: Sequence[str]) -> float:
    """MIRAGE: F1 of the answer's distinct words and those of all gold answers together, in lower case."""
    said, right = (set(canonical(" ".join(texts)).lower().split()) for texts in ([answer], golds))
    return 2 * len(said & right) / (len(said) + len(right)) if said & right else 0.0


def accuracy(answer: str, golds: Sequence[str]) -> float:
    """Self-RAG and CRAG: 1 if any gold answer is part of the answer, letter by letter, in its own case."""
    return float(any(canonical(gold) in canonical(answer) for gold in golds))


def answer_in_evidence(evidence: str, golds: Sequence[str], rule: str) -> float:
    """1 if any gold answer stands in the evidence, both normalised; an empty answer never counts.

    As whole words; under the rule korquad as part of a word too, since Korean joins particles to its words.
    """
    edge = "" if rule == "korquad" else " "
    text, answers = f"{edge}{NORMALISE[rule](evidence)}{edge}", [NORMALISE[rule](gold) for gold in golds]
    return float(any(answer and f"{edge}{answer}{edge}" in text for answer in answers))


def evidence_overlap(evidence: str, passage: str) -> float:
    """Share of the evidence's words that the passage has, each as often as it has it; NaN without a word."""
    said, there = words(evidence), words(passage)
    return (Counter(said) & Counter(there)).total() / len(said) if said else np.nan


def evidence_substring(evidence: str, passage: str) -> float:
    """Share of the evidence's words that are in its longest run of words which the passage has too; NaN without one."""
    said, there = words(evidence), words(passage)
    run = SequenceMatcher(None, said, there, autojunk=False).find_longest_match()
    return run.size / len(said) if said else np.nan


@dataclass(frozen=True)
class Metric:
    """What a measure is called where it is shown, and how it is counted, if from a row of answers with its golds."""

    label: str
    count: Callable[[Any, str], float] | None = None  # of a row of scoring.joined, under the rule
    reader: bool = False  # makes sense only where somebody read the evidence
    tested: bool = False  # between every pair of systems
    corpus: str = ""  # the one of which it is counted, if not of all


METRICS: dict[str, Metric] = {
    "em": Metric("exact match", lambda row, rule: em(row.answer, row.answers, rule), reader=True, tested=True),
    "f1": Metric("F1", lambda row, rule: f1(row.answer, row.answers, rule), reader=True, tested=True),
    "answer_in_evidence": Metric(
        "answer in evidence", lambda row, rule: answer_in_evidence("\n".join(row.evidence), row.answers, rule),
        tested=True,
    ),
    "em_loose": Metric("EM loose", lambda row, _: em_loose(row.answer, row.answers), reader=True),
    "em_strict": Metric("EM strict", lambda row, _: em_strict(row.answer, row.answers), reader=True),
    "f1_all": Metric("F1 of all aliases", lambda row, _: f1_all(row.answer, row.answers), reader=True),
    "accuracy": Metric("accuracy", lambda row, _: accuracy(row.answer, row.answers), reader=True),
    "number_match": Metric(
        "number match", lambda row, _: number_match(row.answer, row.answers), reader=True, corpus=NUMBER_CORPUS,
    ),
    "number_match_strict": Metric(
        "number match, sign and scale", lambda row, _: number_match_strict(row.answer, row.answers), reader=True,
        corpus=NUMBER_CORPUS,
    ),
    "evidence_tokens": Metric("evidence tokens", lambda row, _: row.evidence_tokens),
    "seconds": Metric("seconds per question", lambda row, _: row.seconds),
    "input_tokens": Metric("input tokens", lambda row, _: row.input_tokens, reader=True),
    "output_tokens": Metric("output tokens", lambda row, _: row.output_tokens, reader=True),
    "recall@1": Metric("recall@1", tested=True),
    "recall@5": Metric("recall@5"),
    "recall@20": Metric("recall@20"),
    "mrr@10": Metric("MRR@10", tested=True),
    "ndcg@10": Metric("nDCG@10"),
    "new_first": Metric("new document first"),
    "evidence_overlap": Metric("evidence's words in its document"),
    "evidence_substring": Metric("longest exact run of it"),
    "ragas_context_recall": Metric("ragas context recall"),
    "ragas_context_precision": Metric("ragas context precision"),
    "ragas_string_similarity": Metric("ragas string similarity", reader=True),
    "ragas_string_presence": Metric("ragas string presence", reader=True),
}  # fmt: skip
RETRIEVAL_METRICS = ("recall@1", "recall@5", "recall@20", "mrr@10", "ndcg@10")  # of one ranking
GROUNDING_METRICS = ("evidence_overlap", "evidence_substring")
FIELD = ("em_loose", "em_strict", "f1_all", "accuracy")  # as others count answers


def retrieval_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Retrieval measures of question_id, gold_doc_ids and ranked_doc_ids, best first: question_id, metric, value.

    recall@k is 1 if any gold document is among the first k (ir-measures' Success@k): one is enough to answer.
    """
    import ir_measures
    from ir_measures import RR, Success, nDCG

    measures = [Success @ 1, Success @ 5, Success @ 20, RR @ 10, nDCG @ 10]
    ids, gold, ranked = (rows[name].tolist() for name in ("question_id", "gold_doc_ids", "ranked_doc_ids"))
    qrels = {question: dict.fromkeys(docs, 1) for question, docs in zip(ids, gold, strict=True)}
    run = {question: {doc: -float(i) for i, doc in enumerate(docs)} for question, docs in zip(ids, ranked, strict=True)}
    found: dict[Any, float] = {}
    found |= {(hit.query_id, str(hit.measure)): hit.value for hit in ir_measures.iter_calc(measures, qrels, run)}
    names = dict(zip(map(str, measures), RETRIEVAL_METRICS, strict=True))
    values = [(question, name, found.get((question, one), 0.0)) for question in run for one, name in names.items()]
    return pd.DataFrame(values, columns=["question_id", "metric", "value"])


def ragas_scores(items: pd.DataFrame) -> pd.DataFrame:
    """ragas' measures that need no judge: question_id, metric, value (NaN where ragas has none).

    Reads question_id, answer, answers, evidence, reference_contexts. The contexts are the sentences of the evidence, as
    the reference is made of sentences; an empty evidence is one empty sentence. The answer is held against the first
    gold answer, as ragas takes one. A measure is NaN where its reference is empty.
    """
    metrics, sample_of = ragas_module("metrics"), ragas_module("dataset_schema").SingleTurnSample
    of_contexts = [metrics.NonLLMContextRecall(), metrics.NonLLMContextPrecisionWithReference()]
    of_answers = [metrics.NonLLMStringSimilarity(), metrics.StringPresence()]

    async def score(row: Any) -> list[float]:  # ragas' measures are coroutines even where they ask nobody
        evidence = "\n".join(row.evidence)
        sample = sample_of(
            response=row.answer,
            reference=row.answers[0] if len(row.answers) else None,
            retrieved_contexts=[evidence[start:end] for start, end in sentence_spans(evidence)] or [""],
            reference_contexts=[text for text in row.reference_contexts if text] or None,
        )
        values = []
        for needed, measures in ((sample.reference_contexts, of_contexts), (sample.reference, of_answers)):
            values += [float(await one.single_turn_ascore(sample)) if needed else np.nan for one in measures]
        return values

    async def score_all() -> list[list[float]]:
        return [await score(row) for row in items.itertuples()]

    with ThreadPoolExecutor(1) as thread:  # a notebook has an event loop already, this thread has none
        values = thread.submit(asyncio.run, score_all()).result()
    names = [name for name in METRICS if name.startswith("ragas_")]  # in the same order
    wide = pd.DataFrame(values, columns=names, dtype=float)
    return wide.assign(question_id=items["question_id"].to_numpy()).melt("question_id", var_name="metric")


def ragas_module(name: str) -> Any:
    """A module of ragas, told not to call home; no other module of this library imports ragas."""
    os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")
    return import_module(f"ragas.{name}")

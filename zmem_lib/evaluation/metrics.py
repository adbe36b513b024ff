"""Quality of one answer, of one evidence and of one ranking: a number between 0 and 1 per question.

Exact match and F1 follow SQuAD v1.1 (Rajpurkar et al., 2016, section 6.1) or, where `rule` is korquad, the evaluation
script of KorQuAD 1.0 (Lim et al., 2019), whose F1 counts characters instead of words. Beside them stand the measures of
MIRAGE (Park et al., 2504.17137), as its code counts, and the accuracy of Self-RAG and CRAG. The retrieval measures are
computed by ir-measures (MacAvaney et al., 2022), which no other module knows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from zmem_lib.text import normalise, normalise_korquad

NORMALISE = {"squad": normalise, "korquad": normalise_korquad}  # by the parameter answer_normalisation
ANSWER_METRICS = ("em", "f1", "answer_in_evidence")
RETRIEVAL_METRICS = ("recall@1", "recall@5", "recall@20", "mrr@10", "ndcg@10")


def em(answer: str, golds: Sequence[str], rule: str) -> float:
    """Exact match: 1 if the normalised answer equals any normalised gold answer."""
    same = NORMALISE[rule]
    return max((float(same(answer) == same(gold)) for gold in golds), default=0.0)


def f1(answer: str, golds: Sequence[str], rule: str) -> float:
    """Harmonic mean of precision and recall, best over the gold answers; both empty is 1 (SQuAD 2.0).

    Of the answer's words, or of its characters without spaces under the rule korquad, in any order.
    """
    return max((_f1(_pieces(answer, rule), _pieces(gold, rule)) for gold in golds), default=0.0)


def em_loose(answer: str, golds: Sequence[str]) -> float:
    """MIRAGE: 1 if any gold answer is part of the answer, letter by letter, both in lower case."""
    return float(any(gold.lower() in answer.lower() for gold in golds))


def em_strict(answer: str, golds: Sequence[str]) -> float:
    """MIRAGE: 1 if the answer is a gold answer, both in lower case, and nothing else normalised."""
    return float(answer.lower() in {gold.lower() for gold in golds})


def f1_all(answer: str, golds: Sequence[str]) -> float:
    """MIRAGE: F1 of the answer's distinct words and those of all gold answers together, in lower case."""
    said, right = set(answer.lower().split()), {word for gold in golds for word in gold.lower().split()}
    return 2 * len(said & right) / (len(said) + len(right)) if said & right else 0.0


def accuracy(answer: str, golds: Sequence[str]) -> float:
    """Self-RAG and CRAG: 1 if any gold answer is part of the answer, letter by letter, in its own case."""
    return float(any(gold in answer for gold in golds))


FIELD = {measure.__name__: measure for measure in (em_loose, em_strict, f1_all, accuracy)}  # as others count answers


def answer_in_evidence(evidence: str, golds: Sequence[str], rule: str) -> float:
    """1 if any gold answer stands in the evidence, both normalised; an empty answer never counts.

    As whole words; under the rule korquad as part of a word too, since Korean joins particles to its words.
    """
    text, answers = NORMALISE[rule](evidence), [NORMALISE[rule](gold) for gold in golds]
    if rule == "korquad":
        return float(any(answer and answer in text for answer in answers))
    return float(any(answer and f" {answer} " in f" {text} " for answer in answers))


def retention(memory: np.ndarray, nothing: np.ndarray, text: np.ndarray) -> float:
    """Share of what the text brings that the memory keeps, from scores of the same questions: a ratio of means.

    (memory - nothing) / (text - nothing); NaN where the text brings nothing.
    """
    gain = text.mean() - nothing.mean()
    return float((memory.mean() - nothing.mean()) / gain) if gain > 0 else np.nan


def retrieval_scores(gold: Mapping[str, Sequence[str]], ranked: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Retrieval measures by question: question_id, metric, value.

    `gold` and `ranked` hold document ids by question id, best first. recall@k is 1 if any gold document is among the
    first k (ir-measures' Success@k), as one document is enough to answer; the order in `ranked` alone decides.
    """
    import ir_measures
    from ir_measures import RR, Success, nDCG

    measures = [Success @ 1, Success @ 5, Success @ 20, RR @ 10, nDCG @ 10]
    names = dict(zip(map(str, measures), RETRIEVAL_METRICS, strict=True))
    qrels = {question: {str(doc): 1 for doc in docs} for question, docs in gold.items()}
    run = {question: {str(doc): -float(place) for place, doc in enumerate(docs)} for question, docs in ranked.items()}
    found = {(hit.query_id, names[str(hit.measure)]): hit.value for hit in ir_measures.iter_calc(measures, qrels, run)}
    rows = [(question, name, found.get((question, name), 0.0)) for question in ranked for name in RETRIEVAL_METRICS]
    return pd.DataFrame(rows, columns=["question_id", "metric", "value"])


def _pieces(text: str, rule: str) -> list[str]:
    words = NORMALISE[rule](text).split()
    return list("".join(words)) if rule == "korquad" else words


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer and not gold:
        return 1.0
    common = sum((Counter(answer) & Counter(gold)).values())
    return 2 * common / (len(answer) + len(gold))

"""What the field counts of an answer and its evidence, from a judge's verdicts: verdicts in, numbers out.

RAGChecker's eleven figures come from entailment (Ru et al., 2408.08067, section 3.3): R claims of the answer, G claims
of the gold answer, C chunks of the evidence; entries are 1 (entailed), 0 or NaN (not judged). RAGBench's four come from
sentence keys that a judge named (TRACe, Friel et al., 2407.11005, section 4); lengths are counted in words.

A figure without anything to count (no claim, no chunk, nothing found) is NaN, and so is one that needs an entry which
was not judged: how many there are is shown as coverage. RAGChecker's own package counts both as 0.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from zmem_lib.text import sentence_spans

CHECKER = (
    "precision", "recall", "f1", "claim_recall", "context_precision", "context_utilization",
    "noise_sensitivity_relevant", "noise_sensitivity_irrelevant", "hallucination", "self_knowledge", "faithfulness",
)  # fmt: skip
TRACE = ("relevance", "utilization", "completeness", "adherence")


def checker(
    answer_by_gold: np.ndarray, gold_by_answer: np.ndarray, answer_by_chunks: np.ndarray, gold_by_chunks: np.ndarray
) -> dict[str, float]:
    """RAGChecker's eleven figures of one answer, by name.

    Which claims of the answer the gold answer entails (R,), which of the gold answer the answer does (G,), and which of
    either each chunk does (R,C) and (G,C).
    """
    right, wrong = answer_by_gold, 1 - answer_by_gold  # (R,)
    relevant = gold_by_chunks.max(0, initial=0.0)  # (C,): a chunk that entails some claim of the gold answer
    in_relevant = (answer_by_chunks * relevant).max(1, initial=0.0)  # (R,)
    in_any = answer_by_chunks.max(1, initial=0.0)  # (R,)
    found = gold_by_chunks.max(1, initial=0.0)  # (G,): claims of the gold answer that some chunk entails
    precision, recall = _share(right), _share(gold_by_answer)
    values = (
        precision,
        recall,
        2 * precision * recall / (precision + recall) if precision + recall else 0.0,  # NaN if one is
        _share(found),
        _share(relevant) if len(gold_by_chunks) else np.nan,
        _ratio((found * gold_by_answer).sum(), found.sum()),
        _share(wrong * in_relevant),
        _share(wrong * (in_any - in_relevant)),
        _share(wrong * (1 - in_any)),
        _share(right * (1 - in_any)),
        _share(in_any),
    )
    return dict(zip(CHECKER, map(float, values), strict=True))


def keyed(texts: Sequence[str], mark: str) -> dict[str, str]:
    """The sentences of texts by key: the number of the text, the mark, the number of the sentence, each from 1."""
    return {
        f"{i}{mark}{j}": text[start:end]
        for i, text in enumerate(texts, 1)
        for j, (start, end) in enumerate(sentence_spans(text), 1)
    }


def trace(
    context: Mapping[str, str],
    answer: Mapping[str, str],
    *,
    relevant: Collection[str],
    used: Collection[str],
    supported: Collection[str],
) -> dict[str, float]:
    """RAGBench's four from the sentences of context and answer by key, and the keys that were named of each.

    Relevance and utilization are shares of the evidence, completeness the share of what is relevant that was used,
    adherence 1 if every sentence of the answer is supported.
    """
    whole, matters = _words(context, context), _words(context, relevant)
    values = (
        _ratio(matters, whole),
        _ratio(_words(context, used), whole),
        _ratio(_words(context, set(relevant) & set(used)), matters),
        float(set(answer) <= set(supported)) if answer else np.nan,
    )
    return dict(zip(TRACE, values, strict=True))


def _share(entries: np.ndarray) -> float:
    return entries.mean() if len(entries) else np.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


def _words(sentences: Mapping[str, str], keys: Collection[str]) -> int:
    return sum(len(sentences[key].split()) for key in set(keys))

"""RAGChecker's eleven figures from entailment (Ru et al., 2408.08067, section 3.3): matrices in, numbers out.

R claims of the answer, G claims of the gold answer, C chunks of the evidence; entries are 1 (entailed), 0 or NaN (not
judged). A figure without anything to count (no claim, no chunk, nothing found) is NaN, and so is one that needs an
entry which was not judged: how many there are is shown as coverage. The authors' package counts both as 0.
"""

import numpy as np

FIGURES = (
    "precision", "recall", "f1", "claim_recall", "context_precision", "context_utilization",
    "noise_sensitivity_relevant", "noise_sensitivity_irrelevant", "hallucination", "self_knowledge", "faithfulness",
)  # fmt: skip


def figures(
    answer_by_gold: np.ndarray, gold_by_answer: np.ndarray, answer_by_chunks: np.ndarray, gold_by_chunks: np.ndarray
) -> dict[str, float]:
    """The eleven figures of one answer, by name.

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
        _harmonic(precision, recall),
        _share(found),
        _share(relevant) if len(gold_by_chunks) else np.nan,
        _ratio((found * gold_by_answer).sum(), found.sum()),
        _share(wrong * in_relevant),
        _share(wrong * (in_any - in_relevant)),
        _share(wrong * (1 - in_any)),
        _share(right * (1 - in_any)),
        _share(in_any),
    )
    return dict(zip(FIGURES, map(float, values), strict=True))


def _share(entries: np.ndarray) -> float:
    return entries.mean() if len(entries) else np.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


def _harmonic(first: float, second: float) -> float:
    if np.isnan(first + second):
        return np.nan
    return 2 * first * second / (first + second) if first + second else 0.0

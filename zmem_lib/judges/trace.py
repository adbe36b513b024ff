"""RAGBench's four figures of a context and an answer (TRACe, Friel et al., 2407.11005, section 4), from sentence keys.

Takes sentences with keys, and which of them a judge named; returns numbers. Lengths are counted in words. Relevance and
utilization are shares of the evidence, completeness the share of what is relevant that was used, adherence 1 if every
sentence of the answer is supported. A figure without anything to count is NaN.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from zmem_lib.text import sentence_spans

TRACE = ("relevance", "utilization", "completeness", "adherence")


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
    """The four figures from the sentences of context and answer by key, and the keys that were named of each."""
    whole, matters = _words(context, context), _words(context, relevant)
    values = (
        _ratio(matters, whole),
        _ratio(_words(context, used), whole),
        _ratio(_words(context, set(relevant) & set(used)), matters),
        float(set(answer) <= set(supported)) if answer else np.nan,
    )
    return dict(zip(TRACE, values, strict=True))


def _words(sentences: Mapping[str, str], keys: Collection[str]) -> int:
    return sum(len(sentences[key].split()) for key in set(keys))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else np.nan

"""How hard a corpus is without any model: what its words give away.

Takes the tables docs and questions; returns a table of measures with the number of questions or passages behind each.
Where the words of a question lead to its passage, and a sentence of it chosen by words holds the answer, finding and
reading cannot be told from matching words.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from zmem_lib.evaluation.metrics import answer_in_evidence
from zmem_lib.opponents.bm25 import build_bm25, language_of, rank_bm25, reciprocal_gold_ranks, split_terms
from zmem_lib.text import idf_of_terms, nearest_of, passages, sentences

FEW = 1 / 3  # of a question's content words


def yardsticks(docs: pd.DataFrame, questions: pd.DataFrame, rule: str) -> pd.DataFrame:
    """The table measure, value, n, for questions (of any splits) with a gold document; a sentence is of the first one.

    Overlap: the share of a question's stems, stop words left out, that its passage has. BM25 stands as published, not
    tuned. A random sentence counts by the share of its passage's sentences that hold an answer, under the rule of
    `corpus.normalisation`.
    """
    texts, asked = passages(docs), questions.to_dict("records")
    text_of = dict(zip(docs["doc_id"], texts, strict=True))
    body_of = {doc_id: sentences(text) for doc_id, text in zip(docs["doc_id"], docs["text"], strict=True)}
    language, idf = language_of(texts), idf_of_terms(texts)
    terms_of = {doc_id: set(split_terms(text, language)) for doc_id, text in text_of.items()}
    shares = [overlap(set(split_terms(row["question"], language)), terms_of[row["gold_doc_ids"][0]]) for row in asked]
    ranked, _ = rank_bm25(build_bm25(list(text_of), texts, language=language), list(questions["question"]), 5)
    found = reciprocal_gold_ranks(ranked, list(questions["gold_doc_ids"]))  # (Q,)

    def holding(pick: Callable[[str, list[str]], list[str]]) -> list[float]:
        """Of each question the share of the picked sentences that hold an answer."""
        picked = [pick(row["question"], body_of[row["gold_doc_ids"][0]]) for row in asked]
        return [
            float(np.mean([answer_in_evidence(sentence, row["answers"], rule) for sentence in some]))
            for row, some in zip(asked, picked, strict=True)
        ]

    measured = {
        "words of a passage": [len(text.split()) for text in docs["text"]],
        "sentences of a passage": [len(body) for body in body_of.values()],
        "content words of the question in its passage": shares,
        "questions with at most a third of them there": [share <= FEW for share in shares],
        "BM25: recall@1": found == 1,
        "BM25: recall@5": found > 0,
        "answer in a random sentence of the passage": holding(lambda _, body: body),
        "answer in the sentence nearest by idf": holding(lambda question, body: [nearest_of(question, body, idf)]),
    }
    rows = [(name, np.nanmean(values) if len(values) else np.nan, len(values)) for name, values in measured.items()]
    return pd.DataFrame(rows, columns=["measure", "value", "n"])


def overlap(asked: set[str], there: set[str]) -> float:
    """The share of a question's terms that a passage has; NaN where it has none."""
    return len(asked & there) / len(asked) if asked else np.nan

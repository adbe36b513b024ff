"""Chance: how often a gold answer stands in the gold evidence of a question about another document.

What a wrong z writes is held against two levels. `chance`: evidence of other questions drawn at random. `chance-alike`:
that of the questions with the most words in common, which ask for the same kind of thing: a model that has learned how
documents are written, and nothing of this one, can do as well. Both are in no system's hand; no model is asked.
"""

import numpy as np
import pandas as pd

from zmem_lib.evaluation.metrics import NORMALISE, answer_in_evidence
from zmem_lib.evaluation.scoring import joined
from zmem_lib.tables import CHANCES, check, no_rows

POOL = 2000  # questions of all splits whose evidence may be drawn
DRAWN, ALIKE = 50, 10  # pieces of evidence per question, over which its value is the mean


def chance_scores(
    questions: pd.DataFrame, tuples: pd.DataFrame, answers: pd.DataFrame | None, *, rule: str, seed: int
) -> pd.DataFrame:
    """`answer_in_evidence` at both levels for every question that `answers` has: rows of the table scores.

    None for none, of a run without a memory: there is no wrong z to hold against them.
    """
    if answers is None:
        return no_rows("scores")
    pool = tuples.sample(min(len(tuples), POOL), random_state=seed)
    evidence, doc_ids = pool["evidence"].to_numpy(), pool["doc_id"]
    words, rng = [words_of(question, rule) for question in pool["question"]], np.random.default_rng(seed)
    rows = joined(questions, answers[["question_id", "part"]])
    text_of = dict(zip(questions["question_id"], questions["question"], strict=True))
    values = []
    for row in rows.itertuples():
        others = np.flatnonzero(~doc_ids.isin(row.gold_doc_ids).to_numpy())
        alike = likeness(words_of(text_of[row.question_id], rule), words)[others]
        nearest = others[np.argsort(-alike, kind="stable")[:ALIKE]]
        chosen = rng.choice(others, min(DRAWN, len(others)), replace=False), nearest
        hits = [[answer_in_evidence(text, row.answers, rule) for text in evidence[places]] for places in chosen]
        values.append([np.mean(some) if some else np.nan for some in hits])
    rows[list(CHANCES)] = np.array(values, dtype=float).reshape(-1, len(CHANCES))  # (Q,2)
    long = rows.melt(["question_id", "part", "kind"], list(CHANCES), "system")
    return check(long.assign(metric="answer_in_evidence"), "scores")


def likeness(words: set[str], others: list[set[str]]) -> np.ndarray:
    """The share (P,) of the words of both that a question has in common with each of the others (Jaccard)."""
    return np.array([len(words & some) / max(len(words | some), 1) for some in others])


def words_of(question: str, rule: str) -> set[str]:
    """A question's words, normalised as answers are."""
    return set(NORMALISE[rule](question).split())

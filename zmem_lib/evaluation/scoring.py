"""From answers to scores, from scores to the summary, and the counts that explain them.

Takes questions and answers by system; returns the tables scores, summary and failures. Whether an answer is good is
decided in metrics.py, how sure that is in stats.py. Beside what is counted of every answer stands whether a ranking's
first document is a new one (new_first tells a system that favours the new from one that finds), and how much of a
written evidence stands in its document; of evidence that is cut from a passage all would, by construction.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from zmem_lib.evaluation.metrics import (
    METRICS,
    answer_in_evidence,
    em,
    evidence_overlap,
    evidence_substring,
    retrieval_scores,
)
from zmem_lib.evaluation.ragas_measures import ragas_scores
from zmem_lib.evaluation.stats import grouped_means
from zmem_lib.files import BadInput
from zmem_lib.meter import progress
from zmem_lib.params import Params
from zmem_lib.systems.systems import SYSTEMS, System
from zmem_lib.tables import KINDS, check
from zmem_lib.text import passages, sentence_spans


def with_references(questions: pd.DataFrame, tuples: pd.DataFrame) -> pd.DataFrame:
    """The questions with a column `reference_contexts`: the sentences of the evidence of each question's tuples."""
    by_question: dict[str, dict[str, None]] = {}
    for question_id, text in zip(tuples["question_id"], tuples["evidence"], strict=True):
        sentences = by_question.setdefault(question_id, {})
        sentences.update((text[start:end], None) for start, end in sentence_spans(text))
    references = [list(by_question.get(question_id, ())) for question_id in questions["question_id"]]
    return questions.assign(reference_contexts=references)


def score_answers(
    questions: pd.DataFrame, docs: pd.DataFrame, answers_by_system: Mapping[str, pd.DataFrame], params: Params,
    *, ragas: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Every metric of every answer: the table scores.

    Questions from `with_references` are also held against ragas' context measures. The retrieval measures are left out
    for a system that ranks nothing, those of ragas, which take most of the time, where `ragas` is false, and those of
    what was read where nobody reads.
    """
    counts = {
        name: metric.count
        for name, metric in METRICS.items()
        if metric.count and (params.has_lm or not metric.reader) and metric.corpus in ("", params.corpus.name)
    }
    rule, tables = params.corpus.normalisation, []
    for system, answers in progress(answers_by_system.items(), "scoring systems", len(answers_by_system)):
        rows = joined(questions, answers)
        values = {name: [float(count(row, rule)) for row in rows.itertuples()] for name, count in counts.items()}
        values |= _of_documents(rows, docs, grounded=SYSTEMS[system].grounded)
        parts = [pd.DataFrame({"question_id": rows["question_id"], **values}).melt("question_id", var_name="metric")]
        if ranks(rows):
            by_id = rows.set_index("question_id")
            parts.append(retrieval_scores(by_id["gold_doc_ids"], by_id["ranked_doc_ids"]))
        parts += [ragas_scores(rows)] if ragas else []
        place = rows[["question_id", "part", "kind"]].assign(system=system)
        tables.append(place.merge(pd.concat(parts), on="question_id", validate="one_to_many"))
    scores = pd.concat(tables)
    unread = [name for name, metric in METRICS.items() if metric.reader and not params.has_lm]
    return check(scores[~scores["metric"].isin(unread)], "scores")


def failures(
    questions: pd.DataFrame, answers_by_system: Mapping[str, pd.DataFrame], *, top_k: int, rule: str
) -> pd.DataFrame:
    """The kind of every answer, the table failures: the first of these that is true.

    right: exact match, whatever the evidence says. wrong z: the system ranks, and no gold document is among its first
    `answer.top_k`, or, where it packs as many as fit, in its whole ranking, which is what it was given. wrong evidence:
    it was given evidence, and no gold answer stands there. wrong reading: all the rest, and every wrong answer of a
    system that is given nothing, which has only the reader.
    """
    tables = []
    for system, answers in answers_by_system.items():
        rows = joined(questions, answers).assign(system=system)
        rows["failure"] = [_failure(row, SYSTEMS[system], top_k=top_k, rule=rule) for row in rows.itertuples()]
        tables.append(rows)
    return check(kinds_as_parts(pd.concat(tables)), "failures")


def summarise(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Mean, bootstrap interval and n of every metric by system and part, kinds as parts too: the table summary.

    Values that are NaN are not in the mean nor in n; where there are any, a row METRIC_nan gives their share of all.
    """
    place, scores = ["system", "part", "metric"], kinds_as_parts(scores)
    missing = scores["value"].isna()
    some = missing.groupby([scores[name] for name in place]).transform("any")
    shares = scores[some].assign(metric=lambda rows: rows["metric"] + "_nan", value=missing[some].astype(float))
    return check(grouped_means(pd.concat([scores, shares]), place, samples, seed), "summary")


def joined(questions: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """One row per answer, with its question's answers, gold documents, kind and reference contexts (none: empty)."""
    if "reference_contexts" not in questions:
        questions = questions.assign(reference_contexts=[[] for _ in range(len(questions))])
    if unknown := set(answers["question_id"]) - set(questions["question_id"]):
        raise BadInput(
            f"answers name question {min(unknown)!r}, which questions.parquet does not have: "
            "run the chapters from 05 on again, the corpus has changed since"
        )
    columns = ["question_id", "answers", "gold_doc_ids", "kind", "reference_contexts"]
    answers = answers.drop(columns="kind", errors="ignore")
    return answers.merge(questions[columns], on="question_id", how="left", validate="many_to_one")


def kinds_as_parts(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, and those of each kind of seen questions once more, the kind in the place of their part."""
    seen = rows["part"] == "seen"
    return pd.concat(
        [rows, *(rows[seen & (rows["kind"] == kind)].assign(part=kind) for kind in KINDS)], ignore_index=True
    )


def ranks(answers: pd.DataFrame) -> bool:
    """Whether the system of these answers ranks documents; one that is given its evidence does not."""
    return any(len(doc_ids) for doc_ids in answers["ranked_doc_ids"])


def _of_documents(rows: pd.DataFrame, docs: pd.DataFrame, *, grounded: bool) -> dict[str, list[float]]:
    """Whether a ranking's first document is a new one; how much of its first evidence stands in that document.

    Where the right document was given and nothing ranked, it is the gold one. Only of evidence that is `grounded`.
    """
    values, first = {}, [ids[0] if len(ids) else "" for ids in rows["ranked_doc_ids"]]
    if ranks(rows):
        new = set(docs.loc[docs["part"] == "new", "doc_id"])
        values["new_first"] = [float(doc_id in new) for doc_id in first]
    if grounded:
        text_of = dict(zip(docs["doc_id"], passages(docs), strict=True))
        written = [items[0] if len(items) else "" for items in rows["evidence"]]
        source = [text_of[doc_id or gold[0]] for doc_id, gold in zip(first, rows["gold_doc_ids"], strict=True)]
        for name, share in (("evidence_overlap", evidence_overlap), ("evidence_substring", evidence_substring)):
            values[name] = [share(*pair) for pair in zip(written, source, strict=True)]
    return values


def _failure(row: Any, system: System, *, top_k: int, rule: str) -> str:
    if em(row.answer, row.answers, rule):
        return "right"
    given = row.ranked_doc_ids if system.hands == "packed" else row.ranked_doc_ids[:top_k]
    if len(given) and not set(row.gold_doc_ids) & set(given):
        return "wrong z"
    if system.given != "nothing" and not answer_in_evidence("\n".join(row.evidence), row.answers, rule):
        return "wrong evidence"
    return "wrong reading"

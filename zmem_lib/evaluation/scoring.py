"""From answers to scores, from scores to the summary, and the counts that explain them.

Takes questions and answers by system; returns the tables scores, summary, failures and retention of schema.py. Whether
an answer is good is decided in metrics.py, how sure that is in stats.py.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from zmem_lib.evaluation.metrics import FIELD, answer_in_evidence, em, f1, retention, retrieval_scores
from zmem_lib.evaluation.stats import Estimate, bootstrap, bootstrap_mean
from zmem_lib.files import BadInput
from zmem_lib.judges.by_ragas import RAGAS_ANSWER_METRICS, ragas_scores
from zmem_lib.meter import progress
from zmem_lib.tables import TABLES, check
from zmem_lib.text import sentence_spans

MEASURED = ("evidence_tokens", "seconds", "input_tokens", "output_tokens")
OF_ANSWERS = ("em", "f1", *FIELD, *RAGAS_ANSWER_METRICS, "input_tokens", "output_tokens")
KINDS = ("rephrased", "unasked")
LEAST_GAIN = 0.1  # in F1: of less, no share can be told


def with_references(questions: pd.DataFrame, tuples: pd.DataFrame) -> pd.DataFrame:
    """The questions with a column `reference_contexts`: the sentences of the evidence of each question's tuples."""
    by_question: dict[str, dict[str, None]] = {}
    for question_id, text in zip(tuples["question_id"], tuples["evidence"], strict=True):
        sentences = by_question.setdefault(question_id, {})
        sentences.update((text[start:end], None) for start, end in sentence_spans(text))
    references = [list(by_question.get(question_id, ())) for question_id in questions["question_id"]]
    return questions.assign(reference_contexts=references)


def score_answers(
    questions: pd.DataFrame, answers_by_system: Mapping[str, pd.DataFrame], *, rule: str, ragas: bool = True,
    was_read: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Every metric of every answer: the table scores, with rows for the two kinds of seen questions beside `seen`.

    Questions from `with_references` are also held against ragas' context measures. The retrieval measures are left out
    for a system that ranks nothing, those of ragas, which take most of the time, where `ragas` is false, those of
    answers where nobody read the evidence (`was_read` false). `rule` is the parameter answer_normalisation.
    """
    tables = []
    for system, answers in progress(answers_by_system.items(), "scoring systems", len(answers_by_system)):
        for part, rows in joined(questions, answers).groupby("part", sort=False):
            found = [_answer_scores(rows, rule), _ranking_scores(rows)]
            long = pd.concat([*found, ragas_scores(rows)] if ragas else found)
            long = long[was_read | ~long["metric"].isin(OF_ANSWERS)]
            kind_of = rows.set_index("question_id")["kind"]
            for name, scores in with_kinds(part, long, long["question_id"].map(kind_of)):
                tables.append(scores.assign(system=system, part=name))
    return check(pd.concat(tables), "scores")


def failures(
    questions: pd.DataFrame, answers_by_system: Mapping[str, pd.DataFrame], *, top_k: int, rule: str
) -> pd.DataFrame:
    """The kind of every answer, the table failures: the first of these that is true.

    right: exact match, whatever the evidence says. wrong z: the system ranks, and no gold document is among its first
    `answer.top_k`, or, of `long-context`, in its whole ranking, which is what it was given. wrong evidence: it was given
    evidence, and no gold answer stands there. wrong reading: all the rest, and every wrong answer of `closed-book`,
    which has only the reader.
    """
    tables = []
    for system, answers in answers_by_system.items():
        rows = joined(questions, answers)
        rows["failure"] = [_failure(row, system, top_k=top_k, rule=rule) for row in rows.itertuples()]
        for part, mine in rows.groupby("part", sort=False):
            for name, some in with_kinds(part, mine, mine["kind"]):
                tables.append(some.assign(system=system, part=name))
    return check(pd.concat(tables), "failures")


def summarise(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Mean, bootstrap interval and n of every metric by system and part, the table summary.

    Values that are NaN are not in the mean nor in n; where there are any, a row METRIC_nan gives their share of all.
    """
    rows = []
    for key, values in scores.groupby(["system", "part", "metric"], sort=False)["value"]:
        system, part, metric = key
        estimates = {metric: bootstrap_mean(values, samples, seed)}
        if values.isna().any():
            estimates[f"{metric}_nan"] = bootstrap_mean(values.isna(), samples, seed)
        rows += [{"system": system, "part": part, "metric": name, **vars(one)} for name, one in estimates.items()]
    return check(pd.DataFrame(rows, columns=list(TABLES["summary"])), "summary")


def retention_table(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """What z keeps of what the gold passage's text brings the same reader, part by part: the table retention.

    (F1 with the gold document's z - closed book) / (F1 with its text - closed book) over the questions that all three
    answered, resampled together; NaN, not defined, where the text brings less than LEAST_GAIN.
    """
    rows, three = [], ["zmem-oracle", "closed-book", "gold-passage"]
    for part, some in scores[scores["metric"] == "f1"].groupby("part", sort=False):
        wide = some.pivot(index="question_id", columns="system", values="value").reindex(columns=three).dropna()
        if wide.empty:
            continue
        gain = wide["gold-passage"].mean() - wide["closed-book"].mean()
        found = bootstrap(retention, wide.to_numpy().T, samples=samples, seed=seed)
        if gain < LEAST_GAIN:
            found = Estimate(np.nan, np.nan, np.nan, found.n)
        rows.append({"part": part, **vars(found), "text_gain": gain})
    frame = pd.DataFrame(rows, columns=list(TABLES["retention"])).astype({"value": float})
    return check(frame, "retention")


def joined(questions: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """One row per answer, with its question's answers, gold documents, kind and reference contexts (none: empty)."""
    if "reference_contexts" not in questions:
        questions = questions.assign(reference_contexts=[[] for _ in range(len(questions))])
    unknown = set(answers["question_id"]) - set(questions["question_id"])
    if unknown:
        raise BadInput(
            f"answers name question {min(unknown)!r}, which questions.parquet does not have: "
            "run the chapters from 05 on again, the corpus has changed since"
        )
    columns = ["question_id", "answers", "gold_doc_ids", "kind", "reference_contexts"]
    return answers.merge(questions[columns], on="question_id", how="left", validate="many_to_one")


def with_kinds(part: str, rows: pd.DataFrame, kinds: pd.Series) -> Iterator[tuple[str, pd.DataFrame]]:
    """The part's rows under its own name, then, of seen questions, those of each kind under the kind's name."""
    yield part, rows
    for kind in KINDS if part == "seen" else ():
        kept = rows[(kinds == kind).to_numpy()]
        if len(kept):
            yield kind, kept


def ranks(answers: pd.DataFrame) -> bool:
    """Whether the system of these answers ranks documents; one that is given its evidence does not."""
    return any(len(doc_ids) for doc_ids in answers["ranked_doc_ids"])


def _answer_scores(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    values = {
        "em": [em(row.answer, row.answers, rule) for row in rows.itertuples()],
        "f1": [f1(row.answer, row.answers, rule) for row in rows.itertuples()],
        "answer_in_evidence": [answer_in_evidence(row.evidence, row.answers, rule) for row in rows.itertuples()],
        **{name: [count(row.answer, row.answers) for row in rows.itertuples()] for name, count in FIELD.items()},
        **{name: rows[name].astype(float) for name in MEASURED},
    }
    return pd.DataFrame({"question_id": rows["question_id"], **values}).melt(id_vars="question_id", var_name="metric")


def _ranking_scores(rows: pd.DataFrame) -> pd.DataFrame:
    if not ranks(rows):
        return pd.DataFrame(columns=["question_id", "metric", "value"], dtype=object).astype({"value": float})
    ranked = dict(zip(rows["question_id"], rows["ranked_doc_ids"], strict=True))
    return retrieval_scores(dict(zip(rows["question_id"], rows["gold_doc_ids"], strict=True)), ranked)


def _failure(row: tuple, system: str, *, top_k: int, rule: str) -> str:
    if em(row.answer, row.answers, rule):
        return "right"
    given = row.ranked_doc_ids if system == "long-context" else row.ranked_doc_ids[:top_k]
    if len(given) and not set(row.gold_doc_ids) & set(given):
        return "wrong z"
    if system != "closed-book" and not answer_in_evidence(row.evidence, row.answers, rule):
        return "wrong evidence"
    return "wrong reading"

"""From answers to scores, from scores to the summary, and the counts that explain them.

Takes questions and answers by system; returns the tables scores, summary and failures, and of rankings selectors.
Beside what metrics.py counts stands whether a ranking's first document is a new one (new_first tells a system that
favours the new from one that finds). What a wrong z writes is held against two levels of chance, which are in no
system's hand: how often a gold answer stands in the gold evidence of questions about other documents, drawn at random
(`chance`), or of those with the most words in common (`chance-alike`). These ask for the same kind of thing: a model
that has learned how documents are written, and nothing of this one, can do as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.combinations import refuse_untested
from zmem_lib.evaluation import metrics
from zmem_lib.evaluation.metrics import METRICS, answer_in_evidence, retrieval_scores
from zmem_lib.evaluation.primary import planned, primary_table
from zmem_lib.evaluation.stats import grouped_means
from zmem_lib.files import BadInput
from zmem_lib.meter import progress
from zmem_lib.params import Params, changed
from zmem_lib.systems.collection import finished_params, open_collection
from zmem_lib.systems.evidence import pick_questions
from zmem_lib.systems.systems import SYSTEMS, System
from zmem_lib.tables import CHANCES, KINDS, PARTS, check, no_rows, read_table
from zmem_lib.text import passages, sentence_spans
from zmem_lib.text import words as cut

POOL = 2000  # questions of all splits whose evidence may be drawn by chance
DRAWN, ALIKE = 50, 10  # pieces of evidence per question, over which its value is the mean
PRINTED = ("answer_in_evidence", "em", "recall@1")


def with_references(questions: pd.DataFrame, tuples: pd.DataFrame) -> pd.DataFrame:
    """The questions with a column `reference_contexts`: the sentences of the evidence of each question's tuples."""
    by_question: dict[str, dict[str, None]] = {}
    for question_id, text in zip(tuples["question_id"], tuples["evidence"], strict=True):
        sentences = by_question.setdefault(question_id, {})
        sentences.update((text[start:end], None) for start, end in sentence_spans(text))
    references = [list(by_question.get(question_id, ())) for question_id in questions["question_id"]]
    return questions.assign(reference_contexts=pd.Series(references, questions.index, dtype=object))


def score_answers(
    questions: pd.DataFrame, docs: pd.DataFrame, answers_by_system: Mapping[str, pd.DataFrame], params: Params,
    *, ragas: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Every metric of every answer: the table scores.

    Questions from `with_references` are also held against ragas' context measures. A system without a ranking of its
    own has no retrieval measures, a run where nobody reads none of reading; without `ragas` its slow ones are left.
    """
    counts = {name: one.count for name, one in METRICS.items() if one.count and one.corpus in ("", params.corpus.name)}
    rule, tables = params.corpus.normalisation, []
    for system, answers in progress(answers_by_system.items(), "scoring systems", len(answers_by_system)):
        rows = joined(questions, answers)
        values = {name: [float(count(row, rule)) for row in rows.itertuples()] for name, count in counts.items()}
        values |= _of_documents(rows, docs, grounded=SYSTEMS[system].grounded)
        parts = [pd.DataFrame({"question_id": rows["question_id"], **values}).melt("question_id", var_name="metric")]
        parts += [retrieval_scores(rows)] if ranks(rows) and SYSTEMS[system].own_ranking else []
        parts += [metrics.ragas_scores(rows)] if ragas else []
        place = rows[["question_id", "part", "kind", "cluster"]].assign(system=system)
        tables.append(place.merge(pd.concat(parts), on="question_id", validate="one_to_many"))
    scores = pd.concat(tables)
    unread = [name for name, metric in METRICS.items() if metric.reader and not params.has_lm]
    return check(scores[~scores["metric"].isin(unread)], "scores")


def chance_scores(
    questions: pd.DataFrame, tuples: pd.DataFrame, answers: pd.DataFrame | None, *, rule: str, seed: int
) -> pd.DataFrame:
    """`answer_in_evidence` at both levels of chance for every question that `answers` has: rows of the table scores.

    None for none, of a run without a memory: there is no wrong z to hold against them.
    """
    if answers is None:
        return no_rows("scores")
    pool = tuples.sample(min(len(tuples), POOL), random_state=seed)
    evidence, doc_ids = pool["evidence"].to_numpy(), pool["doc_id"]
    words, rng = [words_of(question, rule) for question in pool["question"]], np.random.default_rng(seed)
    rows = joined(questions, answers[["question_id", "part"]])
    asked, values = rows["question_id"].map(questions.set_index("question_id")["question"]), []
    for question, golds, gold_doc_ids in zip(asked, rows["answers"], rows["gold_doc_ids"], strict=True):
        others = np.flatnonzero(~doc_ids.isin(gold_doc_ids).to_numpy())
        alike = likeness(words_of(question, rule), words)[others]
        nearest = others[np.argsort(-alike, kind="stable")[:ALIKE]]
        chosen = rng.choice(others, min(DRAWN, len(others)), replace=False), nearest
        hits = [[answer_in_evidence(text, golds, rule) for text in evidence[places]] for places in chosen]
        values.append([np.mean(some) if some else np.nan for some in hits])
    rows[list(CHANCES)] = np.array(values, dtype=float).reshape(-1, len(CHANCES))  # (Q,2)
    long = rows.melt(["question_id", "part", "kind", "cluster"], list(CHANCES), "system")
    return check(long.assign(metric="answer_in_evidence"), "scores")


def likeness(words: set[str], others: Sequence[set[str]]) -> np.ndarray:
    """The share (P,) of the words of both that a question has in common with each of the others (Jaccard)."""
    return np.array([len(words & some) / max(len(words | some), 1) for some in others])


def words_of(question: str, rule: str) -> set[str]:
    """A question's words, normalised as answers are."""
    return set(cut(metrics.NORMALISE[rule](question)))


def failures(
    questions: pd.DataFrame, answers_by_system: Mapping[str, pd.DataFrame], *, top_k: int, rule: str
) -> pd.DataFrame:
    """The kind of every answer, the table failures: the first of these that is true.

    right: exact match, whatever the evidence says. wrong z: the system ranks, and no gold document is among those that
    it hands over. wrong evidence: it was given evidence, and no gold answer stands there. wrong reading: all the rest.
    """
    tables = []
    for system, answers in answers_by_system.items():
        rows = joined(questions, answers).assign(system=system)
        rows["failure"] = [_failure(row, SYSTEMS[system], top_k=top_k, rule=rule) for row in rows.itertuples()]
        tables.append(rows)
    return check(kinds_as_parts(pd.concat(tables)), "failures")


def summarise(scores: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Mean, interval and counts of every metric by system and part, kinds as parts too: the table summary.

    Values that are NaN are not in the mean nor in n; where there are any, a row METRIC_nan gives their share of all.
    """
    place, scores = ["system", "part", "metric"], kinds_as_parts(scores)
    missing = scores["value"].isna()
    some = missing.groupby([scores[name] for name in place]).transform("any")
    shares = scores[some].assign(metric=lambda rows: rows["metric"] + "_nan", value=missing[some].astype(float))
    return check(grouped_means(pd.concat([scores, shares]), place, samples, seed), "summary")


def selector_table(questions: pd.DataFrame, rankings: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Retrieval measures and seconds per question of every selector and part, kinds of seen questions included."""
    tables = []
    for _, rows in joined(questions, rankings).groupby("selector", sort=False):
        place = rows[["question_id", "selector", "part", "kind", "cluster"]]
        tables.append(place.merge(retrieval_scores(rows), on="question_id"))
        tables.append(place.assign(metric="seconds", value=rows["seconds"]))
    values = kinds_as_parts(pd.concat(tables))
    return check(grouped_means(values, ["selector", "part", "metric"], samples, seed), "selectors")


def score_run(
    folder: Path, systems: Sequence[str], *, questions: int = 0, blocks: str = "", reads: bool = True
) -> pd.DataFrame:
    """All test questions of a run scored anew, where its chapters ask a sample: the table scored.

    A row for every part, measure and system, and, as a difference, for every primary test between two of the systems.
    `questions` are of each part and kind, 0 is all. `blocks` joint takes those that training left. Chapters up to 04
    suffice for systems that need not find their document; without `reads` the evidence alone is written and scored.
    """
    finds = any(SYSTEMS[name].compared for name in systems if name in SYSTEMS)
    params = finished_params(folder, 5 if finds else 4)
    refuse_untested(params, "scoring")
    params = changed(params, {"answer.questions": questions} | ({"write.seen": blocks} if blocks else {}))
    collection = open_collection(folder, params=params, added=False)
    picked = pick_questions(read_table(folder / "questions.parquet", "questions"), params)
    answers = collection.ask(picked[picked["part"] != "trained"].reset_index(drop=True), systems, reads=reads)
    by_system = {name: answers[answers["system"] == name] for name in systems}
    scores = score_answers(picked, collection.docs, by_system, params, ragas=False)
    shown = scores[scores["metric"].isin([name for name in PRINTED if reads or not METRICS[name].reader])]
    drawn = {"samples": params.evaluate.bootstrap_samples, "seed": params.seed}
    place = {name: number for number, name in enumerate((*PARTS, *PRINTED))}
    summary = summarise(shown, **drawn)
    summary = summary.sort_values(["part", "metric"], key=lambda names: names.map(place), kind="stable")
    tests = primary_table(shown, **drawn, tests=planned(params.evaluate.primary), margin=params.evaluate.margin)
    tests = tests[tests["n"] > 0].assign(
        part=lambda rows: minus(rows["first_part"], rows["second_part"]),
        system=lambda rows: minus(rows["first"], rows["second"]),
    )
    table = pd.concat([summary, tests[[*summary.columns, "p_holm"]]], ignore_index=True)
    return check(table.assign(blocks=params.write.seen), "scored")


def minus(first: pd.Series, second: pd.Series) -> pd.Series:
    """What a difference is of: one name where both sides have the same."""
    return first.where(first == second, first + " - " + second)


def scored_lines(table: pd.DataFrame) -> Iterator[str]:
    """The rows of the table scored, a line each."""
    for row in table.to_dict("records"):
        interval = f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        p = f", p = {row['p_holm']:.4f} (Holm)" if row["p_holm"] >= 0 else ""  # none of a mean
        place = f"{row['part']:17} {row['metric']:19} {row['system']:14}"
        yield f"{place} {interval}  n = {row['n']} from {row['clusters']} documents{p}"


def joined(questions: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """One row per answer, with its question's answers, gold documents, kind, cluster and reference contexts."""
    if "reference_contexts" not in questions:
        questions = questions.assign(reference_contexts=questions["question_id"].map(lambda _: []))
    if unknown := set(answers["question_id"]) - set(questions["question_id"]):
        raise BadInput(
            f"answers name question {min(unknown)!r}, which questions.parquet does not have: "
            "run the chapters from 05 on again, the corpus has changed since"
        )
    columns = ["question_id", "answers", "gold_doc_ids", "kind", "reference_contexts"]
    answers = answers.drop(columns="kind", errors="ignore")
    rows = answers.merge(questions[columns], on="question_id", how="left", validate="many_to_one")
    return rows.assign(cluster=rows["question_id"].map(clusters_of(questions)))


def clusters_of(questions: pd.DataFrame) -> dict[str, str]:
    """What each question belongs together with, by its id: its first gold document, or itself where it has none."""
    pairs = zip(questions["question_id"], questions["gold_doc_ids"], strict=True)
    return {question_id: golds[0] if len(golds) else question_id for question_id, golds in pairs}


def kinds_as_parts(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, and those of each kind of seen and new questions once more, the kind in the place of their part."""
    kinds = [(part, kind) for part, some in KINDS.items() for kind in some]
    again = [rows[(rows["part"] == part) & (rows["kind"] == kind)].assign(part=kind) for part, kind in kinds]
    return pd.concat([rows, *again], ignore_index=True)


def ranks(answers: pd.DataFrame) -> bool:
    """Whether the system of these answers ranks documents; one that is given its evidence does not."""
    return any(map(len, answers["ranked_doc_ids"]))


def _of_documents(rows: pd.DataFrame, docs: pd.DataFrame, *, grounded: bool) -> dict[str, list[float]]:
    """Whether a ranking's first document is a new one; how much of `grounded` evidence stands in it, or the given."""
    values, first = {}, [ids[0] if len(ids) else "" for ids in rows["ranked_doc_ids"]]
    if ranks(rows):
        new = set(docs.loc[docs["part"] == "new", "doc_id"])
        values["new_first"] = [float(doc_id in new) for doc_id in first]
    if grounded:
        text_of = dict(zip(docs["doc_id"], passages(docs), strict=True))
        written = [items[0] if len(items) else "" for items in rows["evidence"]]
        source = [text_of[doc_id or gold[0]] for doc_id, gold in zip(first, rows["gold_doc_ids"], strict=True)]
        for share in (metrics.evidence_overlap, metrics.evidence_substring):
            values[share.__name__] = [share(*pair) for pair in zip(written, source, strict=True)]
    return values


def _failure(row: Any, system: System, *, top_k: int, rule: str) -> str:
    if metrics.em(row.answer, row.answers, rule):
        return "right"
    given = row.ranked_doc_ids if system.hands == "packed" else row.ranked_doc_ids[:top_k]
    if len(given) and not set(row.gold_doc_ids) & set(given):
        return "wrong z"
    if system.given != "nothing" and not answer_in_evidence("\n".join(row.evidence), row.answers, rule):
        return "wrong evidence"
    return "wrong reading"

"""Answers and evidence judged: by a language model at an address, or by a local model of entailment, or not at all.

Takes questions, documents and answers by system; returns verdicts in the form of scores, and who judged, how and at
what cost. Every compared system is judged on the same questions, a sample per part. The address judges by ragas'
measures, RAGChecker's and RAGBench's; the model of entailment, which writes no claims, by RAGChecker's alone.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zmem_lib.evaluation.scoring import joined, kinds_as_parts
from zmem_lib.files import hash_path
from zmem_lib.judges import ask
from zmem_lib.judges.ask import Judge
from zmem_lib.judges.by_ragas import JUDGED, judged_by_ragas, ragas_prompts
from zmem_lib.judges.entailment import entailed, load_entailer, sentence_claims
from zmem_lib.judges.figures import CHECKER, TRACE, checker, keyed, trace
from zmem_lib.memory.lm import pick_device
from zmem_lib.opponents.dense import load_encoder
from zmem_lib.params import Params, named
from zmem_lib.systems.systems import compared
from zmem_lib.tables import TEST_PARTS, check, no_rows

RAGAS_METRICS = tuple(f"ragas_{name}" for name in JUDGED)
CHECKER_METRICS = tuple(f"checker_{name}" for name in CHECKER)
TRACE_METRICS = tuple(f"ragbench_{name}" for name in TRACE)
JUDGE_METRICS = {"none": (), "nli": CHECKER_METRICS, "api": (*RAGAS_METRICS, *CHECKER_METRICS, *TRACE_METRICS)}

Answers = Mapping[str, pd.DataFrame]  # by system
Values = list[dict[str, float]]  # by row of the items: values by metric


def judge_answers(
    questions: pd.DataFrame, docs: pd.DataFrame, answers_by_system: Answers, params: Params, folder: Path
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The table verdicts, and what is to be known of the judge: name, prompts, failures and cost; no path of a machine.

    `folder` is the run's.
    """
    evaluate = params.evaluate
    if evaluate.judge == "none":
        return no_rows("verdicts"), {"judge": "none"}
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an optional package when it is imported
    items = judged_items(questions, docs, answers_by_system, params)
    labels = Path(evaluate.human_labels)
    about: dict[str, object] = {
        "judge": evaluate.judge,
        "model": named(evaluate.judge_model),
        "answers": len(items),
        "human_labels": labels.name,
        "human_labels_hash": hash_path(labels) if labels.is_file() else "",
    }
    if evaluate.judge == "nli":
        entailer = load_entailer(evaluate.judge_model, params.machine.device)
        values = {"checker_": by_ragchecker(items, sentence_claims, partial(entailed, entailer))}
        return verdicts(items, values), about | {"labels": entailer.model.config.id2label}
    judge = ask.judge_at_address(params, folder)
    values = {
        "ragas_": by_ragas(items, judge, params),
        "checker_": by_ragchecker(items, partial(ask.ask_claims, judge), partial(ask.ask_entailed, judge)),
        "ragbench_": by_ragbench(items, judge),
    }
    replies = [reply for reply in judge.replies.values() if reply is not None]
    about |= {"url": params.answer.api_url, "conversations": len(judge.replies), "reply_tokens": ask.REPLY_TOKENS}
    about |= {name: judge.tally[name] for name in ("asked", "unanswered", "unreadable")}
    cost = ("input_tokens", "output_tokens", "money")
    about |= {name: sum(getattr(reply, name) for reply in replies) for name in cost}
    return verdicts(items, values), about | {"prompts": ask.PROMPTS | ragas_prompts(), "ragas": version("ragas")}


def judged_items(
    questions: pd.DataFrame, docs: pd.DataFrame, answers_by_system: Answers, params: Params
) -> pd.DataFrame:
    """Answers of the compared systems to the sampled questions of each part, with question, gold answers and chunks."""
    title_of = dict(zip(docs["doc_id"], docs["title"], strict=True))
    samples = []
    for system in (name for name in compared() if name in answers_by_system):
        rows = joined(questions, answers_by_system[system]).sort_values("question_id")
        for _, some in rows[rows["part"].isin(TEST_PARTS)].groupby("part", sort=True):
            size = min(params.evaluate.judge_questions or len(some), len(some))
            samples.append(some.sample(size, random_state=params.seed).assign(system=system))
    items = pd.concat(samples, ignore_index=True)
    titles = [{title_of[doc_id] for doc_id in ids[: params.answer.top_k]} for ids in items["ranked_doc_ids"]]
    items["chunks"] = [chunks("\n".join(texts), names) for texts, names in zip(items["evidence"], titles, strict=True)]
    return items.assign(question=items["question_id"].map(questions.set_index("question_id")["question"]))


def chunks(evidence: str, titles: set[str]) -> list[str]:
    """The pieces of an evidence: its lines, a line that is the title of a document together with the next one."""
    pieces, title = [], ""
    for line in filter(str.strip, evidence.split("\n")):
        if line in titles and not title:
            title = f"{line}\n"
        else:
            pieces.append(title + line)
            title = ""
    return [*pieces, title.strip()] if title else pieces


def by_ragas(items: pd.DataFrame, judge: Judge, params: Params) -> Values:
    """ragas' judged measures, with the run's own sentence encoder."""
    encoder = load_encoder(params.answer.dense_model, str(pick_device(params.machine.device)))
    return judged_by_ragas(items, partial(ask.ask_json, judge), partial(encoder.encode, show_progress_bar=False))


def by_ragchecker(
    items: pd.DataFrame, split: Callable[[Sequence], list], entail: Callable[[Sequence], list[np.ndarray]]
) -> Values:
    """RAGChecker's figures: claims by `split`, entailment by `entail`. The gold answer is the first one, as there."""
    rows: list[Any] = list(items.itertuples())
    golds = [row.answers[0] if len(row.answers) else "" for row in rows]
    of_answer, of_gold = (split(list(zip(items["question"], texts, strict=True))) for texts in (items["answer"], golds))
    checks = []
    for row, gold, *claims in zip(rows, golds, of_answer, of_gold, strict=True):
        for some, other in zip(claims, (gold, row.answer), strict=True):
            checks += [(some or (), other, row.question), *((some or (), chunk, "") for chunk in row.chunks)]
    verdict, values = iter(entail(checks)), []
    for row, *claims in zip(rows, of_answer, of_gold, strict=True):
        n = 1 + len(row.chunks)
        tables = [np.stack([next(verdict) for _ in range(n)], 1) for _ in claims]  # (R,1+C), (G,1+C)
        unknown = np.full((1, n), np.nan)  # claims that the judge failed to make: one without a verdict
        answer, gold = (unknown if some is None else table for some, table in zip(claims, tables, strict=True))
        values.append(checker(answer[:, 0], gold[:, 0], answer[:, 1:], gold[:, 1:]))
    return values


def by_ragbench(items: pd.DataFrame, judge: Judge) -> Values:
    """RAGBench's four, from the sentences that the judge names; NaN where it failed."""
    rows = zip(items["question"], items["chunks"], items["answer"], strict=True)
    asked = [(question, keyed(texts, "."), keyed([answer], "r")) for question, texts, answer in rows]
    replies = zip(asked, ask.ask_keys(judge, asked), strict=True)
    return [trace(*both, **keys) if keys else dict.fromkeys(TRACE, np.nan) for (_, *both), keys in replies]


def verdicts(items: pd.DataFrame, values: Mapping[str, Values]) -> pd.DataFrame:
    """The table verdicts: values by metric, under the part and, of seen questions, under their kind too."""
    wide = pd.concat([pd.DataFrame(rows).add_prefix(prefix) for prefix, rows in values.items()], axis=1)
    place = ["question_id", "system", "part", "kind", "cluster"]
    wide = wide.set_index(pd.MultiIndex.from_frame(items[place]))
    long = wide.reset_index().melt(place, var_name="metric")
    return check(kinds_as_parts(long), "verdicts")

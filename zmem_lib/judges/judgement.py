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

import numpy as np
import pandas as pd

from zmem_lib.evaluation.scoring import joined, kinds_as_parts
from zmem_lib.files import hash_path
from zmem_lib.judges.ask import REPLY_TOKENS, Judge, ask_claims, ask_entailed, ask_json, judge_at_address, keys_of
from zmem_lib.judges.by_ragas import JUDGED, judged_by_ragas, ragas_prompts
from zmem_lib.judges.claims import FIGURES, figures
from zmem_lib.judges.entailment import entailed, load_entailer, sentence_claims
from zmem_lib.judges.prompts import TEXTS, said, sentences_that_matter
from zmem_lib.judges.trace import TRACE, keyed, trace
from zmem_lib.memory.base_lm import pick_device
from zmem_lib.opponents.dense import load_encoder
from zmem_lib.params import Params
from zmem_lib.tables import COMPARED, TABLES, TEST_PARTS, check

RAGAS_METRICS = tuple(f"ragas_{name}" for name in JUDGED)
CHECKER_METRICS = tuple(f"checker_{name}" for name in FIGURES)
TRACE_METRICS = tuple(f"ragbench_{name}" for name in TRACE)
JUDGE_METRICS = {"none": (), "nli": CHECKER_METRICS, "api": (*RAGAS_METRICS, *CHECKER_METRICS, *TRACE_METRICS)}

Found = list[dict[str, float]]  # by row of the items: values by metric


def judge_answers(
    questions: pd.DataFrame,
    docs: pd.DataFrame,
    answers_by_system: Mapping[str, pd.DataFrame],
    params: Params,
    folder: Path,
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The table verdicts, and what is to be known of the judge: name, prompts, failures and cost."""
    if params.evaluate.judge == "none":
        empty = pd.DataFrame(columns=list(TABLES["verdicts"])).astype({"value": float})
        return check(empty, "verdicts"), {"judge": "none"}
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an optional package when it is imported
    items = judged_items(questions, docs, answers_by_system, params)
    if params.evaluate.judge == "nli":
        entailer = load_entailer(params.evaluate.judge_model, params.machine.device)
        found = {"checker_": by_ragchecker(items, sentence_claims, partial(entailed, entailer))}
        about: dict[str, object] = {"labels": entailer.model.config.id2label}
    else:
        judge = judge_at_address(params, folder)
        found = {
            "ragas_": by_ragas(items, judge, params),
            "checker_": by_ragchecker(items, partial(ask_claims, judge), partial(ask_entailed, judge)),
            "ragbench_": by_ragbench(items, judge),
        }
        about = {
            "url": params.answer.api_url,
            **bill(judge),
            "prompts": TEXTS | ragas_prompts(),
            "ragas": version("ragas"),
        }
    known = {"judge": params.evaluate.judge, "model": params.evaluate.judge_model, "answers": len(items)}
    labels = Path(params.evaluate.human_labels)
    known["human_labels"] = hash_path(labels) if labels.is_file() else ""
    return verdicts(items, found), known | about


def judged_items(
    questions: pd.DataFrame, docs: pd.DataFrame, answers_by_system: Mapping[str, pd.DataFrame], params: Params
) -> pd.DataFrame:
    """Answers of the compared systems to the sampled questions of each part, with question, gold answers and chunks."""
    title_of = dict(zip(docs["doc_id"], docs["title"], strict=True))
    tables = []
    for system in (name for name in COMPARED if name in answers_by_system):
        rows = joined(questions, answers_by_system[system]).sort_values("question_id")
        for _, some in rows[rows["part"].isin(TEST_PARTS)].groupby("part", sort=True):
            size = min(params.evaluate.judge_questions or len(some), len(some))
            tables.append(some.sample(size, random_state=params.seed).assign(system=system))
    items = pd.concat(tables, ignore_index=True)
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


def by_ragas(items: pd.DataFrame, judge: Judge, params: Params) -> Found:
    """ragas' judged measures, with the run's own sentence encoder."""
    encoder = load_encoder(params.answer.dense_model, str(pick_device(params.machine.device)))

    def ask(prompts: list[str], reads: list[Callable[[str], object]]) -> list[object]:
        return ask_json(judge, [said(prompt) for prompt in prompts], reads)

    return judged_by_ragas(items, ask, partial(encoder.encode, show_progress_bar=False))


def by_ragchecker(
    items: pd.DataFrame, split: Callable[[Sequence], list], entail: Callable[[Sequence], list[np.ndarray]]
) -> Found:
    """RAGChecker's figures: claims by `split`, entailment by `entail`. The gold answer is the first one, as there."""
    golds = [(row.question, row.answers[0] if len(row.answers) else "") for row in items.itertuples()]
    answers = list(zip(items["question"], items["answer"], strict=True))
    of_answer, of_gold = split(answers), split(golds)
    checks = []
    for row, mine, right, gold in zip(items.itertuples(), of_answer, of_gold, golds, strict=True):
        checks += [(mine or (), gold[1], row.question), (right or (), row.answer, row.question)]
        checks += [(claims or (), chunk, "") for claims in (mine, right) for chunk in row.chunks]
    entailed_claims, found = iter(entail(checks)), []
    for row, mine, right in zip(items.itertuples(), of_answer, of_gold, strict=True):
        vectors = [next(entailed_claims) for _ in range(2 + 2 * len(row.chunks))]
        found.append(_figures(vectors, mine, right))
    return found


def _figures(vectors: list[np.ndarray], mine: list[str] | None, right: list[str] | None) -> dict[str, float]:
    """The figures from an answer's entailment; claims that the judge failed to make count as one left out."""
    half = (len(vectors) - 2) // 2
    by_gold, by_answer, *by_chunks = vectors
    lengths = [1 if claims is None else len(claims) for claims in (mine, right)]
    by_chunk = [
        np.stack(some, 1) if some else np.zeros((length, 0))  # (R,C), (G,C)
        for some, length in zip((by_chunks[:half], by_chunks[half:]), lengths, strict=True)
    ]
    if mine is None:
        by_gold, by_chunk[0] = np.full(1, np.nan), np.full((1, half), np.nan)
    if right is None:
        by_answer, by_chunk[1] = np.full(1, np.nan), np.full((1, half), np.nan)
    return figures(by_gold, by_answer, *by_chunk)


def by_ragbench(items: pd.DataFrame, judge: Judge) -> Found:
    """RAGBench's four, from the sentences that the judge names; NaN where it failed."""
    prompts, reads, sentences = [], [], []
    for row in items.itertuples():
        context, answer = keyed(row.chunks, "."), keyed([row.answer], "r")
        allowed = {"relevant": set(context), "used": set(context), "supported": set(answer)}
        prompts.append(sentences_that_matter(row.question, context, answer))
        reads.append(partial(keys_of, allowed=allowed))
        sentences.append((context, answer))
    replies = ask_json(judge, prompts, reads)
    failed = dict.fromkeys(TRACE, np.nan)
    return [failed if named is None else trace(*both, **named) for both, named in zip(sentences, replies, strict=True)]


def verdicts(items: pd.DataFrame, found: Mapping[str, Found]) -> pd.DataFrame:
    """The table verdicts: values by metric, under the part and, of seen questions, under their kind too."""
    wide = pd.concat([pd.DataFrame(rows).add_prefix(prefix) for prefix, rows in found.items()], axis=1)
    wide = wide.set_index(pd.MultiIndex.from_frame(items[["question_id", "system", "part", "kind"]]))
    long = wide.reset_index().melt(["question_id", "system", "part", "kind"], var_name="metric")
    return check(kinds_as_parts(long), "verdicts")


def bill(judge: Judge) -> dict[str, object]:
    """What was asked, what failed and what it cost, every conversation once."""
    replies = [reply for reply in judge.replies.values() if reply is not None]
    return {
        **{name: judge.tally[name] for name in ("asked", "unanswered", "unreadable")},
        "conversations": len(judge.replies),
        "input_tokens": sum(reply.input_tokens for reply in replies),
        "output_tokens": sum(reply.output_tokens for reply in replies),
        "money": sum(reply.money for reply in replies),
        "reply_tokens": REPLY_TOKENS,
    }

"""Knowing when not to answer: how sure a system is of an answer, and what it gains by answering only when it is sure.

Confidence, more is surer: `top` (score of the best document), `margin` (that minus the second one's) and, of z-memory
alone, `likelihood` (mean log p of the question's tokens given the chosen z) and `entropy` (minus that of the first
evidence token, in nats). Every answer to a question without a document is wrong; half of these questions serve to find
a threshold, with as many dev questions, and the other half to test it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from zmem_lib.cache import inside
from zmem_lib.evaluation.metrics import em
from zmem_lib.evaluation.risk import BOUNDS, aurc, auroc, coverage_at, threshold
from zmem_lib.evaluation.scoring import clusters_of, ranks
from zmem_lib.evaluation.stats import Estimate, bootstrap, bootstrap_mean
from zmem_lib.memory.choose import question_log_p
from zmem_lib.memory.likelihood import counted_logits
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.meter import memory_explained
from zmem_lib.params import Params
from zmem_lib.systems.collection import Collection
from zmem_lib.systems.cost import answered
from zmem_lib.tables import ABSENT, TABLES, TEST_PARTS, check, no_rows, read_table

ASIDE = "-aside"  # of the answers to questions that no other table counts
ABSENT_DEV, DEV = "absent-dev", "dev"  # parts of those questions that serve to find a threshold


def to_ask(absent: pd.DataFrame, questions: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Questions without a document, and as many dev questions as there are dev ones of them, to find a threshold."""
    parts = absent["split"].map({"test": ABSENT, "dev": ABSENT_DEV})
    none = absent.assign(gold_doc_ids=absent["split"].map(lambda _: []), part=parts)
    dev = questions[questions["split"].isin(["dev", "new-dev"])]
    dev = dev.sample(min(len(dev), int((parts == ABSENT_DEV).sum())), random_state=params.seed).assign(part=DEV)
    columns = ["question_id", "question", "gold_doc_ids", "part"]
    return pd.concat([none[columns], dev[columns]], ignore_index=True)


def answer_aside(asked: pd.DataFrame, systems: Sequence[str], collection: Collection) -> dict[str, pd.DataFrame]:
    """The systems' answers to questions of `to_ask`, kept apart as answers_SYSTEM-aside.parquet; none for none."""
    if asked.empty:
        return {}
    apart = replace(collection, cache=inside(collection.cache, "aside"))  # of a scan with other questions
    return {name: answered(name, asked, apart, suffix=ASIDE)[0] for name in systems}


def with_aside(folder: Path, answers_by_system: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The answers of every system that ranks documents, those that a run's folder has of it aside included."""
    found = {name: answers for name, answers in answers_by_system.items() if ranks(answers)}
    for name, answers in found.items():
        if (path := folder / f"answers_{name}{ASIDE}.parquet").is_file():
            found[name] = pd.concat([answers, read_table(path, "answers")], ignore_index=True)
    return found


@torch.no_grad()
def first_token_entropy(memory_lm: MemoryLM, z: Tensor, questions: list[str], *, batch: int) -> Tensor:
    """Entropy (B,), in nats, of the first evidence token given z (B,K,W) and the question, `batch` at a time."""
    found = []
    for begin in range(0, len(questions), batch):
        some = slice(begin, begin + batch)
        rows = [memory_lm.prompts.evidence(question, "", 0) for question in questions[some]]  # of which the end counts
        with memory_explained("machine.answer_batch"):
            logits, *_ = counted_logits(memory_lm, z[some], rows, "evidence")  # (B,V)
        log_p = logits.log_softmax(-1)  # (B,V)
        found.append(torch.special.entr(log_p.exp()).sum(-1).cpu())
    return torch.cat(found) if found else torch.empty(0)  # (B,)


def question_likelihood(memory_lm: MemoryLM, z: Tensor, questions: list[str], *, batch: int) -> Tensor:
    """Mean log p of a question's tokens given z (B,K,W): (B,), comparable between questions of any length."""
    rows = [memory_lm.prompts.question(question) for question in questions]
    tokens = torch.tensor([sum(term > 0 for term in row.terms) for row in rows], dtype=torch.float)
    return torch.tensor(question_log_p(memory_lm, z, rows, batch=batch)) / tokens.clamp(min=1)  # (B,)


def doubt_table(questions: pd.DataFrame, answers: pd.DataFrame, collection: Collection) -> pd.DataFrame:
    """What z-memory's own model says of each of its answers' chosen (first) z, the table doubt."""
    row_of, memory_lm, batch = collection.row_of, collection.memory_lm, collection.params.machine.answer_batch
    z = collection.z[[row_of[ids[0]] for ids in answers["ranked_doc_ids"]]]  # (B,K,W)
    asked = answers["question_id"].map(questions.set_index("question_id")["question"]).tolist()
    values = {
        "entropy": first_token_entropy(memory_lm, z, asked, batch=batch).double(),
        "likelihood": question_likelihood(memory_lm, z, asked, batch=batch).double(),
    }
    return check(pd.DataFrame({"question_id": list(answers["question_id"]), **values}), "doubt")


def confidence_table(
    questions: pd.DataFrame, absent: pd.DataFrame, answers_by_system: Mapping[str, pd.DataFrame],
    *, doubt: pd.DataFrame, rule: str,
) -> pd.DataFrame:  # fmt: skip
    """How sure every system is of every answer, and whether it is wrong (no exact match): the table confidence.

    Answers of `with_aside`; `doubt` adds its scores to `zmem`; `rule` is `corpus.normalisation`.
    """
    golds = dict(zip(questions["question_id"], questions["answers"], strict=True))
    kinds = dict(zip(absent["question_id"], absent["kind"], strict=True))
    clusters, tables = clusters_of(questions), []
    for system, answers in answers_by_system.items():
        rows = answers[["question_id", "part"]].assign(system=system, kind=answers["question_id"].map(kinds).fillna(""))
        pairs = zip(answers["answer"], answers["question_id"], strict=True)
        rows["wrong"] = [1 - int(em(answer, golds.get(question_id, ()), rule)) for answer, question_id in pairs]
        rows["top"] = [scores[0] for scores in answers["ranked_scores"]]
        rows["margin"] = [one[0] - one[1] if len(one) > 1 else float("inf") for one in answers["ranked_scores"]]
        rows["cluster"] = [clusters.get(question_id, question_id) for question_id in answers["question_id"]]
        if system == "zmem":
            rows = rows.merge(doubt.assign(entropy=-doubt["entropy"]), "left", "question_id", validate="one_to_one")
        tables.append(rows.melt(["question_id", "part", "system", "kind", "wrong", "cluster"], var_name="score"))
    return check(pd.concat(tables), "confidence") if tables else no_rows("confidence")


def abstention_table(confidence: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """What each score of confidence is worth, with bootstrap intervals: the table abstention.

    Parts answerable, and all (with the absent questions): `aurc`, also of the orders BOUNDS, and `coverage@risk`, the
    largest share that can be answered with at most RISK of the answers wrong, as read from the same questions. Part
    absent, and each of its kinds: `auroc` of telling answerable from absent questions. At the threshold that is best on
    dev questions: `answered` of answerable, `refused` of absent, and `risk` of what it answers of all.
    """
    rows = []
    for (system, score), mine in confidence.groupby(["system", "score"], sort=False):
        for part, metric, found in _measured(mine, samples, seed):
            rows.append({"system": system, "part": part, "score": score, "metric": metric, **vars(found)})
    for system, mine in confidence.groupby("system", sort=False):
        for part, some in _test_parts(mine[mine["score"] == mine["score"].iloc[0]]).items():
            for score, order in zip(BOUNDS, (-some["wrong"], 0 * some["wrong"]), strict=True):
                found = bootstrap(aurc, (order, some["wrong"]), clusters=some["cluster"], samples=samples, seed=seed)
                rows.append({"system": system, "part": part, "score": score, "metric": "aurc", **vars(found)})
    return check(pd.DataFrame(rows, columns=list(TABLES["abstention"])), "abstention")


def _measured(rows: pd.DataFrame, samples: int, seed: int) -> Iterator[tuple[str, str, Estimate]]:
    """Part, metric and estimate of one system's one score."""
    parts, drawn = _test_parts(rows), {"samples": samples, "seed": seed}
    for part, some in parts.items():
        for metric, of in (("aurc", aurc), ("coverage@risk", coverage_at)):
            yield part, metric, bootstrap(of, (some["value"], some["wrong"]), clusters=some["cluster"], **drawn)
    test = parts.get("all", rows.head(0))
    kinds = test.loc[test["part"] == ABSENT, "kind"].unique()
    for name in (ABSENT, *(kinds if len(kinds) > 1 else ())) if len(kinds) else ():
        some = test[(test["part"] != ABSENT) | (name == ABSENT) | (test["kind"] == name)]
        columns = (some["value"], some["part"] != ABSENT)
        yield name, "auroc", bootstrap(auroc, columns, clusters=some["cluster"], **drawn)
    dev = rows[rows["part"].isin([DEV, ABSENT_DEV])]
    if len(kinds) and dev["part"].nunique() == 2:
        given = test["value"] >= threshold(dev["value"], dev["part"] == DEV)
        absent = test["part"] == ABSENT
        shares = {("answerable", "answered"): given[~absent], (ABSENT, "refused"): ~given[absent]}
        shares["all", "risk"] = test.loc[given, "wrong"]
        for (part, metric), values in shares.items():
            yield part, metric, bootstrap_mean(values, clusters=test.loc[values.index, "cluster"], **drawn)


def _test_parts(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The test questions that a document answers and, where there are any others, all test questions."""
    answerable, absent = rows["part"].isin(TEST_PARTS), rows["part"] == ABSENT
    parts = {"answerable": rows[answerable]} if answerable.any() else {}
    return parts | {"all": rows[answerable | absent]} if parts and absent.any() else parts

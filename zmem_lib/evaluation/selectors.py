"""How well each way of choosing documents does, on the same questions: rankings, and what they are worth.

Takes questions and a bench, returns the tables rankings (chapter 05) and selectors (chapter 06). The text twin's
ranking stands beside those of z-memory: the same language model and shortlist, text in the place of z.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from zmem_lib.evaluation.metrics import retrieval_scores
from zmem_lib.evaluation.scoring import joined, with_kinds
from zmem_lib.evaluation.stats import bootstrap_mean
from zmem_lib.memory.choose import Ranking
from zmem_lib.params import Params, flat
from zmem_lib.systems.collection import SELECTORS, Bench, by_text, has_text_twin
from zmem_lib.tables import TABLES, check

Selector = Callable[[list[str], Bench], Ranking]
TWIN = "text-twin"
NEEDS = {
    "key": "memory.key_width",
    "key_then_likelihood": "memory.key_width",
    "generated_id": "train.id_steps",
}  # not 0
TIMED = 20  # questions that a ranking is timed on which an answer has already


def selectors_of(params: Params) -> dict[str, Selector]:
    """The ways of choosing that a run's parameters allow, by name; the text twin's where its model reads texts."""
    found = {name: choose for name, choose in SELECTORS.items() if name not in NEEDS or flat(params)[NEEDS[name]]}
    return found | ({TWIN: by_text} if has_text_twin(params) else {})


def rank_all(questions: pd.DataFrame, bench: Bench, answers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every selector's ranking of the questions, and its seconds per question: the table rankings.

    The two slow rankings, the full scan and the text twin's, are taken from the answers where a system has made them;
    then they are timed on TIMED of the questions.
    """
    made = {"query_likelihood": "zmem" if bench.params.answer.select == "query_likelihood" else "", TWIN: TWIN}
    columns = ["question_id", "ranked_doc_ids", "ranked_scores"]
    tables = []
    for name, choose in selectors_of(bench.params).items():
        if (found := answers.get(made.get(name, ""))) is not None:
            table = questions[["question_id", "part"]].merge(found[columns], on="question_id")
            some = questions.iloc[:: -(-len(questions) // TIMED) or 1]
            _, seconds = timed(choose, some, bench, kept=False)
        else:
            ranking, seconds = timed(choose, questions, bench, kept=True)
            lists = dict(zip(columns[1:], ranking, strict=True))
            table = questions[["question_id", "part"]].reset_index(drop=True).assign(**lists)
        tables.append(table.assign(selector=name, seconds=seconds))
    return check(pd.concat(tables), "rankings")


def timed(choose: Selector, questions: pd.DataFrame, bench: Bench, *, kept: bool) -> tuple[Ranking, float]:
    """A ranking and its seconds per question; with `kept`, pieces of it that lie in the chapter's folder are used."""
    began = time.perf_counter()
    ranking = choose(list(questions["question"]), bench if kept else replace(bench, keep=None))
    return ranking, (time.perf_counter() - began) / max(len(questions), 1)


def selector_table(questions: pd.DataFrame, rankings: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Retrieval measures and seconds per question of every selector and part, kinds of seen questions included."""
    rows = []
    for (selector, part), mine in joined(questions, rankings).groupby(["selector", "part"], sort=False):
        for name, some in with_kinds(part, mine, mine["kind"]):
            gold, ranked = (
                dict(zip(some["question_id"], some[column], strict=True))
                for column in ("gold_doc_ids", "ranked_doc_ids")
            )
            scores = retrieval_scores(gold, ranked)
            values = {metric: list(one) for metric, one in scores.groupby("metric", sort=False)["value"]}
            for metric, one in (values | {"seconds": some["seconds"]}).items():
                estimate = bootstrap_mean(one, samples, seed)
                rows.append({"selector": selector, "part": name, "metric": metric, **vars(estimate)})
    return check(pd.DataFrame(rows, columns=list(TABLES["selectors"])), "selectors")

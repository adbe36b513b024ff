"""How well each way of choosing documents does, on the same questions: rankings, and what they are worth.

Takes questions and a collection, returns the tables rankings (chapter 05) and selectors (chapter 06). The text twin's
ranking stands beside those of z-memory: the same language model and shortlist, text in the place of z.
"""

import time
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from zmem_lib.evaluation.metrics import retrieval_scores
from zmem_lib.evaluation.scoring import joined, kinds_as_parts
from zmem_lib.evaluation.stats import grouped_means
from zmem_lib.memory.choose import Ranking
from zmem_lib.params import Params
from zmem_lib.systems.choosing import SELECTORS, Choose, by_text
from zmem_lib.systems.collection import Collection
from zmem_lib.systems.systems import possible_systems
from zmem_lib.tables import check

TWIN = "text-twin"
TIMED = 20  # questions that a ranking is timed on which an answer has already


def selectors_of(params: Params) -> dict[str, Choose]:
    """The ways of choosing that a run's parameters allow, by name; the text twin's where its model reads texts."""
    own = {name: selector.choose for name, selector in SELECTORS.items() if selector.possible(params)}
    return own | ({TWIN: by_text} if TWIN in possible_systems(params) else {})


def rank_all(questions: pd.DataFrame, collection: Collection, answers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every selector's ranking of the questions, and its seconds per question: the table rankings.

    The two slow rankings, the full scan and the text twin's, are taken from the answers where a system has made them;
    then they are timed on TIMED of the questions.
    """
    scanned = collection.params.answer.select == "query_likelihood"
    made, tables = {TWIN: TWIN} | ({"query_likelihood": "zmem"} if scanned else {}), []
    for name, choose in selectors_of(collection.params).items():
        table = questions[["question_id", "part"]].reset_index(drop=True)
        if (found := answers.get(made.get(name, ""))) is not None:
            some = questions.iloc[:: -(-len(questions) // TIMED) or 1]
            _, seconds = timed(choose, some, replace(collection, cache=None))
            table = table.merge(found[["question_id", "ranked_doc_ids", "ranked_scores"]], on="question_id")
        else:  # pieces of it that lie in the chapter's folder are used
            (table["ranked_doc_ids"], table["ranked_scores"]), seconds = timed(choose, questions, collection)
        tables.append(table.assign(selector=name, seconds=seconds))
    return check(pd.concat(tables), "rankings")


def timed(choose: Choose, questions: pd.DataFrame, collection: Collection) -> tuple[Ranking, float]:
    """A ranking and its seconds per question."""
    began = time.perf_counter()
    ranking = choose(questions, collection)
    return ranking, (time.perf_counter() - began) / max(len(questions), 1)


def selector_table(questions: pd.DataFrame, rankings: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Retrieval measures and seconds per question of every selector and part, kinds of seen questions included."""
    tables = []
    for _, rows in joined(questions, rankings).groupby("selector", sort=False):
        place = rows[["question_id", "selector", "part", "kind"]]
        by_id = rows.set_index("question_id")
        scores = retrieval_scores(by_id["gold_doc_ids"], by_id["ranked_doc_ids"])
        tables += [place.merge(scores, on="question_id")]
        tables += [place.assign(metric="seconds", value=rows["seconds"])]
    values = kinds_as_parts(pd.concat(tables))
    return check(grouped_means(values, ["selector", "part", "metric"], samples, seed), "selectors")

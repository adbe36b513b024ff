"""Questions that no document of the run's corpus answers, to see whether a system knows when not to answer.

Three kinds: `nobody` (synthetic: about people who do not exist, though each half of their name belongs to somebody who
does, so that only the combination tells), `unanswerable` (a folder's own `unanswerable*.jsonl`: the passage is in the
corpus and looks as if it answered, as in SQuAD 2.0, Rajpurkar et al. 2018) and `left out` (test questions of the corpus
whose gold documents the run has not chosen; now and then another passage may answer one all the same).
"""

from random import Random

import pandas as pd

from zmem_lib.data.corpus import DATA_SETS, whole_corpus
from zmem_lib.data.folder import Unanswerable, folder_of, own_rows
from zmem_lib.data.rows import folded, hash_of
from zmem_lib.data.synthetic import ATTRIBUTES, FIRST_NAMES, LAST_NAMES
from zmem_lib.params import Params
from zmem_lib.tables import check, no_rows

PREFIX = "absent/"  # of a question_id, so that it is never that of a question with a document
Found = list[tuple[str, str, str]]  # question_id, question, kind


def absent_questions(params: Params, docs: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """At most `corpus.absent_questions` questions without a document, the table absent, drawn by the run's seed.

    As many of each kind as there are to be had; none has the words of a question of the run. A hash of question_id puts
    half of them into split dev, for choosing a threshold, and half into test.
    """
    if not params.corpus.absent_questions:
        return no_rows("absent")
    if params.corpus.name == "synthetic":
        found = nobody(docs, params)
    else:
        chosen = set(docs["doc_id"])
        own = [] if params.corpus.name in DATA_SETS else unanswerable(params, chosen)
        found = own + left_out(params, chosen)
    rows = pd.DataFrame(found, columns=["question_id", "question", "kind"], dtype=str)
    rows = rows[~rows["question"].map(folded).isin(set(questions["question"].map(folded)))]
    rows = rows.drop_duplicates("question")
    kinds = sorted((kind for _, kind in rows.groupby("kind")), key=len)
    drawn, wanted = [rows.head(0)], params.corpus.absent_questions
    for place, kind in enumerate(kinds):  # what a small kind lacks, the larger ones give
        share = min(len(kind), wanted // (len(kinds) - place))
        drawn.append(kind.sort_values("question_id").sample(share, random_state=params.seed))
        wanted -= share
    rows = pd.concat(drawn)
    rows["question_id"] = PREFIX + rows["question_id"]
    rows["split"] = ["dev" if hash_of(question_id) % 2 else "test" for question_id in rows["question_id"]]
    return check(rows.sort_values("question_id"), "absent")


def nobody(docs: pd.DataFrame, params: Params) -> Found:
    """One question in a training phrasing about each of some people whose first and last names belong to others."""
    halves = [tuple(title.split(" ")) for title in docs["title"]]  # of a second corpus they may be anything
    names = {name for name in halves if len(name) == 2 and name[0] in FIRST_NAMES and name[1] in LAST_NAMES}
    first, last = (sorted({name[place] for name in names}) for place in (0, 1))
    free = [(one, other) for one in first for other in last if (one, other) not in names]
    rng = Random(f"absent {params.seed}")
    people = rng.sample(free, min(len(free), params.corpus.absent_questions))
    phrasings = [rng.choice(ATTRIBUTES[rng.choice(list(ATTRIBUTES))].train) for _ in people]
    asked = [phrasing.format(name=" ".join(name)) for phrasing, name in zip(phrasings, people, strict=True)]
    return [(f"nobody-{number:04d}", question, "nobody") for number, question in enumerate(asked, 1)]


def unanswerable(params: Params, chosen: set[str]) -> Found:
    """The questions of a folder's unanswerable*.jsonl whose passage is among the chosen documents; raises BadInput."""
    paths = sorted(path for suffix in ("", ".gz") for path in folder_of(params).glob(f"unanswerable*.jsonl{suffix}"))
    asked = [row for _, row in own_rows(Unanswerable, "question_id", *paths) if row.doc_id in chosen]
    return [(row.question_id, row.question.strip(), "unanswerable") for row in asked]


def left_out(params: Params, chosen: set[str]) -> Found:
    """The corpus's test questions none of whose gold documents is among the chosen ones."""
    questions = whole_corpus(params).questions
    rows = questions[questions["split"] == "test"]
    apart = rows[rows["gold_doc_ids"].map(chosen.isdisjoint).astype(bool)]
    return [(*asked, "left out") for asked in zip(apart["question_id"], apart["question"], strict=True)]

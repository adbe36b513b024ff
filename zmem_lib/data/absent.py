"""Questions that no document of the run's corpus answers, to see whether a system knows when not to answer.

Three kinds: `nobody` (synthetic: about people who do not exist, though each half of their name belongs to somebody who
does, so that only the combination tells), `unanswerable` (a folder's own `unanswerable*.jsonl`: the passage is in the
corpus and looks as if it answered, as in SQuAD 2.0, Rajpurkar et al. 2018) and `left out` (test questions of the corpus
whose gold documents the run has not chosen; now and then another passage may answer one all the same).
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pandas as pd

from zmem_lib.data.corpus import CORPORA
from zmem_lib.data.folder import read_lines
from zmem_lib.data.phrasings import ATTRIBUTES, FIRST_ENDS, FIRST_STEMS, LAST_ENDS, LAST_STEMS
from zmem_lib.data.source import text
from zmem_lib.files import BadInput
from zmem_lib.params import Params
from zmem_lib.tables import check

PREFIX = "absent/"  # of a question_id, so that it is never that of a question with a document
PATTERNS = ("unanswerable*.jsonl", "unanswerable*.jsonl.gz")
COLUMNS = ["question_id", "question", "kind", "split"]


def absent_questions(params: Params, docs: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """At most `params.corpus.absent_questions` questions without a document, the table absent, drawn by the run's seed.

    As many of each kind as there are to be had; none has the words of a question of the run. A hash of question_id puts
    half of them into split dev, for choosing a threshold, and half into test.
    """
    if not params.corpus.absent_questions:
        return check(pd.DataFrame(columns=COLUMNS, dtype=str), "absent")
    if params.corpus.name == "synthetic":
        found = nobody(docs, params) if params.corpus.name == "synthetic" else []
    else:
        found = [*unanswerable(docs, params), *left_out(docs, params)]
    rows = pd.DataFrame(found, columns=COLUMNS[:3], dtype=str)
    rows = rows[~_words(rows["question"]).isin(set(_words(questions["question"])))]
    rows = _draw(rows.drop_duplicates("question"), params.corpus.absent_questions, params.seed)
    rows["question_id"] = PREFIX + rows["question_id"]
    rows["split"] = rows["question_id"].map(_half)
    return check(rows.sort_values("question_id"), "absent")


def nobody(docs: pd.DataFrame, params: Params) -> list[tuple[str, str, str]]:
    """One question in a training phrasing about each of some people whose first and last names belong to others."""
    pools = (FIRST_STEMS, FIRST_ENDS), (LAST_STEMS, LAST_ENDS)
    known = [{stem + end for stem in stems for end in ends} for stems, ends in pools]
    halves = [tuple(title.split(" ")[:2]) for title in docs["title"]]  # markup may follow a name
    names = {name for name in halves if len(name) == 2 and name[0] in known[0] and name[1] in known[1]}
    first, last = (sorted({name[place] for name in names}) for place in (0, 1))
    free = [(one, other) for one in first for other in last if (one, other) not in names]
    rng = Random(f"absent {params.seed}")
    people = rng.sample(free, min(len(free), params.corpus.absent_questions))
    phrasings = [rng.choice(ATTRIBUTES[rng.choice(list(ATTRIBUTES))].train) for _ in people]
    asked = [phrasing.format(name=" ".join(name)) for phrasing, name in zip(phrasings, people, strict=True)]
    return [(f"nobody-{number:04d}", question, "nobody") for number, question in enumerate(asked, 1)]


def unanswerable(docs: pd.DataFrame, params: Params) -> Iterator[tuple[str, str, str]]:
    """The questions of a folder's unanswerable*.jsonl whose passage is among the run's documents; raises BadInput."""
    folder = Path(params.corpus.path).expanduser()
    if params.corpus.name != "folder" or not folder.is_dir():
        return
    chosen, seen = set(docs["doc_id"]), set()
    for path in sorted(path for pattern in PATTERNS for path in folder.glob(pattern)):
        for _, where, record in read_lines(path):
            row = [text(record, name, where).strip() for name in ("question_id", "question", "doc_id")]
            if not all(row) or row[0] in seen:
                raise BadInput(f"{where}: question_id (each once), question and doc_id must not be empty: correct them")
            seen.add(row[0])
            if row[2] in chosen:
                yield row[0], row[1], "unanswerable"


def left_out(docs: pd.DataFrame, params: Params) -> list[tuple[str, str, str]]:
    """The corpus's test questions none of whose gold documents is among the run's documents."""
    corpus = CORPORA[params.corpus.name](params)
    chosen = set(docs["doc_id"])
    rows = corpus.questions[corpus.questions["split"] == "test"]
    apart = rows[rows["gold_doc_ids"].map(chosen.isdisjoint).astype(bool)]
    return [(row.question_id, row.question, "left out") for row in apart.itertuples()]


def _draw(rows: pd.DataFrame, wanted: int, seed: int) -> pd.DataFrame:
    """`wanted` rows, of each kind the same number; what a small kind lacks, the larger ones give."""
    kinds = sorted((kind for _, kind in rows.groupby("kind")), key=len)
    drawn = [rows.head(0)]
    for place, kind in enumerate(kinds):
        share = min(len(kind), wanted // (len(kinds) - place))
        drawn.append(kind.sort_values("question_id").sample(share, random_state=seed))
        wanted -= share
    return pd.concat(drawn)


def _words(questions: Sequence[str]) -> pd.Series:
    return pd.Series(questions, dtype=str).map(lambda question: " ".join(question.casefold().split()))


def _half(question_id: str) -> str:
    return "dev" if int(hashlib.sha1(question_id.encode()).hexdigest()[:12], 16) % 2 else "test"

"""Measures that need the documents, or that only some answers have: evidence that was written, and numbers.

Takes questions, documents and answers by system; returns rows of the table scores. Evidence that was written from z is
no quotation: how much of it stands in the document that it was written from is counted in words, as ROUGE counts the
overlap of two texts (Lin, 2004), over the evidence. For evidence cut from a passage both are 1 by construction. Whether
the document that was put first is a new one tells a system that finds the document from one that favours the new.
"""

import re
from collections import Counter
from collections.abc import Mapping
from difflib import SequenceMatcher

import numpy as np
import pandas as pd

from zmem_lib.evaluation.numbers_in import NUMBERS
from zmem_lib.evaluation.scoring import joined, ranks, with_kinds
from zmem_lib.params import Params
from zmem_lib.tables import TABLES, check
from zmem_lib.text import passages

WRITTEN = ("zmem", "zmem-oracle", "zmem+bm25")  # systems whose evidence is written from z
NUMBER_CORPUS = "t2ragbench"  # whose gold answers are numbers
GROUNDING_METRICS = ("evidence_overlap", "evidence_substring")
WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case."""
    return WORD.findall(text.lower())


def evidence_overlap(evidence: str, passage: str) -> float:
    """Share of the evidence's words that the passage has, each as often as it has it; NaN without a word."""
    said = words(evidence)
    return (Counter(said) & Counter(words(passage))).total() / len(said) if said else np.nan


def evidence_substring(evidence: str, passage: str) -> float:
    """Share of the evidence's words that are in its longest run of words which the passage has too; NaN without one."""
    said, there = words(evidence), words(passage)
    run = SequenceMatcher(None, said, there, autojunk=False).find_longest_match()
    return run.size / len(said) if said else np.nan


def further_scores(
    questions: pd.DataFrame, docs: pd.DataFrame, answers_by_system: Mapping[str, pd.DataFrame], params: Params
) -> pd.DataFrame:
    """The table scores of all rankings' first documents (new_first: it is a new one), of WRITTEN systems' evidence and,
    for NUMBER_CORPUS, of all answers' numbers; may be empty.
    """
    part_of = dict(zip(docs["doc_id"], docs["part"], strict=True))
    text_of = dict(zip(docs["doc_id"], passages(docs), strict=True))
    tables = [pd.DataFrame(columns=list(TABLES["scores"])).astype({"value": float})]
    for system, answers in answers_by_system.items():
        for part, rows in joined(questions, answers).groupby("part", sort=False):
            values = _grounding(rows, text_of, several=params.answer.top_k > 1) if system in WRITTEN else {}
            if ranks(rows):
                ids = rows["ranked_doc_ids"]
                values["new_first"] = [len(ranked) > 0 and part_of[ranked[0]] == "new" for ranked in ids]
            if params.corpus.name == NUMBER_CORPUS:
                values |= _numbers(rows)
            long = pd.DataFrame(values, index=rows["question_id"], dtype=float)
            long = long.reset_index().melt(id_vars="question_id", var_name="metric")
            kinds = long["question_id"].map(rows.set_index("question_id")["kind"])
            tables += [some.assign(system=system, part=name) for name, some in with_kinds(part, long, kinds)]
    return check(pd.concat([table for table in tables if len(table)] or tables[:1]), "scores")


def _grounding(rows: pd.DataFrame, text_of: Mapping[str, str], *, several: bool) -> dict[str, list[float]]:
    """Both measures of the first document's evidence: all of it, or, where `several` items were read, the first line.

    That document is the first of those ranked or, where the right one was given and nothing ranked, the gold document.
    """
    pairs = []
    for row in rows.itertuples():
        ranked = len(row.ranked_doc_ids) > 0
        first = row.ranked_doc_ids[0] if ranked else row.gold_doc_ids[0]
        pairs.append((row.evidence.partition("\n")[0] if several and ranked else row.evidence, text_of[first]))
    measures = (evidence_overlap, evidence_substring)
    return {measure.__name__: [measure(*pair) for pair in pairs] for measure in measures}


def _numbers(rows: pd.DataFrame) -> dict[str, list[float]]:
    return {name: [count(row.answer, row.answers) for row in rows.itertuples()] for name, count in NUMBERS.items()}

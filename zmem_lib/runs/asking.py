"""Before chapter 01 of a run over mere texts, the language model asks itself about every passage.

A question stays if it leads back to the sentence that it was drawn from (memory/self_questions.py), and if BM25 has its
passage among the first FOUND: one that names nothing fits any passage. What is left lies in the run's folder as OWN.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.cache import open_cache, remembered
from zmem_lib.chapters import chapter_made_by
from zmem_lib.data.texts import OWN, own_question, read_texts
from zmem_lib.files import BadInput
from zmem_lib.memory.lm import make_memory_lm
from zmem_lib.memory.self_questions import own_questions
from zmem_lib.opponents.bm25 import build_bm25, rank_bm25
from zmem_lib.params import Params, params_hash
from zmem_lib.tables import no_rows
from zmem_lib.text import passages

FOUND = 5
UNFOUND = f"own questions whose passage is not among BM25's first {FOUND}"


def ask_texts(params: Params, folder: Path) -> None:
    """Ask about the texts of a run, or leave what was asked about the same texts; raises BadInput if nothing is left."""
    docs = read_texts(params)
    keep = open_cache(folder / "asking", params_hash(params, 3), chapter_made_by(3)["code"], docs.to_json())
    made = remembered(keep, (folder / OWN).resolve(), lambda: asked(docs, params))
    if not made["questions"]:
        raise BadInput(f"the model asked nothing of use about {params.corpus.path}: raise corpus.own_questions")


def asked(docs: pd.DataFrame, params: Params) -> dict[str, Any]:
    """The `questions` that the model asks about the texts, rows of the table, and how many were `left out`, by reason."""
    memory_lm, n = make_memory_lm(params, passages(docs)), params.corpus.own_questions
    own, counts = own_questions(memory_lm, docs, n, params=params, questions=no_rows("questions"))
    ranked, _ = rank_bm25(build_bm25(list(docs["doc_id"]), passages(docs)), list(own["question"]), FOUND)
    found = [row for row, best in zip(own.to_dict("records"), ranked, strict=True) if row["doc_id"] in best]
    names = ("question_id", "question", "doc_id", "evidence", "evidence_start")
    fates = dict(zip(counts["what"], counts["n"].tolist(), strict=True))
    left_out = {f"own questions, {fate}": fates[fate] for fate in ("empty", "duplicate", "unanswerable")}
    questions = [own_question(*(row[name] for name in names)) for row in found]
    return {"questions": questions, "left out": left_out | {UNFOUND: len(own) - len(found)}}

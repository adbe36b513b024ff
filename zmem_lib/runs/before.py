"""What has to be there before a chapter begins: models and data from outside, and questions about mere texts.

The language model itself asks these, before chapter 01. A question stays if it leads back to the sentence that it was
drawn from (memory/self_questions.py), and if BM25 has its passage among the first FOUND: one that names nothing fits
any passage. What is left lies in the run's folder as OWN.
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.cache import open_cache, remembered
from zmem_lib.chapters import EVALUATION, chapter_made_by
from zmem_lib.data.texts import OWN, own_question, read_texts
from zmem_lib.files import BadInput
from zmem_lib.hub import find_adapter, find_lm, find_model
from zmem_lib.params import Params, params_hash
from zmem_lib.tables import no_rows
from zmem_lib.text import passages

USING_LM = (3, 4, 5, 6)  # chapters
FOUND = 5
UNFOUND = f"own questions whose passage is not among BM25's first {FOUND}"


def fetch(params: Params, number: int) -> None:
    """Look for what a chapter needs from outside before it begins, and download it here, where its bars are seen."""
    from zmem_lib.data.corpus import fetch_corpus

    answer, using = params.answer, number in USING_LM or bool(os.environ.get("HF_HUB_OFFLINE"))
    if number == 1:
        fetch_corpus(params)
    if params.evaluate.judge == "nli" and number in (1, EVALUATION):
        find_model("evaluate.judge_model", params.evaluate.judge_model)
    if params.has_lm and params.lm.name != "scratch" and using:
        find_lm(params.lm.name, params.lm.revision)
    if params.lm.adapter and number == 3:
        find_adapter(params.lm.adapter)
    if answer.rerank_model and answer.rerank_depth and using:
        find_model("answer.rerank_model", answer.rerank_model)
    if params.machine.device == "cuda":  # no other can be missing
        from zmem_lib.memory.lm import pick_device  # imports transformers, which takes seconds

        pick_device(params.machine.device)


def ask_texts(params: Params, folder: Path) -> None:
    """Ask about the texts of a run, or leave what was asked about the same ones; raises BadInput if nothing is left."""
    docs = read_texts(params)
    keep = open_cache(folder / "asking", params_hash(params, 3), chapter_made_by(3)["code"], docs.to_json())
    made = remembered(keep, (folder / OWN).resolve(), lambda: asked(docs, params))
    if not made["questions"]:
        raise BadInput(f"the model asked nothing of use about {params.corpus.path}: raise corpus.own_questions")


def asked(docs: pd.DataFrame, params: Params) -> dict[str, Any]:
    """The `questions` that the model asks about texts, rows of the table, and how many were `left out`, by reason."""
    from zmem_lib.memory.lm import make_memory_lm  # imports transformers, which takes seconds
    from zmem_lib.memory.self_questions import own_questions
    from zmem_lib.opponents.bm25 import build_bm25, rank_bm25

    memory_lm, n = make_memory_lm(params, passages(docs)), params.corpus.own_questions
    own, counts = own_questions(memory_lm, docs, n, params=params, questions=no_rows("questions"))
    ranked, _ = rank_bm25(build_bm25(list(docs["doc_id"]), passages(docs)), list(own["question"]), FOUND)
    found = [row for row, best in zip(own.to_dict("records"), ranked, strict=True) if row["doc_id"] in best]
    fates = dict(zip(counts["what"], counts["n"].tolist(), strict=True))
    left_out = {f"own questions, {fate}": fates[fate] for fate in ("empty", "duplicate", "unanswerable")}
    return {"questions": list(map(own_question, found)), "left out": left_out | {UNFOUND: len(own) - len(found)}}

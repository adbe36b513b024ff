"""The opponents are as strong as they should be: shares of whole corpora, for all of their test questions.

BM25 is held against its marks wherever the corpora lie beside the repository; the encoder and the fusion take minutes,
and are read from finished runs of params/retrieval-*.yaml, whose folder ZMEM_RUNS names.
"""

import os
from pathlib import Path

import pytest
from conftest import CORPORA, ROOT

from zmem_lib.data.corpus import load_corpus
from zmem_lib.opponents import bm25, tuned
from zmem_lib.params import read_params
from zmem_lib.tables import TEST_PARTS, read_table
from zmem_lib.text import passages

FOLDERS = {"squad": "squad11-dev", "sleepqa": "sleepqa", "korquad": "korquad"}
BM25 = {"squad": 0.785, "sleepqa": 0.60, "korquad": 0.90}  # recall@1, at least
OTHERS = {"retrieval-squad": {"bm25": 0.785, "dense": 0.62, "hybrid": 0.79}}


@pytest.mark.long
@pytest.mark.parametrize("name", BM25)
def test_bm25_of_a_whole_corpus_reaches_its_mark(name):
    folder = CORPORA / FOLDERS[name]
    if not folder.is_dir():
        pytest.skip(f"the corpus {FOLDERS[name]} does not lie beside the repository")
    params = read_params(ROOT / f"params/retrieval-{name}.yaml", [f"corpus.path={folder}"])
    corpus = load_corpus(params)
    docs, questions = corpus.docs, corpus.questions
    test = questions[questions["split"] == "test"]
    dev = tuned.taught_questions(docs, questions, "dev")
    index, _ = bm25.choose_bm25(bm25.build_bm25(list(docs["doc_id"]), passages(docs)), dev, params.seed)
    ranked, _ = bm25.rank_bm25(index, list(test["question"]), 1)
    found = [best[0] in gold for best, gold in zip(ranked, test["gold_doc_ids"], strict=True)]
    assert len(found) >= 500 and sum(found) / len(found) >= BM25[name]


@pytest.mark.parametrize("run", OTHERS)
def test_a_finished_run_of_the_opponents_reaches_its_marks(run):
    folder = Path(os.environ.get("ZMEM_RUNS", "")) / run
    if not os.environ.get("ZMEM_RUNS") or not folder.is_dir():
        pytest.skip(f"ZMEM_RUNS names no folder with a run {run} (zmem run params/{run}.yaml)")
    scores = read_table(folder / "scores.parquet", "scores")
    first = scores[(scores["metric"] == "recall@1") & scores["part"].isin(TEST_PARTS)]
    means = first.groupby("system")["value"].agg(["mean", "size"])
    assert (means["size"] >= 2000).all()
    assert {name: mean for name, mean in OTHERS[run].items() if means.at[name, "mean"] < mean} == {}

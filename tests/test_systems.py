"""The systems: the same questions and reader for all, the right document for each, and what is sampled."""

import dataclasses

import pandas as pd
import pytest
from tiny_models import random_blocks, sentence, small_lm, small_params

from zmem_lib import report_memory, retrieve, systems
from zmem_lib.systems import Bench, pick_questions

PARAMS = small_params(evidence_tokens=6, answer_tokens=3, top_k=2)
N = 6


@pytest.fixture(scope="module")
def bench():
    docs = pd.DataFrame(
        [{"doc_id": f"d{i}", "title": f"t{i}", "text": sentence(i, 12), "part": "seen"} for i in range(N)]
    )
    bm25 = retrieve.build_bm25(list(docs.doc_id), list(docs.text), tokens="words")
    return Bench(PARAMS, small_lm(PARAMS), docs, random_blocks(N, PARAMS), bm25, None, None)


@pytest.fixture(scope="module")
def questions(bench):
    return pd.DataFrame(
        [
            {"question_id": f"q{i}", "question": sentence(i, 4), "gold_doc_ids": [f"d{i}"], "part": "seen"}
            for i in range(N)
        ]
    )


NAMES = ("zmem", "zmem_oracle", "zmem_shuffled", "bm25", "gold_passage", "closed_book")
ALL = [getattr(systems, name) for name in NAMES]


def as_read(bench, texts):
    """Texts cut as the reader sees them."""
    prompts = bench.memory_lm.prompts
    return [prompts.tokenizer.decode(prompts.encode(text, PARAMS.evidence_tokens)).strip() for text in texts]


@pytest.mark.parametrize("system", ALL, ids=lambda system: system.__name__)
def test_every_system_keeps_the_questions_and_the_token_budget(system, bench, questions):
    answers = system(questions, bench)
    assert list(answers.question_id) == list(questions.question_id)
    items = {"zmem": 2, "bm25": 2, "closed_book": 0}.get(system.__name__, 1)
    assert answers.evidence_tokens.max() <= items * PARAMS.evidence_tokens
    assert (answers.evidence_tokens.max() == 0) == (system is systems.closed_book)
    assert (answers.input_tokens > 0).all() and (answers.output_tokens > 0).all() and (answers.seconds > 0).all()


def test_stored_evidence_is_what_the_reader_saw(bench, questions):
    shown = systems.gold_passage(questions, bench).evidence
    for cut, text in zip(shown, bench.docs.text, strict=True):
        assert cut.split("\n")[0].startswith("t") and len(cut) < len(text)


def test_oracle_and_shuffled_write_from_the_right_and_from_a_wrong_block(bench, questions):
    oracle, shuffled = systems.zmem_oracle(questions, bench), systems.zmem_shuffled(questions, bench)
    direct = systems.generate_evidence(
        bench.memory_lm, bench.z, list(questions.question), evidence_tokens=PARAMS.evidence_tokens, batch=4
    )
    assert list(oracle.evidence) == as_read(bench, direct)
    other = systems.shuffle_index(N, PARAMS.seed)
    moved = dataclasses.replace(bench, z=bench.z[other])
    assert list(shuffled.evidence) == list(systems.zmem_oracle(questions, moved).evidence)
    assert list(shuffled.evidence) != list(oracle.evidence)


def test_zmem_hands_the_reader_the_evidence_of_its_best_blocks(bench, questions):
    answers = systems.zmem(questions, bench)
    first = answers.iloc[0]
    rows = [list(bench.docs.doc_id).index(doc_id) for doc_id in first.ranked_doc_ids[:2]]
    asked = [questions.question[0]] * 2
    written = systems.generate_evidence(bench.memory_lm, bench.z[rows], asked, evidence_tokens=6, batch=2)
    assert first.evidence == "\n".join(as_read(bench, written))
    assert list(first.ranked_scores) == sorted(first.ranked_scores, reverse=True) and len(first.ranked_doc_ids) == N


def test_the_sample_is_fixed_and_the_same_size_per_kind():
    rows = [("test", "rephrased"), ("test", "unasked"), ("new-test", ""), ("train", ""), ("dev", "rephrased")]
    table = pd.DataFrame(
        [
            {
                "question_id": f"{s}{k}{i}",
                "split": s,
                "kind": k,
                "question": "?",
                "gold_doc_ids": [f"{s == 'new-test'}{i}"],
            }
            for s, k in rows
            for i in range(9)
        ]
    )
    picked = pick_questions(table, small_params(scan_questions=4))
    assert picked.groupby(["part", "kind"]).size().to_dict() == {
        ("new", ""): 4, ("seen", "rephrased"): 4, ("seen", "unasked"): 4, ("trained", ""): 4,
    }  # fmt: skip
    assert len(pick_questions(table, small_params(scan_questions=0))) == 36
    assert picked.equals(pick_questions(table, small_params(scan_questions=4)))


def test_test_questions_about_documents_that_training_never_names_are_a_part_of_their_own():
    rows = [("t", "train", ["a"]), ("s", "test", ["b", "a"]), ("u", "test", ["b"]), ("d", "dev", ["b"])]
    rows += [("n", "new-test", ["c"]), ("m", "new-dev", ["c"])]
    table = pd.DataFrame(rows, columns=["question_id", "split", "gold_doc_ids"]).assign(kind="", question="?")
    parts = pick_questions(table, small_params(scan_questions=0)).set_index("question_id")["part"].to_dict()
    assert parts == {"n": "new", "s": "seen", "t": "trained", "u": "unasked-document"}
    counts = report_memory.sample_counts(pick_questions(table, small_params(scan_questions=0)), table)
    assert counts["there are"].to_dict() == {"seen": 1, "unasked-document": 1, "new": 1, "trained": 1}

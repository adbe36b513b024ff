"""The systems: the same questions and reader for all, the right document for each, and what is sampled."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import random_blocks, sentence, small_lm, small_params

from zmem_lib.memory.encoder import TEMPERATURE
from zmem_lib.memory.table import save_z, shuffle_index, unit
from zmem_lib.opponents import retrieve
from zmem_lib.opponents.index import build_flat, vectors_of
from zmem_lib.systems import controls, cost, evidence, systems
from zmem_lib.systems.collection import Bench, by_key, by_text, texts_of
from zmem_lib.systems.evidence import pick_questions
from zmem_lib.tables import SYSTEMS

PARAMS = small_params(
    {
        "memory.evidence_tokens": 6,
        "answer.answer_tokens": 3,
        "answer.top_k": 2,
        "memory.key_width": 8,
        "answer.shortlist": 4,
    }
)
N = 6


@pytest.fixture(scope="module")
def bench():
    docs = pd.DataFrame(
        [{"doc_id": f"d{i}", "title": f"t{i}", "text": sentence(i, 12), "part": "seen"} for i in range(N)]
    )
    bm25 = retrieve.build_bm25(list(docs.doc_id), list(docs.text), tokens="words")
    vectors = torch.randn(N, 5, generator=torch.Generator().manual_seed(2)).numpy()
    dense = retrieve.DenseIndex(list(docs.doc_id), build_flat(vectors))
    keys = unit(torch.randn(N, PARAMS.memory.key_width, generator=torch.Generator().manual_seed(1)))
    z, memory_lm = random_blocks(N, PARAMS), small_lm(PARAMS)
    return Bench(PARAMS, memory_lm, docs, z, keys, bm25=bm25, dense=dense, encoder=None, folder=None)


@pytest.fixture(scope="module")
def questions(bench):
    return pd.DataFrame(
        [
            {"question_id": f"q{i}", "question": sentence(i, 4), "gold_doc_ids": [f"d{i}"], "part": "seen"}
            for i in range(N)
        ]
    )


RETRIEVING = [systems.zmem, systems.bm25, systems.text_twin]
TWO_ITEMS = (*RETRIEVING, controls.zmem_text)
ALL = [
    *RETRIEVING, systems.gold_passage, systems.closed_book, controls.zmem_oracle, controls.zmem_shuffled,
    controls.zmem_similar, controls.zmem_random, controls.zmem_text,
]  # fmt: skip


def as_read(bench, texts):
    """Texts cut as the reader sees them."""
    prompts = bench.memory_lm.prompts
    return [prompts.tokenizer.decode(prompts.encode(text, PARAMS.memory.evidence_tokens)).strip() for text in texts]


@pytest.mark.parametrize("system", ALL, ids=lambda system: system.__name__)
def test_every_system_keeps_the_questions_and_the_token_budget(system, bench, questions):
    answers = system(questions, bench)
    assert list(answers.question_id) == list(questions.question_id)
    items = 2 if system in TWO_ITEMS else int(system is not systems.closed_book)
    assert answers.evidence_tokens.max() <= items * PARAMS.memory.evidence_tokens
    assert (answers.evidence_tokens.max() == 0) == (system is systems.closed_book)
    assert answers.ranked_doc_ids.map(len).astype(bool).all() == (system in RETRIEVING)
    assert (answers.input_tokens > 0).all() and (answers.output_tokens > 0).all() and (answers.seconds > 0).all()


def test_stored_evidence_is_what_the_reader_saw(bench, questions):
    shown = systems.gold_passage(questions, bench).evidence
    for cut, text in zip(shown, bench.docs.text, strict=True):
        assert cut.split("\n")[0].startswith("t") and len(cut) < len(text)


def test_oracle_and_shuffled_write_from_the_right_and_from_a_wrong_block(bench, questions):
    oracle, shuffled = controls.zmem_oracle(questions, bench), controls.zmem_shuffled(questions, bench)
    direct = evidence.generate_evidence(
        bench.memory_lm, bench.z, list(questions.question), evidence_tokens=PARAMS.memory.evidence_tokens, batch=4
    )
    assert list(oracle.evidence) == as_read(bench, direct)
    other = shuffle_index(N, PARAMS.seed)
    moved = dataclasses.replace(bench, z=bench.z[other])
    assert list(shuffled.evidence) == list(controls.zmem_oracle(questions, moved).evidence)
    assert list(shuffled.evidence) != list(oracle.evidence)


def test_the_most_similar_other_document_is_the_nearest_but_itself(bench, questions):
    vectors = vectors_of(bench.dense.flat)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    moved = dataclasses.replace(bench, z=bench.z[likeness.argmax(1)])
    assert list(controls.zmem_similar(questions, bench).evidence) == list(
        controls.zmem_oracle(questions, moved).evidence
    )


def test_z_and_text_are_two_items_of_which_the_second_is_the_passage(bench, questions):
    both = controls.zmem_text(questions, bench).evidence
    z, text = controls.zmem_oracle(questions, bench).evidence, systems.gold_passage(questions, bench).evidence
    assert list(both) == [f"{one}\n{other}" for one, other in zip(z, text, strict=True)]


def test_the_text_twin_orders_the_shortlist_by_what_the_text_makes_of_the_question(bench, questions):
    ids, scores = by_text(list(questions.question), bench)
    shortlist, cosines = by_key(list(questions.question), bench)
    prompts, text_of = bench.memory_lm.prompts, texts_of(bench)
    for q, question in enumerate(questions.question[:2]):
        row = prompts.question(question)
        plain = {}
        for doc_id, cosine in list(zip(shortlist[q], cosines[q], strict=True))[: PARAMS.answer.shortlist]:
            text = prompts.text(text_of[doc_id], PARAMS.memory.document_tokens)
            log_p = one_by_one(bench.memory_lm, text + row.ids, len(text) + len(prompts.marks["question"]))
            plain[doc_id] = log_p + cosine / TEMPERATURE
        assert ids[q] == sorted(plain, key=plain.get, reverse=True)
        assert scores[q] == pytest.approx([plain[doc_id] for doc_id in ids[q]], abs=1e-3)


def one_by_one(memory_lm, ids, given):
    """log p of what follows the first `given` tokens, by one plain pass."""
    ids = torch.tensor([ids])
    with torch.no_grad():
        log_p = memory_lm.lm(input_ids=ids).logits.float().log_softmax(-1)
    return log_p[0, given - 1 : -1].gather(1, ids[0, given:, None]).sum().item()


def test_what_a_system_stores_is_counted(bench, tmp_path):
    for name in cost.Z_FILES:
        save_z(["a", "b", "c"], bench.z[:3], tmp_path / name, bench.keys[:3])
    (tmp_path / "dense.faiss").write_bytes(b"x" * 1000)
    size = {name: cost.bytes_stored(name, tmp_path, bench.docs) for name in SYSTEMS}
    texts = sum(len(f"{row.title}\n{row.text}".encode()) for row in bench.docs.itertuples())
    z = sum((tmp_path / name).stat().st_size for name in cost.Z_FILES)
    assert z >= 6 * 4 * (bench.z[0].numel() + PARAMS.memory.key_width)
    assert size["zmem"] == size["zmem-random"] == size["zmem-similar"] == z and size["zmem-text"] == z + texts
    assert size["text-twin"] == texts + 6 * 4 * PARAMS.memory.key_width
    assert size["zmem+text"] == z + texts and size["zmem+bm25"] == z
    assert size["hybrid"] == size["hybrid+rerank"] == size["lm-rerank"] == size["long-context"] == 1000 + texts
    assert size["dense"] == 1000 + texts and size["gold-passage"] == texts and size["closed-book"] == 0


def test_zmem_hands_the_reader_the_evidence_of_its_best_blocks(bench, questions):
    answers = systems.zmem(questions, bench)
    first = answers.iloc[0]
    rows = [list(bench.docs.doc_id).index(doc_id) for doc_id in first.ranked_doc_ids[:2]]
    asked = [questions.question[0]] * 2
    written = evidence.generate_evidence(bench.memory_lm, bench.z[rows], asked, evidence_tokens=6, batch=2)
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
    picked = pick_questions(table, small_params({"answer.questions": 4}))
    assert picked.groupby(["part", "kind"]).size().to_dict() == {
        ("new", ""): 4, ("seen", "rephrased"): 4, ("seen", "unasked"): 4, ("trained", ""): 4,
    }  # fmt: skip
    assert len(pick_questions(table, small_params({"answer.questions": 0}))) == 36
    assert picked.equals(pick_questions(table, small_params({"answer.questions": 4})))


def test_test_questions_about_documents_that_training_never_names_are_a_part_of_their_own():
    rows = [("t", "train", ["a"]), ("s", "test", ["b", "a"]), ("u", "test", ["b"]), ("d", "dev", ["b"])]
    rows += [("n", "new-test", ["c"]), ("m", "new-dev", ["c"])]
    table = pd.DataFrame(rows, columns=["question_id", "split", "gold_doc_ids"]).assign(kind="", question="?")
    parts = pick_questions(table, small_params({"answer.questions": 0})).set_index("question_id")["part"].to_dict()
    assert parts == {"n": "new", "s": "seen", "t": "trained", "u": "unasked-document"}

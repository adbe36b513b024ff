"""The fast scan equals the plain one, and ranks as it should."""

import pytest
import torch
from tiny_models import random_blocks, score_one_by_one, sentence, small_lm, small_params

from zmem_lib.memory.choose import question_log_p, rank, rerank, score_questions

PARAMS = small_params()
KEYED = small_params({"memory.z_width": 8, "memory.key_width": 6, "train.encode_share": 0.5})
TEXTS = [sentence(i, 3 + 4 * i) for i in range(5)]


@pytest.fixture(scope="module")
def memory_lm():
    return small_lm(KEYED)


def test_fast_scan_equals_plain_scan():
    memory_lm, z = small_lm(), random_blocks(7, PARAMS)
    questions = [sentence(i, n) for i, n in enumerate((3, 8, 5))]
    fast = score_questions(memory_lm, z, questions, batch=3)
    plain = score_one_by_one(memory_lm, z, questions)
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-5)
    assert fast.std(1).min() > 0.01  # the documents differ, so equality says something


def test_rank_is_best_first_with_ties_in_order():
    ids, scores = rank(torch.tensor([[1.0, 3.0, 3.0, 2.0]]), ["a", "b", "c", "d"], 3)
    assert ids == [["b", "c", "d"]] and scores == [[3.0, 3.0, 2.0]]
    assert rank(torch.tensor([[1.0, 2.0]]), ["a", "b"], 20)[0] == [["b", "a"]]
    many = [f"d{i:04d}" for i in range(5000)]
    assert rank(torch.zeros(1, 5000), many, 5000)[0] == [many]


def test_ranking_is_a_stable_sort_whatever_the_depth():
    scores = torch.randint(4, (30, 50), generator=torch.Generator().manual_seed(0)).float()
    scores[3] = torch.nan
    ids = [f"d{i}" for i in range(50)]
    for depth in (0, 1, 7, 50, 60):
        found, values = rank(scores, ids, depth)
        for row, best, its in zip(scores, found, values, strict=True):
            order = row.sort(descending=True, stable=True)
            assert best == [ids[i] for i in order.indices[:depth].tolist()]
            torch.testing.assert_close(torch.tensor(its), order.values[:depth], equal_nan=True)


def test_reranking_scores_equal_the_plain_scan(memory_lm):
    z = torch.randn(4, KEYED.memory.z_tokens, 8, generator=torch.Generator().manual_seed(2))
    plain = score_one_by_one(memory_lm, z, TEXTS[:3])  # (Q,N)
    pairs = [(q, i) for q in range(3) for i in range(4)]
    rows = [memory_lm.prompts.question(TEXTS[q]) for q, _ in pairs]
    found = question_log_p(memory_lm, z[[i for _, i in pairs]], rows, batch=5)
    torch.testing.assert_close(torch.tensor(found).view(3, 4), plain, atol=1e-4, rtol=1e-5)

    def score(wanted):
        return [plain[q, int(d)].item() for q, d in wanted]

    ranked, scores = rerank(score, ([["0", "1", "2", "3"]] * 3, [[0.0] * 4] * 3), 4)
    assert [int(ids[0]) for ids in ranked] == plain.argmax(1).tolist()
    assert all(mine == sorted(mine, reverse=True) for mine in scores)


def test_reranking_is_by_the_score_alone_and_leaves_equal_ones_in_order():
    ranking = [["a", "b", "c"], ["d", "a"], []], [[0.9, 0.8, 0.1], [0.5, 0.5], []]
    log_p = {(0, "a"): -4.0, (0, "b"): -1.0, (1, "d"): -2.0, (1, "a"): -2.0}
    ranked, scores = rerank(lambda wanted: [log_p[pair] for pair in wanted], ranking, 2)
    assert ranked == [["b", "a"], ["d", "a"], []]
    assert scores == [[-1.0, -4.0], [-2.0, -2.0], []]

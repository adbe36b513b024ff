"""The fast scan equals the plain one, and ranks as it should."""

import torch
from tiny_models import random_blocks, sentence, small_lm, small_params

from zmem_lib.memory.choose import rank, score_one_by_one, score_questions

PARAMS = small_params()


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

"""Generated ids: the LM stays itself, learning works, and the search finds what scoring every id finds."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import sentence, small_lm, small_params

from zmem_lib.ids.head import id_adapter, load_id_head, make_id_head, save_id_head
from zmem_lib.ids.search import best_ids, id_nll, search_ids, train_ids
from zmem_lib.ids.tree import IdTree, add_documents, build_tree, delete_documents
from zmem_lib.memory.lm import with_adapter
from zmem_lib.params import changed

PARAMS = small_params({"train.id_steps": 30, "train.batch_tuples": 8, "lm.lora_rank": 4})
QUESTIONS = [sentence(seed, 3 + seed % 4) for seed in range(6)]
N = 40


def units(n, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, 6))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def tree():
    """Forty documents, some of whose ids are longer because they came later."""
    tree = build_tree([f"d{i}" for i in range(N - 12)], units(N - 12), branching=3, seed=0)
    tree = add_documents(tree, [f"d{i}" for i in range(N - 12, N)], units(12, seed=1))
    assert len({len(path) for path in tree.ids.values()}) > 2
    return tree


def make_lm(adapter, params=PARAMS):
    """A small model made from scratch, or the same one, frozen, with an adapter that says something."""
    memory_lm = small_lm(params)
    if not adapter:
        return memory_lm
    memory_lm = replace(memory_lm, lm=with_adapter(memory_lm.lm.requires_grad_(False), params).eval())
    with torch.no_grad():
        for name, weight in memory_lm.lm.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2)
    return memory_lm


def rank_generated(*arguments, **options):
    """The ranking alone."""
    return search_ids(*arguments, **options)[0]


def random_head(memory_lm, tree):
    """A head and an adapter far from where they start, so that codes, levels and weights all matter."""
    head = make_id_head(memory_lm, tree, rank=4, seed=PARAMS.seed)
    with torch.no_grad(), id_adapter(memory_lm, head, learns=False) as weights:
        for weight in [*weights, head.output]:
            weight.normal_(std=0.3)
    return head


def state(memory_lm):
    """Everything about a model that could be left changed: names, weights, what learns, what it says."""
    ids = torch.tensor([memory_lm.prompts.asked(QUESTIONS[0])])
    with torch.no_grad():
        logits = memory_lm.lm(input_ids=ids).logits
    learns = {name: weight.requires_grad for name, weight in memory_lm.lm.named_parameters()}
    weights = {name: weight.clone() for name, weight in memory_lm.lm.state_dict().items()}
    return weights, learns, logits


def brute_force(memory_lm, head, tree, question):
    """-log p and document of every id, best first, each by a plain forward pass of its own."""
    prompt = memory_lm.prompts.find(question)
    with torch.no_grad(), id_adapter(memory_lm, head, learns=False):
        costs = [id_nll(memory_lm, head, tree, [(prompt, path)]).item() for path in tree.ids.values()]
    return sorted(zip(costs, tree.ids, strict=True))


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_learning_ids_leaves_the_lm_bit_identical(tree, adapter, frozen):
    memory_lm = make_lm(adapter)
    if frozen:
        memory_lm.lm.requires_grad_(False)
    weights, learns, logits = state(memory_lm)
    head = make_id_head(memory_lm, tree, rank=4, seed=PARAMS.seed)
    pairs = [(sentence(i, 5), f"d{i}") for i in range(N)]
    log = train_ids(memory_lm, head, tree=tree, pairs=pairs, params=PARAMS)
    rank_generated(memory_lm, head, tree=tree, questions=QUESTIONS[:2], depth=3)
    after_weights, after_learns, after_logits = state(memory_lm)
    assert list(weights) == list(after_weights) and all(
        torch.equal(weights[name], after_weights[name]) for name in weights
    )
    assert learns == after_learns and torch.equal(logits, after_logits)
    assert not memory_lm.lm.training and not any("ids" in name.split(".") for name in after_weights)
    assert list(log.columns) == ["step", "nll"] and log.step.iloc[-1] == PARAMS.train.id_steps
    assert log.nll.iloc[-1] < log.nll.iloc[0]
    assert head.adapter and any(weight.abs().max() > 0 for name, weight in head.adapter.items() if "lora_B" in name)


def test_the_adapter_stands_on_top_of_the_lms_own(tree):
    """With its output at zero, as a new one's is, the model in use is the memory's LM and not the one below it."""
    memory_lm = make_lm(adapter=True)
    ids = torch.tensor([memory_lm.prompts.asked(QUESTIONS[0])])
    with torch.no_grad():
        own = memory_lm.lm(input_ids=ids).logits
        with id_adapter(memory_lm, make_id_head(memory_lm, tree, rank=4, seed=PARAMS.seed), learns=False):
            new = memory_lm.lm(input_ids=ids).logits
        with id_adapter(memory_lm, random_head(memory_lm, tree), learns=False):
            other = memory_lm.lm(input_ids=ids).logits
        with memory_lm.lm.disable_adapter():
            below = memory_lm.lm(input_ids=ids).logits
    torch.testing.assert_close(new, own)
    assert not torch.allclose(own, below) and not torch.allclose(own, other)


def test_an_lm_with_an_adapter_still_learns_its_own_after_ids(tree):
    memory_lm = make_lm(adapter=True)
    with pytest.raises(RuntimeError, match="stopped"), id_adapter(memory_lm, random_head(memory_lm, tree), learns=True):
        raise RuntimeError("stopped")
    ids = torch.tensor([memory_lm.prompts.asked(QUESTIONS[0])])
    memory_lm.lm(input_ids=ids).logits.sum().backward()
    moved = {name for name, weight in memory_lm.lm.named_parameters() if weight.grad is not None}
    assert moved and all(".default." in name for name in moved)


def test_only_adapter_and_head_learn(tree):
    memory_lm = make_lm(adapter=True)
    head = random_head(memory_lm, tree)
    rows = [(memory_lm.prompts.find(QUESTIONS[0]), tree.ids["d0"])]
    with id_adapter(memory_lm, head, learns=True) as weights:
        id_nll(memory_lm, head, tree, rows).sum().backward()
        given = {name for name, weight in memory_lm.lm.named_parameters() if weight.grad is not None}
        assert len(given) == len(weights) and all(".ids." in name for name in given)
    assert head.codes.grad.abs().sum() > 0 and head.output.grad.abs().sum() > 0


def test_ids_can_be_learnt(tree):
    """Training puts the document of every training question first, where it was not before."""
    params = changed(PARAMS, {"train.id_steps": 150, "train.batch_tuples": 20, "train.lm_lr": 0.02})
    memory_lm = make_lm(adapter=False)
    head, pairs = make_id_head(memory_lm, tree, rank=4, seed=params.seed), [(sentence(i, 6), f"d{i}") for i in range(N)]
    questions = [question for question, _ in pairs]

    def right():
        ids, _ = rank_generated(memory_lm, head, tree=tree, questions=questions, depth=1)
        return np.mean([best == [doc_id] for best, (_, doc_id) in zip(ids, pairs, strict=True)])

    before = right()
    train_ids(memory_lm, head, tree=tree, pairs=pairs, params=params)
    assert before < 0.2 and right() > 0.9


def test_training_in_parts_equals_training_at_once(tree):
    logs, pairs = [], [(sentence(i, 5), f"d{i}") for i in range(N)]
    for micro_batch in (0, 3):
        params = changed(PARAMS, {"train.id_steps": 4, "machine.micro_batch": micro_batch})
        memory_lm = make_lm(adapter=False)
        head = make_id_head(memory_lm, tree, rank=4, seed=params.seed)
        logs.append(train_ids(memory_lm, head, tree=tree, pairs=pairs, params=params))
    np.testing.assert_allclose(logs[0].nll, logs[1].nll, rtol=1e-4)


@pytest.mark.parametrize("adapter", [False, True])
def test_saved_ids_rank_bit_equal(tree, adapter, tmp_path):
    memory_lm = make_lm(adapter)
    head = random_head(memory_lm, tree)
    save_id_head(head, tmp_path / "ids")
    loaded = load_id_head(memory_lm, tmp_path / "ids")
    options = {"tree": tree, "questions": QUESTIONS, "depth": 5}
    assert rank_generated(memory_lm, head, **options) == rank_generated(memory_lm, loaded, **options)
    assert {path.suffix for path in (tmp_path / "ids").iterdir()} == {".safetensors"}


def test_probabilities_of_all_ids_sum_to_one(tree):
    memory_lm = make_lm(adapter=False)
    head = random_head(memory_lm, tree)
    for some in (tree, delete_documents(tree, ["d1", "d5", "d39"])):
        costs = [cost for cost, _ in brute_force(memory_lm, head, some, QUESTIONS[0])]
        assert math.isclose(sum(math.exp(-cost) for cost in costs), 1, rel_tol=1e-4)


def test_batched_nll_equals_one_by_one(tree):
    memory_lm = make_lm(adapter=False)
    head = random_head(memory_lm, tree)
    rows = [(memory_lm.prompts.find(question), tree.ids[f"d{7 * i}"]) for i, question in enumerate(QUESTIONS)]
    assert len({len(path) for _, path in rows}) > 1
    with torch.no_grad(), id_adapter(memory_lm, head, learns=False):
        together = id_nll(memory_lm, head, tree, rows)
        alone = torch.cat([id_nll(memory_lm, head, tree, [row]) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("width", [1, 20])
def test_search_equals_scoring_every_id(tree, adapter, width, monkeypatch):
    memory_lm = make_lm(adapter)
    head = random_head(memory_lm, tree)
    monkeypatch.setattr("zmem_lib.ids.search.QUESTIONS", 4)
    (ids, scores), certain = search_ids(memory_lm, head, tree=tree, questions=QUESTIONS, depth=10, width=width)
    assert all(certain)
    for question, found, log_p in zip(QUESTIONS, ids, scores, strict=True):
        best = brute_force(memory_lm, head, tree, question)[:10]
        assert found == [doc_id for _, doc_id in best]
        np.testing.assert_allclose(log_p, [-cost for cost, _ in best], atol=1e-3)
    assert len({len(tree.ids[doc_id]) for found in ids for doc_id in found}) > 1  # short ids among long ones


@pytest.mark.parametrize("n", [2, 5])
def test_ids_of_new_documents_may_be_longer_than_the_head_was_made_for(n):
    memory_lm, start = make_lm(adapter=False), build_tree([f"d{i}" for i in range(n)], units(n), branching=2, seed=0)
    head = random_head(memory_lm, start)
    (ids, _), certain = search_ids(memory_lm, head, tree=start, questions=QUESTIONS, depth=n)
    assert all(certain) and all(sorted(found) == sorted(start.ids) for found in ids)
    more = add_documents(start, [f"n{i}" for i in range(60)], units(60, seed=1))
    assert more.depth > len(head.codes)
    ids, _ = rank_generated(memory_lm, head, tree=more, questions=QUESTIONS[:2], depth=9, width=2)
    for question, found in zip(QUESTIONS, ids, strict=False):
        assert found == [doc_id for _, doc_id in brute_force(memory_lm, head, more, question)[:9]]


def test_search_returns_all_documents_where_fewer_than_wanted(tree):
    memory_lm = make_lm(adapter=False)
    less = delete_documents(tree, [f"d{i}" for i in range(3, N)])
    (ids, _), certain = search_ids(memory_lm, random_head(memory_lm, tree), tree=less, questions=QUESTIONS, depth=5)
    assert all(sorted(found) == ["d0", "d1", "d2"] for found in ids) and all(certain)
    none = delete_documents(less, ["d0", "d1", "d2"])
    ranking = rank_generated(memory_lm, random_head(memory_lm, tree), tree=none, questions=QUESTIONS, depth=20)
    assert ranking == ([[]] * len(QUESTIONS), [[]] * len(QUESTIONS))


def run_by_hand(log_p, **limits):
    """The search over a tree given as {beginning: log p of its codes}, and the beginnings it followed."""
    documents = {
        f"d{path}": path
        for path in ((*prefix, code) for prefix, row in log_p.items() for code in range(len(row)))
        if path not in log_p
    }
    running = best_ids(IdTree(9, documents, {}, {}), **limits)
    followed, rows = [], None
    while True:
        try:
            wanted = running.send(rows)
        except StopIteration as end:
            return end.value, followed
        followed.append(wanted)
        rows = [log_p[prefix] for prefix in wanted]


# the likeliest beginning, 0, parts into ten; the best id lies below 1
PARTED = {(): np.log([0.6, 0.4]).tolist(), (0,): [math.log(0.1)] * 10, (1,): np.log([0.9, 0.1]).tolist()}


def test_a_narrow_beam_does_not_lose_the_best_id():
    (found, certain), followed = run_by_hand(PARTED, depth=1, width=1)
    assert [path for _, path in found] == [(1, 0)] and certain
    assert math.isclose(-found[0][0], math.log(0.36))
    assert followed == [[()], [(0,)], [(1,)]]  # greedy first, then back to what it left aside


def test_a_search_that_is_cut_off_says_so():
    (found, certain), followed = run_by_hand(PARTED, depth=1, width=1, most=2)
    assert [path[:1] for _, path in found] == [(0,)] and not certain and len(followed) == 2
    (found, certain), _ = run_by_hand(PARTED, depth=12, width=1, most=2)
    assert len(found) == 12 and certain  # however little it may read, it goes on to as many as are wanted


def test_the_beam_widens_until_the_best_are_certain():
    """Twenty beginnings of which the last but one holds the best id."""
    n = 20
    share = np.linspace(1.2, 0.8, n) / n
    log_p = {(): np.log(share).tolist()} | {(i,): [math.log(0.5)] * 2 for i in range(n)}
    log_p[(n - 2,)] = np.log([0.99, 0.01]).tolist()
    (found, certain), followed = run_by_hand(log_p, depth=1, width=2)
    assert found[0][1] == (n - 2, 0) and certain
    assert [len(wanted) for wanted in followed] == [1, 2, 4, 8, 6]


def test_what_cannot_be_among_the_best_is_not_followed():
    log_p = {(): np.log([0.98, 0.01, 0.01]).tolist()} | {(i,): [math.log(0.5)] * 2 for i in range(3)}
    (found, certain), followed = run_by_hand(log_p, depth=2, width=1)
    assert [path for _, path in found] == [(0, 0), (0, 1)] and certain and followed == [[()], [(0,)]]


def test_a_short_id_competes_with_longer_ones():
    log_p = {(): np.log([0.3, 0.7]).tolist(), (1,): np.log([0.5, 0.5]).tolist(), (1, 1): np.log([0.95, 0.05]).tolist()}
    (found, certain), _ = run_by_hand(log_p, depth=4, width=1)
    assert [path for _, path in found] == [(1, 0), (1, 1, 0), (0,), (1, 1, 1)] and certain

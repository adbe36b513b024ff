"""Joint training: it learns, touches only the rows in its batch, and resumes as if it had not been killed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import small_lm, small_params
from tiny_training import DOCS, TUPLES, N, setting, tensors_of

import zmem_lib.memory.lessons as lessons_module
import zmem_lib.memory.train as train_module
from zmem_lib.cache import Cache
from zmem_lib.memory.encoder import KeyBank, encode
from zmem_lib.memory.lessons import (
    batch_at,
    batch_indices,
    make_lessons,
    others,
    reading_rows,
    recitations_at,
    text_rows,
)
from zmem_lib.memory.likelihood import counted_logits, token_nll
from zmem_lib.memory.lm import learning_weights
from zmem_lib.memory.losses import all_losses, key_loss, make_work
from zmem_lib.memory.prompts import TERMS, Prompts, Row
from zmem_lib.memory.table import cosine, make_ztable
from zmem_lib.memory.train import make_optimisers, make_training, refresh_bank, train, train_step
from zmem_lib.params import changed
from zmem_lib.tables import PSEUDO


def test_a_step_changes_no_row_whose_document_is_not_in_the_batch():
    memory_lm, z_table, lessons = setting()
    training = make_training(memory_lm, z_table, lessons)
    for step in range(4):  # later steps too: momentum must not move a row by itself
        before = z_table.z.clone()
        train_step(training, step)
        batch = batch_at(lessons, step)
        touched = {*lessons.tuple_index[batch.tuples], *batch.recited}
        moved = (z_table.z != before).flatten(1).any(1)
        assert set(moved.nonzero().flatten().tolist()) == touched
        assert 0 < len(touched) < N


def test_training_lowers_every_term(tmp_path):
    memory_lm, z_table, lessons = setting({"train.steps": 40, "train.lm_lr": 3e-3})
    log = train(memory_lm, z_table, lessons, keep=Cache(tmp_path, "these"))
    curves = log[log.split == "train"].pivot(index="step", columns="term", values="nll")
    assert set(curves) == {"question", "evidence", "recite", "read"}
    assert (curves.iloc[-3:].mean() < 0.8 * curves.iloc[0]).all()
    assert set(log[log.split == "dev"].term) == {"question", "evidence"}


def test_without_train_lm_only_z_moves(tmp_path):
    memory_lm, z_table, lessons = setting({"train.lm": False, "train.steps": 5})
    weights = [weight.clone() for weight in memory_lm.lm.parameters()]
    z = z_table.z.clone()
    log = train(memory_lm, z_table, lessons, keep=Cache(tmp_path, "these"))
    assert all(torch.equal(a, b) for a, b in zip(weights, memory_lm.lm.parameters(), strict=True))
    assert not torch.equal(z, z_table.z) and "read" not in set(log.term)


def test_a_killed_run_resumes_exactly(tmp_path, monkeypatch):
    memory_lm, z_table, lessons = setting()
    straight_log = train(memory_lm, z_table, lessons)
    straight = [weight.clone() for weight in (*memory_lm.lm.parameters(), *tensors_of(z_table).values())]

    real_step, killed_at = train_module.train_step, 7

    def dying_step(here, step):
        if step == killed_at:
            raise KeyboardInterrupt
        return real_step(here, step)

    memory_lm, z_table, lessons = setting()
    monkeypatch.setattr(train_module, "train_step", dying_step)
    with pytest.raises(KeyboardInterrupt):
        train(memory_lm, z_table, lessons, keep=Cache(tmp_path, "these"))
    done = []
    monkeypatch.setattr(train_module, "train_step", lambda here, step: done.append(step) or real_step(here, step))
    memory_lm, z_table, lessons = setting()  # as a fresh process has it
    resumed_log = train(memory_lm, z_table, lessons, keep=Cache(tmp_path, "these"))
    assert done == list(range(killed_at, lessons.params.train.steps))
    resumed = [*memory_lm.lm.parameters(), *tensors_of(z_table).values()]
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))
    pd.testing.assert_frame_equal(straight_log.drop(columns="seconds"), resumed_log.drop(columns="seconds"))


def test_a_checkpoint_of_something_else_is_not_taken_up(tmp_path):
    train(*setting({"train.steps": 3}), keep=Cache(tmp_path, "these"))
    log = train(*setting({"train.steps": 4}), keep=Cache(tmp_path, "others"))
    assert log.step.min() == 1 and log.step.max() == 4


def test_every_row_is_due_once_in_an_epoch_in_a_new_order():
    epochs = [[i for step in range(5) for i in batch_indices(10, 2, step=step + 5 * e, seed=1)] for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10)) and epochs[0] != epochs[1]


def test_reader_lessons_hold_the_answer_amid_distractors():
    memory_lm, _, lessons = setting({"train.batch_read": 40, "train.read_items": 3})
    decode = memory_lm.prompts.tokenizer.decode
    steps = [reading_rows(lessons, step) for step in range(12)]
    items = [[row.ids.count(memory_lm.prompts.marks["item"][0]) for row in rows] for rows in steps]
    assert {frozenset(of_step) for of_step in items} == {frozenset({0}), frozenset({1, 2, 3})}  # a step is of one kind
    rows, items = [row for of_step in steps for row in of_step], [n for of_step in items for n in of_step]
    answers = [decode([i for i, t in zip(r.ids, r.terms, strict=True) if TERMS[t] == "read"][:-1]) for r in rows]
    given = [decode(r.ids[: r.terms.index(TERMS.index("read"))]) for r in rows]
    held = [a.strip(" .") in text for a, text in zip(answers, given, strict=True)]
    assert all(h for h, n in zip(held, items, strict=True) if n)


def test_schedule_warms_up_then_falls():
    rates = [cosine(step, 100) for step in range(100)]
    assert rates[0] < rates[4] == 1.0 and rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[-1] < 0.06


ALL_TERMS = {
    "memory.z_width": 8, "memory.key_width": 6, "memory.start": "encode", "train.encode_share": 0.5,
    "train.text_weight": 0.3, "train.key_weight": 1.0, "train.key_negatives": 2, "train.distill_weight": 0.1,
    "train.encode_weight": 0.1, "train.distractor_share": 0.5,
}  # fmt: skip


def gradients(step, changes):
    """Batch, losses and gradients of one step, before anything moves; those of the rows last."""
    memory_lm, z_table, lessons = setting(changes)
    memory_lm.lm.train()
    batch = batch_at(lessons, step)
    training = make_training(memory_lm, z_table, lessons)
    if len(training.bank.keys):
        refresh_bank(training, 0)
    work = make_work(memory_lm, z_table, lessons, batch, bank=training.bank, scaler=training.scaler)
    losses = all_losses(work)
    work.encode_backward()
    learned = [weight.grad for weight in learning_weights(memory_lm) if weight.grad is not None]
    return batch, losses, [*learned, work.rows.grad]


MOVING = ("distill", "encode")  # terms whose target moves as the model learns
STEPS = (0, 1, 4, 5)  # with and without encoder, with and without distractors


@pytest.mark.parametrize("step", STEPS)
def test_a_batch_in_pieces_gives_the_gradients_of_the_whole(step):
    _, losses, whole = gradients(step, ALL_TERMS)
    assert {"evidence", "recite", "read", "text", "distill", "key"} <= set(losses)
    for micro_batch, checkpointing in ((1, False), (3, False), (1, True)):
        pieced = {"machine.micro_batch": micro_batch, "machine.activation_checkpointing": checkpointing}
        _, found, pieces = gradients(step, ALL_TERMS | pieced)
        assert found == pytest.approx(losses, rel=1e-4) and len(pieces) == len(whole)
        assert all((a - b).abs().max() <= 1e-3 * b.abs().max() for a, b in zip(pieces, whole, strict=True))


def test_the_steps_of_that_test_have_the_encoder_and_distractors_among_them():
    _, _, lessons = setting(ALL_TERMS)
    batches = [batch_at(lessons, step) for step in STEPS]
    assert {batch.encoded for batch in batches} == {True, False} and any(batch.beside.size for batch in batches)


def test_checkpointed_activations_change_nothing_that_is_found():
    found = [gradients(0, {"machine.activation_checkpointing": on})[2] for on in (False, True)]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))
    memory_lm, _, lessons = setting({"machine.activation_checkpointing": True})
    memory_lm.lm.train()
    calls = []
    memory_lm.backbone.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    z = torch.zeros(1, lessons.params.memory.z_tokens, memory_lm.heads.width, requires_grad=True)
    token_nll(memory_lm, z, [lessons.tuple_row(0)])[0].sum().backward()
    assert len(calls) == 2, "every layer is computed twice"


def test_every_term_is_learned_and_can_be_switched_off(tmp_path):
    memory_lm, z_table, lessons = setting(ALL_TERMS | {"train.steps": 60, "train.lm_lr": 3e-3})
    log = train(memory_lm, z_table, lessons, keep=Cache(tmp_path, "these")).query("split == 'train'")
    curves = {term: rows.nll.to_numpy() for term, rows in log.groupby("term")}
    assert set(curves) == {"question", "evidence", "recite", "read", "text", "key", "distill", "encode"}
    halves = {term: np.array_split(curve, 2) for term, curve in curves.items() if term not in MOVING}
    assert all(late.mean() < early.mean() for early, late in halves.values())
    for term in ("question", "recite", "read", "text", "key", "distill", "encode"):
        training = make_training(*setting(ALL_TERMS | {f"train.{term}_weight": 0.0}))
        for step in range(3):
            losses = train_step(training, step)
            assert term not in losses or term == "question", "a term that is off is not even computed"


def test_a_question_of_weight_zero_has_no_gradient():
    (_, with_it, weighed), (_, without, off) = gradients(0, {}), gradients(0, {"train.question_weight": 0.0})
    assert with_it == pytest.approx(without) and not torch.allclose(weighed[-1], off[-1])


def test_an_encoded_step_moves_the_encoder_and_no_row():
    memory_lm, z_table, lessons = setting(ALL_TERMS | {"train.encode_share": 1.0})
    before = {name: tensor.clone() for name, tensor in tensors_of(z_table).items()}
    maps = {name: weight.clone() for name, weight in memory_lm.heads.named_parameters()}
    train_step(make_training(memory_lm, z_table, lessons), 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(z_table).items())
    assert all(not torch.equal(weight, maps[name]) for name, weight in memory_lm.heads.named_parameters())


def test_gold_documents_are_never_negatives():
    shared = TUPLES.assign(question_id=lambda t: t.question_id.where(~t.doc_id.isin(["d0", "d1"]), "both"))
    params = small_params(ALL_TERMS)
    lessons = make_lessons(small_lm(params), DOCS, shared, params)
    both = [gold for gold, index in zip(lessons.gold, lessons.tuple_index, strict=True) if index in (0, 1)]
    assert both and all(gold == {0, 1} for gold in both)
    training = make_training(*setting(ALL_TERMS)[:2], lessons)
    refresh_bank(training, 0)
    bank = KeyBank(training.bank.documents[:2], training.bank.keys[:2])  # of these two
    only = {"tuples": np.flatnonzero(np.isin(lessons.tuple_index, [0, 1])), "beside": np.empty((0, 0), int)}
    only |= {"encoded": False, "recited": np.array([0]), "keyed": only["tuples"]}
    batch = dataclasses.replace(batch_at(lessons, 0), **only)
    work = make_work(training.memory_lm, training.z_table, lessons, batch, bank=bank, scaler=training.scaler)
    assert key_loss(work) == 0.0, "with no document but the gold ones nothing is left to tell apart"


def test_distillation_is_the_kl_per_evidence_token_from_the_model_that_has_the_text():
    memory_lm, z_table, lessons = setting(ALL_TERMS | {"train.distractor_share": 0.0, "train.batch_text": 3})
    training = make_training(memory_lm, z_table, lessons)
    batch = dataclasses.replace(batch_at(lessons, 0), encoded=False)
    work = make_work(memory_lm, z_table, lessons, batch, bank=training.bank, scaler=training.scaler)
    total, n, rows = 0.0, 0, [lessons.tuple_row(i) for i in batch.tuples]
    for i, row in zip(batch.tuples[:3], rows, strict=False):
        document = int(lessons.tuple_index[i])
        text = lessons.text(document)
        behind = Row(text + row.ids, [0] * len(text) + row.terms)
        p = counted_logits(memory_lm, None, [behind], "evidence")[0].softmax(-1)
        q = counted_logits(memory_lm, z_table.z[[document]], [row], "evidence")[0].softmax(-1)
        total, n = total + (p * (p / q).log()).sum().item(), n + len(p)
    assert all_losses(work)["distill"] == pytest.approx(total / n, rel=1e-4)


def test_every_key_that_a_question_meets_is_the_encoders():
    memory_lm, z_table, lessons = setting(ALL_TERMS)
    training = make_training(memory_lm, z_table, lessons)
    refresh_bank(training, 0)
    _, keys = encode(memory_lm, list(DOCS.title + "\n" + DOCS.text), lessons.params.memory.document_tokens)
    torch.testing.assert_close(training.bank.keys, keys, atol=1e-5, rtol=1e-4)
    for step in STEPS:
        batch = batch_at(lessons, step)
        work = make_work(memory_lm, z_table, lessons, batch, bank=training.bank, scaler=training.scaler)
        torch.testing.assert_close(work.keys.detach(), keys[work.keyed], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("share", [1.0, 1e-9])
def test_the_encoders_gradient_is_the_slope_of_the_loss(share):
    memory_lm, z_table, lessons = setting(ALL_TERMS | {"train.encode_share": share})
    training = make_training(memory_lm, z_table, lessons)
    refresh_bank(training, 0)
    batch, weights = batch_at(lessons, 0), vars(lessons.params.train) | {"evidence_weight": 1.0}

    def loss():
        memory_lm.lm.zero_grad()
        memory_lm.heads.zero_grad()
        work = make_work(memory_lm, z_table, lessons, batch, bank=training.bank, scaler=training.scaler)
        losses = all_losses(work)
        work.encode_backward()
        return sum(weights[f"{term}_weight"] * value for term, value in losses.items())

    loss()
    maps = [memory_lm.heads.to_key.weight, memory_lm.heads.to_block.weight]
    torch.manual_seed(1)
    ways = [torch.randn_like(weight) * weight.std() * 0.02 for weight in maps]
    expected = sum((weight.grad * way).sum().item() for weight, way in zip(maps, ways, strict=True))
    ends = []
    for sign in (1, -2):  # forwards, then back over the beginning
        with torch.no_grad():
            for weight, way in zip(maps, ways, strict=True):
                weight += sign * way
        ends.append(loss())
    assert abs(expected) > 1e-3
    assert (ends[0] - ends[1]) / 2 == pytest.approx(expected, rel=0.05)


def test_a_step_without_encoded_blocks_still_teaches_the_encoder_keys():
    memory_lm, z_table, lessons = setting(ALL_TERMS | {"train.encode_share": 1e-9, "train.batch_key": 2})
    training = make_training(memory_lm, z_table, lessons)
    refresh_bank(training, 0)
    batch = batch_at(lessons, 0)
    work = make_work(memory_lm, z_table, lessons, batch, bank=training.bank, scaler=training.scaler)
    assert work.keyed.tolist() == sorted(set(lessons.tuple_index[batch.tuples[:2]]))
    all_losses(work)
    work.encode_backward()
    assert memory_lm.heads.to_key.weight.grad.abs().sum() > 0
    assert memory_lm.heads.to_block.weight.grad.abs().sum() == 0, "the blocks are the table's"


def test_a_bank_that_cannot_hold_all_documents_draws_others_each_time(monkeypatch):
    monkeypatch.setattr(train_module, "BANK", 4)
    training = make_training(*setting(ALL_TERMS))
    drawn = []
    for step in (0, 100):
        refresh_bank(training, step)
        drawn.append(training.bank.documents.tolist())
    assert all(some == sorted(set(some)) and len(some) == 4 for some in drawn)
    assert drawn[0] != drawn[1]


def test_distractors_are_all_different_and_never_the_right_document():
    right, rng = np.array([0, 3, 9]), np.random.default_rng(1)
    for _ in range(50):
        beside = others(right, N, 3, rng)
        assert all(len({*row, one}) == 4 for row, one in zip(beside.tolist(), right.tolist(), strict=True))
    assert set(others(np.array([2]), 4, 3, rng).ravel().tolist()) == {0, 1, 3}


def test_the_time_of_a_step_does_not_read_the_whole_table(tmp_path):
    memory_lm, _, lessons = setting()
    z = torch.randn(50_000, lessons.params.memory.z_tokens, memory_lm.heads.width)
    table = make_ztable(z, folder=tmp_path / "rows")
    train_step(make_training(memory_lm, table, lessons), 0)
    touched = (table.moves > 0).nonzero().flatten().tolist()
    assert 0 < len(touched) < N and torch.equal(table.z[N:], z[N:]) and not torch.equal(table.z[touched], z[touched])
    again = torch.from_file(str(tmp_path / "rows/rows.bin"), size=table.rows.numel()).view(table.rows.shape)
    assert torch.equal(again, table.rows), "the table lies in the file"


def test_dev_tuples_are_drawn_over_all_documents(monkeypatch):
    monkeypatch.setattr(lessons_module, "DEV_TUPLES", 4)
    params = small_params()
    drawn = [
        make_lessons(small_lm(), DOCS, TUPLES, changed(params, {"seed": seed})).dev_index.tolist() for seed in range(5)
    ]
    assert all(len(set(some)) == 4 for some in drawn)
    assert len(set().union(*drawn)) > 4


def test_a_third_of_the_tuples_are_the_models_own_once_it_has_asked():
    own = TUPLES[TUPLES.split == "train"].head(3)
    own = own.assign(tuple_id=[f"{PSEUDO}{i}@{doc}" for i, doc in enumerate(own.doc_id)])
    params = small_params({"train.batch_tuples": 6})
    memory_lm = small_lm(params)
    lessons = make_lessons(memory_lm, DOCS, pd.concat([TUPLES, own]), params)
    seen = np.concatenate([batch_at(lessons, step).tuples for step in range(40)]).reshape(40, 6)
    assert ((seen >= 2 * N).sum(1) == 2).all() and set(seen.ravel()) == set(range(2 * N + 3))


def test_text_lessons_have_the_document_or_the_evidence_alone():
    params = small_params({"train.text_weight": 1.0, "train.batch_text": 5})
    memory_lm = small_lm(params)
    prompts, lessons = memory_lm.prompts, make_lessons(memory_lm, DOCS, TUPLES, params)
    chosen = np.array([0, 3, 4, 7, 9])
    for step in (4, 5):  # one step in four has whole documents
        for i, row in zip(chosen, text_rows(lessons, chosen, step), strict=True):
            doc, one = lessons.tuple_index[i], lessons.tuples.iloc[i]
            alone = prompts.text(f"t{doc}\n{one.evidence}", params.memory.document_tokens)
            assert row == prompts.twin(alone if step % 4 else lessons.text(doc), lessons.tuple_row(i))


def test_behind_a_text_the_model_learns_where_a_question_ends():
    memory_lm = small_lm(small_params())
    prompts = memory_lm.prompts
    text, row = prompts.text("amber bird.", 9), prompts.evidence("Who is it?", "fern.", 9)
    twin, given = prompts.twin(text, row), len(text) + len(prompts.marks["question"])
    assert twin.ids == text + row.ids and not any(twin.terms[:given])
    assert set(twin.terms[given:]) == {TERMS.index("text")}, "the marker behind the question counts"
    assert row.terms.count(0) == len(prompts.marks["question"] + prompts.marks["evidence"]), "behind z it is given"


def test_recitations_of_a_step_are_all_whole_or_all_of_one_sentence():
    documents = [[Row([i], [1]), *(Row([i, j], [0, 1]) for j in range(3))] for i in range(5)]
    rng = np.random.default_rng(0)
    seen = [recitations_at(documents, 0.25, rng) for _ in range(400)]
    kinds = [{len(row.ids) for row in rows} for rows in seen]
    assert all(len(kind) == 1 for kind in kinds) and 0.2 < np.mean([kind == {2} for kind in kinds]) < 0.3
    assert {row.ids[1] for rows in seen for row in rows if len(row.ids) == 2} == {0, 1, 2}
    assert all([row.ids[0] for row in rows] == list(range(5)) for rows in seen)
    assert recitations_at([[Row([7], [1])]], 1.0, rng) == [Row([7], [1])]  # a document without sentences


def test_muon_moves_the_matrices_of_the_layers_and_adamw_all_else(tmp_path):
    changes = {"train.steps": 6, "train.optimiser": "muon", "memory.z_width": 8, "memory.key_width": 6}
    changes |= {"train.encode_share": 0.5}
    memory_lm, z_table, lessons = setting(changes)
    adamw, muon = make_optimisers(memory_lm, lessons.params)
    names = {id(weight): name for name, weight in memory_lm.lm.named_parameters()}
    in_muon, in_adamw = ([id(w) for group in one.param_groups for w in group["params"]] for one in (muon, adamw))
    assert all(names[i].endswith("_proj.weight") for i in in_muon) and len(in_muon) == 7 * lessons.params.lm.layers
    assert sorted(in_muon + in_adamw) == sorted(map(id, learning_weights(memory_lm)))
    train(memory_lm, z_table, lessons)
    paused, keep = setting(changes), Cache(tmp_path, "these")
    train(*paused, keep=keep, until=4)
    train(*paused, keep=keep)  # from its checkpoint, momentum included
    assert torch.equal(paused[1].z, z_table.z)


def test_heads_and_model_learn_each_at_its_own_rate():
    training = make_training(*setting(ALL_TERMS | {"train.lm_lr": 1e-5, "train.heads_lr": 1e-2, "train.steps": 20}))
    heads = {id(weight) for weight in training.memory_lm.heads.parameters()}
    train_step(training, 1)  # the warm-up's last
    (adamw,) = training.optimisers
    rates = {id(weight) in heads: group["lr"] for group in adamw.param_groups for weight in group["params"]}
    assert rates == {True: pytest.approx(1e-2, rel=0.1), False: pytest.approx(1e-5, rel=0.1)}


def test_a_first_step_of_z_is_its_rate_in_standard_deviations_of_the_embeddings():
    memory_lm, z_table, lessons = setting({"train.steps": 1, "train.z_rate": 0.3})
    before = z_table.z.clone()
    train_step(make_training(memory_lm, z_table, lessons), 0)
    moved = (z_table.z - before).abs()
    expected = 0.3 * memory_lm.heads.scale  # the first step of Adam has the size of its rate
    assert moved[moved > 0].median().item() == pytest.approx(expected, rel=1e-2)


def test_training_stops_where_it_is_to_pause_and_goes_on_from_there(tmp_path):
    whole, paused, keep = setting({"train.steps": 6}), setting({"train.steps": 6}), Cache(tmp_path, "these")
    train(*whole)
    first = train(*paused, keep=keep, until=4)
    assert first.step.max() == 4
    half = paused[1].z.clone()
    assert train(*paused, keep=keep, until=4).equals(first) and torch.equal(paused[1].z, half)
    log = train(*paused, keep=keep)
    assert log.step.max() == 6 and torch.equal(paused[1].z, whole[1].z) and not torch.equal(paused[1].z, half)


def test_a_training_whose_pause_comes_at_its_end_does_not_begin_again(tmp_path):
    once, paused, keep = setting({"train.steps": 3}), setting({"train.steps": 3}), Cache(tmp_path, "these")
    train(*once)
    assert train(*paused, keep=keep, until=3).equals(train(*paused, keep=keep))
    assert torch.equal(paused[1].z, once[1].z)


def test_a_text_is_tokenised_when_it_is_first_due_and_never_again(monkeypatch):
    real, read = Prompts.encode, []
    monkeypatch.setattr(Prompts, "encode", lambda self, *asked: read.append(asked) or real(self, *asked))
    _, _, lessons = setting(ALL_TERMS | {"memory.start": "vocab", "train.encode_share": 0.0})
    read.clear()  # dev rows, which are due again and again
    makers = {lessons.recitations: N, lessons.text: N, lessons.tuple_row: 2 * N, lessons.question: 2 * N}
    first = [[make(i) for i in range(n)] for make, n in makers.items()]
    assert len(read) == N * 2 + N + 2 * N * 2 + 2 * N  # a document is its whole and here one sentence
    assert [[make(i) for i in range(n)] for make, n in makers.items()] == first and len(read) == 9 * N

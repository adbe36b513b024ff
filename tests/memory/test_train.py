"""Joint training: it learns, touches only the rows in its batch, and resumes as if it had not been killed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import small_lm, small_params
from tiny_training import DOCS, TUPLES, N, setting

import zmem_lib.memory.train as training
from zmem_lib.data.tuples import PSEUDO
from zmem_lib.memory.lessons import batch_at, batch_indices, make_lessons, reading_rows, recitations_at, text_rows
from zmem_lib.memory.lm import learning_weights, make_scaler, token_nll
from zmem_lib.memory.losses import Work, all_losses, key_loss
from zmem_lib.memory.prompts import TERMS, Row
from zmem_lib.memory.rates import cosine, linear
from zmem_lib.memory.table import make_ztable, table_tensors, take_rows
from zmem_lib.memory.train import make_optimisers, step_rows, train, train_step


def test_a_step_changes_no_row_whose_document_is_not_in_the_batch():
    memory_lm, z_table, lessons = setting()
    optimisers = make_optimisers(memory_lm, lessons.params)
    for step in range(4):  # later steps too: momentum must not move a row by itself
        before = z_table.z.clone()
        train_step(memory_lm, z_table, lessons, optimisers=optimisers, scaler=make_scaler(memory_lm), step=step)
        batch = batch_at(memory_lm, lessons, step)
        touched = {*lessons.tuple_index[batch.tuples], *batch.recited}
        moved = (z_table.z != before).flatten(1).any(1)
        assert set(moved.nonzero().flatten().tolist()) == touched
        assert 0 < len(touched) < N


def test_training_lowers_every_term(tmp_path):
    memory_lm, z_table, lessons = setting({"train.steps": 40, "train.lm_lr": 3e-3})
    log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    curves = log[log.split == "train"].pivot(index="step", columns="term", values="nll")
    assert set(curves) == {"question", "evidence", "recite", "read"}
    assert (curves.iloc[-3:].mean() < 0.8 * curves.iloc[0]).all()
    assert set(log[log.split == "dev"].term) == {"question", "evidence"}


def test_without_train_lm_only_z_moves(tmp_path):
    memory_lm, z_table, lessons = setting({"train.lm": False, "train.steps": 5})
    weights = [weight.clone() for weight in memory_lm.lm.parameters()]
    z = z_table.z.clone()
    log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    assert all(torch.equal(a, b) for a, b in zip(weights, memory_lm.lm.parameters(), strict=True))
    assert not torch.equal(z, z_table.z) and "read" not in set(log.term)


def test_a_killed_run_resumes_exactly(tmp_path, monkeypatch):
    memory_lm, z_table, lessons = setting()
    straight_log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "straight")
    straight = [weight.clone() for weight in (*memory_lm.lm.parameters(), *table_tensors(z_table).values())]

    real_step, killed_at = training.train_step, 7

    def dying_step(*args, step, **kwargs):
        if step == killed_at:
            raise KeyboardInterrupt
        return real_step(*args, step=step, **kwargs)

    memory_lm, z_table, lessons = setting()
    monkeypatch.setattr(training, "train_step", dying_step)
    with pytest.raises(KeyboardInterrupt):
        train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    done = []
    monkeypatch.setattr(
        training, "train_step", lambda *a, step, **k: done.append(step) or real_step(*a, step=step, **k)
    )
    memory_lm, z_table, lessons = setting()  # as a fresh process has it
    resumed_log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    assert done == list(range(killed_at, lessons.params.train.steps))
    resumed = [*memory_lm.lm.parameters(), *table_tensors(z_table).values()]
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))
    pd.testing.assert_frame_equal(straight_log.drop(columns="seconds"), resumed_log.drop(columns="seconds"))


def test_a_checkpoint_of_other_parameters_is_not_taken_up(tmp_path):
    memory_lm, z_table, lessons = setting({"train.steps": 3})
    train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    memory_lm, z_table, lessons = setting({"train.steps": 4})
    log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    assert log.step.min() == 1 and log.step.max() == 4


def test_every_row_is_due_once_in_an_epoch_in_a_new_order():
    epochs = [[i for step in range(5) for i in batch_indices(10, 2, step=step + 5 * e, seed=1)] for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10)) and epochs[0] != epochs[1]


def test_reader_lessons_hold_the_answer_amid_distractors():
    memory_lm, _, lessons = setting({"train.batch_read": 40, "answer.top_k": 3})
    decode = memory_lm.prompts.tokenizer.decode
    steps = [reading_rows(memory_lm, lessons, step=step) for step in range(12)]
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
    rates = [linear(step, 40, warm_up=0.1) for step in range(41)]
    assert rates[:5] == [0, 0.25, 0.5, 0.75, 1] and rates[22] == 0.5 and rates[40] == 0


ALL_TERMS = {
    "z_width": 8, "key_width": 6, "encode_share": 0.5, "text_weight": 0.3, "key_weight": 1.0, "key_negatives": 2,
    "distill_weight": 0.1, "encode_weight": 0.1, "distractor_share": 0.5, "z_start": "encode",
}  # fmt: skip


def gradients(step, **changes):
    """Losses and gradients of one step, before anything moves; those of the rows last."""
    memory_lm, z_table, lessons = setting(**changes)
    memory_lm.lm.train()
    batch = batch_at(memory_lm, lessons, step)
    documents = np.unique(np.concatenate([lessons.tuple_index[batch.tuples], batch.beside.ravel(), batch.recited]))
    rows, backward = step_rows(memory_lm, z_table, lessons, documents, batch.encoded)
    losses = all_losses(
        Work(
            memory_lm,
            lessons,
            batch,
            documents,
            rows,
            z_table.z[documents],
            z_table.keys[batch.pool],
            make_scaler(memory_lm),
        )
    )
    backward(rows.grad)
    return (
        batch,
        losses,
        [weight.grad for weight in learning_weights(memory_lm) if weight.grad is not None] + [rows.grad],
    )


MOVING = ("distill", "encode")  # terms whose target moves as the model learns
STEPS = (0, 1, 4, 5)  # with and without encoder, with and without distractors


@pytest.mark.parametrize("step", STEPS)
def test_a_batch_in_pieces_gives_the_gradients_of_the_whole(step):
    _, losses, whole = gradients(step, **ALL_TERMS)
    for micro_batch in (1, 3):
        _, found, pieces = gradients(step, micro_batch=micro_batch, **ALL_TERMS)
        assert found == pytest.approx(losses, rel=1e-4) and {
            "evidence",
            "recite",
            "read",
            "text",
            "distill",
            "key",
        } <= set(found)
        assert len(pieces) == len(whole)
        assert all((a - b).abs().max() <= 1e-3 * b.abs().max() for a, b in zip(pieces, whole, strict=True))


def test_the_steps_of_that_test_have_the_encoder_and_distractors_among_them():
    memory_lm, _, lessons = setting(**ALL_TERMS)
    batches = [batch_at(memory_lm, lessons, step) for step in STEPS]
    assert {batch.encoded for batch in batches} == {True, False} and any(batch.beside.size for batch in batches)


def test_checkpointed_activations_change_nothing_that_is_found():
    found = [gradients(0, activation_checkpointing=checkpointing)[2] for checkpointing in (False, True)]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))
    memory_lm, _, lessons = setting({"machine.activation_checkpointing": True})
    memory_lm.lm.train()
    calls = []
    memory_lm.backbone.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    z = torch.zeros(1, lessons.params.memory.z_tokens, memory_lm.heads.width, requires_grad=True)
    token_nll(memory_lm, z, [lessons.tuple_rows[0]])[0].sum().backward()
    assert len(calls) == 2, "every layer is computed twice"


def test_every_term_is_learned_and_can_be_switched_off(tmp_path):
    memory_lm, z_table, lessons = setting(train_steps=60, lm_lr=3e-3, **ALL_TERMS)
    log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint").query("split == 'train'")
    curves = {term: rows.nll.to_numpy() for term, rows in log.groupby("term")}
    assert set(curves) == {"question", "evidence", "recite", "read", "text", "key", "distill", "encode"}
    assert all(curve[-20:].mean() < curve[:20].mean() for term, curve in curves.items() if term not in MOVING)
    for term in ("question", "recite", "read", "text", "key", "distill", "encode"):
        memory_lm, z_table, lessons = setting(**(ALL_TERMS | {f"{term}_weight": 0.0}))
        optimisers, scaler = make_optimisers(memory_lm, lessons.params), make_scaler(memory_lm)
        for step in range(3):
            losses = train_step(memory_lm, z_table, lessons, optimisers=optimisers, scaler=scaler, step=step)
            assert term not in losses or term == "question", "a term that is off is not even computed"


def test_a_question_of_weight_zero_has_no_gradient():
    (_, with_it, weighed), (_, without, off) = gradients(0), gradients(0, question_weight=0.0)
    assert with_it == pytest.approx(without) and not torch.allclose(weighed[-1], off[-1])


def test_an_encoded_step_moves_the_encoder_and_no_row():
    memory_lm, z_table, lessons = setting(**(ALL_TERMS | {"encode_share": 1.0}))
    before = {name: tensor.clone() for name, tensor in table_tensors(z_table).items()}
    maps = {name: weight.clone() for name, weight in memory_lm.heads.named_parameters()}
    optimisers = make_optimisers(memory_lm, lessons.params)
    train_step(memory_lm, z_table, lessons, optimisers=optimisers, scaler=make_scaler(memory_lm), step=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in table_tensors(z_table).items())
    assert all(not torch.equal(weight, maps[name]) for name, weight in memory_lm.heads.named_parameters())


def test_gold_documents_are_never_negatives():
    shared = TUPLES.assign(question_id=lambda t: t.question_id.where(~t.doc_id.isin(["d0", "d1"]), "both"))
    params = small_params(**ALL_TERMS)
    lessons = make_lessons(small_lm(params), DOCS, shared, params)
    both = [gold for gold, index in zip(lessons.gold, lessons.tuple_index, strict=True) if index in (0, 1)]
    assert both and all(gold == {0, 1} for gold in both)
    memory_lm, z_table, _ = setting(**ALL_TERMS)
    tuples = np.flatnonzero(np.isin(lessons.tuple_index, [0, 1]))
    batch = dataclasses.replace(batch_at(memory_lm, lessons, 0), encoded=False, tuples=tuples, pool=np.array([0, 1]))
    rows = take_rows(z_table, torch.tensor([0, 1]), memory_lm.device)
    keys = z_table.keys[batch.pool]
    work = Work(memory_lm, lessons, batch, np.array([0, 1]), rows, z_table.z[:2], keys, make_scaler(memory_lm))
    assert key_loss(work) == 0.0, "with no document but the gold ones nothing is left to tell apart"


def test_the_time_of_a_step_does_not_read_the_whole_table(tmp_path):
    memory_lm, _, lessons = setting()
    z = torch.randn(50_000, lessons.params.memory.z_tokens, memory_lm.heads.width)
    table = make_ztable(z, folder=tmp_path / "rows")
    optimisers = make_optimisers(memory_lm, lessons.params)
    train_step(memory_lm, table, lessons, optimisers=optimisers, scaler=make_scaler(memory_lm), step=0)
    touched = (table.moves > 0).nonzero().flatten().tolist()
    assert 0 < len(touched) < N and torch.equal(table.z[N:], z[N:]) and not torch.equal(table.z[touched], z[touched])
    again = torch.from_file(str(tmp_path / "rows/rows.bin"), size=table.rows.numel()).view(table.rows.shape)
    assert torch.equal(again, table.rows), "the table lies in the file"


def test_a_third_of_the_tuples_are_the_models_own_once_it_has_asked():
    own = TUPLES[TUPLES.split == "train"].head(3)
    own = own.assign(tuple_id=[f"{PSEUDO}{i}@{doc}" for i, doc in enumerate(own.doc_id)])
    params = small_params({"train.batch_tuples": 6})
    memory_lm = small_lm(params)
    lessons = make_lessons(memory_lm, DOCS, pd.concat([TUPLES, own]), params)
    seen = np.concatenate([batch_at(memory_lm, lessons, step).tuples for step in range(40)]).reshape(40, 6)
    assert ((seen >= 2 * N).sum(1) == 2).all() and set(seen.ravel()) == set(range(2 * N + 3))


def test_text_lessons_have_the_document_or_the_evidence_alone():
    params = small_params({"train.text_weight": 1.0, "train.batch_text": 5})
    memory_lm = small_lm(params)
    prompts, lessons = memory_lm.prompts, make_lessons(memory_lm, DOCS, TUPLES, params)
    chosen = np.array([0, 3, 4, 7, 9])
    for step in (4, 5):  # one step in four has whole documents
        for i, row in zip(chosen, text_rows(memory_lm, lessons, chosen, step), strict=True):
            doc, one = lessons.tuple_index[i], lessons.tuples.iloc[i]
            alone = prompts.text(f"t{doc}\n{one.evidence}", params.memory.document_tokens)
            assert row == prompts.twin(alone if step % 4 else lessons.texts[doc], lessons.tuple_rows[i])


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
    changes = {"train_steps": 6, "lm_optimiser": "muon", "z_width": 8, "key_width": 6, "encode_share": 0.5}
    memory_lm, z_table, lessons = setting(**changes)
    adamw, muon = make_optimisers(memory_lm, lessons.params)
    names = {id(weight): name for name, weight in memory_lm.lm.named_parameters()}
    in_muon, in_adamw = ([id(w) for group in one.param_groups for w in group["params"]] for one in (muon, adamw))
    assert all(names[i].endswith("_proj.weight") for i in in_muon) and len(in_muon) == 7 * lessons.params.lm.layers
    assert sorted(in_muon + in_adamw) == sorted(map(id, learning_weights(memory_lm)))
    train(memory_lm, z_table, lessons, checkpoint=tmp_path / "one")
    paused = setting(**changes)
    train(*paused, checkpoint=tmp_path / "two", until=4)
    train(*paused, checkpoint=tmp_path / "two")  # from its checkpoint, momentum included
    assert torch.equal(paused[1].z, z_table.z)


def test_training_stops_where_it_is_to_pause_and_goes_on_from_there(tmp_path):
    whole, paused = setting({"train.steps": 6}), setting({"train.steps": 6})
    train(*whole, checkpoint=tmp_path / "one")
    first = train(*paused, checkpoint=tmp_path / "two", until=4)
    assert first.step.max() == 4
    half = paused[1].z.clone()
    assert train(*paused, checkpoint=tmp_path / "two", until=4).equals(first) and torch.equal(paused[1].z, half)
    log = train(*paused, checkpoint=tmp_path / "two")
    assert log.step.max() == 6 and torch.equal(paused[1].z, whole[1].z) and not torch.equal(paused[1].z, half)

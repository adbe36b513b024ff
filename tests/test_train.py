"""Joint training: it learns, touches only the rows in its batch, and resumes as if it had not been killed."""

import pandas as pd
import pytest
import torch
from tiny_models import sentence, small_lm, small_params

import zmem_lib.train as training
from zmem_lib.lessons import batch_indices, batches, make_lessons, reading_rows
from zmem_lib.memory_lm import make_scaler
from zmem_lib.prompts import TERMS
from zmem_lib.train import descend, make_optimisers, schedule, train, train_step
from zmem_lib.ztable import ZTable, random_z

N = 10
DOCS = pd.DataFrame([{"doc_id": f"d{i}", "title": f"t{i}", "text": sentence(i, 12), "part": "seen"} for i in range(N)])
TUPLES = pd.DataFrame(
    [
        {"tuple_id": f"{i}-{j}", "question_id": f"{i}-{j}", "doc_id": f"d{i}", "question": sentence(100 + i * 3 + j, 5),
         "evidence": sentence(i, 5), "evidence_start": 0, "answers": [sentence(i, 1)], "split": split}
        for i in range(N) for j, split in enumerate(("train", "train", "dev"))
    ]
)  # fmt: skip


def setting(**changes):
    params = small_params(**changes)
    memory_lm = small_lm(params)
    z_table = ZTable(random_z(N, memory_lm.embeddings, k=params.z_tokens, seed=1))
    return memory_lm, z_table, make_lessons(memory_lm, DOCS, TUPLES, params)


def test_a_step_changes_no_row_whose_document_is_not_in_the_batch():
    memory_lm, z_table, lessons = setting()
    optimisers = make_optimisers(memory_lm, z_table, lessons.params)
    for step in range(4):  # later steps too: momentum must not move a row by itself
        before = z_table.z()
        train_step(memory_lm, z_table, lessons, optimisers=optimisers, scaler=make_scaler(memory_lm), step=step)
        touched = {i for rows, index in batches(memory_lm, lessons, step) if index is not None for i in index}
        moved = (z_table.z() != before).flatten(1).any(1)
        assert set(moved.nonzero().flatten().tolist()) == touched
        assert 0 < len(touched) < N


def test_training_lowers_every_term(tmp_path):
    memory_lm, z_table, lessons = setting(train_steps=40, lm_lr=3e-3)
    log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    curves = log[log.split == "train"].pivot(index="step", columns="term", values="nll")
    assert set(curves) == {"question", "evidence", "recite", "read"}
    assert (curves.iloc[-3:].mean() < 0.8 * curves.iloc[0]).all()
    assert set(log[log.split == "dev"].term) == {"question", "evidence"}


def test_without_train_lm_only_z_moves(tmp_path):
    memory_lm, z_table, lessons = setting(train_lm=False, train_steps=5)
    weights = [weight.clone() for weight in memory_lm.lm.parameters()]
    z = z_table.z()
    log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    assert all(torch.equal(a, b) for a, b in zip(weights, memory_lm.lm.parameters(), strict=True))
    assert not torch.equal(z, z_table.z()) and "read" not in set(log.term)


def test_a_killed_run_resumes_exactly(tmp_path, monkeypatch):
    memory_lm, z_table, lessons = setting()
    straight_log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "straight")
    straight = [weight.clone() for weight in (*memory_lm.lm.parameters(), *z_table.parameters())]

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
    assert done == list(range(killed_at, lessons.params.train_steps))
    resumed = [*memory_lm.lm.parameters(), *z_table.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))
    pd.testing.assert_frame_equal(straight_log.drop(columns="seconds"), resumed_log.drop(columns="seconds"))


def test_a_checkpoint_of_other_parameters_is_not_taken_up(tmp_path):
    memory_lm, z_table, lessons = setting(train_steps=3)
    train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    memory_lm, z_table, lessons = setting(train_steps=4)
    log = train(memory_lm, z_table, lessons, checkpoint=tmp_path / "checkpoint")
    assert log.step.min() == 1 and log.step.max() == 4


def test_every_row_is_due_once_in_an_epoch_in_a_new_order():
    epochs = [[i for step in range(5) for i in batch_indices(10, 2, step=step + 5 * e, seed=1)] for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10)) and epochs[0] != epochs[1]


def test_reader_lessons_hold_the_answer_amid_distractors():
    memory_lm, _, lessons = setting(batch_read=40, top_k=3)
    decode = memory_lm.prompts.tokenizer.decode
    rows = reading_rows(memory_lm, lessons, step=0)
    items = [row.ids.count(memory_lm.prompts.marks["item"][0]) for row in rows]
    assert set(items) == {0, 1, 2, 3}
    answers = [decode([i for i, t in zip(r.ids, r.terms, strict=True) if TERMS[t] == "read"][:-1]) for r in rows]
    given = [decode(r.ids[: r.terms.index(TERMS.index("read"))]) for r in rows]
    held = [a.strip(" .") in text for a, text in zip(answers, given, strict=True)]
    assert all(h for h, n in zip(held, items, strict=True) if n)


def test_schedule_warms_up_then_falls():
    rates = [schedule(step, 100) for step in range(100)]
    assert rates[0] < rates[4] == 1.0 and rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[-1] < 0.06


def test_a_batch_in_pieces_gives_the_gradients_of_the_whole():
    found = []
    for micro_batch in (0, 1, 3):
        memory_lm, z_table, lessons = setting(micro_batch=micro_batch)
        scaler, rows = make_scaler(memory_lm), lessons.tuple_rows[:4]
        losses = descend(memory_lm, z_table, rows, lessons.tuple_index[:4], params=lessons.params, scaler=scaler)
        weights = [weight.grad for weight in memory_lm.lm.parameters()]
        found.append((losses, [z_table.rows.weight.grad.to_dense(), *weights]))
    for losses, gradients in found[1:]:
        assert losses == pytest.approx(found[0][0], rel=1e-5) and set(losses) == {"question", "evidence"}
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients, found[0][1], strict=True))


def test_checkpointed_activations_change_nothing_that_is_found():
    found = []
    for checkpointing in (False, True):
        memory_lm, z_table, lessons = setting(activation_checkpointing=checkpointing)
        memory_lm.lm.train()
        calls = []
        memory_lm.backbone.layers[0].mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        rows, index = lessons.tuple_rows[:4], lessons.tuple_index[:4]
        descend(memory_lm, z_table, rows, index, params=lessons.params, scaler=make_scaler(memory_lm))
        assert len(calls) == 1 + checkpointing, "every layer is computed twice, and only then"
        found.append(z_table.rows.weight.grad.to_dense())
    assert torch.allclose(*found, atol=1e-6)

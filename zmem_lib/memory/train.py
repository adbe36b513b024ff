"""Joint training of the language model and all z on L = -log p(evidence | z_i, q; theta).

Takes the lessons (lessons.py), returns a log table of every loss term. Optional terms, each with a weight:
`question` -log p(q | z); `recite` -log p(document | z); `read` -log p(answer | evidence, q), where all weights learn;
`text` -log p(q, evidence | document's text), which teaches the text twin; `key` InfoNCE (1807.03748) of question and
key; `distill` KL to what the model says with the text in context (2506.06266). In a share of the steps the encoder
makes the blocks. A run that was killed goes on from its checkpoint as if it had not been.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zmem_lib.cache import Cache
from zmem_lib.files import new_folder, read_json, read_tensors, restore, write_json, write_tensors
from zmem_lib.memory.encoder import KeyBank, encode_all
from zmem_lib.memory.lessons import Lessons, batch_at
from zmem_lib.memory.likelihood import alike, token_nll
from zmem_lib.memory.lm import MemoryLM, learning_weights, make_scaler
from zmem_lib.memory.losses import all_losses, make_work, sum_by_term
from zmem_lib.memory.prompts import TERMS
from zmem_lib.memory.shape import Settings
from zmem_lib.memory.table import ZTable, cosine, move_rows
from zmem_lib.meter import memory_explained, progress

CLIP = 1.0
LOG_EVERY = 0.1  # of the steps: all dev tuples are read each time
DECAY = 0.01  # of the weights
BANK = 4096  # documents, at most, whose keys questions are held against
REFRESH = 100  # steps after which the encoder makes these keys anew


@dataclass(frozen=True)
class Training:
    """What learns, from what, and how."""

    memory_lm: MemoryLM
    z_table: ZTable
    lessons: Lessons
    bank: KeyBank
    optimisers: list[torch.optim.Optimizer]  # of model and heads; z has its own (table.py)
    scaler: torch.amp.GradScaler


def make_training(memory_lm: MemoryLM, z_table: ZTable, lessons: Lessons) -> Training:
    """A training before its first step."""
    numbers = lessons.params.train
    size = min(len(z_table.rows), BANK) * (numbers.key_weight > 0 and numbers.key_negatives > 0)
    keys = torch.zeros(size, memory_lm.heads.key_width, device=memory_lm.device)  # (M,E)
    bank = KeyBank(torch.arange(size, device=memory_lm.device), keys)
    optimisers = make_optimisers(memory_lm, lessons.params)
    return Training(memory_lm, z_table, lessons, bank, optimisers, make_scaler(memory_lm))


def train(
    memory_lm: MemoryLM, z_table: ZTable, lessons: Lessons, *, keep: Cache | None = None, until: int | None = None
) -> pd.DataFrame:
    """Train in place up to step `until` (all `train.steps`), from the checkpoint in `keep`; the train_log table.

    A line of split train is the mean of the steps since the one before: a step has lessons of one kind only. With
    `until` a checkpoint is left from which the next call goes on, with other lessons perhaps.
    """
    assert until is None or keep, "a training that is to go on needs a place for its checkpoint"
    training, numbers = make_training(memory_lm, z_table, lessons), lessons.params.train
    state = load_checkpoint(training, keep) or {"step": 0, "seconds": 0.0, "log": [], "since": []}
    log, since = [tuple(line) for line in state["log"]], state["since"]
    began = saved = time.monotonic()
    for step in progress(range(state["step"], numbers.steps if until is None else until), "joint training"):
        with memory_explained("machine.micro_batch"):
            since.append(train_step(training, step))
        elapsed, last = state["seconds"] + time.monotonic() - began, step + 1 == numbers.steps
        if step % max(1, round(numbers.steps * LOG_EVERY)) == 0 or last:
            terms = dict.fromkeys(term for losses in since for term in losses)
            means = {term: float(np.mean([losses[term] for losses in since if term in losses])) for term in terms}
            for split, nll_of in (("train", means), ("dev", dev_nll(training))):
                log += [(step + 1, term, split, nll, elapsed) for term, nll in nll_of.items()]
            since = []
        late = time.monotonic() - saved > 60 * lessons.params.machine.checkpoint_minutes and not last
        if keep and (late or step + 1 == until):
            save_checkpoint(training, keep, {"step": step + 1, "seconds": elapsed, "log": log, "since": since})
            saved = time.monotonic()
    memory_lm.lm.eval()
    return pd.DataFrame(log, columns=["step", "term", "split", "nll", "seconds"])


def train_step(training: Training, step: int) -> dict[str, float]:
    """One update of the model and of the rows of z in the batch; returns the mean nll per token of each term."""
    memory_lm, z_table, scaler = training.memory_lm, training.z_table, training.scaler
    lessons, numbers = training.lessons, training.lessons.params.train
    memory_lm.lm.train()
    share = cosine(step, numbers.steps)
    if step % REFRESH == 0 and len(training.bank.keys):
        refresh_bank(training, step)
    for optimiser in training.optimisers:
        optimiser.zero_grad(set_to_none=True)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * share
    work = make_work(memory_lm, z_table, lessons, batch_at(lessons, step), bank=training.bank, scaler=scaler)
    losses = all_losses(work)
    work.encode_backward()
    row_holder = torch.optim.SGD([work.rows], lr=0.0)  # to undo the loss scaling of z as of everything else
    for optimiser in (*training.optimisers, row_holder):
        scaler.unscale_(optimiser)
    nn.utils.clip_grad_norm_([weight for weight in learning_weights(memory_lm) if weight.grad is not None], CLIP)
    if work.encoded is None and (gradient := work.rows.grad) is not None and gradient.isfinite().all():
        move_rows(z_table, torch.tensor(work.documents), gradient, numbers.z_rate * memory_lm.heads.scale * share)
    for optimiser in training.optimisers:
        scaler.step(optimiser)
    scaler.update()
    return losses


def refresh_bank(training: Training, step: int) -> None:
    """Make the bank's keys anew, of other documents where there are more than it holds."""
    bank, lessons = training.bank, training.lessons
    rng = np.random.default_rng((lessons.params.seed, step, 2))
    drawn = np.sort(rng.choice(len(training.z_table.rows), len(bank.documents), replace=False))  # (M,)
    bank.documents.copy_(torch.from_numpy(drawn))
    bank.keys.copy_(encode_all(training.memory_lm, [lessons.text(i) for i in drawn])[1])  # (M,E)


@torch.no_grad()
def dev_nll(training: Training) -> dict[str, float]:
    """Mean nll per token of question and evidence over the dev tuples of seen documents."""
    memory_lm, lessons, found = training.memory_lm, training.lessons, []
    memory_lm.lm.eval()
    rows = lessons.dev_rows
    for some in alike([len(row.ids) for row in rows], lessons.params.train.batch_tuples):
        z = training.z_table.z[lessons.dev_index[some]]  # (B,K,W)
        found.append(token_nll(memory_lm, z, [rows[i] for i in some]))  # (B,T) each
    if not found:
        return {}
    nll, terms = (torch.cat([tensor.flatten() for tensor in kind]) for kind in zip(*found, strict=True))
    return {
        term: total.item() / int((terms == TERMS.index(term)).sum()) for term, total in sum_by_term(nll, terms).items()
    }


def make_optimisers(memory_lm: MemoryLM, params: Settings) -> list[torch.optim.Optimizer]:
    """AdamW for what learns of heads and model, each at a rate of its own: heads begin at random, the model may not.

    With `train.optimiser: muon`, the matrices in the model's layers learn by Muon (Jordan et al., 2024), its steps
    scaled to the size of AdamW's (2502.16982), so that both take one rate.
    """
    lm, rates = memory_lm.lm, params.train
    if not rates.lm:
        lm.requires_grad_(False)
    learning = [weight for weight in lm.parameters() if weight.requires_grad]
    ends = {id(module.weight) for module in (lm.get_input_embeddings(), lm.get_output_embeddings())}
    matrices = {id(weight) for weight in learning if weight.ndim == 2} - ends if rates.optimiser == "muon" else set()
    rest = [weight for weight in learning if id(weight) not in matrices]
    groups = [{"params": rest, "initial_lr": rates.lm_lr}]
    groups.append({"params": [*memory_lm.heads.parameters()], "initial_lr": rates.heads_lr})
    optimisers: list[torch.optim.Optimizer] = []
    if groups := [group for group in groups if group["params"]]:
        optimisers.append(torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=DECAY))
    if matrices:
        groups = [{"params": [w for w in learning if id(w) in matrices], "initial_lr": rates.lm_lr}]
        optimisers.append(torch.optim.Muon(groups, adjust_lr_fn="match_rms_adamw", weight_decay=DECAY))
    return optimisers


def save_checkpoint(training: Training, keep: Cache, state: dict[str, Any]) -> None:
    """Keep all that a training changes, and its state; the old checkpoint stays until the new one is whole."""
    tensors = changing(training)
    for i, optimiser in enumerate(training.optimisers):
        slots = optimiser.state_dict()["state"].items()
        tensors |= {f"optimiser_{i}.{j}.{name}": torch.as_tensor(v) for j, slot in slots for name, v in slot.items()}
    with new_folder(keep.folder / "checkpoint") as new:
        write_tensors(tensors, new / "tensors.safetensors")
        write_json(state | {"made_with": keep.made_with, "scaler": training.scaler.state_dict()}, new / "state.json")


def load_checkpoint(training: Training, keep: Cache | None) -> dict[str, Any] | None:
    """Restore a checkpoint in place and return its state; None where there is none that was made with the same."""
    if keep is None:
        return None
    folder = keep.folder / "checkpoint"
    restore(folder)
    if not folder.exists() or (state := read_json(folder / "state.json"))["made_with"] != keep.made_with:
        return None
    kept, _ = read_tensors(folder / "tensors.safetensors")
    for name, tensor in changing(training).items():
        tensor.copy_(kept[name])
    for i, optimiser in enumerate(training.optimisers):
        slots: dict[int, dict[str, Tensor]] = {}
        for name in (name for name in kept if name.startswith(f"optimiser_{i}.")):
            _, j, key = name.split(".", 2)
            slots.setdefault(int(j), {})[key] = kept[name]
        optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})
    training.scaler.load_state_dict(state["scaler"])
    return state


def changing(training: Training) -> dict[str, Tensor]:
    """By name, the weights that learn, the table with its moments, and the bank; a tied weight once."""
    held = {"table": training.z_table, "bank": training.bank}
    if training.lessons.params.train.encode_share == 1:  # schooling: every block comes from its text
        del held["table"]
    tensors = {
        f"{name}.{part}": tensor for name, one in held.items() for part, tensor in vars(one).items()
        if isinstance(tensor, Tensor)
    }  # fmt: skip
    for part in ("lm", "heads"):
        weights = getattr(training.memory_lm, part).named_parameters()
        tensors |= {f"{part}.{name}": weight.data for name, weight in weights if weight.requires_grad}
    return tensors

"""Planned against measured: the memory that training and writing really take, with random weights of the real shape.

Nothing is downloaded: the model is written to a temporary folder and loaded as any other, then trains and writes on
rows of random tokens, all as long as they may be. Measured is what torch's allocator held at most.
"""

import gc
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig

from zmem_lib.combinations import refuse_memoryless
from zmem_lib.memory.lessons import Lessons
from zmem_lib.memory.lm import MemoryLM, attention, fuse_attention, learning_weights, load_lm, pick_device, ready
from zmem_lib.memory.prompts import TERMS, Prompts, Row
from zmem_lib.memory.shape import model_config, model_shape
from zmem_lib.memory.table import ZTable, make_ztable
from zmem_lib.memory.train import make_training, train_step
from zmem_lib.memory.write import Writable, Writing, numbers_of, write_batch
from zmem_lib.meter import Cost
from zmem_lib.params import Params, changed
from zmem_lib.runs.needs import GIB, Pass, block_width, memory, number_bytes, passes

STEPS = 2  # the second has all moments


def measure_lines(params: Params) -> list[str]:
    """Planned and measured bytes of chapters 03 and 04 on this machine, line by line."""
    refuse_memoryless(params, "measuring its training")
    params = shortened(params)
    device = pick_device(params.machine.device)
    size = number_bytes(params, on_gpu=device.type == "cuda")
    lines = [f"Planned and measured on this machine's {device.type.upper()}, random weights, longest rows:"]
    for chapter, cost in measure(params).items():
        planned = sum(memory(params, chapter, size).values())
        lines.append(
            f"  chapter {chapter:02d}: planned {planned / GIB:.2f} GiB, measured {cost.peak_memory_bytes / GIB:.2f} GiB "
            f"(planned / measured {planned / cost.peak_memory_bytes:.2f}), {cost.seconds:.1f} s a step"
        )
    return [*lines, "  without the CUDA context and the allocator's slack; the figures of chapter 05 are planned only"]


def shortened(params: Params) -> Params:
    """The run with as few steps as show its memory, and without the terms that need a tokenizer or more than z."""
    off = ("read_weight", "text_weight", "key_weight", "distill_weight", "encode_share", "distractor_share")
    return changed(params, {"train.steps": STEPS, "write.steps": 1, **{f"train.{name}": 0.0 for name in off}})


def measure(params: Params) -> dict[int, Cost]:
    """Train STEPS steps and write one batch at full length: peak memory and seconds a step of chapters 3 and 4."""
    params = shortened(params)
    device = pick_device(params.machine.device)
    shape = (params.corpus.documents, params.memory.z_tokens, block_width(params))
    z_table = make_ztable(torch.randn(shape))  # never on a GPU, so on a CPU it does not count either
    others = held_bytes(device)
    memory_lm = random_memory_lm(params, device)
    with counted(device, STEPS) as training:
        train_steps(memory_lm, z_table, params)
    for weight in learning_weights(memory_lm):
        weight.requires_grad_(False)
        weight.grad = None
    (one,) = passes(params, 4)
    documents = [Writable([row], [], 0) for row in random_rows(one, params, terms=("recite",))]
    z = torch.randn(len(documents), *shape[1:])  # (B,K,W)
    with counted(device, params.write.steps + 1) as writing:
        write_batch(memory_lm, documents, z, Writing(**numbers_of(params)))
    for cost in (training, writing):
        cost.peak_memory_bytes -= others
    return {3: training, 4: writing}


def random_memory_lm(params: Params, device: torch.device) -> MemoryLM:
    """A model of the run's shape with random weights, loaded as the run loads its own, without a tokenizer."""
    torch.manual_seed(params.seed)
    if params.lm.name == "scratch":
        options: Any = {"dtype": torch.float32, "attn_implementation": attention(device)}
        lm = AutoModelForCausalLM.from_config(model_config(params), **options).to(device)
    else:
        with tempfile.TemporaryDirectory() as folder:
            with device:
                weights: Any = AutoModelForCausalLM.from_config(model_config(params), dtype=torch.bfloat16)
            weights.save_pretrained(folder, max_shard_size="1GB")  # a shard is copied while it is written
            del weights
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            lm = load_lm(Path(folder), params)
        fuse_attention(lm.get_base_model() if params.lm.lora_rank else lm)
    lm.generation_config = GenerationConfig(pad_token_id=0, eos_token_id=[0])
    prompts = Prompts(None, {}, [0], 0, re.compile(r"(?!)"))
    return ready(lm, prompts, params)


def train_steps(memory_lm: MemoryLM, z_table: ZTable, params: Params) -> None:
    """STEPS steps of joint training with this table on rows of random tokens."""
    tuples, *recitations = passes(params, 3)
    rows = random_rows(tuples, params, terms=("question", "evidence"))
    recited = random_rows(recitations[0], params, terms=("recite",)) if recitations else []
    n = len(z_table.rows)
    index = np.arange(len(rows)) % n
    lessons = Lessons(
        params=params,
        prompts=memory_lm.prompts,
        reads=False,
        tuples=pd.DataFrame({"question": []}),
        tuple_row=rows.__getitem__,
        tuple_index=index,
        question=lambda i: rows[i].ids,
        gold=[],
        answered=np.arange(len(rows)),
        own=index[:0],
        dev_rows=[],
        dev_index=index[:0],
        docs=pd.DataFrame(index=range(len(recited) or n)),
        text=lambda i: rows[i].ids,
        recitations=lambda i: [recited[i]],
    )
    training = make_training(memory_lm, z_table, lessons)
    for step in range(STEPS):
        train_step(training, step)


def random_rows(one: Pass, params: Params, *, terms: tuple[str, ...]) -> list[Row]:
    """The rows of a pass without their z: random tokens, the last `counted` of them in equal shares of the terms."""
    length = one.tokens - params.memory.z_tokens - 1  # the family's first token stands before z
    names = ["none"] * (length - one.counted) + [terms[i * len(terms) // one.counted] for i in range(one.counted)]
    ids = torch.randint(1, model_shape(params).vocabulary, (one.rows, length)).tolist()
    return [Row(row, [TERMS.index(name) for name in names]) for row in ids]


@contextmanager
def counted(device: torch.device, steps: int) -> Iterator[Cost]:
    """Count the bytes that torch holds at most during a block of so many steps, those that it held before included."""
    cost = Cost()
    gc.collect()
    began = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield cost
        torch.cuda.synchronize(device)
        cost.peak_memory_bytes = torch.cuda.max_memory_allocated(device)
    else:
        before = held_bytes(device)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as record:
            yield cost
        results: Any = record.profiler
        events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
        changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
        cost.peak_memory_bytes = before + int(max(np.cumsum(changes), default=0))
    cost.seconds = (time.perf_counter() - began) / steps


def held_bytes(device: torch.device) -> int:
    """Bytes of all tensors that exist now on the device, those that share their memory counted once."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    gc.collect()  # what is not used any more may go at any time, and would then be missed
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor) and thing.device.type == "cpu"]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())

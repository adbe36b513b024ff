"""How long each chapter will about take: a written formula of floating point operations, over a measured speed.

A model of P weights costs about 2 P operations per token forwards and 6 P forwards and backwards (Kaplan et al. 2020,
arXiv 2001.08361, section 2.1); with frozen weights the backward pass costs half, 4 P in all, and checkpointing one
forward pass more. On a GPU each pass also reads all weights once (4-bit ones are written out and read again) and starts
every layer's kernels, which is most of the time of writing token by token. What is left is counted in seconds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from timeit import repeat
from typing import Any

from zmem_lib.chapters import read_manifest
from zmem_lib.memory.shape import model_shape
from zmem_lib.params import Params, changed, completed, flat
from zmem_lib.runs.needs import NF4_BYTES, curves_written, documents_of_a_curve, snapshots_scored

QUESTION_TOKENS, EVIDENCE_TOKENS, BLOCK_TEXT_TOKENS = 15, 40, 120  # means; the last: a document as a reader sees it
GENERATING_SYSTEMS, READING_SYSTEMS, PARTS = 9, 24, 3
RETRIEVERS = 8  # systems of a run without a language model
TRAINED, BACKWARDS = 5, 3  # training questions about a document; what learning from a text takes, in encoded ones
MATCHING_S, SCORING_S = 4.0e-6, 5.0e-3  # of a question and a document by BM25; of an answer
PADDING = {  # rows of unlike length are filled up to the longest of their batch
    "synthetic": 1.0, "almanac": 1.5, "folder": 2.5, "texts": 2.5, "squad": 2.5, "mirage": 2.0, "ragbench": 2.5,
    "t2ragbench": 2.5, "popqa": 2.0,
}  # fmt: skip
EFFICIENCY = 0.35  # share of a plain matrix product's speed that a small transformer reaches
STEPWISE = 0.1  # the same while it writes token by token
KERNEL_S, REPORT_S = 8.0, 5.0  # starting a kernel and importing; chapter 07
LONGEST = 2.0  # a batch writes until its longest text ends: so many times the mean
MATRIX = 1024  # rows of the square matrices that are multiplied to measure a processor


@dataclass(frozen=True)
class Machine:
    """What the estimates ask of a machine; on a CPU the last two cost nothing beside the arithmetic."""

    flops_per_second: float  # of a plain matrix product
    encoded_per_second: float = 20.0  # passages, by the packaged dense model; on two cores
    bytes_per_second: float = math.inf  # of its memory
    layer_seconds: float = 0.0  # to start the kernels of one layer


# NVIDIA's sheet: 121 TFLOP/s in bfloat16 without sparsity, 300 GB/s; at 72 W about half and four fifths of it are had.
L4 = Machine(0.5 * 121e12, 1000.0, 0.8 * 300e9, 1.5e-3)


@cache
def this_machine(device: str) -> Machine:
    """What the chapters will run on: this processor, in the arithmetic that it takes itself, or a GPU, taken for an L4."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return L4  # measuring it here would keep some of its memory from the chapters
    native = torch.cpu._is_avx512_bf16_supported()
    matrix = torch.rand(MATRIX, MATRIX, dtype=torch.bfloat16 if native else torch.float32)
    seconds = min(repeat(lambda: matrix @ matrix, number=1, repeat=6))
    return Machine(2 * MATRIX**3 / seconds)


def expected_seconds(params: Params, chapter: int, runs: Path) -> float:
    """Seconds of a chapter here: what it took in a run of these parameters, whatever its name, else by the formula."""
    wanted = _nameless(flat(params))
    for path in sorted(runs.glob(f"*/manifest_{chapter:02d}.json")):
        manifest = read_manifest(path.parent, chapter)
        if manifest and _nameless(completed(manifest["params"])) == wanted:
            return manifest["seconds"]
    docs = runs / params.run / "docs.parquet"
    if params.corpus.subset and docs.is_file():  # it may have fewer documents than were asked for
        import pandas as pd

        seen = int((pd.read_parquet(docs, columns=["part"])["part"] == "seen").sum())
        params = changed(params, {"corpus.documents": max(seen, 1)})
    return estimate_seconds(params, chapter, this_machine(params.machine.device))


def _nameless(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith(("run", "machine.api"))}


def estimate_seconds(params: Params, chapter: int, machine: Machine) -> float:
    """Seconds that a chapter will about take on a machine."""
    if chapter in (1, 2):
        return KERNEL_S + 1.0e-3 * _documents(params)
    work = {3: _train, 4: _write, 5: _answer, 6: _evaluate}
    return KERNEL_S + (work[chapter](params, machine) if chapter in work else REPORT_S)


def model_seconds(params: Params, machine: Machine, *, operations: float, passes: float) -> float:
    """Seconds of the language model: operations with each weight, and passes, which read weights and start layers."""
    shape = model_shape(params)
    weights = float(shape.linear + shape.vocabulary * shape.hidden)  # that a token passes through
    moved = NF4_BYTES + 4 if params.lm.quantisation == "nf4" else 4 if params.learns_whole else 2  # bytes of a weight
    one_pass = moved * weights / machine.bytes_per_second + shape.layers * machine.layer_seconds
    return operations * weights / machine.flops_per_second + passes * one_pass


def forward_seconds(
    params: Params, machine: Machine, *, read: float = 0, written: float = 0, passes: float = 0
) -> float:
    """Without a gradient: tokens read side by side, tokens written one by one, and the passes of their batches."""
    return model_seconds(params, machine, operations=2 * (read / EFFICIENCY + written / STEPWISE), passes=passes)


def descent_seconds(params: Params, machine: Machine, *, tokens: float, batches: float, learning: bool) -> float:
    """Forwards and backwards: of all tokens the arithmetic, of all batches the passes; `learning`: the whole model."""
    again = params.machine.activation_checkpointing
    per_weight = (6 if learning and params.learns_whole else 4) + 2 * again
    return model_seconds(params, machine, operations=per_weight * tokens / EFFICIENCY, passes=(2 + again) * batches)


def training_tokens(params: Params) -> float:
    """Tokens that one step of joint training sends through the model."""
    from zmem_lib.memory.train import REFRESH  # imports torch, which takes seconds

    train, block, question = params.train, _block(params), QUESTION_TOKENS
    document = 0.5 * params.memory.document_tokens
    reading = (EVIDENCE_TOKENS + 0.5 * params.memory.evidence_tokens) / 2  # half of the reader's lessons have a passage
    twins = (train.text_weight > 0) + 0.4 * (train.distill_weight > 0)
    per_step = (
        train.batch_tuples * (block + question + EVIDENCE_TOKENS)
        + train.batch_recite * (block + document) * (train.recite_weight > 0)
        + train.batch_read * (question + reading) * params.learns_reading
        + train.batch_text * (document + question + EVIDENCE_TOKENS) * twins
        + train.encode_share * train.batch_recite * (document + block)
        + train.batch_key * (question + document + block) * (train.key_weight > 0)
        + params.corpus.documents * document / (3 * REFRESH) * (train.key_weight > 0)  # the bank, without gradients
    )
    return per_step * PADDING[params.corpus.name]


def _block(params: Params) -> int:
    """Tokens of a block that pass through the model: keys and values of one stand there already."""
    return 0 if params.memory.kind == "kv" else params.memory.z_tokens


def questions_of_a_snapshot(params: Params) -> int:
    """New-dev questions that are answered from each, at most about: six of every third new document."""
    most = 2 * params.corpus.new_documents
    return min(params.answer.questions or most, most)


def _documents(params: Params) -> int:
    return params.corpus.documents + params.corpus.new_documents


def questions_answered(params: Params) -> int:
    """Test questions that every system answers, at most about."""
    return PARTS * (params.answer.questions or 2 * params.corpus.documents)


def _train(params: Params, machine: Machine) -> float:
    tokens, batches = training_tokens(params) * params.train.steps, 3 * params.train.steps
    asking = _ask(params, machine, documents=params.corpus.documents, each=params.train.self_questions)
    return asking + descent_seconds(params, machine, tokens=tokens, batches=batches, learning=params.train.lm)


def _write(params: Params, machine: Machine) -> float:
    numbers, new = params.write, params.corpus.new_documents
    again = (curves_written(params) - 1) * documents_of_a_curve(params)
    seconds = _descend(params, machine, documents=new + again, asked=numbers.self_questions > 0)
    if numbers.seen != "joint":
        documents = params.corpus.documents
        seconds += _descend(params, machine, documents=documents, asked=numbers.seen == "questions")
    return seconds + _ask(params, machine, documents=new, each=numbers.self_questions)


def _descend(params: Params, machine: Machine, *, documents: int, asked: bool) -> float:
    """Writing documents once, with or without questions beside their text."""
    from zmem_lib.memory.write import ASKED  # imports torch, which takes seconds

    steps, block = params.write.steps, _block(params)
    each = block + params.memory.document_tokens + asked * ASKED * (block + QUESTION_TOKENS + EVIDENCE_TOKENS)
    batches = math.ceil(documents / params.machine.write_batch) * steps
    return descent_seconds(params, machine, tokens=each * documents * steps, batches=batches, learning=False)


def _ask(params: Params, machine: Machine, *, documents: int, each: int) -> float:
    """Drawing questions about documents token by token, and reading each document again for each of them."""
    drawn, batches = documents * each, math.ceil(documents * each / params.machine.answer_batch)
    read, written = drawn * 0.5 * params.memory.document_tokens, drawn * QUESTION_TOKENS
    return forward_seconds(params, machine, read=read, written=written, passes=batches * LONGEST * QUESTION_TOKENS)


def _answer(params: Params, machine: Machine) -> float:
    memory, answer, documents, questions = params.memory, params.answer, _documents(params), questions_answered(params)
    if not params.has_lm:  # encoding, tuning and ranking
        questions = answer.questions or documents
        matching = RETRIEVERS * MATCHING_S * questions * documents
        return (documents + questions) / machine.encoded_per_second + matching + _tune(params, machine)
    read = questions * documents * (_block(params) + QUESTION_TOKENS)
    written = GENERATING_SYSTEMS * answer.top_k * min(EVIDENCE_TOKENS, memory.evidence_tokens)
    written += READING_SYSTEMS * (answer.answer_tokens + 0.3 * BLOCK_TEXT_TOKENS)
    longest = min(LONGEST * EVIDENCE_TOKENS, memory.evidence_tokens)
    steps = GENERATING_SYSTEMS * answer.top_k * longest + READING_SYSTEMS * answer.answer_tokens
    passes = questions * math.ceil(documents / params.machine.scan_batch)
    passes += math.ceil(questions / params.machine.answer_batch) * steps
    answering = forward_seconds(params, machine, read=read, written=questions * written, passes=passes)
    encoding = (documents + questions) / machine.encoded_per_second
    return answering + encoding + _tune(params, machine) + _read_more(params, machine)


def _tune(params: Params, machine: Machine) -> float:
    """Tuning the encoder, in which questions are short and share their passage, and indexing the passages anew."""
    answer, documents = params.answer, _documents(params)
    if not answer.dense_epochs:
        return 0.0
    passages, questions = documents * (1 + answer.dense_negatives), documents * TRAINED * QUESTION_TOKENS / BLOCK_TEXT_TOKENS
    learned = BACKWARDS * answer.dense_epochs * (passages + questions)
    return (documents + learned) / machine.encoded_per_second


def _read_more(params: Params, machine: Machine) -> float:
    """Passages that a model reads to order them, those of the long context, and the changed documents of the noise."""
    answer, document = params.answer, min(BLOCK_TEXT_TOKENS, params.memory.document_tokens) + QUESTION_TOKENS
    orders = answer.rerank_depth * document * (params.train.text_weight > 0 or params.lm.name != "scratch")
    tokens = questions_answered(params) * (orders + answer.long_context_tokens)
    noisy = PARTS * answer.noise_questions
    tokens += 8 * noisy * (answer.long_context_tokens + 2 * answer.top_k * document)  # two kinds, four shares
    renewed, own = math.ceil(0.8 * noisy), params.write.self_questions
    written = _descend(params, machine, documents=renewed, asked=own > 0)
    written += _ask(params, machine, documents=renewed, each=own)
    return forward_seconds(params, machine, read=tokens) + written


def _evaluate(params: Params, machine: Machine) -> float:
    if not params.has_lm:
        return RETRIEVERS * SCORING_S * (params.answer.questions or params.corpus.documents)
    snapshots, asked, block = snapshots_scored(params), questions_of_a_snapshot(params), _block(params)
    found = params.answer.shortlist if params.memory.key_width else _documents(params)
    read = asked * found * (block + QUESTION_TOKENS) + documents_of_a_curve(params) * params.memory.document_tokens
    written = asked * (EVIDENCE_TOKENS + params.answer.answer_tokens)
    longest = min(LONGEST * EVIDENCE_TOKENS, params.memory.evidence_tokens) + params.answer.answer_tokens
    passes = math.ceil(asked / params.machine.answer_batch) * longest
    counting = 1.0e-2 * params.evaluate.bootstrap_samples + SCORING_S * questions_answered(params)
    of_each = forward_seconds(params, machine, read=read, written=written, passes=passes)
    return snapshots * of_each + counting

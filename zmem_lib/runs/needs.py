"""What a run needs: GPU memory by chapter, and disk, by written formulas, nothing loaded or downloaded.

Of memory the formula counts the bytes that stay (weights, adapter, z and their moments), and of the largest pass the
bytes that come and go: activations, logits, keys and values.
"""

import math
from dataclasses import dataclass

from zmem_lib.memory.shape import model_shape, published
from zmem_lib.params import Params
from zmem_lib.sections import MOST
from zmem_lib.text import QUESTION_TOKENS

GIB = 2**30
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # a weight; a scale for 64 of them, and a scale for 256 scales
MARK_TOKENS, CHAT_TOKENS = 8, 64  # of the markers around a question and its evidence; of the reader's chat template
LOGITS_TRAIN = 12  # bytes for a token and a word: log-softmax, its gradient and that of the logits, in float32
LOGITS_READ = {2: 10, 4: 12}  # without a gradient: logits, their copy without the markers in float32, log-softmax
OUTSIDE = 0.5 * GIB  # the CUDA context, and libraries' workspaces
SLACK = 0.05  # of what comes and goes: the allocator's rounding and gaps
ENCODER = 0.2 * GIB  # the packaged dense model, in chapter 05
TOKENIZER, DATA_SET, ENVIRONMENT = 0.02 * GIB, 1.0 * GIB, 6.5 * GIB  # on disk; the last with torch's CUDA build
TABLES = 40_000  # bytes for a document: tuples, answers of seven systems, rankings, BM25's terms, vectors

# Bytes of activations for one token in one layer, as multiples of the widths (hidden, queries, keys, feed-forward,
# heads x length), in arithmetic of 2 and of 4 bytes: what one layer keeps for the backward pass, and what the layer
# that is being computed backwards takes in all. Measured on small Llamas with torch's allocator; a layer kept by
# checkpointing is one hidden state instead.
Widths = tuple[float, float, float, float, float]
KEPT: dict[str, dict[int, Widths]] = {
    "adapter": {2: (18.6, 10.2, 0.8, 8.1, 0), 4: (16.9, 16.2, 1.1, 16.3, 0)},
    "frozen": {2: (8.6, 8.2, 0.6, 6.2, 0), 4: (8.9, 16.4, 1.1, 12.2, 0)},
    "scratch": {2: (27.6, -4.8, 0, 7.7, 7.8), 4: (52.0, 5.9, 0, 11.9, 3.7)},
}
AT_WORK: dict[str, dict[int, Widths]] = {
    "adapter": {2: (31.1, 9.8, 2.0, 14.1, 0), 4: (20.9, 15.7, 3.2, 24.1, 0)},
    "frozen": {2: (20.9, 8.3, 1.0, 14.3, 0), 4: (13.2, 16.5, 1.6, 24.3, 0)},
    "scratch": {2: (43.0, 20.2, 0, 11.6, 3.8), 4: (-31.8, 18.0, 0, 37.0, 7.0)},
    "no gradient": {2: (12.3, 0.1, 0.4, 8.1, 0), 4: (16.3, 0.1, 0.4, 16.1, 0)},
}


@dataclass(frozen=True)
class Pass:
    """One pass of a batch through the model, at its longest."""

    rows: int
    tokens: int  # of a row
    counted: int  # of those, the tokens whose logits are made
    kind: str  # what learns: adapter, frozen (only z), scratch (all), no gradient
    cached: int = 0  # tokens of a row whose keys and values are kept


def number_bytes(params: Params, on_gpu: bool = True) -> int:
    """Bytes of a number in the run's arithmetic; `auto` is 2 on a GPU and 4 on a CPU without bfloat16 of its own."""
    from torch import cpu

    if params.machine.precision == "auto":
        return 2 if on_gpu or cpu._is_avx512_bf16_supported() else 4
    return 4 if params.machine.precision == "float32" else 2


def weight_bytes(params: Params, size: int) -> float:
    """Bytes of the language model's weights as they lie on the device, in arithmetic of `size` bytes."""
    shape = model_shape(params)
    if params.learns_whole:
        return 4.0 * (shape.linear + shape.other)
    return shape.linear * (NF4_BYTES if params.lm.quantisation == "nf4" else size) + shape.other * size


def learned_weights(params: Params) -> int:
    """Weights of the language model that learn, or would: the adapter's, or all of a model made from scratch."""
    shape = model_shape(params)
    return shape.linear + shape.other if params.learns_whole else params.lm.lora_rank * shape.adapter


def row_bytes(params: Params) -> int:
    """Bytes of one document in the memory: its block and its key, in float32."""
    return 4 * (params.memory.z_tokens * block_width(params) + params.memory.key_width)


def block_width(params: Params) -> int:
    """The numbers W of each of the K parts of a block."""
    shape = model_shape(params)
    return 2 * shape.layers * shape.keys if params.memory.kind == "kv" else params.memory.z_width or shape.hidden


def passes(params: Params, chapter: int) -> list[Pass]:
    """The passes of a chapter (3, 4 or 5) with every row at its longest."""
    memory, train, answer, machine = params.memory, params.train, params.answer, params.machine
    before = memory.z_tokens + 1 + MARK_TOKENS
    question, evidence, document = QUESTION_TOKENS, memory.evidence_tokens + 1, memory.document_tokens + 1
    kind = "scratch" if params.learns_whole else "adapter"
    if chapter == 4:
        return [Pass(machine.write_batch, before + document, document, kind if kind == "scratch" else "frozen")]
    if chapter == 5:
        asked, reading = before + question, CHAT_TOKENS + question + answer.top_k * evidence
        return [
            Pass(machine.scan_batch, question, question, "no gradient", cached=2 * memory.z_tokens + question),
            Pass(machine.answer_batch, asked, 1, "no gradient", cached=asked + memory.evidence_tokens),
            Pass(machine.answer_batch, reading, 1, "no gradient", cached=reading + answer.answer_tokens),
        ]
    most, kind = machine.micro_batch or MOST, kind if train.lm else "frozen"
    items, reader = train.read_items, answer.answer_tokens + 1
    wanted = [  # whether there is such a pass, its rows, their tokens, those that are counted
        (True, train.batch_tuples, before + question + evidence, question + evidence),
        (train.recite_weight, train.batch_recite, before + document, document),
        (train.text_weight, train.batch_text, before + document + question + evidence, question + evidence),
        (train.encode_share, train.batch_recite, before + document + memory.z_tokens, 0),
        (params.learns_reading, train.batch_read, question + items * evidence + reader + MARK_TOKENS, reader),
    ]
    return [Pass(min(rows, most), tokens, counted, kind) for there, rows, tokens, counted in wanted if there]


def pass_bytes(params: Params, one: Pass, size: int) -> dict[str, float]:
    """Bytes that come and go in a pass: activations, logits, keys and values, and one weight matrix made of 4 bit."""
    shape, tokens, learns = model_shape(params), one.rows * one.tokens, one.kind != "no gradient"
    widths = (shape.hidden, shape.queries, shape.keys, shape.feed_forward, shape.heads * one.tokens)
    at_work = tokens * sum(a * b for a, b in zip(AT_WORK[one.kind][size], widths, strict=True))
    kept = 0.0
    if learns and params.machine.activation_checkpointing:
        kept = float(tokens * shape.hidden * size * shape.layers)
    elif learns:
        kept = tokens * sum(a * b for a, b in zip(KEPT[one.kind][size], widths, strict=True)) * (shape.layers - 1)
    logits = one.rows * one.counted * shape.vocabulary * (LOGITS_TRAIN if learns else LOGITS_READ[size])
    matrix = shape.largest * size if params.lm.quantisation == "nf4" else 0
    cache = 2 * shape.layers * shape.keys * size * one.rows * one.cached
    # the logits are gone before the layers are computed backwards, but not what the layers keep
    return {"activations": kept + max(at_work + matrix - logits, 0), "logits": logits, "cache": cache}


def memory(params: Params, chapter: int, size: int = 2) -> dict[str, float]:
    """Bytes on the device at the peak of a chapter (3, 4 or 5), by part; `size` bytes to a number of the arithmetic."""
    learned, block, machine = learned_weights(params), row_bytes(params), params.machine
    adapter = 0 if params.learns_whole else 4 * learned
    training = chapter == 3 and params.train.lm
    copies = learned * 2 * (size == 2)  # autocast's
    in_batch = params.train.batch_tuples + params.train.batch_recite  # of the table itself nothing lies on the device
    z = {3: 2.0 * in_batch * block, 4: 4.0 * machine.write_batch * block, 5: 1.0 * machine.scan_batch * block}[chapter]
    by_pass = [pass_bytes(params, one, size) for one in passes(params, chapter)]
    return {
        "weights": weight_bytes(params, size),
        "adapter and optimiser": adapter + 12.0 * learned * training + copies + ENCODER * (chapter == 5),
        "z": z,
        **max(by_pass, key=lambda parts: sum(parts.values())),
    }


def gpu_total(parts: dict[str, float]) -> float:
    """Bytes that the GPU must have for these parts, with what lies outside torch's own count."""
    return sum(parts.values()) + SLACK * sum(parts[name] for name in ("activations", "logits", "cache")) + OUTSIDE


def download_bytes(params: Params) -> float:
    """Bytes of the language model to download: none for one made here or in a local folder."""
    known = published().get(params.lm.name)
    return known["download_bytes"] + TOKENIZER if known else 0.0


def curves_written(params: Params) -> int:
    """Ways in which the documents of the write curve are written, at most: starts, and other rates."""
    starts = 1 if params.memory.kind == "kv" else 4  # random, mean, vocab, and the one that its heads are made for
    return starts + 2 * (params.write.curve_span > 0)


def documents_of_a_curve(params: Params) -> int:
    """New documents that new-dev questions are about."""
    return math.ceil(params.corpus.new_documents / 3)


def snapshots_scored(params: Params) -> int:
    """States of these documents' blocks that chapter 06 looks at."""
    from zmem_lib.memory.write import snapshot_steps  # imports torch, which takes seconds

    return curves_written(params) * len(snapshot_steps(params.write.steps))


def disk_bytes(params: Params) -> dict[str, float]:
    """Bytes on disk by what they are for, at their largest."""
    from zmem_lib.data.corpus import DATA_SETS

    corpus = params.corpus
    always = {
        "this environment": ENVIRONMENT,
        "data set, downloaded": DATA_SET * (corpus.name in DATA_SETS and not corpus.path),
        "tables and indices": TABLES * float(corpus.documents + corpus.new_documents),
    }
    if not params.has_lm:
        return always
    learned = learned_weights(params) * (params.train.lm or params.learns_whole)
    numbers = (corpus.documents, corpus.new_documents, snapshots_scored(params) * documents_of_a_curve(params))
    seen, new, snapshots = (number * float(row_bytes(params)) for number in numbers)
    return always | {
        "model, downloaded": download_bytes(params),
        "lm/ and z": 4.0 * learned + TOKENIZER + seen + new,
        "z at steps of writing": 2 * snapshots,  # in pieces and whole
        "checkpoint, two at a time": 2 * 3 * (4.0 * learned + seen) * params.train.lm,  # with both moments
    }

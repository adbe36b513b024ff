"""How long each chapter will about take: a written formula of floating point operations, over a measured speed.

A model of P weights costs about 2 P operations per token forwards and 6 P forwards and backwards (Kaplan et al. 2020,
arXiv 2001.08361, section 2.1); with frozen weights the backward pass costs half, 4 P in all, and checkpointing one
forward pass more. On a GPU each pass also reads all weights once (4-bit ones are written out and read again) and starts
every layer's kernels, which is most of the time of writing token by token. What is left is counted in seconds. An
earlier run of the same chapter with the same parameters is believed before the formula.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zmem_lib.memory.shape import model_shape
from zmem_lib.params import Params, changed, flat, from_flat
from zmem_lib.runs.machine import Machine
from zmem_lib.runs.needs import NF4_BYTES
from zmem_lib.tables import ALSO_ABSENT, COMPARED, SYSTEMS

QUESTION_TOKENS, EVIDENCE_TOKENS, BLOCK_TEXT_TOKENS = 15, 40, 120  # means; the last: a document as a reader sees it
GENERATING_SYSTEMS, READING_SYSTEMS, PARTS, SNAPSHOTS = 7, 17, 3, 24
INSTRUCTION_TOKENS = 40  # of a request to a reader at an address: what to do, and the marks of a chat
JUDGING, JUDGING_PIECE = 9, 3  # requests to a judge of an answer, and of each piece of its evidence
JUDGING_TOKENS, JUDGING_PIECE_TOKENS = 4_100, 1_300  # of the same, without the evidence
EVIDENCE_READ, VERDICT_TOKENS = 6, 60  # times that a judge reads the whole evidence; tokens of its reply
RETRIEVERS, TUNING = 6, 200  # systems of a run without a language model; a step of tuning, in encoded passages
MATCHING_SECONDS, SCORING_SECONDS = 4.0e-6, 5.0e-3  # of a question and a document by BM25; of an answer
PADDING = {  # rows of unlike length are filled up to the longest of their batch
    "synthetic": 1.0,
    "folder": 2.5,
    "squad": 2.5,
    "mirage": 2.0,
    "ragbench": 2.5,
    "t2ragbench": 2.5,
    "popqa": 2.0,
}
EFFICIENCY = 0.35  # share of a plain matrix product's speed that a small transformer reaches
STEPWISE = 0.1  # the same while it writes token by token
KERNEL_S = 8.0  # starting a kernel and importing
LONGEST = 2.0  # a batch writes until its longest text ends: so many times the mean


def weights(params: Params) -> float:
    """Weights of the language model that a token passes through: layers and output head."""
    shape = model_shape(params)
    return float(shape.linear + shape.vocabulary * shape.hidden)


def pass_seconds(params: Params, machine: Machine) -> float:
    """Seconds of one pass of any batch beside its arithmetic: reading the weights and starting the layers."""
    shape = model_shape(params)
    moved = NF4_BYTES + 4 if params.lm.quantisation == "nf4" else 4 if params.learns_whole else 2  # bytes of a weight
    return moved * weights(params) / machine.bytes_per_second + shape.layers * machine.layer_seconds


def training_tokens(params: Params) -> float:
    """Tokens that one step of joint training sends through the model."""
    block, question = params.memory.z_tokens, QUESTION_TOKENS
    per_step = params.train.batch_tuples * (block + question + EVIDENCE_TOKENS)
    per_step += params.train.batch_recite * (block + 0.5 * params.memory.document_tokens) * (params.train.recite_weight > 0)
    reading = (EVIDENCE_TOKENS + 0.5 * params.memory.evidence_tokens) / 2  # half of the reader's lessons have a passage
    per_step += params.train.batch_read * (question + reading) * params.learns_reading
    document = 0.5 * params.memory.document_tokens
    behind_text = params.train.batch_text * (document + question + EVIDENCE_TOKENS)
    per_step += behind_text * ((params.train.text_weight > 0) + 1.5 * (params.train.distill_weight > 0))
    per_step += params.train.encode_share * params.train.batch_recite * (document + block)
    per_step += params.train.batch_tuples * question * (params.train.key_weight > 0)
    return per_step * PADDING[params.corpus.name]


def estimate_seconds(params: Params, chapter: int, machine: Machine | float) -> float:
    """Seconds that a chapter will about take on a machine, or at a speed of matrix products alone."""
    machine = machine if isinstance(machine, Machine) else Machine(machine)
    return KERNEL_S + {1: _tables, 2: _tables, 3: _train, 4: _write, 5: _answer, 6: _evaluate, 7: _report}[chapter](
        params, machine
    )


def _tables(params: Params, machine: Machine) -> float:
    return 1.0e-3 * (params.corpus.documents + params.corpus.new_documents)


def _descent_seconds(params: Params, machine: Machine, *, tokens: float, batches: float, learning: bool) -> float:
    """Forwards and backwards: of all tokens the arithmetic, of all batches the passes; `learning`: the whole model."""
    again = params.machine.activation_checkpointing
    per_weight = (6 if learning and params.learns_whole else 4) + 2 * again
    arithmetic = per_weight * weights(params) * tokens / (EFFICIENCY * machine.flops_per_second)
    return arithmetic + (2 + again) * batches * pass_seconds(params, machine)


def _train(params: Params, machine: Machine) -> float:
    tokens, batches = training_tokens(params) * params.train.steps, 3 * params.train.steps
    asking = _ask(params, machine, documents=params.corpus.documents, each=params.train.self_questions)
    return asking + _descent_seconds(params, machine, tokens=tokens, batches=batches, learning=params.train.lm)


def _write(params: Params, machine: Machine) -> float:
    from zmem_lib.memory.write import ASKED  # imports torch, which takes seconds

    rows, steps = params.corpus.new_documents, params.write.steps * 4  # starts, at most
    asked = ASKED * (params.memory.z_tokens + QUESTION_TOKENS + EVIDENCE_TOKENS) * (params.write.self_questions > 0)
    tokens = (params.memory.z_tokens + params.memory.document_tokens + asked) * rows * steps
    batches = math.ceil(rows / params.machine.write_batch) * steps
    asking = _ask(params, machine, documents=rows, each=params.write.self_questions)
    return asking + _descent_seconds(params, machine, tokens=tokens, batches=batches, learning=False)


def _ask(params: Params, machine: Machine, *, documents: int, each: int) -> float:
    """Drawing questions about documents token by token, and reading each document again for each of them."""
    drawn, batches = documents * each, math.ceil(documents * each / params.machine.answer_batch)
    read = 2 * weights(params) * drawn * 0.5 * params.memory.document_tokens / EFFICIENCY
    written = 2 * weights(params) * drawn * QUESTION_TOKENS / STEPWISE
    passed = batches * LONGEST * QUESTION_TOKENS * pass_seconds(params, machine)
    return (read + written) / machine.flops_per_second + passed


def _questions(params: Params) -> int:
    return PARTS * (params.answer.questions or 2 * params.corpus.documents)


def _evidence_steps(params: Params) -> float:
    return min(LONGEST * EVIDENCE_TOKENS, params.memory.evidence_tokens)


def _answer(params: Params, machine: Machine) -> float:
    documents, questions = params.corpus.documents + params.corpus.new_documents, _questions(params)
    if not params.has_lm:
        return _retrieve(params, machine)
    per_token, passing = 2 * weights(params), pass_seconds(params, machine)
    scan = per_token * questions * documents * (params.memory.z_tokens + QUESTION_TOKENS)
    scan_passes = questions * math.ceil(documents / params.machine.scan_batch)
    per_question = GENERATING_SYSTEMS * params.answer.top_k * min(EVIDENCE_TOKENS, params.memory.evidence_tokens)
    per_question += READING_SYSTEMS * (params.answer.answer_tokens + 0.3 * BLOCK_TEXT_TOKENS)
    batches = math.ceil(questions / params.machine.answer_batch)
    steps = GENERATING_SYSTEMS * params.answer.top_k * _evidence_steps(params) + READING_SYSTEMS * params.answer.answer_tokens
    return (
        scan / (EFFICIENCY * machine.flops_per_second)
        + per_token * questions * per_question / (STEPWISE * machine.flops_per_second)
        + (scan_passes + batches * steps) * passing
        + (documents + questions) / machine.encoded_per_second
        + _read_more(params, machine)
    )


def _retrieve(params: Params, machine: Machine) -> float:
    """Encoding, tuning and ranking, where there is no language model."""
    documents = params.corpus.documents + params.corpus.new_documents
    questions = params.answer.questions or documents
    encoded = documents * (1 + (params.answer.dense_steps > 0)) + questions + TUNING * params.answer.dense_steps
    return encoded / machine.encoded_per_second + RETRIEVERS * MATCHING_SECONDS * questions * documents


def _read_more(params: Params, machine: Machine) -> float:
    """Passages that a model reads to order them, those of the long context, and the changed documents of the noise."""
    per_token = 2 * weights(params) / (EFFICIENCY * machine.flops_per_second)
    document = min(BLOCK_TEXT_TOKENS, params.memory.document_tokens) + QUESTION_TOKENS
    orders = params.answer.rerank_depth * document * (params.train.text_weight > 0 or params.lm.name != "scratch")
    tokens = _questions(params) * (orders + params.answer.long_context_tokens)
    noisy, renewed = PARTS * params.answer.noise_questions, math.ceil(0.8 * PARTS * params.answer.noise_questions)
    tokens += 8 * noisy * (params.answer.long_context_tokens + 2 * params.answer.top_k * document)  # two kinds, four shares
    written = _write(changed(params, {"corpus.new_documents": renewed}), machine) / 4 if noisy else 0.0  # one start of four
    return per_token * tokens + written


def _evaluate(params: Params, machine: Machine) -> float:
    if not params.has_lm:
        return RETRIEVERS * SCORING_SECONDS * (params.answer.questions or params.corpus.documents)
    asked = SNAPSHOTS * 6 * params.corpus.new_documents
    operations = 2 * weights(params) * asked * (EVIDENCE_TOKENS + params.memory.document_tokens)
    passed = math.ceil(asked / params.machine.answer_batch) * _evidence_steps(params) * pass_seconds(params, machine)
    bootstrap = 1.0e-2 * params.evaluate.bootstrap_samples
    arithmetic = operations / (STEPWISE * machine.flops_per_second)
    return arithmetic + passed + bootstrap + 5.0e-3 * _questions(params)


def api_requests(params: Params) -> tuple[int, int, int]:
    """Requests to a reader at an address, and their input and output tokens: all systems, absent ones, snapshots."""
    asked = len(SYSTEMS) * _questions(params) + 2 * len(ALSO_ABSENT) * params.corpus.absent_questions
    curves = SNAPSHOTS * min(6 * params.corpus.new_documents, params.answer.questions or 6 * params.corpus.new_documents)
    evidence = params.answer.top_k * min(BLOCK_TEXT_TOKENS, params.memory.evidence_tokens)
    requests = asked + curves
    return requests, requests * (INSTRUCTION_TOKENS + QUESTION_TOKENS + evidence), requests * params.answer.answer_tokens


def judge_requests(params: Params) -> tuple[int, int, int]:
    """Requests to a judge at an address, and their input and output tokens: every compared system's answers.

    Of an answer four of ragas', claims and entailment of RAGChecker's and RAGBench's one; of each piece of evidence one
    of ragas' and two of RAGChecker's. The token counts are those of their prompts, at four letters a token.
    """
    judged = len(COMPARED) * (PARTS * params.evaluate.judge_questions or _questions(params))
    evidence = params.answer.top_k * min(BLOCK_TEXT_TOKENS, params.memory.evidence_tokens)
    requests = judged * (JUDGING + JUDGING_PIECE * params.answer.top_k)
    read = judged * (JUDGING_TOKENS + JUDGING_PIECE_TOKENS * params.answer.top_k + EVIDENCE_READ * evidence)
    return requests, read, requests * VERDICT_TOKENS


def _report(params: Params, machine: Machine) -> float:
    return 5.0


def earlier_seconds(runs: Path, params: Params, chapter: int) -> float | None:
    """Seconds that this chapter took in an earlier run of the same parameters, whatever its name, or None."""
    wanted = _nameless(flat(params))
    for path in sorted(runs.glob(f"*/manifest_{chapter:02d}.json")):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if _nameless(from_flat(manifest["params"])) == wanted:
                return float(manifest["seconds"])
        except (ValueError, KeyError, TypeError, AttributeError):  # a manifest of another version says nothing here
            continue
    return None


def _nameless(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith(("run", "machine.api"))}

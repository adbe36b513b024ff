"""How long each chapter will about take: a written formula of floating point operations, over a measured speed.

A model of P weights costs about 2 P operations per token forwards and 6 P forwards and backwards (Kaplan et al. 2020,
arXiv 2001.08361, section 2.1); with frozen weights the backward pass costs half, 4 P in all. What is left is
counted in seconds. An earlier run of the same chapter with the same parameters is believed before the formula.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zmem_lib.params import Params

CHAPTERS = {
    1: "01_corpus",
    2: "02_tuples",
    3: "03_train_joint",
    4: "04_write_znew",
    5: "05_baselines",
    6: "06_eval",
    7: "07_report",
}
QUESTION_TOKENS, EVIDENCE_TOKENS, BLOCK_TEXT_TOKENS = 15, 40, 120  # means; the last: a document as a reader sees it
GENERATING_SYSTEMS, READING_SYSTEMS, PARTS, SNAPSHOTS = 3, 7, 3, 12
PADDING = {"synthetic": 1.0, "folder": 2.5}  # rows of unlike length are filled up to the longest of their batch
EFFICIENCY = 0.35  # share of a plain matrix product's speed that a small transformer reaches
STEPWISE = 0.1  # the same while it writes token by token
ENCODED_PER_S = 20.0  # passages a second, the packaged dense model on two cores
KERNEL_S = 8.0  # starting a kernel and importing


def measure_flops_per_second(device: str = "cpu", size: int = 1024, repeats: int = 6) -> float:
    """Floating point operations a second in a product of two square matrices, in the faster of float32 and bfloat16."""
    import torch

    best = float("inf")
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.rand(2, size, size, device=device).to(dtype)  # (size, size) each
        for _ in range(repeats):
            began = time.perf_counter()
            float((a @ b)[0, 0])  # reading one value waits for a GPU
            best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def weights(params: Params) -> float:
    """Weights of the language model that a token passes through: layers and output head."""
    return 12.0 * params.layers * params.hidden_size**2 + params.vocab_size * params.hidden_size


def training_tokens(params: Params) -> float:
    """Tokens that one step of joint training sends through the model."""
    block, question = params.z_tokens, QUESTION_TOKENS
    per_step = params.batch_tuples * (block + question + EVIDENCE_TOKENS)
    per_step += params.batch_recite * (block + 0.5 * params.document_tokens) * (params.recite_weight > 0)
    reading = (EVIDENCE_TOKENS + 0.5 * params.evidence_tokens) / 2  # half of the reader's lessons have a passage
    per_step += params.batch_read * (question + reading) * (params.read_weight > 0)
    return per_step * PADDING[params.corpus]


def estimate_seconds(params: Params, chapter: int, flops_per_second: float) -> float:
    """Seconds that a chapter will about take with a model of these parameters at this speed of matrix products."""
    return KERNEL_S + {1: _tables, 2: _tables, 3: _train, 4: _write, 5: _answer, 6: _evaluate, 7: _report}[chapter](
        params, flops_per_second
    )


def _tables(params: Params, flops_per_second: float) -> float:
    return 1.0e-3 * (params.n_documents + params.n_new_documents)


def _train(params: Params, flops_per_second: float) -> float:
    per_weight = 6 if params.train_lm else 4
    operations = per_weight * weights(params) * training_tokens(params) * params.train_steps
    return operations / (EFFICIENCY * flops_per_second)


def _write(params: Params, flops_per_second: float) -> float:
    tokens = params.z_tokens + params.document_tokens
    operations = 4 * weights(params) * tokens * params.n_new_documents * params.write_steps * 2  # two starts
    return operations / (EFFICIENCY * flops_per_second)


def _questions(params: Params) -> int:
    return PARTS * (params.scan_questions or 2 * params.n_documents)


def _answer(params: Params, flops_per_second: float) -> float:
    documents = params.n_documents + params.n_new_documents
    per_token = 2 * weights(params)
    scan = per_token * _questions(params) * documents * (params.z_tokens + QUESTION_TOKENS)
    per_question = GENERATING_SYSTEMS * params.top_k * min(EVIDENCE_TOKENS, params.evidence_tokens)
    per_question += READING_SYSTEMS * (params.answer_tokens + 0.3 * BLOCK_TEXT_TOKENS)
    writing = per_token * _questions(params) * per_question
    encoding = (documents + _questions(params)) / ENCODED_PER_S
    return scan / (EFFICIENCY * flops_per_second) + writing / (STEPWISE * flops_per_second) + encoding


def _evaluate(params: Params, flops_per_second: float) -> float:
    tokens = SNAPSHOTS * 6 * params.n_new_documents * (EVIDENCE_TOKENS + params.document_tokens)
    bootstrap = 1.0e-2 * params.bootstrap_samples
    return 2 * weights(params) * tokens / (STEPWISE * flops_per_second) + bootstrap + 5.0e-3 * _questions(params)


def _report(params: Params, flops_per_second: float) -> float:
    return 5.0


def earlier_seconds(runs: Path, params: Params, chapter: int) -> float | None:
    """Seconds that this chapter took in an earlier run of the same parameters, whatever its name, or None."""
    wanted = _nameless(asdict(params))
    for path in sorted(runs.glob(f"*/manifest_{chapter:02d}.json")):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if _nameless(manifest["params"]) == wanted:
                return float(manifest["seconds"])
        except (ValueError, KeyError, TypeError, AttributeError):  # a manifest of another version says nothing here
            continue
    return None


def _nameless(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "run"}


def about(seconds: float) -> str:
    """A duration as one says it: 'about 40 s', 'about 3 min', 'about 2.5 h'."""
    if seconds < 90:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"

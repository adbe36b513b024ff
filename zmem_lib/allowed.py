"""What each of a run's parameters may be by itself: its kind, its choices, its bounds. Combinations stand apart."""

import re
import reprlib
from typing import Any

from zmem_lib.combinations import SHAPE
from zmem_lib.files import BadInput

CHOICES = {
    "corpus": ("synthetic", "folder", "squad", "mirage", "ragbench", "t2ragbench", "popqa"),
    "device": ("auto", "cpu", "cuda"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
    "quantisation": ("none", "nf4"),
    "lm_optimiser": ("adamw", "muon"),
    "z_start": ("random", "mean", "vocab", "encode"),
    "z_store": ("memory", "disk"),
    "write_start": ("random", "mean", "vocab", "encode"),
    "select": ("query_likelihood", "key", "key_then_likelihood", "generated_id"),
    "bm25_tokens": ("words", "bigrams"),
    "reader": ("local", "api"),
    "answer_normalisation": ("squad", "korquad"),
    "judge": ("none", "api", "nli"),
    "report_language": ("en", "ko"),
}
MOST = 2**31 - 1  # of any number: what every library takes as a seed, a count or a size
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
MAY_BE_ZERO = {
    "seed", "n_new_documents", "markup_documents", "evidence_window", "recite_weight", "question_weight",
    "read_weight", "text_weight", "key_weight", "distill_weight", "micro_batch", "checkpoint_minutes",
    "scan_questions", "lm_lr", "lora_rank", "z_width", "key_width", "key_negatives",
    "encode_share", "encode_weight", "recite_inside", "distractor_share", "pseudo_questions", "pseudo_after",
    "write_stop", "write_proximal", "write_questions", "id_steps", "dense_steps", "absent_questions",
    "long_context_tokens", "rerank_depth", "noise_questions", "api_budget", "api_input_price", "api_output_price",
    "judge_questions", "judge_input_price", "judge_output_price", *SHAPE,
}  # fmt: skip


def checked(name: str, value: Any, kind: type, where: str) -> Any:
    """The value of one parameter as its kind; BadInput, with the parameter's name, where it may not have it."""
    if kind is float and type(value) is int and abs(value) <= MOST:
        value = float(value)
    if type(value) is not kind:
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        hint = " (YAML reads 1e-4 as text: write 1.0e-4)" if kind is float and isinstance(value, str) else ""
        raise BadInput(f"{where}: parameter {name!r} must be {wanted}, not {reprlib.repr(value)}{hint}")
    if kind is str and CONTROL.search(value):
        raise BadInput(f"{where}: parameter {name!r} has a control character: remove it from {value!r}")
    if name in CHOICES and value not in CHOICES[name]:
        raise BadInput(f"{where}: parameter {name!r} must be one of {', '.join(CHOICES[name])}, not {value!r}")
    if kind in (int, float) and not (value > 0 or (value == 0 and name in MAY_BE_ZERO)):
        bound = "zero or more" if name in MAY_BE_ZERO else "greater than zero"
        raise BadInput(f"{where}: parameter {name!r} must be {bound}, not {value!r}")
    if kind in (int, float) and value > MOST:
        raise BadInput(f"{where}: parameter {name!r} must be at most {MOST}, not {value!r}")
    return value

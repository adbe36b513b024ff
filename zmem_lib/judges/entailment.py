"""A local model of entailment (natural language inference) as judge: which claims does a text entail?

Takes a sequence classifier with a label `entailment`, and checks (claims, a text, the question that the text answers or
nothing); returns 1 or 0 by claim. Claims are the sentences of an answer, each behind its question, so that an answer of
a few words says something. A text that is longer than the model reads is cut at its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from zmem_lib.files import BadInput
from zmem_lib.hub import find_model, loading
from zmem_lib.memory.lm import pick_device
from zmem_lib.meter import progress
from zmem_lib.text import sentence_spans

BATCH = 32
LABEL = "entailment"
MOST_TOKENS = 512


@dataclass(frozen=True)
class Entailer:
    """The classifier, its tokenizer, the place of its label `entailment`, and how many tokens it reads."""

    model: Any
    tokenizer: Any
    label: int
    most_tokens: int


def load_entailer(name: str, device: str) -> Entailer:
    """The model in a folder or on the hub, from safetensors only; raises BadInput."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path = find_model("evaluate.judge_model", name)
    with loading("judge_model", name, give="a classifier in safetensors"):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        options = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
        model = AutoModelForSequenceClassification.from_pretrained(path, **options)
    labels = {str(label).lower(): place for place, label in model.config.id2label.items()}
    if LABEL not in labels:
        there = f"judge_model {name} has the labels {', '.join(labels)}"
        raise BadInput(f"{there} and no {LABEL!r}: give a model of entailment")
    reads = getattr(model.config, "max_position_embeddings", 0) or MOST_TOKENS
    most = min(tokenizer.model_max_length, reads, MOST_TOKENS)
    return Entailer(model.to(pick_device(device)).eval(), tokenizer, int(labels[LABEL]), most)


def sentence_claims(pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The sentences of each answer, each behind its question."""
    return [[f"{question} {text[start:end]}" for start, end in sentence_spans(text)] for question, text in pairs]


@torch.no_grad()
def entailed(entailer: Entailer, checks: Sequence[tuple[Sequence[str], str, str]]) -> list[np.ndarray]:
    """For each check which claims the text entails, 1 or 0 by claim; an empty text entails none."""
    pairs = [
        [(f"{question} {text}" if question else text, claim) for claim in claims if text.strip()]
        for claims, text, question in checks
    ]
    asked = sorted({pair: 0.0 for some in pairs for pair in some}, key=lambda pair: len(pair[0]) + len(pair[1]))
    options = {"padding": True, "truncation": "longest_first", "max_length": entailer.most_tokens}
    verdict: dict[tuple[str, str], float] = {}
    for begin in progress(range(0, len(asked), BATCH), "judging entailment"):
        batch = asked[begin : begin + BATCH]
        texts, claims = map(list, zip(*batch, strict=True))
        inputs = entailer.tokenizer(texts, claims, return_tensors="pt", **options).to(entailer.model.device)
        best = entailer.model(**inputs).logits.argmax(-1)  # (B,)
        verdict |= zip(batch, (best == entailer.label).float().tolist(), strict=True)
    return [
        np.array([verdict[pair] for pair in some]) if some else np.zeros(len(claims))
        for some, (claims, _, _) in zip(pairs, checks, strict=True)
    ]

"""What is learned, written and chosen: one block of soft tokens per document, and a language model that reads it.

The room runs on a bare GPU machine: it imports torch, transformers, tokenizers, peft, safetensors, numpy, pandas, tqdm.
"""

import json
from types import SimpleNamespace
from typing import Any, Protocol


class Settings(Protocol):
    """Resolved parameters by section: `Params`, or, where there is no pydantic, what `settings` reads from their JSON.

    Who needs whole sections takes them: a model, its lessons, its own questions. All else takes the numbers it needs.
    """

    seed: int
    corpus: Any  # evidence_window, normalisation
    lm: Any  # all
    memory: Any  # all but start
    train: Any  # all
    write: Any  # steps, lr, stop, proximal
    machine: Any  # all but what concerns an address


def settings(text: str) -> Settings:
    """Resolved parameters from the JSON that `params.model_dump_json()` writes."""
    return json.loads(text, object_hook=lambda section: SimpleNamespace(**section))

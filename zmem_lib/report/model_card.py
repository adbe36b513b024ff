"""The model card of a saved language model: what it is, how it was made, how to load it (model_card.md.j2)."""

from pathlib import Path

import yaml
from jinja2 import StrictUndefined, Template

from zmem_lib.params import Params, dumped


def model_card(params: Params) -> str:
    """README.md of a saved model, with the front matter that the hub reads."""
    scratch, whole = params.lm.name == "scratch", params.learns_whole
    front = {"library_name": "transformers" if whole else "peft", "tags": ["zmem", "soft-prompt"]}
    front |= {} if scratch else {"base_model": params.lm.name}
    card = Template(Path(__file__).with_suffix(".md.j2").read_text(encoding="utf-8"), undefined=StrictUndefined)
    return card.render(
        params=params,
        front=yaml.safe_dump(front, sort_keys=False),
        base="random weights (a small Llama)" if scratch else f"`{params.lm.name}` {params.lm.revision}".strip(),
        saved=f"{'all weights' if whole else 'a LoRA adapter'}, what joins memory and model, the tokenizer",
        without="a small model of one corpus" if scratch else "its base model, trained further",
        parameters=dumped(params),
    )

"""The parameters as this room sees them, and the shape of a language model, nothing loaded: from its configuration.

That is the one of a local folder, of the hub's cache, or of `model_shapes.json`, which holds the published ones that
`params/` names. A model made here has the shape that its parameters say.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from zmem_lib.files import BadInput
from zmem_lib.packaged import title_of


class Settings(Protocol):
    """Resolved parameters by section: `Params`, or, where there is no pydantic, what `settings` reads.

    Who needs whole sections takes them: a model, its lessons, its own questions. All else takes the numbers it needs.
    """

    seed: int
    corpus: Any  # evidence_window, normalisation
    lm: Any  # all
    memory: Any  # all but start
    train: Any  # all
    write: Any  # steps, rate, stop, proximal
    machine: Any  # all but what concerns an address


def settings(text: str) -> Settings:
    """Resolved parameters from the JSON that `params.model_dump_json()` writes, on a bare machine."""
    return json.loads(text, object_hook=lambda section: SimpleNamespace(**section))


@dataclass(frozen=True)
class Shape:
    """Sizes of a causal language model."""

    layers: int
    hidden: int
    queries: int  # width of all query heads together
    keys: int  # width of all key heads together: fewer where queries share them
    heads: int
    feed_forward: int
    vocabulary: int
    linear: int  # weights of all linear layers but the output head
    other: int  # embeddings, output head where it is not the embeddings, norms, biases
    largest: int  # weights of the largest linear layer
    adapter: int  # weights of an adapter of rank 1


def scratch_config(lm: Any, **more: Any) -> Any:
    """The configuration of a small Llama of the shape that the section `lm` says, with `more`."""
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=lm.hidden_size,
        intermediate_size=(lm.hidden_size * 8 // 3 + 31) // 32 * 32,
        num_hidden_layers=lm.layers,
        num_attention_heads=lm.heads,
        max_position_embeddings=lm.window_tokens,
        tie_word_embeddings=True,
        initializer_range=lm.hidden_size**-0.5,  # the usual 0.02 is made for models many times as wide
        **({"vocab_size": lm.vocab_size} | more),
    )


def model_config(params: Settings) -> Any:
    """The transformers configuration of the run's language model, without a network; raises BadInput for an unknown."""
    from transformers import AutoConfig

    lm = params.lm
    if lm.name == "scratch":
        return scratch_config(lm)
    folder = Path(lm.name).expanduser()
    options = {"revision": lm.revision or None, "local_files_only": True, "trust_remote_code": False}
    try:
        return AutoConfig.from_pretrained(str(folder), **options)
    except (OSError, ValueError, KeyError) as error:
        name = title_of(lm.name)
        if not folder.is_dir() and name in published():
            values = dict(published()[name]["config"])
            return AutoConfig.for_model(values.pop("model_type"), **values)
        raise BadInput(
            f"the shape of lm.name {lm.name} is not known here: give the folder of a causal language model with its "
            f"config.json, a model that is in the hub's cache, or one of {', '.join(published())}"
        ) from error


@lru_cache(maxsize=1)
def published() -> dict[str, dict[str, Any]]:
    """What `model_shapes.json` says of each model: configuration, number of weights, bytes to download, licence."""
    return json.loads(Path(__file__).with_name("model_shapes.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=8)
def model_shape(params: Settings) -> Shape:
    """The sizes of the run's language model, counted in the model itself, made without memory for its weights."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    config = model_config(params)
    try:
        with torch.device("meta"):
            lm = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except ValueError as error:
        sentence = f"lm.name {params.lm.name} is no causal language model that transformers knows: give another"
        raise BadInput(sentence) from error
    head, text = lm.get_output_embeddings(), config.get_text_config()
    linear = [part.weight for part in lm.modules() if isinstance(part, torch.nn.Linear | Conv1D) and part is not head]
    in_linear = sum(weight.numel() for weight in linear)
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Shape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        queries=text.num_attention_heads * width,
        keys=(getattr(text, "num_key_value_heads", None) or text.num_attention_heads) * width,
        heads=text.num_attention_heads,
        feed_forward=getattr(text, "intermediate_size", None) or max(max(weight.shape) for weight in linear),
        vocabulary=text.vocab_size,
        linear=in_linear,
        other=sum(weight.numel() for weight in lm.parameters()) - in_linear,
        largest=max(weight.numel() for weight in linear),
        adapter=sum(sum(weight.shape) for weight in linear),
    )

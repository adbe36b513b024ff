"""The model card of a saved language model: what it is, how it was made, how to load it."""

import yaml

from zmem_lib.params import Params, dumped

CARD = """---
{front}---

# {title}

A causal language model that was trained together with one block of {z_tokens} vectors per document, so that block and
question make it write the evidence: L = -log p(evidence | z, question). It was made by zmem's chapter 03.

- made from: {base}
- what was saved: {saved}
- documents: {n_documents} of the corpus `{corpus}`, whose licence holds for what the model has learned of them; the
  blocks lie beside this folder, in `z_seen.safetensors` and `z_new.safetensors`
- arithmetic: {precision}, quantisation of the frozen weights: {quantisation}

It is of use only with the blocks it was trained with. Without them it is {without}.

## Loading

```python
from pathlib import Path
from zmem_lib.memory.lm import load_memory_lm
from zmem_lib.params import read_params
from zmem_lib.memory.table import load_z

run = Path("runs/{run}")
memory_lm = load_memory_lm(run / "lm", read_params(run / "params.yaml"))
doc_ids, z, keys = load_z(run / "z_seen.safetensors")  # z: documents x {z_tokens} x width
```

## Parameters

```yaml
{parameters}```
"""


def model_card(params: Params) -> str:
    """README.md of a saved model, with the front matter that the hub reads."""
    scratch, whole = params.lm.name == "scratch", params.learns_whole
    front = {"library_name": "transformers" if whole else "peft", "tags": ["zmem", "soft-prompt"]}
    front |= {} if scratch else {"base_model": params.lm.name}
    return CARD.format(
        run=params.run,
        z_tokens=params.memory.z_tokens,
        n_documents=params.corpus.documents,
        corpus=params.corpus.name,
        precision=params.machine.precision,
        quantisation=params.lm.quantisation,
        front=yaml.safe_dump(front, sort_keys=False),
        title=f"zmem {params.run}",
        base="random weights (a small Llama)" if scratch else f"`{params.lm.name}` {params.lm.revision}".strip(),
        saved=f"{'all weights' if whole else 'a LoRA adapter'}, what joins memory and model, the tokenizer",
        without="a small model of one corpus" if scratch else "its base model, trained further",
        parameters=dumped(params),
    )

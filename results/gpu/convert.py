"""The adapter of this folder in this project's own format: python results/gpu/convert.py FOLDER, then lm.adapter=FOLDER."""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from zmem_lib.memory.lm import MEMORY, make_memory_lm, save_memory_lm
from zmem_lib.params import read_params

HERE = Path(__file__).parent
CARD = "The adapter of results/gpu (see its README), rank 24, for SmolLM2-135M-Instruct.\n"


def main(folder: str) -> None:
    without_keys = ["train.key_weight=0.0", "memory.key_width=0", "answer.select=query_likelihood"]
    params = read_params(HERE.parents[1] / "params/school.yaml", without_keys)
    memory_lm, kept, number = make_memory_lm(params, []), load_file(HERE / "adapter.safetensors"), 0
    with torch.no_grad():
        for layer in memory_lm.causal.model.layers:
            for part in (layer.self_attn, layer.mlp):
                for _, linear in part.named_children():
                    if hasattr(linear, "lora_A"):
                        linear.lora_A[MEMORY].weight.copy_(kept[f"{number}.a"])
                        linear.lora_B[MEMORY].weight.copy_(kept[f"{number}.b"])
                        number += 1
        memory_lm.heads.places.copy_(load_file(HERE / "adapter-places.safetensors")["places"])
    assert 2 * number == len(kept), (number, len(kept))
    save_memory_lm(memory_lm, Path(folder), CARD)


if __name__ == "__main__":
    main(sys.argv[1])

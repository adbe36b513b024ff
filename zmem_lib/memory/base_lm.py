"""Causal language models and their tokenizers: made from scratch, or loaded from a folder or the hub.

`scratch` is a small Llama with random weights and a tokenizer trained on the corpus. Any other model is loaded from
safetensors. With a `lm.lora_rank`, its weights are frozen in the arithmetic's dtype or in 4 bit (NF4, double-quantised:
QLoRA, 2305.14314), and it learns through a LoRA adapter in float32 on all its linear layers (2106.09685); without,
all its weights learn in float32. Code of a model's own is never run.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from zmem_lib.files import BadInput
from zmem_lib.memory import Settings
from zmem_lib.memory.prompts import MARKERS
from zmem_lib.memory.shape import scratch_config

SCRATCH_ATTENTION = "eager"  # at a few dozen tokens on a CPU, a third faster than the fused kernel
LORA_SCALE = 2  # alpha over rank


def learns_whole(lm: Any) -> bool:
    """Whether all weights of the model that the section `lm` names learn, and not an adapter."""
    return lm.name == "scratch" or lm.lora_rank == 0


def pick_device(name: str) -> torch.device:
    """The device that a parameter names; `auto` takes a GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("machine.device is cuda but torch finds no GPU: set it to cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype that a parameter names; `auto`: bfloat16 where it is native, else float16 (GPU) or float32 (CPU)."""
    if name != "auto":
        return getattr(torch, name)
    on_gpu = device.type == "cuda"
    native = torch.cuda.is_bf16_supported(False) if on_gpu else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float16 if on_gpu else torch.float32


def load_lm(folder: Path, params: Settings) -> nn.Module:
    """The causal language model in a folder, on the device: whole, in float32, or frozen, in the arithmetic's dtype."""
    section, device = params.lm, pick_device(params.machine.device)
    if learns_whole(section):
        attention = {"attn_implementation": SCRATCH_ATTENTION} if section.name == "scratch" else {}
        return _loaded(AutoModelForCausalLM, folder, dtype=torch.float32, **attention).to(device)
    dtype = pick_dtype(params.machine.precision, device)
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}, "use_safetensors": True}
    if section.quantisation == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an optional package at import
    lm = _loaded(AutoModelForCausalLM, folder, **options)
    if section.window_tokens > (longest := lm.config.max_position_embeddings):
        raise BadInput(
            f"lm.window_tokens {section.window_tokens} is more than {section.name} can read ({longest}): lower it"
        )
    lm.requires_grad_(False)
    for module in lm.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):  # a layout without gradients, taken up by inference on a CPU
            module.support_avx512bf16_for_cpu = False
    return lm


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder."""
    return _loaded(AutoTokenizer, folder)


def _loaded(kind: Any, folder: Path, **options: Any) -> Any:
    """What `kind` reads from a folder; what is wrong with the folder in one sentence."""
    try:
        return kind.from_pretrained(str(folder), trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInput(
            f"{folder} cannot be loaded as a causal language model with its tokenizer, from safetensors and without "
            f"code of its own ({reason}): give `lm.name` a model that transformers knows"
        ) from error


def with_adapter(lm: nn.Module, params: Settings) -> nn.Module:
    """The frozen model with a new LoRA adapter, float32, on every linear layer but the output head."""
    from peft import LoraConfig, get_peft_model  # imports bitsandbytes, which a model made here does not need

    torch.manual_seed(params.seed)
    rank = params.lm.lora_rank
    config = LoraConfig(r=rank, lora_alpha=LORA_SCALE * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with quiet_peft():
        adapted = get_peft_model(lm, config)
    adapted.peft_config["default"].base_model_name_or_path = params.lm.name  # not the folder of this machine's cache
    return adapted


def load_adapter(lm: nn.Module, folder: Path) -> nn.Module:
    """The frozen model with the adapter that was saved to a folder."""
    from peft import PeftModel

    with quiet_peft():
        return PeftModel.from_pretrained(lm, str(folder))


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Without peft's warning that it asks transformers by an old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def plain_generation(lm: nn.Module, tokenizer: Any) -> GenerationConfig:
    """Greedy generation that ends where the model's family ends a turn, without its sampling and its penalties."""
    own = getattr(lm, "generation_config", None)
    ends = own.eos_token_id if own is not None else None
    ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return GenerationConfig(eos_token_id=sorted(ends), pad_token_id=pad, do_sample=False)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocab_size` tokens, with this project's markers as special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<end>", *(special for special, _ in MARKERS.values())],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")


def make_scratch_lm(params: Settings, tokenizer: PreTrainedTokenizerFast) -> nn.Module:
    """A small Llama with random weights, tied embeddings, for the tokenizer's vocabulary, on the device."""
    torch.manual_seed(params.seed)
    config = scratch_config(
        params.lm,
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation=SCRATCH_ATTENTION,
    )
    return LlamaForCausalLM(config).to(pick_device(params.machine.device))

"""A causal language model behind soft prompts: how it is made or loaded, its likelihoods, and what it generates.

Takes blocks z (B,K,W) and token ids, returns negative log-likelihoods per token or generated ids. `scratch` is a small
Llama with random weights and a tokenizer trained on the corpus; any other model is loaded from safetensors, code of its
own is never run. With a `lm.lora_rank` its weights are frozen, in the arithmetic's dtype or in 4 bit (NF4,
double-quantised: QLoRA, 2305.14314), and it learns through a LoRA adapter in float32 on all its linear layers
(2106.09685); without, all its weights learn in float32.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as FastTokenizer

from zmem_lib.files import BadInput, new_folder
from zmem_lib.hub import find_adapter, find_lm
from zmem_lib.memory.kv_prefix import measure_layers
from zmem_lib.memory.prompts import MARKERS, Prompts, make_prompts
from zmem_lib.memory.shape import Settings, scratch_config
from zmem_lib.memory.soft_prompt import MemoryHeads, load_heads, save_heads

LORA_SCALE = 2  # alpha over rank
MEMORY, READER = "default", "reader"  # adapters: what learns here, and one that reads as it came
LORA: dict[str, Any] = {"target_modules": "all-linear", "task_type": "CAUSAL_LM"}  # of every adapter


@dataclass(frozen=True)
class MemoryLM:
    """A language model with what is needed to use it."""

    lm: Any  # with an adapter or without
    heads: MemoryHeads
    prompts: Prompts
    device: torch.device
    dtype: torch.dtype  # of the arithmetic; weights of a model made here, and every adapter, stay float32

    @property
    def embeddings(self) -> Tensor:
        """The token embeddings (V,D), as the layers get them."""
        return token_vectors(self.lm)

    @property
    def adapted(self) -> bool:
        """Whether an adapter learns on top of a frozen model."""
        return hasattr(self.lm, "get_base_model")

    @property
    def causal(self) -> Any:
        """The causal language model itself, adapters included."""
        return self.lm.get_base_model() if self.adapted else self.lm

    @property
    def backbone(self) -> Any:
        """The model below its output head, adapters included."""
        return self.causal.base_model

    @property
    def ends(self) -> list[int]:
        """The ids that end a generated text."""
        return self.lm.generation_config.eos_token_id

    def arithmetic(self) -> AbstractContextManager:
        """Autocast to `dtype`, or nothing for float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)


@torch.no_grad()
def token_vectors(lm: Any) -> Tensor:
    """The embeddings (V,D) of all tokens as a model's layers get them: some families scale what the table holds."""
    embed = lm.get_input_embeddings()
    return embed(torch.arange(embed.weight.shape[0], device=embed.weight.device))  # (V,D)


def make_memory_lm(params: Settings, texts: Iterable[str]) -> MemoryLM:
    """The model that `lm.name` names, ready to train."""
    if params.lm.name == "scratch":
        tokenizer = train_tokenizer(texts, params.lm.vocab_size)
        ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        device = pick_device(params.machine.device)
        config = scratch_config(params.lm, vocab_size=len(tokenizer), attn_implementation=attention(device), **ids)
        torch.manual_seed(params.seed)
        lm = LlamaForCausalLM(config).to(device)  # pyright: ignore[reportArgumentType]
        return wrap(lm, tokenizer, params)
    folder = find_lm(params.lm.name, params.lm.revision)
    adapter = find_adapter(params.lm.adapter) if params.lm.adapter else None
    return wrap(load_lm(folder, params, adapter), _loaded(AutoTokenizer, folder), params, adapter or folder)


def load_memory_lm(folder: Path, params: Settings, reader: str = "") -> MemoryLM:
    """The model that `save_memory_lm` wrote to `folder`, frozen; the adapter in the folder `reader` is to read."""
    below = folder if learns_whole(params.lm) else find_lm(params.lm.name, params.lm.revision)
    memory_lm = wrap(load_lm(below, params, folder), _loaded(AutoTokenizer, folder), params, folder)
    if reader:
        memory_lm.lm.load_adapter(str(find_adapter(reader)), READER)
    memory_lm.lm.requires_grad_(False)
    memory_lm.heads.requires_grad_(False)
    return memory_lm


def save_memory_lm(memory_lm: MemoryLM, folder: Path, card: str) -> None:
    """Write weights (all, or the adapter's) and heads as safetensors, configuration, tokenizer; `card` is README.md."""
    options = {"save_embedding_layers": False} if memory_lm.adapted else {}  # else it asks the hub about them
    with new_folder(folder) as new:
        memory_lm.lm.save_pretrained(new, **options)
        memory_lm.lm.config.save_pretrained(new)
        memory_lm.prompts.tokenizer.save_pretrained(new)
        save_heads(memory_lm.heads, new)
        (new / "README.md").write_text(card, encoding="utf-8")


def wrap(lm: Any, tokenizer: Any, params: Settings, folder: Path | None = None) -> MemoryLM:
    """The model with its prompts and new heads, or a folder's; greedy, it ends where its family ends a turn."""
    ends = lm.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    lm.generation_config = GenerationConfig(eos_token_id=sorted(ends), pad_token_id=pad, do_sample=False)
    memory_lm = ready(lm, make_prompts(tokenizer), params)
    memory_lm.heads.align(memory_lm.embeddings, loaded=load_heads(memory_lm.heads, folder) if folder else set())
    return memory_lm


def ready(lm: Any, prompts: Prompts, params: Settings) -> MemoryLM:
    """The model with new heads, its arithmetic and its activations as the parameters want them."""
    memory, device = params.memory, pick_device(params.machine.device)
    torch.manual_seed(params.seed)
    shape = {"z_tokens": memory.z_tokens, "z_width": memory.z_width, "key_width": memory.key_width}
    kv, starts = memory.kind == "kv", {memory.start, params.write.start}
    start = next(iter(starts & {"pooled", "chosen"}), "encode" if params.train.encode_share else "")
    places = -(-memory.document_tokens // memory.z_tokens) if start == "pooled" and not kv else 0
    heads = MemoryHeads(token_vectors(lm), **shape, start="" if kv else start, places=places)
    memory_lm = MemoryLM(lm.eval(), heads, prompts, device, pick_dtype(params.machine.precision, device))
    if kv:
        reach = memory.document_tokens + len(prompts.begin) + len(prompts.marks["text"]) + 1  # and its end
        with memory_lm.arithmetic():
            heads.hold_kv(*measure_layers(lm, params.seed), start=start, reach=reach)
    heads.to(device)
    lm.get_output_embeddings().register_forward_pre_hook(in_one_piece)
    if params.machine.activation_checkpointing:
        memory_lm.causal.activation_checkpointing_enable()
    return memory_lm


def in_one_piece(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The states that an output head gets, as one piece of memory: of slices a bfloat16 product takes a CPU seconds."""
    return (given[0].contiguous(), *given[1:])


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


def attention(device: torch.device) -> str | None:
    """The kernel of learning: with some dozen to two hundred tokens on a CPU, the plain one takes a third less time."""
    return "eager" if device.type == "cpu" else None  # the family's best


def fuse_attention(causal: Any) -> None:
    """Take the fused kernel, where the family has one: the default on a GPU."""
    if causal._supports_sdpa:
        causal.set_attn_implementation("sdpa")


@contextmanager
def fused_attention(memory_lm: MemoryLM) -> Iterator[None]:
    """The kernel of generating while this lasts: the plain one would copy the keys of all heads at every token."""
    before = memory_lm.causal.config._attn_implementation
    fuse_attention(memory_lm.causal)
    try:
        yield
    finally:
        memory_lm.causal.set_attn_implementation(before)


def load_lm(folder: Path, params: Settings, adapter: Path | None = None) -> Any:
    """The language model in a folder, on the device: whole, in float32, or frozen, in the arithmetic's dtype.

    The frozen one has an adapter: a folder's, or a new one.
    """
    section, device = params.lm, pick_device(params.machine.device)
    options: dict[str, Any] = {"attn_implementation": attention(device)}
    if learns_whole(section):
        return _loaded(AutoModelForCausalLM, folder, dtype=torch.float32, **options).to(device)
    dtype = pick_dtype(params.machine.precision, device)
    options |= {"dtype": dtype, "device_map": {"": device}, "use_safetensors": True}
    if section.quantisation == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of an optional package at import
    lm = _loaded(AutoModelForCausalLM, folder, **options)
    if section.window_tokens > (longest := lm.config.get_text_config().max_position_embeddings):
        wanted = f"lm.window_tokens {section.window_tokens}"
        raise BadInput(f"{wanted} is more than {section.name} can read ({longest}): lower it")
    lm.requires_grad_(False)
    for module in lm.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):  # a layout without gradients, taken up by inference on a CPU
            module.support_avx512bf16_for_cpu = False
    return with_adapter(lm, params, adapter)


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


def with_adapter(lm: nn.Module, params: Settings, folder: Path | None = None) -> Any:
    """The frozen model with a LoRA adapter, float32, on every linear layer but the output head: new, or a folder's."""
    from peft import LoraConfig, PeftModel, get_peft_model  # imports bitsandbytes, which a model made here does without

    rank = params.lm.lora_rank
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft asks transformers by an old name
        if folder:
            try:
                adapted: Any = PeftModel.from_pretrained(lm, str(folder), is_trainable=True)
            except (RuntimeError, ValueError) as error:
                raise BadInput(
                    f"{folder} holds no adapter of {params.lm.name}: it was made for another model"
                ) from error
            if (there := adapted.peft_config[MEMORY].r) != rank:
                raise BadInput(f"the adapter in {folder} has rank {there}, not {rank}: set lm.lora_rank to {there}")
        else:
            torch.manual_seed(params.seed)
            adapted = get_peft_model(lm, LoraConfig(r=rank, lora_alpha=LORA_SCALE * rank, **LORA))
            adapted.peft_config[MEMORY].base_model_name_or_path = params.lm.name  # not this machine's cache
    for layer in adapted.modules():
        if hasattr(layer, "cast_input_dtype_enabled"):  # its products in the arithmetic's dtype, as autocast has them
            layer.cast_input_dtype_enabled = False
    return adapted


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> FastTokenizer:
    """A byte-level BPE tokenizer of at most `vocab_size` tokens, with this project's markers as special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    specials, alphabet = dict.fromkeys(special for special, _ in MARKERS.values()), pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": ["<pad>", "<end>", *specials], "initial_alphabet": alphabet, "show_progress": False}
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab_size, **options))
    return FastTokenizer(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")


@contextmanager
def reading(memory_lm: MemoryLM, *, learned: bool) -> Iterator[None]:
    """The model as the reader of all systems while this lasts: as it is, if it has `learned` to read or has no adapter.

    Else with the adapter that is to read, or, where there is none, without any.
    """
    if not memory_lm.adapted or learned:
        yield
    elif READER not in memory_lm.lm.peft_config:
        with memory_lm.lm.disable_adapter():
            yield
    else:
        memory_lm.lm.set_adapter(READER, inference_mode=True)
        try:
            yield
        finally:
            memory_lm.lm.set_adapter(MEMORY, inference_mode=True)


@contextmanager
def frozen(memory_lm: MemoryLM) -> Iterator[None]:
    """No weight of model and heads learns while this lasts; afterwards the same ones do as before."""
    learning = learning_weights(memory_lm)
    for weight in learning:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in learning:
            weight.requires_grad_(True)


def learning_weights(memory_lm: MemoryLM) -> list[nn.Parameter]:
    """The weights of model and heads that learn."""
    return [weight for part in (memory_lm.lm, memory_lm.heads) for weight in part.parameters() if weight.requires_grad]


def make_scaler(memory_lm: MemoryLM) -> torch.amp.GradScaler:
    """Loss scaling for float16 arithmetic, whose gradients would vanish; it does nothing for any other."""
    return torch.amp.GradScaler(memory_lm.device.type, enabled=memory_lm.dtype is torch.float16)

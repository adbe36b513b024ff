"""A causal language model behind soft prompts: load or make it, likelihoods, generation.

Takes blocks z (B,K,D) and token ids, returns negative log-likelihoods per token or generated ids. The model is either
made here (`scratch`: a small Llama, all of it trained, with a tokenizer trained on the corpus) or any local or hub
causal model with a LoRA adapter (Hu et al., 2106.09685).
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from zmem_lib.artifacts import progress
from zmem_lib.errors import BadInput
from zmem_lib.params import Params
from zmem_lib.prompts import MARKERS, Prompts, Row, collate, make_prompts

SCRATCH_ATTENTION = "eager"  # at a few dozen tokens on a CPU, a third faster than the fused kernel


@dataclass(frozen=True)
class MemoryLM:
    """A language model with what is needed to use it."""

    lm: nn.Module
    prompts: Prompts
    device: torch.device
    dtype: torch.dtype  # of the arithmetic; weights of a model made here stay float32

    @property
    def embeddings(self) -> Tensor:
        """The token embeddings (V,D)."""
        return self.lm.get_input_embeddings().weight

    @property
    def backbone(self) -> nn.Module:
        """The model below its output head, adapters included."""
        causal = self.lm.get_base_model() if hasattr(self.lm, "get_base_model") else self.lm
        return causal.base_model

    @property
    def pad(self) -> int:
        """The id that fills up short rows."""
        tokenizer = self.prompts.tokenizer
        return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    def arithmetic(self) -> AbstractContextManager:
        """Autocast to `dtype`, or nothing for float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)


def make_memory_lm(params: Params, texts: Iterable[str]) -> MemoryLM:
    """The model that `params.lm` names, ready to train: made from scratch, or loaded and given an adapter."""
    if params.lm == "scratch":
        tokenizer = train_tokenizer(texts, params.vocab_size)
        return _wrap(make_scratch_lm(params, tokenizer), tokenizer, params)
    from peft import LoraConfig, get_peft_model  # imports bitsandbytes, which a model made here does not need

    tokenizer = AutoTokenizer.from_pretrained(_reachable(params.lm))
    lm = AutoModelForCausalLM.from_pretrained(params.lm, dtype=torch.float32)
    torch.manual_seed(params.seed)
    config = LoraConfig(r=params.lora_rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return _wrap(get_peft_model(lm, config), tokenizer, params)


def load_memory_lm(folder: Path, params: Params) -> MemoryLM:
    """The model that `save_memory_lm` wrote to `folder`, frozen."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    if params.lm == "scratch":
        lm = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, attn_implementation=SCRATCH_ATTENTION
        )
    else:
        from peft import PeftModel

        base = AutoModelForCausalLM.from_pretrained(_reachable(params.lm), dtype=torch.float32)
        lm = PeftModel.from_pretrained(base, str(folder))
    memory_lm = _wrap(lm, tokenizer, params)
    memory_lm.lm.requires_grad_(False)
    return memory_lm


def save_memory_lm(memory_lm: MemoryLM, folder: Path) -> None:
    """Write weights (all of them, or the adapter's) as safetensors, and the tokenizer."""
    memory_lm.lm.save_pretrained(folder)
    memory_lm.prompts.tokenizer.save_pretrained(folder)


def _wrap(lm: nn.Module, tokenizer: Any, params: Params) -> MemoryLM:
    device = pick_device(params.device)
    return MemoryLM(lm.to(device).eval(), make_prompts(tokenizer), device, pick_dtype(params.precision, device))


def _reachable(lm: str) -> str:
    if lm.startswith((".", "/")) and not Path(lm).is_dir():
        raise BadInput(f"language model folder {lm} does not exist: give `lm` a folder, a hub id or scratch")
    return lm


def pick_device(name: str) -> torch.device:
    """The device that a parameter names; `auto` takes a GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("device is cuda but torch finds no GPU: set device to cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype that a parameter names; `auto` takes bfloat16 where the processor computes it natively."""
    on_gpu = device.type == "cuda"
    native = torch.cuda.is_bf16_supported() if on_gpu else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if name == "bfloat16" or (name == "auto" and native) else torch.float32


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `vocab_size` tokens, with this project's markers as special tokens."""
    specials = ["<pad>", "<end>"] + [special for special, _ in MARKERS.values()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")


def make_scratch_lm(params: Params, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A small Llama with random weights, tied embeddings, for the tokenizer's vocabulary."""
    torch.manual_seed(params.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=params.hidden_size,
        intermediate_size=(params.hidden_size * 8 // 3 + 31) // 32 * 32,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        num_key_value_heads=params.heads,
        max_position_embeddings=params.window_tokens,
        tie_word_embeddings=True,
        initializer_range=params.hidden_size**-0.5,  # the usual 0.02 is made for models many times as wide
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation=SCRATCH_ATTENTION,
    )
    return LlamaForCausalLM(config)


def token_nll(memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """-log p of every token that counts, given z (B,K,D) and the tokens before it, and each token's term: both (B,T).

    Tokens of term none, and padding, have 0. The vocabulary is spread out only where a token counts: of a reader's
    lesson that is a twentieth. Without z the first token of a row has nothing before it and must not count.
    """
    ids, terms, mask = (tensor.to(memory_lm.device) for tensor in collate(rows, memory_lm.pad))  # (B,T)
    counted, k = terms > 0, 0 if z is None else z.shape[1]
    assert k or not counted[:, 0].any(), "the first token of a row without z cannot be predicted"
    embedded, mask = with_soft_prompt(memory_lm, z, ids, mask)  # (B,K+T,D), (B,K+T)
    with memory_lm.arithmetic():
        hidden = memory_lm.backbone(inputs_embeds=embedded, attention_mask=mask).last_hidden_state  # (B,K+T,D)
        before = hidden.roll(1, 1)[:, k:]  # (B,T,D): position t-1 predicts token t
        logits = memory_lm.lm.get_output_embeddings()(before[counted])  # (counted,V)
    losses = nn.functional.cross_entropy(logits.float(), ids[counted], reduction="none")  # (counted,)
    return losses.new_zeros(ids.shape).masked_scatter(counted, losses), terms  # (B,T)


def with_soft_prompt(memory_lm: MemoryLM, z: Tensor | None, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings (B,K+T,D) and mask (B,K+T) of z (B,K,D) followed by the tokens ids (B,T)."""
    embedded = memory_lm.lm.get_input_embeddings()(ids)  # (B,T,D)
    if z is None:
        return embedded, mask
    assert z.shape[::2] == embedded.shape[::2], (z.shape, embedded.shape)
    embedded = torch.cat([z.to(embedded), embedded], 1)  # (B,K+T,D)
    return embedded, torch.cat([mask.new_ones(z.shape[:2]), mask], 1)  # (B,K+T)


@torch.no_grad()
def generate(memory_lm: MemoryLM, z: Tensor | None, prompts: Sequence[list[int]], max_tokens: int) -> list[list[int]]:
    """Greedy continuation of each prompt after its z (B,K,D): lists of ids, without the end token."""
    embedded, mask = left_padded(memory_lm, z, prompts)  # (B,K+T,D), (B,K+T)
    with memory_lm.arithmetic():
        new = memory_lm.lm.generate(
            inputs_embeds=embedded,
            attention_mask=mask,
            max_new_tokens=max_tokens,
            do_sample=False,
            pad_token_id=memory_lm.pad,
            eos_token_id=memory_lm.prompts.end,
        )  # (B,<=max_tokens)
    return [trim(row, memory_lm.prompts.end) for row in new.tolist()]


def generate_all(
    memory_lm: MemoryLM, z: Tensor | None, prompts: Sequence[list[int]], *, max_tokens: int, batch: int
) -> list[list[int]]:
    """`generate` for any number of prompts: in batches of like length, returned in the order given."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    output: list[list[int]] = [[] for _ in prompts]
    for begin in progress(range(0, len(order), batch), "generating"):
        chosen = order[begin : begin + batch]
        block = None if z is None else z[chosen]  # (B,K,D)
        new = generate(memory_lm, block, [prompts[i] for i in chosen], max_tokens)
        for i, ids in zip(chosen, new, strict=True):
            output[i] = ids
    return output


def trim(ids: list[int], end: int) -> list[int]:
    """The ids before the first `end`."""
    return ids[: ids.index(end)] if end in ids else ids


def left_padded(memory_lm: MemoryLM, z: Tensor | None, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Embeddings (B,K+T,D) and mask (B,K+T) of each prompt behind its z (B,K,D), padded in front of both."""
    embed = memory_lm.lm.get_input_embeddings()
    blocks = [embed(torch.tensor(prompt, device=memory_lm.device)) for prompt in prompts]  # (T_i,D) each
    if z is not None:
        blocks = [torch.cat([row.to(block), block]) for row, block in zip(z, blocks, strict=True)]  # (K+T_i,D)
    width = max(len(block) for block in blocks)
    padded = [nn.functional.pad(block, (0, 0, width - len(block), 0)) for block in blocks]
    mask = [[0] * (width - len(block)) + [1] * len(block) for block in blocks]
    return torch.stack(padded), torch.tensor(mask, device=memory_lm.device)  # (B,K+T,D), (B,K+T)

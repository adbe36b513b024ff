"""A causal language model behind soft prompts: likelihoods and generation.

Takes blocks z (B,K,W) and token ids, returns negative log-likelihoods per token or generated ids. What stands before
the tokens is the family's beginning-of-sequence token, where it has one, and then z, brought to the model's width by
the heads. The model itself comes from base_lm.py: trained whole, or frozen with a LoRA adapter.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zmem_lib.files import new_folder
from zmem_lib.hub import find_lm
from zmem_lib.memory import base_lm
from zmem_lib.memory.prompts import Prompts, Row, collate, make_prompts
from zmem_lib.memory.soft_prompt import MemoryHeads, load_heads, make_heads, save_heads
from zmem_lib.meter import progress
from zmem_lib.params import Params
from zmem_lib.report.model_card import model_card


@dataclass(frozen=True)
class MemoryLM:
    """A language model with what is needed to use it."""

    lm: nn.Module
    heads: MemoryHeads
    prompts: Prompts
    device: torch.device
    dtype: torch.dtype  # of the arithmetic; weights of a model made here, and every adapter, stay float32

    @property
    def embeddings(self) -> Tensor:
        """The token embeddings (V,D)."""
        return self.lm.get_input_embeddings().weight

    @property
    def causal(self) -> nn.Module:
        """The causal language model itself, adapters included."""
        return self.lm.get_base_model() if hasattr(self.lm, "get_base_model") else self.lm

    @property
    def backbone(self) -> nn.Module:
        """The model below its output head, adapters included."""
        return self.causal.base_model

    @property
    def pad(self) -> int:
        """The id that fills up short rows; they are masked, so the end token serves where a family has no other."""
        return self.lm.generation_config.pad_token_id

    @property
    def ends(self) -> list[int]:
        """The ids that end a generated text."""
        return self.lm.generation_config.eos_token_id

    def arithmetic(self) -> AbstractContextManager:
        """Autocast to `dtype`, or nothing for float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)


def make_memory_lm(params: Params, texts: Iterable[str]) -> MemoryLM:
    """The model that `params.lm.name` names, ready to train: made from scratch, or loaded, with an adapter or without."""
    if params.lm.name == "scratch":
        tokenizer = base_lm.train_tokenizer(texts, params.lm.vocab_size)
        return wrap(base_lm.make_scratch_lm(params, tokenizer), tokenizer, params)
    folder = find_lm(params.lm.name, params.lm.revision)
    tokenizer = base_lm.load_tokenizer(folder)
    lm = base_lm.load_whole(folder) if params.learns_whole else base_lm.load_base(folder, params)
    lm = lm if params.learns_whole else base_lm.with_adapter(lm, params)
    memory_lm = wrap(lm, tokenizer, params)
    load_heads(memory_lm.heads, folder)  # where the model has learned with such heads
    return memory_lm


def load_memory_lm(folder: Path, params: Params) -> MemoryLM:
    """The model that `save_memory_lm` wrote to `folder`, frozen."""
    tokenizer = base_lm.load_tokenizer(folder)
    if params.learns_whole:
        lm = base_lm.load_whole(folder)
    else:
        base = base_lm.load_base(find_lm(params.lm.name, params.lm.revision), params)
        lm = base_lm.load_adapter(base, folder)
    memory_lm = wrap(lm, tokenizer, params)
    load_heads(memory_lm.heads, folder)
    memory_lm.lm.requires_grad_(False)
    memory_lm.heads.requires_grad_(False)
    return memory_lm


def save_memory_lm(memory_lm: MemoryLM, folder: Path, params: Params) -> None:
    """Write weights (all, or the adapter's) and heads as safetensors, configuration, tokenizer and a model card."""
    adapter = {} if params.learns_whole else {"save_embedding_layers": False}  # else it asks the hub about them
    with new_folder(folder) as new:
        memory_lm.lm.save_pretrained(new, **adapter)
        memory_lm.lm.config.save_pretrained(new)
        memory_lm.prompts.tokenizer.save_pretrained(new)
        save_heads(memory_lm.heads, new)
        (new / "README.md").write_text(model_card(params), encoding="utf-8")


def wrap(lm: nn.Module, tokenizer: Any, params: Params) -> MemoryLM:
    """The model with its prompts, on the device that the parameters name, generating greedily."""
    device = base_lm.pick_device(params.machine.device)
    lm = lm.to(device) if params.learns_whole else lm  # a loaded one is there; in 4 bit it cannot be moved
    lm.generation_config = base_lm.plain_generation(lm, tokenizer)
    return ready(lm, make_prompts(tokenizer), params)


def ready(lm: nn.Module, prompts: Prompts, params: Params) -> MemoryLM:
    """The model on its device with new heads, its arithmetic and its activations as the parameters want them."""
    device = base_lm.pick_device(params.machine.device)
    heads = make_heads(params, lm.get_input_embeddings().weight)
    memory_lm = MemoryLM(lm.eval(), heads, prompts, device, base_lm.pick_dtype(params.machine.precision, device))
    if params.machine.activation_checkpointing:
        memory_lm.causal.activation_checkpointing_enable()
    return memory_lm


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


def token_nll(memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """-log p of every token that counts, given z (B,K,W) and the tokens before it, and each token's term: both (B,T).

    Tokens of term none, and padding, have 0. Without z the first token of a row has nothing before it and must not
    count.
    """
    ids, terms, mask = (tensor.to(memory_lm.device) for tensor in collate(rows, memory_lm.pad))  # (B,T)
    counted = terms > 0
    logits = token_logits(memory_lm, z, (ids, mask, counted))  # (counted,V)
    losses = nn.functional.cross_entropy(logits.float(), ids[counted], reduction="none")  # (counted,)
    return losses.new_zeros(ids.shape).masked_scatter(counted, losses), terms  # (B,T)


def token_logits(memory_lm: MemoryLM, z: Tensor | None, tokens: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Logits (counted,V) of the tokens that count, given z (B,K,W); tokens are ids, mask and what counts, each (B,T).

    The vocabulary is spread out only where a token counts: of a reader's lesson that is a twentieth.
    """
    ids, mask, counted = tokens
    assert z is not None or not counted[:, 0].any(), "the first token of a row without z cannot be predicted"
    embedded, mask = with_soft_prompt(memory_lm, z, ids, mask)  # (B,P+T,D), (B,P+T)
    with memory_lm.arithmetic():
        output = memory_lm.backbone(inputs_embeds=embedded, attention_mask=mask, use_cache=False)
        before = output.last_hidden_state.roll(1, 1)[:, -ids.shape[1] :]  # (B,T,D): position t-1 predicts token t
        return memory_lm.lm.get_output_embeddings()(before[counted])  # (counted,V)


@torch.no_grad()
def greedy_scores(memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Of what counts in each row behind its z (B,K,W): the mean nll per token, and the share greedy decoding writes.

    The share (B,) ends at the first token that is not the likeliest: up to there decoding and row are the same.
    """
    ids, terms, mask = (tensor.to(memory_lm.device) for tensor in collate(rows, memory_lm.pad))  # (B,T)
    counted = terms > 0
    logits = token_logits(memory_lm, z, (ids, mask, counted)).float()  # (counted,V)
    losses = nn.functional.cross_entropy(logits, ids[counted], reduction="none")  # (counted,)
    nll = losses.new_zeros(ids.shape).masked_scatter(counted, losses).sum(1) / counted.sum(1)  # (B,)
    right = (~counted).masked_scatter(counted, logits.argmax(-1) == ids[counted])  # (B,T)
    before = (right.long().cumprod(1).bool() & counted).sum(1) / counted.sum(1)  # (B,)
    return nll.cpu(), before.float().cpu()


def prefix(memory_lm: MemoryLM, z: Tensor) -> Tensor:
    """What stands before the tokens: the family's first token where it has one, then z (B,K,W); (B,P,D)."""
    embed = memory_lm.lm.get_input_embeddings()
    assert z.shape[-1] == memory_lm.heads.width, (z.shape, memory_lm.heads.width)
    soft = memory_lm.heads.soft_tokens(z.to(memory_lm.device).float()).to(embed.weight.dtype)  # (B,K,D)
    begin = embed(torch.tensor(memory_lm.prompts.begin, dtype=torch.long, device=memory_lm.device))  # (0 or 1,D)
    return torch.cat([begin.expand(len(soft), -1, -1), soft], 1)  # (B,P,D)


def with_soft_prompt(memory_lm: MemoryLM, z: Tensor | None, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings (B,P+T,D) and mask (B,P+T) of the prefix with z (B,K,W), followed by the tokens ids (B,T)."""
    embedded = memory_lm.lm.get_input_embeddings()(ids)  # (B,T,D)
    if z is None:
        return embedded, mask
    before = prefix(memory_lm, z)  # (B,P,D)
    return torch.cat([before, embedded], 1), torch.cat([mask.new_ones(before.shape[:2]), mask], 1)


@torch.no_grad()
def generate(memory_lm: MemoryLM, z: Tensor | None, prompts: Sequence[list[int]], max_tokens: int) -> list[list[int]]:
    """Greedy continuation of each prompt after its z (B,K,W): lists of ids, without the end token."""
    embedded, mask = left_padded(memory_lm, z, prompts)  # (B,P+T,D), (B,P+T)
    with memory_lm.arithmetic():
        new = memory_lm.lm.generate(
            inputs_embeds=embedded,
            attention_mask=mask,
            max_new_tokens=max_tokens,
        )  # (B,<=max_tokens)
    return [trim(row, memory_lm.ends) for row in new.tolist()]


def generate_all(
    memory_lm: MemoryLM, z: Tensor | None, prompts: Sequence[list[int]], *, max_tokens: int, batch: int
) -> list[list[int]]:
    """`generate` for any number of prompts: in batches of like length, returned in the order given."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    output: list[list[int]] = [[] for _ in prompts]
    for begin in progress(range(0, len(order), batch), "generating"):
        chosen = order[begin : begin + batch]
        block = None if z is None else z[chosen]  # (B,K,W)
        new = generate(memory_lm, block, [prompts[i] for i in chosen], max_tokens)
        for i, ids in zip(chosen, new, strict=True):
            output[i] = ids
    return output


def trim(ids: list[int], ends: Sequence[int]) -> list[int]:
    """The ids before the first that ends a text."""
    return ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids))]


def left_padded(memory_lm: MemoryLM, z: Tensor | None, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Embeddings (B,P+T,D) and mask (B,P+T) of each prompt behind its prefix with z (B,K,W), padded in front."""
    embed = memory_lm.lm.get_input_embeddings()
    blocks = [embed(torch.tensor(prompt, device=memory_lm.device)) for prompt in prompts]  # (T_i,D) each
    if z is not None:
        blocks = [torch.cat(pair) for pair in zip(prefix(memory_lm, z), blocks, strict=True)]  # (P+T_i,D)
    width = max(len(block) for block in blocks)
    padded = [nn.functional.pad(block, (0, 0, width - len(block), 0)) for block in blocks]
    mask = [[0] * (width - len(block)) + [1] * len(block) for block in blocks]
    return torch.stack(padded), torch.tensor(mask, device=memory_lm.device)  # (B,P+T,D), (B,P+T)

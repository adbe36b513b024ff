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
from zmem_lib.memory import Settings, base_lm
from zmem_lib.memory.prompts import TERMS, Prompts, Row, collate, make_prompts
from zmem_lib.memory.soft_prompt import MemoryHeads, load_heads, save_heads
from zmem_lib.meter import progress


@dataclass(frozen=True)
class MemoryLM:
    """A language model with what is needed to use it."""

    lm: Any  # nn.Module, with an adapter or without
    heads: MemoryHeads
    prompts: Prompts
    device: torch.device
    dtype: torch.dtype  # of the arithmetic; weights of a model made here, and every adapter, stay float32

    @property
    def embeddings(self) -> Tensor:
        """The token embeddings (V,D)."""
        return self.lm.get_input_embeddings().weight

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


def make_memory_lm(params: Settings, texts: Iterable[str]) -> MemoryLM:
    """The model that `lm.name` names, ready to train: made from scratch, or loaded, with an adapter or without."""
    if params.lm.name == "scratch":
        tokenizer = base_lm.train_tokenizer(texts, params.lm.vocab_size)
        return wrap(base_lm.make_scratch_lm(params, tokenizer), tokenizer, params)
    folder = find_lm(params.lm.name, params.lm.revision)
    lm = base_lm.load_lm(folder, params)
    lm = lm if base_lm.learns_whole(params.lm) else base_lm.with_adapter(lm, params)
    memory_lm = wrap(lm, base_lm.load_tokenizer(folder), params)
    load_heads(memory_lm.heads, folder)  # where the model has learned with such heads
    return memory_lm


def load_memory_lm(folder: Path, params: Settings) -> MemoryLM:
    """The model that `save_memory_lm` wrote to `folder`, frozen."""
    if base_lm.learns_whole(params.lm):
        lm = base_lm.load_lm(folder, params)
    else:
        lm = base_lm.load_adapter(base_lm.load_lm(find_lm(params.lm.name, params.lm.revision), params), folder)
    memory_lm = wrap(lm, base_lm.load_tokenizer(folder), params)
    load_heads(memory_lm.heads, folder)
    memory_lm.lm.requires_grad_(False)
    memory_lm.heads.requires_grad_(False)
    return memory_lm


def save_memory_lm(memory_lm: MemoryLM, folder: Path, card: str) -> None:
    """Write weights (all, or the adapter's) and heads as safetensors, configuration, tokenizer and README.md: `card`."""
    options = {"save_embedding_layers": False} if memory_lm.adapted else {}  # else it asks the hub about them
    with new_folder(folder) as new:
        memory_lm.lm.save_pretrained(new, **options)
        memory_lm.lm.config.save_pretrained(new)
        memory_lm.prompts.tokenizer.save_pretrained(new)
        save_heads(memory_lm.heads, new)
        (new / "README.md").write_text(card, encoding="utf-8")


def wrap(lm: Any, tokenizer: Any, params: Settings) -> MemoryLM:
    """The model with its prompts and new heads, generating greedily."""
    lm.generation_config = base_lm.plain_generation(lm, tokenizer)
    return ready(lm, make_prompts(tokenizer), params)


def ready(lm: Any, prompts: Prompts, params: Settings) -> MemoryLM:
    """The model with new heads, its arithmetic and its activations as the parameters want them."""
    device = base_lm.pick_device(params.machine.device)
    torch.manual_seed(params.seed)
    heads = MemoryHeads(
        lm.get_input_embeddings().weight,
        z_tokens=params.memory.z_tokens,
        z_width=params.memory.z_width,
        key_width=params.memory.key_width,
        encoder=params.train.encode_share > 0,
    ).to(device)
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


def counted_logits(
    memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row], term: str = ""
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits (counted,V) of the tokens that count, given z (B,K,W); ids, terms and what counts (every term, or this one).

    The last three are (B,T). Without z the first token of a row has nothing before it and must not count. The
    vocabulary is spread out only where a token counts: of a reader's lesson that is a twentieth.
    """
    ids, terms, mask = (tensor.to(memory_lm.device) for tensor in collate(rows, memory_lm.pad))  # (B,T)
    counted = terms == TERMS.index(term) if term else terms > 0  # (B,T)
    assert z is not None or not counted[:, 0].any(), "the first token of a row without z cannot be predicted"
    embedded = memory_lm.lm.get_input_embeddings()(ids)  # (B,T,D)
    if z is not None:
        begun = prefix(memory_lm, z)  # (B,P,D)
        embedded = torch.cat([begun, embedded], 1)  # (B,P+T,D)
        mask = torch.cat([mask.new_ones(begun.shape[:2]), mask], 1)  # (B,P+T)
    with memory_lm.arithmetic():
        output = memory_lm.backbone(inputs_embeds=embedded, attention_mask=mask, use_cache=False)
        before = output.last_hidden_state.roll(1, 1)[:, -ids.shape[1] :]  # (B,T,D): position t-1 predicts token t
        logits = memory_lm.lm.get_output_embeddings()(before[counted])  # (counted,V)
    return logits.float(), ids, terms, counted


def token_nll(memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """-log p of every token that counts, given z (B,K,W) and the tokens before it, and each token's term: both (B,T).

    Tokens of term none, and padding, have 0.
    """
    logits, ids, terms, counted = counted_logits(memory_lm, z, rows)
    losses = nn.functional.cross_entropy(logits, ids[counted], reduction="none")  # (counted,)
    return losses.new_zeros(ids.shape).masked_scatter(counted, losses), terms  # (B,T)


@torch.no_grad()
def greedy_scores(memory_lm: MemoryLM, z: Tensor | None, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Of what counts in each row behind its z (B,K,W): the mean nll per token, and the share greedy decoding writes.

    The share (B,) ends at the first token that is not the likeliest: up to there decoding and row are the same.
    """
    logits, ids, _, counted = counted_logits(memory_lm, z, rows)
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


@torch.no_grad()
def generate(memory_lm: MemoryLM, z: Tensor | None, prompts: Sequence[list[int]], max_tokens: int) -> list[list[int]]:
    """Greedy continuation of each prompt after its z (B,K,W): lists of ids, without the end token."""
    embedded, mask = left_padded(memory_lm, z, prompts)  # (B,P+T,D), (B,P+T)
    with memory_lm.arithmetic():
        new = memory_lm.lm.generate(
            inputs_embeds=embedded, attention_mask=mask, max_new_tokens=max_tokens
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

"""The model reads: documents become blocks and keys, questions become vectors.

A document followed by K + 1 memory tokens passes through the model once; its last states there become the block z and
the key (ICAE, 2307.06945, with a key added). A question's vector is the last state behind `<question> q <find>`.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from zmem_lib.memory.lm import MemoryLM, left_padded
from zmem_lib.memory.table import mean_z, random_z, unit
from zmem_lib.meter import progress
from zmem_lib.params import Params

TEMPERATURE = 0.05  # of the softmax over cosines of a question's vector with keys: they lie within one of each other
BATCH = 64  # documents, or questions, that are read at once where nothing learns


def encode_rows(memory_lm: MemoryLM, texts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Blocks z (B,K,W) and unit keys (B,E) of documents given as token ids (prompts.text); gradients flow."""
    heads = memory_lm.heads
    embedded, mask = left_padded(memory_lm, None, texts)  # (B,T,D), (B,T)
    tokens = heads.memory_tokens.to(embedded.dtype).expand(len(texts), -1, -1)  # (B,K+1,D)
    states = last_states(
        memory_lm, torch.cat([embedded, tokens], 1), torch.cat([mask, mask.new_ones(tokens.shape[:2])], 1)
    )  # (B,T+K+1,D)
    with memory_lm.arithmetic():
        return heads.block_and_key(states[:, -tokens.shape[1] :])  # (B,K,W), (B,E)


def question_rows(memory_lm: MemoryLM, questions: Sequence[list[int]]) -> Tensor:
    """Unit vectors (B,E) of questions given as token ids (prompts.find); gradients flow."""
    embedded, mask = left_padded(memory_lm, None, questions)  # (B,T,D), (B,T)
    states = last_states(memory_lm, embedded, mask)  # (B,T,D)
    with memory_lm.arithmetic():
        return unit(memory_lm.heads.to_query(states[:, -1]))  # (B,E)


def last_states(memory_lm: MemoryLM, embedded: Tensor, mask: Tensor) -> Tensor:
    """The model's last states (B,T,D) over embeddings (B,T,D), padded in front where the mask (B,T) is 0."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)  # (B,T)
    with memory_lm.arithmetic():
        output = memory_lm.backbone(
            inputs_embeds=embedded, attention_mask=mask, position_ids=positions, use_cache=False
        )
    return output.last_hidden_state


@torch.no_grad()
def encode(memory_lm: MemoryLM, texts: Sequence[str], limit: int) -> tuple[Tensor, Tensor]:
    """Blocks z (N,K,W) and unit keys (N,E) of documents, at most `limit` tokens of each; float32 on the CPU."""
    rows = [memory_lm.prompts.text(text, limit) for text in texts]
    pairs = [encode_rows(memory_lm, chunk) for chunk in chunks(rows, "encoding")]
    z, keys = zip(*pairs, strict=True)
    return torch.cat(z).float().cpu(), torch.cat(keys).float().cpu()  # (N,K,W), (N,E)


@torch.no_grad()
def question_vectors(memory_lm: MemoryLM, questions: Sequence[str]) -> Tensor:
    """Unit vectors (Q,E) of questions, float32 on the CPU."""
    rows = [memory_lm.prompts.find(question) for question in questions]
    return torch.cat([question_rows(memory_lm, chunk) for chunk in chunks(rows, "reading questions")]).cpu()  # (Q,E)


def chunks(rows: list[list[int]], label: str) -> Iterator[list[list[int]]]:
    """The rows, BATCH at a time."""
    for begin in progress(range(0, len(rows), BATCH), label):
        yield rows[begin : begin + BATCH]


def start_memory(
    start: str, texts: Sequence[str], memory_lm: MemoryLM, *, params: Params, z_seen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Where the blocks (N,K,W) and keys (N,E) of documents begin.

    random: normal, as large as the token embeddings. mean: the mean of z_seen (N,K,W), or, before there is any, of the
    embeddings. vocab: the embeddings of tokens drawn at random. encode: what the model makes of the document. The key
    is the encoder's for every start; without an encoder it is random.
    """
    n, k, heads = len(texts), params.memory.z_tokens, memory_lm.heads
    generator = torch.Generator().manual_seed(params.seed)
    encoded = encode(memory_lm, texts, params.memory.document_tokens) if heads.to_block is not None and n else None
    keys = encoded[1] if encoded else unit(torch.randn(n, params.memory.key_width, generator=generator))
    if start == "encode" and encoded:
        return encoded
    if start == "mean" and z_seen is not None:
        return mean_z(n, z_seen), keys
    if start == "random" or n == 0:
        return random_z(n, k=k, width=heads.width, scale=heads.scale, seed=params.seed), keys
    embeddings = memory_lm.embeddings.detach().float().cpu()  # (V,D)
    drawn = torch.randint(len(embeddings), (n, k), generator=generator)
    rows = embeddings.mean(0).expand(n, k, -1) if start == "mean" else embeddings[drawn]  # (N,K,D)
    return before_connector(rows, heads.connector), keys


def before_connector(rows: Tensor, connector: nn.Module) -> Tensor:
    """The blocks (N,K,W) whose soft tokens come nearest to rows (N,K,D): least squares through the connector."""
    if isinstance(connector, nn.Identity):
        return rows.clone()
    inverse = torch.linalg.pinv(connector.weight.detach().float().cpu())  # (W,D)
    return rows @ inverse.T  # (N,K,W)

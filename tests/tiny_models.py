"""Small models with random weights, and the parameters that go with them, for tests."""

import random
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from zmem_lib.memory.likelihood import generate_all, token_nll
from zmem_lib.memory.lm import MemoryLM, make_memory_lm
from zmem_lib.params import Params, changed, read_params

ROOT = Path(__file__).parent.parent
WORDS = ("amber", "bird", "cloud", "dust", "ember", "fern", "grove", "hill", "iris", "jade", "kelp", "lark", "moss")


def small_params(changes: Mapping[str, object] | None = None) -> Params:
    """Parameters of a very small float32 model on the CPU, with the terms question, recite and read alone."""
    tiny = read_params(ROOT / "params" / "tiny.yaml")
    values = {
        "lm.hidden_size": 32, "lm.layers": 2, "lm.heads": 2, "lm.vocab_size": 400, "lm.window_tokens": 128,
        "memory.z_tokens": 3, "memory.z_width": 0, "memory.key_width": 0, "memory.document_tokens": 40,
        "memory.evidence_tokens": 20,
        "train.steps": 12, "train.batch_tuples": 4, "train.batch_recite": 2, "train.batch_read": 2,
        "train.key_negatives": 0, "train.self_questions": 0, "train.encode_share": 0.0, "train.text_weight": 0.0,
        "train.key_weight": 0.0, "train.question_weight": 0.5, "train.optimiser": "adamw", "train.lm_lr": 1e-3,
        "train.z_rate": 0.1,
        "write.self_questions": 0, "write.rate": 0.1, "answer.select": "query_likelihood",
        "answer.long_context_tokens": 40,
        "machine.device": "cpu", "machine.precision": "float32", "machine.checkpoint_minutes": 0.0,
    }  # fmt: skip
    return changed(tiny, values | dict(changes or {}))


def pretrained(changes: Mapping[str, object] | None = None) -> Params:
    """The parameters of the small pretrained run, with changes."""
    return changed(read_params(ROOT / "params" / "qwen2.5-0.5b.yaml"), changes or {})


def sentence(seed: int, words: int = 8) -> str:
    """A sentence of random words."""
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(words)) + "."


def small_lm(params: Params | None = None) -> MemoryLM:
    """A scratch model whose weights are large enough that every input matters to its logits."""
    memory_lm = make_memory_lm(params or small_params(), [sentence(seed) for seed in range(50)])
    with torch.no_grad():
        for weight in memory_lm.lm.parameters():
            if weight.ndim == 2:
                weight.mul_(6)
    return memory_lm


def save_cross_encoder(folder: Path, labels: int = 1) -> str:
    """Write a small random BERT that gives question and passage together so many scores; returns the folder as text."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    known = {word: i for i, word in enumerate([*special, *WORDS, *"abcdefghijklmnopqrstuvwxyz."])}
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "initializer_range": 1.0,
    }
    torch.manual_seed(1)
    model = BertForSequenceClassification(BertConfig(vocab_size=len(known), num_labels=labels, **sizes))
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **named).save_pretrained(folder)
    return str(folder)


def generate(memory_lm: MemoryLM, z: torch.Tensor | None, prompts: list[list[int]], most: int) -> list[list[int]]:
    """Greedy continuations of all prompts side by side."""
    return generate_all(memory_lm, z, prompts, max_tokens=most, batch=len(prompts))


@torch.no_grad()
def score_one_by_one(memory_lm: MemoryLM, z: torch.Tensor, questions: list[str]) -> torch.Tensor:
    """log p(question | z) (Q,N) by one plain forward pass for each pair: what every faster way is compared with."""
    given = len(memory_lm.prompts.marks["question"])
    rows = [memory_lm.prompts.question(question) for question in questions]
    return torch.stack([
        torch.stack([-token_nll(memory_lm, block[None], [row])[0][0, given:].sum() for block in z]) for row in rows
    ])  # fmt: skip


def random_blocks(n: int, params: Params, seed: int = 0) -> torch.Tensor:
    """Blocks z (n,K,D) of unit variance."""
    return torch.randn(n, params.memory.z_tokens, params.lm.hidden_size, generator=torch.Generator().manual_seed(seed))


def one_by_one(memory_lm: MemoryLM, ids: list[int], given: int) -> float:
    """log p of what follows the first `given` tokens, by one plain pass."""
    rows = torch.tensor([ids])
    with torch.no_grad():
        log_p = memory_lm.lm(input_ids=rows).logits.float().log_softmax(-1)
    return log_p[0, given - 1 : -1].gather(1, rows[0, given:, None]).sum().item()

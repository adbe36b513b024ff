"""Small random-weight models of each family that the parameter files name: its class, its tokenizer's habits.

The configuration is the published one with a small shape; tokenizer and chat template are made here, with the family's
first token, end of turn and (missing) padding token.
"""

import copy
from pathlib import Path

from tiny_models import WORDS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from zmem_lib.memory.shape import published

SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXTS = [
    " ".join(WORDS),
    "Question: Who was it?",
    "\nEvidence: It was. Answer the question from the evidence, in a few",
]
TEMPLATES = {
    "qwen2": "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "llama": "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\n"
    "Today: {{ date_string or strftime_now('%d %b') }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    "mistral": "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }}[/INST]{% endfor %}",
}
SPECIAL = {
    "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"],
}
NAMED = {
    "qwen2": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "llama": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "mistral": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
}


def save_family(repo: str, folder: Path, texts: list[str] = TEXTS, **shape: int) -> str:
    """Write a small random model like the one published as `repo`, of another shape; returns the folder as text."""
    values = copy.deepcopy(published()[repo]["config"])
    tokenizer = family_tokenizer(values["model_type"], texts)
    heads = values["num_attention_heads"] // values["num_key_value_heads"]
    values |= SMALL | {"num_key_value_heads": max(1, 4 // heads), "vocab_size": -(-len(tokenizer) // 64) * 64}
    values |= shape | ({"head_dim": 16} if "head_dim" in values else {})
    named = NAMED[values["model_type"]]
    ids = {
        name: tokenizer.convert_tokens_to_ids(named[name]) if name in named else None
        for name in ("bos_token", "eos_token")
    }
    values |= {f"{name}_id": ids[name] for name in ids}
    config = AutoConfig.for_model(**values)
    lm = AutoModelForCausalLM.from_config(config)
    lm.generation_config.update(do_sample=True, temperature=0.7, repetition_penalty=1.3)  # as chat models publish
    lm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def family_tokenizer(family: str, texts: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with the habits of qwen2, llama (3) or mistral."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=family == "mistral"))
    alphabet = []
    if family == "mistral":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
        special = [*SPECIAL[family], *(f"<0x{byte:02X}>" for byte in range(256))]
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet, special = pre_tokenizers.ByteLevel.alphabet(), SPECIAL[family]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    if begin := NAMED[family].get("bos_token"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
        )
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **NAMED[family])
    made.chat_template = TEMPLATES[family]
    return made

"""Values that a run's parameters may have each by itself, but not together: rules by what they are about.

A rule yields a sentence for everything that it forbids, with what to change; the first one is raised.
"""

from collections.abc import Iterator
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

from zmem_lib.files import BadInput
from zmem_lib.text import QUESTION_TOKENS

TEXTS = "texts"  # corpus.name of a folder of texts that nobody has asked about
NO_LM = "none"  # lm.name of a run of the retrieval opponents alone
SHAPE = ("vocab_size", "hidden_size", "layers", "heads")  # of a model made from scratch; 0 for any other


def refuse_combinations(params: Any, where: str) -> None:
    """Raise BadInput for the first combination of a run's Params that cannot run."""
    of_models = (without_lm,) if params.lm.name == NO_LM else (models, windows)
    for rule in (texts, *of_models, addresses, judges, names):
        for sentence in rule(params):
            raise BadInput(f"{where}: {sentence}")


def refuse_memoryless(params: Any, what: str) -> None:
    """Raise BadInput where `what` needs the language model that a run does not have."""
    if params.lm.name == NO_LM:
        raise BadInput(
            f"{what} needs a language model, and run {params.run} has none (lm.name none): take one that has"
        )


def refuse_untested(params: Any, what: str) -> None:
    """Raise BadInput where `what` needs questions that were held out, and there are none."""
    if not params.tests:
        raise BadInput(f"{what} needs test questions, and run {params.run} is about texts without any: take another")


def without_lm(params: Any) -> Iterator[str]:
    """Of a run without a language model: nobody reads, so nothing of it can be asked of an answer."""
    neutral = {
        "answer.reader": "local", "evaluate.judge": "none", "corpus.absent_questions": 0, "answer.noise_questions": 0,
        "answer.long_context_tokens": 0,
    }  # fmt: skip
    for name, value in neutral.items():
        if (there := attrgetter(name)(params)) != value:
            hint = f"set {name} to {value}, or give a language model"
            yield f"{name} {there} needs answers, and a run with lm.name none has none: {hint}"


def texts(params: Any) -> Iterator[str]:
    """Of a corpus that has no questions but those which the model asks itself, so that nothing is held out."""
    if params.tests:
        if params.corpus.own_questions:
            yield "corpus.own_questions are asked about corpus texts: set it to 0, or see train.self_questions"
        return
    if params.lm.name in (NO_LM, "scratch"):
        yield f"corpus texts needs a model that can ask, and lm.name is {params.lm.name}: give a pretrained one"
    if not params.corpus.own_questions:
        yield "corpus texts has no questions but the model's own: raise corpus.own_questions"
    for name in ("new_documents", "absent_questions"):
        if getattr(params.corpus, name):
            yield f"corpus texts measures nothing, so nothing is held out: set corpus.{name} to 0"
    if params.answer.select == "key_then_likelihood":
        yield "answer.select key_then_likelihood is weighed on given questions, which corpus texts lacks: take another"


def models(params: Any) -> Iterator[str]:
    """Of the language model, and of block, key, encoder and the ways to choose."""
    lm, memory, train, write, answer = params.lm, params.memory, params.train, params.write, params.answer
    if lm.name == "scratch" and not all(getattr(lm, name) for name in SHAPE):
        yield f"lm.{', lm.'.join(SHAPE)} must be greater than zero for lm.name scratch: give the model a shape"
    if lm.name == "scratch" and lm.quantisation != "none":
        yield f"lm.quantisation {lm.quantisation} needs a pretrained lm.name: set it to none for scratch"
    if lm.adapter and params.learns_whole:
        yield "lm.adapter needs a model that learns through one: raise lm.lora_rank, with a pretrained lm.name"
    if answer.reader == "schooled" and not lm.adapter:
        yield "answer.reader schooled needs an adapter that has learned to read: give lm.adapter, or set it to local"
    if answer.reader == "schooled" and params.learns_reading:
        yield "answer.reader schooled stays as it came: set train.read_weight to 0, or answer.reader to local"
    if lm.quantisation != "none" and params.learns_whole:
        yield "weights in 4 bit cannot learn: raise lm.lora_rank, or set lm.quantisation to none"
    if train.optimiser == "muon" and not params.learns_whole:
        yield "train.optimiser muon needs a model whose weights all learn: set it to adamw for adapters"
    if lm.heads and lm.hidden_size % (2 * lm.heads):
        yield f"lm.hidden_size {lm.hidden_size} must be a multiple of twice lm.heads ({lm.heads})"
    if memory.key_width and not train.encode_share:
        yield "memory.key_width needs the encoder, which gives new documents their keys: raise train.encode_share"
    if len(both := {"encode", "pooled", "chosen"} & {memory.start, write.start}) > 1:
        yield f"memory.start and write.start cannot be {' and '.join(sorted(both))}: a model makes blocks in one way"
    elif memory.kind == "kv":
        yield from kv_blocks(params)
    if "encode" in (memory.start, write.start) and not train.encode_share:
        yield "the start encode needs an encoder: raise train.encode_share or choose another memory.start, write.start"
    if not memory.key_width and (train.key_weight or answer.select.startswith("key") or train.id_steps):
        yield "train.key_weight, train.id_steps and an answer.select by key need keys: raise memory.key_width"
    if lm.name == "scratch" and (train.self_questions or write.self_questions) and not train.text_weight:
        yield "a model made here learns to ask as the text twin: raise train.text_weight, or set self_questions to 0"
    if answer.select == "generated_id" and not train.id_steps:
        yield "answer.select generated_id needs ids that were learned: raise train.id_steps"


def kv_blocks(params: Any) -> Iterator[str]:
    """Of blocks of keys and values."""
    memory, start = params.memory, params.write.start
    if memory.start != start or start not in ("pooled", "chosen"):
        yield (
            "memory.kind kv begins from the document's own keys and values, seen and new alike: set memory.start and "
            "write.start both to chosen or both to pooled"
        )
    if memory.z_width:
        yield f"memory.z_width {memory.z_width} is of soft tokens, and memory.kind kv has none: set it to 0"
    if params.machine.activation_checkpointing:
        yield "machine.activation_checkpointing drops keys and values, which memory.kind kv is: set it to false"


def windows(params: Any) -> Iterator[str]:
    """Of lengths."""
    memory, answer, window = params.memory, params.answer, params.lm.window_tokens
    items = max(answer.top_k, params.train.read_items)
    longest = max(memory.document_tokens, items * (memory.evidence_tokens + 1) + answer.answer_tokens)
    if params.train.text_weight or params.train.distill_weight:
        longest = max(longest, memory.document_tokens + memory.evidence_tokens + 2)
    needed = memory.z_tokens + longest + QUESTION_TOKENS
    if needed > window:
        content = f"memory.document_tokens or {items} items of memory.evidence_tokens"
        need = f"memory.z_tokens, {QUESTION_TOKENS} for a question, and {content} need {needed}"
        yield f"lm.window_tokens {window} is too small: {need}"
    room = window - QUESTION_TOKENS - answer.answer_tokens
    if answer.long_context_tokens > room:
        yield (
            f"answer.long_context_tokens {answer.long_context_tokens} does not fit into lm.window_tokens {window} "
            f"beside {QUESTION_TOKENS} for a question and answer.answer_tokens: at most {room}"
        )


def addresses(params: Any) -> Iterator[str]:
    """Of the address of reader and judge, which may hold no secret: it stands in every file of the run; of costs."""
    url = params.answer.api_url
    if set("@?#") & set(url):
        yield (
            "answer.api_url holds more than an address: leave out user, password and what follows '?' or '#' (a key "
            "goes into the environment as ZMEM_API_KEY)"
        )
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:
        right = False
    if url and not right:
        yield f"answer.api_url {url!r} is no address: write it as http://HOST:PORT/v1 or https://HOST/v1"
    for section, who, name in (("answer", "reader", "api"), ("evaluate", "judge", "judge")):
        values = getattr(params, section)
        model, prices = f"{name}_model", (f"{name}_input_price", f"{name}_output_price")
        if getattr(values, who) != "api":
            continue
        if not url or not getattr(values, model):
            yield f"{section}.{who} api needs answer.api_url and {section}.{model}: say where which model answers"
        if params.machine.api_budget and not all(getattr(values, price) for price in prices):
            yield (
                f"machine.api_budget needs {section}.{prices[0]} and {section}.{prices[1]}, in dollars for a million "
                "tokens: give them, or set machine.api_budget to 0"
            )


def judges(params: Any) -> Iterator[str]:
    """Of who judges answers and evidence."""
    evaluate = params.evaluate
    if evaluate.judge == "nli" and not evaluate.judge_model:
        yield "evaluate.judge nli needs evaluate.judge_model: give the folder or hub id of a model of entailment"
    if evaluate.human_labels and evaluate.judge == "none":
        yield "evaluate.human_labels correct a judge: choose an evaluate.judge, or leave them empty"
    if evaluate.human_labels and not evaluate.human_labels.endswith((".csv", ".jsonl")):
        yield f"evaluate.human_labels {evaluate.human_labels!r} must name a .csv or .jsonl file"


def names(params: Any) -> Iterator[str]:
    """Of the run's name, which becomes a folder's."""
    run = params.run
    if run == "encodings":
        yield f"run {run!r} is the name of a folder that all runs share: give another name"
    if not run.replace("-", "").replace("_", "").replace(".", "").isalnum() or run.startswith("."):
        yield f"run {run!r} names a folder: use letters, digits, '-', '_' and '.' only"

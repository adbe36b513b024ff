"""Values that a run's parameters may have each by itself, but not together: what to change is said in one sentence."""

from typing import Any
from urllib.parse import urlsplit

from zmem_lib.files import BadInput
from zmem_lib.text import QUESTION_TOKENS

NO_LM = "none"  # lm of a run of the retrieval opponents alone
NOT_RUNS = ("encodings",)  # folders among the runs that are none
SHAPE = ("vocab_size", "hidden_size", "layers", "heads")  # of a model made from scratch; 0 for any other


def refuse_combinations(params: Any, where: str) -> None:
    """Raise BadInput for the first combination of a run's Params that cannot run."""
    if params.lm.name == NO_LM:
        refuse_without_lm(params, where)
    else:
        refuse_models(params, where)
        refuse_memories(params, where)
        refuse_windows(params, where)
    refuse_addresses(params, where)
    refuse_judges(params, where)
    if params.run in NOT_RUNS:
        raise BadInput(f"{where}: run {params.run!r} is the name of a folder that all runs share: give another name")
    if not params.run.replace("-", "").replace("_", "").replace(".", "").isalnum() or params.run.startswith("."):
        raise BadInput(f"{where}: run {params.run!r} names a folder: use letters, digits, '-', '_' and '.' only")


def refuse_without_lm(params: Any, where: str) -> None:
    """Of a run without a language model: nobody reads, so nothing of it can be asked of an answer."""
    wanted = {
        "reader api": params.answer.reader == "api",
        f"judge {params.evaluate.judge}": params.evaluate.judge != "none",
        "absent_questions": params.corpus.absent_questions > 0,
        "noise_questions": params.answer.noise_questions > 0,
        "long_context_tokens": params.answer.long_context_tokens > 0,
    }
    for name in (name for name, asked_for in wanted.items() if asked_for):
        parameter = name.split()[0]
        neutral = {"reader": "local", "judge": "none"}.get(parameter, "0")
        raise BadInput(
            f"{where}: {name} needs answers, and a run with lm none has none: set {parameter} to {neutral}, or give "
            "a language model"
        )


def refuse_memoryless(params: Any, what: str) -> None:
    """Raise BadInput where `what` needs the language model that a run does not have."""
    if params.lm.name == NO_LM:
        raise BadInput(f"{what} needs a language model, and run {params.run} has none (lm none): take a run with one")


def refuse_models(params: Any, where: str) -> None:
    """Of the language model."""
    if params.lm.name == "scratch" and not all(getattr(params.lm, name) for name in SHAPE):
        raise BadInput(f"{where}: {', '.join(SHAPE)} must be greater than zero for lm scratch: give the model a shape")
    if params.lm.name == "scratch" and params.lm.quantisation != "none":
        raise BadInput(
            f"{where}: quantisation {params.lm.quantisation} needs a pretrained lm: set it to none for scratch"
        )
    if params.lm.quantisation != "none" and params.learns_whole:
        raise BadInput(f"{where}: weights in 4 bit cannot learn: raise lora_rank, or set quantisation to none")
    if params.train.optimiser == "muon" and not params.learns_whole:
        raise BadInput(
            f"{where}: lm_optimiser muon needs a model whose weights all learn: set it to adamw for adapters"
        )
    if params.lm.heads and params.lm.hidden_size % (2 * params.lm.heads):
        raise BadInput(
            f"{where}: hidden_size {params.lm.hidden_size} must be a multiple of twice heads ({params.lm.heads})"
        )


def refuse_memories(params: Any, where: str) -> None:
    """Of block, key, encoder and the ways to choose."""
    if params.memory.key_width and not params.train.encode_share:
        raise BadInput(f"{where}: key_width needs the encoder, which gives new documents theirs: raise encode_share")
    if "encode" in (params.memory.start, params.write.start) and not params.train.encode_share:
        raise BadInput(f"{where}: the start encode needs an encoder: raise encode_share or choose another start")
    if not params.memory.key_width and (
        params.train.key_weight or params.answer.select.startswith("key") or params.train.id_steps
    ):
        raise BadInput(f"{where}: key_weight, id_steps and a select by key need keys: raise key_width")
    if (
        params.lm.name == "scratch"
        and (params.train.self_questions or params.write.self_questions)
        and not params.train.text_weight
    ):
        raise BadInput(f"{where}: a model made here learns to ask as the text twin: raise text_weight, or ask nothing")
    if params.answer.select == "generated_id" and not params.train.id_steps:
        raise BadInput(f"{where}: select generated_id needs ids that were learned: raise id_steps")


def refuse_windows(params: Any, where: str) -> None:
    """Of lengths."""
    longest = max(
        params.memory.document_tokens,
        max(params.answer.top_k, params.train.read_items) * (params.memory.evidence_tokens + 1)
        + params.answer.answer_tokens,
    )
    if params.train.text_weight or params.train.distill_weight:
        longest = max(longest, params.memory.document_tokens + params.memory.evidence_tokens + 2)
    if params.memory.z_tokens + longest + QUESTION_TOKENS > params.lm.window_tokens:
        raise BadInput(
            f"{where}: window_tokens {params.lm.window_tokens} is too small: z_tokens, {QUESTION_TOKENS} for a question, "
            f"and document_tokens or two evidence items need {params.memory.z_tokens + longest + QUESTION_TOKENS}"
        )
    room = params.lm.window_tokens - QUESTION_TOKENS - params.answer.answer_tokens
    if params.answer.long_context_tokens > room:
        raise BadInput(
            f"{where}: long_context_tokens {params.answer.long_context_tokens} does not fit into window_tokens "
            f"{params.lm.window_tokens} beside {QUESTION_TOKENS} for a question and answer_tokens: at most {room}"
        )


def refuse_addresses(params: Any, where: str) -> None:
    """Of the address of reader and judge, and of what they cost."""
    if params.answer.api_url:
        refuse_url(params.answer.api_url, where)
    for section, who, name in ((params.answer, "reader", "api"), (params.evaluate, "judge", "judge")):
        if getattr(section, who) != "api":
            continue
        if not params.answer.api_url or not getattr(section, f"{name}_model"):
            raise BadInput(f"{where}: {who} api needs api_url and {name}_model: say where which model answers")
        if params.machine.api_budget and not (
            getattr(section, f"{name}_input_price") and getattr(section, f"{name}_output_price")
        ):
            raise BadInput(
                f"{where}: api_budget needs {name}_input_price and {name}_output_price, in dollars for a million "
                "tokens: give them, or set api_budget to 0"
            )


def refuse_url(url: str, where: str) -> None:
    """An address that is none, or that may hold a secret, which would then stand in every file of the run."""
    if set("@?#") & set(url):
        raise BadInput(
            f"{where}: api_url holds more than an address: leave out user, password and what follows '?' or '#' (a key "
            "goes into the environment as ZMEM_API_KEY)"
        )
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:
        right = False
    if not right:
        raise BadInput(f"{where}: api_url {url!r} is no address: write it as http://HOST:PORT/v1 or https://HOST/v1")


def refuse_judges(params: Any, where: str) -> None:
    """Of who judges answers and evidence."""
    if params.evaluate.judge == "nli" and not params.evaluate.judge_model:
        raise BadInput(f"{where}: judge nli needs judge_model: give the folder or hub id of a model of entailment")
    if params.evaluate.human_labels and params.evaluate.judge == "none":
        raise BadInput(f"{where}: human_labels correct a judge: choose a judge, or leave human_labels empty")
    if params.evaluate.human_labels and not params.evaluate.human_labels.endswith((".csv", ".jsonl")):
        raise BadInput(f"{where}: human_labels {params.evaluate.human_labels!r} must name a .csv or .jsonl file")

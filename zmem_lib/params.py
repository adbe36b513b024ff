"""Every parameter of a run: its section, its bounds, its meaning and its neutral default, once.

A file says only what differs from the defaults, and from the files that it extends:

    extends: [shared/pretrained.yaml, shared/mirage.yaml]
    run: qwen2.5-3b
    lm: {name: Qwen/Qwen2.5-3B-Instruct}

They are merged in order, then the file, then `section.key=value` from the command line. What a section says counts
from one chapter on (FIRST_CHAPTER); `machine` changes what a run takes, not what it finds, and counts for none.
"""

import difflib
import hashlib
import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zmem_lib.combinations import NO_LM, refuse_combinations
from zmem_lib.files import BadInput

MOST = 2**31 - 1  # of any number: what every library takes as a seed, a count or a size
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
FLAT = Path(__file__).with_name("flat_params.yaml")  # names that parameters had before they stood in sections
PATHS = (  # may be a file or folder of this machine: kept as a whole path, so that a run opens from anywhere
    "corpus.path", "corpus.new_path", "lm.name", "answer.dense_model", "answer.rerank_model", "evaluate.judge_model",
    "evaluate.human_labels",
)  # fmt: skip
FIRST_CHAPTER = {"corpus": 1, "lm": 3, "memory": 3, "train": 3, "write": 4, "answer": 5, "evaluate": 6, "report": 7}
LATE = ("answer", "evaluate", "report", "machine")  # sections that may change in a run that has its memory

Start = Literal["random", "mean", "vocab", "encode"]
STARTS = get_args(Start)
Count = Annotated[int, Field(ge=1)]
CountOr0 = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]


def says(default: Any, meaning: str) -> Any:
    """A parameter's default and what it means."""
    return Field(default, description=meaning)


class Section(BaseModel):
    """Parameters that belong together; none may be added, changed or be of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _sane(cls, value: Any) -> Any:
        if isinstance(value, str) and CONTROL.search(value):
            raise ValueError(f"has a control character: remove it from {value!r}")
        if isinstance(value, int | float) and value > MOST:
            raise ValueError(f"must be at most {MOST}, not {value!r}")
        return value


class Corpus(Section):
    """What is read, and what of it is held out."""

    name: Literal["synthetic", "folder", "squad", "mirage", "ragbench", "t2ragbench", "popqa"] = says(
        "synthetic", "which corpus"
    )
    path: str = says("", "a local copy of its files, relative to the working directory; empty: from the hub")
    subset: str = says("", "the part of a data set that has several, such as covidqa of ragbench")
    revision: str = says("", "commit or branch on the hub")
    new_path: str = says("", "take the new documents from this second corpus; empty: from the same one")
    documents: Count = says(400, "seen: trained jointly")
    new_documents: CountOr0 = says(40, "held out whole, written in 04")
    absent_questions: CountOr0 = says(0, "that no document answers, to see whether the systems know")
    evidence_window: CountOr0 = says(0, "sentences kept on each side of the one that holds the answer")
    normalisation: Literal["squad", "korquad"] = says("squad", "how answers are compared: by words, or by characters")
    publish_text: bool = says(True, "false: pages and kept tables show figures of the corpus, never its passages")


class Lm(Section):
    """The language model."""

    name: str = says("scratch", "scratch, or a path or hub id of a causal language model; none: retrieval alone")
    revision: str = says("", "commit or branch on the hub")
    quantisation: Literal["none", "nf4"] = says("none", "nf4: frozen weights in 4 bit, double-quantised (QLoRA)")
    lora_rank: CountOr0 = says(16, "of the adapter; 0: all weights learn, as they always do with scratch")
    window_tokens: Count = says(1024, "the longest sequence, soft tokens included")
    vocab_size: CountOr0 = says(0, "with the next three the shape of a model made from scratch; 0 for any other")
    hidden_size: CountOr0 = says(0, "scratch only")
    layers: CountOr0 = says(0, "scratch only")
    heads: CountOr0 = says(0, "scratch only")


class Memory(Section):
    """The table of blocks and keys."""

    z_tokens: Count = says(8, "K soft tokens per document")
    z_width: CountOr0 = says(0, "of each, before the connector that all share; 0: the model's own, no connector")
    key_width: CountOr0 = says(0, "of the vector by which a document is found; 0: none")
    start: Start = says("random", "of the table: random, mean (of the embeddings), vocab (rows of them), encode")
    document_tokens: Count = says(256, "of a document, at most, that it holds")
    evidence_tokens: Count = says(256, "of a piece of evidence, at most: learned, written, or handed to the reader")


class Train(Section):
    """Joint training of the model and all blocks."""

    lm: bool = says(True, "false: only z learns")
    steps: Count = says(2000, "updates")
    batch_tuples: Count = says(16, "per step: questions with their evidence")
    batch_recite: Count = says(8, "per step: documents recited")
    batch_read: Count = says(8, "per step: the reader's lessons")
    batch_text: Count = says(8, "per step: lessons of the text twin")
    read_items: Count = says(2, "items of evidence of a reader's lesson, at most")
    question_weight: Weight = says(0.0, "-log p(question | z)")
    recite_weight: Weight = says(0.0, "-log p(document | z)")
    recite_inside: Share = says(0.0, "of the steps: their recitations begin inside the document")
    read_weight: Weight = says(0.0, "-log p(answer | evidence, question), where all weights learn")
    text_weight: Weight = says(0.0, "-log p(question, evidence | document), no z: the text twin")
    key_weight: Weight = says(0.0, "InfoNCE of the question's vector against the documents' keys")
    key_negatives: CountOr0 = says(0, "hard ones per question, beside those of the batch")
    encode_share: Share = says(0.0, "of the steps: z and key come from the encoder instead of the table")
    encode_weight: Weight = says(0.0, "squared distance of the encoder's blocks from those of the table")
    distill_weight: Weight = says(0.0, "KL to what the same model says with the document's text in context")
    distractor_share: Share = says(0.0, "of the tuples: their z stands among other documents'")
    self_questions: CountOr0 = says(0, "per document, asked by the model itself")
    self_questions_after: float = Field(0.0, ge=0, lt=1, description="share of the steps after which it asks")
    optimiser: Literal["adamw", "muon"] = says("adamw", "muon: of the matrices of a model whose weights all learn")
    lm_lr: Weight = says(1e-4, "of model, adapter and heads")
    z_lr: Rate = says(1e-2, "of z and key")
    id_steps: CountOr0 = says(0, "training steps of generated ids; 0: none")
    id_branching: Count = says(16, "children of a node in the tree of ids")


class Write(Section):
    """Writing new documents, the model frozen."""

    start: Start = says("mean", "as memory.start; mean: of the trained blocks")
    steps: Count = says(50, "updates of a block")
    lr: Rate = says(1e-2, "of z")
    stop: Share = says(0.0, "of its text that a document must recite for its writing to end; 0: all steps")
    proximal: Weight = says(0.0, "of the squared distance from the start")
    self_questions: CountOr0 = says(0, "per document, asked by the model from its text, learned beside the text")


class Answer(Section):
    """Choosing documents and answering from them, by every system."""

    questions: CountOr0 = says(100, "test questions per part that every system answers; 0: all")
    select: Literal["query_likelihood", "key", "key_then_likelihood", "generated_id"] = says(
        "query_likelihood", "how z is chosen"
    )
    shortlist: Count = says(20, "documents that the key hands on to the likelihood")
    top_k: Count = says(1, "documents whose evidence the reader gets")
    answer_tokens: Count = says(12, "of an answer, at most")
    bm25_tokens: Literal["words", "bigrams"] = says("words", "what BM25 counts")
    dense_model: str = says("packaged", "packaged, or a path or hub id of a sentence-transformers model")
    dense_steps: CountOr0 = says(0, "training steps of the tuned encoder; 0: leave it out")
    rerank_model: str = says("", "a cross-encoder, path or hub id, that reorders the hybrid's first; empty: none")
    rerank_depth: CountOr0 = says(0, "documents that it and the language model put in order; 0: neither does")
    long_context_tokens: CountOr0 = says(0, "of passages for the system that reads as many as fit; 0: none")
    noise_questions: CountOr0 = says(0, "per part, answered again with evidence items replaced; 0: none")
    reader: Literal["local", "api"] = says("local", "who answers: the run's own model, or one at an address")
    api_url: str = says("", "of a server that speaks OpenAI's protocol; the key is ZMEM_API_KEY in the environment")
    api_model: str = says("", "its name there")
    api_input_price: Weight = says(0.0, "dollars for a million tokens")
    api_output_price: Weight = says(0.0, "dollars for a million tokens")


class Evaluate(Section):
    """What is measured of the answers."""

    bootstrap_samples: Count = says(1000, "of an interval")
    judge: Literal["none", "api", "nli"] = says("none", "of answers: judge_model at answer.api_url, or a local model")
    judge_model: str = says("", "at the address, or for nli a path or hub id of a model of entailment")
    judge_questions: CountOr0 = says(0, "per part, judged in every system; 0: all that were answered")
    judge_input_price: Weight = says(0.0, "dollars for a million tokens")
    judge_output_price: Weight = says(0.0, "dollars for a million tokens")
    human_labels: str = says("", "a file of people's verdicts on a few answers, which corrects the judge's")


class Report(Section):
    """How it is told."""

    language: Literal["en", "ko"] = says("en", "of findings and slides")


class Machine(Section):
    """What a run takes, and not what it finds: may be changed while it is under way."""

    device: Literal["auto", "cpu", "cuda"] = says("auto", "auto: a GPU where there is one")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = says(
        "auto", "auto: bfloat16 where it is computed natively, else float16 on a GPU, float32 on a CPU"
    )
    activation_checkpointing: bool = says(False, "compute activations twice and keep them once")
    z_store: Literal["memory", "disk"] = says("memory", "where the table and its moments lie")
    checkpoint_minutes: Weight = says(1.0, "between checkpoints of training")
    micro_batch: CountOr0 = says(0, "rows of a batch that pass through the model at once; 0: all")
    write_batch: Count = says(64, "documents written side by side")
    scan_batch: Count = says(512, "documents scored at once")
    answer_batch: Count = says(64, "answers written at once")
    api_parallel: Count = says(8, "requests under way at once")
    api_budget: Weight = says(0.0, "dollars that a run may spend on reader and judge; 0: no limit")


class Params(Section):
    """All parameters of a run, in the order of the chapters that use them."""

    run: str = Field(description="name of the folder under runs/")
    seed: CountOr0 = says(1, "of everything that is drawn")
    corpus: Corpus = Corpus()
    lm: Lm = Lm()
    memory: Memory = Memory()
    train: Train = Train()
    write: Write = Write()
    answer: Answer = Answer()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()
    machine: Machine = Machine()

    @property
    def has_lm(self) -> bool:
        """Whether the run has a language model, and so a memory; without one the retrieval opponents stand alone."""
        return self.lm.name != NO_LM

    @property
    def learns_whole(self) -> bool:
        """Whether all weights of the language model learn, and not an adapter."""
        return self.lm.name == "scratch" or self.lm.lora_rank == 0

    @property
    def asking_step(self) -> int:
        """The training step before which the model asks its own questions; 0 where it asks none, or before training."""
        return round(self.train.self_questions_after * self.train.steps) if self.train.self_questions else 0

    @property
    def learns_reading(self) -> bool:
        """Whether the reader's task is learned here: a model with an adapter reads without it."""
        return self.learns_whole and self.train.lm and self.train.read_weight > 0


def read_params(path: str | Path, overrides: Iterable[str] = ()) -> Params:
    """Read a parameter file with what it extends, put `section.key=value` over it; raises BadInput with the key."""
    return check_params(resolve(path, overrides)[0], str(path))


def check_params(values: Mapping[str, Any], where: str) -> Params:
    """Params of dotted names and values; refuse unknown, mistyped and out-of-range ones, and what cannot run."""
    params = _built(values, where)
    refuse_combinations(params, where)
    return params


def changed(params: Params, values: Mapping[str, Any]) -> Params:
    """The parameters with other values by dotted name, each checked by itself."""
    return _built(flat(params) | dict(values), "changed parameters")


def _built(values: Mapping[str, Any], where: str) -> Params:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[key] = value
    try:
        return Params(**nested)
    except ValidationError as error:
        raise BadInput(f"{where}: {_sentence(error.errors()[0])}") from error


def flat(params: Params) -> dict[str, Any]:
    """Values by dotted name, in order."""
    return _dotted(params.model_dump())


def dumped(params: Params) -> str:
    """The parameters as YAML, every value written out."""
    return yaml.safe_dump(params.model_dump(), sort_keys=False, allow_unicode=True)


def params_hash(params: Params, chapter: int = 7) -> str:
    """A short hash of what decides what a run finds up to a chapter: seed and the sections that count there."""
    counts = [name for name, first in FIRST_CHAPTER.items() if first <= chapter]
    values = {name: value for name, value in flat(params).items() if name.partition(".")[0] in ("seed", *counts)}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def resolve(path: str | Path, overrides: Iterable[str] = ()) -> tuple[dict[str, Any], dict[str, str]]:
    """Values by dotted name from a file, what it extends, and overrides; and where each of them comes from."""
    values, origins = _layers(Path(path), ())
    for override in overrides:
        name, sign, text = override.partition("=")
        if not sign:
            raise BadInput(f"override {override!r} has no '=': write section.key=value")
        values[name.strip()] = _override(name.strip(), text.strip())
        origins[name.strip()] = "the command line"
    for name in PATHS:
        if (value := values.get(name)) and isinstance(value, str) and Path(value).expanduser().exists():
            values[name] = str(Path(value).expanduser().resolve())
    return values, origins


def described() -> dict[str, tuple[str, str]]:
    """What each parameter means, and what it may be, by dotted name."""
    found = {}
    for name, field in _fields().items():
        bounds = [f"{sign} {getattr(one, at)}" for one in field.metadata for at, sign in _SIGNS if hasattr(one, at)]
        choices = [" | ".join(getattr(field.annotation, "__args__", ()))] if _is_choice(field) else []
        found[name] = (field.description, ", ".join([*choices, *bounds]) or field.annotation.__name__)
    return found


_SIGNS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def _is_choice(field: Any) -> bool:
    return getattr(field.annotation, "__origin__", None) is Literal


@cache
def _fields() -> dict[str, Any]:
    """The model's fields by dotted name."""
    found = {}
    for name, field in Params.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        found |= {f"{name}.{key}": one for key, one in inner.items()} if inner else {name: field}
    return found


@cache
def flat_names() -> dict[str, str]:
    """The dotted name of each parameter of the time before sections."""
    return yaml.safe_load(FLAT.read_text(encoding="utf-8"))


def from_flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name from those of a run, or of kept results, that was made before there were sections.

    Names that there are no more are dropped. What is dotted already stays.
    """
    names = flat_names()
    found = {names.get(name, name): value for name, value in _dotted(values).items() if names.get(name, name)}
    if "train.read_items" not in found and "answer.top_k" in found:
        found["train.read_items"] = max(found["answer.top_k"], 2)  # one number then
    return {name: value for name, value in found.items() if name in _fields()}


def _dotted(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        found |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
    return found


def _layers(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and origins of a file over those that it extends; `above` are the files that extend it."""
    if path.resolve() in above:
        raise BadInput(f"{path} extends itself, through {above[-1]}: remove one of the two lines")
    own = _read_yaml(path)
    bases = own.pop("extends", [])
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        more, whence = _layers(path.parent / str(base), (*above, path.resolve()))
        values, origins = values | more, origins | whence
    if "n_documents" in own:
        own = from_flat(own)
    dotted = _dotted(own)
    return values | dotted, origins | dict.fromkeys(dotted, str(path))


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        raise BadInput(f"parameter file {path} {fault}: give the path of a YAML file such as params/tiny.yaml")
    try:
        return _parsed(path.read_text(encoding="utf-8-sig"), str(path))
    except (UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{path} cannot be read as UTF-8 text ({error}): correct it there") from error


def _parsed(text: str, where: str) -> dict[str, Any]:
    """A mapping of names to values, lists or sections; no reference, no tag of a type, no name twice."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise BadInput(f"{where} must hold `key: value` lines")
        _refuse_twice(node, where)
        return loader.construct_document(node)
    except BadInput:
        raise
    except (yaml.YAMLError, AttributeError, LookupError, RecursionError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{where} is not valid YAML ({said[:300]!r}): correct it there") from error


def _refuse_twice(node: yaml.MappingNode, where: str) -> None:
    names = []
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise BadInput(f"{where}, line {line}: a name must be one word")
        if key.value in names:
            raise BadInput(f"{where}, line {line}: {key.value!r} stands there twice: remove one line")
        names.append(key.value)
        if isinstance(value, yaml.MappingNode):
            _refuse_twice(value, where)


def _override(name: str, text: str) -> Any:
    """The value of `name=text`: as it stands where the parameter is text and not in quotes, else as YAML reads it."""
    field = _fields().get(name)
    is_text = field is not None and (field.annotation is str or _is_choice(field))
    if not text or (is_text and text[0] not in "'\""):
        return text
    return _parsed(f"value: {text}", f"override {f'{name}={text}'!r}").get("value")


def _sentence(error: Mapping[str, Any]) -> str:
    """What pydantic found, in one sentence with the parameter's name."""
    name, kind, value = ".".join(map(str, error["loc"])), error["type"], error["input"]
    what, told, limits = f"parameter {name!r}", reprlib.repr(value), error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown parameter {name!r}: did you mean {_nearest(name)!r}?"
    if kind == "missing":
        return f"{what} is missing: add a line for it"
    if kind in ("model_type", "model_attributes_type"):
        near = next((dotted for dotted in (f"{name}.name", *_fields()) if dotted in _fields()), name)
        return f"{name!r} is a section, not {told}: write for instance {near}"
    if kind == "literal_error":
        return f"{what} must be one of {limits['expected'].replace(chr(39), '').replace(' or ', ', ')}, not {told}"
    if kind == "value_error":
        return f"{what} {limits['error']}"
    bounds = {"greater_than_equal": "at least {ge}", "greater_than": "greater than {gt}", "less_than": "less than {lt}"}
    bounds |= {"less_than_equal": "at most {le}", "finite_number": "a finite number"}
    if kind in bounds:
        return f"{what} must be {bounds[kind].format(**limits)}, not {told}"
    wanted = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
    hint = " (YAML reads 1e-4 as text: write 1.0e-4)" if kind == "float_type" and isinstance(value, str) else ""
    return f"{what} must be {wanted.get(kind.partition('_')[0], error['msg'])}, not {told}{hint}"


def _nearest(name: str) -> str:
    """The parameter that a name that is none may mean."""
    if known := flat_names().get(name):
        return known
    last = {dotted.rpartition(".")[2]: dotted for dotted in reversed(_fields())}
    near = difflib.get_close_matches(name, [*_fields(), *last], n=1, cutoff=0.0)[0]
    return last.get(near, near)

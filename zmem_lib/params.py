"""One run's parameters: a flat YAML file becomes a frozen, checked dataclass.

Takes a path (and `key=value` overrides) or a notebook's namespace, returns `Params`.
Every field is required, so that a parameter file is the whole truth about its run.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from zmem_lib.allowed import checked
from zmem_lib.combinations import NO_LM, refuse_combinations
from zmem_lib.files import BadInput

MEMORY_ONLY = {  # change what a run takes, not what it finds: may be changed while a run is under way
    "micro_batch", "activation_checkpointing", "z_store", "checkpoint_minutes", "write_batch", "batch_scan",
    "batch_answers", "api_parallel", "api_budget",
}  # fmt: skip
LATER = {  # what runs made before these parameters had, as it were: left out of the hash, so that theirs holds
    "publish_text": True, "rerank_model": "", "rerank_depth": 0, "long_context_tokens": 0, "noise_questions": 0,
    "reader": "local", "api_url": "", "api_model": "", "api_input_price": 0.0, "api_output_price": 0.0,
    "judge": "none", "judge_model": "", "judge_questions": 0, "judge_input_price": 0.0, "judge_output_price": 0.0,
    "human_labels": "", "report_language": "en",
}  # fmt: skip
FROM_CHAPTER = {  # no chapter before this one looks at them: where they change, a run is executed again from there on
    "rerank_model": 5, "rerank_depth": 5, "long_context_tokens": 5, "noise_questions": 5, "reader": 5, "api_url": 5,
    "api_model": 5, "api_input_price": 5, "api_output_price": 5, "judge": 6, "judge_model": 6, "judge_questions": 6,
    "judge_input_price": 6, "judge_output_price": 6, "human_labels": 6, "report_language": 7,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Params:
    """All parameters of a run, in the order of the chapters that use them."""

    run: str  # name of the folder under runs/
    seed: int
    device: str  # auto: a GPU where there is one
    precision: str  # auto: bfloat16 where the processor computes it natively, else float16 on a GPU, float32 on a CPU

    # 01 corpus
    corpus: str
    corpus_path: str  # a local copy of the corpus's files, relative to the working directory; empty: from the hub
    corpus_subset: str  # the part of a data set that has several, such as covidqa of ragbench
    corpus_revision: str  # commit or branch on the hub
    new_corpus_path: str  # take the new documents from this second corpus; empty: from the same one
    n_documents: int  # seen: trained jointly
    n_new_documents: int  # held out whole, written in 04
    markup_documents: int  # synthetic only: so many documents carry HTML, Markdown and formulas, to test the pages
    publish_text: bool  # false: pages and kept tables show figures of the corpus, never its passages

    # 02 tuples
    evidence_window: int  # sentences kept on each side of the one that holds the answer

    # 03 joint training
    lm: str  # scratch, or a path or hub id of a causal language model; none: the retrieval opponents alone
    lm_revision: str  # commit or branch on the hub
    quantisation: str  # nf4: frozen weights in 4 bit, double-quantised (QLoRA)
    activation_checkpointing: bool  # compute activations twice and keep them once: less memory, a third slower
    vocab_size: int  # these four: scratch only, 0 for a model that has its own shape
    hidden_size: int
    layers: int
    heads: int
    window_tokens: int  # the longest sequence, soft tokens included
    lora_rank: int  # of the adapter; 0: all weights learn, as they always do with scratch
    z_tokens: int  # K soft tokens per document
    z_width: int  # of each, before the connector that all share; 0: the model's own width, and no connector
    key_width: int  # of the vector by which a document is found; 0: none
    z_start: str  # of the table: random, mean (of the embeddings), vocab (rows of them), encode
    z_store: str  # where the table and its moments lie: memory, or disk (memory-mapped)
    train_lm: bool  # false: only z learns
    encode_share: float  # of the steps in which z and key come from the encoder instead of the table
    train_steps: int
    batch_tuples: int
    batch_recite: int
    batch_read: int
    batch_text: int
    micro_batch: int  # rows of a batch that pass through the model at once; 0: all
    question_weight: float  # -log p(question | z)
    recite_weight: float  # -log p(document | z)
    recite_inside: float  # share of the steps whose recitations begin inside the document
    read_weight: float  # -log p(answer | evidence, question), where all weights learn
    text_weight: float  # -log p(question, evidence | document), no z: the text twin
    key_weight: float  # InfoNCE of the question's vector against the documents' keys
    key_negatives: int  # hard ones per question, beside those of the batch
    encode_weight: float  # squared distance of the encoder's blocks from those of the table
    distill_weight: float  # KL to what the same model says with the document's text in context
    distractor_share: float  # of the tuples whose z stands among other documents'
    pseudo_questions: int  # per document, asked by the model itself
    pseudo_after: float  # share of the training steps after which it asks
    lm_optimiser: str  # muon: of the matrices of a model whose weights all learn; all else learns by adamw
    lm_lr: float
    z_lr: float
    document_tokens: int  # of a document, at most, in recitation
    checkpoint_minutes: float

    # 04 writing
    write_start: str
    write_steps: int
    write_batch: int
    write_lr: float
    write_stop: float  # share of its text that a document must recite for its writing to end; 0: all steps
    write_proximal: float  # weight of the squared distance from the start
    write_questions: int  # per new document, asked by the model from its text, that writing learns beside the text

    # 05 selecting and answering
    select: str  # how z is chosen
    shortlist: int  # documents that the key hands on to the likelihood
    id_steps: int  # training steps of generated ids; 0: none
    id_branching: int  # children of a node in the tree of ids
    dense_steps: int  # training steps of the dense opponent on the same questions; 0: leave it out
    top_k: int  # documents whose evidence the reader gets
    scan_questions: int  # test questions per part that every system answers; 0: all
    evidence_tokens: int  # per evidence item, the same for every system
    answer_tokens: int
    batch_scan: int  # documents scored at once
    batch_answers: int
    bm25_tokens: str
    dense_model: str  # packaged, or a path or hub id of a sentence-transformers model
    rerank_model: str  # a cross-encoder, path or hub id, that puts the hybrid's first documents in order; empty: none
    rerank_depth: int  # documents that are put in order anew, by it and by the language model; 0: neither does
    long_context_tokens: int  # of passages for the system that reads as many as fit; 0: leave it out
    noise_questions: int  # per part, answered again with evidence items replaced; 0: none
    reader: str  # who writes the answers: local, the run's own model; api, a model at an address
    api_url: str  # of any server that speaks OpenAI's protocol; the key is ZMEM_API_KEY of the environment
    api_model: str
    api_parallel: int  # requests under way at once
    api_budget: float  # dollars that a run may spend on reader and judge; 0: no limit
    api_input_price: float  # dollars for a million tokens
    api_output_price: float

    # 06 evaluation
    bootstrap_samples: int
    absent_questions: int  # that no document of the corpus answers, to see whether the systems know
    answer_normalisation: str  # how answers are compared: squad (words), or korquad (characters)
    judge: str  # of answers and evidence: none, api (judge_model at api_url), nli (a local model of entailment)
    judge_model: str  # at the address, or for nli a path or hub id
    judge_questions: int  # per part, judged in every system; 0: all that were answered
    judge_input_price: float  # dollars for a million tokens
    judge_output_price: float
    human_labels: str  # a file of people's verdicts on a few answers, which corrects the judge's; empty: none

    # 07 report
    report_language: str  # of the findings and the slides: en or ko

    @property
    def has_lm(self) -> bool:
        """Whether the run has a language model, and so a memory; without one the retrieval opponents stand alone."""
        return self.lm != NO_LM

    @property
    def learns_whole(self) -> bool:
        """Whether all weights of the language model learn, and not an adapter."""
        return self.lm == "scratch" or self.lora_rank == 0

    @property
    def asking_step(self) -> int:
        """The training step before which the model asks its own questions; 0 where it asks none, or before training."""
        return round(min(self.pseudo_after, 1.0) * self.train_steps) if self.pseudo_questions else 0

    @property
    def learns_reading(self) -> bool:
        """Whether the reader's task is learned here: a model with an adapter reads without it."""
        return self.learns_whole and self.train_lm and self.read_weight > 0


def read_params(path: str | Path, overrides: Iterable[str] = ()) -> Params:
    """Read a YAML parameter file and apply `key=value` overrides; raises BadInput with the key's name."""
    path = Path(path)
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        raise BadInput(f"parameter file {path} {fault}: give the path of a YAML file such as params/tiny.yaml")
    try:
        values = _flat_yaml(path.read_text(encoding="utf-8-sig"), str(path))
    except (UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{path} cannot be read as UTF-8 text ({error}): correct it there") from error
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise BadInput(f"override {override!r} has no '=': write key=value")
        values[key.strip()] = _override(key.strip(), text.strip())
    return check_params(values, str(path))


def _flat_yaml(text: str, where: str) -> dict[str, Any]:
    """The keys and values of `key: value` lines; no nesting, no references, no key twice."""
    try:
        loader = yaml.SafeLoader(text)
        node, values = loader.get_single_node(), {}
        if not isinstance(node, yaml.MappingNode):
            raise BadInput(f"{where} must hold one `key: value` per line")
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not (isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode)):
                raise BadInput(f"{where}, line {line}: the value must be one text or number")
            if key.value in values:
                raise BadInput(f"{where}, line {line}: parameter {key.value!r} stands there twice: remove one line")
            values[key.value] = loader.construct_object(value)
    except BadInput:
        raise
    except (yaml.YAMLError, AttributeError, LookupError, RecursionError, ValueError) as error:  # PyYAML's, all of them
        said = " ".join(str(error).split())
        raise BadInput(f"{where} is not valid YAML ({said[:300]!r}): correct it there") from error
    return values


def _override(key: str, text: str) -> Any:
    """The value of `key=text`: as it stands where the parameter is text and not in quotes, else as YAML reads it."""
    kind = next((field.type for field in fields(Params) if field.name == key), None)
    if not text or (kind is str and text[0] not in "'\""):
        return text
    return _flat_yaml(f"{key}: {text}", f"override {f'{key}={text}'!r}").get(key)


def notebook_params(namespace: Mapping[str, Any]) -> Params:
    """Collect the parameters from a notebook's `globals()`."""
    names = {field.name for field in fields(Params)}
    return check_params({name: namespace[name] for name in names & set(namespace)}, "the parameters cell")


def check_params(values: Mapping[str, Any], where: str) -> Params:
    """Turn a mapping into Params; refuse unknown, missing, mistyped and out-of-range values by name."""
    types = {field.name: field.type for field in fields(Params)}
    for key in values:
        if key not in types:
            near = difflib.get_close_matches(str(key), types, n=1, cutoff=0.0)[0]
            raise BadInput(f"{where}: unknown parameter {key!r}: did you mean {near!r}?")
    missing = [name for name in types if name not in values]
    if missing:
        raise BadInput(f"{where}: parameter {missing[0]!r} is missing: add a line for it (params/tiny.yaml has one)")
    params = Params(**{name: checked(name, values[name], types[name], where) for name in types})
    refuse_combinations(params, where)
    return params


def params_hash(params: Params, chapter: int = 7) -> str:
    """A short hash of what decides what a run finds up to a chapter.

    Not in it: MEMORY_ONLY, what only later chapters look at, and those of LATER that change nothing.
    """
    left_out = MEMORY_ONLY | {key for key, neutral in LATER.items() if getattr(params, key) == neutral}
    left_out |= {key for key, first in FROM_CHAPTER.items() if first > chapter}
    values = {key: value for key, value in asdict(params).items() if key not in left_out}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

"""The parameters of a run: sections of frozen pydantic models, each value with its bounds, meaning and neutral default.

params.py reads them from files; combinations.py says which values do not go together.
"""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from zmem_lib.combinations import NO_LM, TEXTS

MOST = 2**31 - 1  # of any number: what every library takes as a seed, a count or a size
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
TEST = re.compile(r"(\S+)(?: of (\S+))? vs (\S+)(?: of (\S+))? on (\S+)")  # a primary test

CorpusName = Literal["synthetic", "almanac", "folder", "texts", "squad", "mirage", "ragbench", "t2ragbench", "popqa"]
Selector = Literal["query_likelihood", "key", "key_then_likelihood", "generated_id"]
Start = Literal["random", "mean", "vocab", "pooled", "chosen", "encode"]
STARTS = get_args(Start)
Count = Annotated[int, Field(ge=1, le=MOST)]
CountOr0 = Annotated[int, Field(ge=0, le=MOST)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0, le=MOST)]
Rate = Annotated[float, Field(gt=0, le=MOST)]


def says(default: Any, meaning: str) -> Any:
    """A parameter's default and what it means."""
    return Field(default, description=meaning)


class Section(BaseModel):
    """Parameters that belong together; none may be added, changed or be of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        if isinstance(value, str) and CONTROL.search(value):
            raise ValueError(f"has a control character: remove it from {value!r}")
        return value


class Corpus(Section):
    """What is read, and what of it is held out."""

    name: CorpusName = says("synthetic", "which corpus")
    path: str = says("", "a local copy of its files, relative to the working directory; empty: from the hub")
    subset: str = says("", "the part of a data set that has several, such as covidqa of ragbench")
    revision: str = says("", "commit or branch on the hub")
    new_path: str = says("", "take the new documents from this second corpus; empty: from the same one")
    apart_from: str = says("", "a corpus that tests: passages and questions that the first one shares are left out")
    documents: Count = says(400, "seen: trained jointly")
    new_documents: CountOr0 = says(40, "held out whole, written in 04; at each seed others")
    new_articles: CountOr0 = says(0, "of these, at most: in articles (titles) of which no document is seen")
    own_questions: CountOr0 = says(0, "texts only: that the model asks itself about each passage, before chapter 01")
    absent_questions: CountOr0 = says(0, "that no document answers, to see whether the systems know")
    evidence_window: CountOr0 = says(0, "sentences kept on each side of the one that holds the answer")
    normalisation: Literal["squad", "korquad"] = says("squad", "how answers are compared: by words, or by characters")
    publish_text: bool = says(True, "false: pages and kept tables show figures of the corpus, never its passages")


class Lm(Section):
    """The language model."""

    name: str = says("scratch", "scratch, packaged (-gemma), or a path or hub id of a causal LM; none: retrieval alone")
    revision: str = says("", "commit or branch on the hub")
    quantisation: Literal["none", "nf4"] = says("none", "nf4: frozen weights in 4 bit, double-quantised (QLoRA)")
    lora_rank: CountOr0 = says(16, "of the adapter; 0: all weights learn, as they always do with scratch")
    adapter: str = says(
        "", "packaged, or a folder of an adapter with its heads, as runs/NAME/lm, that learns on; empty: a new one"
    )
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
    kind: Literal["soft", "kv"] = says(
        "soft", "of z: K input embeddings, or keys and values of K places in every layer"
    )
    start: Start = says("random", "of z: random; mean or vocab, of the embeddings; of the text: pooled, encode, chosen")
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
    batch_key: Count = says(8, "per step: questions that learn to find their documents, which the encoder reads")
    read_items: Count = says(2, "items of evidence of a reader's lesson, at most")
    question_weight: Weight = says(0.0, "-log p(question | z)")
    recite_weight: Weight = says(0.0, "-log p(document | z)")
    recite_inside: Share = says(0.0, "of the steps: their recitations begin inside the document")
    read_weight: Weight = says(0.0, "-log p(answer | evidence, question), where all weights learn")
    text_weight: Weight = says(0.0, "-log p(question, evidence | document), no z: the text twin")
    key_weight: Weight = says(0.0, "InfoNCE of the question's vector against the documents' keys")
    key_negatives: CountOr0 = says(0, "hard ones per question, from all keys, beside those of the batch")
    encode_share: Share = says(0.0, "of the steps: z comes from the encoder instead of the table, and keys learn")
    encode_weight: Weight = says(0.0, "squared distance of the encoder's blocks from those of the table")
    distill_weight: Weight = says(0.0, "KL to what the same model says with the document's text in context")
    distractor_share: Share = says(0.0, "of the tuples: their z stands among other documents'")
    self_questions: CountOr0 = says(0, "per document, asked by the model itself")
    self_questions_after: Part = says(0.0, "of the steps, after which it asks")
    optimiser: Literal["adamw", "muon"] = says("adamw", "muon: of the matrices of a model whose weights all learn")
    lm_lr: Weight = says(1e-4, "of model or adapter")
    heads_lr: Weight = says(1e-3, "of the maps between blocks, keys and model, which begin at random")
    z_rate: Rate = says(0.1, "of z, in standard deviations of the token embeddings, which differ by model")
    id_steps: CountOr0 = says(0, "training steps of generated ids; 0: none")
    id_branching: Count = says(16, "children of a node in the tree of ids")


class Write(Section):
    """Writing new documents, the model frozen."""

    start: Start = says("mean", "as memory.start; mean: of the trained blocks")
    seen: Literal["joint", "text", "questions"] = says(
        "joint",
        "z of seen documents: as trained, or written as new ones are: from text, or with training questions too",
    )
    steps: Count = says(50, "updates of a block")
    rate: Rate = says(0.1, "of z, as train.z_rate; it falls by a cosine, as in training")
    curve_span: Weight = says(0.0, "the write curve is drawn at the rate times this, and over it, too; 0: at the rate")
    stop: Share = says(0.0, "of its text that a document must recite for its writing to end; 0: all steps")
    proximal: Weight = says(0.0, "of the squared distance from the start")
    self_questions: CountOr0 = says(0, "per document, asked by the model from its text, learned beside the text")


class Answer(Section):
    """Choosing documents and answering from them, by every system."""

    questions: CountOr0 = says(100, "test questions per part that every system answers; 0: all")
    select: Selector = says("query_likelihood", "how z is chosen")
    shortlist: Count = says(20, "documents that the key hands on to the likelihood")
    top_k: Count = says(1, "documents whose evidence the reader gets")
    evidence_tokens: Count = says(48, "of what is written from z, or of a sentence, at most; passages are handed whole")
    answer_tokens: Count = says(12, "of an answer, at most")
    dense_model: str = says("packaged", "packaged, or a path or hub id of a sentence-transformers model")
    dense_epochs: CountOr0 = says(0, "of the tuned encoder over all training questions; 0: leave it out")
    dense_negatives: CountOr0 = says(1, "hard ones by BM25 beside each passage that it learns")
    rerank_model: str = says("", "a cross-encoder, path or hub id, that reorders the hybrid's first; empty: none")
    rerank_depth: CountOr0 = says(0, "documents that it and the language model put in order; 0: neither does")
    long_context_tokens: CountOr0 = says(0, "of passages for the system that reads as many as fit; 0: none")
    noise_questions: CountOr0 = says(0, "per part, answered again with evidence items replaced; 0: none")
    reader: Literal["local", "schooled", "api"] = says(
        "local", "who answers: the run's own model, this model with lm.adapter as it came, or one at an address"
    )
    api_url: str = says("", "of a server that speaks OpenAI's protocol; the key is ZMEM_API_KEY in the environment")
    api_model: str = says("", "its name there")
    api_input_price: Weight = says(0.0, "dollars for a million tokens")
    api_output_price: Weight = says(0.0, "dollars for a million tokens")


class Evaluate(Section):
    """What is measured of the answers."""

    bootstrap_samples: Count = says(1000, "of an interval")
    primary: str = says(
        "zmem vs hybrid on recall@1; zmem-oracle vs zmem-other-question on answer_in_evidence; "
        "zmem of new vs zmem of seen on recall@1; zmem of new vs zmem of seen on answer_in_evidence",
        "the tests that count, fixed before the run; all others are exploratory",
    )
    margin: Rate = says(0.05, "two whose difference surely lies within it are called the same (TOST)")
    judge: Literal["none", "api", "nli"] = says("none", "of answers: judge_model at answer.api_url, or a local model")
    judge_model: str = says("", "at the address, or for nli a path or hub id of a model of entailment")
    judge_questions: CountOr0 = says(0, "per part, judged in every system; 0: all that were answered")
    judge_input_price: Weight = says(0.0, "dollars for a million tokens")
    judge_output_price: Weight = says(0.0, "dollars for a million tokens")
    human_labels: str = says("", "a file of people's verdicts on a few answers, which corrects the judge's")

    @field_validator("primary")
    @classmethod
    def _tests(cls, value: str) -> str:
        for one in filter(None, map(str.strip, value.split(";"))):
            words = TEST.fullmatch(one)
            if words is None or (words[2] is None) != (words[4] is None):
                form = "FIRST vs SECOND on MEASURE, or FIRST of PART vs SECOND of PART on MEASURE"
                raise ValueError(f"holds {one!r}, which is no test: write {form}, and ; between two of them")
        return value


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

    run: str = says(..., "name of the folder under runs/")
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

    def __hash__(self) -> int:  # which pydantic would make as well, unseen by a type checker
        return hash(tuple(self.__dict__.values()))

    @property
    def has_lm(self) -> bool:
        """Whether the run has a language model, and so a memory; without one the retrieval opponents stand alone."""
        return self.lm.name != NO_LM

    @property
    def tests(self) -> bool:
        """Whether the corpus has questions; where the model asks its own about mere texts, nothing can be measured."""
        return self.corpus.name != TEXTS

    @property
    def learns_whole(self) -> bool:
        """Whether all weights of the language model learn, and not an adapter."""
        return self.lm.name == "scratch" or self.lm.lora_rank == 0

    @property
    def asking_step(self) -> int:
        """The training step before which the model asks its own questions; 0 where it asks none, or before training."""
        return round(self.train.self_questions_after * self.train.steps) if self.train.self_questions else 0

    @property
    def schools(self) -> bool:
        """Whether every block comes from its text, so that an adapter learns and nothing of a document."""
        return self.train.encode_share == 1 and not self.learns_whole and self.has_lm

    @property
    def learns_reading(self) -> bool:
        """Whether the reader's task is learned here."""
        return self.train.lm and self.train.read_weight > 0

"""The systems that are compared, one record each: how it chooses documents and what of them it hands to the reader.

The same reader answers for all of them (evidence.py), from at most `answer.top_k` items. A new system is a way of
choosing (choosing.py), a record here, and its words in the page's phrases; tables, tests, costs and plots follow from
the record, in the order of SYSTEMS. CRAG (2401.15884) and Self-RAG (2310.11511) would be one way of choosing more each.

Evidence is compared among the `brief` systems alone: what each hands over of a document has at most
`answer.evidence_tokens` tokens, be it written from z, written from the text, or taken from it. The others hand over
whole passages, up to `memory.evidence_tokens`: that the answer stands there says little.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from zmem_lib.params import Params

Z = ("z_seen.safetensors", "z_new.safetensors")  # blocks and keys
KEYS, TEXTS = "keys", "texts"  # the keys alone; the passages of all documents
CHOSEN = ("memory", "weight of select")  # by z-memory itself
HYBRID = ("bm25", "dense.faiss", TEXTS)
HYBRID_BUILT = ("bm25", "dense", "weight of hybrid")
Hands = Literal[
    "z", "z, other question", "noise", "z and text", "text", "packed", "written from text", "sentence",
    "random sentence", "first tokens",
]  # fmt: skip
WHOLE_PASSAGES = ("text", "z and text", "packed")  # ways of handing


def z_files(params: Params) -> tuple[str, str]:
    """Where the blocks and keys of seen and new documents lie that a run answers from."""
    return ("z_seen.safetensors" if params.write.seen == "joint" else "z_written.safetensors", Z[1])


def reads_texts(params: Params) -> bool:
    """Whether the model knows what stands behind texts: it has learned that, or is pretrained."""
    return params.train.text_weight > 0 or params.lm.name != "scratch"


@dataclass(frozen=True)
class System:
    """All that answers, tables, costs and plots need to know of a system."""

    choose: str | Callable[[Any, Any], Any]  # questions and what a run holds to rankings; a name is one of choosing.py
    colour: str  # Okabe and Ito's, and shades of them; greys for what is given a wrong document, or none
    hands: Hands = "text"  # what the reader gets: a name of evidence.HANDED
    given: Literal["", "right", "wrong", "nothing"] = ""  # what document, where the system does not find it itself
    stores: tuple[str, ...] = (TEXTS,)  # files of the run's folder, KEYS, TEXTS
    rests_on: tuple[str, ...] = ()  # what had to be built before it answers: its seconds are the system's
    without_lm: bool = False  # stands without a language model: what it retrieves is evaluated, and nobody reads it
    asked_absent: bool = False  # asked the questions without a document, too
    possible: Callable[[Params], bool] = lambda _: True  # where the run has the language model that it needs

    @property
    def compared(self) -> bool:
        """Whether it must find the document itself."""
        return not self.given

    @property
    def brief(self) -> bool:
        """Whether what it hands over of a document has at most `answer.evidence_tokens`."""
        return self.hands not in WHOLE_PASSAGES

    @property
    def own_ranking(self) -> bool:
        """Whether its ranking is its own; what takes sentences of the documents that another chose has that one's."""
        return self.compared and self.hands != "sentence"

    @property
    def grounded(self) -> bool:
        """Whether its evidence is written from the z of the document that it chose, or of the right one."""
        return self.hands == "z" and self.given in ("", "right")

    @property
    def reference(self) -> bool:
        """Whether it is given the right document alone, as z or as text."""
        return self.hands in ("z", "text") and self.given == "right"


SYSTEMS: dict[str, System] = {  # in the order of tables
    "zmem": System("by_select", "#0072B2", "z", stores=Z, rests_on=CHOSEN, asked_absent=True),
    "zmem+text": System("by_select_anew", "#3B9BD9", stores=(*Z, TEXTS), rests_on=CHOSEN),
    "zmem+bm25": System(
        "by_z_and_bm25", "#004B75", "z", stores=(*Z, "bm25"), rests_on=(*CHOSEN, "bm25", "weight of zmem+bm25"),
    ),
    "zmem-oracle": System("right", "#56B4E9", "z", "right", stores=Z, rests_on=("memory",)),
    "zmem-other-question": System("right", "#7B9CB5", "z, other question", "right", stores=Z, rests_on=("memory",)),
    "zmem-shuffled": System("shuffled", "#666666", "z", "wrong", stores=Z, rests_on=("memory",)),
    "zmem-similar": System("most_similar", "#8A8A8A", "z", "wrong", stores=Z, rests_on=("memory",)),
    "zmem-random": System("nothing", "#ABABAB", "noise", "wrong", stores=Z, rests_on=("memory",)),
    "zmem-text": System("right", "#A8D5F2", "z and text", "right", stores=(*Z, TEXTS), rests_on=("memory",)),
    "bm25": System(
        "by_bm25", "#E69F00", stores=("bm25", TEXTS), rests_on=("bm25",), without_lm=True, asked_absent=True,
    ),
    "bm25-asked": System(
        "by_bm25_asked", "#B37A00", stores=("bm25_asked", TEXTS), rests_on=("bm25 asked",), without_lm=True,
    ),
    "bm25+sentence": System(
        "by_bm25", "#F5C96B", "sentence", stores=("bm25", TEXTS), rests_on=("bm25",), without_lm=True,
    ),
    "dense": System(
        "by_dense", "#D55E00", stores=("dense.faiss", TEXTS), rests_on=("dense",), without_lm=True, asked_absent=True,
    ),
    "dense-tuned": System(
        "by_dense_tuned", "#8F3F00", stores=("dense_tuned.faiss", TEXTS), rests_on=("dense tuned",), without_lm=True,
        possible=lambda params: params.answer.dense_epochs > 0,
    ),
    "hybrid-rrf": System("by_ranks", "#B9A6D3", stores=HYBRID, rests_on=("bm25", "dense"), without_lm=True),
    "hybrid": System("by_hybrid", "#6A3D9A", stores=HYBRID, rests_on=HYBRID_BUILT, without_lm=True),
    "hybrid+sentence": System(
        "by_hybrid", "#9E7BC0", "sentence", stores=HYBRID, rests_on=HYBRID_BUILT, without_lm=True,
    ),
    "hybrid+rerank": System(
        "by_cross_encoder", "#4B2A70", stores=HYBRID, rests_on=(*HYBRID_BUILT, "weight of hybrid+rerank"),
        without_lm=True,
        possible=lambda params: bool(params.answer.rerank_model) and params.answer.rerank_depth > 0,
    ),
    "lm-rerank": System(
        "by_lm", "#A0527E", stores=HYBRID, rests_on=(*HYBRID_BUILT, "learning from texts", "weight of lm-rerank"),
        possible=lambda params: params.answer.rerank_depth > 0 and reads_texts(params),
    ),
    "text-twin": System(  # where the model has learned questions from texts, and keys by which to choose them
        "by_text", "#CC79A7", stores=(KEYS, TEXTS), rests_on=("memory", "weight of text-twin"),
        possible=lambda params: params.train.text_weight > 0 and params.memory.key_width > 0,
    ),
    "long-context": System(
        "by_hybrid_deeply", "#B8A400", "packed", stores=HYBRID, rests_on=HYBRID_BUILT,
        possible=lambda params: params.answer.long_context_tokens > 0,
    ),
    "text-evidence": System(
        "right", "#1B7F5C", "written from text", "right", rests_on=("learning from texts",), possible=reads_texts,
    ),
    "gold+sentence": System("right", "#66C2A5", "sentence", "right", without_lm=True),
    "gold+random-sentence": System("right", "#B7DFCB", "random sentence", "right", without_lm=True),
    "cut-text": System("right", "#A6761D", "first tokens", "right"),
    "gold-passage": System("right", "#009E73", given="right"),
    "closed-book": System("nothing", "#404040", given="nothing", stores=()),
}  # fmt: skip


def which(condition: Callable[[System], bool]) -> tuple[str, ...]:
    """The names of the systems of which this is true."""
    return tuple(name for name, system in SYSTEMS.items() if condition(system))


def compared() -> tuple[str, ...]:
    """Those that must find the document themselves."""
    return which(lambda system: system.compared)


def possible_systems(params: Params) -> tuple[str, ...]:
    """Those that a run's parameters allow; over mere texts no index is built, and no question has a gold document."""
    if not params.tests:
        return ("zmem",)
    return which(lambda system: system.possible(params) and (params.has_lm or system.without_lm))

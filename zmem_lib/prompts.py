"""What the language model is given for every task, as token ids and the loss term that each id belongs to.

    z, <question> q <evidence> e <end>     q counts in the term `question`, e in the term `evidence`
    z, <evidence> document <end>           term `recite`: evidence to no question in particular
    <read> q <item> e ... <answer> a <end> term `read`; no z: this is the reader, the same for every system

One pass over the first form gives both -log p(q | z), which the selector scores, and -log p(e | z, q).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TERMS = ("none", "question", "evidence", "recite", "read")  # a term is stored as its index here
MARKERS = {  # name: (special token of a tokenizer made here, plain text for any other)
    "question": ("<question>", "Question: "),
    "evidence": ("<evidence>", "\nEvidence: "),
    "read": ("<read>", "Answer the question from the evidence, in a few words.\nQuestion: "),
    "item": ("<item>", "\nEvidence: "),
    "answer": ("<answer>", "\nAnswer: "),
}


@dataclass(frozen=True)
class Row:
    """One sequence: token ids and, beside each, the index of its loss term."""

    ids: list[int]
    terms: list[int]


@dataclass(frozen=True)
class Prompts:
    """Builds rows with one tokenizer; `marks` holds the ids of each marker."""

    tokenizer: Any
    marks: dict[str, list[int]]
    end: int

    def encode(self, text: str, limit: int | None = None) -> list[int]:
        """Token ids of a text, without special tokens, at most `limit`."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"][:limit]

    def question(self, question: str) -> Row:
        """What the selector scores: log p(question | z)."""
        return join([(self.marks["question"], "none"), (self.encode(question), "question")])

    def asked(self, question: str) -> list[int]:
        """What evidence is generated from, after z."""
        return self.marks["question"] + self.encode(question) + self.marks["evidence"]

    def evidence(self, question: str, evidence: str, limit: int) -> Row:
        """A training tuple, after its document's z; evidence of at most `limit` tokens."""
        begun = self.question(question)
        rest = join([(self.marks["evidence"], "none"), ([*self.encode(evidence, limit), self.end], "evidence")])
        return Row(begun.ids + rest.ids, begun.terms + rest.terms)

    def recite(self, text: str, limit: int) -> Row:
        """A document's own text, at most `limit` tokens of it; only a whole text is followed by the end."""
        ids = self.encode(text)
        ids = ids[:limit] if len(ids) > limit else [*ids, self.end]
        return join([(self.marks["evidence"], "none"), (ids, "recite")])

    def reading(self, question: str, items: Iterable[str], limit: int) -> list[int]:
        """What the reader answers from: the question, and each evidence item cut to `limit` tokens."""
        ids = self.marks["read"] + self.encode(question)
        for item in items:
            ids = ids + self.marks["item"] + self.encode(item, limit)
        return ids + self.marks["answer"]

    def read(self, reading: list[int], answer: str) -> Row:
        """A reading with its answer, to learn the reader's task."""
        return join([(reading, "none"), ([*self.encode(answer), self.end], "read")])


def make_prompts(tokenizer: Any) -> Prompts:
    """Prompts with the tokenizer's own markers where it has them, else with plain text."""
    known = tokenizer.get_vocab()
    marks = {
        name: [known[special]] if special in known else tokenizer(plain, add_special_tokens=False)["input_ids"]
        for name, (special, plain) in MARKERS.items()
    }
    return Prompts(tokenizer, marks, tokenizer.eos_token_id)


def join(pieces: Sequence[tuple[list[int], str]]) -> Row:
    """One row from (ids, name of term) pieces."""
    ids = [token for piece, _ in pieces for token in piece]
    return Row(ids, [TERMS.index(term) for piece, term in pieces for _ in piece])


def collate(rows: Sequence[Row], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded ids, terms and mask, each (B,T) int64; padding has term none and mask 0."""
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [pad] * (width - len(row.ids)) for row in rows])
    terms = torch.tensor([row.terms + [0] * (width - len(row.ids)) for row in rows])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    return ids, terms, mask

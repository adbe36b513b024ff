"""What the language model is given for every task, as token ids and the loss term that each id belongs to.

    z, <question> q <evidence> e <end>     q counts in the term `question`, e in the term `evidence`
    z, <evidence> document <end>           term `recite`: evidence to no question in particular; may begin inside
    <text> document <end> <question> q <evidence> e <end>   term `text` from q to <end>; no z: the text twin
    <read> q <item> e ... <answer> a <end> term `read`; no z: this is the reader, the same for every system
    <question> q <find>                    no term; all its states make the question's vector, the last one its ids

The first form gives both -log p(q | z), which the selector scores, and -log p(e | z, q). The markers are special tokens
where the tokenizer was made here (of `text` that of `evidence`), plain words elsewhere. A model with a chat template
reads through it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

TERMS = ("none", "question", "evidence", "recite", "read", "text")  # a term is stored as its index here
MARKERS = {  # name: (special token of a tokenizer made here, plain text for any other)
    "question": ("<question>", "\nQuestion:"),
    "evidence": ("<evidence>", "\nEvidence:"),
    "text": ("<evidence>", "Passage:"),
    "read": ("<read>", "Answer the question from the evidence, in a few words.\nQuestion:"),
    "item": ("<item>", "\nEvidence:"),
    "answer": ("<answer>", "\nAnswer:"),
    "find": ("<find>", "\nDocument:"),
}
OWN_SPACE = "▁Ġ"  # what begins a word, of tokenizers that put it before a text by themselves
CHAT_TASK = "Answer the question from the evidence. Write the answer alone, in a few words."
CHAT_TASK_ALONE = "Answer the question. Write the answer alone, in a few words."
# What templates ask for beside the turns; the date is Llama 3's own default, without it newer ones write today's.
CHAT_VALUES = {"date_string": "26 Jul 2024", "enable_thinking": False}


@dataclass(frozen=True)
class Row:
    """One sequence: token ids and, beside each, the index of its loss term."""

    ids: list[int]
    terms: list[int]


@dataclass(frozen=True)
class Prompts:
    """Builds rows with one tokenizer."""

    tokenizer: Any
    marks: dict[str, list[int]]  # ids of each marker
    begin: list[int]  # a token before every text: attention rests on what comes first, which z should not have to be
    end: int  # learnt as the end of every text
    special: re.Pattern  # texts that the tokenizer would read as one of its special tokens
    space: str = ""  # before every text, where the tokenizer puts none: so a word behind a marker is one as elsewhere

    def encode(self, text: str, limit: int | None = None) -> list[int]:
        """Token ids of a text, without special tokens, at most `limit`."""
        text = self.space + self.plain(text) if text else ""
        fast = getattr(self.tokenizer, "backend_tokenizer", None)  # several times as fast as the call around it
        if fast is not None:
            return fast.encode(text, add_special_tokens=False).ids[:limit]
        return self.tokenizer(text, add_special_tokens=False)["input_ids"][:limit]

    def plain(self, text: str) -> str:
        """The text with a space inside whatever looks like a special token: a corpus must not end a turn."""
        return self.special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out, without white space around it."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def cut(self, text: str, limit: int) -> str:
        """As much of a text as `limit` tokens hold."""
        return self.decode(self.encode(text, limit))

    def question(self, question: str) -> Row:
        """What the selector scores: log p(question | z)."""
        return join([(self.marks["question"], "none"), (self.encode(question), "question")])

    def asked(self, question: str) -> list[int]:
        """What evidence is generated from, after z."""
        return self.marks["question"] + self.encode(question) + self.marks["evidence"]

    def evidence(self, question: str, evidence: str, limit: int) -> Row:
        """A training tuple, after its document's z; evidence of at most `limit` tokens."""
        asked = [(self.marks["question"], "none"), (self.encode(question), "question")]
        written = [*self.encode(evidence, limit), self.end]
        return join([*asked, (self.marks["evidence"], "none"), (written, "evidence")])

    def recite(self, text: str, limit: int, *, given: int = 0) -> Row:
        """A document's own text, at most `limit` tokens, the first `given` not asked; a whole text has its end."""
        ids = self.encode(text)
        ids = ids[:limit] if len(ids) > limit else [*ids, self.end]
        given = min(given, len(ids) - 1)
        return join([(self.marks["evidence"], "none"), (ids[:given], "none"), (ids[given:], "recite")])

    def text(self, text: str, limit: int) -> list[int]:
        """A document to be read: what the text twin has in the place of z."""
        return self.begin + self.marks["text"] + self.encode(text, limit) + [self.end]

    def twin(self, text: list[int], row: Row) -> Row:
        """A row that begins with a question, after its document's text; all behind its first marker counts: `text`."""
        given = len(self.marks["question"])  # the other marker counts: who asks has to know where a question ends
        return join([(text + row.ids[:given], "none"), (row.ids[given:], "text")])

    def find(self, question: str) -> list[int]:
        """What a question's vector, and a generated id, is made from; no z."""
        return self.begin + self.marks["question"] + self.encode(question) + self.marks["find"]

    def reading(self, question: str, items: Sequence[str], limit: int) -> list[int]:
        """What the reader answers from: the question, and each evidence item cut to `limit` tokens."""
        if self.tokenizer.chat_template:
            return self.chat(self.turn(question, [self.cut(item, limit) for item in items])["content"])
        ids = self.begin + self.marks["read"] + self.encode(question)
        for item in items:
            ids = ids + self.marks["item"] + self.encode(item, limit)
        return ids + self.marks["answer"]

    def chat(self, content: str) -> list[int]:
        """One turn of a user, in the model's own chat template."""
        turns, options = [{"role": "user", "content": content}], {"tokenize": True, "return_dict": False}
        return self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options, **CHAT_VALUES)

    def turn(self, question: str, items: Sequence[str]) -> dict[str, str]:
        """What a user says to a reader that takes chat messages, the local one or one at an address."""
        evidence = "".join(f"Evidence: {self.plain(item)}\n\n" for item in items)
        task = CHAT_TASK if items else CHAT_TASK_ALONE
        return {"role": "user", "content": f"{task}\n\n{evidence}Question: {self.plain(question)}"}

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
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    added = sorted((token for token in tokenizer.get_added_vocab() if len(token) > 1), key=len, reverse=True)
    special = re.compile("|".join(map(re.escape, added)) or r"(?!)")
    space = "" if tokenizer.tokenize("a")[0][0] in OWN_SPACE else " "
    return Prompts(tokenizer, marks, [begin], tokenizer.eos_token_id, special, space)


def join(pieces: Sequence[tuple[list[int], str]]) -> Row:
    """One row from (ids, name of term) pieces."""
    ids = [token for piece, _ in pieces for token in piece]
    return Row(ids, [TERMS.index(term) for piece, term in pieces for _ in piece])


def behind_text(text: list[int], row: Row) -> Row:
    """A row with a text before it, which is given."""
    return Row(text + row.ids, [0] * len(text) + row.terms)


def collate(rows: Sequence[Row], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded ids, terms and mask, each (B,T) int64; padding has term none and mask 0."""
    ids = pad_sequence([torch.tensor(row.ids) for row in rows], batch_first=True, padding_value=pad)
    terms = pad_sequence([torch.tensor(row.terms) for row in rows], batch_first=True)
    mask = pad_sequence([torch.ones(len(row.ids), dtype=torch.long) for row in rows], batch_first=True)
    return ids, terms, mask

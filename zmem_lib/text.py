"""Plain text helpers: what of a document every system sees, normalisation, sentences."""

import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

QUESTION_TOKENS = 48  # room that the window must leave for a question and the markers
KORQUAD_SIGNS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()\u2018\u2019", " "))
ARTICLES = re.compile(r"\b(a|an|the)\b")
WORD = re.compile(r"\S+")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # keeps tab, newline, carriage return
SENTENCE_END = re.compile(r"(?<=[.!?。])[\"'\u201d\u2019)\]]*\s+")


def passage(title: str, text: str) -> str:
    """The text of a document as every system gets it: title and text on two lines."""
    return f"{title}\n{text}" if title else text


def passages(docs: "pd.DataFrame") -> list[str]:
    """The passage of every document of a table with title and text, in its order."""
    return [passage(title, text) for title, text in zip(docs["title"], docs["text"], strict=True)]


def first_words(text: str, most: int) -> str:
    """The text up to the end of its word number `most`; words are what stands between white space."""
    ends = [match.end() for match in WORD.finditer(text)]
    return text if len(ends) <= most else text[: ends[most - 1]]


def unprintable(text: str) -> str | None:
    """The first control character or lone surrogate of a text and its place, in words; None if there is none."""
    match = UNPRINTABLE.search(text)
    if not match:
        return None
    kind = "lone surrogate" if match.group() >= "\ud800" else "control character"
    return f"the {kind} U+{ord(match.group()):04X} at character {match.start() + 1}"


def normalise(text: str) -> str:
    """SQuAD v1.1's answer normalisation: lower case, no punctuation, no articles, single spaces."""
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", text).split())


def normalise_korquad(text: str) -> str:
    """KorQuAD 1.0's answer normalisation: quotes and brackets become spaces; lower case, no punctuation, single spaces.

    After its evaluation script (evaluate-v1.0.py, Lim et al. 2019); articles stay, as Korean has none.
    """
    text = text.translate(KORQUAD_SIGNS).lower()
    return " ".join("".join(char for char in text if char not in string.punctuation).split())


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end offsets of the sentences of a text, without the white space between them."""
    spans, start = [], 0
    for end in [*(gap.end() for gap in SENTENCE_END.finditer(text)), len(text)]:
        if sentence := text[start:end].rstrip():
            spans.append((start, start + len(sentence)))
        start = end
    return spans


def sentence_window(text: str, start: int, end: int, window: int) -> tuple[int, int]:
    """Offsets of the sentences that overlap text[start:end], with `window` more on each side."""
    spans = sentence_spans(text)
    hit = [i for i, (first, last) in enumerate(spans) if first < end and start < last]
    low, high = max(hit[0] - window, 0), min(hit[-1] + window, len(spans) - 1)
    return spans[low][0], spans[high][1]

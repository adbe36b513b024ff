"""Plain text helpers: what of a document every system sees, normalisation, sentences."""

import re
import string

import pandas as pd

ARTICLES = re.compile(r"\b(a|an|the)\b")
SENTENCE_END = re.compile(r"(?<=[.!?。])[\"'”’)\]]*\s+")


def passage(title: str, text: str) -> str:
    """The text of a document as every system gets it: title and text on two lines."""
    return f"{title}\n{text}" if title else text


def passages(docs: pd.DataFrame) -> list[str]:
    """The passage of every document of a table with title and text, in its order."""
    return [passage(title, text) for title, text in zip(docs["title"], docs["text"], strict=True)]


def normalise(text: str) -> str:
    """SQuAD v1.1's answer normalisation: lower case, no punctuation, no articles, single spaces."""
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", text).split())


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end offsets of the sentences of a text, without the white space between them."""
    spans, start = [], 0
    for gap in SENTENCE_END.finditer(text):
        spans.append((start, start + len(text[start : gap.end()].rstrip())))
        start = gap.end()
    if text[start:].strip():
        spans.append((start, start + len(text[start:].rstrip())))
    return spans


def sentence_window(text: str, start: int, end: int, window: int) -> tuple[int, int]:
    """Offsets of the sentences that overlap text[start:end], with `window` more on each side."""
    spans = sentence_spans(text)
    hit = [i for i, (first, last) in enumerate(spans) if first < end and start < last]
    low, high = max(hit[0] - window, 0), min(hit[-1] + window, len(spans) - 1)
    return spans[low][0], spans[high][1]

"""Plain text helpers: what of a document every system sees, normalisation, sentences."""

import re
import string

import pandas as pd

KORQUAD_SIGNS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
ARTICLES = re.compile(r"\b(a|an|the)\b")
WORD = re.compile(r"\S+")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # keeps tab, newline, carriage return
SENTENCE_END = re.compile(r"(?<=[.!?。])[\"'”’)\]]*\s+")


def passage(title: str, text: str) -> str:
    """The text of a document as every system gets it: title and text on two lines."""
    return f"{title}\n{text}" if title else text


def passages(docs: pd.DataFrame) -> list[str]:
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


def about(seconds: float) -> str:
    """A duration as one says it: 'about 40 s', 'about 3 min', 'about 2.5 h'."""
    if seconds < 90:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"

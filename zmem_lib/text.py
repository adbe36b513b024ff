"""Plain text: what of a document every system sees; Unicode forms, words and sentences; how answers are compared.

Loaders, metrics, BM25 and evidence all cut and compare text by these functions; a text itself is kept as it came.
Sentences end by Unicode's classes of signs (UAX #29) and by rules for abbreviations, written with the package regex:
they cut less evidence in two than sentencex, pysbd and blingfire do (LOG.md), know Korean, and ask for no package that
a machine with transformers lacks.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import fsum, log
from typing import TYPE_CHECKING

import regex

if TYPE_CHECKING:
    import pandas as pd

QUESTION_TOKENS = 48  # room that the window must leave for a question and the markers
KORQUAD_SIGNS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()\u2018\u2019", " "))
ARTICLES = re.compile(r"\b(a|an|the)\b")
UNSPACED = re.compile(r"\S+")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # keeps tab, newline, carriage return
NARROW = {0xFEE0 + ord(sign): sign for sign in string.digits + string.ascii_letters}  # of full-width forms
SOLID = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # scripts without spaces
JOINED = regex.compile(rf"[{SOLID}\p{{Hangul}}]")
SPACED = regex.compile(r"[\p{L}\p{M}\p{N}\p{Join_Control}]+")
WORD = regex.compile(
    rf"[[\p{{L}}\p{{M}}\p{{N}}\p{{Join_Control}}]--[{SOLID}\p{{Hangul}}]]+"
    rf"|(?P<solid>[{SOLID}]\p{{M}}*+)+|(?P<hangul>\p{{Hangul}}+)",
    regex.V1,
)
LETTER = regex.compile(r"\P{M}\p{M}*")

SHUT = r"[\p{Pe}\p{Pf}\"'”’]"  # closes behind a stop
END = regex.compile(
    rf"""(?P<full>[\p{{SB=STerm}}--[!?]][\p{{SB=STerm}}.]*(?P<shut>{SHUT}*))\s*        # of scripts that need no space
    | (?P<stop>[.!?…]+{SHUT}*(?:\s?\[[^\[\]]{{1,40}}\]|:\d[\d–-]*)*)(?:\s+|$)       # with marks as [1], [note 2], :40
    | (?<=[다요까죠음함됨임])[.!?]+(?=[\p{{Ps}}\p{{Pi}}]*[\p{{Hangul}}\d])             # Korean verbs and nouns end so
    | \n\s*\n\s* | (?<=[\p{{Thai}}\p{{Lao}}])\s+(?=[\p{{Thai}}\p{{Lao}}])""",
    regex.VERBOSE | regex.V1,
)
PARTICLE = regex.compile(r"[\p{Hiragana}\p{Hangul}]")  # behind a quotation: it goes on
DATE = re.compile(r"\d\.\s\d{1,2}\.$")  # Korean: 1989. 2. 15.
SHORT = regex.compile(
    r"""(?:^|[^\p{L}\p{M}\p{N}])(?:
    (?!i\.|\p{Hangul})\p{L}\p{M}* | (?:\p{L}\p{M}*\.)+\p{L}\p{M}* | ph\.d
    | dr|mr|mrs|ms|messrs|prof|st|mt|ft|gen|col|lt|sgt|capt|maj|adm|rev|hon|sen|rep|gov|pres|jr|sr
    | al|vs|cf|inc|ltd|corp|co|bros|approx|dept|univ|ave|blvd
    | (?P<number>nos?|vols?|pp|figs?|ca|chs?|sec|art|op|jan|feb|mar|apr|aug|sept?|oct|nov|dec))\.$""",
    regex.VERBOSE | regex.V1 | regex.IGNORECASE,
)
BEGINS = regex.compile(  # words that are rarely names: behind an abbreviation with one of them a sentence begins
    r"""[^\p{L}\p{N}]*(?:the|this|these|that|those|an?|its?|he|she|his|her|they|their|there|we|our|you|i|in|on|at|by|for
    |from|of|to|with|as|after|although|because|before|but|and|or|so|during|however|if|since|then|thus|until|when|where
    |while|why|who|what|how|one|some|many|most|other|both|each)(?![\p{L}\p{M}\p{N}.])""",
    regex.VERBOSE | regex.V1 | regex.IGNORECASE,
)


def passage(title: str, text: str) -> str:
    """The text of a document as every system gets it: title and text on two lines."""
    return f"{title}\n{text}" if title else text


def passages(docs: "pd.DataFrame") -> list[str]:
    """The passage of every document of a table with title and text, in its order."""
    return [passage(title, text) for title, text in zip(docs["title"], docs["text"], strict=True)]


def first_words(text: str, most: int) -> str:
    """The text up to the end of its word number `most`; words are what stands between white space."""
    ends = [match.end() for match in UNSPACED.finditer(text)]
    return text if len(ends) <= most else text[: ends[most - 1]]


def unprintable(text: str) -> str | None:
    """The first control character or lone surrogate of a text and its place, in words; None if there is none."""
    match = UNPRINTABLE.search(text)
    if not match:
        return None
    kind = "lone surrogate" if match.group() >= "\ud800" else "control character"
    return f"the {kind} U+{ord(match.group()):04X} at character {match.start() + 1}"


# --- Unicode forms ----------------------------------------------------------------------------------------------------


def canonical(text: str) -> str:
    """The text in the form in which texts are compared: letters composed (NFC), full-width digits and Latin narrow."""
    return unicodedata.normalize("NFC", text).translate(NARROW)


def aligned(text: str) -> tuple[str, Sequence[int]]:
    """The canonical text, and the offset in the text of each of its characters and of its end."""
    if canonical(text) == text:
        return text, range(len(text) + 1)
    pieces, offsets = [], []
    for letter in regex.finditer(r"\X", text):
        pieces.append(canonical(letter[0]))
        offsets += range(letter.start(), letter.start() + len(pieces[-1]))
    return "".join(pieces), [*offsets, len(text)]


def end_of(answer: str, start: int, text: str) -> int:
    """Where the answer ends that stands at an offset of a text, in whichever Unicode form; -1 if it does not."""
    if text.startswith(answer, start):
        return start + len(answer)
    near, offsets = aligned(text[start : start + 4 * len(answer) + 4])  # four signs make one letter, at most
    wanted = canonical(answer)
    return start + offsets[len(wanted)] if near.startswith(wanted) else -1


# --- words ------------------------------------------------------------------------------------------------------------


def words(text: str, *, pieces: bool = False) -> list[str]:
    """The words of a text, without case: letters, their marks and digits; of scripts without spaces every letter.

    With `pieces`, by which Korean is searched without its particles: such scripts and Hangul as letters and as pairs.
    """
    text, found = canonical(text).casefold(), []
    if not JOINED.search(text):
        return SPACED.findall(text)
    for match in WORD.finditer(text):
        if match["solid"] or (pieces and match["hangul"]):
            letters = LETTER.findall(match[0])
            found += letters
            found += map("".join, pairwise(letters)) if pieces else ()
        else:
            found.append(match[0])
    return found


# --- answers ----------------------------------------------------------------------------------------------------------


def normalise(text: str) -> str:
    """SQuAD v1.1's answer normalisation, of the canonical text: lower case, no punctuation, no articles, one space."""
    text = "".join(char for char in canonical(text).lower() if char not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", text).split())


def normalise_korquad(text: str) -> str:
    """KorQuAD 1.0's answer normalisation: quotes and brackets become spaces; lower case, no punctuation, single spaces.

    After its evaluation script (evaluate-v1.0.py, Lim et al. 2019), of the canonical text; articles stay, as Korean has
    none.
    """
    text = canonical(text).translate(KORQUAD_SIGNS).lower()
    return " ".join("".join(char for char in text if char not in string.punctuation).split())


# --- sentences --------------------------------------------------------------------------------------------------------


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end offsets of the sentences of a text, without the white space between them.

    Thai and Lao mark no end: there it is a space between two of their letters.
    """
    spans, start, has_capitals = [], 0, text != text.lower()
    for gap in END.finditer(text):
        if gap.end() < len(text) and _ends(text[start : gap.start() + 1], gap, text[gap.end() :][:40], has_capitals):
            spans.append((start, gap.end()))
            start = gap.end()
    return [span for span in (_trimmed(text, *span) for span in [*spans, (start, len(text))]) if span[0] < span[1]]


def sentence_window(text: str, start: int, end: int, window: int) -> tuple[int, int]:
    """Offsets of the sentences that overlap text[start:end], with `window` more on each side."""
    spans = sentence_spans(text)
    hit = [i for i, (first, last) in enumerate(spans) if first < end and start < last]
    low, high = max(hit[0] - window, 0), min(hit[-1] + window, len(spans) - 1)
    return spans[low][0], spans[high][1]


def sentences(text: str) -> list[str]:
    """The sentences of a text; an empty one is its own."""
    return [text[start:end] for start, end in sentence_spans(text)] or [text]


# A text is near to a question by the idf of the words that both have: each counts once, and the more the fewer of the
# passages have it (Lucene's idf, which is never negative).


def terms_of(text: str) -> set[str]:
    """The distinct words of a text, and of scripts without spaces, and Hangul, its letters and pairs of letters."""
    return set(words(text, pieces=True))


def idf_of_terms(texts: list[str]) -> dict[str, float]:
    """The idf of each word of some passages."""
    having = Counter(term for text in texts for term in terms_of(text))
    return {term: log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for term, n in having.items()}


def nearest_of(question: str, texts: list[str], idf: dict[str, float]) -> str:
    """The text that is nearest to the question, the first of equally near ones."""
    asked = terms_of(question)
    return max(texts, key=lambda one: fsum(idf.get(term, 0.0) for term in asked & terms_of(one)))  # in any order alike


def _ends(before: str, gap: regex.Match[str], after: str, has_capitals: bool) -> bool:
    """Whether a sentence ends at a gap: text before it, its stop included, and the next characters behind it."""
    if gap["full"]:
        return not (gap["shut"] and gap.end() == gap.end("full") and PARTICLE.match(after))
    if not gap["stop"]:
        return True
    follows = after.lstrip("\"'“‘([")[:1]
    if not regex.search(r"\p{L}", before) or (has_capitals and follows.islower()):
        return False  # "1." opens an item of a list; "Why?" she asked
    if DATE.search(before) or (before[-2:-1].isdigit() and follows.isdigit()):
        return False
    short = SHORT.search(before[-12:])
    if short and short["number"]:
        return not follows.isdigit()
    return not short or (has_capitals and BEGINS.match(after) is not None)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())

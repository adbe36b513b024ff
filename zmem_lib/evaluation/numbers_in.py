"""Answers that are numbers: read from text, and compared as T2-RAGBench does (Strich et al., 2506.12071, Number Match).

The benchmark compares absolute values within a relative tolerance and forgives a factor of any power of ten, so that
neither a sign nor million, thousand or percent decides; what is not one number is wrong. Its program takes a bare
number only; here a number may also carry a currency, separators of thousands, parentheses for a minus, a percent sign
or a word of scale. An answer with several different numbers stays wrong. The strict measure keeps sign and scale.
"""

import math
import re
from collections.abc import Sequence

TOLERANCE = 1e-2
SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
NUMBER = re.compile(
    r"(?P<open>\()?(?P<minus>[-−–])?\s?[$€£₩¥]?\s?(?P<late>[-−])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]*\d)|\d+(?:\.\d+)?|\.\d+)(?P<power>[eE][-+]?\d{1,3})?"
    r"\s?(?P<percent>%|percent\b)?\s?(?P<scale>thousand|million|billion|trillion)?(?(open)(?P<close>\)))?",
    re.IGNORECASE,
)


def numbers_in(text: str) -> list[tuple[float, float]]:
    """The numbers of a text in order: each as it stands, with its sign, and the factor that its sign or word says.

    A hyphen behind a letter or a digit is no minus (2018-2019, Q-3).
    """
    found = []
    for match in NUMBER.finditer(text):
        joined = match["minus"] and match.start() > 0 and text[match.start() - 1].isalnum()
        negative = (match["minus"] and not joined) or match["late"] or (match["open"] and match["close"])
        value = float(match["digits"].replace(",", "") + (match["power"] or ""))
        factor = 0.01 if match["percent"] else SCALES.get((match["scale"] or "").lower(), 1.0)
        found.append((-value if negative else value, factor))
    return found


def number_match(answer: str, golds: Sequence[str]) -> float:
    """1 if the answer's only number is that of a gold answer, but for its sign and a power of ten."""
    return float(any(_alike(abs(a), abs(b)) for a, b in _pairs(answer, golds)))


def number_match_strict(answer: str, golds: Sequence[str]) -> float:
    """1 if the answer's only number is that of a gold answer, its sign included.

    Numbers with a percent sign or a word of scale count as they stand or multiplied out, as the gold answer does not
    say in which unit it is.
    """
    pairs = _pairs(answer, golds, scaled=True)
    return float(any(abs(a - b) <= TOLERANCE * abs(b) if b else abs(a) < TOLERANCE for a, b in pairs))


def _pairs(answer: str, golds: Sequence[str], *, scaled: bool = False) -> list[tuple[float, float]]:
    """Readings of the answer's only number beside those of each gold answer's; none where there is not just one."""
    said, wanted = _only(answer, scaled), [reading for gold in golds for reading in _only(gold, scaled)]
    return [(one, other) for one in said for other in wanted]


def _only(text: str, scaled: bool) -> set[float]:
    """The one number of a text; with `scaled` also multiplied out; empty where there are several or none."""
    found = set(numbers_in(text))
    if len(found) != 1:
        return set()
    ((value, factor),) = found
    return {value, value * factor} if scaled else {value}


def _alike(value: float, gold: float) -> bool:
    """Whether two positive numbers are the same but for a power of ten; below the tolerance both count as nothing."""
    if value < TOLERANCE or gold < TOLERANCE:
        return value < TOLERANCE and gold < TOLERANCE
    ratio = value / gold
    return abs(ratio / 10.0 ** round(math.log10(ratio)) - 1) < TOLERANCE

"""Words and figures of which the sentences are made: phrases, names, estimates picked from tables, and verdicts.

Two of the systems that are compared are called better or worse only where the test of their pair, corrected for all
pairs, says so; a control is held against another by the paired bootstrap interval over the same questions.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from zmem_lib.evaluation.metrics import METRICS
from zmem_lib.evaluation.pairs import by_system
from zmem_lib.evaluation.stats import LEVEL, Estimate, bootstrap_mean
from zmem_lib.params import Params
from zmem_lib.systems.systems import SYSTEMS, compared, which
from zmem_lib.tables import in_order

COMPARED, CONTROLS = compared(), which(lambda system: bool(system.given))
RIVALS = tuple(system for system in COMPARED if not system.startswith("zmem"))  # not z-memory, nor a variant of it
SIDES = ("better", "worse", "same")
LABELS = {name: metric.label for name, metric in METRICS.items()}  # in the chapters


@cache
def phrases(language: str) -> dict[str, str]:
    """The format strings of page one and the slides in a language, `en` or `ko`, by key; not to be changed."""
    return yaml.safe_load(Path(__file__).with_name(f"words_{language}.yaml").read_text(encoding="utf-8"))


@cache
def template(name: str) -> Template:
    """A template of this folder, which can say values, sides and names; a value that is missing raises."""
    found = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True)
    found.filters |= {
        "counted": lambda one: most_counted([one]),
        "spoken": spoken,
        "side": side_of,
        "name": name_of,
        "part": part_name,
        "code": in_code,
    }
    found.globals["words"] = phrases("en")
    return found.get_template(name)


def told(sentence: str, **facts: Any) -> str:
    """A sentence of sentences.md.j2 with its facts, on one line."""
    return " ".join(getattr(template("sentences.md.j2").module, sentence)(**facts).split())


def name_of(system: str) -> str:
    """A system's name in an English sentence."""
    return phrases("en").get(f"system.{system}", system)


def part_name(part: str) -> str:
    """What the test questions of a part are about, in English."""
    return phrases("en")[f"part.{part}"]


def values_of(summary: pd.DataFrame, part: str, metric: str, systems: Collection[str]) -> dict[str, Estimate]:
    """The summary's estimates of one metric by system, in the order of the systems."""
    rows: Any = summary[(summary["part"] == part) & (summary["metric"] == metric) & (summary["n"] > 0)].itertuples()
    found = {row.system: Estimate(row.value, row.ci_low, row.ci_high, row.n, row.clusters) for row in rows}
    return {system: found[system] for system in in_order(found, SYSTEMS) if system in systems}


def difference(scores: pd.DataFrame, part: str, metric: str, pair: tuple[str, str], params: Params) -> Estimate:
    """The first system minus the second over the questions that both answered."""
    rows = scores[(scores["part"] == part) & (scores["metric"] == metric) & scores["system"].isin(pair)]
    both, clusters = by_system(rows)
    samples = params.evaluate.bootstrap_samples
    return bootstrap_mean(both[pair[0]] - both[pair[1]], samples, params.seed, clusters=clusters)


def from_both_sides(pairs: pd.DataFrame) -> pd.DataFrame:
    """Every pair of systems twice, as first minus second and as second minus first."""
    turned = pairs.assign(first=pairs["second"], second=pairs["first"], value=-pairs["value"])
    return pd.concat([pairs, turned.assign(ci_low=-pairs["ci_high"], ci_high=-pairs["ci_low"])])


def gaps_of(pairs: pd.DataFrame, part: str, metric: str, system: str = "zmem") -> dict[str, Any]:
    """The rows of pairs that hold a system against each of its rivals, turned so that they are: it minus the rival."""
    both = from_both_sides(pairs[(pairs["part"] == part) & (pairs["metric"] == metric)])
    rows: Any = both[(both["first"] == system) & both["second"].isin(RIVALS)].itertuples()
    return {row.second: row for row in rows}


def side_of(gap: Any) -> str:
    """Better, worse or same (not told apart): by the corrected test of a row of pairs, by a control's interval."""
    told_apart = gap.p_holm < 1 - LEVEL if hasattr(gap, "p_holm") else gap.ci_low > 0 or gap.ci_high < 0
    return "same" if not told_apart else "better" if gap.value > 0 else "worse"


def spoken(one: Any, sign: bool = False) -> str:
    """A value with its interval, two decimals each, on one line."""
    form = "{:+.2f}" if sign else "{:.2f}"
    value, low, high = (form.format(number).replace("-", "−") for number in (one.value, one.ci_low, one.ci_high))
    return f"{value} [{low}, {high}]"


def counted(n: int, clusters: int, words: Mapping[str, str]) -> str:
    """How many questions, and about how many documents where that is known."""
    return words["count.documents"].format(n=n, clusters=clusters) if clusters else str(n)


def most_counted(rows: Iterable[Any], words: Mapping[str, str] | None = None) -> str:
    """The counts of the row, or estimate, with the most questions."""
    most = max(rows, key=lambda row: row.n)
    return counted(int(most.n), int(most.clusters), words or phrases("en"))


def points(difference: float) -> str:
    """A difference of shares in hundredths, with its sign."""
    hundredths = round(100 * difference)
    return f"{hundredths:+d}".replace("-", "−") if hundredths else "0"


def in_code(text: Any) -> str:
    """Anything as code in Markdown, so that nothing in it is markup, on one line."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"


def range_said(sizes: pd.Series, *, join: str, over: str) -> str:
    """The least and the largest of shares, one if they look the same; `over` if none is below 1, empty if none."""
    sizes = sizes.dropna()
    ends = dict.fromkeys(f"{min(one, 1.0):.2f}" for one in (sizes.min(), sizes.max()))
    return "" if sizes.empty else join.join(ends) if sizes.min() <= 1 else over

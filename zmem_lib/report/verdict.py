"""The sentences of page one, each computed from a run's tables, in the run's report_language.

Whether one system is better than another says the corrected test of their pair alone; where no system, the gold passage
included, answers more than a few questions exactly, the answers are said to decide nothing.
"""

from collections.abc import Mapping
from math import ceil, inf
from typing import Any

import pandas as pd

from zmem_lib.data.tuples import parts_of
from zmem_lib.evaluation.retention import FROM_TEXT, OTHER, RANDOM, RIGHT
from zmem_lib.evaluation.stats import LEVEL, POWER, Estimate
from zmem_lib.packaged import title_of
from zmem_lib.params import Params
from zmem_lib.report.findings import right_and_wrong
from zmem_lib.report.wording import (
    RIVALS,
    SIDES,
    counted,
    difference,
    gaps_of,
    most_counted,
    phrases,
    range_said,
    side_of,
    spoken,
    values_of,
)  # fmt: skip
from zmem_lib.systems.evidence import brief_tokens
from zmem_lib.systems.systems import SYSTEMS, which
from zmem_lib.tables import MEASURES, TEST_PARTS

NEAREST = FROM_TEXT[0]
FUSED = ("bm25", "dense")
READS = 0.05  # of exact answers: where nobody has more, they tell nothing of what was read


def reference(summary: pd.DataFrame) -> str:
    """The system that all others are held against: z-memory, or BM25 in a run that has no memory."""
    return "zmem" if (summary["system"] == "zmem").any() else "bm25"


def primary(tables: Mapping[str, pd.DataFrame], params: Params) -> list[str]:
    """A sentence for every test that was fixed beforehand: the difference, who is better, whether they are the same."""
    words, left, said = phrases(params.report.language), [], []
    rows: Any = tables["primary"].itertuples()
    for row in rows:
        sides = {"first": (row.first, row.first_part), "second": (row.second, row.second_part)}
        names = {side: words.get(f"system.{name}", name) for side, (name, _) in sides.items()}
        if not row.n or row.first_part != row.second_part:
            parts = {side: words.get(f"part.{part}", part) for side, (_, part) in sides.items()}
            names = {side: words["primary.of"].format(name=name, part=parts[side]) for side, name in names.items()}
        metric = words.get(f"metric.{row.metric}", row.metric)
        if not row.n:
            left.append(words["primary.left_test"].format(**names, metric=metric))
            continue
        if row.first_part == row.second_part:
            metric = words["primary.of"].format(name=metric, part=words.get(f"part.{row.first_part}", row.first_part))
        place = {"metric": metric, "n": counted(row.n, row.clusters, words), "p": p_said(row.p_holm)}
        facts = {"gap": spoken(row, sign=True), "side": words[f"primary.{side_of(row)}"], "same": sameness(row, words)}
        said.append(words["primary.test"].format(**names, **place, **facts))
    said += [words["primary.left"].format(tests="; ".join(left))] if left else []
    return said or [words["primary.none"]]


def sameness(row: Any, words: Mapping[str, str]) -> str:
    """Whether a row of the table primary shows that its two are the same within the margin; of others not a word."""
    if row.p_same != row.p_same:
        return words["primary.alike"]
    how = "within" if row.p_same < 1 - LEVEL else "beyond"
    if how == "beyond" and side_of(row) != "same":
        return ""
    return words[f"primary.{how}"].format(
        margin=f"{row.margin:g}", p=p_said(row.p_same), least=f"{row.least_margin:.2f}"
    )


def p_said(p: float) -> str:
    """A p-value with its sign, three decimals."""
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def verdict(tables: Mapping[str, pd.DataFrame], params: Params) -> list[str]:
    """Who finds the right document first, whose answers are exact, and whether the block was read, part by part."""
    summary, pairs, words = tables["summary"], tables["pairs"], phrases(params.report.language)
    said = []
    for key, metric in (("verdict.found", "recall@1"), ("verdict.exact", "em")):
        parts = [part_verdict(summary, pairs, part, metric, words=words) for part in TEST_PARTS]
        if any(parts):
            said.append(words[key].format(parts=words["verdict.join"].join(filter(None, parts))))
    said = said or [words["verdict.none"]]
    if reads := list(filter(None, (block_read(tables, part, words) for part in TEST_PARTS))):
        said.append(words["verdict.read"].format(parts=words["verdict.join"].join(reads)))
    return said


def block_read(tables: Mapping[str, pd.DataFrame], part: str, words: Mapping[str, str]) -> str:
    """Whether the answer stands more often in what the right z writes than in a random sentence of its passage."""
    gap, means = against(tables["right_z"], part, RANDOM), in_evidence(tables["summary"], part)
    if gap is None:
        return ""
    key = "verdict.reads" if side_of(gap) == "better" else "verdict.reads_nothing"
    values = {"right": f"{means[RIGHT].value:.2f}", "random": f"{means[RANDOM].value:.2f}"}
    return words[key].format(part=words[f"part.{part}"], n=most_counted([gap], words), **values)


def against(right_z: pd.DataFrame, part: str, other: str, measure: str = "difference") -> Any:
    """The right z against another system: a row of the table right_z, None where there is none or it is not defined."""
    rows = right_z[(right_z["part"] == part) & (right_z["measure"] == measure) & (right_z["against"] == other)]
    return next(rows.dropna(subset=["value"]).itertuples(), None)


def in_evidence(summary: pd.DataFrame, part: str, metric: str = "answer_in_evidence") -> dict[str, Estimate]:
    """What the brief systems have of a measure."""
    return values_of(summary, part, metric, which(lambda system: system.brief))


def part_verdict(
    summary: pd.DataFrame, pairs: pd.DataFrame, part: str, metric: str, *, words: Mapping[str, str]
) -> str:
    """One part and measure: z-memory, or the best retriever of a run without it, against the best of its rivals."""
    found = values_of(summary, part, metric, ("zmem", *RIVALS))
    if not found:
        return ""
    n, said = most_counted(found.values(), words), words[f"part.{part}"]
    top = max(one.value for one in values_of(summary, part, metric, SYSTEMS).values())
    if metric == "em" and top < READS:
        return words["verdict.nothing"].format(part=said, n=n, most=f"{ceil(100 * top) / 100:.2f}")
    name = "zmem" if "zmem" in found else max(found, key=lambda system: found[system].value)
    gaps = {rival: gap for rival, gap in gaps_of(pairs, part, metric, name).items() if rival in found}
    place = {"part": said, "n": n, "name": words[f"system.{name}"], "value": f"{found[name].value:.2f}"}
    if not gaps:
        return words["verdict.alone"].format(**place)
    least = pd.Series([gap.detectable for gap in gaps.values()]).min()  # of those that differ at all
    if least == inf:  # no outcome of so few questions is rare enough
        return words["verdict.few"].format(**place)
    sides = [side_of(gap) for gap in gaps.values()]
    counts = {one: sides.count(one) for one in SIDES} | {"others": len(gaps)}
    if name != "zmem":
        return words["verdict.leader"].format(**place, **counts)
    rival = max(gaps, key=lambda system: found[system].value)
    place |= {"rival": words[f"system.{rival}"], "rival_value": f"{found[rival].value:.2f}"}
    rest = words["verdict.rest"].format(**counts) if len(gaps) > 1 else ""
    return words[f"verdict.{side_of(gaps[rival])}"].format(**place, rest=rest)


def fused(tables: Mapping[str, pd.DataFrame], params: Params) -> list[str]:
    """By part, in a run without a memory: what fusing BM25 and dense does beside the better of the two alone."""
    words, pairs = phrases(params.report.language), tables["pairs"]
    said = []
    for part in TEST_PARTS if not params.has_lm else ():
        found = values_of(tables["summary"], part, "recall@1", (*FUSED, "hybrid-rrf", "hybrid"))
        if len(found) < 4:
            continue
        weak, strong = sorted(FUSED, key=lambda system: found[system].value)
        sides = {name: gaps_of(pairs, part, "recall@1", name)[strong] for name in ("hybrid-rrf", "hybrid")}
        place = {"part": words[f"part.{part}"], "n": most_counted([found[strong]], words)}
        for key, name in {"strong": strong, "weak": weak}.items():
            place |= {key: words[f"system.{name}"], f"{key}_value": f"{found[name].value:.2f}"}
        for key, name in {"rank": "hybrid-rrf", "score": "hybrid"}.items():
            place |= {key: spoken(found[name]), f"{key}_side": words[f"fused.{side_of(sides[name])}"]}
        why = words["fused.weak"].format(**place) if side_of(sides["hybrid-rrf"]) == "worse" else ""
        said.append(words["fused"].format(**place) + why)
    return said


def rule(params: Params) -> str:
    """By what two systems are told apart."""
    return phrases(params.report.language)["verdict.rule"].format(level=f"{1 - LEVEL:.2f}")


def setting(docs: pd.DataFrame, questions: pd.DataFrame, params: Params) -> str:
    """What was run: documents, questions, the size of a block, and what the reader gets."""
    words = phrases(params.report.language)
    parts, splits = docs["part"].value_counts(), questions["split"].value_counts()
    unasked = int((parts_of(questions) == "unasked-document").sum())
    counts = {"seen": parts.get("seen", 0), "new": parts.get("new", 0), "all": len(docs)}
    counts |= {"test": splits.get("test", 0), "new_test": splits.get("new-test", 0), "top_k": params.answer.top_k}
    apart = words["setting.apart"].format(n=unasked) if unasked else ""
    written = "" if params.write.seen == "joint" else words[f"setting.written.{params.write.seen}"]
    memory = params.memory
    block = words[f"setting.block.{memory.kind}"].format(z_tokens=memory.z_tokens, written=written)
    block *= params.has_lm
    run = {"corpus": params.corpus.name, "tokens": params.memory.evidence_tokens, "brief": brief_tokens(params)}
    return words["setting"].format(apart=apart, block=block, **run, **counts)


def controls(tables: Mapping[str, pd.DataFrame], params: Params) -> list[str]:
    """By part: the right z against the wrong ones, whether it is read, what it keeps of the text; the reader."""
    words = phrases(params.report.language)
    parts = [part for part in TEST_PARTS if (tables["summary"]["part"] == part).any()]
    said = [placebo(tables, part, params) for part in parts]
    said += [say(tables, part, words) for say in (read_or_recited, kept) for part in parts]
    said += [bounds(tables["summary"], part, words) for part in parts]
    return [one for one in said if one] or [words["control.none"]]


def placebo(tables: Mapping[str, pd.DataFrame], part: str, params: Params) -> str:
    """The answer in what the right z writes, and in what the best of the wrong ones does; the paired difference."""
    words, (means, best) = phrases(params.report.language), right_and_wrong(tables["summary"], part)
    if not best:
        return ""
    gap = difference(tables["scores"], part, "answer_in_evidence", ("zmem-oracle", best), params)
    place = {"part": words[f"part.{part}"], "n": most_counted([gap], words), "wrong_name": words[f"system.{best}"]}
    place |= {"right": spoken(means["zmem-oracle"]), "wrong": spoken(means[best]), "gap": spoken(gap, sign=True)}
    return words["control.placebo"].format(**place, meaning=words[f"control.{side_of(gap)}"])


def read_or_recited(tables: Mapping[str, pd.DataFrame], part: str, words: Mapping[str, str]) -> str:
    """The answer in what the right z writes to its question and to another one, and in two sentences of the passage."""
    gap, means = against(tables["right_z"], part, RANDOM), in_evidence(tables["summary"], part)
    if gap is None:
        return ""
    other = words["control.read_other"].format(value=spoken(means[OTHER])) if OTHER in means else ""
    values = {"right": spoken(means[RIGHT]), "random": spoken(means[RANDOM]), "nearest": spoken(means[NEAREST])}
    place = {"part": words[f"part.{part}"], "n": most_counted([gap], words)}
    return words["control.read"].format(**place, **values, other=other, meaning=words[f"control.read_{side_of(gap)}"])


def kept(tables: Mapping[str, pd.DataFrame], part: str, words: Mapping[str, str]) -> str:
    """Strict retention: the right z over the best evidence from the text, with both values and the reader's F1."""
    found = (against(tables["right_z"], part, name, "retention") for name in FROM_TEXT)
    if (row := next(filter(None, found), None)) is None:
        return ""
    place = {"part": words[f"part.{part}"], "n": most_counted([row], words), "value": spoken(row)}
    place["name"] = words[f"system.{row.against}"]
    place["over"] = words["control.kept_over"] if row.value > 1 else ""
    for metric, end in (("answer_in_evidence", ""), ("f1", "_f1")):
        means = in_evidence(tables["summary"], part, metric)
        place |= {f"right{end}": f"{means[RIGHT].value:.2f}", f"text{end}": f"{means[row.against].value:.2f}"}
    return words["control.kept"].format(**place)


def bounds(summary: pd.DataFrame, part: str, words: Mapping[str, str]) -> str:
    """What the reader answers without evidence, and with the gold passage."""
    found = values_of(summary, part, "em", ("gold-passage", "closed-book"))
    if len(found) < 2:
        return ""
    closed, gold = spoken(found["closed-book"]), spoken(found["gold-passage"])
    place = {"part": words[f"part.{part}"], "n": most_counted([found["gold-passage"]], words)}
    return words["control.reader"].format(**place, closed=closed, gold=gold)


def limits(tables: Mapping[str, pd.DataFrame], params: Params) -> list[str]:
    """What this run cannot show: seed, size of n, sample, corpus, reader, budget."""
    words = phrases(params.report.language)
    reader = words["limit.scratch"] if params.lm.name == "scratch" else f"`{title_of(params.lm.name)}`"
    if params.answer.reader == "schooled":
        reader = words["limit.schooled"].format(reader=reader)
    reader = f"`{params.answer.api_model}`" if params.answer.reader == "api" else reader
    return [
        words["limit.run"].format(seed=params.seed),
        *sizes(tables, words),
        *([words["limit.synthetic"]] if params.corpus.name == "synthetic" else []),
        words["limit.size"].format(all=f"{len(tables['docs']):,}"),
        *favoured(tables, words),
        words["limit.reader"].format(reader=reader) if params.has_lm else words["limit.unread"],
        words["limit.budget"].format(top_k=params.answer.top_k, tokens=params.memory.evidence_tokens),
    ]


def favoured(tables: Mapping[str, pd.DataFrame], words: Mapping[str, str]) -> list[str]:
    """That z-memory puts new documents first where seen ones are asked for, if it does so more often than by chance."""
    new, found = (tables["docs"]["part"] == "new"), values_of(tables["summary"], "seen", "new_first", ("zmem", "bm25"))
    if "zmem" not in found or found["zmem"].ci_low <= new.mean():
        return []
    rival = words["limit.favoured_rival"].format(value=spoken(found["bm25"])) if "bm25" in found else ""
    place = {"n": most_counted([found["zmem"]], words), "new": f"{new.sum():,}", "all": f"{len(new):,}", "rival": rival}
    return [words["limit.favoured"].format(**place, value=spoken(found["zmem"]))]


def sizes(tables: Mapping[str, pd.DataFrame], words: Mapping[str, str]) -> list[str]:
    """What so many questions could have shown, part by part, and of how many test questions they are a sample."""
    summary, asked = tables["summary"], parts_of(tables["questions"]).value_counts()
    shown, sampled = [], []
    for part in TEST_PARTS:
        rows = summary[(summary["part"] == part) & summary["metric"].isin(MEASURES)]
        n = int(rows["n"].max()) if len(rows) else 0
        place = {"part": words[f"part.{part}"]}
        if least := detectable(tables, part, words):
            shown.append(words["limit.shown"].format(**place, n=most_counted(rows.itertuples(), words), least=least))
        if 0 < n < asked.get(part, 0):
            sampled.append(words["limit.of"].format(**place, n=n, all=asked[part]))
    said = [words["limit.power"].format(parts="; ".join(shown), power=round(100 * POWER))] if shown else []
    return said + ([words["limit.sample"].format(parts="; ".join(sampled))] if sampled else [])


def detectable(tables: Mapping[str, pd.DataFrame], part: str, words: Mapping[str, str]) -> str:
    """The differences from z-memory (or BM25) in recall@1 and exact match that n questions would have shown."""
    pairs, name, said = tables["pairs"], reference(tables["summary"]), []
    mine = pairs[(pairs["part"] == part) & ((pairs["first"] == name) | (pairs["second"] == name))]
    for metric in ("recall@1", "em"):
        sizes = mine.loc[mine["metric"] == metric, "detectable"]  # of all the pairs
        if size := range_said(sizes, join="–", over=words["limit.over"]):
            said.append(words["limit.least"].format(size=size, metric=words[f"metric.{metric}"]))
    return ", ".join(said)

"""A few test questions side by side: what each system found, wrote and answered, so that its failures can be seen.

The questions are drawn with the run's seed, in turn from every part and every way in which z-memory and BM25 are right
or wrong: rare cases are seen too, and how many there are in the run stands in the table above them.
"""

from collections.abc import Mapping
from html import escape
from itertools import zip_longest
from typing import Any

import pandas as pd
from IPython.core.display import HTML

from zmem_lib.params import Params
from zmem_lib.report.tables import MISSING, NO_MATHJAX, attribution, cut, html_table, not_shown
from zmem_lib.report.verdict import READS
from zmem_lib.report.wording import COMPARED
from zmem_lib.systems.systems import SYSTEMS, which
from zmem_lib.tables import TEST_PARTS, in_order

COUNT = 20  # of questions
PAIR = ("zmem", "bm25")  # whose right and wrong answers the questions are drawn by
SHOWN = (*COMPARED, *which(lambda system: system.reference))  # the latter tell a wrong document from a wrong reading
AT_ONCE, MOST = 110, 1500  # characters of an evidence that are seen at once, and unfolded
RIGHT: dict[Any, str] = {True: "right", False: "wrong"}  # an answer; where it is not scored, nothing
LEFT = "text-align: left; vertical-align: top"
HEADS = {"system": "18%", "first document": "24%", "evidence": "38%", "answer": "20%"}  # column: its width
MEANT = {
    "em": "whether the answer equals a gold answer (exact match)",
    "recall@1": "whether a gold document comes first, as hardly any answer is exact, or there is no reader",
}


def side_by_side(
    answers: Mapping[str, pd.DataFrame], questions: pd.DataFrame, *, scores: pd.DataFrame, docs: pd.DataFrame,
    params: Params,
) -> HTML:  # fmt: skip
    """Up to COUNT test questions, a block each; where texts are not published, only how many there are of each kind."""
    metric = judged_by(scores)
    right = outcomes(answers, scores, metric)
    picked = pick(right, params.seed)
    told = f"{html_table(kinds(right, picked), index=False).data}<p>Right and wrong: {MEANT[metric]}.</p>"
    if not params.corpus.publish_text:
        return HTML(f"{told}{not_shown({'questions': len(picked)}).data}")
    asked = questions.set_index("question_id")
    titles = dict(zip(docs["doc_id"], docs["title"], strict=True))
    there = [name for name in SHOWN if name in answers]
    given = {name: answers[name].drop_duplicates("question_id").set_index("question_id") for name in there}
    read = any((table["answer"] != "").any() for table in given.values())
    exact = outcomes(answers, scores if read else scores.iloc[:0], "em").reindex(picked)
    blocks = ""
    for number, one in enumerate(picked, start=1):
        place = {"number": number, "id": one, "part": right.at[one, "part"], "titles": titles}
        blocks += _block(asked.loc[one].to_dict(), given, exact.loc[one].to_dict(), place)
    return HTML(f'{told}<div class="{NO_MATHJAX}" style="text-align: left">{blocks}</div>{attribution(params)}')


def judged_by(scores: pd.DataFrame) -> str:
    """What the questions are drawn by: exact match, or recall@1 where no system has more than a few exact answers."""
    exact = scores[(scores["metric"] == "em") & scores["part"].isin(TEST_PARTS) & scores["system"].isin(SHOWN)]
    return "em" if exact.groupby("system")["value"].mean().max() >= READS else "recall@1"


def outcomes(answers: Mapping[str, pd.DataFrame], scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Per test question its part, and for every system shown whether it is right (missing where it is not scored)."""
    rows = scores[(scores["metric"] == metric) & scores["part"].isin(TEST_PARTS) & scores["system"].isin(SHOWN)]
    names = in_order(rows["system"][rows["system"].isin(list(answers))], SYSTEMS)
    right = rows.pivot(index="question_id", columns="system", values="value").reindex(columns=names)
    parts = rows.drop_duplicates("question_id").set_index("question_id")["part"]
    right = right.eq(1.0).where(right.notna()).astype(object)
    return right.rename_axis(columns=None).assign(part=parts).sort_index()


def pick(right: pd.DataFrame, seed: int, count: int = COUNT) -> list[str]:
    """Ids of `count` questions, in turn from every part and kind, drawn with the seed; in the order of the parts."""
    if right.empty:
        return []
    drawn = right.sample(frac=1, random_state=seed)
    kinds = [list(rows.index) for _, rows in drawn.groupby(_keys(drawn), sort=True, dropna=False)]
    turns = [one for turn in zip_longest(*kinds) for one in turn if one is not None][:count]
    chosen = right.loc[sorted(turns)]
    chosen["part"] = chosen["part"].map(TEST_PARTS.index)
    return chosen.sort_values(_keys(chosen), kind="stable").index.tolist()


def kinds(right: pd.DataFrame, picked: list[str]) -> pd.DataFrame:
    """How many questions there are of each part and kind, and how many of them are shown."""
    keys = _keys(right)
    table = right.assign(questions=1, shown=right.index.isin(picked).astype(int))
    table = table.groupby(keys, sort=True, dropna=False)[["questions", "shown"]].sum().reset_index()
    table["part"] = pd.Categorical(table["part"], in_order(table["part"], TEST_PARTS))
    table = table.sort_values(keys, kind="stable")
    return table.assign(**{name: table[name].map(RIGHT).fillna(MISSING) for name in keys[1:]})


def _keys(right: pd.DataFrame) -> list[str]:
    """What questions are drawn by: the part, and the two systems of PAIR, or else the first that there is."""
    names = [str(name) for name in right if name != "part"]
    return ["part", *([name for name in PAIR if name in names] or names[:1])]


def _block(asked: Mapping, given: Mapping[str, pd.DataFrame], exact: Mapping, place: Mapping) -> str:
    """One question with its gold answers, and what the systems made of it: those that agree in all share a row."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for system, table in given.items():
        if place["id"] in table.index:
            one = table.loc[place["id"]]
            document = _document(list(one["ranked_doc_ids"]), set(asked["gold_doc_ids"]), place["titles"])
            said = RIGHT.get(exact.get(system))
            mark = f'<small class="{said}">{said}</small>' if said else ""
            answer = f"{_folded(one['answer'])}<br>{mark}"
            rows.setdefault((document, _folded("\n".join(one["evidence"])), answer), []).append(system)
    kind = f"{place['part']}, {asked['kind']}" if asked["kind"] else place["part"]
    golds = escape(cut(" / ".join(dict.fromkeys(asked["answers"])), MOST))
    question = f"<strong>{place['number']}. {escape(cut(asked['question'], MOST))}</strong>"
    top = f'<p style="margin: 1.4em 0 .3em">{question}<br>Gold answer: <strong>{golds}</strong> '
    top += f"<small>({escape(kind)}; {escape(place['id'])})</small></p>"
    heads = "".join(f'<th style="{LEFT}; width: {width}">{name}</th>' for name, width in HEADS.items())
    body = ""
    for cells, systems in rows.items():
        line = (f'<td style="{LEFT}; overflow-wrap: anywhere">{cell}</td>' for cell in ("<br>".join(systems), *cells))
        body += f"<tr>{''.join(line)}</tr>"
    return f'{top}<table style="width: 100%; table-layout: fixed"><tr>{heads}</tr>{body}</table>'


def _document(ranked: list[str], gold: set[str], titles: Mapping[str, str]) -> str:
    """The first document by title and id, and at which rank a gold one stands."""
    if not ranked:
        return MISSING
    rank = next((place for place, one in enumerate(ranked, start=1) if one in gold), None)
    said = "<strong>gold</strong>" if rank == 1 else f"gold: rank {rank}" if rank else f"no gold in {len(ranked)}"
    named = f"{escape(cut(titles.get(ranked[0], ''), AT_ONCE))} <small>{escape(ranked[0])}</small>"
    return f"{named}<br><small>{said}</small>"


def _folded(text: str) -> str:
    """The beginning of a text, which unfolds to the rest of it."""
    text = " ".join(text.split())
    if len(text) <= AT_ONCE:
        return escape(text) or MISSING
    return f"<details><summary>{escape(text[:AT_ONCE])}…</summary>…{escape(cut(text[AT_ONCE:], MOST))}</details>"

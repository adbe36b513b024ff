"""Tables of chapters 03 to 07 and the sentences with them: the model, training, writing, answers, evaluation, judges.

What chapters 01 and 02 show is computed in their own cells.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from IPython.core.display import HTML, Markdown

from zmem_lib.evaluation.metrics import FIELD, METRICS, RETRIEVAL_METRICS
from zmem_lib.evaluation.primary import PRIMARY
from zmem_lib.evaluation.retention import LEAST
from zmem_lib.evaluation.risk import BOUNDS, RISK
from zmem_lib.evaluation.stats import LEVEL
from zmem_lib.judges.corrected import BOTH, JUDGE, LEAST_LABELS, PEOPLE
from zmem_lib.judges.judgement import CHECKER_METRICS, RAGAS_METRICS, TRACE_METRICS
from zmem_lib.packaged import title_of
from zmem_lib.params import Params, dumped
from zmem_lib.report.figures import CONFIDENCE, FAILURES
from zmem_lib.report.tables import cut, estimate, grid, html_table, text_table
from zmem_lib.report.wording import (
    COMPARED,
    LABELS,
    from_both_sides,
    most_counted,
    part_name,
    points,
    template,
    told,
)  # fmt: skip
from zmem_lib.systems.systems import SYSTEMS, which
from zmem_lib.tables import ABSENT, CHANCES, CONTEXTS, PARTS, TEST_PARTS, in_order, read_table

if TYPE_CHECKING:
    from zmem_lib.memory.lessons import Lessons
    from zmem_lib.memory.lm import MemoryLM

MAIN_METRICS = ("em", "f1", "answer_in_evidence", "evidence_tokens", "recall@1", "mrr@10", "ndcg@10")
FIELD_METRICS = (*FIELD, *(name for name, metric in METRICS.items() if metric.corpus))
RAGAS = tuple(name for name in METRICS if name.startswith("ragas_"))  # those that need no judge
BRIEF = which(lambda system: system.brief)  # z-memory, and evidence of as many tokens
CONTROLLED = (*BRIEF, *CHANCES)
ALL = (*SYSTEMS, *CHANCES)
PAID = "$ per 1,000 answers"  # to an address, for reading
PAIRED = ("em", "answer_in_evidence", "recall@1")  # of the measures whose differences are tested
APART = {"seen": "with", "unasked-document": "without"}  # parts: documents with and without training questions
APART_METRICS = ("recall@1", "answer_in_evidence", "em", "f1")
ABSTAINED = {
    "aurc": "AURC", "coverage@risk": f"coverage at risk {RISK}", "auroc": "AUROC", "answered": "answered",
    "refused": "refused", "risk": "risk of the answered",
}  # fmt: skip
JUDGED = {
    "ragas": RAGAS_METRICS, "RAGChecker, the whole and the choosing": CHECKER_METRICS[:5],
    "RAGChecker, the reader": CHECKER_METRICS[5:], "RAGBench": TRACE_METRICS,
}  # fmt: skip
JUDGES = {BOTH: "*", PEOPLE: "†"}  # behind a share: who judged, where it is not the judge alone
ON_AVERAGE = {  # column of answers: its head, its digits
    "seconds": ("seconds per answer", 4), "input_tokens": ("input tokens", 1), "output_tokens": ("output tokens", 1),
    "evidence_tokens": ("evidence tokens", 1),
}  # fmt: skip


# Chapters 03 and 04: the model, training and writing


def model_card(params: Params, schooled: Mapping[str, str] | None = None) -> str:
    """README.md of a saved model: what it is, how it was made, how to load it; with the front matter of the hub.

    Of a model that was `schooled` also what, by name, is to be said of that.
    """
    front = {"library_name": "transformers" if params.learns_whole else "peft", "tags": ["zmem", "soft-prompt"]}
    front |= {} if params.lm.name == "scratch" else {"base_model": title_of(params.lm.name)}
    shown = {"front": yaml.safe_dump(front, sort_keys=False), "parameters": dumped(params), "schooled": schooled or {}}
    return template("model_card.md.j2").render(params=params, **shown)


def lm_sizes(memory_lm: "MemoryLM", params: Params, *, n_documents: int) -> pd.DataFrame:
    """Sizes of the language model and of the memory: blocks and keys."""
    learning = [weight.numel() for weight in memory_lm.lm.parameters() if weight.requires_grad]
    k, width, key_width = params.memory.z_tokens, memory_lm.heads.width, params.memory.key_width
    vocabulary, hidden = memory_lm.lm.get_input_embeddings().weight.shape  # (V,D)
    facts = {
        "language model": f"{title_of(params.lm.name)} {params.lm.revision}".strip(),
        "weights (millions)": f"{memory_lm.causal.num_parameters() / 1e6:.2f}",
        "of which learn (millions)": f"{sum(learning) / 1e6:.2f}",
        "quantisation of the frozen weights": params.lm.quantisation,
        "vocabulary V (tokens)": f"{vocabulary:,}",
        "hidden size D": f"{hidden}",
        "blocks z, N × K × W": f"{n_documents:,} × {k} × {width}",
        "keys, N × E": f"{n_documents:,} × {key_width}",
        "blocks and keys (MiB, float32)": f"{n_documents * (k * width + key_width) * 4 / 2**20:.2f}",
        "arithmetic": str(memory_lm.dtype).removeprefix("torch."),
        "device": str(memory_lm.device),
    }
    return pd.DataFrame(facts.items(), columns=["what", "value"]).set_index("what")


def lesson_counts(lessons: "Lessons") -> pd.DataFrame:
    """Rows and mean tokens of each kind of lesson, how often training sees each row, and how many were cut."""
    train = lessons.params.train
    kinds = {"tuples": ([lessons.tuple_row(i) for i in range(len(lessons.tuples))], train.batch_tuples)}
    if train.recite_weight:
        kinds["recitations"] = ([lessons.recitations(i)[0] for i in range(len(lessons.docs))], train.batch_recite)
    kinds["dev tuples"] = (lessons.dev_rows, 0)
    counts = {}
    for name, (rows, batch) in kinds.items():
        tokens = [len(row.ids) for row in rows] or [0]
        mean, seen = sum(tokens) / len(tokens), train.steps * batch / len(tokens)
        counts[name] = {"rows": len(rows), "tokens, mean": mean, "tokens, most": max(tokens), "times seen": seen}
    return pd.DataFrame.from_dict(counts, orient="index").round(1)


def asked_table(asked: pd.DataFrame, counts: pd.DataFrame, params: Params) -> HTML:
    """What became of the model's own questions, and below it a few that were kept, with their evidence."""
    table = html_table(counts[["what", "n"]].rename(columns={"what": "questions", "n": "number"}), index=False)
    examples = text_table(asked[["question", "evidence"]].head(6), params, {"questions kept": len(asked)})
    return HTML(f"{table.data}{examples.data}") if len(asked) else table


def cut_sentence(lengths: pd.Series, limit: int, what: str) -> Markdown:
    """How many documents are longer than the token limit and are cut there."""
    return Markdown(told("cut_sentence", lengths=lengths, n_cut=int((lengths > limit).sum()), limit=limit, what=what))


def training_finding(train_log: pd.DataFrame, seconds: float) -> Markdown:
    """First and last loss of every term, and the time that training took."""
    lines = [f"{int(train_log.step.max()):,} steps; the whole chapter took {seconds / 60:.1f} minutes.\n"]
    for (term, split), log in train_log.sort_values("step", kind="stable").groupby(["term", "split"], sort=False):
        lines.append(f"- `{term}` ({split}): {log.nll.iloc[0]:.2f} → **{log.nll.iloc[-1]:.2f}** nats per token")
    return Markdown("\n".join(lines))


def writing_finding(write_log: pd.DataFrame) -> Markdown:
    """For each start: recite loss and share recited before and after writing, and milliseconds per document."""
    starts = write_log.sort_values("step", kind="stable").groupby("start", sort=False)
    said = (told("writing_finding", start=start, first=log.iloc[0], last=log.iloc[-1]) for start, log in starts)
    return Markdown("\n".join(said))


# Chapter 05: answers


def encoder_said(encoder: Any, index: Any, params: Params) -> Markdown:
    """How the embeddings were made: what stood before the texts, what was cut, how they compare; and who reads here."""
    from zmem_lib.opponents.dense import DOCUMENT, QUERY, by_cosine  # imports faiss

    facts = {"model": Path(params.answer.dense_model).name, "cosine": by_cosine(encoder), "params": params}
    facts |= {"cut": index.cut, "n": len(set(index.doc_ids))}
    before = [encoder.prompts[role] for role in (QUERY, DOCUMENT)]
    return Markdown(told("encoder_said", before=before, encoder=encoder, **facts))


def answers_overview(answers_by_system: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per system: the number of answers n, mean seconds and tokens of one answer, and dollars where any were paid."""
    rows = {}
    for name in in_order(answers_by_system, SYSTEMS):
        answers = answers_by_system[name]
        means = {head: round(answers[column].mean(), digits) for column, (head, digits) in ON_AVERAGE.items()}
        rows[name] = {"n": len(answers), **means, PAID: round(1000 * answers["money"].mean(), 4)}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
    return table if table[PAID].any() else table.drop(columns=PAID)


def answering_finding(seconds: float, test: pd.DataFrame, docs: pd.DataFrame, params: Params) -> Markdown:
    """How many questions were answered over how many documents, in what time, and who read for all systems."""
    facts = {"minutes": seconds / 60, "test": len(test), "docs": len(docs)}
    return Markdown(told("answering_finding", params=params, **facts))


def noise_overview(noise: pd.DataFrame) -> HTML:
    """Part, kind and system by the share of items replaced: exact match with its interval."""
    rows = noise[noise["metric"] == "em"]
    table = grid(rows, ["part", "kind", "system"], ["share"], estimate, share=sorted(set(rows["share"])))
    table.columns = [f"{100 * share:.0f} %" for share in table.columns.tolist()]
    caption = "Exact match by the share of the evidence items that is replaced; mean and 95 % interval."
    return html_table(with_n(table, rows), caption)


# Chapter 06: evaluation


def printed_summary(folder: Path) -> str:
    """The main figures of every system of a run, one row each, for a terminal."""
    summary = read_table(folder / "summary.parquet", "summary")
    shown = summary[summary["metric"].isin(["answer_in_evidence", "em", "f1", "recall@1"])]
    table = shown.pivot_table(index="system", columns=["part", "metric"], values="value", sort=False)
    table = table.reindex(list(dict.fromkeys(summary["system"])))
    table = table.reindex(columns=[part for part in TEST_PARTS if part in table], level=0)
    told = f"{folder.name}: means over questions; intervals and other metrics in {folder / 'summary.parquet'}"
    return f"\n{told}\n\n{table.to_string(float_format='{:.3f}'.format, na_rep='-')}\n"


def summary_tables(
    summary: pd.DataFrame, metrics: Sequence[str] = MAIN_METRICS, *, systems: Sequence[str] = ALL
) -> HTML:
    """Systems by metrics, a table for every part of test questions: mean and interval, bold the best score compared."""
    tables = []
    for part in (part for part in TEST_PARTS if (summary["part"] == part).any()):
        rows = summary[(summary["part"] == part) & summary["metric"].isin(metrics) & summary["system"].isin(systems)]
        orders = {"system": systems, "metric": metrics}
        table = grid(rows, ["system"], ["metric"], _mean, **orders).rename(columns=LABELS)
        values = grid(rows, ["system"], ["metric"], lambda row: row.value, **orders).rename(columns=LABELS)
        rivals = [name for name in table.index if name in COMPARED]
        scored = values.loc[rivals].drop(columns=LABELS["evidence_tokens"], errors="ignore")
        bold = (scored.eq(scored.max()) & scored.gt(0) & (len(rivals) > 1)).reindex_like(table).eq(True)
        n = most_counted(rows.itertuples()) if len(rows) else 0
        caption = f"Part {part}: n = {n} per system; mean and 95 % interval."
        caption += f" Bold: best of {', '.join(rivals)}." if bold.any(axis=None) else ""
        tables.append(html_table(table, caption, bold=bold).data)
    return HTML("\n".join(tables))


def pair_tables(pairs: pd.DataFrame) -> HTML:
    """Row minus column in points, for every part and measure; bold where the corrected p is below the level."""
    tables, orders = [], {"first": COMPARED, "second": COMPARED}
    for part, metric in product(in_order(pairs["part"], PARTS), PAIRED):
        rows = pairs[(pairs["part"] == part) & (pairs["metric"] == metric)]
        both = from_both_sides(rows)
        table = grid(both, ["first"], ["second"], lambda row: points(row.value), **orders).fillna("")
        bold = grid(both, ["first"], ["second"], lambda row: row.p_holm < 1 - LEVEL, **orders).eq(True)
        if rows.empty:
            continue
        first = [f"{row.first} and {row.second}" for row in rows[rows["family"] == PRIMARY].itertuples()]
        facts = {"label": LABELS[metric], "n": most_counted(rows.itertuples()), "p": 1 - LEVEL}
        caption = told("pair_tables", part=part, pairs=len(rows) - len(first), primary="; ".join(first), **facts)
        tables.append(html_table(table, caption, bold=bold).data)
    return HTML("\n".join(tables))


def primary_overview(primary: pd.DataFrame) -> HTML:
    """The tests that were fixed beforehand: difference, p, the least difference and the least margin to be shown."""
    places = [("first", "first_part"), ("second", "second_part")]
    names = {side: [f"{name}, {part}" for name, part in primary[[side, of]].to_numpy()] for side, of in places}
    table = pd.DataFrame({**names, "measure": [LABELS.get(name, name) for name in primary["metric"]]})
    table["difference"] = [estimate(row) if row.n else None for row in primary.itertuples()]
    heads = {"p_holm": "p, Holm", "detectable": "difference to be seen", "p_same": "p of sameness, Holm"}
    heads |= {"least_margin": "margin to be seen"}
    for name, head in heads.items():
        table[head] = [None if pd.isna(value) else f"{value:.3f}" for value in primary[name]]
    for name, head in {"n": "n", "clusters": "documents"}.items():
        table[head] = primary[name].astype(object).where(primary[name] > 0, None)
    return html_table(table, told("primary_overview", margin=primary["margin"].max()), index=False)


def context_overview(contexts: pd.DataFrame) -> HTML:
    """Part, system and right context by MIRAGE's four measures: the share of the questions in each, with interval."""
    table = with_n(grid(contexts, ["part", "system", "right"], ["metric"], estimate, metric=CONTEXTS), contexts)
    caption = "Shares of the questions, 95 % interval; of each row they add up to 1. Right: the context of the oracle."
    return html_table(table, caption)


def right_z_overview(right_z: pd.DataFrame) -> HTML:
    """What the right z writes against the evidence from its text and its controls, by part."""

    def cell(row: Any) -> str:
        return estimate(row) if row.value == row.value else "not defined"

    table = grid(right_z, ["part", "against"], ["measure"], cell, measure=("retention", "difference"))
    return html_table(with_n(table, right_z), told("right_z_overview", least=LEAST))


def selector_overview(selectors: pd.DataFrame) -> HTML:
    """Part and selector by retrieval measure, with milliseconds per question."""
    rows = selectors[selectors["metric"].isin(RETRIEVAL_METRICS)]
    table = grid(rows, ["part", "selector"], ["metric"], estimate, metric=RETRIEVAL_METRICS).rename(columns=LABELS)
    seconds = selectors[selectors["metric"] == "seconds"].set_index(["part", "selector"])["value"]
    table["ms per question"] = [f"{1000 * seconds[place]:.1f}" for place in table.index]
    caption = "Documents found by each way of choosing, among all of the corpus; mean and 95 % interval."
    return html_table(with_n(table, rows), caption)


def abstention_overview(abstention: pd.DataFrame) -> HTML:
    """Part, system and score by metric: each value with its interval."""
    rows = abstention[abstention["n"] > 0]
    orders = {"part": ("answerable", "all", ABSENT), "score": (*CONFIDENCE, *BOUNDS), "metric": tuple(ABSTAINED)}
    table = grid(rows, ["part", "system", "score"], ["metric"], estimate, **orders)
    table = with_n(table.rename(columns=ABSTAINED), rows)
    return html_table(table, "Knowing when not to answer: value and 95 % interval.")


def failure_table(failures: pd.DataFrame) -> HTML:
    """Counts of right answers and of each kind of failure by part and system."""
    counts = failures.groupby(["part", "system", "failure"], sort=False).size().rename("n").reset_index()
    table = grid(counts, ["part", "system"], ["failure"], lambda row: row.n)
    table = table.reindex(columns=list(FAILURES)).astype(float).fillna(0).astype(int)
    return html_table(table.assign(n=table.sum(axis="columns")), "Number of questions by kind of failure.")


def examples_or_counts(failures: pd.DataFrame, questions: pd.DataFrame, folder: Path, params: Params) -> HTML:
    """Two answers of z-memory of each kind in each part, with what it read and wrote; unpublished, only counts."""
    path = folder / "answers_zmem.parquet"
    if not params.corpus.publish_text or not path.exists():
        return failure_table(failures)
    kept = failures[(failures["system"] == "zmem") & failures["part"].isin(TEST_PARTS)]
    kept = kept.groupby(["part", "failure"]).head(2).merge(questions[["question_id", "question", "answers"]])
    answers = read_table(path, "answers")[["question_id", "evidence", "answer"]]
    kept = kept.merge(answers.assign(evidence=answers["evidence"].map("\n".join)))
    places = {"part": TEST_PARTS, "failure": list(FAILURES)}
    for name, order in places.items():
        kept[name] = pd.Categorical(kept[name], order)
    kept = kept.sort_values([*places, "question_id"])
    texts = {name: [cut(text, 160) for text in kept[name]] for name in ("question", "evidence", "answer")}
    golds = [cut(" / ".join(answers), 160) for answers in kept["answers"]]
    table = kept[["part", "failure"]].rename(columns={"failure": "kind"}).astype(str).assign(**texts, gold=golds)
    return text_table(table, params, {"answers": len(failures)}, "Examples of zmem.")


def apart_overview(summary: pd.DataFrame) -> HTML:
    """What must find its document, and what is given it: questions about asked and about unasked documents."""
    shown = (*COMPARED, "zmem-oracle", "gold-passage", "closed-book")
    rows = summary[summary["part"].isin(APART) & summary["metric"].isin(APART_METRICS) & summary["system"].isin(shown)]
    table = grid(rows, ["system"], ["metric", "part"], estimate, metric=APART_METRICS, system=shown)
    table.columns = [f"{LABELS[metric]}\n{APART[part]}" for metric, part in table.columns]
    n = {part: most_counted(some.itertuples()) for part, some in rows.groupby("part")}
    sizes = [f"{said} {n[part]}" for part, said in APART.items() if part in n]
    caption = f"Seen documents with and without training questions (n: {', '.join(sizes)}); mean and 95 % interval."
    return html_table(table, caption)


def with_n(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The table with the largest number of questions, and of documents, of each of its rows behind it."""
    most = rows.groupby(list(table.index.names))[["n", "clusters"]].max().reindex(table.index)
    return table.assign(n=most["n"], documents=most["clusters"].astype(object).where(most["clusters"] > 0, None))


def _mean(row: Any) -> str:
    return "none" if row.n == 0 else f"{row.value:.0f}" if row.metric.endswith("_tokens") else estimate(row)


# Chapter 06: judges


def judges_said(about: Mapping[str, Any], judged: pd.DataFrame, params: Params) -> Markdown:
    """Who judged what, how often that failed, what it cost, and whether people's verdicts corrected the judge's."""
    model, labels = str(about.get("model")), params.evaluate.human_labels
    model = Path(model).name if Path(model).is_dir() else model  # a page says nothing of this machine's folders
    used = judged[judged["part"].isin(TEST_PARTS) & (judged["by"] != JUDGE)]["labels"].sum()
    facts = {"model": model, "labels": Path(labels).name, "least": LEAST_LABELS}
    return Markdown(told("judges_said", about=about, used=used, **facts))


def judged_tables(judged: pd.DataFrame) -> list[HTML]:
    """A table for every part and group of measures: systems by measures, mean, interval and coverage; may be none."""
    tables = []
    for part in [part for part in TEST_PARTS if (judged["part"] == part).any()]:
        for group, metrics in JUDGED.items():
            rows = judged[(judged["part"] == part) & judged["metric"].isin(metrics)]
            table = grid(rows, ["system"], ["metric"], _judged, metric=metrics)
            table.columns = [name.partition("_")[2].replace("_", " ") for name in table.columns]
            caption = f"{group}, {part_name(part)}: mean, 95 % interval, and of how many answers there is a verdict"
            tables += [html_table(with_n(table, rows), f"{caption} (coverage).")] if len(rows) else []
    return tables


def _judged(row: Any) -> str:
    coverage = f"{row.n} of {row.asked}"
    if not row.n:
        return f"none\n{coverage}"
    value, interval = estimate(row).split("\n")
    return f"{value}{JUDGES.get(row.by, '')}\n{interval}\n{coverage}"

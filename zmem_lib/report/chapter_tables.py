"""Tables of chapters 03 to 07 and the sentences with them: the model, training, writing, answers, evaluation, judges.

Data frames in; HTML (tables.html_table), a data frame or Markdown out. What chapters 01 and 02 show is computed in
their own cells.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import HTML, Markdown

from zmem_lib.evaluation.metrics import FIELD, RAGAS_ANSWER_METRICS, RAGAS_CONTEXT_METRICS
from zmem_lib.evaluation.numbers_in import NUMBERS
from zmem_lib.evaluation.risk import BOUNDS, RISK
from zmem_lib.evaluation.stats import LEVEL
from zmem_lib.judges.corrected import BOTH, JUDGE, LEAST_LABELS, PEOPLE
from zmem_lib.judges.judgement import CHECKER_METRICS, RAGAS_METRICS, TRACE_METRICS
from zmem_lib.params import Params
from zmem_lib.report.figures import CONFIDENCE, FAILURES
from zmem_lib.report.tables import cut, estimate, grid, html_table, text_table
from zmem_lib.report.wording import COMPARED, CONTROLS, LABELS, from_both_sides, in_code, part_name, points
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import ABSENT, CHANCES, CONTEXTS, PARTS, TEST_PARTS, in_order, read_table

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from zmem_lib.memory.lessons import Lessons
    from zmem_lib.memory.lm import MemoryLM

MAIN_METRICS = ("em", "f1", "answer_in_evidence", "evidence_tokens", "recall@1", "mrr@10", "ndcg@10")
FIELD_METRICS = (*FIELD, *NUMBERS)  # the latter only where gold answers are numbers
RAGAS = (*RAGAS_CONTEXT_METRICS, *RAGAS_ANSWER_METRICS)  # those that need no judge
CONTROLLED = ("zmem", *CONTROLS, *CHANCES)  # z-memory beside its controls
ALL = (*SYSTEMS, *CHANCES)
PAID = "$ per 1,000 answers"  # to an address, for reading
RANKED = ("recall@1", "recall@5", "recall@20", "mrr@10", "ndcg@10")
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


# Chapters 03 and 04: the model, training and writing


def lm_sizes(memory_lm: "MemoryLM", params: Params, *, n_documents: int) -> pd.DataFrame:
    """Sizes of the language model and of the memory: blocks and keys."""
    learning = [weight.numel() for weight in memory_lm.lm.parameters() if weight.requires_grad]
    k, width, key_width = params.memory.z_tokens, memory_lm.heads.width, params.memory.key_width
    facts = {
        "language model": f"{params.lm.name} {params.lm.revision}".strip(),
        "weights (millions)": f"{memory_lm.causal.num_parameters() / 1e6:.2f}",
        "of which learn (millions)": f"{sum(learning) / 1e6:.2f}",
        "quantisation of the frozen weights": params.lm.quantisation,
        "vocabulary V (tokens)": f"{memory_lm.embeddings.shape[0]:,}",
        "hidden size D": f"{memory_lm.embeddings.shape[1]}",
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
        seen = round(train.steps * batch / len(tokens), 1)
        mean = round(sum(tokens) / len(tokens), 1)
        counts[name] = {"rows": len(rows), "tokens, mean": mean, "tokens, most": max(tokens), "times seen": seen}
    return pd.DataFrame.from_dict(counts, orient="index")


def asked_table(asked: pd.DataFrame, counts: pd.DataFrame, params: Params) -> HTML:
    """What became of the model's own questions, and below it a few that were kept, with their evidence."""
    table = html_table(counts[["what", "n"]].rename(columns={"what": "questions", "n": "number"}), index=False)
    if asked.empty:
        return table
    examples = asked[["question", "evidence"]].head(6)
    return HTML(f"{table.data}{text_table(examples, params, {'questions kept': len(asked)}).data}")


def cut_sentence(lengths: pd.Series, limit: int, what: str) -> Markdown:
    """How many documents are longer than the token limit and are cut there."""
    n_cut = int((lengths > limit).sum())
    if not n_cut:
        return Markdown(f"No {what} is longer than the limit of {limit} tokens.")
    return Markdown(
        f"**{n_cut} of {len(lengths)} {what}s are longer than {limit} tokens and are cut there**; the longest has "
        f"{int(lengths.max())}. Raise `memory.document_tokens` (and `lm.window_tokens`) to keep them whole."
    )


def training_finding(train_log: pd.DataFrame, seconds: float) -> Markdown:
    """First and last loss of every term, and the time that training took."""
    lines = [f"{int(train_log.step.max()):,} steps; the whole chapter took {seconds / 60:.1f} minutes.\n"]
    for (term, split), log in train_log.sort_values("step", kind="stable").groupby(["term", "split"], sort=False):
        lines.append(f"- `{term}` ({split}): {log.nll.iloc[0]:.2f} → **{log.nll.iloc[-1]:.2f}** nats per token")
    return Markdown("\n".join(lines))


def writing_finding(write_log: pd.DataFrame) -> Markdown:
    """For each start: recite loss and share recited before and after writing, and milliseconds per document."""
    lines = []
    for start, log in write_log.groupby("start", sort=False):
        log = log.sort_values("step")
        first, last = log.iloc[0], log.iloc[-1]
        lines.append(
            f"- start `{start}`: {first.nll:.2f} → **{last.nll:.2f}** nats per token in {int(last.step)} steps, "
            f"recited greedily {first.recited:.0%} → **{last.recited:.0%}** of a text, "
            f"{1000 * last.seconds_per_document:.0f} ms per document ({int(last.n)} documents in batches, "
            f"{last.writing:.0%} of them still being written)"
        )
    return Markdown("\n".join(lines))


# Chapter 05: answers


def encoder_said(encoder: "SentenceTransformer", params: Params) -> Markdown:
    """How the embeddings were made: what stood before the texts, how they are compared, and who reads in this run."""
    from zmem_lib.opponents.dense import DOCUMENT, QUERY, by_cosine  # imports faiss

    before = [f"`{encoder.prompts[role]}`" if encoder.prompts[role] else "nothing" for role in (QUERY, DOCUMENT)]
    said = (
        f"Embeddings by `{Path(params.answer.dense_model).name}`: {before[0]} in front of a question and {before[1]} "
        f"in front of a passage, compared by {'cosine' if by_cosine(encoder) else 'inner product'}, each text cut at "
        f"{encoder.max_seq_length} tokens."
    )
    if not params.has_lm:
        said += (
            " **This run has no language model.** The systems that retrieve passages stand alone, and nobody reads "
            f"what they bring: the evidence of the first {params.answer.top_k}, cut at "
            f"{params.memory.evidence_tokens} words each, is all that is measured. Evidence tokens are words here, and "
            "answers are empty."
        )
    return Markdown(said)


def answers_overview(answers_by_system: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Per system: the number of answers n, mean seconds and tokens of one answer, and dollars where any were paid."""
    digits = {"seconds": 4, "input_tokens": 1, "output_tokens": 1, "evidence_tokens": 1}
    rows = {}
    for name in in_order(pd.Series(list(answers_by_system), dtype=str), SYSTEMS):
        answers = answers_by_system[name]
        means = {column.replace("_", " "): round(answers[column].mean(), places) for column, places in digits.items()}
        rows[name] = {"n": len(answers), **means, PAID: round(1000 * answers["money"].mean(), 4)}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
    table = table.rename(columns={"seconds": "seconds per answer"})
    return table if table[PAID].any() else table.drop(columns=PAID)


def answering_finding(seconds: float, test: pd.DataFrame, docs: pd.DataFrame, params: Params) -> Markdown:
    """How many questions were answered over how many documents, in what time, and who read for all systems."""
    if not params.has_lm:
        reader = "nobody"
    elif params.answer.reader == "api":
        reader = f"`{params.answer.api_model}` at `{params.answer.api_url}`, whose answers are kept and asked for once"
    else:
        reader = f"the run's own model ({'all of it' if params.learns_whole else 'its adapter off'})"
    return Markdown(
        f"Every system answered the same {len(test):,} test questions, choosing among {len(docs):,} documents; "
        f"the chapter took {seconds / 60:.1f} minutes. The reader of all was {reader}. Scores are in chapter 6."
    )


def noise_overview(noise: pd.DataFrame) -> HTML:
    """Part, kind and system by the share of items replaced: exact match with its interval."""
    rows = noise[noise["metric"] == "em"].sort_values("share", kind="stable")
    rows = rows.assign(share=[f"{100 * share:.0f} %" for share in rows["share"]])
    table = grid(rows, ["part", "kind", "system"], ["share"], estimate)
    return html_table(table, "Exact match by the share of the evidence items that is replaced; mean and 95 % interval.")


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
    """The summary table of every part of test questions that there are, one below the other."""
    parts = [part for part in TEST_PARTS if (summary["part"] == part).any()]
    tables = (summary_table(summary, part, metrics=metrics, systems=systems) for part in parts)
    return HTML("\n".join(str(table.data) for table in tables))


def summary_table(
    summary: pd.DataFrame, part: str, *, metrics: Sequence[str] = MAIN_METRICS, systems: Sequence[str] = ALL
) -> HTML:
    """Systems by metrics for one part: the mean, below it the interval; the best of those compared is bold."""
    rows = summary[(summary["part"] == part) & summary["metric"].isin(metrics) & summary["system"].isin(systems)]
    table = grid(rows, ["system"], ["metric"], _mean, system=systems, metric=metrics)
    caption = f"Part {part}: n = {rows['n'].max() if len(rows) else 0} questions per system; mean and 95 % interval."
    rivals = [name for name in table.index if name in COMPARED]
    scored = rows[rows["system"].isin(rivals) & ~rows["metric"].isin(["evidence_tokens", "seconds"])]
    best = scored[(scored["value"] == scored.groupby("metric")["value"].transform("max")) & (scored["value"] > 0)]
    bold = pd.DataFrame(False, index=table.index, columns=table.columns)
    for row in best.itertuples() if len(rivals) > 1 else ():
        bold.loc[row.system, row.metric] = True
    caption += f" Bold: best of {', '.join(rivals)}." if bold.any(axis=None) else ""
    return html_table(table.rename(columns=LABELS), caption, bold=bold.rename(columns=LABELS))


def pair_tables(pairs: pd.DataFrame) -> HTML:
    """Every part's matrices of differences, one for each measure that there is, one below the other."""
    places = [(part, metric) for part in in_order(pairs["part"], PARTS) for metric in PAIRED]
    tables = [pairs[(pairs["part"] == part) & (pairs["metric"] == metric)] for part, metric in places]
    return HTML("\n".join(str(pair_table(rows).data) for rows in tables if len(rows)))


def pair_table(pairs: pd.DataFrame) -> HTML:
    """Row minus column in points, for one part and measure; bold where the corrected p is below the level."""
    both, orders = from_both_sides(pairs), {"first": COMPARED, "second": COMPARED}
    table = grid(both, ["first"], ["second"], lambda row: points(row.value), **orders).fillna("")
    bold = grid(both, ["first"], ["second"], lambda row: row.p_holm < 1 - LEVEL, **orders).eq(True)
    caption = (
        f"Part {pairs['part'].iloc[0]}, {LABELS[pairs['metric'].iloc[0]]}: row minus column in points (hundredths), "
        f"n = {pairs['n'].max()} questions. Bold: told apart by a paired permutation test, p < {1 - LEVEL:.2f} after "
        f"Holm for all {len(pairs)} pairs of the table."
    )
    return html_table(table, caption, bold=bold)


def context_overview(contexts: pd.DataFrame) -> HTML:
    """Part, system and right context by MIRAGE's four measures: the share of the questions in each, with interval."""
    table = with_n(grid(contexts, ["part", "system", "right"], ["metric"], estimate, metric=CONTEXTS), contexts)
    caption = "Shares of the questions, 95 % interval; of each row they add up to 1. Right: the context of the oracle."
    return html_table(table, caption)


def retention_overview(retention: pd.DataFrame) -> HTML:
    """The share of the text's gain that z keeps, and that gain, by part."""
    rows = retention.set_index("part").loc[in_order(retention["part"], PARTS)]
    table = pd.DataFrame(
        {
            "retention": ["not defined" if pd.isna(row.value) else estimate(row) for row in rows.itertuples()],
            "gain of the text (F1)": rows["text_gain"],
            "n": rows["n"],
        }
    )
    caption = (
        "Retention: (F1 with the right z − closed book) / (F1 with the gold passage − closed book), same questions and "
        "reader; 95 % interval. Not defined where the text brings less than 0.1."
    )
    return html_table(table, caption)


def selector_overview(selectors: pd.DataFrame) -> HTML:
    """Part and selector by retrieval measure, with milliseconds per question."""
    rows = selectors[selectors["metric"].isin(RANKED)]
    table = grid(rows, ["part", "selector"], ["metric"], estimate, metric=RANKED).rename(columns=LABELS)
    seconds = selectors[selectors["metric"] == "seconds"].set_index(["part", "selector"])["value"]
    table["ms per question"] = [f"{1000 * seconds[place]:.1f}" for place in table.index]
    caption = "Documents found by each way of choosing, among all of the corpus; mean and 95 % interval."
    return html_table(with_n(table, rows), caption)


def abstention_overview(abstention: pd.DataFrame) -> HTML:
    """Part, system and score by metric: each value with its interval."""
    rows = abstention[abstention["n"] > 0]
    orders = {"part": ("answerable", "all", ABSENT), "score": (*CONFIDENCE, *BOUNDS), "metric": tuple(ABSTAINED)}
    table = grid(rows, ["part", "system", "score"], ["metric"], estimate, **orders)
    return html_table(table.rename(columns=ABSTAINED), "Knowing when not to answer: value and 95 % interval.")


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
    place = {name: rank for rank, name in enumerate((*TEST_PARTS, *FAILURES))}
    kept = kept.sort_values(["part", "failure", "question_id"], key=lambda names: names.map(lambda x: place.get(x, x)))
    texts = {name: kept[name].map(lambda text: cut(text, 160)) for name in ("question", "evidence", "answer")}
    golds = kept["answers"].map(lambda answers: cut(" / ".join(answers), 160))
    table = pd.DataFrame({"part": kept["part"], "kind": kept["failure"], **texts, "gold": golds})
    return text_table(table, params, {"answers": len(failures)}, "Examples of zmem.")


def apart_overview(summary: pd.DataFrame) -> HTML:
    """What must find its document, and what is given it: questions about asked and about unasked documents."""
    shown = (*COMPARED, "zmem-oracle", "gold-passage", "closed-book")
    rows = summary[summary["part"].isin(APART) & summary["metric"].isin(APART_METRICS) & summary["system"].isin(shown)]
    table = grid(rows, ["system"], ["metric", "part"], estimate, metric=APART_METRICS, system=shown)
    table.columns = [f"{LABELS[metric]}\n{APART[part]}" for metric, part in table.columns]
    sizes = [f"{APART[part]} {n}" for part, n in rows.groupby("part")["n"].max().items()]
    caption = f"Seen documents with and without training questions (n: {', '.join(sizes)}); mean and 95 % interval."
    return html_table(table, caption)


def with_n(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The table with the largest number of questions of each of its rows behind it."""
    return table.assign(n=rows.groupby(list(table.index.names))["n"].max().reindex(table.index))


def _mean(row: Any) -> str:
    if row.n == 0:
        return "none"
    if row.metric.endswith("_tokens"):
        return f"{row.value:.0f}"
    return f"{row.value:.3f}" if row.metric == "seconds" else estimate(row)


# Chapter 06: judges


def judges_said(about: Mapping[str, Any], judged: pd.DataFrame, params: Params) -> Markdown:
    """Who judged what, how often that failed and what it cost; without a judge, that nobody was asked."""
    if about["judge"] == "none":
        return Markdown("No judge was asked (`judge: none`).")
    who = "at the address of `answer.api_url`" if about["judge"] == "api" else "a local model of entailment"
    model = str(about["model"])
    model = Path(model).name if Path(model).is_dir() else model  # a page says nothing of this machine's folders
    said = [f"The judge is {in_code(model)}, {who}. It was given {about['answers']} answers."]
    if about["judge"] == "api":
        said.append(
            f"Of {about['asked']} questions to it {about['unanswered']} got no reply and {about['unreadable']} none "
            "that could be used, even after its fault was shown to it. What several answers need was asked once: "
            f"{about['conversations']} conversations of {about['input_tokens']} tokens in and "
            f"{about['output_tokens']} out" + (f", for ${about['money']:.2f}." if about["money"] else ".")
        )
    return Markdown(" ".join([*said, _people(judged, params)]))


def judged_tables(judged: pd.DataFrame) -> list[HTML]:
    """A table for every part and group of measures: systems by measures, mean, interval and coverage; may be none."""
    tables = []
    for part in [part for part in TEST_PARTS if (judged["part"] == part).any()]:
        for group, metrics in JUDGED.items():
            rows = judged[(judged["part"] == part) & judged["metric"].isin(metrics)]
            table = grid(rows, ["system"], ["metric"], _judged, metric=metrics)
            table.columns = [name.partition("_")[2].replace("_", " ") for name in table.columns]
            caption = f"{group}, {part_name(part)}: mean, 95 % interval, and of how many answers there is a verdict"
            tables += [html_table(table, f"{caption} (coverage).")] if len(rows) else []
    return tables


def _people(judged: pd.DataFrame, params: Params) -> str:
    """Whether people's verdicts corrected the judge's."""
    used = judged.loc[judged["part"].isin(TEST_PARTS) & (judged["by"] != JUDGE), "labels"].sum()
    if used:
        return (
            f"People gave {used} of these verdicts too. Shares with * are corrected by theirs "
            "(prediction-powered), shares with † are theirs alone, the others rest on the judge alone."
        )
    why = "`evaluate.human_labels` names no file"
    if params.evaluate.human_labels:
        name = in_code(Path(params.evaluate.human_labels).name)
        why = f"{name} is not there yet, or has fewer than {LEAST_LABELS} verdicts on each of them"
    return f"No share is corrected by people's verdicts ({why}): the intervals know nothing of the judge's mistakes."


def _judged(row: Any) -> str:
    coverage = f"{row.n} of {row.asked}"
    if not row.n:
        return f"none\n{coverage}"
    value, interval = estimate(row).split("\n")
    return f"{value}{JUDGES.get(row.by, '')}\n{interval}\n{coverage}"

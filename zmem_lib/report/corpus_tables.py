"""Tables, plots and sentences of chapters 01 and 02: the documents, the questions, the tuples made of them.

Texts of a corpus are shown as published.py shows them, or only counted. Lengths are in words, as white space parts
them.
"""

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.api.typing import SeriesGroupBy

from zmem_lib.data.rows import Corpus
from zmem_lib.data.synthetic import ATTRIBUTES
from zmem_lib.data.tuples import count_pairs, parts_of
from zmem_lib.evaluation.metrics import answer_in_evidence
from zmem_lib.evaluation.stats import Estimate, bootstrap_mean
from zmem_lib.params import Params
from zmem_lib.report.figures import CYCLE, new_figure
from zmem_lib.report.published import plain_table, text_table
from zmem_lib.tables import SPLITS

BINS = 30


def words(texts: pd.Series) -> pd.Series:
    """Number of words in each text."""
    return texts.str.split().str.len().astype(int)


def documents_overview(docs: pd.DataFrame) -> pd.DataFrame:
    """Per part: number of documents and the words of one document."""
    lengths = words(docs["text"]).groupby(docs["part"], sort=False)
    return _length_table(lengths, {"documents": lengths.size()})


def questions_overview(questions: pd.DataFrame) -> pd.DataFrame:
    """Per split and kind: number of questions, of documents asked about, and the words of a question."""
    order = questions["split"].map(SPLITS.index)
    questions = questions.assign(kind=questions["kind"].replace("", "–")).iloc[order.argsort(kind="stable")]
    keys = [questions["split"], questions["kind"]]
    lengths = words(questions["question"]).groupby(keys, sort=False)
    asked = questions["gold_doc_ids"].groupby(keys, sort=False).agg(lambda gold: len(set().union(*gold)))
    return _length_table(lengths, {"questions": lengths.size(), "documents asked about": asked})


def document_lengths(docs: pd.DataFrame) -> Figure:
    """Histogram of the words of a document, seen and new; shares, as the parts differ in size."""
    lengths = {part: words(text) for part, text in docs.groupby("part", sort=False)["text"]}
    figure, (axis,) = new_figure(height=2.9)
    _shares(axis, lengths)
    axis.set(xlabel="length of a document (words)", ylabel="share of the part's documents")
    return figure


def questions_per_document(docs: pd.DataFrame, questions: pd.DataFrame) -> Figure:
    """How many questions a document has: training questions of seen ones, held-out questions of seen and new ones."""
    asked = questions.explode("gold_doc_ids")
    figure, axes = new_figure(1, 3, height=2.2, sharey=True)
    panels = (("seen, train", ["train"], "seen"), ("seen, dev and test", ["dev", "test"], "seen"),
              ("new", ["new-dev", "new-test"], "new"))  # fmt: skip
    for axis, (title, splits, part) in zip(axes, panels, strict=True):
        mine = docs.loc[docs["part"] == part, "doc_id"]
        counts = asked.loc[asked["split"].isin(splits), "gold_doc_ids"].value_counts().reindex(mine, fill_value=0)
        if len(counts):
            heights = counts.value_counts(normalize=True).sort_index()
            axis.bar(heights.index, heights, width=0.85, color=CYCLE[part == "new"])
            axis.set_xticks(range(0, int(counts.max()) + 1, max(1, int(counts.max()) // 5)))
            axis.set_xlim(-0.7, counts.max() + 0.7)
        axis.set(title=title, xlabel="questions on a document")
        axis.grid(axis="x", visible=False)
    axes[0].set_ylabel("share of documents")
    return figure


def example_documents(docs: pd.DataFrame, params: Params, *, n: int = 3) -> HTML:
    """The first n documents, whole; only a sentence where texts are not published."""
    return text_table(docs[["doc_id", "title", "text"]].head(n), params, {"documents": len(docs)})


def example_questions(docs: pd.DataFrame, questions: pd.DataFrame, params: Params) -> HTML:
    """All questions about the first document, with answers and splits; only a sentence where not published."""
    mine = questions[questions["gold_doc_ids"].map(lambda gold: docs["doc_id"].iloc[0] in gold)]
    table = mine[["question", "split", "kind"]].assign(answer=mine["answers"].map(lambda answers: answers[0]))
    counts = {"questions": len(questions), "of them about the first document": len(mine)}
    return text_table(table[["split", "kind", "question", "answer"]], params, counts)


def chance_table(docs: pd.DataFrame, params: Params) -> pd.DataFrame | Markdown:
    """Synthetic: per attribute the number of values and the chance of guessing one; else a sentence."""
    if params.corpus.name != "synthetic":
        return Markdown("Chance is not known for this corpus: its answers come from no list. `closed-book` stands in.")
    sizes = {name: len(about.values) for name, about in ATTRIBUTES.items()}
    table = pd.DataFrame({"values": sizes, "chance": {name: f"{1 / size:.3f}" for name, size in sizes.items()}})
    return table.rename_axis("attribute")


def names_finding(docs: pd.DataFrame, params: Params) -> Markdown:
    """How far names tell the people of the synthetic corpus apart; a sentence about titles for any other corpus."""
    if params.corpus.name != "synthetic":
        return Markdown(f"{docs['title'].nunique():,} different titles stand over {len(docs):,} documents.")
    first, last = (docs["title"].str.split().str[place] for place in (0, 1))
    shared = [name.map(name.value_counts()).mean() - 1 for name in (first, last)]
    return Markdown(
        f"All {docs['title'].nunique():,} full names are different, but on average {shared[0]:.1f} others share a "
        f"person's first name and {shared[1]:.1f} the last name."
    )


def source_table(corpus: Corpus) -> HTML:
    """Where the corpus comes from, its licence, and how many rows were left out, each for which reason."""
    rows = [("source", corpus.source), ("licence", corpus.licence)]
    rows += [(f"left out: {reason}", f"{count:,}") for reason, count in corpus.dropped.items()]
    return plain_table(pd.DataFrame(rows, columns=["what", "value"]))


def unasked_finding(questions: pd.DataFrame) -> Markdown:
    """How many test questions are about a seen document that no training question names."""
    parts = parts_of(questions).value_counts()
    unasked, seen = (int(parts.get(name, 0)) for name in ("unasked-document", "seen"))
    return Markdown(
        f"**{unasked:,} of the {unasked + seen:,} test questions** about seen documents are about one that no training "
        "question names: the part `unasked-document`. The model has learned to recite such a document, but not to "
        "answer about it, so these questions are reported apart and are not in the part `seen`."
    )


def corpus_finding(corpus: Corpus) -> Markdown:
    """What chapter 01 saw, in computed sentences."""
    docs, questions = corpus.docs, corpus.questions
    seen, splits = docs["part"] == "seen", questions["split"].value_counts()
    trained = set().union(*questions.loc[questions["split"] == "train", "gold_doc_ids"])
    counts = ", ".join(f"{splits.get(name, 0):,} {name}" for name in SPLITS)
    return Markdown(
        f"The run has **{seen.sum():,} seen and {(~seen).sum():,} new documents** of {words(docs['text']).mean():.0f} "
        f"words on average, and **{len(questions):,} questions**: {counts}. Training asks about {len(trained):,} of "
        f"the seen documents. {sum(corpus.dropped.values()):,} rows of the corpus were left out, for the reasons above."
    )


def tuples_overview(tuples: pd.DataFrame, questions: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Per split: pairs of question and gold document, tuples, words, and the answer-in-evidence rate with interval."""
    pairs, rows = count_pairs(questions), {}
    for split in (name for name in SPLITS if name in pairs):
        mine = tuples[tuples["split"] == split]
        rate = answer_rate(mine, params)
        rows[split] = {
            "pairs": pairs[split],
            "without evidence": pairs[split] - len(mine),
            "tuples": len(mine),
            "question, words": round(words(mine["question"]).mean(), 1),
            "evidence, words": round(words(mine["evidence"]).mean(), 1),
            "longest": int(words(mine["evidence"]).max()) if len(mine) else 0,
            "answer in evidence": f"{rate.value:.3f}",
            "95 % interval": f"{rate.ci_low:.3f} to {rate.ci_high:.3f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split")


def answer_rate(tuples: pd.DataFrame, params: Params) -> Estimate:
    """Share of tuples whose evidence holds an answer, as chapter 06 counts it, with its interval."""
    hits = [answer_in_evidence(row.evidence, row.answers, params.corpus.normalisation) for row in tuples.itertuples()]
    return bootstrap_mean(hits, params.evaluate.bootstrap_samples, params.seed)


def tuple_lengths(tuples: pd.DataFrame) -> Figure:
    """Histograms of the words of question and evidence: training tuples beside held-out ones."""
    group = np.where(tuples["split"] == "train", "train", "held out")
    figure, (left, right) = new_figure(1, 2, height=2.8)
    for axis, column in ((left, "question"), (right, "evidence")):
        _shares(axis, dict(iter(words(tuples[column]).groupby(group, sort=False))))
        axis.set(xlabel=f"length of the {column} (words)")
    left.set_ylabel("share of tuples")
    return figure


def answer_rates(tuples: pd.DataFrame, params: Params) -> Figure:
    """Answer-in-evidence rate per split, with bootstrap intervals: the most that exact evidence can score."""
    splits = [name for name in SPLITS if (tuples["split"] == name).any()]
    rates = [answer_rate(tuples[tuples["split"] == name], params) for name in splits]
    figure, (axis,) = new_figure(height=2.5)
    spread = [[rate.value - rate.ci_low for rate in rates], [rate.ci_high - rate.value for rate in rates]]
    axis.bar(splits, [rate.value for rate in rates], yerr=spread, color=CYCLE[0], width=0.6, capsize=3)
    axis.set_xticks(range(len(splits)), [f"{name}\nn = {rate.n:,}" for name, rate in zip(splits, rates, strict=True)])
    axis.set(ylabel="answer in evidence\n(share of tuples)", ylim=(0, 1.04))
    axis.grid(axis="x", visible=False)
    return figure


def evidence_places(tuples: pd.DataFrame, docs: pd.DataFrame) -> Figure:
    """Where in its document the evidence begins, as a share of the document's length."""
    lengths = docs.set_index("doc_id")["text"].str.len()
    inside = tuples[tuples["evidence_start"] >= 0]
    places = inside["evidence_start"].to_numpy() / inside["doc_id"].map(lengths).to_numpy()
    figure, (axis,) = new_figure(height=2.5)
    axis.hist(places, bins=np.linspace(0, 1, 21), weights=np.full(len(places), 1 / max(len(places), 1)), color=CYCLE[0])
    axis.set(xlabel="where the evidence begins (0: start of the document, 1: its end)", ylabel="share of tuples")
    axis.set_xlim(0, 1)
    return figure


def example_tuples(tuples: pd.DataFrame, params: Params, *, n: int = 5) -> HTML:
    """n training tuples about different documents; only a sentence where texts are not published."""
    train = tuples[tuples["split"] == "train"]
    table = train.drop_duplicates("doc_id").head(n)[["doc_id", "question", "evidence"]]
    return text_table(table, params, {"training tuples": len(train), "documents in them": train["doc_id"].nunique()})


def tuples_finding(tuples: pd.DataFrame, questions: pd.DataFrame, params: Params) -> Markdown:
    """What chapter 02 saw, in computed sentences."""
    pairs, rate = int(count_pairs(questions).sum()), answer_rate(tuples, params)
    length = words(tuples["evidence"]).mean()
    return Markdown(
        f"{pairs:,} pairs of question and gold document made **{len(tuples):,} tuples**; {pairs - len(tuples):,} pairs "
        f"have a document without the answer, and train nothing. Evidence has {length:.1f} words on average and holds "
        f"an answer in **{rate.value:.3f}** of the tuples (95 % interval {rate.ci_low:.3f} to "
        f"{rate.ci_high:.3f}, n = {rate.n:,}): no system that writes exactly this evidence can score higher."
    )


def _length_table(lengths: SeriesGroupBy, counts: dict[str, pd.Series]) -> pd.DataFrame:
    columns = {"words, mean": lengths.mean().round(1), "median": lengths.median(), "longest": lengths.max()}
    return pd.DataFrame(counts | columns)


def _shares(axis: Axes, lengths: dict[str, pd.Series]) -> None:
    longest = max((series.max() for series in lengths.values() if len(series)), default=1)
    shortest = min((series.min() for series in lengths.values() if len(series)), default=0)
    width = max(1, -(-(longest - shortest + 1) // BINS))
    bins = np.arange(shortest, longest + 2 * width, width) - 0.5
    for colour, (name, series) in zip(CYCLE, lengths.items(), strict=False):
        weights = np.full(len(series), 1 / max(len(series), 1))
        label = f"{name} (n = {len(series):,})"
        axis.hist(series, bins=bins, weights=weights, color=colour, alpha=0.25)
        axis.hist(series, bins=bins, weights=weights, color=colour, histtype="step", linewidth=1.4, label=label)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, fontsize=8.5, frameon=False)

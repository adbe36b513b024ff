"""Tables and sentences of chapters 03 to 05: the model, what it is trained on, how training and writing went."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import HTML, Markdown

from zmem_lib.data.tuples import parts_of
from zmem_lib.memory.lessons import Lessons
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.opponents.dense import DOCUMENT, QUERY, by_cosine
from zmem_lib.params import Params
from zmem_lib.report.published import plain_table, text_table
from zmem_lib.tables import TEST_PARTS

if TYPE_CHECKING:
    from zmem_lib.opponents.dense import SentenceTransformer

MIB = 2**20
EXAMPLES = 6  # of the questions that the model asked


def lm_sizes(memory_lm: MemoryLM, params: Params, *, n_documents: int) -> pd.DataFrame:
    """Sizes of the language model and of the memory: blocks and keys."""
    learning = [weight.numel() for weight in memory_lm.lm.parameters() if weight.requires_grad]
    d, width = memory_lm.embeddings.shape[1], memory_lm.heads.width
    row = params.memory.z_tokens * width + params.memory.key_width  # numbers per document
    facts = {
        "language model": f"{params.lm.name} {params.lm.revision}".strip(),
        "weights (millions)": f"{memory_lm.causal.num_parameters() / 1e6:.2f}",
        "of which learn (millions)": f"{sum(learning) / 1e6:.2f}",
        "quantisation of the frozen weights": params.lm.quantisation,
        "vocabulary V (tokens)": f"{memory_lm.embeddings.shape[0]:,}",
        "hidden size D": f"{d}",
        "blocks z, N × K × W": f"{n_documents:,} × {params.memory.z_tokens} × {width}",
        "keys, N × E": f"{n_documents:,} × {params.memory.key_width}",
        "blocks and keys (MiB, float32)": f"{n_documents * row * 4 / MIB:.2f}",
        "arithmetic": str(memory_lm.dtype).removeprefix("torch."),
        "device": str(memory_lm.device),
    }
    return pd.DataFrame(facts.items(), columns=["what", "value"]).set_index("what")


def lesson_counts(lessons: Lessons) -> pd.DataFrame:
    """Rows and mean tokens of each kind of lesson, how often training sees each row, and how many were cut."""
    params = lessons.params
    tuples = [lessons.tuple_row(i) for i in range(len(lessons.tuples))]
    kinds = [("tuples", tuples, params.train.batch_tuples), ("dev tuples", lessons.dev_rows, 0)]
    if params.train.recite_weight:
        recitations = [lessons.recitations(i)[0] for i in range(len(lessons.docs))]
        kinds.insert(1, ("recitations", recitations, params.train.batch_recite))
    rows = {
        name: {
            "rows": len(rows),
            "tokens, mean": round(sum(len(row.ids) for row in rows) / max(len(rows), 1), 1),
            "tokens, most": max((len(row.ids) for row in rows), default=0),
            "times seen": round(params.train.steps * batch / max(len(rows), 1), 1),
        }
        for name, rows, batch in kinds
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def asked_table(asked: pd.DataFrame, counts: pd.DataFrame, params: Params) -> HTML:
    """What became of the model's own questions, and below it a few that were kept, with their evidence."""
    told = plain_table(counts[["what", "n"]].rename(columns={"what": "questions", "n": "number"}))
    if asked.empty:
        return told
    kept = asked[["question", "evidence"]].head(EXAMPLES)
    return HTML(told.data + text_table(kept, params, {"questions kept": len(asked)}).data)


def cut_sentence(lengths: pd.Series, limit: int, what: str) -> Markdown:
    """How many documents are longer than the token limit and are cut there."""
    cut = int((lengths > limit).sum())
    if not cut:
        return Markdown(f"No {what} is longer than the limit of {limit} tokens.")
    return Markdown(
        f"**{cut} of {len(lengths)} {what}s are longer than {limit} tokens and are cut there**; "
        f"the longest has {int(lengths.max())}. Raise `memory.document_tokens` (and `lm.window_tokens`) to keep them whole."
    )


def training_finding(train_log: pd.DataFrame, seconds: float) -> Markdown:
    """First and last loss of every term, and the time that training took."""
    lines = []
    for (term, split), log in train_log.groupby(["term", "split"], sort=False):
        log = log.sort_values("step")
        lines.append(f"- `{term}` ({split}): {log.nll.iloc[0]:.2f} → **{log.nll.iloc[-1]:.2f}** nats per token")
    steps = int(train_log.step.max())
    opening = f"{steps:,} steps; the whole chapter took {seconds / 60:.1f} minutes.\n\n"
    return Markdown(opening + "\n".join(lines))


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


def sample_counts(picked: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """How many questions of each part every system answers, out of how many there are."""
    all_parts = parts_of(questions)
    rows = {
        part: {"answered": int((picked.part == part).sum()), "there are": int((all_parts == part).sum())}
        for part in (*TEST_PARTS, "trained")
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")


def encoder_said(encoder: "SentenceTransformer", params: Params) -> Markdown:
    """How the embeddings were made: what stood before the texts, how they are compared, and who reads in this run."""
    before = [f"`{encoder.prompts[role]}`" if encoder.prompts[role] else "nothing" for role in (QUERY, DOCUMENT)]
    compared = "cosine" if by_cosine(encoder) else "inner product"
    said = (
        f"Embeddings by `{Path(params.answer.dense_model).name}`: {before[0]} in front of a question and {before[1]} in front "
        f"of a passage, compared by {compared}, each text cut at {encoder.max_seq_length} tokens."
    )
    if not params.has_lm:
        said += (
            " **This run has no language model.** The systems that retrieve passages stand alone, and nobody reads "
            f"what they bring: the evidence of the first {params.answer.top_k}, cut at {params.memory.evidence_tokens} words each, "
            "is all that is measured. Evidence tokens are words here, and answers are empty."
        )
    return Markdown(said)


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

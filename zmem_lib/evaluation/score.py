"""All test questions of a finished run, where its chapters ask a sample: the main systems' answers, scored.

Takes a run's folder, returns lines; nothing is kept. A share of 75 questions is known to some .05, of 800 to .015.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from zmem_lib.evaluation.scoring import score_answers, summarise
from zmem_lib.files import BadInput
from zmem_lib.params import changed
from zmem_lib.systems.collection import load_bench
from zmem_lib.systems.controls import zmem_oracle, zmem_random, zmem_shuffled
from zmem_lib.systems.evidence import pick_questions
from zmem_lib.systems.systems import (
    bm25,
    closed_book,
    dense,
    gold_passage,
    hybrid,
    hybrid_rerank,
    lm_rerank,
    long_context,
    possible,
    zmem,
    zmem_and_bm25,
    zmem_then_text,
)
from zmem_lib.systems.upkeep import finished_params
from zmem_lib.tables import PARTS, read_table

SYSTEMS = {
    "zmem": zmem, "bm25": bm25, "dense": dense, "hybrid": hybrid, "zmem-oracle": zmem_oracle,
    "zmem-shuffled": zmem_shuffled, "zmem-random": zmem_random, "gold-passage": gold_passage,
    "closed-book": closed_book, "zmem+text": zmem_then_text, "zmem+bm25": zmem_and_bm25,
    "hybrid+rerank": hybrid_rerank, "lm-rerank": lm_rerank, "long-context": long_context,
}  # fmt: skip
METRICS = ("answer_in_evidence", "em", "recall@1")


def score_lines(folder: Path, systems: Sequence[str], questions: int = 0) -> Iterator[str]:
    """A line for every part, system and measure: mean, 95 % interval, n; `questions` of each part and kind, 0: all."""
    if unknown := [name for name in systems if name not in SYSTEMS]:
        raise BadInput(f"there is no system {unknown[0]!r} to score: choose from {', '.join(SYSTEMS)}")
    params = finished_params(folder)
    if absent := [name for name in systems if not possible(name, params)]:
        raise BadInput(f"the parameters of {folder} leave {absent[0]} out: choose another system")
    docs, asked = (read_table(folder / f"{name}.parquet", name) for name in ("docs", "questions"))
    picked = pick_questions(asked, changed(params, {"answer.questions": questions}))
    test = picked[picked.part != "trained"].reset_index(drop=True)
    bench = load_bench(folder, params, docs)
    answers = {name: SYSTEMS[name](test, bench) for name in systems}
    scores = score_answers(test, answers, rule=params.corpus.normalisation, ragas=False)
    summary = summarise(scores[scores.metric.isin(METRICS)], params.evaluate.bootstrap_samples, params.seed)
    yield from summary_lines(summary)


def summary_lines(summary: pd.DataFrame) -> Iterator[str]:
    """The rows of a summary in the order of parts and measures."""
    for part in (name for name in PARTS if (summary.part == name).any()):
        for metric in METRICS:
            for row in summary[(summary.part == part) & (summary.metric == metric)].itertuples():
                interval = f"[{row.ci_low:.3f}, {row.ci_high:.3f}]"
                yield f"{part:17} {metric:19} {row.system:14} {row.value:.3f} {interval}  n = {row.n}"

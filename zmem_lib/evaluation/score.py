"""All test questions of a finished run, where its chapters ask a sample: systems' answers, scored.

Takes a run's folder, returns lines; nothing is kept. A share of 75 questions is known to some .05, of 800 to .015.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from zmem_lib.evaluation.scoring import score_answers, summarise
from zmem_lib.params import changed
from zmem_lib.systems.collection import open_collection
from zmem_lib.systems.evidence import pick_questions
from zmem_lib.tables import PARTS, read_table

METRICS = ("answer_in_evidence", "em", "recall@1")


def score_lines(folder: Path, systems: Sequence[str], questions: int = 0) -> Iterator[str]:
    """A line for every part, system and measure: mean, 95 % interval, n; `questions` of each part and kind, 0: all."""
    collection = open_collection(folder, added=False)
    params, table = collection.params, read_table(folder / "questions.parquet", "questions")
    picked = pick_questions(table, changed(params, {"answer.questions": questions}))
    answers = collection.ask(picked[picked["part"] != "trained"].reset_index(drop=True), systems)
    by_system = dict(iter(answers.groupby("system", sort=False)))
    scores = score_answers(picked, collection.docs, by_system, params, ragas=False)
    shown = scores[scores["metric"].isin(METRICS)]
    summary = summarise(shown, params.evaluate.bootstrap_samples, params.seed)
    place = {name: number for number, name in enumerate((*PARTS, *METRICS))}
    summary = summary.sort_values(["part", "metric"], key=lambda names: names.map(place), kind="stable")
    for row in summary.itertuples():
        interval = f"[{row.ci_low:.3f}, {row.ci_high:.3f}]"
        yield f"{row.part:17} {row.metric:19} {row.system:14} {row.value:.3f} {interval}  n = {row.n}"

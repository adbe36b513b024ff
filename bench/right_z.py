"""What blocks hold, before anything is found or read: python bench/right_z.py RUN_FOLDER [--joint] [--systems ...].

Of a run whose chapters 01 to 04 are finished, on all its test questions: how often the answer stands in what is written
from the right block, from the same asked another question, from another's, from the text, and in a random sentence of
it. The tests are those of TESTS, on these questions. With --joint the blocks as training left them.
"""

import argparse
from pathlib import Path

import pandas as pd

from zmem_lib.evaluation.primary import planned, primary_table
from zmem_lib.evaluation.scoring import score_answers, summarise
from zmem_lib.params import changed, read_params
from zmem_lib.systems.collection import open_collection
from zmem_lib.systems.evidence import answers_of, pick_questions
from zmem_lib.tables import read_table

NAMES = (
    "zmem-oracle", "zmem-other-question", "zmem-shuffled", "text-evidence", "gold+sentence", "gold+random-sentence",
)  # fmt: skip
METRIC = "answer_in_evidence"
TESTS = (
    f"zmem-oracle vs zmem-other-question on {METRIC}; zmem-oracle vs gold+random-sentence on {METRIC}; "
    f"zmem-oracle of new vs zmem-oracle of seen on {METRIC}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--joint", action="store_true")
    parser.add_argument("--systems", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    params = changed(read_params(options.run / "params.yaml"), {"answer.questions": 0})  # all
    params = changed(params, {"write.seen": "joint"}) if options.joint else params
    held = open_collection(options.run, params=params, added=False)
    picked = pick_questions(read_table(options.run / "questions.parquet", "questions"), params)
    asked = picked[picked["part"] != "trained"].reset_index(drop=True)
    answers = {name: answers_of(name, asked, held, reads=False) for name in options.systems}
    scores = score_answers(asked, held.docs, answers, params, ragas=False)
    drawn = {"samples": params.evaluate.bootstrap_samples, "seed": params.seed}
    summary = summarise(scores, **drawn).query("metric == @METRIC").assign(blocks=params.write.seen)
    tests = primary_table(scores, **drawn, tests=planned(TESTS), margin=params.evaluate.margin)
    with pd.option_context("display.width", 200, "display.max_columns", 30, "display.max_rows", 200):
        print(summary.round(3).to_string(index=False), tests.round(4).to_string(index=False), sep="\n\n")
    if options.out:
        pd.concat([summary, tests.assign(blocks=params.write.seen)]).round(4).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()

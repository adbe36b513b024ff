"""How hard corpora are without a model: python bench/yardsticks.py FOLDER [FOLDER ...] [--out FILE.csv].

Each folder is a corpus in the folder format; all its passages, and its dev and test questions.
"""

import argparse
from pathlib import Path

import pandas as pd

from zmem_lib.data.corpus import whole_corpus
from zmem_lib.evaluation.yardsticks import yardsticks
from zmem_lib.params import changed, read_params

TINY = Path(__file__).parents[1] / "params/tiny.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    columns = {}
    for folder in options.folders:
        rule = "korquad" if "ko" in folder.name else "squad"
        params = changed(read_params(TINY), {"corpus.name": "folder", "corpus.path": str(folder)})
        corpus = whole_corpus(params)
        asked = corpus.questions[corpus.questions["split"].isin(["dev", "test"])]
        table = yardsticks(corpus.docs, asked, rule).set_index("measure")
        name = "/".join(folder.resolve().parts[-2:])
        columns |= {name: table["value"].round(3), f"{name}, n": table["n"]}
    table = pd.DataFrame(columns)
    print(table.to_string())
    if options.out:
        table.to_csv(options.out)


if __name__ == "__main__":
    main()

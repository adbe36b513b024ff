"""The seven chapters of a run: their numbers, their names, and which of them a run executes."""

from zmem_lib.params import Params

CHAPTERS = {
    1: "01_corpus",
    2: "02_tuples",
    3: "03_train_joint",
    4: "04_write_znew",
    5: "05_baselines",
    6: "06_eval",
    7: "07_report",
}
MEMORY_CHAPTERS = (3, 4)  # of training and writing: left out of a run without a language model


def chapters_of(params: Params) -> dict[int, str]:
    """Number and name of the chapters that a run executes."""
    return {number: name for number, name in CHAPTERS.items() if params.has_lm or number not in MEMORY_CHAPTERS}

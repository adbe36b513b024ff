"""Columns of every table that a chapter writes, and one check that a data frame has them.

A column's kind is one of str, int, float, strs (list of str), floats (list of float).
"""

from functools import partial
from pathlib import Path

import pandas as pd

from zmem_lib.files import BadInput, must_exist, write_atomic

SPLITS = ("train", "dev", "test", "new-dev", "new-test")
PARTS = ("trained", "seen", "rephrased", "unasked", "unasked-document", "new")
KINDS = ("rephrased", "unasked")  # of seen questions, where the corpus tells: in summaries parts of their own
ABSENT = "absent"  # the part of test questions that no document answers
TEST_PARTS = ("seen", "unasked-document", "new")  # of test questions, each in one; the others show the fit, or a kind
MEASURES = ("em", "f1", "answer_in_evidence", "recall@1")  # of page one
CONTEXTS = ("noise vulnerability", "context acceptability", "context insensitivity", "context misinterpretation")
PSEUDO = "pseudo-"  # begins the ids of tuples whose question the model asked itself; their answer is not known
CHANCES = ("chance", "chance-alike")  # no systems: what gold evidence of other questions says, in the tables of scores

OF_MEMORY = (  # tables of what only a run with a language model has
    "train_log", "damage", "write_curve", "failures", "contexts", "retention", "selectors", "abstention", "noise",
)  # fmt: skip

TABLES: dict[str, dict[str, str]] = {
    "docs": {"doc_id": "str", "title": "str", "text": "str", "part": "str"},
    "questions": {
        "question_id": "str", "question": "str", "answers": "strs", "gold_doc_ids": "strs", "split": "str",
        "kind": "str",  # rephrased or unasked where the corpus tells, else empty
        "answer_start": "int",  # offset of answers[0] in the first gold document's text, -1 if unknown
        "evidence": "str",  # the data set's own evidence, empty if it has none
    },
    "tuples": {
        "tuple_id": "str", "question_id": "str", "doc_id": "str", "question": "str", "evidence": "str",
        "evidence_start": "int", "answers": "strs", "split": "str",
    },
    "train_log": {"step": "int", "term": "str", "split": "str", "nll": "float", "seconds": "float"},
    "asked": {"part": "str", "what": "str", "n": "int"},  # what became of the questions that the model asked itself
    "damage": {  # perplexity of plain text
        "what": "str", "value": "float", "ci_low": "float", "ci_high": "float", "n": "int",
    },
    "write_log": {
        "start": "str", "step": "int", "nll": "float",
        "recited": "float",  # share of a text that greedy decoding writes
        "writing": "float",  # share of the documents that have not stopped
        "seconds_per_document": "float", "n": "int",
    },
    "answers": {
        "question_id": "str", "part": "str", "kind": "str", "ranked_doc_ids": "strs", "ranked_scores": "floats",
        "evidence": "strs",  # items as the reader saw them
        "evidence_tokens": "int", "answer": "str", "seconds": "float", "input_tokens": "int", "output_tokens": "int",
        "money": "float",  # dollars paid to an address for this answer
    },
    "rankings": {
        "question_id": "str", "part": "str", "selector": "str", "ranked_doc_ids": "strs", "ranked_scores": "floats",
        "seconds": "float",
    },
    "absent": {"question_id": "str", "question": "str", "kind": "str", "split": "str"},
    "doubt": {"question_id": "str", "entropy": "float", "likelihood": "float"},  # nats; nats per token
    "confidence": {
        "question_id": "str", "system": "str", "part": "str", "kind": "str", "score": "str", "value": "float",
        "wrong": "int",
    },
    "abstention": {
        "system": "str", "part": "str", "score": "str", "metric": "str", "value": "float", "ci_low": "float",
        "ci_high": "float", "n": "int",
    },
    "costs": {
        "system": "str", "build_seconds": "float", "seconds_per_question": "float", "bytes_stored": "int",
        "peak_memory_bytes": "int", "money_per_question": "float", "n": "int",
    },
    "write_curve": {
        "start": "str", "step": "int", "seconds_per_document": "float", "recite_nll": "float", "metric": "str",
        "value": "float", "ci_low": "float", "ci_high": "float", "n": "int",
    },
    "scores": {
        "question_id": "str", "system": "str", "part": "str", "kind": "str", "metric": "str", "value": "float",
    },
    "verdicts": {"question_id": "str", "system": "str", "part": "str", "metric": "str", "value": "float"},  # of a judge
    "judged": {
        "system": "str", "part": "str", "metric": "str", "value": "float", "ci_low": "float", "ci_high": "float",
        "n": "int",  # of them judged
        "asked": "int",
        "labels": "int",  # of those judged, by people as well
        "by": "str",
    },
    "failures": {"question_id": "str", "system": "str", "part": "str", "failure": "str"},
    "summary": {
        "system": "str", "part": "str", "metric": "str", "value": "float", "ci_low": "float", "ci_high": "float",
        "n": "int",
    },
    "contexts": {  # of MIRAGE
        "part": "str", "system": "str", "right": "str", "metric": "str", "value": "float", "ci_low": "float",
        "ci_high": "float", "n": "int",
    },
    "pairs": {  # of compared systems: first minus second
        "part": "str", "metric": "str", "first": "str", "second": "str", "value": "float", "ci_low": "float",
        "ci_high": "float", "n": "int", "p": "float", "p_holm": "float",
        "detectable": "float",  # the least difference that n questions would have shown, corrected; or infinite
    },
    "selectors": {
        "selector": "str", "part": "str", "metric": "str", "value": "float", "ci_low": "float", "ci_high": "float",
        "n": "int",
    },
    "noise_scores": {  # of answers with a share of the evidence items replaced
        "question_id": "str", "system": "str", "part": "str", "kind": "str", "share": "float", "metric": "str",
        "value": "float",
    },
    "noise": {  # of these
        "system": "str", "part": "str", "kind": "str", "share": "float", "metric": "str", "value": "float",
        "ci_low": "float", "ci_high": "float", "n": "int",
    },
    "retention": {
        "part": "str", "value": "float", "ci_low": "float", "ci_high": "float", "n": "int",
        "text_gain": "float",  # F1 with the gold passage minus closed book
    },
}  # fmt: skip


def __getattr__(name: str) -> object:
    """Names of systems for modules that have not turned to systems.systems yet, where the systems stand now."""
    from importlib import import_module

    if name.startswith("__"):  # every import asks for __path__, also on a machine that has no systems
        raise AttributeError(name)
    systems = import_module("zmem_lib.systems.systems")
    names = {
        "SYSTEMS": tuple(systems.SYSTEMS),
        "COMPARED": systems.compared(),
        "CONTROLS": systems.controls(),
        "ALSO_ABSENT": systems.which(lambda system: system.asked_absent),
        "UNREAD": systems.which(lambda system: system.without_lm),
    }
    if name not in names:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return names[name]


def no_rows(table: str) -> pd.DataFrame:
    """The table without a row, its columns of the kinds that they have."""
    kinds = {"int": "int64", "float": "float64"}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(kind, object)) for name, kind in TABLES[table].items()})


def check(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """Return the frame with exactly the table's columns in order; raises BadInput naming the column at fault."""
    columns = TABLES[table]
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise BadInput(f"table {table}: column {missing[0]!r} is missing: it must have {', '.join(columns)}")
    frame = frame.loc[:, list(columns)].reset_index(drop=True)
    for name, kind in columns.items():
        _check_column(frame[name], kind, f"table {table}, column {name!r}")
    return frame


def _check_column(column: pd.Series, kind: str, where: str) -> None:
    if kind in ("int", "float"):
        right = pd.api.types.is_integer_dtype if kind == "int" else pd.api.types.is_float_dtype
        if len(column) and not right(column):
            raise BadInput(f"{where}: must be {kind}, not {column.dtype}")
        return
    for row, value in enumerate(column):
        if kind == "str" and not isinstance(value, str):
            raise BadInput(f"{where}, row {row}: must be text, not {value!r}")
        if kind in ("strs", "floats") and (isinstance(value, str) or not hasattr(value, "__len__")):
            raise BadInput(f"{where}, row {row}: must be a list, not {value!r}")


def in_order(names: pd.Series, order: tuple[str, ...]) -> list[str]:
    """The distinct names, those of `order` first and in its order, any other after them."""
    found = dict.fromkeys(names)
    return [name for name in order if name in found] + [name for name in found if name not in order]


def write_table(frame: pd.DataFrame, path: Path, table: str) -> pd.DataFrame:
    """Check the frame against the schema of `table`, write it as parquet, return it."""
    frame = check(frame, table)
    write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))
    return frame


def read_table(path: Path, table: str) -> pd.DataFrame:
    """Read a parquet table and check it against the schema of `table`."""
    return check(pd.read_parquet(must_exist(path)), table)


def write_absent_tables(folder: Path) -> list[str]:
    """Write, without a row, the tables of what a run without a language model does not have; returns their names.

    So whoever reads a run's tables finds the same ones in every run.
    """
    tables = {name: no_rows(name) for name in OF_MEMORY} | {
        f"asked_{part}": no_rows("asked") for part in ("seen", "new")
    }
    for name, frame in tables.items():
        write_atomic(folder / f"{name}.parquet", partial(frame.to_parquet, index=False))
    return list(tables)

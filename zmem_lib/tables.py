"""Columns of every table that a chapter writes (tables.yaml), and one check that a data frame has them."""

from collections.abc import Collection, Iterable
from math import nan
from pathlib import Path

import pandas as pd
import yaml

from zmem_lib.files import BadInput, must_exist, write_atomic

SPLITS = ("train", "dev", "test", "new-dev", "new-test")
KINDS = {"seen": ("rephrased", "unasked"), "new": ("same-article", "new-article")}  # in summaries parts of their own
PARTS = ("trained", "seen", *KINDS["seen"], "unasked-document", "new", *KINDS["new"])
ABSENT = "absent"  # the part of test questions that no document answers
TEST_PARTS = ("seen", "unasked-document", "new")  # of test questions, each in one; the others show the fit, or a kind
MEASURES = ("em", "f1", "answer_in_evidence", "recall@1")  # of page one
CONTEXTS = ("noise vulnerability", "context acceptability", "context insensitivity", "context misinterpretation")
LATER = {  # columns that tables of earlier runs lack, and what stands for not told
    "clusters": 0, "family": "",
    "train_seconds": nan, "write_seconds": nan, "choose_seconds": nan, "evidence_seconds": nan, "read_seconds": nan,
    "bytes_learned": 0, "bytes_text": 0, "bytes_gzip": 0,
}  # fmt: skip
PSEUDO = "pseudo-"  # begins the ids of tuples whose question the model asked itself; their answer is not known
CHANCES = ("chance", "chance-alike")  # no systems: what gold evidence of other questions says, in the tables of scores

OF_MEMORY = (  # tables of what only a run with a language model has
    "train_log", "damage", "write_curve", "failures", "contexts", "right_z", "selectors", "abstention", "noise",
)  # fmt: skip
TABLES: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_name("tables.yaml").read_text(encoding="utf-8"))


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
        column, where = frame[name], f"table {table}, column {name!r}"
        if right := {"int": pd.api.types.is_integer_dtype, "float": pd.api.types.is_float_dtype}.get(kind):
            if len(column) and not right(column):
                raise BadInput(f"{where}: must be {kind}, not {column.dtype}")
            continue
        for row, value in enumerate(column):
            if kind == "str" and not isinstance(value, str):
                raise BadInput(f"{where}, row {row}: must be text, not {value!r}")
            if kind in ("strs", "floats") and (isinstance(value, str) or not hasattr(value, "__len__")):
                raise BadInput(f"{where}, row {row}: must be a list, not {value!r}")
    return frame


def with_later(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """The frame with those of the table's columns that there were not yet when an earlier run wrote it."""
    lacks = {name: value for name, value in LATER.items() if name in TABLES[table] and name not in frame}
    return frame.assign(**lacks)


def in_order(names: Iterable[str], order: Collection[str]) -> list[str]:
    """The distinct names, those of `order` first and in its order, any other after them."""
    found = dict.fromkeys(names)
    return [name for name in order if name in found] + [name for name in found if name not in order]


def write_table(frame: pd.DataFrame, path: Path, table: str) -> pd.DataFrame:
    """Check the frame against the schema of `table`, write it as parquet, return it."""
    frame = check(frame, table)
    write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))
    return frame


def read_table(path: Path, table: str) -> pd.DataFrame:
    """Read a parquet table, of an earlier run too, and check it against the schema of `table`."""
    return check(with_later(pd.read_parquet(must_exist(path)), table), table)


def write_absent_tables(folder: Path) -> list[str]:
    """Write, without a row, what only a run with a language model has, so that every run has the same tables."""
    tables = {name: name for name in OF_MEMORY} | {"asked_seen": "asked", "asked_new": "asked"}
    for name, table in tables.items():
        write_table(no_rows(table), folder / f"{name}.parquet", table)
    return list(tables)

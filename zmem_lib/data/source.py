"""A data set's files as rows: from a local copy (`corpus.path`), or from the hub at `corpus.revision`.

Files are .json (a list of objects, or one object), .jsonl, .csv and .parquet, the first three also as .gz. Every row
comes with its place ("file, row n"), which every message about it names.
"""

import csv
import glob
import gzip
import io
import json
import re
import reprlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib import hub
from zmem_lib.data.folder import read_lines
from zmem_lib.data.rows import tables
from zmem_lib.files import BadInput
from zmem_lib.params import Params
from zmem_lib.text import unprintable

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".json.gz", ".jsonl.gz", ".csv.gz")
NO_ROWS = ("dataset_infos.json", "dataset_info.json", "state.json")  # of the hub's own bookkeeping
SPLIT_NAMES = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev", "test": "test"}
Row = tuple[str, dict[str, Any]]
Add = Callable[[dict[str, Any], str, dict[str, dict], dict[str, dict]], str | None]


@dataclass(frozen=True)
class Files:
    """The files found, the folder that their names are relative to, and what to call their source."""

    root: Path
    paths: tuple[Path, ...]
    source: str

    def name(self, path: Path) -> str:
        """The path below the root, in lower case."""
        return path.relative_to(self.root).as_posix().lower()

    def named(self, subset: str) -> tuple[Path, ...]:
        """The files in whose name, or in whose folder's, the subset stands as a word."""
        words = "[-_]?".join(map(re.escape, subset.lower().split("-")))
        return tuple(path for path in self.paths if re.search(f"(?<![a-z]){words}(?![a-z])", self.name(path)))

    def of_subset(self, subset: str, subsets: tuple[str, ...]) -> tuple[Path, ...]:
        """The files of one subset: those so named or, where no file names any subset, all; raises BadInput if none."""
        paths = () if any(map(self.named, subsets)) else self.paths
        if not (self.named(subset) or paths):
            raise BadInput(f"{self.root} holds no file of the subset {subset}: correct corpus_path or corpus_subset")
        return self.named(subset) or paths

    def splits(self) -> dict[Path, str]:
        """The split (train, dev or test) that each file's name tells; none at all where no file holds training rows."""
        words = {path: re.findall("[a-z]+", self.name(path)) for path in self.paths}
        told = {path: [SPLIT_NAMES[word] for word in found if word in SPLIT_NAMES] for path, found in words.items()}
        splits = {path: found[-1] for path, found in told.items() if found}
        return splits if "train" in splits.values() else {}


def find_files(params: Params, repo: str, patterns: tuple[str, ...] = ("*",)) -> Files:
    """The files at corpus_path or, where that is empty, in the hub's data set `repo`; raises BadInput if none.

    `patterns` are the files wanted of the hub's; of them and of a local copy only those of SUFFIXES count.
    """
    if params.corpus.path:
        path = Path(params.corpus.path).expanduser()
        if not path.exists():
            raise BadInput(f"corpus_path {path} does not exist (seen from {Path.cwd()}): correct corpus_path")
        commit = hub.revision_of(path)
        return _files(path, f"local copy at {params.corpus.path}" + (f", commit {commit}" if commit else ""))
    wanted = [f"{pattern}{suffix}" for pattern in patterns for suffix in SUFFIXES]
    folder = hub.fetch(repo, params.corpus.revision, kind="dataset", files=wanted)
    return _files(folder, f"{repo} on the Hugging Face hub, commit {hub.revision_of(folder)}")


def subset_of(params: Params, subsets: tuple[str, ...]) -> str:
    """The `corpus.subset` of a data set that has these; raises BadInput for any other."""
    if params.corpus.subset not in subsets:
        raise BadInput(
            f"corpus_subset of {params.corpus.name} must be one of {', '.join(subsets)}, not {params.corpus.subset!r}"
        )
    return params.corpus.subset


def subset_tables(
    found: Files, subset: str, subsets: tuple[str, ...], *, dropped: dict[str, int], add: Add
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Documents and questions of one subset's files, a question's split the one that its file's name tells.

    `add` puts a row into the documents and questions, or says why it is left out, which `dropped` counts.
    """
    splits = found.splits()
    docs: dict[str, dict] = {}
    questions: dict[str, dict] = {}
    for path in found.of_subset(subset, subsets):
        for where, row in rows_of(path):
            reason = add(row, where, docs, questions)
            if reason:
                dropped[reason] += 1
            elif path in splits:
                next(reversed(questions.values()))["split"] = splits[path]
    return tables(docs.values(), questions.values())


def rows_of(path: Path) -> Iterator[Row]:
    """Every row of a file with its place; raises BadInput where the file is not what its suffix says."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".jsonl"):
        for _, where, row in read_lines(path):
            yield where, row
        return
    reader = _read_parquet if name.endswith(".parquet") else _read_csv if name.endswith(".csv") else _read_json
    for number, row in enumerate(reader(path), 1):
        if not isinstance(row, dict):
            raise BadInput(f"{path}, row {number}: must be an object with named fields, not {shown(row)}")
        yield f"{path}, row {number}", row


def field(row: dict[str, Any], name: str, where: str) -> Any:
    """The value of a field that every row must have."""
    if name not in row:
        raise BadInput(f"{where}: field {name!r} is missing: the data set's own rows have it (book/data.md)")
    return row[name]


def text(row: dict[str, Any], name: str, where: str) -> str:
    """A field that holds text; a number is written out, null is empty."""
    return as_text(field(row, name, where), f"{where}: field {name!r}")


def texts(row: dict[str, Any], name: str, where: str, *, keep: bool = False) -> list[str]:
    """A field that holds a list of texts, without the empty and the repeated ones unless they are to be kept."""
    values = field(row, name, where)
    if values is not None and not isinstance(values, list):
        raise BadInput(f"{where}: field {name!r} must be a list of texts, not {shown(values)}")
    found = [as_text(value, f"{where}: field {name!r}") for value in values or []]
    return found if keep else list(dict.fromkeys(filter(None, map(str.strip, found))))


def as_text(value: Any, where: str) -> str:
    """The value as text; raises BadInput for what is no text or number, and for control characters."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadInput(f"{where} must be text, not {shown(value)}")
    found = unprintable(str(value))
    if found:
        raise BadInput(f"{where} has {found}: remove it")
    return "" if value != value else str(value)  # NaN is how tables write null


def shown(value: Any) -> str:
    """A value for a message: short, on one line, however deep it is nested."""
    return reprlib.repr(value)


def _files(path: Path, source: str) -> Files:
    if path.is_file():
        return Files(path.parent, (path,), source)
    found = sorted(one for one in path.rglob("*") if one.name.endswith(SUFFIXES) and one.is_file())
    kept = tuple(one for one in found if one.name not in NO_ROWS and not _hidden(one.relative_to(path)))
    if not kept:
        raise BadInput(f"{path} holds no {', '.join(SUFFIXES)} file: give the folder of the data set's files")
    return Files(path, kept, source)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read_json(path: Path) -> list[Any]:
    content = _plain_text(path)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:  # of ValueError: JSON that is broken, and a number without end
        raise BadInput(f"{path}: not valid JSON ({error}): download it again") from error
    return value if isinstance(value, list) else [value]


def _read_csv(path: Path) -> list[dict[str, Any]]:
    try:
        return list(csv.DictReader(io.StringIO(_plain_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise BadInput(f"{path}: not valid CSV ({error}): download it again") from error


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    try:
        yield from load_dataset("parquet", data_files=glob.escape(str(path)), split="train", streaming=True)
    except (pa.ArrowException, OSError) as error:
        told = " ".join(str(error).split())
        raise BadInput(f"{path}: not a whole Parquet file ({told}): download it again") from error


def _plain_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not valid UTF-8 at byte {error.start}: save the file as UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{path} is not a whole gzip file ({error}): compress it again") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error}): correct that there") from error

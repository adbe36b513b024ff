"""Published data sets: where their files lie, and how their rows become documents and questions.

The files of a DataSet are a local copy (`corpus.path`), or those of the hub at `corpus.revision`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib import hub
from zmem_lib.data.rows import Row, tables
from zmem_lib.files import BadInput
from zmem_lib.params import Params

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".json.gz", ".jsonl.gz", ".csv.gz")
NO_ROWS = ("dataset_infos.json", "dataset_info.json", "state.json")  # of the hub's own bookkeeping
EMPTY = "questions without words or without an answer"  # reasons why several data sets leave rows out
REPEATED = "questions whose id an earlier one has"
SPLIT_NAMES = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev", "test": "test"}

Tables = tuple[pd.DataFrame, pd.DataFrame]  # documents and questions
ById = dict[Any, dict[str, Any]]


@dataclass(frozen=True)
class Files:
    """The files of a data set as they were found."""

    paths: tuple[Path, ...]
    source: str  # what to call the place
    splits: Mapping[Path, str]  # train, dev or test, where the data set's own count; else a hash decides


@dataclass(frozen=True)
class DataSet:
    """What is to be known of a data set."""

    repos: Mapping[str, str]  # on the hub, by subset; of a data set without subsets that of ""
    reasons: tuple[str, ...]  # why rows are left out
    read: Callable[[Files, dict[str, int]], Tables]  # counts by reason what it leaves out
    parts: bool = False  # the subsets lie in one repository, and the names of its files tell subset and split
    wanted: str = "*"  # of the repository's files
    elsewhere: str = ""  # how to come by the files where no repository has them


def collect(
    rows_of: Callable[[Path], Iterator[Row]],
    add: Callable[[Row, ById, ById], str | None],
    found: Files,
    dropped: dict[str, int],
) -> Tables:
    """What `read` does where a row has both documents and a question.

    `add` puts a row into the documents and the questions, or says why it is left out.
    """
    docs: ById = {}
    questions: ById = {}
    for path in found.paths:
        for row in rows_of(path):
            if reason := add(row, docs, questions):
                dropped[reason] += 1
            elif path in found.splits:
                next(reversed(questions.values()))["split"] = found.splits[path]
    return tables(docs.values(), questions.values())


def find_files(data_set: DataSet, params: Params) -> Files:
    """The files at `corpus.path` or, where that is empty, on the hub, fetched if need be; raises BadInput."""
    corpus, subset = params.corpus, params.corpus.subset
    if len(data_set.repos) > 1 and subset not in data_set.repos:
        names = ", ".join(filter(None, data_set.repos))
        raise BadInput(f"corpus.subset of {corpus.name} must be one of {names}, not {subset!r}")
    if corpus.path:
        root = Path(corpus.path).expanduser()
        commit = hub.revision_of(root)
        source = f"local copy of commit {commit}" if commit else f"local copy {root.absolute().name}"
    elif data_set.elsewhere:
        raise BadInput(f"corpus {corpus.name} needs corpus.path: {data_set.elsewhere}")
    else:
        repo = data_set.repos.get(subset) or data_set.repos[""]
        patterns = [data_set.wanted.format(subset=subset) + suffix for suffix in SUFFIXES]
        root = hub.fetch(repo, corpus.revision, kind="dataset", files=patterns)
        source = f"{repo} on the Hugging Face hub, commit {hub.revision_of(root)}"
    names = _names(root)
    if not data_set.parts:
        return Files(tuple(names), source, {})
    paths = {}  # of each subset, which stands as a word in a file's name or its folder's
    for one in data_set.repos:
        word = "[-_]?".join(map(re.escape, one.lower().split("-")))
        paths[one] = [path for path in names if re.search(f"(?<![a-z]){word}(?![a-z])", names[path])]
    found = paths[subset] if any(paths.values()) else list(names)
    if not found:
        raise BadInput(f"{root} holds no file of the subset {subset}: correct corpus.path or corpus.subset")
    words = {path: [word for word in re.findall("[a-z]+", name) if word in SPLIT_NAMES] for path, name in names.items()}
    splits = {path: SPLIT_NAMES[some[-1]] for path, some in words.items() if some}
    return Files(tuple(found), f"{source}, subset {subset}", splits if "train" in splits.values() else {})


def _names(root: Path) -> dict[Path, str]:
    """The files of rows at a path, sorted, with their names below it in lower case; raises BadInput if none."""
    if root.is_file():
        return {root: root.name.lower()}
    if not root.is_dir():
        raise BadInput(f"corpus.path {root} does not exist (seen from {Path.cwd()}): correct corpus.path")
    names = {path: path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.name not in NO_ROWS}
    names = {path: name.lower() for path, name in names.items() if name.endswith(SUFFIXES) and "/." not in f"/{name}"}
    if not (kept := {path: name for path, name in names.items() if path.is_file()}):
        raise BadInput(f"{root} holds no {', '.join(SUFFIXES)} file: give the folder of the data set's files")
    return kept

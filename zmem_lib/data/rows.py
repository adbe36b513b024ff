"""Rows of files as pydantic models; what every loader returns; the few rules that all loaders share.

A file is .jsonl (one object a line, read as a stream), .json (a list of objects, or one), .csv or .parquet, the first
three also as .gz. A row that is not what its model says becomes one sentence with file, line (or row) and field.
"""

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from reprlib import repr as shown  # short, on one line, however deep a value is nested
from typing import Annotated, Any, TypeVar

import pandas as pd
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from zmem_lib.files import BadInput
from zmem_lib.tables import TABLES
from zmem_lib.text import canonical, end_of, unprintable

TEST_SHARE, DEV_SHARE = 0.2, 0.1
GROUPS_TEST_SHARE = 0.55  # where no document has two questions, a group of documents either teaches or tests
LINE_BYTES = 16 * 2**20  # of a line at most: a longer one is no passage, and would fill the memory
DOC_COLUMNS = ["doc_id", "title", "text"]


@dataclass(frozen=True)
class Corpus:
    """Documents and questions, where they come from, and what was left out of them.

    docs: doc_id, title, text; optionally `group` (documents that a subset keeps together or leaves out together) and
    `part` (of a corpus that has chosen its documents itself). questions: the columns of tables.TABLES["questions"].
    """

    docs: pd.DataFrame
    questions: pd.DataFrame
    source: str  # the folder, or the repository and commit
    dropped: dict[str, int]  # reason -> number of rows left out
    licence: str = ""  # as corpus.py knows it


def tables(docs: Iterable[dict], questions: Iterable[dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Documents and questions as data frames that have their columns even where there is no row."""
    docs = list(docs)
    table = pd.DataFrame(docs, columns=None if docs else DOC_COLUMNS)
    return table, pd.DataFrame(list(questions), columns=list(TABLES["questions"]))


def question_row(
    question_id: str,
    question: str,
    answers: list[str],
    gold_doc_ids: list[str],
    test: float = TEST_SHARE,
    **more: object,
) -> dict:
    """One row of the questions; by default place and evidence are unknown, and the split depends on the id alone.

    `test` is the share of test questions; a tenth is dev.
    """
    share = hash_of(question_id) / 16**12
    split = "test" if share < test else "dev" if share < test + DEV_SHARE else "train"
    row = {"question_id": question_id, "question": question, "answers": answers, "gold_doc_ids": gold_doc_ids}
    return row | {"split": split, "kind": "", "answer_start": -1, "evidence": ""} | more


def seeds_fold(groups: Sequence[list], most: int, seed: int) -> list[list]:
    """The groups that are new at a seed: in order they make folds of at most so many members, and each has its turn.

    Seed 0 takes the first fold, the next seed the next, and after the last the first again. A group with more members
    is in none, nor are those at the end that do not fill one. None where no group fits.
    """
    folds: list[list[list]] = []
    room = 0
    for group in groups:
        if len(group) > room and len(group) <= most:
            folds, room = [*folds, []], most
        if len(group) <= most:
            folds[-1].append(group)
            room -= len(group)
    whole = folds[:-1] if len(folds) > 1 and room else folds
    return whole[seed % len(whole)] if whole else []


def hash_of(text: str) -> int:
    """A number below 16**12 that a text alone decides."""
    return int(hashlib.sha1(text.encode()).hexdigest()[:12], 16)


def folded(text: str) -> str:
    """A question as its words alone: two in the same words are one question."""
    return " ".join(canonical(text).casefold().split())


def stands_at(answer: str, start: int | None, text: str) -> bool:
    """Whether an answer stands at an offset of a text, in whichever Unicode form."""
    return start is not None and start >= 0 and end_of(answer, start, text) >= 0


def _written(value: Any) -> Any:
    """A number as text; null as no text, and NaN, as which tables write null."""
    if value is None or value != value:
        return ""
    return str(value) if type(value) in (int, float) else value


def _printable(text: str) -> str:
    if found := unprintable(text):
        raise ValueError(f"has {found}: remove it")
    return text


Text = Annotated[str, BeforeValidator(_written), AfterValidator(_printable)]
Stripped = Annotated[Text, AfterValidator(str.strip)]
Texts = Annotated[list[Text], BeforeValidator(lambda value: [] if value is None else value)]
Distinct = Annotated[Texts, AfterValidator(lambda texts: list(dict.fromkeys(filter(None, map(str.strip, texts)))))]
Own = Annotated[str, AfterValidator(_printable)]  # in a user's file a number is no text
Filled = Annotated[Own, Field(pattern=r"\S")]
AllFilled = Annotated[list[Filled], Field(min_length=1)]
FORMS = {  # that a value must have, by what pydantic misses
    "string_type": "text", "int_type": "a whole number", "list_type": "a list", "tuple_type": "a list",
    "too_short": "a list of one or more", "too_long": "a shorter list", "missing": "a longer list",
    "model_type": "an object with named fields", "string_pattern_mismatch": "text that is not empty",
}  # fmt: skip

Row = TypeVar("Row", bound=BaseModel)  # of a file; fields that the model does not name are ignored


def rows_as(model: type[Row], path: Path) -> Iterator[Row]:
    """The rows of a file as their model; raises BadInput."""
    return (parsed(model, record, where) for where, record in read_rows(path))


def parsed(model: type[Row], record: Any, where: str) -> Row:
    """The record as its model; raises BadInput with the first thing that is wrong, as in field 'answers.1.text'.

    Items of a list of objects are counted from 1.
    """
    try:
        return model.model_validate(record)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        steps, kind = list(first["loc"]), first["type"]
        is_missing = kind == "missing" and isinstance(steps[-1], str)
        while steps and isinstance(steps[-1], int):  # of a list of texts
            steps.pop()
        path = ".".join(str(step + 1) if isinstance(step, int) else step for step in steps)
        form = first["ctx"]["expected"] if kind == "literal_error" else FORMS.get(kind, "of another kind")
        wrong = f"must be {form}, not {shown(first['input'])}"
        wrong = "is missing: add it" if is_missing else first["ctx"]["error"] if kind == "value_error" else wrong
        raise BadInput(f"{where}: {f'field {path!r} ' if path else ''}{wrong}") from error


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place ("file, line 3") and record of every row; raises BadInput where the file is not what its suffix says."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            for place, record in _records(path, stream):
                if not isinstance(record, dict):
                    raise BadInput(f"{path}, {place}: must be a JSON object with named fields, not {shown(record)}")
                yield f"{path}, {place}", record
    except csv.Error as error:
        raise BadInput(f"{path}: not valid CSV ({error}): download it again, or correct it") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{path} is not a whole gzip file ({error}): compress it again") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error}): correct that there") from error


def _records(path: Path, stream: io.BufferedIOBase) -> Iterator[tuple[str, Any]]:
    """Place in the file, and value, of every row, as the suffix says how to read it."""
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix == ".jsonl":
        for number, line in enumerate(iter(partial(stream.readline, LINE_BYTES + 1), b""), 1):
            where = f"{path}, line {number}"
            if len(line) > LINE_BYTES:
                raise BadInput(f"{where}: longer than {LINE_BYTES // 2**20} MiB: write one JSON object a line")
            if text := _decoded(line, where).strip():
                yield f"line {number}", _from_json(text, where, "write one JSON object a line")
    elif suffix == ".csv":
        reader = csv.DictReader(io.StringIO(_decoded(stream.read(), str(path)), newline=""), strict=True)
        yield from ((f"line {reader.line_num}", record) for record in reader)
    elif suffix == ".parquet":
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile

        try:
            records = (record for batch in ParquetFile(stream).iter_batches(1000) for record in batch.to_pylist())
            yield from ((f"row {number}", record) for number, record in enumerate(records, 1))
        except (pa.ArrowException, OSError) as error:
            told = " ".join(str(error).split())
            raise BadInput(f"{path}: not a whole Parquet file ({told}): download it again") from error
    else:
        value = _from_json(_decoded(stream.read(), str(path)), str(path), "download it again")
        yield from ((f"row {i}", record) for i, record in enumerate(value if isinstance(value, list) else [value], 1))


def _decoded(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: not valid UTF-8 at byte {error.start + 1}: save the file as UTF-8") from error


def _from_json(text: str, where: str, advice: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # of ValueError: JSON that is broken, and a number without end
        raise BadInput(f"{where}: not valid JSON ({error}): {advice}") from error

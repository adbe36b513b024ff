"""Your own documents, without questions: all `.txt` and `.md` files of the folder `corpus.path` and those inside it.

A passage is what stands under a heading of a Markdown file or, where a file has no heading, a paragraph; one of more
than WORDS is cut, between sentences where it can be. Its title is the file's name and its heading, its doc_id the
file's path and a number. What is hidden, or has no word, is left out. The language model makes the questions
(runs/before.py).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.data.rows import DOC_COLUMNS, Corpus, hash_of, question_row
from zmem_lib.files import BadInput, must_exist, read_json, text_files
from zmem_lib.params import Params
from zmem_lib.text import sentence_spans, unprintable, words

OWN = "own_questions.json"  # in the run's folder: the questions, and how many were left out and why
DEV_SHARE = 0.2  # of the questions, by which the learning is watched
WORDS = 250  # of a passage, at most
FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)  # of a Markdown file: what programs read
HEADING = re.compile(r"#{1,6}\s+(.*?)[\s#]*")
FENCE = re.compile(r"\s*(```|~~~)")  # of code, in which # is no heading
GAP = re.compile(r"\n\s*\n")


def files(params: Params) -> list[Path]:
    """The files of the folder, in order; raises BadInput where there is none."""
    if not params.corpus.path:
        raise BadInput("corpus texts needs corpus.path: give a folder of .txt and .md files")
    folder = Path(params.corpus.path).expanduser()
    if not folder.is_dir():
        raise BadInput(f"corpus.path {folder} is not a folder (seen from {Path.cwd()}): correct corpus.path")
    if not (found := text_files(folder)):
        raise BadInput(f"{folder} holds no .txt and no .md file: give a folder that does")
    return found


def read_texts(params: Params) -> pd.DataFrame:
    """doc_id, title and text of every passage, in the order of the files; raises BadInput."""
    folder, rows = Path(params.corpus.path).expanduser(), []
    for path in files(params):
        name = path.relative_to(folder).as_posix()
        found = [(heading, text) for heading, text in passages_of(read(path), path.suffix.lower()) if words(text)]
        rows += [
            (f"{name}#{i}", ": ".join(filter(None, [path.stem, heading])), text)
            for i, (heading, text) in enumerate(found, 1)
        ]
    if not rows:
        raise BadInput(f"the .txt and .md files of {folder} hold no word: write something into one")
    return pd.DataFrame(rows, columns=DOC_COLUMNS)


def load(params: Params, run: Path | None) -> Corpus:
    """The passages, and the questions that the model has asked about them, which lie in the run's folder."""
    docs, asked = read_texts(params), read_json(must_exist((run or Path()) / OWN))
    if len(docs) > params.corpus.documents:
        most = f"corpus.documents is {params.corpus.documents}"
        raise BadInput(f"{params.corpus.path} makes {len(docs)} passages, but {most}: raise it, or take a part of them")
    source = f"texts in the folder {Path(params.corpus.path).absolute().name}, questions by the model"
    return Corpus(docs, pd.DataFrame(asked["questions"]), source=source, dropped=asked["left out"])


def own_question(tuple_row: Mapping[Any, Any]) -> dict:
    """The row of a question that the model has asked, from its tuple: its answer is the sentence it was asked about."""
    question_id, evidence = tuple_row["question_id"], tuple_row["evidence"]
    split = "dev" if hash_of(question_id) < DEV_SHARE * 16**12 else "train"
    more = {"split": split, "answer_start": tuple_row["evidence_start"], "evidence": evidence}
    return question_row(question_id, tuple_row["question"], [evidence], [tuple_row["doc_id"]], **more)


def read(path: Path) -> str:
    """The text of a file, with plain line ends; raises BadInput."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as UTF-8 text ({error}): save it as that, or take it away") from error
    if sign := unprintable(text):
        raise BadInput(f"{path} has {sign}: remove it")
    return text


def passages_of(text: str, ending: str) -> Iterator[tuple[str, str]]:
    """The passages of a file, each with its heading, which is empty where there is none."""
    sections = list(sections_of(FRONT.sub("", text))) if ending == ".md" else [("", text)]
    if len(sections) == 1 and not sections[0][0]:
        sections = [("", paragraph) for paragraph in GAP.split(sections[0][1])]
    for heading, section in sections:
        for piece in cut(section.strip()):
            yield heading, piece


def sections_of(text: str) -> Iterator[tuple[str, str]]:
    """The headings of a Markdown text and what stands under each; before the first one, under an empty heading."""
    heading, lines, in_code = "", [], False
    for line in text.splitlines():
        in_code ^= bool(FENCE.match(line))
        if not in_code and (match := HEADING.fullmatch(line)):
            yield heading, "\n".join(lines)
            heading, lines = match[1], []
        else:
            lines.append(line)
    yield heading, "\n".join(lines)


def cut(text: str) -> Iterator[str]:
    """A text in pieces of at most WORDS words: of whole sentences, but for one that is longer."""
    begin, n = 0, 0
    for start, end in (part for span in sentence_spans(text) for part in parts_of(text, *span)):
        here = len(text[start:end].split())
        if n and n + here > WORDS:
            yield text[begin:start].strip()
            begin, n = start, 0
        n += here
    yield text[begin:].strip()


def parts_of(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span of a sentence, or of every WORDS words of one that has more, as a list without full stops may have."""
    said = [match.span() for match in re.finditer(r"\S+", text[start:end])]
    for i in range(0, len(said), WORDS):
        some = said[i : i + WORDS]
        yield start + some[0][0], start + some[-1][1]

"""Files of the folder format: what is read, how real ones load, and the sentence that every bad line and file gets."""

import gzip
import time

import pytest
from conftest import CORPORA
from folders import DOCS, QUESTIONS, load, write

from zmem_lib.data.folder import read_docs, read_questions
from zmem_lib.files import BadInput


def test_missing_splits_come_from_a_hash_of_the_id(tmp_path):
    bare = [
        question
        | {"question_id": f"{n}-{question['question_id']}", "question": f"{n}{question['question']}", "split": None}
        for question in QUESTIONS
        for n in range(30)
    ]
    questions = load(write(tmp_path, questions=bare), {"corpus.documents": 12, "corpus.new_documents": 0}).questions
    shares = questions["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.04) and shares["dev"] == pytest.approx(0.1, abs=0.03)


def test_gzip_byte_order_mark_windows_line_ends_and_blank_lines_are_read(tmp_path):
    plain = load(write(tmp_path))
    for name in ("corpus", "questions"):
        path = tmp_path / f"{name}.jsonl"
        lines = path.read_text(encoding="utf-8").replace("\n", "\r\n\r\n")
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode("utf-8-sig")))
        path.unlink()
    zipped = load(tmp_path)
    assert zipped.docs.equals(plain.docs) and zipped.questions.equals(plain.questions)


def test_ten_thousand_lines_take_seconds(tmp_path):
    docs = [DOCS[0] | {"doc_id": f"d{i}"} for i in range(10_000)]
    questions = [QUESTIONS[0] | {"question_id": f"q{i}", "doc_id": f"d{i}"} for i in range(10_000)]
    write(tmp_path, docs, questions)
    began = time.process_time()
    texts = read_docs(tmp_path / "corpus.jsonl").set_index("doc_id")["text"].to_dict()
    assert len(read_questions(tmp_path / "questions.jsonl", texts)) == 10_000
    assert time.process_time() - began < 5


D, Q = DOCS[0], QUESTIONS[0]
QA = Q | {"question_id": "a"}
BAD_DOCS = {
    "field 'text' is missing: add it": {"doc_id": "a"},
    "field 'text' must be text that is not empty, not ' '": {"doc_id": "a", "text": " "},
    "field 'doc_id' must be text, not 7": D | {"doc_id": 7},
    "field 'title' must be text, not 3": D | {"doc_id": "a", "title": 3},
    "doc_id 'd0' is already that of line 1: give every line its own": D,
    "not valid JSON": '{"doc_id": "a", ',
    "must be a JSON object with named fields, not [1, 2]": "[1, 2]",
}
BAD_QUESTIONS = {
    "field 'question' is missing: add it": {"question_id": "a"},
    "question_id 'q00' is already that of line 1": Q,
    "field 'answers' is missing: add it": {"question_id": "a", "question": "?", "doc_id": "d0"},
    "field 'answers' must be a list, not 'x0'": QA | {"answers": "x0"},
    "field 'answers' must be a list of one or more, not []": QA | {"answers": []},
    "field 'answers' must be text that is not empty, not ''": QA | {"answers": ["x0", ""]},
    "field 'doc_id' is missing: add it": {"question_id": "a", "question": "?", "answers": ["x0"]},
    "field 'doc_id' names 'nobody', which no document has": QA | {"doc_id": "nobody"},
    "field 'gold_doc_ids' names 'nobody'": QA | {"gold_doc_ids": ["d0", "nobody"]},
    "field 'gold_doc_ids' must be a list, not 'd0'": QA | {"gold_doc_ids": "d0"},
    "no answer stands at answer_start 3 of its document": QA | {"answer_start": 3},
    "no answer stands at answer_start -1": QA | {"answer_start": -1},
    "field 'answer_start' must be a whole number, not 3.5": QA | {"answer_start": 3.5},
    "field 'answer_start' must be a whole number, not True": QA | {"answer_start": True},
    "field 'split' must be 'train', 'dev' or 'test', not 'valid'": QA | {"split": "valid"},
    "field 'evidence' must be text, not ['x']": QA | {"evidence": ["x"]},
}
BAD_LINES = [("corpus.jsonl", *one) for one in BAD_DOCS.items()]
BAD_LINES += [("questions.jsonl", *one) for one in BAD_QUESTIONS.items()]


@pytest.mark.parametrize(("file", "sentence", "line"), BAD_LINES)
def test_bad_lines_are_named_by_file_line_and_field(tmp_path, file, sentence, line):
    rows = {"docs": [D, line, *DOCS[1:]]} if file == "corpus.jsonl" else {"questions": [Q, line]}
    with pytest.raises(BadInput) as caught:
        load(write(tmp_path, **rows))
    assert f"{file}, line 2: {sentence}" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("corpus.jsonl", None, "has neither corpus.jsonl nor corpus.jsonl.gz"),
        ("questions.jsonl", None, "has neither questions.jsonl"),
        ("corpus.jsonl", b"\n", "holds no document"),
        ("questions.jsonl", b"", "holds no question"),
        ("corpus.jsonl", b'{"a": "\xff"}', "corpus.jsonl, line 1: not valid UTF-8 at byte 8"),
        ("corpus.jsonl.gz", gzip.compress(b"{}" * 50, mtime=0)[:-20], r"corpus\.jsonl\.gz is not a whole gzip file"),
    ],
)
def test_bad_files_are_named(tmp_path, file, content, sentence):
    (write(tmp_path) / file.removesuffix(".gz")).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(BadInput, match=sentence):
        load(tmp_path)


@pytest.mark.parametrize("name", ["squad11-dev", "korquad"])
def test_real_corpora_load(name):
    if not (CORPORA / name).is_dir():
        pytest.skip(f"{CORPORA / name} is not there")
    corpus = load(CORPORA / name, {"corpus.documents": 50, "corpus.new_documents": 10})
    docs, questions = corpus.docs, corpus.questions
    texts = dict(zip(docs["doc_id"], docs["text"], strict=True))
    assert len(docs) == 60 and {"train", "dev", "test", "new-dev", "new-test"} == set(questions["split"])
    for row in questions.itertuples():
        assert texts[row.gold_doc_ids[0]].startswith(row.answers[0], row.answer_start)

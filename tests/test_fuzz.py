"""What readers of files do with anything at all: take it, or refuse it with one sentence, and never anything else."""

import gzip
import json

import pytest
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zmem_lib.data.folder import read_docs, read_questions
from zmem_lib.files import BadInput
from zmem_lib.params import check_params, flat, read_params

TEXTS = {"a": "Ada lives in Lund.", "b/b": "Bo lives in Ås."}
QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SMOKE = flat(read_params(ROOT / "params/smoke.yaml"))  # by dotted name
SECTIONS = sorted({name.partition(".")[0] for name in SMOKE})

any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)  # surrogates and controls too
good_text = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=12).filter(str.strip)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3))
odd_lines = st.sampled_from(
    [
        b'{"text": 1e999}', b'{"doc_id": "a", "text": "\\ud800"}', b"[" * 5000, b'{"a":' * 5000, b"9" * 5000,
        b'{"doc_id": ' + b"[" * 900 + b"]" * 900 + b"}", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"\x00", b"NaN",
        b'{"doc_id": "a", "doc_id": "b", "text": "x"}', b"\x1f\x8b\x08", b"\r", b"\xe2\x80\xa8", b'"text"', b"{}",
    ]
)  # fmt: skip
docs = st.fixed_dictionaries(
    {}, optional={"doc_id": values | good_text, "text": values | good_text, "title": values | good_text}
)
questions = st.fixed_dictionaries(
    {"question_id": good_text | values, "question": good_text | values},
    optional={
        "answers": st.lists(st.sampled_from(["Ada", "Lund"]) | any_text, max_size=3) | values,
        "doc_id": st.sampled_from(["a", "b/b", "c"]) | values,
        "gold_doc_ids": st.lists(st.sampled_from(["a", "b/b", "c"]) | any_text, max_size=3) | values,
        "answer_start": st.integers(-2, 20) | values,
        "split": st.sampled_from(["train", "dev", "test", "new-test"]) | values,
        "evidence": values,
    },
)


def lines_of(records):
    """JSON lines of any records, with lone surrogates as escapes and as broken UTF-8."""
    plain = records.map(lambda record: json.dumps(record).encode())
    return plain | records.map(lambda record: json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def files_of(records):
    """Whole files: any bytes, or lines of which some are near what is wanted."""
    lines = st.lists(lines_of(records) | odd_lines | st.binary(max_size=30), max_size=4)
    return st.binary(max_size=200) | st.tuples(lines, st.sampled_from([b"\n", b"\r\n"])).map(lambda x: x[1].join(x[0]))


def taken_or_refused(read, *arguments):
    """What the reader returns, or None where it refused with one sentence of one line."""
    try:
        return read(*arguments)
    except BadInput as error:
        sentence = str(error)
        assert len(sentence) > 20 and sentence.isprintable(), sentence
        sentence.encode()
        return None


@QUICK
@given(content=files_of(docs), zipped=st.sampled_from(["", ".gz", ".whole.gz"]))
def test_any_file_of_documents_is_taken_or_refused(content, zipped, tmp_path):
    path = tmp_path / f"corpus.jsonl{zipped}"
    path.write_bytes(gzip.compress(content) if "whole" in zipped else content)
    frame = taken_or_refused(read_docs, path)
    if frame is not None:
        assert frame["doc_id"].is_unique and frame["text"].str.strip().all()
        frame.to_parquet(tmp_path / "docs.parquet")  # whatever is taken can be written


@QUICK
@given(content=files_of(questions))
def test_any_file_of_questions_is_taken_or_refused(content, tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_bytes(content)
    frame = taken_or_refused(read_questions, path, dict(TEXTS))
    if frame is not None:
        assert frame["question_id"].is_unique and all(set(ids) <= set(TEXTS) for ids in frame["gold_doc_ids"])
        for row in frame.to_dict("records"):
            start = row["answer_start"]
            assert start == -1 or TEXTS[row["gold_doc_ids"][0]].startswith(row["answers"][0], start)
        frame.to_parquet(tmp_path / "questions.parquet")


@QUICK
@given(
    written=st.lists(st.tuples(good_text, good_text, st.just("") | good_text), min_size=1, unique_by=lambda doc: doc[0])
)
def test_documents_come_back_as_they_were_written(written, tmp_path):
    path = tmp_path / "corpus.jsonl"
    named = [dict(zip(("doc_id", "title", "text"), (i, title, text), strict=True)) for i, text, title in written]
    path.write_text(
        "\r\n\n".join(json.dumps(doc, ensure_ascii=False) for doc in named), encoding="utf-8-sig", newline=""
    )
    assert read_docs(path).to_dict("records") == named


def with_values(changed):
    """The smoke parameters with other values, as YAML text."""
    return yaml.safe_dump(SMOKE | changed, allow_unicode=True)


near_params = st.dictionaries(st.sampled_from([*SMOKE, *SECTIONS]) | any_text, values, max_size=3)
odd_yaml = st.sampled_from(
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nseed: *c", "seed: &s [*s]", "seed: 2020-01-01", "seed: 1_000",
        "seed: 0x_", "? [1, 2]\n: 3", "1: 2", "null: 1", "seed: .nan", "train: {z_rate: .inf}", "train.z_rate: -.inf",
        "train.z_rate: 1.0e+999", f"seed: {'9' * 5000}", f"train.z_rate: {'9' * 400}", f"train: {{steps: {'9' * 30}}}",
        "seed: 1\nseed: 2", "<<: {seed: 1}", "<<: 1", "[" * 3000, "a: " * 50, "!!python/object:os.system x",
        "seed: !!int x", "run: 2020-13-45 10:00:00", "run: 2020-13-45", "seed: !!float x", "\ufeffseed: 1",
        "seed: 1\n---\nseed: 2", "%YAML 9.9\n---\n", "\x00", "run: \x1b[2J", "run: !!binary x", "run: !!timestamp x",
        "seed: 190:20:30", "seed: 0o18", "seed: 08", "train: 1", "train: [1]", "train: {steps: {a: 1}}", "a: {1: 2}",
        "extends: p.yaml", "extends: [1]", "extends: {a: b}", "n_documents: 5", "n_documents: {a: 1}",
        "train: {steps: 1, steps: 2}", "train.steps: 1\ntrain: {steps: 2}",
    ]
)  # fmt: skip
FEWER = settings(QUICK, max_examples=60)  # a parameter file takes longer


@FEWER
@given(content=st.binary(max_size=100) | (near_params.map(with_values) | odd_yaml).map(lambda text: text.encode()))
def test_any_parameter_file_is_taken_or_refused(content, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    taken_or_refused(read_params, path)


@settings(QUICK, max_examples=40)
@given(text=any_text | odd_yaml, key=st.sampled_from(sorted(SMOKE)))
def test_any_override_is_taken_or_refused(text, key):
    taken_or_refused(read_params, ROOT / "params/smoke.yaml", [f"{key}={text}"])


@FEWER
@given(changed=near_params)
def test_parameters_that_are_taken_come_back_from_their_file(changed, tmp_path):
    params = taken_or_refused(check_params, SMOKE | changed, "here")
    if params is not None:
        (tmp_path / "p.yaml").write_text(yaml.safe_dump(params.model_dump(), allow_unicode=True), encoding="utf-8")
        assert read_params(tmp_path / "p.yaml") == params


@pytest.mark.parametrize("aliases", [8, 30])
def test_a_parameter_file_of_aliases_of_aliases_is_refused_at_once(aliases, tmp_path):
    names = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]" for i in range(aliases)]
    (tmp_path / "p.yaml").write_text("\n".join([*names, f"seed: *a{aliases - 1}"]))
    assert taken_or_refused(read_params, tmp_path / "p.yaml") is None

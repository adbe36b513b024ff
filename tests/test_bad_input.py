"""Every bad input that a user can give: one sentence, an exit code, no traceback, and nothing that was there is lost.

A row says how to make the input, in a folder of its own, and what is then said. What looks odd but has to work is here
too. Damage that needs a disk of its own, or a second process, has its own tests below.
"""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_training
import torch
from conftest import ROOT, gone, pid_in, zmem
from tiny_models import small_lm

from zmem_lib.cache import Cache, drop_cache
from zmem_lib.chapters import is_finished
from zmem_lib.data.corpus import load_corpus
from zmem_lib.data.tuples import make_tuples
from zmem_lib.files import LOCK, BadInput, write_json, write_tensors
from zmem_lib.hub import fetch, find_lm, find_model
from zmem_lib.memory.lessons import make_lessons
from zmem_lib.memory.lm import pick_device
from zmem_lib.memory.table import load_z, save_z
from zmem_lib.meter import memory_explained
from zmem_lib.opponents import bm25, dense
from zmem_lib.opponents.index import build_flat
from zmem_lib.params import changed, read_params
from zmem_lib.run import main, reported
from zmem_lib.runs.pipeline import write_params
from zmem_lib.tables import write_table

QWEN = str(ROOT / "params/qwen2.5-0.5b.yaml")
SMOKE = str(ROOT / "params/smoke.yaml")
PARAMS = read_params(SMOKE)
Make = Callable[[Path], Callable[[], int]]

DOCS = [{"doc_id": f"d{i}", "title": "", "text": f"Ada number {i} lives in Lund."} for i in range(4)]
QUESTIONS = [
    {"question_id": f"q{i}", "question": "Where?", "answers": ["Lund"], "doc_id": f"d{i % 4}", "split": "train"}
    for i in range(8)
]


def command(*arguments: str, set: str = "", **files: str | bytes) -> Make:
    """A row that calls `zmem run` with the smoke parameters, or whatever arguments, where these files lie."""

    def make(here: Path) -> Callable[[], int]:
        for name, content in files.items():
            (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        given = arguments or ("run", SMOKE)
        return lambda: main([*given, *(["--set", set] if set else [])])

    return make


def lines(records: list[dict]) -> bytes:
    return "\n".join(json.dumps(record) for record in records).encode()


def corpus(docs: bytes | None = None, questions: bytes | None = None, gz: bool = False, **values: object) -> Make:
    """A row that loads a corpus of these files, as chapter 01 does."""

    def make(here: Path) -> Callable[[], int]:
        for name, content, usual in (("corpus", docs, DOCS), ("questions", questions, QUESTIONS)):
            (here / f"{name}.jsonl{'.gz' * gz}").write_bytes(lines(usual) if content is None else content)
        plain = {"name": "folder", "path": str(here), "documents": 3, "new_documents": 1} | values
        params = changed(PARAMS, {f"corpus.{name}": value for name, value in plain.items()})
        return lambda: reported(lambda: load_corpus(params))

    return make


def call(work: Callable[[], object]) -> Make:
    """A row that calls what a chapter calls."""
    return lambda here: lambda: reported(work)


def second(records: list[dict], **fields: object) -> bytes:
    """The records with other fields in the second one."""
    return lines([records[0], records[1] | fields, *records[2:]])


def one_long_line(here: Path) -> Callable[[], int]:
    run = corpus()(here)
    with (here / "corpus.jsonl").open("r+b") as file:
        file.truncate(100 * 2**20)  # a hole of 100 MB, which takes no room on the disk
    return run


def no_answers(here: Path) -> Callable[[], int]:
    corpus(None, lines([question | {"answers": ["Paris"]} for question in QUESTIONS]))(here)
    params = changed(
        PARAMS, {"corpus.name": "folder", "corpus.path": str(here), "corpus.documents": 4, "corpus.new_documents": 0}
    )
    loaded = load_corpus(params)
    tuples = make_tuples(loaded.docs, loaded.questions, params.corpus.evidence_window)
    return lambda: reported(lambda: make_lessons(small_lm(), loaded.docs, tuples, params))


def other_run(here: Path) -> Callable[[], int]:
    write_params(changed(PARAMS, {"seed": 5}), here / "runs/smoke")
    return lambda: main(["run", SMOKE])


def run_of_another_version(here: Path) -> Callable[[], int]:
    (here / "runs/smoke").mkdir(parents=True)
    (here / "runs/smoke/params.yaml").write_text("run: smoke\nz_size: 3\n")
    return lambda: main(["run", SMOKE])


def foreign_folder(here: Path) -> Callable[[], int]:
    (here / "runs/smoke").mkdir(parents=True)
    (here / "runs/smoke/thesis.txt").write_text("mine")
    return lambda: main(["run", SMOKE, "--start-over"])


def no_memory(knobs: tuple[str, ...], error: Exception) -> Make:
    def work() -> None:
        with memory_explained(*knobs):
            raise error

    return call(work)


CPU_FULL = RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried 9 TB")
GPU_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 22 GiB")
GZIPPED = gzip.compress(lines([DOCS[0] | {"doc_id": f"d{i}"} for i in range(99)]))

REFUSED: dict[str, tuple[Make, str]] = {
    # the parameters
    "no parameter file": (command("run", "none.yaml"), "parameter file none.yaml does not exist"),
    "a folder for a file": (command("run", "."), "parameter file . is a folder"),
    "empty file": (command("run", "p", p=""), "p must hold `key: value` lines"),
    "not YAML": (command("run", "p", p="run: [1"), "p is not valid YAML"),
    "nested": (command("run", "p", p="run: {a: 1}"), "unknown parameter 'run.a'"),
    "a key twice": (command("run", "p", p="seed: 1\nseed: 2"), "p, line 2: 'seed' stands there twice"),
    "not UTF-8": (command("run", "p", p=b"run: \xff"), "p cannot be read as UTF-8"),
    "NUL": (command("run", "p", p="run: \x00"), "p is not valid YAML"),
    "unknown key": (command(set="corpus.document=5"), "unknown parameter 'corpus.document': did you mean 'corpus.doc"),
    "flat key": (command(set="n_documents=5"), "unknown parameter 'n_documents': it is called 'corpus.documents' now"),
    "missing key": (command("run", "p", p="seed: 1"), "parameter 'run' is missing"),
    "--set without value": (command(set="seed="), "'seed' must be a valid integer, not ''"),
    "--set without =": (command(set="seed"), "override 'seed' has no '='"),
    "no documents": (command(set="corpus.documents=0"), "'corpus.documents' must be greater than or equal to 1, not 0"),
    "a negative number": (command(set="corpus.documents=-3"), "'corpus.documents' must be greater than or equal to 1"),
    "fewer than none": (
        command(set="corpus.new_documents=-1"),
        "'corpus.new_documents' must be greater than or equal to 0",
    ),
    "a huge number": (command(set=f"corpus.documents={10**30}"), "'corpus.documents' must be"),
    "float without end": (command(set=f"train.z_rate={'9' * 400}"), "'train.z_rate' must be a"),
    "a fraction": (command(set="corpus.documents=1.5"), "'corpus.documents' must be a valid integer, not 1.5"),
    "infinite": (command(set="train.z_rate=.inf"), "'train.z_rate' must be a finite number, not inf"),
    "not a number": (command(set="train.z_rate=.nan"), "'train.z_rate' must be a finite number, not nan"),
    "1e-4": (command(set="train.z_rate=1e-4"), "write 1.0e-4"),
    "unknown corpus": (command(set="corpus.name=squat"), "must be synthetic, almanac, folder, texts, squad, mirage"),
    "unknown device": (command(set="machine.device=gpu"), "'machine.device' must be auto, cpu or cuda, not 'gpu'"),
    "window too small": (command(set="lm.window_tokens=64"), "lm.window_tokens 64 is too small"),
    "long context too long": (command(set="answer.long_context_tokens=201"), "does not fit into lm.window_tokens 256"),
    "no run name": (command(set="run="), "run '' names a folder"),
    "run name with a path": (command(set="run=../a"), "run '../a' names a folder"),
    "control character": (command(set="corpus.path=a\x1bb"), "'corpus.path' has a control character"),
    "muon on an adapter": (
        command("run", QWEN, "--set", "train.optimiser=muon"),
        "train.optimiser muon needs a model whose",
    ),
    "4 bit from scratch": (command(set="lm.quantisation=nf4"), "lm.quantisation nf4 needs a pretrained lm.name"),
    "reader without an address": (
        command(set="answer.reader=api"),
        "answer.reader api needs answer.api_url and answer.api_model: say",
    ),
    "judge without a model": (
        command("run", SMOKE, "--set", "evaluate.judge=api", "answer.api_url=http://localhost/v1"),
        "evaluate.judge api needs answer.api_url and evaluate.judge_model",
    ),
    "a budget without prices": (
        command(
            "run",
            SMOKE,
            "--set",
            "answer.reader=api",
            "answer.api_url=http://h/v1",
            "answer.api_model=m",
            "machine.api_budget=1",
            "answer.api_input_price=1",
        ),
        "machine.api_budget needs answer.api_input_price and answer.api_output_price",
    ),
    "an address with a password": (
        command(set="answer.api_url=https://me:secret@h:x/v1"),
        "answer.api_url holds more than an address",
    ),
    "an address with a key": (
        command(set="answer.api_url=https://h/v1?key=secret"),
        "a key goes into the environment as ZMEM_A",
    ),
    "an address of a file": (
        command(set="answer.api_url=file:///etc/passwd"),
        "answer.api_url 'file:///etc/passwd' is no address",
    ),
    "an address without a host": (command(set="answer.api_url=localhost:8000/v1"), "write it as http://HOST:PORT/v1"),
    "an address with no such port": (command(set="answer.api_url=http://h:99999/v1"), "is no address"),
    # the command line and folders
    "wrong order": (command("run", SMOKE, "--from", "05", "--to", "03"), "--from 05 comes after --to 03"),
    "from the middle": (command("run", SMOKE, "--from", "04"), "chapter 01_corpus of runs/smoke is not finished"),
    "book before the end": (command("run", SMOKE, "--book", "--to", "02"), "--book needs chapter 07"),
    "other parameters": (other_run, "seed (5 there, 1 now)"),
    "run of another version": (run_of_another_version, "runs/smoke holds a run whose parameters cannot be read"),
    "not a run's folder": (foreign_folder, "runs/smoke is not the folder of a run"),
    "runs is a file": (command("run", SMOKE, "--runs", "f", f="x"), "f/smoke cannot be written (not a directory)"),
    "no notebooks": (command("run", SMOKE, "--notebooks", "none"), "none/01_corpus.ipynb does not exist"),
    "ask nothing": (command("ask", "smoke", " "), "the question is empty"),
    "ask a broken text": (command("ask", "smoke", "who\udcff?"), "the lone surrogate U+DCFF at character 4"),
    "ask no run": (command("ask", "smoke", "who?"), "runs/smoke is not the folder of a run"),
    "ask for none": (command("ask", "smoke", "who?", "--top-k", "0"), "--top-k must be at least 1"),
    "book of nothing": (command("book"), "no run in runs went through to chapter 07"),
    "book of no run": (command("book", "tiny"), "run folder runs/tiny does not exist"),
    # the corpus
    "no folder": (corpus(path="none"), "none is not a folder"),
    "no path": (corpus(path=""), "corpus folder needs"),
    "no files": (corpus(path=str(ROOT / "params")), "has neither corpus.jsonl nor corpus.jsonl.gz"),
    "empty corpus": (corpus(b""), "corpus.jsonl holds no document"),
    "no questions": (corpus(questions=b"\n\n"), "questions.jsonl holds no question"),
    "empty text": (corpus(second(DOCS, text=" ")), "line 2: field 'text' must be text that is not empty"),
    "empty question": (corpus(None, second(QUESTIONS, question="")), "line 2: field 'question' must be text that is"),
    "no answers": (corpus(None, second(QUESTIONS, answers=[])), "line 2: field 'answers' must be a list of one"),
    "unknown document": (corpus(None, second(QUESTIONS, doc_id="x")), "names 'x', which no document has"),
    "answer not there": (
        corpus(None, second(QUESTIONS, answer_start=3)),
        "line 2: no answer stands at answer_start 3 of its document",
    ),
    "control character in a text": (
        corpus(second(DOCS, text="a\x07b")),
        "line 2: field 'text' has the control character U+0007 at character 2",
    ),
    "NUL in an id": (corpus(second(DOCS, doc_id="a\x00")), "'doc_id' has the control character U+0000"),
    "surrogate": (corpus(None, second(QUESTIONS, answers=["\ud800"])), "'answers' has the lone surrogate U+D800"),
    "broken UTF-8": (corpus(lines(DOCS) + b"\n\xff"), "line 5: not valid UTF-8 at byte 1"),
    "UTF-16": (corpus(lines(DOCS).decode().encode("utf-16")), "line 1: not valid UTF-8 at byte 1"),
    "not JSON": (corpus(b"doc_id,text\n1,a"), "line 1: not valid JSON"),
    "a number without end": (corpus(b'{"doc_id": ' + b"9" * 5000 + b"}"), "line 1: not valid JSON"),
    "nested without end": (corpus(b"[" * 10**6), "line 1: not valid JSON"),
    "a list": (corpus(b"[1]"), "line 1: must be a JSON object"),
    "an id twice": (corpus(second(DOCS, doc_id="d0")), "doc_id 'd0' is already that of line 1"),
    "100 MB in a line": (one_long_line, "line 4: longer than 16 MiB"),
    "half a gz file": (corpus(GZIPPED[:-9], gz=True), "corpus.jsonl.gz is not a whole gzip file"),
    "a damaged gz file": (corpus(GZIPPED[:30] + b"?" + GZIPPED[31:], gz=True), "is not a whole gzip file"),
    "gz that is none": (corpus(lines(DOCS), gz=True), "corpus.jsonl.gz is not a whole gzip file"),
    "more than there is": (corpus(documents=9), "make 10, but the corpus has 4 documents"),
    "no training question": (
        corpus(None, lines([question | {"split": "test"} for question in QUESTIONS])),
        "no training question is about a chosen document",
    ),
    "no answer in any passage": (no_answers, "no training question has an answer that stands in its document"),
    # models and machines
    "no model folder": (call(lambda: find_lm("./none", "")), "lm.name './none' is not a folder"),
    "no reranker": (
        call(lambda: find_model("answer.rerank_model", "./none")),
        "answer.rerank_model './none' is not a folder",
    ),
    "an empty model folder": (call(lambda: find_lm(str(ROOT / "params"), "")), "holds no config.json"),
    "no dense model": (call(lambda: dense.load_encoder("./none", "cpu")), "./none is not a folder"),
    "model, offline": (
        call(lambda: find_lm("org/name", "v1")),
        "run `hf download org/name --revision v1 --local-dir DIR`, bring DIR here, and set lm.name",
    ),
    "dense model, offline": (call(lambda: dense.load_encoder("org/name", "cpu")), "org/name"),
    "data set, offline": (
        call(lambda: load_corpus(changed(PARAMS, {"corpus.name": "squad"}))),
        "--local-dir DIR`, bring DIR here, and set corpus.path to it",
    ),
    "no hub name": (call(lambda: fetch("not a name", "", kind="model")), "nor a name on the hub"),
    "GPU full": (no_memory(("machine.micro_batch",), GPU_FULL), "the GPU has too little memory (CUDA out of mem"),
    "memory full": (
        no_memory(("machine.scan_batch",), CPU_FULL),
        "lower machine.scan_batch (--set machine.scan_batch=N), or",
    ),
    "memory full in Python": (no_memory(("machine.scan_batch",), MemoryError()), "this machine has too little memory"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a test's own, with a space and a letter beyond ASCII in its name; the working directory."""
    folder = tmp_path / "my räksmörgås"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # kernels start here
    return folder


def files(folder: Path) -> dict[Path, int]:
    """What lies in a folder, with a hash of what is in it; of a large file its size."""
    there = [path for path in folder.rglob("*") if path.is_file()]
    return {path: hash(path.read_bytes()) if path.stat().st_size < 10**6 else path.stat().st_size for path in there}


@pytest.mark.parametrize("name", REFUSED)
def test_one_sentence_and_nothing_lost(name: str, here: Path, capsys: pytest.CaptureFixture) -> None:
    make, sentence = REFUSED[name]
    run = make(here)
    before, began = files(here), time.monotonic()
    assert run() == 2
    assert time.monotonic() - began < 10
    said = capsys.readouterr().err
    assert said.startswith("zmem: ") and said.count("\n") == 1 and said.strip().isprintable()
    assert sentence in said and "secret" not in said
    assert files(here).items() >= before.items()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(BadInput, match=r"machine\.device is cuda but torch finds no GPU: set it to cpu or auto"):
        pick_device("cuda")


ODD_IDS = ["../a", "a/b", "con", "x" * 300, "🦜", "a\nb", ".", "null", " d "]
ODD = [{"doc_id": name, "text": f"Ada {i} lives in Lund."} for i, name in enumerate(ODD_IDS)]
ODD_QUESTIONS = [QUESTIONS[0] | {"question_id": f"{name}?", "doc_id": name} for name in ODD_IDS]
TWICE_GZIPPED = gzip.compress(lines(DOCS[:2]) + b"\n") + gzip.compress(lines(DOCS[2:]))
WORKS = {
    "gz": corpus(gzip.compress(lines(DOCS)), gzip.compress(lines(QUESTIONS)), gz=True),
    "two gz files in one": corpus(TWICE_GZIPPED, gzip.compress(lines(QUESTIONS)), gz=True),
    "Windows line ends": corpus(lines(DOCS).replace(b"\n", b"\r\n"), lines(QUESTIONS).replace(b"\n", b"\r\n")),
    "byte order mark": corpus(b"\xef\xbb\xbf" + lines(DOCS), b"\xef\xbb\xbf" + lines(QUESTIONS)),
    "blank lines": corpus(lines(DOCS).replace(b"\n", b"\n\n  \n"), lines(QUESTIONS) + b"\n\n"),
    "an answer in no passage": corpus(None, second(QUESTIONS, answers=["Paris"])),
    "no new documents": corpus(documents=4, new_documents=0),
    "ids that are no file names": corpus(lines(ODD), lines(ODD_QUESTIONS), documents=8),
    "markup, emoji and joined letters": corpus(second(DOCS, text="<script>1</script> $x$ 🦜 e\u0301 \u202etxt")),
    "a line of 8 MB": corpus(second(DOCS, text="Ada " * 2**21)),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKS)
def test_what_looks_odd_and_works(name: str, here: Path, capsys: pytest.CaptureFixture) -> None:
    assert WORKS[name](here)() == 0
    assert capsys.readouterr().err == ""


def test_document_ids_are_never_file_names(here: Path) -> None:
    corpus(lines(ODD), lines(ODD_QUESTIONS))(here)
    loaded = load_corpus(
        changed(PARAMS, {"corpus.name": "folder", "corpus.path": ".", "corpus.documents": 8, "corpus.new_documents": 1})
    )
    doc_ids, folder = list(loaded.docs["doc_id"]), here / "run"
    assert sorted(doc_ids) == sorted(ODD_IDS)
    write_table(loaded.docs, folder / "docs.parquet", "docs")
    write_table(make_tuples(loaded.docs, loaded.questions, 0), folder / "tuples.parquet", "tuples")
    save_z(doc_ids, torch.zeros(9, 1, 2), folder / "z.safetensors")
    bm25.save_bm25(bm25.build_bm25(doc_ids, list(loaded.docs["text"])), folder / "bm25")
    dense.save_dense(dense.DenseIndex(doc_ids, build_flat(np.eye(9))), folder / "dense.faiss")
    assert load_z(folder / "z.safetensors")[0] == doc_ids
    assert bm25.load_bm25(folder / "bm25").doc_ids == doc_ids
    assert dense.load_dense(folder / "dense.faiss").doc_ids == doc_ids
    assert {path.name for path in here.rglob("*")} == {
        "corpus.jsonl", "questions.jsonl", "run", "docs.parquet", "tuples.parquet", "z.safetensors", "bm25",
        "terms.parquet", "settings.json", "dense.faiss", "dense_ids.json",
    }  # fmt: skip


def test_a_long_line_is_not_read_whole(here: Path, capsys: pytest.CaptureFixture) -> None:
    import tracemalloc

    run = one_long_line(here)
    tracemalloc.start()
    assert run() == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20, "the line of 100 MB was read whole"


def test_out_of_memory_keeps_the_checkpoint(here: Path, monkeypatch, capsys) -> None:
    import zmem_lib.memory.train as training

    step, keep = training.train_step, Cache(here / "under_way", "these")

    def train(fails_at: int) -> pd.DataFrame:
        memory_lm, z_table, lessons = tiny_training.setting()

        def limited(started, at):
            if at == fails_at:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return step(started, at)

        monkeypatch.setattr(training, "train_step", limited)
        log = training.train(memory_lm, z_table, lessons, keep=keep)
        return log.drop(columns="seconds"), z_table.z

    assert reported(lambda: train(fails_at=7)) == 2
    assert "lower machine.micro_batch (--set machine.micro_batch=N)" in capsys.readouterr().err
    assert json.loads((here / "under_way/checkpoint/state.json").read_text())["step"] == 7
    (log, z), (never_log, never_z) = train(fails_at=-1), (drop_cache(keep), train(-1))[1]
    assert log.equals(never_log) and torch.equal(z, never_z)


def in_its_own_process(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run some lines as the command line would, in a process with this environment."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    imports = "import sys; from zmem_lib.run import reported; from zmem_lib.hub import fetch"
    started = [sys.executable, "-c", f"{imports}; sys.exit(reported(lambda: {code}))"]
    environment = inherited | environment
    return subprocess.run(started, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


class GatedHub(BaseHTTPRequestHandler):
    """A hub that answers everything as the real one answers for a gated model without a token."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("X-Error-Message", "Access to model org/name is restricted.")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def gated_hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), GatedHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_gated_model_without_a_token(tmp_path: Path) -> None:
    with gated_hub() as address:
        done = in_its_own_process("fetch('org/name', '', kind='model')", HF_ENDPOINT=address, HF_HOME=str(tmp_path))
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "model org/name is gated: accept its licence" in done.stderr and "HF_TOKEN" in done.stderr


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    where = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = in_its_own_process("fetch('org/name', '', kind='dataset')", **where)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "the hub cannot be reached" in done.stderr and "hf download org/name --repo-type dataset" in done.stderr


def test_a_broken_corpus_in_a_chapter_is_one_sentence(here: Path, capsys) -> None:
    corpus(lines(DOCS) + b"\n{}")(here)
    assert main(["run", SMOKE, "--set", "corpus.name=folder", f"corpus.path={here}"]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.out
    assert printed.err.startswith(f"zmem: {here}/corpus.jsonl, line 5: field 'doc_id' is missing: add it (chapter 01")
    assert (here / "runs/smoke/01_corpus.failed.ipynb").is_file()


def test_a_failed_chapter_is_one_sentence_and_exit_code_1(stand_ins, here: Path) -> None:
    done = zmem("run", SMOKE, "--runs", here, "--notebooks", stand_ins({1: "{}['x']"}))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("zmem: chapter 01_corpus failed in cell [4]: KeyError: 'x'")


@pytest.fixture
def first_run(stand_ins, here: Path) -> Iterator[tuple[subprocess.Popen, list[str]]]:
    """A run that stands still in its second chapter until there is a file `go`, and its arguments."""
    notebooks = stand_ins({2: "import time\nif not (folder / 'go').exists(): time.sleep(300)"})
    arguments = ["run", SMOKE, "--to", "02", "--runs", str(here), "--notebooks", str(notebooks)]
    run = subprocess.Popen([sys.executable, "-m", "zmem_lib.run", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    yield run, arguments
    run.kill()
    run.wait()


def test_a_second_run_into_the_same_folder_is_refused(first_run, here: Path, capsys) -> None:
    first, arguments = first_run
    kernel = pid_in(here / "smoke/out_2.txt")
    for more in ([], ["--start-over"]):
        assert main([*arguments, *more]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"another run works in {here}/smoke (process {first.pid}, since 20" in said
        assert (here / "smoke/manifest_01.json").is_file() and (here / "smoke/out_2.txt").is_file()
    assert main(["ask", "smoke", "who?", "--runs", str(here)]) == 2  # it needs no lock: refused for another reason
    assert "chapter 02 of" in capsys.readouterr().err
    first.kill()
    first.wait()
    assert gone(kernel)
    (here / "smoke/go").touch()
    assert main(arguments) == 0
    assert "01_corpus: finished before, skipped" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"inputs": 1}', "\x00"])
def test_a_damaged_manifest_is_a_chapter_not_finished(content: str, here: Path) -> None:
    (here / "manifest_01.json").write_text(content)
    assert not is_finished(here, 1, PARAMS)


def mount(*arguments: object) -> None:
    """Mount something, or skip the test where that is not allowed."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("a disk of a test's own needs Linux and root")
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk in memory of this size."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def write_index(shape: tuple[int, int], path: Path) -> None:
    dense.save_dense(dense.DenseIndex([], build_flat(np.ones(shape))), path)


LARGE = pd.DataFrame({"doc_id": [f"{i:09}" for i in range(9000)]}).assign(title="", text="", part="seen")
WRITERS: dict[str, Callable[[Path], object]] = {
    "table": lambda path: write_table(LARGE.assign(text=LARGE["doc_id"].map(hash).astype(str)), path / "a", "docs"),
    "tensors": lambda path: write_tensors({"z": torch.zeros(50_000)}, path / "a"),
    "json": lambda path: write_json(list(range(50_000)), path / "a"),
    "index": lambda path: write_index((99, 999), path / "a"),
    "index smaller than a buffer": lambda path: write_index((9, 240), path / "a"),
    "terms": lambda path: bm25.save_bm25(
        bm25.build_bm25(list(LARGE["doc_id"]), [str(hash(i)) for i in LARGE["doc_id"]]), path / "a"
    ),
}  # fmt: skip


def test_every_writer_says_that_the_disk_is_full(tmp_path: Path, capsys) -> None:
    with disk(tmp_path / "disk", "16k") as full:
        (full / "fill").write_bytes(b"x" * 8192)  # what is left holds less than any of them writes
        for name, write in WRITERS.items():
            assert reported(lambda: write(full)) == 2, name  # noqa: B023
            said = capsys.readouterr().err
            assert f"no space left on the disk while writing {full / 'a'}" in said and said.count("\n") == 1, name
            left = {path.name for path in full.rglob("*") if path.is_file()}
            assert left == {"fill"}, name
        mount("-o", "remount,ro", full)
        for name, write in WRITERS.items():
            assert reported(lambda: write(full)) == 2, name  # noqa: B023
            said = capsys.readouterr().err
            assert "lies on a disk that is read-only: give another folder" in said and said.count("\n") == 1, name


WRITE = "from zmem_lib.files import write_json\nwrite_json('x' * 300_000, folder / 'a.json')"
FILLING = {
    "in the chapter": (WRITE, "a.json"),
    "in its executed copy": ("print('x' * 300_000)", "02_tuples.ipynb"),
}


@pytest.mark.long
@pytest.mark.parametrize("where", FILLING)
def test_a_run_on_a_full_disk_goes_on_when_there_is_space(where: str, stand_ins, tmp_path: Path, capsys) -> None:
    cell, name = FILLING[where]
    notebooks = stand_ins({2: cell})
    arguments = ["run", SMOKE, "--to", "02", "--runs", str(tmp_path / "disk"), "--notebooks", str(notebooks)]
    with disk(tmp_path / "disk", "200k") as full:
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"zmem: no space left on the disk while writing {full / 'smoke' / name}: free some")
        assert said.count("\n") == 1 and (full / "smoke/01_corpus.ipynb").is_file()
        assert [path.name for path in full.rglob(".*") if path.name != LOCK] == []
        mount("-o", "remount,size=8m", full)
        assert main(arguments) == 0
        printed = capsys.readouterr()
        assert "01_corpus: finished before, skipped" in printed.out and printed.err == ""


def test_a_finished_run_on_a_read_only_disk_can_be_read(smoke_runs: Path, tmp_path: Path, capsys) -> None:
    with disk(tmp_path / "disk", "16m") as readable:
        subprocess.run(["cp", "-r", smoke_runs / "smoke", readable], check=True)
        mount("-o", "remount,ro", readable)
        assert main(["run", SMOKE, "--runs", str(readable)]) == 2
        said = capsys.readouterr().err
        assert f"{readable}/smoke lies on a disk that is read-only: give another folder" in said
        done = zmem("ask", "smoke", "Where does Ada live?", "--runs", readable)
        assert (done.returncode, done.stderr) == (0, "") and "\nbm25: answer" in done.stdout

"""The whole way: seven notebooks by papermill at params/smoke.yaml, schema checks, a second call, one question."""

import json
import shutil

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, SECRETS, zmem
from nbclient import NotebookClient

from zmem_lib.chapters import CHAPTERS, is_finished
from zmem_lib.files import LOCK
from zmem_lib.memory.table import load_z
from zmem_lib.params import read_params
from zmem_lib.run import main
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import CHANCES, TABLES, read_table

PARAMS = read_params(ROOT / "params/smoke.yaml")
PLAIN = {".parquet", ".safetensors", ".json", ".ipynb", ".faiss", ".yaml", ".png", ".md", ".jinja", ".html", ".pptx"}
NOT_HERE = ("dense-tuned", "hybrid+rerank")  # the encoder of the one would take up 90 MB, of the other there is none
COMPARED_HERE = [name for name in SYSTEMS if name not in NOT_HERE]
NAMES = set(TABLES) - {"answers", "asked", "by_document", "scored"}  # by system; by part; of what is kept; of a command


def test_every_chapter_is_executed_and_finished(smoke_runs):
    folder = smoke_runs / "smoke"
    assert sorted(path.stem for path in folder.glob("*.ipynb")) == list(CHAPTERS.values())
    for number, name in CHAPTERS.items():
        assert is_finished(folder, number, PARAMS), name
        notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        assert "papermill" not in notebook.metadata
    assert [path.name for path in folder.rglob(".*")] == [LOCK], "a temporary file was left"


def test_every_table_has_its_columns(smoke_runs):
    folder = smoke_runs / "smoke"
    for name in NAMES:
        assert len(read_table(folder / f"{name}.parquet", name)) or name in ("damage", "verdicts", "judged"), name
    asked = {system: read_table(folder / f"answers_{system}.parquet", "answers") for system in COMPARED_HERE}
    tested = {tuple(answers.query("part != 'trained'")["question_id"]) for answers in asked.values()}
    assert len(tested) == 1, "not every system got the same questions"


def test_summary_is_within_bounds(smoke_runs):
    summary = read_table(smoke_runs / "smoke/summary.parquet", "summary")
    assert set(summary["system"]) == {*COMPARED_HERE, *CHANCES}
    assert {"seen", "new", "trained", "rephrased", "unasked"} == set(summary["part"])
    wanted = {"em", "f1", "answer_in_evidence", "recall@1", "recall@5", "recall@20", "mrr@10", "ndcg@10"}
    assert wanted <= set(summary["metric"])
    quality = summary[summary["metric"].isin(wanted)].dropna(subset=["value"])
    assert quality["value"].between(0, 1).all() and (quality["n"] > 0).all()
    assert (quality["ci_low"] <= quality["value"] + 1e-9).all()
    assert (quality["value"] <= quality["ci_high"] + 1e-9).all()


def test_test_questions_are_kept_apart(smoke_runs):
    folder = smoke_runs / "smoke"
    questions = read_table(folder / "questions.parquet", "questions")
    new = set(docs := read_table(folder / "docs.parquet", "docs").query("part == 'new'")["doc_id"])
    assert len(docs) == PARAMS.corpus.new_documents
    for row in questions.itertuples():
        assert (row.split.startswith("new")) == bool(new & set(row.gold_doc_ids)), row.question_id


def test_output_says_times_and_summary_and_nothing_else(smoke_runs):
    output, errors = (smoke_runs / "output.txt").read_text().split("\n--- stderr\n")
    for name in CHAPTERS.values():
        assert f"{name}: about" in output and f"{name}: done in" in output
    assert all(system in output for system in COMPARED_HERE) and "recall@1" in output
    assert errors.strip() == ""


@pytest.mark.parametrize("name", ["01_corpus", "07_report"])
def test_an_executed_copy_runs_again_where_it_lies(name, smoke_runs, tmp_path):
    shutil.copytree(smoke_runs / "smoke", tmp_path / "elsewhere/smoke")
    path = tmp_path / "elsewhere/smoke" / f"{name}.ipynb"
    before = {file: file.stat().st_mtime for file in path.parent.glob("*.parquet")}
    copy = nbformat.read(path, as_version=4)
    manifest = path.parent / f"manifest_{name[:2]}.json"
    made = json.loads(manifest.read_text())
    manifest.unlink()
    again = NotebookClient(copy, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert len(again.cells) == len(copy.cells)
    assert json.loads(manifest.read_text())["params"] == made["params"]
    assert is_finished(path.parent, int(name[:2]), PARAMS)
    moved = {file.name for file, time in before.items() if file.stat().st_mtime != time}
    assert moved == ({"docs.parquet", "questions.parquet", "absent.parquet"} if name == "01_corpus" else set())


def test_a_second_call_skips_all_seven(smoke_runs):
    done = zmem("run", "params/smoke.yaml", "--runs", smoke_runs)
    assert done.returncode == 0 and done.stdout.count("finished before, skipped") == 7
    refused = zmem("run", "params/smoke.yaml", "--runs", smoke_runs, "--set", "seed=2")
    assert refused.returncode == 2 and "seed (1 there, 2 now)" in refused.stderr


def test_ask_shows_three_systems(smoke_runs):
    question = pd.read_parquet(smoke_runs / "smoke/questions.parquet")["question"][0]
    done = zmem("ask", "smoke", question, "--top-k", "2", "--runs", smoke_runs)
    assert done.returncode == 0, done.stderr
    for system in ("zmem", "bm25", "dense"):
        assert f"\n{system}: answer" in done.stdout
    assert done.stdout.count("  2. ") == 3
    assert done.stdout.count("(stretched cosine of key and log p(question | z), weighed ") == 2, "of zmem's documents"
    assert done.stderr.strip() == ""


def test_score_asks_all_test_questions_and_says_what_it_does_not_know(smoke_runs, capsys):
    systems = ["--systems", "zmem-oracle", "bm25"]
    done = zmem("score", "smoke", *systems, "--runs", smoke_runs)
    assert (done.returncode, done.stderr) == (0, "")
    questions = pd.read_parquet(smoke_runs / "smoke/questions.parquet")
    asked = questions["split"].value_counts()
    for part, split in (("seen", "test"), ("new", "new-test")):
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith(f"{part} ")]
        assert {(line[1], line[2]) for line in lines} == {
            ("answer_in_evidence", "zmem-oracle"),
            ("answer_in_evidence", "bm25"),
            ("em", "zmem-oracle"),
            ("em", "bm25"),
            ("recall@1", "bm25"),
        }
        assert {line[line.index("=") + 1] for line in lines} == {str(asked[split])}, "no sample"
    assert main(["score", "smoke", "--systems", "bm52", "--runs", str(smoke_runs)]) == 2
    said = capsys.readouterr().err
    assert "there is no system 'bm52': choose from zmem, zmem+text" in said
    assert main(["score", "smoke", "--questions", "-1", "--runs", str(smoke_runs)]) == 2
    assert "--questions must be 0 (all) or more" in capsys.readouterr().err


def test_score_writes_a_table_of_evidence_that_nobody_read(smoke_runs, tmp_path):
    systems = ["--systems", "zmem-oracle", "zmem-other-question", "--questions", "6", "--unread"]
    tables = {}
    for blocks in ("", "joint"):
        path = tmp_path / f"{blocks}.csv"
        chosen = ["--blocks", blocks] * bool(blocks)
        assert main(["score", "smoke", *systems, *chosen, "--csv", str(path), "--runs", str(smoke_runs)]) == 0
        tables[blocks] = pd.read_csv(path)
        assert set(tables[blocks]["metric"]) == {"answer_in_evidence"}
    written, joint = (tables[name].query("part == 'seen'").set_index("system") for name in tables)
    difference = "zmem-oracle - zmem-other-question"
    assert set(written.index) == {"zmem-oracle", "zmem-other-question", difference}
    assert written.loc[difference, "p_holm"] > 0 and np.isnan(written.loc["zmem-oracle", "p_holm"])
    own = read_params(smoke_runs / "smoke/params.yaml").write.seen
    assert (set(written["blocks"]), set(joint["blocks"])) == ({own}, {"joint"})


def test_snapshots_are_of_the_documents_that_dev_questions_are_about(smoke_runs):
    folder = smoke_runs / "smoke"
    docs, questions = (pd.read_parquet(folder / f"{name}.parquet") for name in ("docs", "questions"))
    doc_ids, z, keys = load_z(folder / "z_new.safetensors")
    assert set(docs.doc_id[docs.part == "new"]) == set(doc_ids) and len(set(doc_ids)) == len(doc_ids)
    asked = set(questions.gold_doc_ids[questions.split == "new-dev"].explode())
    curves = sorted({path.stem.rpartition("_")[0] for path in (folder / "z_new_steps").iterdir()})
    assert curves == ["encode", "encode at 0.0466667", "encode at 0.42", "mean", "random", "vocab"]
    ends = {name: load_z(folder / f"z_new_steps/{name}_00020.safetensors") for name in curves}
    for name, (measured, end, own_keys) in ends.items():
        rows = [doc_ids.index(doc_id) for doc_id in measured]
        assert set(measured) == asked < set(doc_ids) and torch.equal(own_keys, keys[rows])
        assert torch.equal(end, z[rows]) == (name == "encode"), "the run answers from its own start and rate"


def test_nothing_names_this_machine(smoke_runs):
    for path in (smoke_runs / "smoke").glob("*.ipynb"):
        shown = json.dumps([cell.get("outputs", []) for cell in nbformat.read(path, as_version=4).cells])
        assert str(ROOT) not in shown, f"{path.name} shows a path of this machine"


def test_files_are_of_plain_formats_and_hold_no_secret(smoke_runs):
    files = [path for path in (smoke_runs / "smoke").rglob("*") if path.is_file() and path.name != LOCK]
    assert {path.suffix for path in files} - PLAIN == set()
    for secret in SECRETS.values():
        assert [path.name for path in files if secret.encode() in path.read_bytes()] == []

"""What a run holds now: asked, written into, documents added and deleted; what was there stays bit for bit."""

import dataclasses
import itertools
import json
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import zmem
from tiny_collection import WordEncoder, small_questions
from tiny_models import sentence, small_lm, small_params

from zmem_lib.cache import Cache
from zmem_lib.chapters import finish_step, is_finished, start_step
from zmem_lib.data.folder import read_docs
from zmem_lib.files import LOCK, BadInput, hash_path, held, write_json
from zmem_lib.ids import search, tree
from zmem_lib.memory.encoder import encode
from zmem_lib.memory.likelihood import generate_all
from zmem_lib.memory.lm import load_memory_lm, save_memory_lm
from zmem_lib.memory.table import save_z
from zmem_lib.memory.write import numbers_of, write
from zmem_lib.opponents.bm25 import build_bm25, rank_bm25, save_bm25
from zmem_lib.opponents.dense import build_dense, rank_dense, save_dense
from zmem_lib.params import changed
from zmem_lib.run import main
from zmem_lib.runs.pipeline import write_params
from zmem_lib.systems import holdings
from zmem_lib.systems.ask import add_documents, answer_lines, delete_documents
from zmem_lib.systems.choosing import FUSIONS, SELECTORS, WEIGHTS
from zmem_lib.systems.collection import ADDED, Memory, open_collection
from zmem_lib.systems.evidence import answers_of
from zmem_lib.systems.systems import compared
from zmem_lib.tables import write_table
from zmem_lib.text import passages

PARAMS = small_params(
    {
        "run": "small",
        "memory.z_width": 8,
        "memory.key_width": 6,
        "train.encode_share": 0.5,
        "write.start": "encode",
        "write.steps": 2,
        "write.rate": 0.3,
        "answer.select": "key_then_likelihood",
        "answer.shortlist": 5,
        "train.id_steps": 2,
        "train.id_branching": 3,
        "memory.evidence_tokens": 6,
        "answer.answer_tokens": 3,
        "answer.top_k": 2,
    }
)
N_SEEN, N_NEW = 5, 2
LATE = [{"doc_id": f"late{i}", "title": f"Late {i}", "text": f"zebra{i} " + sentence(70 + i, 12)} for i in range(3)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A finished run of a random model."""
    monkeypatch.setattr(holdings, "load_encoder", lambda *_: WordEncoder())
    runs, folder = tmp_path / "runs", tmp_path / "runs" / "small"
    write_params(PARAMS, folder)
    doc_ids = [f"d{i}" for i in range(N_SEEN + N_NEW)]
    parts = ["seen"] * N_SEEN + ["new"] * N_NEW
    texts = [sentence(i, 9) + " " + sentence(40 + i, 7) for i in range(len(doc_ids))]
    docs = write_table(
        pd.DataFrame({"doc_id": doc_ids, "title": "", "text": texts, "part": parts}), folder / "docs.parquet", "docs"
    )
    memory_lm = small_lm(PARAMS)
    save_memory_lm(memory_lm, folder / "lm", "")
    z, keys = encode(memory_lm, passages(docs), 40)
    for part, rows in (("seen", slice(0, N_SEEN)), ("new", slice(N_SEEN, None))):
        save_z(doc_ids[rows], z[rows].contiguous(), folder / f"z_{part}.safetensors", keys[rows].contiguous())
    for name in ("bm25", "bm25_asked"):
        save_bm25(build_bm25(doc_ids, texts), folder / name)
    save_dense(build_dense(WordEncoder(), doc_ids, texts), folder / "dense.faiss")
    asked = {"question_id": ["t"], "question": ["late zebra9"], "answers": [["x"]], "gold_doc_ids": [["d1"]]}
    questions = pd.DataFrame(asked).assign(split="train", kind="", answer_start=-1, evidence="")
    write_table(questions, folder / "questions.parquet", "questions")
    write_json({name: {"weight": 0.5} for name in FUSIONS}, folder / WEIGHTS)
    outputs = [["docs.parquet"], [], ["lm", "z_seen.safetensors"], ["z_new.safetensors"], ["bm25", "dense.faiss"]]
    for number, names in enumerate(outputs, 1):
        finish_step(start_step(number, PARAMS, runs), [], names)
    return folder


def write_lines(path: Path, docs: list[dict]) -> Path:
    path.write_text("\n".join(map(json.dumps, docs)), encoding="utf-8")
    return path


@pytest.fixture
def late(tmp_path) -> Path:
    return write_lines(tmp_path / "late.jsonl", LATE)


def left_by_chapters(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK]
    return {str(path): hash_path(path) for path in files if ADDED not in path.parts}


def rows_by_id(memory) -> dict[str, tuple]:
    docs, z, keys = memory
    return {row.doc_id: (row, z[i], keys[i]) for i, row in enumerate(docs.itertuples(index=False))}


def memory_of(folder: Path) -> Memory:
    now = open_collection(folder)
    return Memory(now.docs, now.z, now.keys)


def unchanged(before, after, *, but: set[str]) -> bool:
    """Whether all documents of `before` that are not in `but` have their text, block and key still, bit for bit."""
    before, after = rows_by_id(before), rows_by_id(after)
    return all(
        before[name][0] == after[name][0] and all(torch.equal(before[name][i], after[name][i]) for i in (1, 2))
        for name in set(before) - but
    )


def test_adding_touches_nothing_that_was_there(folder, late):
    files, before = left_by_chapters(folder), memory_of(folder)
    said = add_documents(folder, late)
    after = memory_of(folder)
    assert left_by_chapters(folder) == files and all(is_finished(folder, n, PARAMS) for n in range(1, 6))
    assert unchanged(before, after, but=set()) and list(after[0].doc_id[:7]) == list(before[0].doc_id)
    assert list(after[0].doc_id[7:]) == [doc["doc_id"] for doc in LATE] and set(after[0].part[7:]) == {"new"}
    assert said[0].startswith("added 3 documents") and "ms per document" in said[1]
    assert said[2].endswith("has 10 documents now: 7 of its own, 3 added")
    assert not list((folder / ADDED).glob("under_way*"))


def test_an_added_document_is_written_as_chapter_04_would(folder, late):
    add_documents(folder, late)
    _, z, keys = memory_of(folder)
    memory_lm, texts = load_memory_lm(folder / "lm", PARAMS), passages(pd.DataFrame(LATE))
    start, encoded = encode(memory_lm, texts, 40)
    written = write(memory_lm, texts, start, **numbers_of(PARAMS))[0][PARAMS.write.steps]
    assert torch.equal(z[7:], written) and not torch.equal(z[7:], start)
    assert torch.equal(keys[7:], encoded)


def test_a_thousand_more_change_no_row_key_or_id(folder, late, tmp_path):
    add_documents(folder, late)
    files, before = left_by_chapters(folder), memory_of(folder)
    many = [{"doc_id": f"many{i}", "text": sentence(1000 + i, 5)} for i in range(1000)]
    add_documents(folder, write_lines(tmp_path / "many.jsonl", many))
    after = memory_of(folder)
    assert left_by_chapters(folder) == files and unchanged(before, after, but=set())
    assert list(after[0].doc_id) == [*before[0].doc_id, *(doc["doc_id"] for doc in many)]


def test_a_document_that_is_there_is_replaced_only_when_that_is_said(folder, late, tmp_path):
    add_documents(folder, late)
    before, content = memory_of(folder), hash_path(folder / ADDED)
    other = [{"doc_id": name, "text": sentence(90, 12)} for name in ("d1", "late0", "fresh")]
    file = write_lines(tmp_path / "other.jsonl", other)
    with pytest.raises(BadInput, match=r"small has a document 'd1' already: .*--replace"):
        add_documents(folder, file)
    assert hash_path(folder / ADDED) == content
    said = add_documents(folder, file, replacing=True)
    after = memory_of(folder)
    assert "added 3 documents" in said[0] and "2 of them in the place of earlier ones" in said[0]
    assert len(after[0]) == 11 == after[0].doc_id.nunique() and unchanged(before, after, but={"d1", "late0"})
    old, new = rows_by_id(before), rows_by_id(after)
    for name in ("d1", "late0"):
        assert new[name][0].text == sentence(90, 12) and not torch.equal(old[name][1], new[name][1])


def test_deleting_removes_what_was_added_and_marks_what_was_the_runs_own(folder, late):
    add_documents(folder, late)
    files, before = left_by_chapters(folder), memory_of(folder)
    said = delete_documents(folder, ["late1", "d0", "late1", "d6"])
    after = memory_of(folder)
    assert said[0].startswith("deleted 3 documents") and said[1].endswith("7 documents now: 5 of its own, 2 added")
    assert left_by_chapters(folder) == files and unchanged(before, after, but={"late1", "d0", "d6"})
    assert [name for name in before[0].doc_id if name not in {"late1", "d0", "d6"}] == list(after[0].doc_id)
    stored = pd.read_parquet(folder / "added/documents.parquet")
    assert list(stored.doc_id) == ["late0", "late2"] and not stored.text.str.contains("zebra1").any()
    delete_documents(folder, ["late0", "late2"])
    assert not (folder / "added/documents.parquet").exists() and len(memory_of(folder)[0]) == 5


def test_a_deleted_document_can_come_back_and_go_again(folder, tmp_path):
    file = write_lines(tmp_path / "again.jsonl", [{"doc_id": "d2", "text": sentence(91, 12)}])
    delete_documents(folder, ["d2"])
    add_documents(folder, file)
    assert rows_by_id(memory_of(folder))["d2"][0].text == sentence(91, 12)
    delete_documents(folder, ["d2"])
    assert "d2" not in set(memory_of(folder)[0].doc_id)
    add_documents(folder, write_lines(file, [{"doc_id": "d3", "text": "other."}]), replacing=True)
    delete_documents(folder, ["d3"])  # what it replaced does not come back
    assert {"d2", "d3"}.isdisjoint(memory_of(folder)[0].doc_id)


def test_every_system_sees_the_change(folder, late):
    """The selectors rank just the documents that there are, and so does every system that can be asked."""
    add_documents(folder, late)
    delete_documents(folder, ["d0", "late2"])
    now, everything = open_collection(folder), set(memory_of(folder).docs.doc_id)
    wide = dataclasses.replace(now, params=changed(PARAMS, {"answer.shortlist": 50}))
    asked = small_questions(1).assign(question="zebra1")
    for name in ("query_likelihood", "key", "key_then_likelihood"):
        ids, scores = SELECTORS[name].choose(asked, wide)
        assert set(ids[0]) == everything and len(ids[0]) == 8, name
        assert scores[0] == sorted(scores[0], reverse=True)
    assert rank_bm25(now.bm25(), ["zebra1"], 20)[0][0][0] == "late1"
    ids, scores = rank_dense(now.dense(), now.encoder(), ["zebra1"], 20)
    assert set(ids[0]) == everything
    rebuilt = build_dense(WordEncoder(), list(now.docs.doc_id), passages(now.docs))
    assert (ids, scores) == rank_dense(rebuilt, now.encoder(), ["zebra1"], 20)
    others = set(compared()) - {"dense-tuned", "hybrid+rerank", "lm-rerank", "text-twin", "zmem+bm25"}
    answers = now.ask("zebra1", sorted(others)).set_index("system")
    for name in others:
        assert set(answers.ranked_doc_ids[name]) <= everything, name
    assert rank_bm25(now.bm25("bm25_asked"), ["zebra9"], 1)[0] == [["d1"]], "with the questions of before"
    assert answers.ranked_doc_ids["bm25-asked"][0] == answers.ranked_doc_ids["hybrid"][0] == "late1"
    said = "\n".join(answer_lines(now, "zebra1 late"))
    assert "documents: 8, of which" in said and "late1  Late 1" in said and " d0 " not in said


def test_generated_ids_of_others_stay_when_a_document_comes_or_goes(folder, late, tmp_path):
    own = memory_of(folder)
    tuples = pd.DataFrame({"question": ["who?", "where?"], "doc_id": ["d0", "d1"], "split": "train"})
    memory_lm, seen = load_memory_lm(folder / "lm", PARAMS), list(own[0].doc_id[:N_SEEN])
    search.learn_ids(memory_lm, own[2][:N_SEEN], tuples, doc_ids=seen, params=PARAMS, folder=folder)
    search.add_ids(folder, list(own[0].doc_id[N_SEEN:]), own[2][N_SEEN:])
    files, trees = left_by_chapters(folder), [tree.load_tree(folder / search.NEW).ids]

    def after(change) -> None:
        change()
        trees.append(open_collection(folder).tree.ids)
        assert set(trees[-1]) == set(memory_of(folder)[0].doc_id)
        assert len(set(trees[-1].values())) == len(trees[-1]) and left_by_chapters(folder) == files

    after(lambda: add_documents(folder, late))
    after(lambda: delete_documents(folder, ["late0", "d3"]))
    again = write_lines(tmp_path / "again.jsonl", [{"doc_id": "late1", "text": sentence(95)}, *LATE[:1]])
    after(lambda: add_documents(folder, again, replacing=True))
    for before, after in itertools.pairwise(trees):
        stay = set(before) & set(after) - {"late1"}
        assert {name: before[name] for name in stay} == {name: after[name] for name in stay}
    assert trees[3]["late1"] != trees[2]["late1"] and trees[3]["late0"] not in trees[1].values()
    by_id = open_collection(folder, params=changed(PARAMS, {"answer.select": "generated_id"}))
    assert set(by_id.ask("who?").ranked_doc_ids[0]) == set(trees[3])
    assert open_collection(folder, added=False).tree.ids == trees[0], "as the chapters left it"


def test_without_a_change_the_indexes_of_the_chapters_are_used(folder, monkeypatch):
    monkeypatch.setattr(holdings, "build_bm25", lambda *_, **__: pytest.fail("BM25 was built anew"))
    monkeypatch.setattr(holdings, "updated_dense", lambda *_, **__: pytest.fail("vectors were made anew"))
    now = open_collection("small", folder.parent)
    assert list(now.ask("who?", ["bm25", "dense"]).ranked_doc_ids.map(len)) == [7, 7]
    assert list(now.docs.doc_id) == [f"d{i}" for i in range(7)]


def test_only_new_passages_are_encoded_for_the_dense_index(folder, late):
    add_documents(folder, late)
    delete_documents(folder, ["d0"])
    now = open_collection(folder)
    assert now.dense().doc_ids == list(now.docs.doc_id)
    assert now.encoder().given == passages(now.docs)[-3:]


def test_an_open_collection_is_changed_where_it_stands(folder):
    now = open_collection(folder)
    now.ask("zebra1", ["zmem", "bm25", "dense"])
    model = now.memory_lm
    now.add(pd.DataFrame(LATE))
    assert now.ask("zebra1", ["bm25"]).ranked_doc_ids[0][0] == "late1" and now.memory_lm is model
    now.delete(["late1"])
    assert "late1" not in set(now.ask("zebra1", ["bm25"]).ranked_doc_ids[0]) and len(now.docs) == 9
    assert unchanged(memory_of(folder), (now.docs, now.z, now.keys), but=set())


def test_a_second_question_is_answered_at_once(folder):
    now = open_collection(folder)
    first = list(answer_lines(now, "zebra1"))
    began = time.perf_counter()
    second = list(answer_lines(now, "zebra1", top_k=1))
    assert time.perf_counter() - began < 1
    assert first[1].endswith("gets 2") and second[1].endswith("gets 1") and now.params == PARAMS
    shown = [line for line in first if line.startswith("  1.")]
    assert len(shown) == 3 and "(stretched cosine of key and log p(question | z), weighed 0." in shown[0]
    assert "(score " in shown[1] and sum(line.startswith("     writes: ") for line in first) == 2


def test_pieces_of_a_chapter_are_not_taken_for_another_question(folder, tmp_path):
    scan = changed(PARAMS, {"answer.select": "query_likelihood"})
    kept, plain = (
        open_collection(folder, params=scan, cache=cache) for cache in (Cache(tmp_path / "under_way", "x"), None)
    )
    answers_of("zmem", small_questions(1), kept)
    assert list((tmp_path / "under_way").iterdir()), "the scan of the chapter's questions"
    assert kept.ask("zebra moss").ranked_scores[0] == plain.ask("zebra moss").ranked_scores[0]


def test_what_z_says_can_be_looked_at(folder):
    """Evidence and recitation are those of the blocks, and a written text has the block that adding it would give."""
    now = open_collection(folder)
    prompts, (chosen,) = now.memory_lm.prompts, now.ask("who?").ranked_doc_ids
    by_block = now.evidence("who?", z=now.z[2])
    assert by_block == now.evidence("who?", "d2") and now.evidence("who?") == now.evidence("who?", chosen[0])
    assert now.ask("who?").evidence[0][0] == prompts.decode(prompts.encode(now.evidence("who?"), 6))
    tokens = generate_all(now.memory_lm, now.z[2:3], [prompts.marks["evidence"]], max_tokens=40, batch=1)
    assert now.recite("d2") == prompts.decode(tokens[0]) != now.recite("d3")
    text = "zebra and moss."
    written, files = now.write(text), left_by_chapters(folder)
    assert written.shape == now.z[0].shape and not torch.equal(written, now.write(text, steps=1, rate=5.0))
    assert left_by_chapters(folder) == files and not (folder / ADDED).exists()
    now.add(pd.DataFrame([{"doc_id": "mine", "title": "", "text": text}]))
    assert torch.equal(now.z[-1], written)


def test_what_cannot_be_asked_is_one_sentence(folder):
    now = open_collection(folder)
    for system, told in [
        ("zmen", "there is no system 'zmen': choose from zmem, zmem"),
        ("hybrid+rerank", "leave hybrid.rerank out"),
        ("zmem-oracle", "zmem-oracle needs to know a question's gold document"),
    ]:
        with pytest.raises(BadInput, match=told):
            now.ask("who?", [system])
    table = small_questions(1).assign(gold_doc_ids=[["d3"]])
    assert now.ask(table, ["zmem-oracle", "closed-book"]).system.tolist() == ["zmem-oracle", "closed-book"]
    with pytest.raises(BadInput, match="has no document 'late9': did you mean 'd"):
        now.recite("late9")


BAD_LINES = {
    "no text": ['{"doc_id": "a"}'],
    "not JSON": ['{"doc_id": "a", "text": "b"}', "{"],
    "an id twice": ['{"doc_id": "a", "text": "b"}'] * 2,
    "nothing": [""],
    "control character": ['{"doc_id": "a", "text": "b\\u0000"}'],
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_refused_as_in_a_corpus(name, folder, tmp_path, capsys):
    file = tmp_path / "bad.jsonl"
    file.write_text("\n".join(BAD_LINES[name]))
    with pytest.raises(BadInput) as said:
        read_docs(file)
    assert main(["add", "small", str(file), "--runs", str(folder.parent)]) == 2
    assert capsys.readouterr().err == f"zmem: {said.value}\n"
    assert not (folder / ADDED).exists()


def test_mistakes_are_one_sentence_and_change_nothing(folder, late, tmp_path, capsys):
    runs = ["--runs", str(folder.parent)]
    for arguments, sentence_said in [
        (["add", "small", "none.jsonl"], "none.jsonl cannot be read (No such file or directory)"),
        (["add", "smal", str(late)], "not the folder of a run (there are small)"),
        (["delete", "smal", "d1"], "not the folder of a run (there are small)"),
        (["delete", "small", "d1", "late9"], "has no document 'late9': did you mean 'd"),
        (["delete", "small", *(f"d{i}" for i in range(7))], "these are all documents"),
    ]:
        assert main([*arguments, *runs]) == 2
        printed = capsys.readouterr()
        assert sentence_said in printed.err and printed.err.count("\n") == 1 and printed.out == ""
    assert not (folder.parent / "smal").exists() and len(memory_of(folder)[0]) == 7
    with held(folder):
        assert main(["add", "small", str(late), *runs]) == main(["delete", "small", "d1", *runs]) == 2
    assert "another run works in" in capsys.readouterr().err


def test_the_commands_say_what_was_done_and_nothing_else(folder, late, capsys):
    added = zmem("add", "small", late, "--runs", folder.parent)
    assert (added.returncode, added.stderr) == (0, "")
    assert [line.split()[0] for line in added.stdout.splitlines()] == ["added", "ms", str(folder)]
    capsys.readouterr()
    assert main(["delete", "small", "late0", "d1", "--runs", str(folder.parent)]) == 0
    deleted = capsys.readouterr()
    assert [line.split()[0] for line in deleted.out.splitlines()] == ["deleted", str(folder)] and deleted.err == ""


def test_help_says_what_stays(capsys):
    for command, words in (("add", ["FILE", "--replace", "--runs DIR"]), ("delete", ["DOC_ID", "stays in the tables"])):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert [word for word in words if word not in said] == []


def test_what_another_model_wrote_is_not_asked(folder, late):
    add_documents(folder, late)
    manifest = json.loads((folder / "manifest_03.json").read_text())
    manifest["outputs"]["lm"] = "0" * 16
    write_json(manifest, folder / "manifest_03.json")
    with pytest.raises(BadInput, match=r"written with an earlier model of this run: remove .*added and add them again"):
        open_collection(folder, params=PARAMS)


def test_a_write_that_fails_leaves_the_old_documents(folder, late, tmp_path, monkeypatch):
    add_documents(folder, late)
    before = memory_of(folder)

    def full(frame, path, **_):
        Path(path).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(BadInput, match="no space left"):
        add_documents(folder, write_lines(tmp_path / "one.jsonl", [{"doc_id": "one", "text": "One."}]))
    monkeypatch.undo()
    after = memory_of(folder)
    assert unchanged(before, after, but=set()) and len(before[0]) == len(after[0])
    assert not list((folder / ADDED).glob(".*"))

"""The loaders of published data sets, each on a small file of its schema: all rows, what is dropped, and bad files."""

import csv
import gzip
import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from folders import params_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zmem_lib import hub
from zmem_lib.data import mirage, popqa, ragbench, squad
from zmem_lib.data.corpus import load_corpus, whole_corpus
from zmem_lib.data.tuples import make_tuples, parts_of
from zmem_lib.files import BadInput
from zmem_lib.params import Params, read_params

CONTEXT = "  Oslo is old. It lies by the sea. Rome is older."


def of(name: str, path: Path | str, **values) -> Params:
    """The parameters of a data set in a place, with others of the section corpus."""
    own = {"name": name, "path": path, "documents": 2, "new_documents": 0} | values
    return params_of({f"corpus.{key}": value for key, value in own.items()})


def write_json(path: Path, value, lines: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(map(json.dumps, value)) + "\n" if lines else json.dumps(value)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_parquet(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def texts_of(corpus):
    return dict(zip(corpus.docs["doc_id"], corpus.docs["text"], strict=True))


# --- SQuAD ------------------------------------------------------------------------------------------------------------


def answer(text, context=CONTEXT):
    return {"text": text, "answer_start": context.find(text)}


def squad_file(version="1.1"):
    qas = [
        {"id": "a", "question": " What is old? ", "answers": [answer("Oslo"), answer("old"), answer("Oslo")]},
        {"id": "b", "question": "What lies there?", "answers": [{"text": "sea", "answer_start": 3}]},
        {"id": "a", "question": "Again?", "answers": [answer("Rome")]},
        {"id": "c", "question": "Where?", "answers": [{"text": "Paris", "answer_start": 2}]},
        {"id": "d", "question": "", "answers": [answer("Rome")]},
    ]
    if version == "2.0":
        impossible = {"id": "e", "question": "Who?", "answers": [], "is_impossible": True}
        plausible = {"plausible_answers": [answer("Rome")]}
        qas = [qa | {"is_impossible": False} for qa in qas] + [impossible | plausible]
    unanswered = {"id": "g", "question": "What else?", "answers": []}
    same = [{"id": "f", "question": "Which is older?", "answers": [answer("Rome")]}]
    paragraphs = [{"context": CONTEXT, "qas": qas}, {"context": "Another one.", "qas": [unanswered]}]
    articles = [{"title": "Old_towns", "paragraphs": paragraphs}, {"title": "Twice", "paragraphs": [
        {"context": CONTEXT, "qas": same}]}]  # fmt: skip
    return {"version": version, "data": articles}


@pytest.mark.parametrize(("version", "impossible"), [("1.1", 1), ("2.0", 2)])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_squad(tmp_path, version, impossible, suffix):
    write_json(tmp_path / f"train-v{version}.json{suffix}", squad_file(version))
    corpus = whole_corpus(of("squad", tmp_path))
    assert corpus.docs.to_dict("list") == {
        "doc_id": ["p00001", "p00002"], "title": ["Old towns"] * 2, "text": [CONTEXT, "Another one."]
    }  # fmt: skip
    rows = corpus.questions.set_index("question_id")
    assert list(rows.index) == ["a", "b", "f"]
    assert rows.loc["a", "answers"] == ["Oslo", "old"] and rows.loc["a", "question"] == "What is old?"
    assert rows["answer_start"].tolist() == [CONTEXT.index("Oslo"), -1, CONTEXT.index("Rome")]
    assert (rows["gold_doc_ids"].str[0] == "p00001").all()
    assert corpus.dropped == {squad.IMPOSSIBLE: impossible, squad.REPEATED: 1, squad.EMPTY: 1, squad.ELSEWHERE: 1}
    assert corpus.licence == "CC BY-SA 4.0" and corpus.source == f"local copy {tmp_path.name}"


def test_squad_rows_as_the_hub_has_them_and_its_revision(tmp_path, monkeypatch):
    snapshot = tmp_path / "snapshots" / ("0123abcd" * 5)
    rows = [
        {"id": name, "title": "T", "context": CONTEXT, "question": f"{name}?",
         "answers": {"text": ["Rome"] * n, "answer_start": [CONTEXT.index("Rome")] * n}}
        for name, n in (("a", 2), ("b", 0))
    ]  # fmt: skip
    write_parquet(snapshot / "plain_text/train-00000-of-00001.parquet", rows)
    asked = []
    monkeypatch.setattr(hub, "fetch", lambda *given, **more: asked.append((given, more["kind"])) or snapshot)
    corpus = whole_corpus(of("squad", "", revision="main", subset="korquad"))
    assert asked == [(("KorQuAD/squad_kor_v1", "main"), "dataset")]
    assert corpus.questions["answer_start"].tolist() == [CONTEXT.index("Rome")]
    assert corpus.dropped[squad.IMPOSSIBLE] == 1 and corpus.licence == "CC BY-ND 2.0 KR"
    assert corpus.source == f"KorQuAD/squad_kor_v1 on the Hugging Face hub, commit {'0123abcd' * 5}"


def test_squad_keeps_a_question_whose_answer_is_in_another_unicode_form(tmp_path):
    context = unicodedata.normalize("NFD", "그는 서울에 왔다. Er sah Zürich.")
    qas = [
        {"id": "placed", "question": "어디?", "answers": [{"text": "서울", "answer_start": 6}]},
        {"id": "found", "question": "Was?", "answers": [{"text": "Zürich", "answer_start": 0}]},
    ]
    assert context[6:].startswith(unicodedata.normalize("NFD", "서울"))
    file = {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}
    write_json(tmp_path / "train.json", file)
    corpus = whole_corpus(of("squad", tmp_path))
    assert list(corpus.questions["question_id"]) == ["placed", "found"]
    assert list(corpus.questions["answer_start"]) == [6, -1]
    assert list(corpus.docs["text"]) == [context], "the text is kept as it came"
    tuples = make_tuples(corpus.docs, corpus.questions, 0)
    assert [unicodedata.normalize("NFC", text) for text in tuples["evidence"]] == [
        "그는 서울에 왔다.",
        "Er sah Zürich.",
    ]


# --- MIRAGE -----------------------------------------------------------------------------------------------------------


def mirage_rows(n):
    asked = [
        {"source": "nq", "query_id": f"nq-{i}", "query": f"What says {i}?", "doc_name": f"Page {i}",
         "answer": [f"x{i}", f"X {i}", f"x{i}"], "doc_url": "", "num_doc_labels": 1}
        for i in range(n)
    ]  # fmt: skip
    pool = [
        {"mapped_id": f"nq-{i}", "doc_name": f"Page {i} of {j}", "doc_chunk": f"Chunk {j} says {'x' * (j == 2)}{i}.",
         "support": int(j == 2)}
        for j in range(5)
        for i in range(n)
    ]  # fmt: skip
    return asked, pool


def write_mirage(folder, asked, pool):
    write_json(folder / "dataset.json", asked)
    write_json(folder / "doc_pool.json", pool)
    write_json(folder / "oracle.json", {"nq-0": {"mapped_id": "nq-0", "doc_chunk": "?"}})
    return folder


def test_mirage(tmp_path):
    asked, pool = mirage_rows(4)
    asked += [
        asked[0] | {"query_id": "again", "query": " what  says 0?"},
        asked[1],
        asked[2] | {"query_id": "bare", "answer": []},
    ]
    asked += [asked[0] | {"query_id": "lost", "query": "Where?"}]
    pool += [pool[0] | {"mapped_id": name} for name in ("again", "again", "nobody", "lost")]
    pool += [pool[0] | {"doc_chunk": " "}]
    corpus = whole_corpus(of("mirage", write_mirage(tmp_path, asked, pool)))
    assert len(corpus.docs) == 20 and corpus.docs["group"].value_counts().to_dict() == {f"nq-{i}": 5 for i in range(4)}
    rows = corpus.questions.set_index("question_id")
    assert list(rows.index) == [f"nq-{i}" for i in range(4)]
    assert rows["gold_doc_ids"].tolist() == [[f"nq-{i}-2"] for i in range(4)]
    assert rows.loc["nq-1", "answers"] == ["x1", "X 1"] and texts_of(corpus)["nq-1-2"] == "Chunk 2 says x1."
    assert corpus.docs["title"][0] == "Page 0 of 0"
    assert corpus.dropped == {
        mirage.EMPTY: 1, mirage.REPEATED: 2, mirage.UNSUPPORTED: 1, mirage.STRAY: 4, mirage.BLANK: 1
    }  # fmt: skip


def test_a_subset_of_mirage_keeps_every_questions_chunks_and_grows_by_whole_groups(tmp_path):
    write_mirage(tmp_path, *mirage_rows(40))
    runs = {n: load_corpus(of("mirage", tmp_path, documents=n, new_documents=20)) for n in (50, 53, 100, 180)}
    for n, corpus in runs.items():
        parts = {part: set(docs["doc_id"]) for part, docs in corpus.docs.groupby("part")}
        assert len(parts["seen"]) == 5 * (n // 5) and len(parts["new"]) == 20
        assert len(corpus.questions) == len(corpus.docs) // 5
        about = corpus.docs.groupby(corpus.docs["doc_id"].str.rsplit("-", n=1).str[0])
        assert (about.size() == 5).all() and (about["part"].nunique() == 1).all()
        assert {gold for ids in corpus.questions["gold_doc_ids"] for gold in ids} <= parts["seen"] | parts["new"]
        if n == 100:
            assert parts["new"] == set(runs[50].docs.query("part == 'new'")["doc_id"])
            assert set(runs[50].docs.query("part == 'seen'")["doc_id"]) < parts["seen"]
    with pytest.raises(
        BadInput, match=r"corpus\.documents is 4, but documents are chosen in groups of up to 5: raise it"
    ):
        load_corpus(of("mirage", tmp_path, documents=4))


def test_the_shipped_parameters_leave_enough_test_questions_of_mirage(tmp_path):
    """As many rows as the published files have: 7,560 questions with five chunks each."""
    asked, pool = mirage_rows(7560)
    assert len(pool) == 37_800
    write_mirage(tmp_path, asked, pool)
    params = read_params(ROOT / "params/qwen2.5-3b.yaml", [f"corpus.path={tmp_path}", "corpus.revision="])
    corpus = load_corpus(params)
    questions = corpus.questions.assign(part=parts_of(corpus.questions))
    counts = questions["part"].value_counts()
    assert counts["unasked-document"] >= 400 and counts["new"] >= 100 and counts["trained"] >= 200
    assert corpus.docs["part"].value_counts().to_dict() == {"seen": 4000, "new": 750}
    assert min(counts["unasked-document"], params.answer.questions) >= 400, "and so many are answered"
    taught = set(questions.loc[questions["part"] == "trained", "gold_doc_ids"].str[0].str.rsplit("-", n=1).str[0])
    tested = set(questions.loc[questions["split"].isin(["test", "new-test"]), "gold_doc_ids"].str[0].str[:-2])
    assert taught.isdisjoint(tested), "a group teaches or tests"


# --- RAGBench ---------------------------------------------------------------------------------------------------------

DOC_A, DOC_B = "Title: A\nOne fact. Two facts.", "Three facts."


def ragbench_row(name, documents=(DOC_A, DOC_B), keys=("0b", "1a"), **more):
    sentences = {DOC_A: ["Title: A\nOne fact.", "Two facts."], DOC_B: ["Three facts."]}
    return {
        "id": name, "question": f"{name}?", "documents": list(documents), "response": "It is so.",
        "documents_sentences": [
            [[f"{i}{'ab'[j]}", said] for j, said in enumerate(sentences[text])] for i, text in enumerate(documents)
        ],
        "all_relevant_sentence_keys": list(keys), "dataset_name": "covidqa",
    } | more  # fmt: skip


def test_ragbench_with_its_own_splits(tmp_path):
    rows = [ragbench_row("a"), ragbench_row("b", keys=()), ragbench_row("c", response=" "), ragbench_row("a")]
    write_parquet(tmp_path / "covidqa/train-00000-of-00001.parquet", rows)
    write_parquet(tmp_path / "covidqa/test-00000-of-00001.parquet", [ragbench_row("d", (DOC_B, DOC_A), ("1a",))])
    write_parquet(tmp_path / "covidqa/validation-00000-of-00001.parquet", [ragbench_row("e", keys=("0z", "1a"))])
    write_parquet(tmp_path / "cuad/train-00000-of-00001.parquet", [ragbench_row("f")])
    corpus = whole_corpus(of("ragbench", tmp_path, subset="covidqa"))
    assert sorted(corpus.docs["text"]) == sorted([DOC_A, DOC_B])
    name = {text: doc_id for doc_id, text in texts_of(corpus).items()}
    found = corpus.questions.set_index("question_id")
    assert found["split"].to_dict() == {"a": "train", "d": "test", "e": "dev"}
    gold = {"a": [name[DOC_A], name[DOC_B]], "d": [name[DOC_A]], "e": [name[DOC_B]]}
    assert found["gold_doc_ids"].to_dict() == gold and (found["answers"].str[0] == "It is so.").all()
    assert found["evidence"].to_dict() == {
        "a": "Two facts.\nThree facts.", "d": "Title: A\nOne fact.", "e": "Three facts."
    }  # fmt: skip
    assert corpus.dropped == {ragbench.UNANSWERED: 1, ragbench.REPEATED_ROW: 1, ragbench.IRRELEVANT: 1}
    assert corpus.licence == "CC BY 4.0" and corpus.source.endswith("subset covidqa")
    tuples = make_tuples(corpus.docs, corpus.questions, 0).set_index("tuple_id")
    assert tuples.loc[f"a@{name[DOC_A]}", "evidence"] == "Two facts."
    assert tuples.loc[f"a@{name[DOC_B]}", "evidence"] == "Three facts."
    assert tuples.loc[f"d@{name[DOC_A]}", "evidence_start"] == 0


def test_ragbench_of_one_file_without_training_rows_is_split_by_hash(tmp_path):
    path = write_json(tmp_path / "test.jsonl", [ragbench_row(f"q{i}") for i in range(40)], lines=True)
    corpus = whole_corpus(of("ragbench", path, subset="covidqa"))
    assert {"train", "test"} <= set(corpus.questions["split"]) and len(corpus.questions) == 40


# --- T2-RAGBench ------------------------------------------------------------------------------------------------------


def t2_row(name, page=1, **more):
    row = {"id": name, "question": f"{name}?", "program_answer": "0.5", "original_answer": "50%",
           "context": f"Page {page} | a table |", "context_id": f"c{page}",
           "file_name": f"X/2015/{page}.pdf"}  # fmt: skip
    return row | more


def test_t2ragbench(tmp_path):
    rows = [t2_row("a"), t2_row("b", original_answer="0.5"), t2_row("c", 2, program_answer=12.5, original_answer=None)]
    rows += [t2_row("d", question=""), t2_row("a", 2), t2_row("e", context=""), t2_row("f", context="Other")]
    write_json(tmp_path / "data/FinQA/train.jsonl", rows, lines=True)
    write_json(tmp_path / "data/FinQA/dev.jsonl.gz", [t2_row("g")], lines=True)
    write_json(tmp_path / "data/ConvFinQA/turn_0.jsonl", [t2_row("h", 3)], lines=True)
    corpus = whole_corpus(of("t2ragbench", tmp_path, subset="FinQA"))
    assert corpus.docs.to_dict("records") == [
        {"doc_id": f"c{i}", "title": f"X/2015/{i}.pdf", "text": f"Page {i} | a table |"} for i in (1, 2)
    ]
    found = corpus.questions.set_index("question_id")
    assert found["answers"].to_dict() == {"a": ["0.5", "50%"], "b": ["0.5"], "c": ["12.5"], "g": ["0.5", "50%"]}
    assert found["split"].to_dict() == {"a": "train", "b": "train", "c": "train", "g": "dev"}
    reasons = (ragbench.EMPTY, ragbench.BLANK, ragbench.REPEATED, ragbench.CHANGED)
    assert corpus.dropped == dict.fromkeys(reasons, 1)
    other = whole_corpus(of("t2ragbench", tmp_path, subset="ConvFinQA"))
    assert list(other.docs["doc_id"]) == ["c3"]


@pytest.mark.parametrize(
    ("name", "subset", "row"), [("ragbench", "covidqa", ragbench_row), ("t2ragbench", "FinQA", t2_row)]
)
def test_an_id_with_white_space_keeps_its_files_split(name, subset, row, tmp_path):
    write_json(tmp_path / subset / "train.jsonl", [row(" a ")], lines=True)
    write_json(tmp_path / subset / "test.jsonl", [row("b")], lines=True)
    questions = whole_corpus(of(name, tmp_path, subset=subset)).questions
    assert questions.set_index("question_id")["split"].to_dict() == {"a": "train", "b": "test"}


def test_t2ragbench_from_csv(tmp_path):
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(t2_row("a")))
        writer.writeheader()
        writer.writerow(t2_row("a", context='Two\nlines, "quoted"'))
    corpus = whole_corpus(of("t2ragbench", tmp_path / "rows.csv", subset="TAT-DQA"))
    assert corpus.docs["text"].tolist() == ['Two\nlines, "quoted"'] and len(corpus.questions) == 1


# --- PopQA ------------------------------------------------------------------------------------------------------------


def popqa_row(name, texts, **more):
    ctxs = [{"id": f"w{i}", "title": f"T{text[:3]}", "text": text} for i, text in enumerate(texts)]
    return {"id": name, "question": f"{name}?", "answers": ["Oslo", "Kristiania"], "ctxs": ctxs} | more


def test_popqa_takes_the_first_passage_that_holds_an_answer(tmp_path):
    rows = [popqa_row(7, ["Oslovian.", "In KRISTIANIA then.", "In Oslo now."]), popqa_row("b", ["In Oslo now.", ""])]
    rows += [
        popqa_row("c", ["Nothing."]),
        popqa_row("c", ["Oslo!"], answers=["none", ""]),
        popqa_row("d", ["Oslo!"], answers=[]),
    ]
    own = popqa_row("e", ["Rome."], possible_answers='["Rome", "Roma"]')
    own.pop("answers")
    own.pop("id")
    rows += [own, popqa_row("b", ["In Oslo now."])]
    path = write_json(tmp_path / "popqa_longtail_w_gs.jsonl", rows, lines=True)
    corpus = whole_corpus(of("popqa", path))
    assert len(corpus.docs) == len(set(corpus.docs["text"])) == 6
    found, texts = corpus.questions.set_index("question_id"), texts_of(corpus)
    gold = {question: [texts[doc_id] for doc_id in ids] for question, ids in found["gold_doc_ids"].items()}
    assert gold == {"7": ["In KRISTIANIA then."], "b": ["In Oslo now."], "popqa_longtail_w_gs-6": ["Rome."]}
    assert corpus.dropped == {popqa.EMPTY: 1, popqa.REPEATED: 1, popqa.NO_GOLD: 2}
    groups = corpus.docs.groupby("group")["text"].agg(list)
    assert groups["7"] == ["Oslovian.", "In KRISTIANIA then.", "In Oslo now."], "shared ones stay with the first"
    assert "b" not in groups and groups["c"] == ["Nothing.", "Oslo!"]


def test_a_subset_of_popqa_keeps_a_questions_passages_and_most_questions_test(tmp_path):
    rows = [popqa_row(f"q{i}", [f"Oslo {i}.", *(f"Bergen {i} {j}." for j in range(4))]) for i in range(60)]
    path = write_json(tmp_path / "popqa_longtail_w_gs.jsonl", rows, lines=True)
    corpus = load_corpus(of("popqa", path, documents=150, new_documents=50))
    numbers = corpus.docs["text"].str.extract(r"(\d+)", expand=False)
    assert set(numbers.value_counts()) == {5} and len(corpus.questions) == 40
    assert (corpus.questions["split"] == "test").mean() > 0.3, "of which a quarter is about new documents"


def test_popqa_needs_its_file():
    with pytest.raises(BadInput, match=r"popqa needs corpus\.path: download"):
        whole_corpus(of("popqa", ""))


# --- bad files --------------------------------------------------------------------------------------------------------

SQUAD = {"id": "a", "title": "T", "context": "c", "question": "q", "answers": []}
MIRAGE_ROW = {"mapped_id": "nq-0", "doc_name": "n", "doc_chunk": "c", "support": 1}
BAD_ROWS = [
    ("squad", "", "train.json", [SQUAD | {"question": 3.5}, SQUAD | {"context": ["c"]}],
     "train.json, row 2: field 'context' must be text, not ['c']"),
    ("squad", "", "train.json", [{"id": "a"}], "train.json, row 1: field 'question' is missing"),
    ("squad", "", "train.json", [7], "train.json, row 1: must be a JSON object with named fields, not 7"),
    ("squad", "", "train.json", [SQUAD | {"question": "a\u0000b"}],
     "row 1: field 'question' has the control character U+0000 at character 2: remove it"),
    ("squad", "", "train.json", [SQUAD | {"context": "\ud800"}], "has the lone surrogate U+D800 at character 1"),
    ("squad", "", "train.json", [SQUAD | {"answers": [{"text": "c", "answer_start": "0"}]}],
     "row 1: field 'answers.1.answer_start' must be a whole number, not '0'"),
    ("squad", "", "train.json", [SQUAD | {"answers": "c"}], "row 1: field 'answers' must be a list, not 'c'"),
    ("squad", "", "train.json", {"data": [{"title": "T", "paragraphs": [{"context": "c", "qas": "x"}]}]},
     "train.json, row 1: field 'data.1.paragraphs.1.qas' must be a list, not 'x'"),
    ("mirage", "", "doc_pool.json", [MIRAGE_ROW | {"support": 2}],
     "row 1: field 'support' must be 0, 1, '0' or '1', not 2"),
    ("ragbench", "covidqa", "train.json", [ragbench_row("a", documents_sentences=[["x"]])],
     "row 1: field 'documents_sentences' must be a list, not 'x'"),
    ("ragbench", "covidqa", "train.json", [ragbench_row("a", documents_sentences=[[["0a", "x", "y"]]])],
     "row 1: field 'documents_sentences' must be a shorter list, not ['0a', 'x', 'y']"),
    ("ragbench", "covidqa", "train.json", [ragbench_row("a", documents_sentences=[[["0a"]]])],
     "row 1: field 'documents_sentences' must be a longer list, not ['0a']"),
    ("ragbench", "covidqa", "train.json", [ragbench_row("a") | {"documents": "x"}],
     "row 1: field 'documents' must be a list, not 'x'"),
    ("t2ragbench", "FinQA", "train.json", [t2_row("a", question=True)], "field 'question' must be text, not True"),
    ("popqa", "", "p.json", [popqa_row("a", ["x"], ctxs="x")], "row 1: field 'ctxs' must be a list, not 'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("corpus", "subset", "file", "value", "sentence"), BAD_ROWS, ids=lambda value: str(value)[:20])
def test_a_bad_row_is_one_sentence_with_file_and_place(tmp_path, corpus, subset, file, value, sentence):
    write_mirage(tmp_path, *mirage_rows(1)) if corpus == "mirage" else None
    write_json(tmp_path / file, value)
    with pytest.raises(BadInput) as caught:
        load_corpus(of(corpus, tmp_path, subset=subset))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("train.json", b'{"data": [', "train.json: not valid JSON"),
        ("train.json", b"[" * 10**5, "train.json: not valid JSON"),
        ("train.json", b'[{"id": ' + b"1" * 5000 + b"}]", "train.json: not valid JSON"),
        (
            "train.json",
            b'[{"id": ' + b"[" * 500 + b"]" * 500 + b', "context": "c", "question": "q"}]',
            "must be text, not [[[",
        ),
        ("train.json", b'{"data": "\xff"}', "train.json: not valid UTF-8 at byte 11"),
        ("train.json.gz", gzip.compress(b"[]", mtime=0)[:-3], "train.json.gz is not a whole gzip file"),
        ("train.json.gz", b"[]", "train.json.gz is not a whole gzip file"),
        ("train.parquet", b"PAR1, not", "train.parquet: not a whole Parquet file"),
        ("train.jsonl", b"\n{", "train.jsonl, line 2: not valid JSON"),
        ("train.csv", b'id,question\n"a', "train.csv: not valid CSV"),
        ("train.txt", b"", "holds no .json, .jsonl"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, file, content, sentence):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load_corpus(of("squad", tmp_path))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("corpus", "values", "sentence"),
    [
        ("squad", {"subset": "v3"}, "corpus.subset of squad must be one of v1.1, v2.0, korquad, not 'v3'"),
        ("ragbench", {}, "corpus.subset of ragbench must be one of covidqa, cuad"),
        ("t2ragbench", {"subset": "finqa"}, "corpus.subset of t2ragbench must be one of FinQA"),
        ("mirage", {"path": "no/such"}, "corpus.path no/such does not exist"),
        ("mirage", {}, "holds no dataset.json"),
    ],
)
def test_bad_parameters_of_a_data_set_are_named(tmp_path, corpus, values, sentence):
    write_json(tmp_path / "doc_pool.json", [])
    with pytest.raises(BadInput, match=sentence):
        load_corpus(of(corpus, **({"path": tmp_path} | values)))


def test_a_folder_without_the_wanted_subset_is_refused(tmp_path):
    write_json(tmp_path / "cuad/train.json", [ragbench_row("a")])
    with pytest.raises(BadInput, match="holds no file of the subset covidqa"):
        load_corpus(of("ragbench", tmp_path, subset="covidqa"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WHOLE = {
    "squad": ("", "train.json", squad_file("2.0")),
    "mirage": ("", "doc_pool.json", mirage_rows(1)[1]),
    "ragbench": ("covidqa", "train.json", [ragbench_row("a")]),
    "t2ragbench": ("FinQA", "train.json", [t2_row("a")]),
    "popqa": ("", "train.json", [popqa_row("a", ["In Oslo."], possible_answers="[]")]),
}


def places(value, path=()):
    """The path of every value within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))]


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("name", list(WHOLE))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_any_value_in_any_place_is_read_or_refused_in_one_sentence(tmp_path, name, draw):
    subset, file, whole = WHOLE[name]
    path, value = draw.draw(st.sampled_from(places(whole))), draw.draw(ANYTHING)
    write_json(tmp_path / "dataset.json", mirage_rows(1)[0]) if name == "mirage" else None
    write_json(tmp_path / file, replaced(whole, path, value))
    try:
        corpus = whole_corpus(of(name, tmp_path, subset=subset))
    except BadInput as error:
        assert "\n" not in str(error) and file in str(error)
    else:
        assert set(corpus.questions["gold_doc_ids"].explode().dropna()) <= set(corpus.docs["doc_id"])


@pytest.mark.parametrize(
    ("name", "subset", "repo"),
    [
        ("squad", "v2.0", "rajpurkar/squad_v2"),
        ("mirage", "", "nlpai-lab/mirage"),
        ("ragbench", "cuad", "rungalileo/ragbench"),
        ("t2ragbench", "TAT-DQA", "G4KMU/t2-ragbench"),
    ],
)
def test_without_a_local_copy_the_hub_is_asked_and_what_to_do_offline_is_said(name, subset, repo):
    with pytest.raises(BadInput, match=f"{repo} .*hf download {repo} --repo-type dataset .*set corpus.path to it"):
        load_corpus(of(name, "", subset=subset, revision="main"))

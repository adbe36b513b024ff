"""Both corpora, the choice of a subset, the splits, and every sentence that a bad file gets."""

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from conftest import CORPORA
from markup import IN_TEXT, IN_TITLE, with_markup

from zmem_lib.data.corpus import load_corpus
from zmem_lib.data.phrasings import ATTRIBUTES, FIRST_ENDS, FIRST_STEMS, LAST_ENDS, LAST_STEMS
from zmem_lib.data.subset import ABOUT_TWICE, LEAKED, NOT_CHOSEN, TWICE
from zmem_lib.data.synthetic import generate
from zmem_lib.files import BadInput
from zmem_lib.params import read_params

ROOT = Path(__file__).parents[1]


def params_of(values):
    return read_params(ROOT / "params/tiny.yaml", [f"{key}={value}" for key, value in values.items()])


@pytest.fixture(scope="module")
def biographies():
    return generate(60, 12, seed=3)


def test_synthetic_depends_on_its_three_numbers_alone(biographies):
    again, other = generate(60, 12, seed=3), generate(60, 12, seed=4)
    assert all(mine.equals(theirs) for mine, theirs in zip(biographies, again, strict=True))
    assert not biographies[0]["text"].equals(other[0]["text"])


@pytest.mark.parametrize(
    "numbers, digest",
    [((400, 40, 7), "b642ab7719241f0d"), ((600, 60, 7), "45c378f44c9555fc"), ((24, 8, 3), "9acfbcc24a73c7e4")],
)
def test_synthetic_stays_as_it_was_when_the_first_figures_were_measured(numbers, digest):
    docs, questions = generate(*numbers[:2], seed=numbers[2])
    text = docs.to_json(orient="records") + questions.to_json(orient="records")
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_synthetic_answers_stand_where_the_table_says(biographies):
    docs, questions = biographies
    texts = dict(zip(docs["doc_id"], docs["text"], strict=True))
    for row in questions.itertuples():
        text = texts[row.gold_doc_ids[0]]
        assert text.startswith(row.answers[0], row.answer_start)
        assert row.evidence in text and row.answers[0] in row.evidence


def test_synthetic_names_are_unique_whole_and_shared_in_halves(biographies):
    titles = biographies[0]["title"]
    assert titles.is_unique
    for place in (0, 1):
        assert titles.str.split().str[place].value_counts().mean() > 2
    assert all(title in text for title, text in zip(titles, biographies[0]["text"], strict=True))


def test_each_kind_of_question_tests_one_generalisation(biographies):
    docs, questions = biographies
    questions = questions.assign(doc_id=questions["gold_doc_ids"].str[0])
    names = dict(zip(docs["doc_id"], docs["title"], strict=True))
    phrasings = [
        text.replace(names[doc], "{name}") for text, doc in zip(questions.question, questions.doc_id, strict=True)
    ]
    questions = questions.assign(phrasing=phrasings)
    trained_phrasings = {phrasing for about in ATTRIBUTES.values() for phrasing in about.train}
    assert set(questions.loc[questions["kind"] == "rephrased", "phrasing"]).isdisjoint(trained_phrasings)
    assert set(questions.loc[questions["kind"] != "rephrased", "phrasing"]) <= trained_phrasings
    for _, mine in questions[questions["split"].isin(["train", "dev", "test"])].groupby("doc_id"):
        asked = set(mine.loc[mine["split"] == "train", "evidence"])
        held_out = mine[mine["split"] != "train"]
        assert len(asked) == 4 and held_out["evidence"].is_unique and len(held_out) == 6
        assert set(held_out.loc[held_out["kind"] == "rephrased", "evidence"]) < asked
        assert set(held_out.loc[held_out["kind"] == "unasked", "evidence"]).isdisjoint(asked)


def test_rephrased_questions_are_built_of_words_that_training_questions_contain():
    pieces = {
        split: [p for about in ATTRIBUTES.values() for p in getattr(about, split)] for split in ("train", "dev", "test")
    }
    words = {
        split: {word for p in texts for word in re.findall(r"\w+", p.replace("{name}", ""))}
        for split, texts in pieces.items()
    }
    assert words["dev"] | words["test"] <= words["train"]
    everything = [p for texts in pieces.values() for p in texts]
    assert len(set(everything)) == len(everything), "one phrasing must not ask for two attributes"


def test_every_attribute_has_the_values_and_phrasings_that_chapter_one_states():
    for about in ATTRIBUTES.values():
        assert len(set(about.values)) >= 15
        assert len(about.sentences) >= 3 and [len(about.train), len(about.dev), len(about.test)] == [5, 1, 2]
    values = [value for about in ATTRIBUTES.values() for value in about.values]
    assert len(set(values)) == len(values)
    for stems, ends in ((FIRST_STEMS, FIRST_ENDS), (LAST_STEMS, LAST_ENDS)):
        assert len({stem + end for stem in stems for end in ends}) == len(stems) * len(ends)


def test_new_documents_of_synthetic_are_split_by_document(biographies):
    docs, questions = biographies
    new = questions[questions["split"].str.startswith("new-")].explode("gold_doc_ids")
    assert set(new["gold_doc_ids"]) == set(docs.loc[docs["part"] == "new", "doc_id"])
    splits = new.groupby("gold_doc_ids")["split"].unique()
    assert (splits.str.len() == 1).all() and (splits.str[0] == "new-dev").sum() == 4


@pytest.mark.parametrize(("seen", "new"), [(1, 0), (20_000, 2_000)])
def test_synthetic_refuses_what_it_cannot_make(seen, new):
    with pytest.raises(BadInput, match="can make 2 to"):
        generate(seen, new, seed=1)


@pytest.mark.parametrize("n", [0, 1, 3, 99])
def test_markup_stands_in_the_first_seen_documents_and_changes_no_other(biographies, n):
    docs, questions = with_markup(*biographies, n=n)
    marked = docs["doc_id"].isin(docs.loc[docs["part"] == "seen", "doc_id"].head(n))
    about = questions["gold_doc_ids"].str[0].isin(docs.loc[marked, "doc_id"])
    assert marked.sum() == min(n, 60)
    assert docs[~marked].equals(biographies[0][~marked.to_numpy()])
    assert questions[~about].equals(biographies[1][~about.to_numpy()])
    assert docs.loc[marked, "text"].str.count(re.escape(IN_TEXT)).eq(1).all()
    assert docs.loc[marked, "title"].str.endswith(IN_TITLE).all() and docs["title"].is_unique
    texts = dict(zip(docs["doc_id"], docs["text"], strict=True))
    for row in questions.itertuples():
        text = texts[row.gold_doc_ids[0]]
        assert text.startswith(row.answers[0], row.answer_start) and row.evidence in text
    first = questions[about].groupby(questions["gold_doc_ids"].str[0])["evidence"].first()
    assert first.str.endswith(IN_TEXT).all()


def test_markup_is_a_parameter_of_the_synthetic_corpus():
    plain, marked = (
        load_corpus(params_of({"corpus.documents": 9, "corpus.new_documents": 3, "markup_documents": n}))
        for n in (0, 2)
    )
    assert (plain.docs["text"] != marked.docs["text"]).tolist() == [True] * 2 + [False] * 10
    assert plain.dropped == {} and plain.source == "made here from the seed 7" and "do not exist" in plain.licence


# --- folder -----------------------------------------------------------------------------------------------------------

DOCS = [{"doc_id": f"d{i}", "title": f"T{i}", "text": f"Text {i} says x{i}. And more."} for i in range(12)]
QUESTIONS = [
    {"question_id": f"q{i}{j}", "question": f"What says {i}, {j}?", "answers": ["absent", f"x{i}"], "doc_id": f"d{i}",
     "answer_start": DOCS[i]["text"].index(f"x{i}"), "split": ("train", "train", "test")[j]}
    for i in range(12) for j in range(3)
]  # fmt: skip


def write(folder: Path, docs=DOCS, questions=QUESTIONS) -> Path:
    for name, rows in (("corpus", docs), ("questions", questions)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def load_whole(folder: Path, **values):
    return load_corpus(
        params_of(**{"corpus": "folder", "corpus_path": folder, "n_documents": 8, "n_new_documents": 3} | values)
    )


def load(folder: Path, **values):
    corpus = load_whole(folder, **values)
    return corpus.docs, corpus.questions


def test_folder_keeps_exactly_the_questions_of_the_chosen_documents(tmp_path):
    docs, questions = load(write(tmp_path))
    assert list(docs["part"]) == ["seen"] * 8 + ["new"] * 3
    assert set(questions["gold_doc_ids"].str[0]) == set(docs["doc_id"]) and len(questions) == 33
    assert (questions["answers"].str[0] == questions["gold_doc_ids"].str[0].str.replace("d", "x")).all()
    parts = questions["gold_doc_ids"].str[0].map(dict(zip(docs["doc_id"], docs["part"], strict=True)))
    assert ((parts == "new") == questions["split"].str.startswith("new-")).all()
    assert questions.loc[questions["split"] == "new-dev", "gold_doc_ids"].str[0].nunique() == 1


def test_the_subset_is_the_seeds_and_grows_without_changing_the_new_documents(tmp_path):
    write(tmp_path)
    ids = {(n, seed): load(tmp_path, n_documents=n, seed=seed)[0] for n, seed in [(4, 1), (8, 1), (8, 2)]}
    by_part = {key: {part: list(rows) for part, rows in docs.groupby("part")["doc_id"]} for key, docs in ids.items()}
    assert set(by_part[4, 1]["seen"]) < set(by_part[8, 1]["seen"])
    assert by_part[4, 1]["new"] == by_part[8, 1]["new"]
    assert by_part[8, 1] != by_part[8, 2]
    assert load(tmp_path)[0].equals(load(tmp_path)[0])


def test_a_question_with_any_new_gold_document_never_trains(tmp_path):
    docs, _ = load(write(tmp_path))
    seen, new = (list(docs.loc[docs["part"] == part, "doc_id"]) for part in ("seen", "new"))
    outside = ({doc["doc_id"] for doc in DOCS} - set(docs["doc_id"])).pop()
    both = {
        "question_id": "both",
        "question": "?",
        "answers": ["says"],
        "gold_doc_ids": [seen[0], new[0]],
        "split": "train",
    }
    reduced = both | {"question_id": "reduced", "question": "??", "gold_doc_ids": [outside, seen[0]]}
    gone = both | {"question_id": "gone", "gold_doc_ids": [outside]}
    questions = load(write(tmp_path, questions=[*QUESTIONS, both, reduced, gone]))[1].set_index("question_id")
    assert questions.loc["both", "gold_doc_ids"] == [new[0]] and questions.loc["both", "split"].startswith("new-")
    assert questions.loc["reduced", "gold_doc_ids"] == [seen[0]] and questions.loc["reduced", "split"] == "train"
    assert "gone" not in questions.index


def test_an_offset_is_dropped_with_the_document_that_it_belongs_to(tmp_path):
    docs, _ = load(write(tmp_path))
    outside = ({doc["doc_id"] for doc in DOCS} - set(docs["doc_id"])).pop()
    gold = [outside, docs["doc_id"][0]]
    moved = {"question_id": "moved", "question": "?", "answers": ["says"], "gold_doc_ids": gold,
             "answer_start": next(doc for doc in DOCS if doc["doc_id"] == outside)["text"].index("says")}  # fmt: skip
    questions = load(write(tmp_path, questions=[*QUESTIONS, moved]))[1].set_index("question_id")
    assert questions.loc["moved", "answer_start"] == -1


def test_training_questions_with_the_words_of_a_held_out_one_are_dropped_and_counted(tmp_path):
    first = load(write(tmp_path))[0]["doc_id"][0]
    twin = next(q for q in QUESTIONS if q["doc_id"] == first and q["split"] == "test")
    leak = twin | {"question_id": "leak", "question": f" {twin['question'].upper()}", "split": "train"}
    other = next(q for q in QUESTIONS if q["doc_id"] == load(tmp_path)[0]["doc_id"][1])
    same_words = other | {"question_id": "same-words", "question": twin["question"], "split": "train"}
    corpus = load_whole(write(tmp_path, questions=[*QUESTIONS, leak, same_words]))
    questions = corpus.questions
    assert corpus.dropped == {LEAKED: 1, NOT_CHOSEN: 3}
    assert "leak" not in set(questions["question_id"]) and "same-words" in set(questions["question_id"])


def test_missing_splits_come_from_a_hash_of_the_id(tmp_path):
    bare = []
    for question in QUESTIONS:
        for n in range(30):
            changed = {"question_id": f"{n}-{question['question_id']}", "question": f"{n}{question['question']}"}
            bare.append(question | changed | {"split": None})
    shares = load(write(tmp_path, questions=bare), n_documents=12, n_new_documents=0)[1]["split"].value_counts(
        normalize=True
    )
    assert shares["test"] == pytest.approx(0.2, abs=0.04) and shares["dev"] == pytest.approx(0.1, abs=0.03)


def test_gzip_byte_order_mark_windows_line_ends_and_blank_lines_are_read(tmp_path):
    plain = load(write(tmp_path))
    for name in ("corpus", "questions"):
        path = tmp_path / f"{name}.jsonl"
        lines = path.read_text(encoding="utf-8").replace("\n", "\r\n\r\n")
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode("utf-8-sig")))
        path.unlink()
    assert all(mine.equals(theirs) for mine, theirs in zip(load(tmp_path), plain, strict=True))


def second_folder(folder: Path) -> Path:
    """Six documents with a question each: d0 is the first corpus's own, d1 to d3 share only their ids with it."""
    docs = [DOCS[0]] + [DOCS[i] | {"text": f"Other text {i} says y{i}."} for i in range(1, 4)]
    docs += [{"doc_id": f"e{i}", "text": f"Fresh {i} says y{i}."} for i in range(2)]
    questions = [
        {
            "question_id": f"q{i}0",
            "question": f"Who says {i}?",
            "answers": [f"y{i}"],
            "doc_id": doc["doc_id"],
            "split": "train",
        }
        for i, doc in enumerate(docs)
    ]
    both = questions[1] | {"question_id": "both", "gold_doc_ids": ["d0", "d1"], "answer_start": None}
    folder.mkdir()
    return write(folder, docs, [*questions, both])


def test_new_documents_come_from_the_second_corpus(tmp_path):
    second = second_folder(tmp_path / "second")
    corpus = load_whole(write(tmp_path), n_documents=12, n_new_documents=5, new_corpus_path=second)
    docs = corpus.docs.set_index("doc_id")
    assert list(docs.index[docs["part"] == "seen"]) == [f"d{i}" for i in range(12)]
    assert list(docs.index[docs["part"] == "new"]) == ["new/d1", "new/d2", "new/d3", "e0", "e1"]
    assert docs.loc["new/d1", "text"] == "Other text 1 says y1." and docs["text"].is_unique
    new = corpus.questions[corpus.questions["split"].str.startswith("new-")].set_index("question_id")
    assert new["gold_doc_ids"].to_dict() == {
        "new/q10": ["new/d1"], "new/q20": ["new/d2"], "new/q30": ["new/d3"], "new/q40": ["e0"], "new/q50": ["e1"],
        "both": ["new/d1"],
    }  # fmt: skip
    assert corpus.questions["question_id"].is_unique and len(corpus.questions) == 36 + 6
    assert new.loc[new["split"] == "new-dev", "gold_doc_ids"].str[0].nunique() == 1
    assert corpus.dropped[f"new: {TWICE}"] == corpus.dropped[f"new: {ABOUT_TWICE}"] == 1
    assert str(tmp_path) in corpus.source and f"new: folder {second}" in corpus.source


def test_the_second_corpus_changes_no_seen_document_and_suits_every_corpus(tmp_path):
    second = second_folder(tmp_path / "second")
    alone = load(write(tmp_path))[0].query("part == 'seen'")["doc_id"]
    assert list(load(tmp_path, new_corpus_path=second)[0].query("part == 'seen'")["doc_id"]) == list(alone)
    values = {"n_documents": 10, "n_new_documents": 4, "new_corpus_path": second}
    corpus = load_corpus(params_of(**values))
    assert corpus.docs["part"].tolist() == ["seen"] * 10 + ["new"] * 4
    assert corpus.docs["doc_id"][:10].str.startswith("person-").all()
    assert {"train", "dev", "test", "new-dev", "new-test"} == set(corpus.questions["split"])
    seen = ~corpus.questions["split"].str.startswith("new-")
    plain = generate(10, 0, seed=7)[1]
    assert corpus.questions[seen].reset_index(drop=True).equals(plain[corpus.questions.columns])
    assert (load_corpus(params_of(**values | {"n_new_documents": 0})).docs["part"] == "seen").all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"n_new_documents": 7}, "n_new_documents is 7, but the corpus at new_corpus_path has 5 documents that"),
        ({"n_documents": 13}, "n_documents is 13, but the corpus has 12 documents: lower it"),
        ({"new_corpus_path": "no/such"}, "new_corpus_path: corpus_path no/such is not a folder"),
    ],
)
def test_a_second_corpus_that_does_not_do_is_named(tmp_path, values, sentence):
    second = second_folder(tmp_path / "second")
    with pytest.raises(BadInput, match=sentence):
        load(write(tmp_path), **({"new_corpus_path": second, "n_new_documents": 3} | values))


D, Q = DOCS[0], QUESTIONS[0]
BAD_DOCS = {
    "line 2: field 'text' is missing": {"doc_id": "a"},
    "line 2: field 'text' must be text that is not empty, not ' '": {"doc_id": "a", "text": " "},
    "line 2: field 'doc_id' must be text that is not empty, not '7'": D | {"doc_id": 7},
    "line 2: field 'title' must be text": D | {"doc_id": "a", "title": 3},
    "line 2: doc_id 'd0' is already that of line 1": D,
    "line 2: not valid JSON": '{"doc_id": "a", ',
    "line 2: must be a JSON object": "[1, 2]",
}
BAD_QUESTIONS = {
    "line 2: field 'question' is missing": {"question_id": "a"},
    "line 2: question_id 'q00' is already that of line 1": Q,
    "line 2: field 'answers' must be a list of one or more texts that are not empty, but is missing": {
        "question_id": "a", "question": "?", "doc_id": "d0"
    },
    "line 2: field 'answers' must be a list of one or more texts that are not empty, not 'x0'": Q
    | {"question_id": "a", "answers": "x0"},
    "line 2: field 'doc_id' is missing": {"question_id": "a", "question": "?", "answers": ["x0"]},
    "line 2: field 'doc_id' names 'nobody'": Q | {"question_id": "a", "doc_id": "nobody"},
    "line 2: field 'gold_doc_ids' names 'nobody'": Q | {"question_id": "a", "gold_doc_ids": ["d0", "nobody"]},
    "line 2: field 'gold_doc_ids' must be a list": Q | {"question_id": "a", "gold_doc_ids": "d0"},
    "line 2: no answer stands at answer_start 3": Q | {"question_id": "a", "answer_start": 3},
    "line 2: field 'answer_start' must be a whole number or null, not '3.5'": Q
    | {"question_id": "a", "answer_start": 3.5},
    "line 2: field 'split' must be one of train, dev, test or null, not 'valid'": Q
    | {"question_id": "a", "split": "valid"},
    "line 2: field 'evidence' must be text": Q | {"question_id": "a", "evidence": ["x"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "sentence", "line"),
    [("corpus.jsonl", s, row) for s, row in BAD_DOCS.items()]
    + [("questions.jsonl", s, row) for s, row in BAD_QUESTIONS.items()],
)
def test_bad_lines_are_named_by_file_line_and_field(tmp_path, file, sentence, line):
    rows = {"docs": [D, line, *DOCS[1:]]} if file == "corpus.jsonl" else {"questions": [Q, line]}
    with pytest.raises(BadInput) as caught:
        load(write(tmp_path, **rows))
    assert f"{file}, {sentence}" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sentence", "spoil"),
    [
        ("has neither corpus.jsonl nor corpus.jsonl.gz", lambda folder: (folder / "corpus.jsonl").unlink()),
        ("has neither questions.jsonl", lambda folder: (folder / "questions.jsonl").unlink()),
        ("holds no document", lambda folder: (folder / "corpus.jsonl").write_text("\n")),
        ("holds no question", lambda folder: (folder / "questions.jsonl").write_text("")),
        (
            "corpus.jsonl, line 1: not valid UTF-8",
            lambda folder: (folder / "corpus.jsonl").write_bytes(b'{"a": "\xff"}'),
        ),
    ],
)
def test_bad_files_are_named(tmp_path, sentence, spoil):
    spoil(write(tmp_path))
    with pytest.raises(BadInput, match=sentence):
        load(tmp_path)


def test_half_a_gzip_file_is_named(tmp_path):
    path = write(tmp_path) / "corpus.jsonl"
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    path.unlink()
    with pytest.raises(BadInput, match=r"corpus\.jsonl\.gz is not a whole gzip file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"n_documents": 10}, "n_documents 10 and n_new_documents 3 make 13, but the corpus has 12 documents"),
        ({"corpus_path": '""'}, "needs corpus_path"),
        ({"corpus_path": "no/such/folder"}, "no/such/folder is not a folder"),
    ],
)
def test_bad_parameters_of_a_corpus_are_named(tmp_path, values, sentence):
    with pytest.raises(BadInput, match=sentence):
        load(write(tmp_path), **values)


@pytest.mark.parametrize("name", ["squad11-dev", "korquad"])
def test_real_corpora_load(name):
    if not (CORPORA / name).is_dir():
        pytest.skip(f"{CORPORA / name} is not there")
    docs, questions = load(CORPORA / name, n_documents=50, n_new_documents=10)
    texts = dict(zip(docs["doc_id"], docs["text"], strict=True))
    assert len(docs) == 60 and {"train", "dev", "test", "new-dev", "new-test"} == set(questions["split"])
    for row in questions.itertuples():
        assert texts[row.gold_doc_ids[0]].startswith(row.answers[0], row.answer_start)

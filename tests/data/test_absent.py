"""Questions without a document: that they have none, that only that tells, and that the seed alone decides."""

import json

import pytest
from conftest import CORPORA
from folders import in_folder, params_of

from zmem_lib.data.absent import PREFIX, absent_questions
from zmem_lib.data.corpus import load_corpus
from zmem_lib.data.synthetic import ATTRIBUTES
from zmem_lib.files import BadInput

SHARED = CORPORA / "squad11-dev"
PHRASINGS = {phrasing for about in ATTRIBUTES.values() for phrasing in about.train}


def absent_of(params):
    corpus = load_corpus(params)
    return absent_questions(params, corpus.docs, corpus.questions), corpus


def synthetic(documents, new_documents, absent, seed=7):
    values = {"documents": documents, "new_documents": new_documents, "absent_questions": absent}
    return absent_of(params_of({"seed": seed} | {f"corpus.{name}": value for name, value in values.items()}))


@pytest.fixture(scope="module")
def nobody():
    return synthetic(60, 12, 40)


def person(question):
    """The two words that make one of the training phrasings of the question, once they are taken for the name."""
    words = question.split()
    for place in range(len(words) - 1):
        end = words[place + 1]
        name = f"{words[place]} {end.rstrip('?.')}"
        if question.replace(name, "{name}") in PHRASINGS:
            return name
    raise AssertionError(question)


def test_nobody_is_a_new_combination_of_two_known_halves_in_a_training_phrasing(nobody):
    absent, corpus = nobody
    names = {person(question) for question in absent["question"]}
    known = set(corpus.docs["title"])
    assert len(names) == len(absent) == 40 and names.isdisjoint(known)
    for place in (0, 1):
        halves = {name.split()[place] for name in known}
        assert {name.split()[place] for name in names} <= halves
    assert set(absent["kind"]) == {"nobody"}


def test_seed_alone_decides_and_none_wanted_is_none(nobody):
    again, other, none = synthetic(60, 12, 40)[0], synthetic(60, 12, 40, seed=8)[0], synthetic(60, 12, 0)[0]
    assert again.equals(nobody[0]) and not other["question"].equals(nobody[0]["question"])
    assert len(none) == 0 and list(none) == list(again)


def test_no_more_than_there_are_combinations():
    absent, corpus = synthetic(3, 1, 500)
    halves = [set(corpus.docs["title"].str.split().str[place]) for place in (0, 1)]
    assert len(absent) == len(halves[0]) * len(halves[1]) - 4


def test_both_halves_of_the_split_are_used():
    absent, _ = synthetic(200, 20, 400)
    assert len(absent) == 400 and 160 < (absent["split"] == "dev").sum() < 240
    assert set(absent["split"]) == {"dev", "test"}


def write_folder(folder, *, unanswerable=True, echo=()):
    """Twelve passages; the unanswerable questions about those of `echo` are in the words of a training question."""
    docs = [{"doc_id": f"d{i}", "text": f"Town {i} is old."} for i in range(12)]
    asked = [
        {"question_id": f"d{i}-{split}", "question": f"Is town {i} {split}?", "answers": ["old"], "doc_id": f"d{i}",
         "split": split} for i in range(12) for split in ("train", "test")
    ]  # fmt: skip
    files = {"corpus.jsonl": docs, "questions.jsonl": asked}
    if unanswerable:
        rows = [{"question_id": f"u{i}", "question": f"Who built town {i}?", "doc_id": f"d{i}"} for i in range(12)]
        for i in echo:
            rows[i]["question"] = f"is  TOWN {i} train?"
        files["unanswerable_v9.jsonl"] = rows
    for name, rows in files.items():
        (folder / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def of_folder(path, absent, documents=6):
    values = {"corpus.documents": documents, "corpus.new_documents": 2, "corpus.absent_questions": absent}
    return absent_of(in_folder(path, values))


def test_folder_has_unanswerable_ones_of_chosen_passages_and_left_out_ones_of_others(tmp_path):
    write_folder(tmp_path, echo=range(0, 12, 2))
    absent, corpus = of_folder(tmp_path, 100)
    chosen = set(corpus.docs["doc_id"])
    ids = absent.assign(question_id=absent["question_id"].str.removeprefix(PREFIX)).groupby("kind")["question_id"]
    wanted = {f"u{i}" for i in range(1, 12, 2) if f"d{i}" in chosen}
    left = {f"d{i}-test" for i in range(12) if f"d{i}" not in chosen}
    assert {kind: set(mine) for kind, mine in ids} == {"unanswerable": wanted, "left out": left}
    assert 0 < len(wanted) < len(chosen)
    assert not set(absent["question_id"]) & set(corpus.questions["question_id"])


def test_kinds_share_and_a_small_kind_leaves_its_share_to_the_other(tmp_path):
    write_folder(tmp_path)
    six, _ = of_folder(tmp_path, 6)
    assert six["kind"].value_counts().to_dict() == {"unanswerable": 3, "left out": 3}
    more, _ = of_folder(tmp_path, 10)
    assert more["kind"].value_counts().to_dict() == {"unanswerable": 6, "left out": 4}


def test_folder_whole_and_without_the_file_has_none(tmp_path):
    write_folder(tmp_path, unanswerable=False)
    absent, _ = of_folder(tmp_path, 10, documents=10)
    assert len(absent) == 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question_id": "u1", "question": " ", "doc_id": "d1"}, "field 'question' must be text that is not empty"),
        ({"question_id": "u1", "question": "Who?"}, "field 'doc_id' is missing"),
        ({"question_id": "u1", "question": ["Who?"], "doc_id": "d1"}, "field 'question' must be text, not"),
        ({"question_id": "u2", "question": "Who?", "doc_id": "d1"}, "question_id 'u2' is already that of line 1"),
    ],
)
def test_bad_line_is_named(tmp_path, row, said):
    write_folder(tmp_path, unanswerable=False)
    first = {"question_id": "u2", "question": "What?", "doc_id": "d1"}
    (tmp_path / "unanswerable.jsonl").write_text(f"{json.dumps(first)}\n{json.dumps(row)}\n", encoding="utf-8")
    with pytest.raises(BadInput, match=said) as error:
        of_folder(tmp_path, 10)
    assert "unanswerable.jsonl, line 2" in str(error.value)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the development data")
def test_squad_dev_has_both_kinds():
    values = {"corpus.documents": 500, "corpus.new_documents": 50, "corpus.absent_questions": 200}
    absent, corpus = absent_of(in_folder(SHARED, values))
    assert absent["kind"].value_counts().to_dict() == {"unanswerable": 100, "left out": 100}
    assert not set(absent["question"]) & set(corpus.questions["question"])

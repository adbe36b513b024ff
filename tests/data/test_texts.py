"""Folders of mere texts: where passages begin and end, what they are called, what is refused."""

import pytest

from zmem_lib.data import texts
from zmem_lib.data.corpus import load_corpus
from zmem_lib.files import BadInput, write_json
from zmem_lib.params import read_params
from zmem_lib.tables import TABLES

NOTES = """---
tags: [a]
---
Before any heading.

# Bees ##
A hive has one queen.

She lays eggs.
```
# no heading in code
```
## Honey
It keeps for years.
"""


def params_of(folder, *more):
    return read_params("params/mine.yaml", [f"corpus.path={folder}", *more])


def passages(folder):
    docs = texts.read_texts(params_of(folder))
    return list(docs.itertuples(index=False, name=None))


def test_a_markdown_file_is_cut_at_its_headings(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/notes.MD").write_text(NOTES, encoding="utf-8")
    assert passages(tmp_path) == [
        ("in/notes.MD#1", "notes", "Before any heading."),
        ("in/notes.MD#2", "notes: Bees", "A hive has one queen.\n\nShe lays eggs.\n```\n# no heading in code\n```"),
        ("in/notes.MD#3", "notes: Honey", "It keeps for years."),
    ]


def test_a_file_without_headings_is_cut_at_its_paragraphs(tmp_path):
    for name in ("b.txt", "a.md"):
        (tmp_path / name).write_bytes("\ufeffOne\r\nline more.\r\n\r\n***\r\n \r\n벌은 꽃을 찾는다.".encode())
    (tmp_path / "c.txt").write_text("# A sharp sign is no heading here.", encoding="utf-8")
    (tmp_path / ".hidden").mkdir()
    for name in (".hidden/d.txt", ".e.txt", "f.pdf"):
        (tmp_path / name).write_text("Nobody reads this.", encoding="utf-8")
    two = ["One\nline more.", "벌은 꽃을 찾는다."]
    assert [text for *_, text in passages(tmp_path)] == [*two, *two, "# A sharp sign is no heading here."]
    assert [doc_id for doc_id, *_ in passages(tmp_path)] == ["a.md#1", "a.md#2", "b.txt#1", "b.txt#2", "c.txt#1"]


def test_long_passages_are_cut_between_sentences_and_nothing_is_lost(tmp_path):
    sentences = [f"Sentence {i} has exactly six words." for i in range(90)]
    (tmp_path / "a.txt").write_text(" ".join(sentences) + "\n\n" + "word " * 600, encoding="utf-8")
    found = [text for *_, text in passages(tmp_path)]
    assert " ".join(found).split() == [*" ".join(sentences).split(), *["word"] * 600]
    lengths = [len(text.split()) for text in found]
    assert lengths == [246, 246, 48, 250, 250, 100] and max(lengths) <= texts.WORDS
    assert all(text.endswith("words.") for text in found[:3])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pdf", b"x", "holds no .txt and no .md file"),
        ("a.txt", b" \n***\n", "hold no word"),
        ("a.txt", b"caf\xe9", r"a\.txt cannot be read as UTF-8"),
        ("a.md", b"a\x00b", r"a\.md has the control character U\+0000"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=said):
        texts.read_texts(params_of(tmp_path))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["corpus.own_questions=0"], "raise corpus.own_questions"),
        (["corpus.new_documents=2"], "set corpus.new_documents to 0"),
        (["corpus.name=folder"], "corpus.own_questions are asked about corpus texts"),
        (["lm.name=none"], "needs a model that can ask"),
        (["memory.key_width=8", "answer.select=key_then_likelihood"], "take another"),
    ],
)
def test_what_does_not_go_with_texts_is_refused(tmp_path, more, said):
    with pytest.raises(BadInput, match=said):
        params_of(tmp_path, *more)


def test_the_models_questions_become_those_of_the_corpus(tmp_path):
    (tmp_path / "a.txt").write_text("Ada lives in Bern.\n\nBo lives in Rome.", encoding="utf-8")
    base = {"doc_id": "a.txt#1", "evidence": "Ada lives in Bern.", "evidence_start": 0}
    rows = [texts.own_question(base | {"question_id": f"pseudo-{i}", "question": f"Who is {i}?"}) for i in range(20)]
    write_json({"questions": rows, "left out": {"empty": 3}}, tmp_path / texts.OWN)
    corpus = load_corpus(params_of(tmp_path), tmp_path)
    assert list(corpus.docs.part) == ["seen", "seen"] and corpus.dropped["empty"] == 3
    assert list(corpus.questions) == list(TABLES["questions"]) and set(corpus.questions.split) == {"train", "dev"}
    assert corpus.questions.answers.map(list).tolist() == [["Ada lives in Bern."]] * 20
    with pytest.raises(BadInput, match=r"makes 2 passages, but corpus\.documents is 1: raise it"):
        load_corpus(params_of(tmp_path, "corpus.documents=1"), tmp_path)

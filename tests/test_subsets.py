"""Named parts of a corpus in a folder, for curves over corpus size."""

import json

import pytest
from test_corpora import load_whole, second_folder, write

from zmem_lib.data.folder import OUTSIDE
from zmem_lib.data.subset import NOT_CHOSEN
from zmem_lib.files import BadInput

SUBSETS = {
    "4": {"passages": 4, "titles": ["T1", "T4", "T7", "T10"]},
    "6": {"doc_ids": ["d1", "d2", "d4", "d5", "d7", "d10"]},
    "wrong": {"titles": ["T1", "T99"]},
    "empty": {"titles": []},
    "without": {"passages": 4},
    "number": 4,
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "subsets.json").write_text(json.dumps(SUBSETS), encoding="utf-8")
    return write(tmp_path)


@pytest.mark.parametrize("name", ["4", "6"])
def test_a_subset_has_its_documents_and_the_questions_about_them_only(name, folder):
    corpus = load_whole(folder, corpus_subset=name, n_documents=1000, n_new_documents=0)
    wanted = SUBSETS[name].get("doc_ids") or [title.replace("T", "d") for title in SUBSETS[name]["titles"]]
    assert list(corpus.docs["doc_id"]) == wanted and set(corpus.docs["part"]) == {"seen"}
    assert [ids for (ids,) in corpus.questions["gold_doc_ids"]] == [one for one in wanted for _ in range(3)]
    outside = 12 - len(wanted)
    assert corpus.dropped[OUTSIDE] == outside and corpus.dropped[NOT_CHOSEN] == 3 * outside
    assert corpus.source.endswith(f" {name}")


def test_new_documents_are_held_out_of_the_subset_and_fewer_may_be_taken(folder):
    assert load_whole(folder, corpus_subset="6", n_new_documents=2).docs["part"].tolist() == ["seen"] * 4 + ["new"] * 2
    fewer = load_whole(folder, corpus_subset="6", n_documents=3, n_new_documents=2)
    assert fewer.docs["part"].tolist() == ["seen"] * 3 + ["new"] * 2
    with pytest.raises(BadInput, match="n_documents 1 and n_new_documents 4 make 5, but the corpus has 4"):
        load_whole(folder, corpus_subset="4", n_new_documents=4)


def test_a_second_corpus_is_taken_whole(folder):
    values = {"corpus_subset": "4", "n_new_documents": 5, "new_corpus_path": second_folder(folder / "second")}
    docs = load_whole(folder, **values).docs
    assert docs["part"].tolist() == ["seen"] * 4 + ["new"] * 5


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("5", r"corpus_subset is '5', but .*subsets\.json has '4, 6, wrong, empty, without, number'"),
        ("wrong", r"subset 'wrong': no document has the title 'T99'"),
        ("empty", r"subset 'empty': field 'titles' must be a list of one or more texts"),
        ("without", "subset 'without': must be an object with a list of titles or of doc_ids"),
        ("number", "subset 'number': must be an object with a list of titles or of doc_ids"),
    ],
)
def test_a_subset_that_is_not_there_is_named(name, sentence, folder):
    with pytest.raises(BadInput, match=sentence):
        load_whole(folder, corpus_subset=name)


@pytest.mark.parametrize(("text", "sentence"), [("{", "cannot be read as JSON"), ("[1]", "has 'no names'")])
def test_a_file_of_subsets_that_is_broken_is_named(text, sentence, folder):
    (folder / "subsets.json").write_text(text)
    with pytest.raises(BadInput, match=sentence):
        load_whole(folder, corpus_subset="4")


def test_without_the_file_a_subset_is_refused_and_no_subset_needs_none(folder):
    (folder / "subsets.json").unlink()
    assert len(load_whole(folder).docs) == 11
    with pytest.raises(BadInput, match=r"corpus_subset is '4', but there is no .*subsets\.json"):
        load_whole(folder, corpus_subset="4")

"""What of a corpus a run uses: the choice of documents, splits, leaks, a second corpus, parts, and its source files."""

import json

import pandas as pd
import pytest
from folders import DOCS, QUESTIONS, in_folder, load, params_of, second_folder, write

from zmem_lib.data.corpus import (
    ABOUT_TWICE,
    ASKED,
    LEAKED,
    NOT_CHOSEN,
    SHARED,
    TWICE,
    apart_from,
    grams,
    load_corpus,
)  # fmt: skip
from zmem_lib.data.folder import OUTSIDE
from zmem_lib.data.rows import Corpus, seeds_fold
from zmem_lib.data.synthetic import generate
from zmem_lib.files import BadInput
from zmem_lib.fingerprint import sources_of

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
    """The corpus with named subsets."""
    (tmp_path / "subsets.json").write_text(json.dumps(SUBSETS), encoding="utf-8")
    return write(tmp_path)


def test_exactly_the_questions_of_the_chosen_documents_are_kept(folder):
    corpus = load(folder)
    docs, questions = corpus.docs, corpus.questions
    assert list(docs["part"]) == ["seen"] * 8 + ["new"] * 3
    assert set(questions["gold_doc_ids"].str[0]) == set(docs["doc_id"]) and len(questions) == 33
    assert (questions["answers"].str[0] == questions["gold_doc_ids"].str[0].str.replace("d", "x")).all()
    parts = questions["gold_doc_ids"].str[0].map(dict(zip(docs["doc_id"], docs["part"], strict=True)))
    assert ((parts == "new") == questions["split"].str.startswith("new-")).all()
    assert questions.loc[questions["split"] == "new-dev", "gold_doc_ids"].str[0].nunique() == 1


def test_over_the_seeds_every_document_is_new_once_and_else_seen(folder):
    docs = [load(folder, {"corpus.documents": 9, "seed": seed}).docs for seed in range(4)]
    new = [set(one.loc[one["part"] == "new", "doc_id"]) for one in docs]
    assert [len(one) for one in new] == [3] * 4 and len(set().union(*new)) == 12
    assert all(set(one["doc_id"]) == set(docs[0]["doc_id"]) for one in docs), "the same documents at every seed"
    again = load(folder, {"corpus.documents": 9, "seed": 4}).docs
    assert again.equals(docs[0]), "after the last fold the first again"


def test_folds_keep_groups_whole():
    groups = [["a", "b"], ["c"], ["d", "e", "f", "g"], ["h", "i"], ["j"], ["k"]]
    folds = [[["a", "b"], ["c"]], [["h", "i"], ["j"]]]  # d to g are too many, and k does not fill a fold
    assert [seeds_fold(groups, 3, seed) for seed in range(3)] == [*folds, folds[0]]
    assert seeds_fold(groups, 1, 0) == [["c"]] and seeds_fold(groups[:1], 1, 0) == seeds_fold([], 3, 5) == []
    assert seeds_fold([["a"], ["b"]], 5, 1) == [["a"], ["b"]], "where they fill no fold they are one"


ARTICLES = [doc | {"title": f"T{i // 3}"} for i, doc in enumerate(DOCS)]  # three documents each


def test_new_articles_are_held_out_whole_and_their_questions_told_from_those_of_seen_articles(folder):
    values = {"corpus.documents": 6, "corpus.new_documents": 6, "corpus.new_articles": 3}
    held_out = []
    for seed in range(4):
        corpus = load(write(folder, docs=ARTICLES), values | {"seed": seed})
        title = corpus.docs.set_index("doc_id")["title"]
        seen = set(corpus.docs.loc[corpus.docs["part"] == "seen", "title"])
        new = corpus.questions[corpus.questions["split"].str.startswith("new-")]
        apart = new["gold_doc_ids"].str[0].map(title)
        assert ((new["kind"] == "new-article") == ~apart.isin(seen)).all()
        assert set(new["kind"]) <= {"new-article", "same-article"}
        whole = set(apart[new["kind"] == "new-article"])
        assert (corpus.docs["part"] == "new").sum() <= 6 and whole
        held_out.append(whole)
    assert set().union(*held_out) == {"T0", "T1", "T2", "T3"}, "every article has its turn"
    plain = load(write(folder, docs=ARTICLES), values | {"corpus.new_articles": 0}).questions
    assert set(plain.loc[plain["split"].str.startswith("new-"), "kind"]) == {""}


def test_asked_and_unasked_sentences_are_told_apart(folder):
    text = "Ada lives in Lund. She has a dog named Rex. Her boat is red."
    docs = [{"doc_id": "a", "title": "A", "text": text}, *DOCS]
    asked = [("t1", "Where is Ada?", "Lund", "train"), ("t2", "In which town is she?", "Lund", "test"),
             ("t3", "Who is Rex?", "dog", "test"), ("t4", "What is red?", "boat", "dev"),
             ("t5", "What colour is the sea?", "blue", "test")]  # fmt: skip
    more = [{"question_id": i, "question": q, "answers": [a], "doc_id": "a", "split": s} for i, q, a, s in asked]
    values = {"corpus.documents": 13, "corpus.new_documents": 0}
    questions = load(write(folder, docs=docs, questions=[*QUESTIONS, *more]), values).questions.set_index("question_id")
    assert questions.loc[["t1", "t2", "t3", "t4", "t5"], "kind"].tolist() == ["", "rephrased", "unasked", "unasked", ""]
    more[0]["split"] = "dev"
    alone = load(write(folder, docs=docs, questions=[*QUESTIONS, *more]), values).questions
    assert set(alone.loc[alone["gold_doc_ids"].str[0] == "a", "kind"]) == {""}, "training asks nothing about it"


def test_the_choice_is_the_seeds_and_grows_without_changing_the_new_documents(folder):
    cases = [(4, 1), (8, 1), (8, 2)]
    docs = {(n, seed): load(folder, {"corpus.documents": n, "seed": seed}).docs for n, seed in cases}
    by_part = {key: {part: list(rows) for part, rows in one.groupby("part")["doc_id"]} for key, one in docs.items()}
    assert set(by_part[4, 1]["seen"]) < set(by_part[8, 1]["seen"])
    assert by_part[4, 1]["new"] == by_part[8, 1]["new"]
    assert by_part[8, 1] != by_part[8, 2]
    assert load(folder).docs.equals(load(folder).docs)


def test_a_question_with_any_new_gold_document_never_trains(folder):
    docs = load(folder).docs
    seen, new = (list(docs.loc[docs["part"] == part, "doc_id"]) for part in ("seen", "new"))
    outside = ({doc["doc_id"] for doc in DOCS} - set(docs["doc_id"])).pop()
    both = {"question_id": "both", "question": "?", "answers": ["says"], "gold_doc_ids": [seen[0], new[0]],
            "split": "train"}  # fmt: skip
    reduced = both | {"question_id": "reduced", "question": "??", "gold_doc_ids": [outside, seen[0]]}
    gone = both | {"question_id": "gone", "gold_doc_ids": [outside]}
    start = next(doc for doc in DOCS if doc["doc_id"] == outside)["text"].index("says")
    moved = reduced | {"question_id": "moved", "question": "???", "answer_start": start}
    corpus = load(write(folder, questions=[*QUESTIONS, both, reduced, gone, moved]))
    questions = corpus.questions.set_index("question_id")
    assert questions.loc["both", "gold_doc_ids"] == [new[0]] and questions.loc["both", "split"].startswith("new-")
    assert questions.loc["reduced", "gold_doc_ids"] == [seen[0]] and questions.loc["reduced", "split"] == "train"
    assert "gone" not in questions.index
    assert questions.loc["moved", "answer_start"] == -1, "the offset goes with the document that it belongs to"


def test_training_questions_with_the_words_of_a_held_out_one_are_dropped_and_counted(folder):
    first, second = load(folder).docs["doc_id"][:2]
    twin = next(q for q in QUESTIONS if q["doc_id"] == first and q["split"] == "test")
    leak = twin | {"question_id": "leak", "question": f" {twin['question'].upper()}", "split": "train"}
    other = next(q for q in QUESTIONS if q["doc_id"] == second)
    same_words = other | {"question_id": "same-words", "question": twin["question"], "split": "train"}
    corpus = load(write(folder, questions=[*QUESTIONS, leak, same_words]))
    assert corpus.dropped == {LEAKED: 1, NOT_CHOSEN: 3}
    assert "leak" not in set(corpus.questions["question_id"]) and "same-words" in set(corpus.questions["question_id"])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"corpus.documents": 10}, "corpus.documents 10 and corpus.new_documents 3 make 13, but the corpus has 12 doc"),
        ({"corpus.path": ""}, "needs corpus.path"),
        ({"corpus.path": "no/such/folder"}, "no/such/folder is not a folder"),
    ],
)
def test_bad_parameters_of_a_corpus_are_named(folder, values, sentence):
    with pytest.raises(BadInput, match=sentence):
        load(folder, values)


# --- a second corpus --------------------------------------------------------------------------------------------------


def test_new_documents_come_from_the_second_corpus(folder):
    second = second_folder(folder / "second")
    corpus = load(folder, {"corpus.documents": 12, "corpus.new_documents": 5, "corpus.new_path": second})
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
    assert corpus.source == f"folder {folder.name}; new: folder second", "pages name no folder of the machine"


def test_beside_a_second_corpus_the_seen_documents_are_the_same_at_every_seed_and_it_suits_every_corpus(folder):
    second = second_folder(folder / "second")
    values = {"corpus.new_path": second, "corpus.new_documents": 2}
    docs = [load(folder, values | {"seed": seed}).docs for seed in (1, 2)]
    seen, new = ([set(one.loc[one["part"] == part, "doc_id"]) for one in docs] for part in ("seen", "new"))
    assert seen[0] == seen[1] and new[0].isdisjoint(new[1])
    values = {"corpus.documents": 10, "corpus.new_documents": 4, "corpus.new_path": second}
    corpus = load_corpus(params_of(values))
    assert corpus.docs["part"].tolist() == ["seen"] * 10 + ["new"] * 4
    assert corpus.docs["doc_id"][:10].str.startswith("person-").all()
    assert {"train", "dev", "test", "new-dev", "new-test"} == set(corpus.questions["split"])
    seen = ~corpus.questions["split"].str.startswith("new-")
    plain = generate(10, 0, seed=7)[1]
    assert corpus.questions[seen].reset_index(drop=True).equals(plain[corpus.questions.columns])
    assert (load_corpus(params_of(values | {"corpus.new_documents": 0})).docs["part"] == "seen").all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"corpus.new_documents": 7}, "new_documents is 7, but the corpus at corpus.new_path has 5 documents that"),
        ({"corpus.documents": 13}, "corpus.documents is 13, but the corpus has 12 documents: lower it"),
        ({"corpus.new_path": "no/such"}, "corpus.new_path: corpus.path no/such is not a folder"),
    ],
)
def test_a_second_corpus_that_does_not_do_is_named(folder, values, sentence):
    with pytest.raises(BadInput, match=sentence):
        load(folder, {"corpus.new_path": second_folder(folder / "second")} | values)


# --- named subsets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["4", "6"])
def test_a_subset_has_its_documents_and_the_questions_about_them_only(name, folder):
    corpus = load(folder, {"corpus.subset": name, "corpus.documents": 1000, "corpus.new_documents": 0})
    wanted = SUBSETS[name].get("doc_ids") or [title.replace("T", "d") for title in SUBSETS[name]["titles"]]
    assert list(corpus.docs["doc_id"]) == wanted and set(corpus.docs["part"]) == {"seen"}
    assert [ids for (ids,) in corpus.questions["gold_doc_ids"]] == [one for one in wanted for _ in range(3)]
    outside = 12 - len(wanted)
    assert corpus.dropped[OUTSIDE] == outside and corpus.dropped[NOT_CHOSEN] == 3 * outside
    assert corpus.source.endswith(f" {name}")


def test_new_documents_are_held_out_of_the_subset_and_fewer_may_be_taken(folder):
    def parts(values):
        return load(folder, {"corpus.subset": "6", "corpus.new_documents": 2} | values).docs["part"].tolist()

    assert parts({}) == ["seen"] * 4 + ["new"] * 2
    assert parts({"corpus.documents": 3}) == ["seen"] * 3 + ["new"] * 2
    second = second_folder(folder / "second")
    whole = parts({"corpus.subset": "4", "corpus.new_documents": 5, "corpus.new_path": second})
    assert whole == ["seen"] * 4 + ["new"] * 5, "with a second corpus it is taken whole"
    with pytest.raises(BadInput, match=r"documents 1 and corpus\.new_documents 4 make 5, but the corpus has 4"):
        parts({"corpus.subset": "4", "corpus.new_documents": 4})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("5", r"corpus.subset is '5', but .*subsets\.json has \['4', '6', 'wrong', 'empty', 'without', 'number'\]"),
        ("wrong", r"subset 'wrong': no document has the title 'T99'"),
        ("empty", r"subset 'empty': field 'titles' must be a list of one or more"),
        ("without", "subset 'without': must be an object with a list of titles or of doc_ids"),
        ("number", "subset 'number': must be an object with named fields, not 4"),
    ],
)
def test_a_subset_that_is_not_there_is_named(name, sentence, folder):
    with pytest.raises(BadInput, match=sentence):
        load(folder, {"corpus.subset": name})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "cannot be read as JSON"), ("[1]", "has no names"), (None, r"is '4', but there is no .*subsets\.json")],
)
def test_a_file_of_subsets_that_is_broken_or_not_there_is_named(text, sentence, folder):
    (folder / "subsets.json").write_text(text) if text else (folder / "subsets.json").unlink()
    with pytest.raises(BadInput, match=sentence):
        load(folder, {"corpus.subset": "4"})
    assert len(load(folder).docs) == 11, "no subset needs no file"


# --- apart from a corpus that tests

ALPHABET = [chr(ord("a") + i) * 3 for i in range(26)]  # aaa bbb ccc ...


def made_up(texts, questions):
    """A corpus of numbered texts, and of (question, number of its text)."""
    docs = pd.DataFrame({"doc_id": [f"d{i}" for i in range(len(texts))], "title": "", "text": texts})
    rows = [{"question": question, "gold_doc_ids": [f"d{i}"]} for question, i in questions]
    return Corpus(docs, pd.DataFrame(rows, columns=["question", "gold_doc_ids"]), "here", {"before": 1})


def test_a_passage_that_shares_most_of_its_8_grams_is_left_out_with_its_questions():
    whole, half, less, short = ALPHABET[:20], ALPHABET[:14], ALPHABET[:13], ALPHABET[:3]
    own = ["".join(word) + "x" for word in ALPHABET]
    texts = [
        " ".join(whole).upper(),  # all 13 grams
        " ".join([*half, *own[:6]]),  # 7 of 13
        " ".join([*less, *own[:7]]),  # 6 of 13
        " ".join(short),  # no test passage is this short: its only gram is not there
    ]
    corpus = made_up(texts, [("Of the first?", 0), ("Of the second?", 1), ("Of the third?", 2), ("Of the last?", 3)])
    kept = apart_from(corpus, made_up([" ".join(whole)], []))
    assert list(kept.docs["doc_id"]) == ["d2", "d3"]
    assert list(kept.questions["question"]) == ["Of the third?", "Of the last?"]
    assert kept.dropped == {"before": 1, SHARED: 2, ASKED: 2}


def test_a_recurring_question_is_left_out_and_its_passage_stays():
    corpus = made_up(["one two three", "four five six"], [("Who  IS it?", 0), ("Who was it?", 1)])
    kept = apart_from(corpus, made_up(["nothing of it"], [("who is it?", 0)]))
    assert len(kept.docs) == 2 and list(kept.questions["question"]) == ["Who was it?"] and kept.dropped[ASKED] == 1


def test_grams_of_a_short_text():
    assert grams("One two.") == {("one", "two")} and len(grams(" ".join(ALPHABET[:9]))) == 2


def test_a_run_leaves_out_what_a_test_corpus_has(folder, tmp_path):
    (tmp_path / "test").mkdir()
    write(tmp_path / "test", [DOCS[3]], [QUESTIONS[9]])
    values = {"corpus.apart_from": tmp_path / "test", "corpus.new_documents": 0, "corpus.documents": 11}
    corpus = load(folder, values)
    assert "d3" not in set(corpus.docs["doc_id"]) and (corpus.dropped[SHARED], corpus.dropped[ASKED]) == (1, 3)
    sources = sources_of(in_folder(folder, values), 1)
    assert {"test/corpus.jsonl", "test/questions.jsonl"} <= set(sources)
    with pytest.raises(BadInput, match=r"^corpus\.apart_from: "):
        load(folder, values | {"corpus.apart_from": tmp_path / "nowhere"})

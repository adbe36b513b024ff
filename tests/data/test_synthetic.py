"""The synthetic corpus: its kinds of questions, its names, and that it depends on three numbers alone."""

import hashlib
import re

import pytest
from folders import params_of
from markup import IN_TEXT, IN_TITLE, with_markup

from zmem_lib.data.corpus import load_corpus
from zmem_lib.data.synthetic import ATTRIBUTES, FIRST_NAMES, LAST_NAMES, generate
from zmem_lib.files import BadInput


@pytest.fixture(scope="module")
def biographies():
    return generate(60, 12, seed=3)


def test_synthetic_depends_on_its_three_numbers_alone(biographies):
    again = generate(60, 12, seed=3)
    assert all(mine.equals(theirs) for mine, theirs in zip(biographies, again, strict=True))


def test_over_the_seeds_every_person_is_new_once_and_else_seen_with_the_same_text_and_questions():
    runs = [generate(60, 12, seed=seed) for seed in range(6)]
    new = [set(docs.loc[docs["part"] == "new", "doc_id"]) for docs, _ in runs]
    assert [len(one) for one in new] == [12] * 6 and len(set().union(*new)) == 72, "six folds, and no person in two"
    texts = [docs.set_index("doc_id")["text"].sort_index() for docs, _ in runs]
    assert all(one.equals(texts[0]) for one in texts)
    asked = [set(questions["question"][questions["gold_doc_ids"].str[0] == "person-0001"]) for _, questions in runs]
    assert asked[1] == asked[5] != asked[0], "it is new at seed 0"
    assert generate(60, 12, seed=6)[0].equals(runs[0][0])


@pytest.mark.parametrize(
    "numbers, digest",
    [((400, 40, 7), "3340aae6f4ff7e99"), ((600, 60, 7), "dbbfaaed756bfdab"), ((24, 8, 3), "b74f16941d515d73")],
)
def test_synthetic_stays_as_it_was_when_the_figures_were_measured(numbers, digest):
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
    for names in (FIRST_NAMES, LAST_NAMES):
        assert len(set(names)) == len(names)


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


def test_the_corpus_says_where_it_comes_from():
    corpus = load_corpus(params_of({"corpus.documents": 9, "corpus.new_documents": 3}))
    assert corpus.dropped == {} and corpus.source == "made here" and "do not exist" in corpus.licence


def test_markup_for_tests_moves_answers_and_evidence_along_and_changes_no_other_document(biographies):
    docs, questions = with_markup(*biographies, n=3)
    marked = docs["doc_id"].isin(docs.loc[docs["part"] == "seen", "doc_id"].head(3))
    about = questions["gold_doc_ids"].str[0].isin(docs.loc[marked, "doc_id"])
    assert docs[~marked].equals(biographies[0][~marked]) and questions[~about].equals(biographies[1][~about])
    assert docs.loc[marked, "text"].str.count(re.escape(IN_TEXT)).eq(1).all()
    assert docs.loc[marked, "title"].str.endswith(IN_TITLE).all() and docs["title"].is_unique
    texts = dict(zip(docs["doc_id"], docs["text"], strict=True))
    for row in questions.itertuples():
        text = texts[row.gold_doc_ids[0]]
        assert text.startswith(row.answers[0], row.answer_start) and row.evidence in text
    first = questions[about].groupby(questions["gold_doc_ids"].str[0])["evidence"].first()
    assert first.str.endswith(IN_TEXT).all()

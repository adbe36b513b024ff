"""The corpus strangers: its splits and answers, and that nothing of the corpus synthetic occurs in it."""

import re

import pytest

from tests.test_corpora import params_of
from zmem_lib.corpora import load_corpus, phrasings
from zmem_lib.corpora.strangers import KINDS, generate, synthetic_names
from zmem_lib.corpora.synthetic import generate as generate_synthetic
from zmem_lib.errors import BadInput

TRAINED = ["train", "dev", "test"]


@pytest.fixture(scope="module")
def strangers():
    return generate(240, 30, seed=3)


def words(text):
    return re.findall(r"\w+", text.lower())


def all_words(tables):
    docs, questions = tables
    return set(words(" ".join([*docs["title"], *docs["text"], *questions["question"], *questions["evidence"]])))


def bare(form):
    """The words of a form around its slots, so that two forms of the same words are the same."""
    return " ".join(words(re.sub(r"\{\w+\}", " slot ", form)))


def seen_forms(tables):
    """The forms that the rows of a corpus show: questions without the name, sentences without value and person."""
    docs, questions = tables
    names = dict(zip(docs["doc_id"], docs["title"], strict=True))
    forms = set()
    for row in questions.itertuples():
        name, value = names[row.gold_doc_ids[0]], row.answers[0]
        forms.add(bare(row.question.replace(name, "{name}")))
        person = rf"\b({re.escape(name)}|{name.split()[-1]}|he|she|his|him|her)\b('s)?"
        forms.add(bare(re.sub(person, "{subject}", row.evidence.replace(value, "{value}"), flags=re.IGNORECASE)))
    return forms


def test_strangers_depend_on_their_three_numbers_alone(strangers):
    again, other = generate(240, 30, seed=3), generate(240, 30, seed=4)
    assert all(mine.equals(theirs) for mine, theirs in zip(strangers, again, strict=True))
    assert not strangers[0]["text"].equals(other[0]["text"])


def test_no_name_and_no_value_of_synthetic_occurs_in_strangers(strangers):
    values = {value.lower() for about in phrasings.ATTRIBUTES.values() for value in about.values}
    mine = all_words(strangers)
    assert mine.isdisjoint(values) and mine.isdisjoint(synthetic_names())
    docs, questions = generate_synthetic(60, 12, seed=7)
    theirs = {word for title in docs["title"] for word in words(title)}
    theirs |= {word for answers in questions["answers"] for word in words(answers[0])}
    assert theirs <= values | synthetic_names(), "the sets above must hold all that synthetic makes"
    assert mine.isdisjoint(theirs)


def test_no_form_of_synthetic_occurs_in_strangers(strangers):
    abouts = phrasings.ATTRIBUTES.values()
    theirs = {bare(form) for about in abouts for form in (*about.sentences, *about.train, *about.dev, *about.test)}
    assert seen_forms(generate_synthetic(200, 20, seed=7)) == theirs, "the check must see every form that occurs"
    mine = {bare(form) for kind in KINDS.values() for form in (*kind.sentences, *kind.questions)}
    assert mine.isdisjoint(theirs) and seen_forms(strangers).isdisjoint(theirs)


def test_the_words_of_synthetic_questions_occur_in_strangers(strangers):
    asked = {word for about in phrasings.ATTRIBUTES.values() for form in about.train for word in words(bare(form))}
    assert asked - {"slot"} <= all_words(strangers)


def test_forms_of_strangers_are_complete():
    questions = [form for kind in KINDS.values() for form in kind.questions]
    assert len(KINDS) == 20 and len({bare(form) for form in questions}) == len(questions) == 160
    assert all(form.count("{name}") == 1 for form in questions)
    for kind in KINDS.values():
        assert len(set(kind.sentences)) >= 5
        for form in kind.sentences:
            slots = re.findall(r"\{(\w+)\}", form)
            assert len(slots) == 2 and "value" in slots and set(slots) <= {"value", "subject", "owner", "object"}
            assert kind.capital or not form.startswith("{value}")


def test_answers_of_strangers_stand_where_the_table_says(strangers):
    docs, questions = strangers
    texts = dict(zip(docs["doc_id"], docs["text"], strict=True))
    for row in questions.itertuples():
        text = texts[row.gold_doc_ids[0]]
        assert text.startswith(row.answers[0], row.answer_start)
        assert row.evidence in text and words(row.evidence).count(row.answers[0].lower()) == 1
    assert not docs["text"].str.contains(r"\ba [aeiou]|\ban [^aeiou]|[{}]", case=False).any()
    assert all(title in text for title, text in zip(docs["title"], docs["text"], strict=True))


def test_names_of_strangers_are_unique_whole_and_shared_in_halves(strangers):
    parts = strangers[0]["title"].str.split()
    assert strangers[0]["title"].is_unique and set(parts.str.len()) == {2, 3}
    assert parts.str[0].value_counts().mean() > 2 and parts.str[-1].value_counts().mean() > 2


def test_values_of_strangers_are_many_and_written_as_their_kind_wants():
    values = generate(3000, 0, seed=1)[1]["answers"].str[0]
    assert values.nunique() > 20 * 500
    assert 0.3 < values.str[0].str.isupper().mean() < 0.7 and values.str.len().between(4, 10).all()


def test_held_out_questions_of_strangers_isolate_one_generalisation_each(strangers):
    questions = strangers[1]
    questions = questions.assign(doc_id=questions["gold_doc_ids"].str[0])
    for _, mine in questions[questions["split"].isin(TRAINED)].groupby("doc_id"):
        train, held_out = mine[mine["split"] == "train"], mine[mine["split"] != "train"]
        assert len(train) == 24 and train["evidence"].nunique() == 6 and mine["question"].is_unique
        assert sorted(held_out["split"] + " " + held_out["kind"]) == (
            ["dev rephrased"] * 2 + ["test rephrased"] * 2 + ["test unasked"]
        )
        assert held_out["evidence"].is_unique
        unasked = held_out["kind"] == "unasked"
        assert (held_out["evidence"].isin(train["evidence"]) == ~unasked).all()


def test_new_strangers_are_split_by_document_and_load_whole(strangers):
    corpus = load_corpus(params_of(corpus="strangers", n_documents=240, n_new_documents=30, seed=3))
    assert (corpus.docs["part"] == "new").sum() == 30 and corpus.docs["title"].equals(strangers[0]["title"])
    new = corpus.questions[corpus.questions["split"].str.startswith("new-")].explode("gold_doc_ids")
    assert set(new["gold_doc_ids"]) == set(corpus.docs.loc[corpus.docs["part"] == "new", "doc_id"])
    splits = new.groupby("gold_doc_ids")["split"].unique()
    assert (splits.str.len() == 1).all() and (splits.str[0] == "new-dev").sum() == 10 and len(new) == 120


@pytest.mark.parametrize(("seen", "new"), [(1, 0), (160_000, 1)])
def test_strangers_refuse_what_they_cannot_make(seen, new):
    with pytest.raises(BadInput, match="corpus strangers can make 2 to"):
        generate(seen, new, seed=1)

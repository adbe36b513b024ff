"""A second synthetic corpus, for pretraining: people of other names, whose attributes have made-up words for values.

One document per person: seven sentences in random order, each stating an attribute of another kind. A value is put
together from letter pieces, so that no short list of answers can be learnt: a model has to store and copy any word.
No name, value, sentence form or question form of the corpus `synthetic` occurs, so a model pretrained here knows
nothing that is asked there.

Questions about a seen document:
- train: six of its seven attributes, each in four of the kind's eight question forms;
- rephrased (dev, test): two attributes each that were asked, in a form that this document's training does not use;
- unasked (test): the seventh attribute, which was never asked of this document, in any form.
New documents get four questions on any attributes; a third of the new documents are new-dev, the rest new-test.
"""

import re
from functools import cache
from random import Random
from typing import Any

import pandas as pd

from zmem_lib.corpora import phrasings
from zmem_lib.corpora.corpus import Corpus
from zmem_lib.corpora.strangers_words import (
    CODAS,
    ENDINGS,
    FIRST_ENDS,
    KINDS,
    LAST_ENDS,
    LINKS,
    MIDDLES,
    ONSETS,
    VOWELS,
    Kind,
)
from zmem_lib.corpora.synthetic import asked_row, question_row
from zmem_lib.errors import BadInput
from zmem_lib.params import Params

N_SENTENCES = 7
N_FORMS = 4  # question forms per asked attribute of a seen document
N_HELD_OUT = 2  # rephrased questions per document in dev, and in test
N_NEW_QUESTIONS = 4
N_VALUES = 800  # different values per kind
N_NAMES = 800  # at most, first names and last names each
MIDDLE_NAME_SHARE = 0.15
MOST = N_NAMES**2 // 4
LENGTHS = range(4, 11)  # letters in a made-up word


def load(params: Params) -> Corpus:
    """Generate params.n_documents seen and params.n_new_documents new strangers, and the questions about them."""
    tables = generate(params.n_documents, params.n_new_documents, seed=params.seed)
    licence = "none needed: made here, about people who do not exist"
    return Corpus(*tables, licence=licence, source=f"made here from the seed {params.seed}", dropped={})


def generate(n_documents: int, n_new_documents: int, *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same two tables for the same three numbers, parts and splits included; raises BadInput."""
    total = n_documents + n_new_documents
    if not 2 <= total <= MOST:
        raise BadInput(f"corpus strangers can make 2 to {MOST} documents, not {total}: change n_documents")
    rng = Random(seed)
    used = set(reserved_words())
    values = {kind: made_up_words(N_VALUES, about.endings, rng, used=used) for kind, about in KINDS.items()}
    names = person_names(total, rng, used)
    new_dev = set(rng.sample(range(n_documents, total), max(1, n_new_documents // 3)) if n_new_documents else [])
    docs, questions = [], []
    for number, name in enumerate(names):
        doc_id = f"stranger-{number + 1:05d}"
        text, facts = biography(name, values, rng)
        docs.append({"doc_id": doc_id, "title": name, "text": text, "part": "seen" if number < n_documents else "new"})
        if number < n_documents:
            asked = _seen_questions(name, list(facts), rng)
        else:
            asked = _new_questions(name, list(facts), "new-dev" if number in new_dev else "new-test", rng)
        questions += [question_row(f"{doc_id}-{i:02d}", doc_id, facts, question) for i, question in enumerate(asked, 1)]
    return pd.DataFrame(docs), pd.DataFrame(questions)


@cache
def reserved_words() -> frozenset[str]:
    """Lower-case words that no value and no name here may be: those of `synthetic`, and those of the forms here."""
    texts = [form for kind in KINDS.values() for form in (*kind.sentences, *kind.questions)]
    for about in phrasings.ATTRIBUTES.values():
        texts += [*about.values, *about.sentences, *about.train, *about.dev, *about.test]
    return frozenset(re.findall(r"\w+", " ".join(texts).lower())) | synthetic_names()


def synthetic_names() -> frozenset[str]:
    """Every half of a name that the corpus `synthetic` can make, in lower case."""
    first = {stem + end for stem in phrasings.FIRST_STEMS for end in phrasings.FIRST_ENDS}
    last = {stem + end for stem in phrasings.LAST_STEMS for end in phrasings.LAST_ENDS}
    return frozenset(name.lower() for name in first | last)


def made_up_words(n: int, endings: tuple[str, ...], rng: Random, *, used: set[str]) -> list[str]:
    """n different lower-case words of one to three syllables, none of them in `used`, which they are added to."""
    made = []
    while len(made) < n:
        word = _made_up_word(endings, rng)
        if len(word) in LENGTHS and word not in used:
            used.add(word)
            made.append(word)
    return made


def _made_up_word(endings: tuple[str, ...], rng: Random) -> str:
    """Onset, vowel and coda; or, longer, an ending of the kind's own or of any word in place of the coda."""
    word, shape = rng.choice(ONSETS) + rng.choice(VOWELS), rng.random()
    if shape < 0.12:
        return word + rng.choice(CODAS)
    if shape > 0.7:
        word += rng.choice(MIDDLES) + rng.choice(VOWELS)
    ending = rng.choice(endings if rng.random() < 0.5 else ENDINGS)
    return word + rng.choice(MIDDLES if ending[0] in "aeiouy" else LINKS) + ending


def person_names(total: int, rng: Random, used: set[str]) -> list[str]:
    """Distinct full names of two words, some with a middle name; first and last names are shared by several people."""
    size = min(N_NAMES, total // 3 + 2)
    first = [word.capitalize() for word in made_up_words(size, FIRST_ENDS, rng, used=used)]
    last = [word.capitalize() for word in made_up_words(size, LAST_ENDS, rng, used=used)]
    names = []
    for pair in rng.sample(range(size * size), total):
        middle = [rng.choice(first)] if rng.random() < MIDDLE_NAME_SHARE else []
        names.append(" ".join([first[pair // size], *middle, last[pair % size]]))
    return names


def biography(name: str, values: dict[str, list[str]], rng: Random) -> tuple[str, dict[str, tuple[str, str, int]]]:
    """One person's text, and for each kind in it the value, its sentence and the value's offset in the text."""
    pronouns, surname = rng.choice((("he", "his", "him"), ("she", "her", "her"))), name.split()[-1]
    text, facts = "", {}
    for kind in rng.sample(list(KINDS), N_SENTENCES):
        called = rng.choice((pronouns, _noun(surname))) if text else _noun(name)
        value = rng.choice(values[kind])
        before, value, after = _sentence(KINDS[kind], value, called, rng)
        start = len(text) + bool(text)
        text += " " * bool(text) + before + value + after
        facts[kind] = (value, before + value + after, start + len(before))
    return text, facts


def _noun(name: str) -> tuple[str, str, str]:
    return name, f"{name}'s", name


def _sentence(about: Kind, value: str, called: tuple[str, str, str], rng: Random) -> tuple[str, str, str]:
    """What stands before the value, the value, and what stands after it."""
    slots = dict(zip(("subject", "owner", "object"), called, strict=True))
    before, after = (part.format(**slots) for part in rng.choice(about.sentences).split("{value}"))
    if f" {before}".lower().endswith(" a ") and value[0] in "aeiou":
        before = f"{before[:-1]}n "
    value = value.capitalize() if about.capital else value
    return before[:1].upper() + before[1:], value, after


def _seen_questions(name: str, kinds: list[str], rng: Random) -> list[dict[str, Any]]:
    *asked, unasked = rng.sample(kinds, len(kinds))
    held_out = ["test"] * N_HELD_OUT + ["dev"] * N_HELD_OUT
    train, rest = [], []
    for place, kind in enumerate(asked):
        *forms, other = rng.sample(KINDS[kind].questions, N_FORMS + 1)
        train += [asked_row(name, "train", "", kind, form) for form in forms]
        if place < len(held_out):
            rest.append(asked_row(name, held_out[place], "rephrased", kind, other))
    return [*train, *rest, asked_row(name, "test", "unasked", unasked, rng.choice(KINDS[unasked].questions))]


def _new_questions(name: str, kinds: list[str], split: str, rng: Random) -> list[dict[str, Any]]:
    chosen = rng.sample(kinds, N_NEW_QUESTIONS)
    return [asked_row(name, split, "", kind, rng.choice(KINDS[kind].questions)) for kind in chosen]

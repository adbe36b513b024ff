"""The embedded default corpus: short biographies of people who do not exist, and questions about them.

One document per person: seven sentences in random order, one per attribute, each in one of three phrasings. A full name
is unique, while each of its halves is shared by several people.

Questions about a seen document isolate one generalisation each:
- train: four of the seven attributes, each in all five training phrasings;
- rephrased (dev, test): an attribute that was asked in training, in a phrasing that no training question uses, built
  of words that the training questions as a whole contain (a model trained from scratch knows no others);
- unasked (dev, test): an attribute that was never asked of this document, in a training phrasing.
Dev and test ask about different attributes of a document. New documents get four questions in training phrasings on
any attributes; a third of the new documents are new-dev, the rest new-test.
"""

import math
from collections import namedtuple
from pathlib import Path
from random import Random

import pandas as pd
import yaml

from zmem_lib.data.rows import seeds_fold
from zmem_lib.files import BadInput

N_ASKED = 4  # attributes of a seen document that training asks about
HELD_OUT = ("test", "test", "dev")  # splits of the other questions about it, of each kind
N_NEW_QUESTIONS = 4
Asked = tuple[str, str, str, str]  # split, kind, attribute and phrasing of a question

_WORDS = yaml.safe_load(Path(__file__).with_name("synthetic.yaml").read_text(encoding="utf-8"))
Attribute = namedtuple("Attribute", "values sentences train dev test")  # the last three: questions, by split
ATTRIBUTES = {name: Attribute(**about) for name, about in _WORDS["attributes"].items()}
_FIRST_STEMS, _FIRST_ENDS, _LAST_STEMS, _LAST_ENDS = (parts.split() for parts in _WORDS["names"].values())
FIRST_NAMES = [stem + end for stem in _FIRST_STEMS for end in _FIRST_ENDS]
LAST_NAMES = [stem + end for stem in _LAST_STEMS for end in _LAST_ENDS]


def generate(n_documents: int, n_new_documents: int, *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Biographies of seen and new people, parts included, and the questions about them; the same on every machine.

    The people are the same at every seed; who of them is new rotates with it, by `seeds_fold`.
    """
    total = n_documents + n_new_documents
    most = min(len(FIRST_NAMES), len(LAST_NAMES)) ** 2 // 4
    if not 2 <= total <= most:
        raise BadInput(f"corpus synthetic can make 2 to {most} documents, not {total}: change corpus.documents")
    new = [number for (number,) in seeds_fold([[number] for number in range(total)], n_new_documents, seed)]
    new_dev = new[: max(1, n_new_documents // 3)]
    docs, questions = [], []
    for number, name in enumerate(person_names(total, Random(f"names {total}"))):
        is_new, doc_id = number in new, f"person-{number + 1:04d}"
        text, facts = biography(name, Random(f"text {number}"))
        docs.append({"doc_id": doc_id, "title": name, "text": text, "part": "new" if is_new else "seen"})
        rng = Random(f"questions {number}")
        if is_new:
            split = "new-dev" if number in new_dev else "new-test"
            attributes = rng.sample(list(ATTRIBUTES), N_NEW_QUESTIONS)
            asked = [(split, "", attribute, rng.choice(ATTRIBUTES[attribute].train)) for attribute in attributes]
        else:
            asked = _asked_of_seen(rng)
        for place, (split, kind, attribute, phrasing) in enumerate(asked, 1):
            value, sentence, start = facts[attribute]
            question = {"question": phrasing.format(name=name), "split": split, "kind": kind}
            question |= {"question_id": f"{doc_id}-{place:02d}", "answers": [value], "gold_doc_ids": [doc_id]}
            questions.append(question | {"answer_start": start, "evidence": sentence})
    both = pd.DataFrame(docs).sort_values("part", key=lambda part: part == "new", kind="stable", ignore_index=True)
    return both, pd.DataFrame(questions)


def person_names(total: int, rng: Random) -> list[str]:
    """Distinct full names, whose first and last names are each shared by several people."""
    size = math.ceil(2 * math.sqrt(total))
    first, last = rng.sample(FIRST_NAMES, size), rng.sample(LAST_NAMES, size)
    return [f"{first[pair // size]} {last[pair % size]}" for pair in rng.sample(range(size * size), total)]


def biography(name: str, rng: Random) -> tuple[str, dict[str, tuple[str, str, int]]]:
    """One person's text, and for each attribute its value, its sentence and the value's offset in the text."""
    pronoun, surname = rng.choice(("He", "She")), name.split()[1]
    text, facts = "", {}
    for attribute in rng.sample(list(ATTRIBUTES), len(ATTRIBUTES)):
        about = ATTRIBUTES[attribute]
        value = rng.choice(about.values)
        subject = rng.choice((pronoun, surname)) if text else name
        before, after = rng.choice(about.sentences).split("{value}")
        before = before.format(subject=subject)
        start = len(text) + bool(text)
        text += " " * bool(text) + before + value + after
        facts[attribute] = (value, before + value + after, start + len(before))
    return text, facts


def _asked_of_seen(rng: Random) -> list[Asked]:
    order = rng.sample(list(ATTRIBUTES), len(ATTRIBUTES))
    asked, unasked = order[:N_ASKED], order[N_ASKED:]
    questions = [("train", "", attribute, phrasing) for attribute in asked for phrasing in ATTRIBUTES[attribute].train]
    for split, attribute in zip(HELD_OUT, asked, strict=False):
        questions.append((split, "rephrased", attribute, rng.choice(getattr(ATTRIBUTES[attribute], split))))
    for split, attribute in zip(HELD_OUT, unasked, strict=True):
        questions.append((split, "unasked", attribute, rng.choice(ATTRIBUTES[attribute].train)))
    return questions

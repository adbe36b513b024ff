"""What a corpus shares with a corpus that tests: left out before a model is schooled on the rest.

Two passages are one text where more than half of the 8-grams of the one, of words without case, stand in the other; a
question recurs where its words, folded, are those of another.
"""

from collections.abc import Iterable
from dataclasses import replace

from zmem_lib.data.rows import Corpus, folded
from zmem_lib.text import words

GRAM = 8  # words
MOST = 0.5  # of a passage's grams
SHARED, ASKED = (
    "documents that share most of their text with the test corpus",
    "questions that it asks too, or about these",
)


def grams(text: str) -> set[tuple[str, ...]]:
    """All runs of GRAM words of a text; of a shorter one all its words."""
    said = words(text)
    return {tuple(said[i : i + GRAM]) for i in range(max(len(said) - GRAM + 1, 1))}


def apart_from(corpus: Corpus, tests: Iterable[Corpus]) -> Corpus:
    """The corpus without the documents and questions that one of the `tests` has too, and the counts of these."""
    tests = list(tests)
    known = {gram for test in tests for text in test.docs["text"] for gram in grams(text)}
    asked = {folded(question) for test in tests for question in test.questions["question"]}
    shares = [len((own := grams(text)) & known) / len(own) for text in corpus.docs["text"]]
    docs = corpus.docs[[share <= MOST for share in shares]]
    there = corpus.questions["gold_doc_ids"].map(set(docs["doc_id"]).issuperset)
    questions = corpus.questions[there & ~corpus.questions["question"].map(folded).isin(asked)]
    dropped = {SHARED: len(corpus.docs) - len(docs), ASKED: len(corpus.questions) - len(questions)}
    return replace(corpus, docs=docs, questions=questions, dropped=corpus.dropped | dropped)

"""The text helpers: normalisation, sentences, windows."""

import pytest

from zmem_lib.text import normalise, passage, sentence_spans, sentence_window

TEXT = "She was born in Oslo. He said: “Come!” Then 3.5 km more? 끝이다. End"


def test_passage_puts_the_title_on_a_line_of_its_own():
    assert passage("Title", "text") == "Title\ntext"
    assert passage("", "text") == "text"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("The  Cat's a-hat!", "cats ahat"), ("An apple, a day", "apple day"), ("Theatre", "theatre"), ("", "")],
)
def test_normalise_is_squads(text, expected):
    assert normalise(text) == expected


def test_sentences_keep_their_closing_quotes_and_no_white_space():
    sentences = [TEXT[start:end] for start, end in sentence_spans(TEXT)]
    assert sentences == ["She was born in Oslo.", "He said: “Come!”", "Then 3.5 km more?", "끝이다.", "End"]
    assert sentence_spans("") == sentence_spans("  \n ") == []


@pytest.mark.parametrize(
    ("window", "expected"),
    [(0, "He said: “Come!”"), (1, TEXT[: TEXT.index(" 끝")]), (9, TEXT)],
)
def test_window_grows_by_whole_sentences_and_stops_at_the_ends(window, expected):
    at = TEXT.index("Come")
    start, end = sentence_window(TEXT, at, at + 4, window)
    assert TEXT[start:end] == expected


def test_window_holds_every_sentence_that_the_answer_touches():
    start = TEXT.index("Oslo")
    first, last = sentence_window(TEXT, start, TEXT.index("said"), 0)
    assert TEXT[first:last] == "She was born in Oslo. He said: “Come!”"

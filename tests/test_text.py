"""The text helpers: Unicode forms, words, sentences, windows, normalisation."""

import unicodedata

import pytest

from zmem_lib.text import (
    aligned,
    canonical,
    end_of,
    nearest_of,
    normalise,
    passage,
    sentence_spans,
    sentence_window,
    words,
)

TEXT = "She was born in Oslo. He said: “Come!” Then 3.5 km more? 끝이다. End"
SENTENCES = {
    "abbreviations": ["Dr. J. R. Smith of the U.S. Army paid $3.5 million.", "He left."],
    "abbreviations that end": [
        "He lives in the U.S.",
        "The army came at 5 p.m.",
        "They had Vitamin C.",
        "It was no. 5.",
    ],
    "before numbers": ["See Fig. 3 of vol. 2, pp. 5 and 6, of Jan. 1990.", "No. 5 is e.g. No. 6.", "No.", "Yes."],
    "names": ["St. Paul met Mr. A. Smith, Jr. of Acme Inc. in Roe v. Wade."],
    "quotes and brackets": ['"Why?" she asked.', "(He came.)", "“Go!”", "‘So?’", "1. The first."],
    "marks of notes": ["He came.[citation needed]", "He left.[1][note 2]", "He rests.:40", "So."],
    "small letters alone": ["bears sleep at 8 p.m. and wake in the u.s. in may.", "others do not.", "no."],
    "lines": ["One line\nand its second.", "Another paragraph"],
    "Korean": ["그는 갔다.", "그러나 3.5km였다.", '"가자!"라고 했다.', "“갔다.”라고 했다.", "그는 1989. 2. 15. 왔다."],
    "Chinese": ["他来了。", "她说：“走吧！”", "他们走了？", "是的"],
    "Japanese": ["彼は来た。", "「行こう！」と言った。", "本当？", "はい。"],
    "Hindi": ["डॉ. राम आया।", "वह गया।", "क्या?", "हाँ"],
    "Arabic": ["هل ذهب؟", "نعم.", "وصل۔", "انتهى"],
    "Thai": ["เขามา", "เขาไป 3 คน", "ดี"],
}
APART = {"Korean": ("", " ", " ", " "), "Chinese": ("", "", ""), "Japanese": ("", "", ""), "lines": ("\n\n",)}


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


@pytest.mark.parametrize("kind", SENTENCES)
def test_sentences_end_where_they_do(kind):
    sentences = SENTENCES[kind]
    gaps = APART.get(kind, (" ",) * (len(sentences) - 1))
    text = "".join(f"{sentence}{gap}" for sentence, gap in zip(sentences, [*gaps, "\n"], strict=True))
    assert [text[start:end] for start, end in sentence_spans(text)] == sentences


@pytest.mark.parametrize("kind", SENTENCES)
def test_sentences_leave_out_white_space_alone(kind):
    text = " ".join(SENTENCES[kind])
    spans = sentence_spans(text)
    assert "".join(text[start:end] for start, end in spans).replace(" ", "") == text.replace(" ", "")
    assert all(start < end for start, end in spans)


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


def test_the_canonical_form_is_composed_and_narrow():
    assert canonical("Zu\u0308rich") == "Zürich"
    assert canonical("１２ＡＢ") == "12AB"
    assert canonical("½ m² ﬁ 《서울》") == "½ m² ﬁ 《서울》"


@pytest.mark.parametrize("text", ["Zürich, 서울에서 1989", "각 Ấ q\u0307 ё", "हिन्दी कि", "مُحَمَّد", "ＡＢ１", ""])
def test_offsets_lead_back_to_the_text(text):
    apart = unicodedata.normalize("NFD", text)
    whole, offsets = aligned(apart)
    assert whole == canonical(text)
    assert len(offsets) == len(whole) + 1
    assert offsets[-1] == len(apart)
    for place, sign in enumerate(whole):
        assert canonical(apart[offsets[place] : offsets[place + 1]]) == sign


def test_an_answer_ends_where_it_does_in_the_text():
    text = unicodedata.normalize("NFD", "In Zürich oder 서울")
    assert end_of("Zürich", 3, text) == 10
    assert end_of(text[3:10], 3, text) == 10
    assert text[end_of("서울", text.index("\u1109"), text) :] == ""
    assert end_of("Zurich", 3, text) == -1
    assert end_of("１９", 0, "1990") == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat's 3 Äpfel!", ["the", "cat", "s", "3", "äpfel"]),
        ("GPT는 covid19, 1989년", ["gpt", "는", "covid19", "1989", "년"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # letters with vowel signs
        ("مُحَمَّد رسول", ["مُحَمَّد", "رسول"]),
        ("Zu\u0308rich ＡＢ１", ["zürich", "ab1"]),
        ("漢字とGPT", ["漢", "字", "と", "gpt"]),
        ("ไม่มี", ["ไ", "ม่", "มี"]),
        ("", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("물은 GPT", ["물", "은", "물은", "gpt"]),
        ("漢字か、", ["漢", "字", "か", "漢字", "字か"]),
        ("ไม่มี", ["ไ", "ม่", "มี", "ไม่", "ม่มี"]),
        ("हिन्दी", ["हिन्दी"]),
        ("빛", ["빛"]),
    ],
)
def test_pieces_of_joined_up_scripts(text, expected):
    assert words(text, pieces=True) == expected


def test_the_first_of_equally_near_texts_is_taken_whatever_the_order_of_their_words():
    """A set of words has another order in every process, and .1 + .2 + .3 is not .3 + .2 + .1 in floating point."""
    for number in range(20):
        three, one = [f"word{number}{letter}" for letter in "abc"], f"word{number}d"
        idf = dict(zip([*three, one], [0.1, 0.2, 0.3, 0.6], strict=True))
        texts = [" ".join(three), one]
        for some in (texts, texts[::-1]):
            assert nearest_of(" ".join(idf), some, idf) == some[0]

"""ragas with a judge that is played: its measures by hand, in batches, failures NaN and never 0."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from zmem_lib.judges.by_ragas import JUDGED, in_waves, judged_by_ragas, ragas_prompts


def last_input(prompt):
    """The input that ragas put behind its examples."""
    text = prompt[prompt.rindex("input: ") + len("input: ") :]
    return json.JSONDecoder().raw_decode(text)[0]


def play(prompt, *, verdicts=(1, 0), question="Where was Ada born?"):
    """What a judge says to each of ragas' prompts: by the fields of its input."""
    given = last_input(prompt)
    if "statements" in given:
        told = [
            {"statement": s, "reason": "r", "verdict": v} for s, v in zip(given["statements"], verdicts, strict=True)
        ]
        return {"statements": told}
    if set(given) == {"question", "answer"}:
        return {"statements": ["Ada was born in Velmoor.", "Velmoor is a city."]}
    if set(given) == {"response"}:
        return {"question": question, "noncommittal": 0}
    if "attributed" in prompt:
        return {"classifications": [{"statement": "s", "reason": "r", "attributed": v} for v in (1, 1, 0)]}
    return {"reason": "r", "verdict": int("Velmoor" in given["context"])}


def asking(say):
    """An `ask` that lets `say` answer each prompt (None: failed), and the sizes of its batches."""
    sizes = []

    def ask(prompts, reads):
        sizes.append(len(prompts))
        return [
            None if (reply := say(p)) is None else read(json.dumps(reply))
            for p, read in zip(prompts, reads, strict=True)
        ]

    return ask, sizes


def items(n=1, **changed):
    row = {
        "question": "Where was Ada born?", "answer": "In Velmoor.", "answers": ["Velmoor"],
        "chunks": ["She liked Harrow.", "Ada Barnes was born in Velmoor."],
    }  # fmt: skip
    return pd.DataFrame([row | changed] * n)


def encode(texts):
    return np.array([[1.0, 0.0] if "Ada" in text else [1.0, 1.0] for text in texts])


def test_four_measures_by_hand_in_few_batches():
    ask, sizes = asking(play)
    found = judged_by_ragas(items(3), ask, encode)
    assert len(found) == 3 and all(set(one) == set(JUDGED) for one in found)
    for one in found:
        assert one["faithfulness"] == 0.5  # one of two statements
        assert one["answer_relevancy"] == pytest.approx(1)
        assert one["context_precision"] == pytest.approx(0.5, abs=1e-6)  # the second of two chunks
        assert one["context_recall"] == pytest.approx(2 / 3)
    assert sizes == [12, 6], "all measures of all rows together, then their second steps"


def test_relevancy_is_the_cosine_of_the_questions():
    ask, _ = asking(lambda prompt: play(prompt, question="What else?"))
    (found,) = judged_by_ragas(items(), ask, encode)
    assert found["answer_relevancy"] == pytest.approx(math.sqrt(0.5))


def test_a_failed_reply_spoils_its_own_measure_alone():
    ask, _ = asking(lambda prompt: None if "statements" in last_input(prompt) else play(prompt))
    (found,) = judged_by_ragas(items(), ask, encode)
    assert [name for name in JUDGED if math.isnan(found[name])] == ["faithfulness"]
    (found,) = judged_by_ragas(items(), asking(lambda _: None)[0], encode)
    assert all(math.isnan(found[name]) for name in JUDGED)


@pytest.mark.parametrize(
    ("changed", "undefined"),
    [
        ({"answer": ""}, {"faithfulness", "answer_relevancy"}),
        ({"chunks": []}, {"faithfulness", "context_precision", "context_recall"}),
        ({"answers": []}, {"context_precision", "context_recall"}),
    ],
)
def test_what_cannot_be_judged_is_not_asked_and_nan(changed, undefined):
    (found,) = judged_by_ragas(items(**changed), asking(play)[0], encode)
    assert {name for name in JUDGED if math.isnan(found[name])} == undefined


def test_flags_other_than_0_and_1_and_empty_questions_are_no_replies():
    """ragas would count a verdict of 5 five times, and an empty question as an answer off the point."""

    def ask(prompts, reads):
        replies = []
        for prompt, read in zip(prompts, reads, strict=True):
            wrong = play(prompt, verdicts=(5, 1), question=" ")
            try:
                replies.append(read(json.dumps(wrong)))
            except ValueError:
                replies.append(None)
        return replies

    (found,) = judged_by_ragas(items(), ask, encode)
    assert math.isnan(found["faithfulness"]) and math.isnan(found["answer_relevancy"])
    assert found["context_recall"] == pytest.approx(2 / 3)


def test_every_prompt_of_ragas_is_told():
    told = ragas_prompts()
    assert len(told) == 5 and all(len(text) > 40 for text in told.values())
    assert {name.split(": ")[1] for name in told} == set(JUDGED)


def test_waves_of_nothing():
    assert in_waves([], lambda *_: pytest.fail("nothing to ask")) == []

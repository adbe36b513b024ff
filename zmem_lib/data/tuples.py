"""Tuples (document, question, evidence): what joint training learns from, one per question and gold document.

Evidence is the data set's own where it has one (of several lines, those that stand in the document); else the sentences
around the answer: at answer_start in the first gold document, elsewhere where an answer first occurs. A pair whose
document holds no answer makes no tuple; its question stays in the evaluation.
"""

import pandas as pd
import regex

from zmem_lib.tables import check
from zmem_lib.text import aligned, canonical, end_of, sentence_window


def make_tuples(docs: pd.DataFrame, questions: pd.DataFrame, evidence_window: int) -> pd.DataFrame:
    """One tuple per question and gold document, in the questions' order; tuple_id is question_id@doc_id."""
    texts = dict(zip(docs["doc_id"], docs["text"], strict=True))
    rows = []
    for question in questions.to_dict("records"):
        for place, doc_id in enumerate(question["gold_doc_ids"]):
            start = question["answer_start"] if place == 0 else -1
            evidence, evidence_start = find_evidence(question, texts[doc_id], start, evidence_window)
            if evidence:
                row = {"tuple_id": f"{question['question_id']}@{doc_id}", "doc_id": doc_id, "evidence": evidence}
                rows.append(question | row | {"evidence_start": evidence_start})
    columns = [*questions.columns, "tuple_id", "doc_id", "evidence_start"]
    return check(pd.DataFrame(rows, columns=columns), "tuples")


def count_pairs(questions: pd.DataFrame) -> pd.Series:
    """How many (question, gold document) pairs each split has, with evidence or without."""
    return questions["gold_doc_ids"].map(len).groupby(questions["split"]).sum()


def parts_of(questions: pd.DataFrame) -> pd.Series:
    """The part of every question that is answered, empty for a dev question: trained, new, seen or unasked-document.

    unasked-document: a test question none of whose gold documents any training question names.
    """
    trained = set().union(*questions.loc[questions["split"] == "train", "gold_doc_ids"])
    parts = questions["split"].map({"train": "trained", "test": "seen", "new-test": "new"}).fillna("")
    unasked = questions["gold_doc_ids"].map(trained.isdisjoint).astype(bool)
    return parts.mask((parts == "seen") & unasked, "unasked-document")


def find_evidence(question: dict, text: str, answer_start: int, window: int) -> tuple[str, int]:
    """Evidence for the question in this text, and its offset there (-1 if it is not of the text); "" if none."""
    if evidence := question["evidence"]:  # whole, else those of its lines that the text has
        lines = [evidence] if evidence in text else [line for line in evidence.split("\n") if line and line in text]
        return (" ".join(lines), text.find(lines[0])) if lines else (evidence, -1)
    answers = question["answers"]
    span = find_answer(text, answers) if answer_start < 0 else (answer_start, end_of(answers[0], answer_start, text))
    if span is None:
        return "", -1
    start, end = sentence_window(text, *span, window)
    return text[start:end], start


def find_answer(text: str, answers: list[str]) -> tuple[int, int] | None:
    """Offsets of the first answer that occurs in the text, at its first place, in whichever Unicode form; or None."""
    searched, offsets = aligned(text)
    for form in (r"(?<!\w){}(?!\w)", "{}"):  # as whole words, else as part of one
        for answer in answers:
            wanted = form.format(regex.escape(canonical(answer.strip())))
            if match := regex.search(wanted, searched, regex.IGNORECASE):
                return offsets[match.start()], offsets[match.end()]
    return None

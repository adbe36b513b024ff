"""HTML, Markdown and formulas in the texts of a few synthetic documents, to test that every page shows them as text."""

import json
from pathlib import Path

import pandas as pd

IN_TITLE = " <i>$z^2$</i>"
IN_TEXT = (
    "<script>window.zmemHacked = 1</script> <img src=x onerror=window.zmemHacked=2> "
    "**bold** [x](javascript:zmemHacked) | a | b | `code` $x^2$ \\(y\\)"
)


def with_markup(docs: pd.DataFrame, questions: pd.DataFrame, *, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same two tables, with markup in the title, the text and one evidence of the first n seen documents.

    In the text it follows the sentence that is the evidence of the document's first question.
    """
    marked = docs[docs["part"] == "seen"].head(n)
    titles = dict(zip(marked["doc_id"], marked["title"] + IN_TITLE, strict=True))
    texts, rows = dict(zip(marked["doc_id"], marked["text"], strict=True)), questions.to_dict("records")
    places: dict[str, int] = {}  # where the markup begins
    sentences: dict[str, str] = {}  # the evidence that it follows
    for row in rows:
        doc_id = row["gold_doc_ids"][0]
        if doc_id in texts and doc_id not in places:
            text, sentences[doc_id] = texts[doc_id], row["evidence"]
            places[doc_id] = text.index(row["evidence"]) + len(row["evidence"])
            texts[doc_id] = f"{text[: places[doc_id]]} {IN_TEXT}{text[places[doc_id] :]}"
        if doc_id in places:
            row["answer_start"] += (row["answer_start"] >= places[doc_id]) * (len(IN_TEXT) + 1)
            row["evidence"] += f" {IN_TEXT}" * (row["evidence"] == sentences[doc_id])
    changed = {"title": titles, "text": texts}
    columns = {
        name: [new.get(doc_id, old) for doc_id, old in zip(docs["doc_id"], docs[name], strict=True)]
        for name, new in changed.items()
    }
    return docs.assign(**columns), pd.DataFrame(rows, columns=questions.columns)


def write_folder(docs: pd.DataFrame, questions: pd.DataFrame, folder: Path) -> Path:
    """Leave documents and questions as a corpus of one's own (zmem_lib/data/folder.py) and return its folder."""
    questions = questions.assign(split=questions["split"].str.removeprefix("new-"))
    for name, table in (("corpus", docs), ("questions", questions)):
        lines = (json.dumps(row) for row in table.drop(columns=["part", "kind"], errors="ignore").to_dict("records"))
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder

"""What `zmem ask`, `add` and `delete` print: lines about a collection, one question or change after the other."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from zmem_lib.data.folder import read_docs
from zmem_lib.params import changed
from zmem_lib.systems.choosing import SELECTORS
from zmem_lib.systems.collection import Collection, added_memory, open_collection
from zmem_lib.systems.systems import SYSTEMS, possible_systems

ASKED = ("zmem", "bm25", "dense")
SHOWN_CHARACTERS = 300  # of a piece of evidence


def answer_lines(collection: Collection, question: str, top_k: int | None = None) -> Iterator[str]:
    """Lines that tell, system by system, the chosen documents, their evidence and the reader's answer."""
    if top_k:
        collection = replace(collection, params=changed(collection.params, {"answer.top_k": top_k}))
    yield f"question: {question}"
    yield f"documents: {len(collection.docs)}, of which the reader gets {collection.params.answer.top_k}"
    title_of = collection.docs.set_index("doc_id")["title"]
    names = [name for name in ASKED if name in possible_systems(collection.params)]
    for row in collection.ask(question, names).to_dict("records"):
        verb = "writes" if SYSTEMS[row["system"]].hands == "z" else "brings"
        score = SELECTORS[collection.params.answer.select].score if row["system"] == "zmem" else "score"
        yield ""
        yield f"{row['system']}: answer {row['answer']!r}"
        found = zip(row["ranked_doc_ids"], row["ranked_scores"], row["evidence"], strict=False)
        for rank, (doc_id, value, item) in enumerate(found, 1):
            yield f"  {rank}. {doc_id}  {title_of[doc_id]}  ({score} {value:.2f})"
            line = " ".join(item.split())
            line = line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 2] + " …"
            yield f"     {verb}: {line}"


def add_documents(folder: Path, file: Path, *, replacing: bool = False) -> list[str]:
    """Write the documents of a corpus.jsonl into a finished run's memory; returns lines that say what was done."""
    collection, docs = open_collection(folder), read_docs(file.expanduser())
    earlier = set(collection.docs["doc_id"]) & set(docs["doc_id"])
    log = collection.add(docs, replacing=replacing)
    replaced = f", {len(earlier)} of them in the place of earlier ones" if earlier else ""
    return [
        f"added {counted(len(docs))} to {folder}{replaced}",
        f"ms per document: {1000 * log.seconds_to_begin:.1f} to begin, "
        f"{1000 * log.seconds_per_document:.1f} for {log.step} steps of writing (start {log.start}); "
        f"greedy decoding recites {log.recited:.2f} of the text",
        state_line(collection),
    ]


def delete_documents(folder: Path, doc_ids: Sequence[str]) -> list[str]:
    """Take documents out of a finished run's memory; returns lines that say what was done."""
    collection, began, n = open_collection(folder), time.perf_counter(), len(set(doc_ids))
    collection.delete(doc_ids)
    ms = 1000 * (time.perf_counter() - began) / n
    return [f"deleted {counted(n)} from {folder}, {ms:.1f} ms per document", state_line(collection)]


def state_line(collection: Collection) -> str:
    """How many documents a run has now, and where they come from."""
    n, added = len(collection.docs), added_memory(collection.folder, collection.params)
    later = len(added.docs) if added else 0
    return f"{collection.folder} has {counted(n)} now: {n - later} of its own, {later} added"


def counted(n: int) -> str:
    """A number of documents in words."""
    return f"{n} document{'s' * (n != 1)}"

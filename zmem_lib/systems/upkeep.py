"""Documents come and go after a run is finished: `zmem add` writes them into its memory, `zmem delete` takes them out.

Takes a run's folder. What its chapters left is never touched, so they stay finished; what changes lies in `added/`
(added.py says how). Documents are written as in chapter 04, the model frozen. With generated ids, a new document gets
one below the run's tree, and no id changes when another document comes or goes.
"""

import difflib
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from torch import Tensor

from zmem_lib.cache import Cache, drop_cache
from zmem_lib.chapters import is_whole
from zmem_lib.combinations import refuse_memoryless
from zmem_lib.data.folder import read_docs
from zmem_lib.files import BadInput, drop_temporaries, hash_path, held, write_json
from zmem_lib.ids import tree as ids
from zmem_lib.ids.run_ids import NEW
from zmem_lib.memory.encoder import start_memory
from zmem_lib.memory.lessons import asked_rows, recitations
from zmem_lib.memory.lm import MemoryLM, load_memory_lm
from zmem_lib.memory.prompts import Row
from zmem_lib.memory.self_questions import given_questions, pseudo_questions
from zmem_lib.memory.table import load_z
from zmem_lib.memory.write import write_z
from zmem_lib.params import Params, read_params
from zmem_lib.systems.added import (
    ADDED,
    Memory,
    added_memory,
    current_memory,
    deleted_ids,
    joined,
    made_with,
    own_memory,
    rows_of,
    save_added,
)
from zmem_lib.tables import check
from zmem_lib.text import passages


def add_documents(folder: Path, file: Path, *, replacing: bool = False) -> list[str]:
    """Write the documents of a corpus.jsonl into a finished run's memory; returns lines that say what was done.

    Raises BadInput, and nothing has changed, where the file is at fault, or where the run has a document of the same
    id already and it is not to be replaced.
    """
    params, file = finished_params(folder), file.expanduser()
    new = check(read_docs(file).assign(part="new"), "docs")
    with held(folder):
        drop_temporaries(folder / ADDED)
        there = new.doc_id[new.doc_id.isin(current_memory(folder, params)[0].doc_id)]
        if len(there) and not replacing:
            raise BadInput(
                f"{file} has doc_id {there.iloc[0]!r}, which {folder} has already: give the document another id, "
                "or put it in the place of that one (--replace)"
            )
        keep = Cache(folder / ADDED / "under_way", f"{made_with(folder)} {hash_path(file)}")
        z, keys, spent = write_documents(folder, new, params, keep)
        earlier = added_memory(folder, params)
        rest = [rows_of(earlier, ~earlier[0].doc_id.isin(new.doc_id))] if earlier else []
        save_added(folder, joined([*rest, (new, z, keys)]))
        keep_ids(folder, current_memory(folder, params), without=set(new.doc_id))
        drop_cache(keep)
        replaced = f", {len(there)} of them in the place of earlier ones" if len(there) else ""
        return [f"added {counted(len(new))} to {folder}{replaced}", spent, state_line(folder, params)]


def delete_documents(folder: Path, doc_ids: Sequence[str]) -> list[str]:
    """Take documents out of a finished run's memory; returns lines that say what was done.

    Of an added document text, block and key are removed. One of the run's own is marked and no longer found: its text
    and block stay in the files of the chapters. Raises BadInput, and nothing has changed, where an id is unknown.
    """
    params, wanted = finished_params(folder), list(dict.fromkeys(doc_ids))
    with held(folder):
        drop_temporaries(folder / ADDED)
        there = list(current_memory(folder, params)[0].doc_id)
        for doc_id in wanted:
            if doc_id not in there:
                near = difflib.get_close_matches(doc_id, there, n=1, cutoff=0.0)[0]
                raise BadInput(f"{folder} has no document {doc_id!r}: did you mean {near!r}?")
        if len(wanted) == len(there):
            raise BadInput(f"these are all documents of {folder}: leave at least one, or remove the folder")
        began = time.perf_counter()
        own, added = set(own_memory(folder)[0].doc_id), added_memory(folder, params)
        marked = [*deleted_ids(folder), *(doc_id for doc_id in wanted if doc_id in own)]
        # marked before the rows go: a killed process must not bring back what an added document had replaced
        write_json(list(dict.fromkeys(marked)), folder / ADDED / "deleted.json")
        if added:
            save_added(folder, rows_of(added, ~added[0].doc_id.isin(wanted)))
        keep_ids(folder, current_memory(folder, params))
        ms = 1000 * (time.perf_counter() - began) / len(wanted)
        return [f"deleted {counted(len(wanted))} from {folder}, {ms:.1f} ms per document", state_line(folder, params)]


def write_documents(
    folder: Path, docs: pd.DataFrame, params: Params, keep: Cache | None, memory_lm: MemoryLM | None = None
) -> tuple[Tensor, Tensor, str]:
    """Blocks z (N,K,W) and keys (N,E) of new documents by the run's frozen model, and a line that says what it took.

    The model is loaded where the caller has not done so.
    """
    memory_lm = memory_lm or load_memory_lm(folder / "lm", params)
    _, z_seen, _ = load_z(folder / "z_seen.safetensors")
    texts, start = passages(docs), params.write.start
    began = time.perf_counter()
    asked = own_questions(memory_lm, docs, params, folder) if params.write.self_questions else None
    z, keys = start_memory(start, texts, memory_lm, params=params, z_seen=z_seen)
    started_ms = 1000 * (time.perf_counter() - began) / len(docs)
    rows = [recitations(memory_lm.prompts, text, params.memory.document_tokens) for text in texts]
    snapshots, log = write_z(memory_lm, rows, z, params=params, start=start, asked=asked, keep=keep)
    last = log.iloc[-1]
    spent = (
        f"ms per document: {started_ms:.1f} to begin (start {start}), {1000 * last.seconds_per_document:.1f} for "
        f"{params.write.steps} steps of writing; greedy decoding recites {last.recited:.2f} of the text"
    )
    return snapshots[params.write.steps], keys, spent


def own_questions(memory_lm: MemoryLM, docs: pd.DataFrame, params: Params, folder: Path) -> list[list[Row]]:
    """The evidence rows of the questions that the model asks about each of new documents."""
    given, n = given_questions(folder), params.write.self_questions
    asked, _ = pseudo_questions(memory_lm, docs, n, params=params, questions=given)
    return asked_rows(memory_lm.prompts, asked, list(docs.doc_id), params.memory.evidence_tokens)


def current_tree(folder: Path, memory: Memory) -> ids.IdTree:
    """The tree of the generated ids of just these documents: ids that are kept stay, missing ones are given."""
    kept = tree_folder(folder)
    return fitted(ids.load_tree(kept if kept.is_dir() else folder / NEW), memory)


def keep_ids(folder: Path, memory: Memory, *, without: set[str] = frozenset()) -> None:
    """Cache the ids of these documents, where the run has any; those of `without` are given anew."""
    if (folder / NEW).is_dir():
        before = current_tree(folder, rows_of(memory, ~memory[0].doc_id.isin(without)))
        ids.save_tree(fitted(before, memory), tree_folder(folder))


def fitted(tree: ids.IdTree, memory: Memory) -> ids.IdTree:
    """The tree without the documents that are not in the memory, and with those that it lacks."""
    docs, _, keys = rows_of(memory, ~memory[0].doc_id.isin(tree.ids))
    tree = ids.delete_documents(tree, set(tree.ids) - set(memory[0].doc_id))
    return ids.add_documents(tree, list(docs.doc_id), keys.numpy())


def tree_folder(folder: Path) -> Path:
    """Where the tree of ids lies since documents came or went; that of an earlier model is another."""
    return folder / ADDED / f"ids_{made_with(folder)}"


def finished_params(folder: Path) -> Params:
    """The parameters of a run whose chapters 01 to 05 are finished; raises BadInput that says what is missing."""
    if not (folder / "params.yaml").is_file():
        there = sorted(path.parent.name for path in folder.parent.glob("*/params.yaml"))
        known = f"there are {', '.join(there)}" if there else "there is none yet"
        raise BadInput(f"{folder} is not the folder of a run ({known}): execute it first (zmem run PARAMS.yaml)")
    params = read_params(folder / "params.yaml")
    refuse_memoryless(params, "asking, scoring and changing a memory")
    for number in range(1, 6):
        if not is_whole(folder, number, params):
            raise BadInput(f"chapter {number:02d} of {folder} is not finished: resume the run first (zmem run)")
    return params


def state_line(folder: Path, params: Params) -> str:
    """How many documents a run has now, and where they come from."""
    n, added = len(current_memory(folder, params)[0]), added_memory(folder, params)
    later = len(added[0]) if added else 0
    return f"{folder} has {counted(n)} now: {n - later} of its own, {later} added"


def counted(n: int) -> str:
    """A number of documents in words."""
    return f"{n} document{'s' * (n != 1)}"

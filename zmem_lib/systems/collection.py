"""What a run holds now, and its use: ask it, see what its z say, write into it.

    collection = open_collection("runs/tiny")
    collection.ask("Where was Ada born?", ["zmem", "bm25"])

What came after the chapters lies in `added/`: documents with block and key in one file, which one rename brings whole,
the ids of the run's own documents that were deleted, and the tree of generated ids. What the chapters left is never
touched, so they stay finished; an added document hides the run's own of the same id.
"""

import difflib
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zmem_lib.cache import Cache, drop_cache, open_cache
from zmem_lib.chapters import chapters_of, is_whole
from zmem_lib.combinations import refuse_memoryless
from zmem_lib.files import BadInput, drop_temporaries, held, read_json, write_atomic, write_json
from zmem_lib.ids import tree as id_trees
from zmem_lib.ids.search import NEW
from zmem_lib.memory.encoder import document_keys
from zmem_lib.memory.likelihood import generate_all
from zmem_lib.memory.self_questions import given_questions, own_questions
from zmem_lib.memory.table import load_z
from zmem_lib.memory.write import write_documents
from zmem_lib.params import Params, changed, params_hash, read_params
from zmem_lib.systems.evidence import answers_of, generate_evidence
from zmem_lib.systems.holdings import ADDED, Holdings, fitted, model_hash
from zmem_lib.systems.systems import SYSTEMS, possible_systems, z_files
from zmem_lib.tables import check, read_table
from zmem_lib.text import passages


class Memory(NamedTuple):
    """Documents; row i of z (N,K,W) and keys (N,E) belongs to the i-th of them."""

    docs: pd.DataFrame
    z: Tensor
    keys: Tensor

    def rows(self, chosen: pd.Series) -> "Memory":
        """The documents where `chosen` (N,) is true, with their rows."""
        index = torch.from_numpy(np.flatnonzero(chosen))
        return Memory(self.docs[chosen].reset_index(drop=True), self.z[index], self.keys[index])  # (M,K,W), (M,E)


class Collection(Holdings):
    """A run's documents and all that systems work with, to be asked and changed."""

    def ask(
        self, questions: str | Sequence[str] | pd.DataFrame, systems: Sequence[str] = ("zmem",), *, reads: bool = True
    ) -> pd.DataFrame:
        """What systems answer: the table answers, with a column `system` in front.

        `questions` are texts, or a table with question_id, question, gold_doc_ids and part; without gold documents only
        the systems that find theirs can be asked. Without `reads` they hand over their evidence, and nobody answers.
        """
        if not isinstance(questions, pd.DataFrame):
            texts = [questions] if isinstance(questions, str) else questions
            rows = [(f"asked {number}", text, [], "seen") for number, text in enumerate(texts, 1)]
            questions = pd.DataFrame(rows, columns=["question_id", "question", "gold_doc_ids", "part"])
        possible = possible_systems(self.params)
        for name in systems:
            if name not in SYSTEMS:
                raise BadInput(f"there is no system {name!r}: choose from {', '.join(possible)}")
            if name not in possible:
                raise BadInput(f"the parameters of {self.folder} leave {name} out: choose another system")
            if SYSTEMS[name].given in ("right", "wrong") and not all(map(len, questions["gold_doc_ids"])):
                raise BadInput(f"{name} needs to know a question's gold document: give a table with gold_doc_ids")
        anew = replace(self, cache=None)  # pieces of a chapter's work are about the chapter's questions
        tables = [answers_of(name, questions, anew, reads=reads) for name in systems]
        return pd.concat(tables, keys=systems, names=["system"]).reset_index(level=0).reset_index(drop=True)

    def evidence(self, question: str, doc_id: str | None = None, z: Tensor | None = None) -> str:
        """The evidence that the model writes for a question from z (K,W), or from a document's z, or from the best."""
        if z is None:
            z = self.z[self.row_of[self.known(doc_id or self.ask(question)["ranked_doc_ids"][0][0])]]  # (K,W)
        return generate_evidence(self.memory_lm, z[None], [question], self.params)[0]  # of (1,K,W)

    def recite(self, doc_id: str) -> str:
        """The text that greedy decoding writes from a document's z alone."""
        prompts, z = self.memory_lm.prompts, self.z[self.row_of[self.known(doc_id)]][None]  # (1,K,W)
        limit = self.params.memory.document_tokens
        (ids,) = generate_all(self.memory_lm, z, [prompts.marks["evidence"]], max_tokens=limit, batch=1)
        return prompts.decode(ids)

    def write(self, text: str, *, steps: int | None = None, rate: float | None = None) -> Tensor:
        """The z (K,W) of a text, written as chapter 04 writes; nothing is kept."""
        given = {"write.steps": steps, "write.rate": rate}
        params = changed(self.params, {name: value for name, value in given.items() if value is not None})
        docs = pd.DataFrame([{"doc_id": "text", "title": "", "text": text, "part": "new"}])
        return self.write_documents(docs, params)[0][0]

    def write_documents(
        self, docs: pd.DataFrame, params: Params | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Tensor, pd.Series]:
        """z (N,K,W) and keys (N,E) of new documents, and the last row of write_log, with `seconds_to_begin` each."""
        began, params, memory_lm, own = time.perf_counter(), params or self.params, self.memory_lm, None
        if n := params.write.self_questions:
            own, _ = own_questions(memory_lm, docs, n, params=params, questions=given_questions(self.folder))
        keys = document_keys(memory_lm, passages(docs), params.memory.document_tokens)
        to_begin = pd.Series({"seconds_to_begin": (time.perf_counter() - began) / len(docs)})
        _, z_seen, _ = load_z(self.folder / "z_seen.safetensors")
        snapshots, log = write_documents(memory_lm, docs, own, params, z_seen=z_seen, keep=cache, curve=False)
        return snapshots[params.write.steps], keys, pd.concat([log.iloc[-1], to_begin])

    def add(self, docs: pd.DataFrame, *, replacing: bool = False) -> pd.Series:
        """Write documents (doc_id, title, text) into the memory, for good; returns the last row of their write_log.

        Raises BadInput, and nothing has changed, where there is a document of the same id that is not to be replaced.
        """
        docs = check(docs.assign(part="new"), "docs")
        with held(self.folder):
            drop_temporaries(self.folder / ADDED)
            self.read_again()
            there = docs["doc_id"][docs["doc_id"].isin(self.docs["doc_id"])]
            if len(there) and not replacing:
                raise BadInput(
                    f"{self.folder} has a document {there.iloc[0]!r} already: give the new one another id, or put it "
                    "in the place of that one (--replace)"
                )
            made_with = model_hash(self.folder), params_hash(self.params, 4), docs.to_json()
            under_way = open_cache(self.folder / ADDED / "under_way", *made_with)
            z, keys, log = self.write_documents(docs, cache=under_way)
            earlier = added_memory(self.folder, self.params)
            rest = [earlier.rows(~earlier.docs["doc_id"].isin(docs["doc_id"]))] if earlier else []
            save_added(self.folder, joined([*rest, Memory(docs, z, keys)]))
            self.read_again()
            self._keep_ids(anew=set(there))
            drop_cache(under_way)
            return log

    def delete(self, doc_ids: Sequence[str]) -> None:
        """Take documents out of the memory, for good; one of the run's own is only marked, its text and block stay.

        Raises BadInput, and nothing has changed, for an unknown id.
        """
        wanted = list(dict.fromkeys(doc_ids))
        with held(self.folder):
            drop_temporaries(self.folder / ADDED)
            self.read_again()
            for doc_id in wanted:
                self.known(doc_id)
            if len(wanted) == len(self.docs):
                raise BadInput(f"these are all documents of {self.folder}: leave at least one, or remove the folder")
            own = set(own_memory(self.folder, self.params).docs["doc_id"])
            marked = [*deleted_ids(self.folder), *(doc_id for doc_id in wanted if doc_id in own)]
            # marked before the rows go: a killed process must not bring back what an added document had replaced
            write_json(list(dict.fromkeys(marked)), self.folder / ADDED / "deleted.json")
            if added := added_memory(self.folder, self.params):
                save_added(self.folder, added.rows(~added.docs["doc_id"].isin(wanted)))
            self.read_again()
            self._keep_ids()

    def known(self, doc_id: str) -> str:
        """The id, if there is such a document; raises BadInput that names the nearest one."""
        there = list(self.docs["doc_id"])
        if doc_id not in there:
            near = difflib.get_close_matches(doc_id, there, n=1, cutoff=0.0)[0]
            raise BadInput(f"{self.folder} has no document {doc_id!r}: did you mean {near!r}?")
        return doc_id

    def read_again(self) -> None:
        """Take up what lies in the folder now: its own documents without the deleted ones, then the added ones."""
        own, added = own_memory(self.folder, self.params), added_memory(self.folder, self.params)
        gone = {*deleted_ids(self.folder), *(added.docs["doc_id"] if added else ())}
        kept = own.rows(~own.docs["doc_id"].isin(gone))
        self.docs, self.z, self.keys = joined([kept, added]) if added else kept
        self.altered = added is not None or len(kept.docs) < len(own.docs)
        for name in ("bm25", "bm25_asked", "dense", "dense_tuned", "tree", "idf"):
            self.loaded.pop(name, None)

    def _keep_ids(self, *, anew: Iterable[str] = ()) -> None:
        """Keep the generated ids of just these documents, where the run has any; those of `anew` are given anew."""
        if (self.folder / NEW).is_dir():
            tree = id_trees.load_tree(self.kept_tree if self.kept_tree.is_dir() else self.folder / NEW)
            tree = id_trees.delete_documents(tree, set(tree.ids) & set(anew))
            id_trees.save_tree(fitted(tree, self.docs, self.keys), self.kept_tree)


def open_collection(
    run: str | Path, runs: str | Path = "", *, params: Params | None = None, added: bool = True,
    cache: Cache | None = None,
) -> Collection:  # fmt: skip
    """What the run in the folder `run`, or of the name `run` in `runs`, holds now; without `added`, after its chapters.

    Raises BadInput if its chapters up to 05 are not finished, but where `params` are given.
    """
    folder = Path(runs) / run
    params = params or finished_params(folder)
    collection = Collection(folder, params, *own_memory(folder, params), cache=cache)
    if added:
        collection.read_again()
    return collection


def finished_params(folder: Path, last: int = 5) -> Params:
    """The parameters of a run; raises BadInput if its chapters up to the `last` are not finished."""
    if not (folder / "params.yaml").is_file():
        there = sorted(path.parent.name for path in folder.parent.glob("*/params.yaml"))
        known = f"there are {', '.join(there)}" if there else "there is none yet"
        raise BadInput(f"{folder} is not the folder of a run ({known}): execute it first (zmem run PARAMS.yaml)")
    params = read_params(folder / "params.yaml")
    refuse_memoryless(params, "asking, scoring and changing a memory")
    for number in (number for number in chapters_of(params) if number <= last):
        if not is_whole(folder, number, params):
            raise BadInput(f"chapter {number:02d} of {folder} is not finished: resume the run first (zmem run)")
    return params


# --- files ------------------------------------------------------------------------------------------------------------


def own_memory(folder: Path, params: Params) -> Memory:
    """The documents of the run's chapters, seen before new, with z and keys; without a model these are empty."""
    docs = read_table(folder / "docs.parquet", "docs")
    if not params.has_lm:
        return Memory(docs, torch.empty(0), torch.empty(0))
    ids, z, keys = zip(*(load_z(folder / file) for file in z_files(params)), strict=True)
    docs = docs.set_index("doc_id").loc[[*ids[0], *ids[1]]].reset_index()
    return Memory(docs, torch.cat(z), torch.cat(keys))  # (N,K,W), (N,E)


def added_memory(folder: Path, params: Params) -> Memory | None:
    """The documents that were added, in the order of arrival, or None; raises BadInput if the model is another now."""
    path = folder / ADDED / "documents.parquet"
    if not path.is_file():
        return None
    frame = pd.read_parquet(path)
    if set(frame["made_with"]) - {model_hash(folder)}:
        raise BadInput(
            f"the documents in {path} were written with an earlier model of this run: remove {path.parent} and add "
            "them again (zmem add)"
        )
    z, keys = (torch.from_numpy(np.stack(list(frame[name])).astype(np.float32)) for name in ("z", "key"))
    return Memory(check(frame, "docs"), z.view(len(z), params.memory.z_tokens, -1), keys)  # (N,K,W)


def save_added(folder: Path, memory: Memory) -> None:
    """Write the added documents and their memory as one file, or remove it where there are none."""
    path = folder / ADDED / "documents.parquet"
    if not len(memory.docs):
        path.unlink(missing_ok=True)
        return
    rows = {"z": list(memory.z.flatten(1).numpy()), "key": list(memory.keys.numpy())}  # (K*W,), (E,) of each document
    frame = memory.docs.assign(made_with=model_hash(folder), **rows)
    write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))


def deleted_ids(folder: Path) -> list[str]:
    """The run's own documents that were deleted."""
    path = folder / ADDED / "deleted.json"
    return read_json(path) if path.is_file() else []


def joined(memories: Sequence[Memory]) -> Memory:
    """All documents and their rows, one memory after the other."""
    docs, z, keys = zip(*memories, strict=True)
    return Memory(pd.concat(docs, ignore_index=True), torch.cat(z), torch.cat(keys))  # (N,K,W), (N,E)

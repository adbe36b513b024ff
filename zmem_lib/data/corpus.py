"""Corpora: one module each, all returning a Corpus; here the run's documents and questions are taken from it.

The corpus synthetic makes exactly the documents that are wanted and knows their parts and splits; of any other corpus
subset.py chooses seen documents, new documents, and the questions about them.
"""

from dataclasses import replace
from pathlib import Path

from zmem_lib.data import folder, mirage, popqa, ragbench, squad, synthetic, t2ragbench
from zmem_lib.data.rows import Corpus
from zmem_lib.data.subset import choose
from zmem_lib.files import BadInput
from zmem_lib.params import Params, changed
from zmem_lib.tables import check

CORPORA = {
    "synthetic": synthetic.load,
    "folder": folder.load,
    "squad": squad.load,
    "mirage": mirage.load,
    "ragbench": ragbench.load,
    "t2ragbench": t2ragbench.load,
    "popqa": popqa.load,
}
FILES = {
    "folder": folder.files,
    "squad": squad.files,
    "mirage": mirage.files,
    "ragbench": ragbench.files,
    "t2ragbench": t2ragbench.files,
    "popqa": popqa.files,
}


def fetch_corpus(params: Params) -> None:
    """Look whether the corpus's files are there, and fetch them where they come from the hub; raises BadInput."""
    if params.corpus.name in FILES:
        FILES[params.corpus.name](params)


def load_corpus(params: Params) -> Corpus:
    """The run's documents (seen first) and questions, with parts and splits, checked against the schema."""
    second = second_corpus(params)
    corpus = CORPORA[params.corpus.name](params if second is None else changed(params, {"corpus.new_documents": 0}))
    if "part" not in corpus.docs or second is not None:  # else the corpus has chosen itself
        corpus = choose(corpus, at_most(corpus, params, second), second)
    if not (corpus.questions["split"] == "train").any():
        raise BadInput("no training question is about a chosen document: raise n_documents or change the seed")
    return replace(corpus, docs=check(corpus.docs, "docs"), questions=check(corpus.questions, "questions"))


def at_most(corpus: Corpus, params: Params, second: Corpus | None) -> Params:
    """The parameters with no more seen documents than a named subset of a folder has, since it is wanted whole."""
    if not (params.corpus.name == "folder" and params.corpus.subset):
        return params
    room = len(corpus.docs) - (params.corpus.new_documents if second is None else 0)
    return changed(params, {"corpus.documents": min(params.corpus.documents, max(room, 1))})


def second_corpus(params: Params) -> Corpus | None:
    """The corpus at new_corpus_path, in the folder format or in that of `corpus`; None where it is not wanted."""
    if not (params.corpus.new_path and params.corpus.new_documents):
        return None
    path = Path(params.corpus.new_path).expanduser()
    in_folder = any((path / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))
    load = folder.load if in_folder or params.corpus.name == "synthetic" else CORPORA[params.corpus.name]
    try:
        subset = "" if load is folder.load else params.corpus.subset  # a name in the first folder's subsets.json
        return load(changed(params, {"corpus.path": params.corpus.new_path, "corpus.subset": subset}))
    except BadInput as error:
        raise BadInput(f"new_corpus_path: {error}") from error

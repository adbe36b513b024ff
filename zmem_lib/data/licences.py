"""Under which licence each corpus is published, as its publishers state it (book/data.md)."""

from zmem_lib.params import Params

LICENCES = {
    "synthetic": "none needed: made here, about people who do not exist",
    "folder": "that of your corpus",
    "squad": "CC BY-SA 4.0",
    "mirage": "Apache 2.0",
    "ragbench": "CC BY 4.0",
    "t2ragbench": "CC BY 4.0",
    "popqa": "MIT (questions), CC BY-SA (passages of Wikipedia)",
}
OF_SUBSETS = {("squad", "korquad"): "CC BY-ND 2.0 KR"}  # where a subset has its own


def licence_of(params: Params) -> str:
    """The licence of the corpus that the parameters name; of a second corpus of new documents nothing is known."""
    return OF_SUBSETS.get((params.corpus.name, params.corpus.subset), LICENCES[params.corpus.name])

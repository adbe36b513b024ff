"""Damage outside the corpus: what a pretrained model says of plain text before and after it has learned the documents.

Takes the model, returns its perplexity on pieces of the manual of the Python language, which every Python brings: prose
of no corpus here. A model made from scratch knows nothing that could be lost. The nll of every piece is kept apart, as
the intervals are over pieces, and the change of each piece is what the factor is made of.
"""

from importlib import import_module

import numpy as np
import pandas as pd
import torch

from zmem_lib.evaluation.stats import SAMPLES, bootstrap_mean
from zmem_lib.memory.likelihood import token_nll
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.memory.prompts import join
from zmem_lib.meter import progress
from zmem_lib.params import Params
from zmem_lib.tables import TABLES, check

PIECES = 64
PIECE_TOKENS = 192


def plain_pieces(memory_lm: MemoryLM) -> list[list[int]]:
    """Token ids of the pieces, spread evenly over the manual."""
    topics = import_module("pydoc_data.topics").topics
    ids = memory_lm.prompts.encode("\n".join(topics[name] for name in sorted(topics)))
    starts = np.linspace(0, max(0, len(ids) - PIECE_TOKENS), PIECES).astype(int)
    return [ids[start : start + PIECE_TOKENS] for start in starts]


@torch.no_grad()
def plain_nll(memory_lm: MemoryLM, params: Params) -> list[float]:
    """Mean nll per token, in nats, of each piece of plain text; nothing for a model made from scratch.

    Before each stands the constant token that stands before every text here, so all of its own tokens count.
    """
    if params.lm.name == "scratch":
        return []
    memory_lm.lm.eval()
    found = []
    for piece in progress(plain_pieces(memory_lm), "plain text"):
        row = join([(memory_lm.prompts.begin, "none"), (piece, "text")])
        nll, terms = token_nll(memory_lm, None, [row])  # (1,T)
        found.append(nll[terms > 0].mean().item())
    return found


def damage_table(before: list[float], after: list[float], params: Params) -> pd.DataFrame:
    """Perplexity before and after, and the factor between them, with 95 % intervals over the pieces (the damage table).

    `n` counts pieces, each a cluster of its own.
    """
    rows, change = [], [late - early for early, late in zip(before, after, strict=True)]
    for what, nll in (("before", before), ("after", after), ("factor", change)):
        if nll:
            mean = bootstrap_mean(nll, SAMPLES, params.seed, clusters=None)
            rows.append((what, *np.exp([mean.value, mean.ci_low, mean.ci_high]).tolist(), mean.n, mean.clusters))
    return check(pd.DataFrame(rows, columns=list(TABLES["damage"])), "damage")

"""Corpora: one module each, all returning the same two tables; here the subset and the splits are decided.

A corpus function takes Params and returns documents (doc_id, title, text) and questions (the columns of
schema.TABLES["questions"]). The synthetic corpus comes with its parts and splits; of any other one, a subset is chosen.
"""

import pandas as pd

from zmem_lib.corpora import synthetic
from zmem_lib.params import Params
from zmem_lib.schema import check

CORPORA = {"synthetic": synthetic.load}


def load_corpus(params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The run's documents and questions, with parts and splits, checked against the schema."""
    docs, questions = CORPORA[params.corpus](params)
    return check(docs, "docs"), check(questions, "questions")

"""Tables of a run in which every share is known, for the tests of what is made of them."""

from functools import cache

import numpy as np
import pandas as pd

from zmem_lib.evaluation import scoring
from zmem_lib.evaluation.metrics import RETRIEVAL_METRICS
from zmem_lib.evaluation.pairs import pair_table
from zmem_lib.evaluation.primary import planned, primary_table
from zmem_lib.report.figures import CURVES
from zmem_lib.report.wording import COMPARED
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import CHANCES, TABLES, no_rows

N = 60
SHARE = {
    "zmem": 0.2, "zmem-oracle": 0.6, "zmem-shuffled": 0.05, "zmem-similar": 0.1, "zmem-random": 0.05, "bm25": 0.8,
    "bm25-asked": 0.6, "dense": 0.5, "dense-tuned": 0.55, "hybrid-rrf": 0.4, "hybrid": 0.55,
    "text-twin": 0.4, "closed-book": 0.0, "chance": 0.0,
    "chance-alike": 0.05, "zmem+text": 0.3, "zmem+bm25": 0.3, "hybrid+rerank": 0.5, "lm-rerank": 0.5,
    "long-context": 0.4, "bm25+sentence": 0.55, "hybrid+sentence": 0.5, "zmem-other-question": 0.1,
    "gold+random-sentence": 0.3, "text-evidence": 0.7,
}  # fmt: skip


@cache
def made_tables() -> dict[str, pd.DataFrame]:
    rows = []
    for system in (*SYSTEMS, *CHANCES):
        share = SHARE.get(system, 0.9)
        metrics = ["em", "f1", "answer_in_evidence", "evidence_tokens", "input_tokens", "output_tokens"]
        metrics += ["recall@1", "recall@5", "recall@20"] if system in COMPARED and SYSTEMS[system].own_ranking else []
        for part in ("seen", "new"):
            for metric in ["answer_in_evidence"] if system in CHANCES else metrics:
                values = (
                    [17.0] * N if metric.endswith("tokens") else [1.0] * int(share * N) + [0.0] * (N - int(share * N))
                )
                places = [(f"{part}{i}", system, part, "", metric) for i in range(N)]
                rows += [(*place, value, f"of {place[0]}") for place, value in zip(places, values, strict=True)]
    scores = pd.DataFrame(rows, columns=list(TABLES["scores"]))
    kinds = ["right"] * 12 + ["wrong z"] * 24 + ["wrong evidence"] * 18 + ["wrong reading"] * 6
    failures = [
        (f"{part}{i}", s, part, kind) for s in SYSTEMS for part in ("seen", "new") for i, kind in enumerate(kinds)
    ]
    made = {"train_seconds": 0.0, "write_seconds": 0.0, "build_seconds": 12.0, "choose_seconds": 0.05,
            "evidence_seconds": 0.15, "read_seconds": 0.05, "seconds_per_question": 0.25, "bytes_stored": 3_000_000,
            "bytes_learned": 1_000_000, "bytes_text": 2_000_000, "bytes_gzip": 500_000,
            "peak_memory_bytes": 2_000_000_000, "money_per_question": 0.0, "n": 120}  # fmt: skip
    costs = pd.DataFrame([{"system": system} | made for system in SYSTEMS])
    curve = [
        (start, step, 0.1 * step, 4.0 - step, metric, 0.1 * step, 0.1 * step - 0.05, 0.1 * step + 0.05, 40, 20)
        for start in ("mean", "random")
        for step in (0, 1, 2, 5)
        for metric in CURVES
    ]
    selectors = [
        (selector, part, metric, value, value - 0.1, value + 0.1, N, N)
        for selector, value in (("key", 0.4), ("key_then_likelihood", 0.6))
        for part in ("seen", "new")
        for metric in (*RETRIEVAL_METRICS, "seconds")
    ]
    right_z = [
        ("seen", "gold+sentence", "retention", 0.9, 0.8, 0.97, N, N),
        ("seen", "gold+random-sentence", "difference", 0.3, 0.2, 0.4, N, N),
        ("new", "gold+sentence", "retention", np.nan, np.nan, np.nan, N, N),
    ]
    tests = planned("zmem vs hybrid on recall@1; zmem vs zmem-other-question on answer_in_evidence")
    primary = primary_table(scores, 200, seed=1, tests=tests, margin=0.05)
    return {
        "scores": scores,
        "primary": primary,
        "summary": scoring.summarise(scores, 200, seed=1),
        "pairs": pair_table(scores, 200, seed=1, primary=primary),
        "failures": pd.DataFrame(failures, columns=list(TABLES["failures"])),
        "costs": costs,
        "write_curve": pd.DataFrame(curve, columns=list(TABLES["write_curve"])),
        "selectors": pd.DataFrame(selectors, columns=list(TABLES["selectors"])),
        "right_z": pd.DataFrame(right_z, columns=list(TABLES["right_z"])),
        "abstention": no_rows("abstention"),
        "damage": no_rows("damage"),
        "asked": pd.DataFrame([("seen", "asked", 0), ("new", "asked", 0)], columns=list(TABLES["asked"])),
    }


def without_systems(tables, *systems):
    kept = {}
    for name, table in tables.items():
        columns = [column for column in ("system", "first", "second") if column in table]
        kept[name] = table[~table[columns].isin(systems).any(axis=1)]
    return kept


def all_of(sections):
    return "\n".join(sentence for sentences in sections.values() for sentence in sentences)

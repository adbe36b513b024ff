"""The sentences of the findings, on made-up tables whose figures are known."""

import pandas as pd
import pytest
from made_tables import all_of, made_tables

from zmem_lib.evaluation import scoring
from zmem_lib.evaluation.pairs import pair_table
from zmem_lib.params import read_params
from zmem_lib.report.findings import findings
from zmem_lib.report.verdict import verdict
from zmem_lib.tables import TABLES, no_rows


@pytest.fixture
def tables():
    return made_tables()


@pytest.fixture(scope="module")
def params():
    return read_params("params/tiny.yaml", ["evaluate.bootstrap_samples=200"])


def test_findings_say_plainly_that_z_memory_is_worse(tables, params):
    said = findings(tables, params)
    text = all_of(said)
    assert "worse than BM25 (−0.60 [" in text and "Most right" not in text
    assert "what is written comes from the document's own z" in text
    assert "Given the right z, the model writes the answer for 0.60 [" in said["short"][0]
    assert "(n = 60 from 60 documents; exploratory" in text and "60.0" not in text
    assert "wrong z 40 %, wrong evidence 30 %, wrong reading 10 %" in text
    assert "From the mean start 0.00 [−0.05, 0.05] before the first step and 0.50 [0.45, 0.55] after 5 steps" in text
    assert "500 ms per document (highest: 0.50 at step 5), then found first for 0.50 [" in text
    assert "stores 3.00 MB" in text and "nan" not in text


def test_findings_say_it_as_plainly_when_it_is_better_or_the_same(tables, params):
    swap = {"zmem": "bm25", "bm25": "zmem"}
    turned = {name: tables[name].replace({"system": swap}) for name in ("scores", "summary", "failures", "costs")}
    turned["pairs"] = pair_table(turned["scores"], 200, seed=1)
    assert "0.80 [" in findings(tables | turned, params)["answers"][0]
    assert "better than BM25 with the training questions" in verdict(tables | turned, params)[1]
    same = tables["scores"].query("system == 'bm25'")
    same = pd.concat([same, same.assign(system="zmem")])
    level = tables | {"scores": same, "summary": scoring.summarise(same, 200, seed=1), "right_z": no_rows("right_z")}
    level["pairs"] = pair_table(same, 200, seed=1)
    assert "z-memory with 0.80 is not told apart from BM25 with 0.80;" in verdict(level, params)[1]


def test_findings_of_a_memory_that_does_not_work(tables, params):
    swap = {"zmem-oracle": "zmem-shuffled", "zmem-shuffled": "zmem-oracle"}
    turned = {name: tables[name].replace({"system": swap}) for name in ("scores", "summary")}
    assert "so the memory does not work here" in all_of(findings(tables | turned, params))


def test_placebo_is_held_against_chance(tables, params):
    said = findings(tables, params)["controls"]
    assert said[0].startswith("**Placebo, seen documents.** The right z writes the answer for 0.60 [")
    assert "the gold evidence of other questions has it for 0.00 [0.00, 0.00] (chance)" in said[0]
    shuffled = (
        "another document's z for 0.05 [0.01, 0.10] (minus that +0.00 [+0.00, +0.00]: not to be told from chance)"
    )
    assert shuffled in said[0]
    assert "the most similar other document's z for 0.10 [" in said[0] and "+0.05 [+0." in said[0]
    assert "right z minus the most similar other document's z +0.50 [" in said[0]
    assert said[1].startswith("**Bounds, seen documents.** Without any evidence the reader answers 0.00 [0.00, 0.00]")


def test_what_the_model_asked_itself_and_what_it_forgot_is_said(tables, params):
    said = findings(tables, params)
    assert not said["asked"]
    own = [("seen", "asked", 70), ("seen", "kept", 42), ("new", "asked", 0)]
    own = pd.DataFrame(own, columns=list(TABLES["asked"]))
    rows = [("before", 9.0, 8.0, 10.0, 64, 64), ("after", 18.0, 16.0, 20.0, 64, 64), ("factor", 2.0, 1.9, 2.1, 64, 64)]
    damage = pd.DataFrame(rows, columns=list(TABLES["damage"]))
    now = findings({**tables, "asked": own, "damage": damage}, params)
    assert "About seen documents 70, of which 42 are learned" in now["asked"][0]
    assert "new documents" not in now["asked"][0]
    assert "2.000 times as much [1.900, 2.100] (n = 64 pieces)" in now["controls"][-1]
    assert len(now["controls"]) == len(said["controls"]) + 1

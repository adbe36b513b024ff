"""The ways of choosing: which there are, and that they rank the same questions."""

import math
import time
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from tiny_collection import small_collection, small_docs, small_questions
from tiny_models import small_params

from zmem_lib import meter
from zmem_lib.cache import Cache
from zmem_lib.opponents.bm25 import load_bm25, save_bm25
from zmem_lib.systems import choosing, cost, evidence, holdings

PARAMS = small_params({"memory.key_width": 4, "answer.shortlist": 3, "train.text_weight": 0.5, "train.id_steps": 0})
N = 5


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return small_collection(PARAMS, small_docs(N), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def asked():
    return small_questions(4)


def test_parameters_say_which_ways_there_are():
    assert list(cost.selectors_of(small_params({"train.id_steps": 0}))) == ["query_likelihood"]
    all_but_ids = ["query_likelihood", "key", "key_then_likelihood", "text-twin"]
    assert [name for name in cost.selectors_of(PARAMS) if name != "generated_id"] == all_but_ids
    assert "text-twin" not in cost.selectors_of(small_params({"train.text_weight": 0.5}))


def test_every_way_ranks_every_question(collection, asked):
    table = cost.rank_all(asked, collection, {})
    assert table.groupby("selector")["question_id"].agg(list).map(lambda ids: ids == list(asked["question_id"])).all()
    assert (table["seconds"] > 0).all()
    by_name = table.set_index(["selector", "question_id"])["ranked_doc_ids"]
    by_key = choosing.by_key(asked, collection)[0]
    for place, name in enumerate(asked["question_id"]):
        assert list(by_name["key", name]) == by_key[place]
        assert (
            sorted(by_name["key_then_likelihood", name]) == sorted(by_name["text-twin", name]) == sorted(by_key[place])
        )


def test_a_ranking_that_was_made_is_taken_over_and_timed(collection, asked):
    made = asked[["question_id", "part"]].assign(ranked_doc_ids=[["d9"]] * 4, ranked_scores=[[1.0]] * 4)
    table = cost.rank_all(asked, collection, {"text-twin": made, "zmem": made}).set_index("selector")
    assert collection.params.answer.select == "query_likelihood"
    for name in ("text-twin", "query_likelihood"):
        assert table.loc[name, "ranked_doc_ids"].map(list).tolist() == [["d9"]] * 4
        assert (table.loc[name, "seconds"] > 0).all()
    assert (table.loc["key", "ranked_doc_ids"].map(len) > 1).all()


def test_choosing_evidence_and_reading_are_timed_apart_and_loading_for_none(asked, tmp_path, monkeypatch):
    held = small_collection(PARAMS, small_docs(N), tmp_path)
    save_bm25(held.loaded.pop("bm25"), held.folder / "bm25")
    loaded = []

    def slowly(folder):
        loaded.append(folder.name)
        time.sleep(0.5)
        return load_bm25(folder)

    monkeypatch.setattr(holdings, "load_bm25", slowly)
    _, row = cost.answered("bm25", asked, held)
    assert loaded == ["bm25"]
    parts = [row[f"{what}_seconds"] for what in ("choose", "evidence", "read")]
    assert sum(parts) == pytest.approx(row["seconds_per_question"])
    assert min(parts) > 0
    assert row["choose_seconds"] < 0.1, "of four questions, half a second of loading would be more"
    assert parts[2] > parts[1], "text is handed over at once, and read by a model"
    assert row["peak_memory_bytes"] == 0, "nothing is measured on a CPU"
    _, z_row = cost.answered("zmem-oracle", asked, held)
    assert z_row["evidence_seconds"] > 10 * row["evidence_seconds"], "it is written"


def test_a_later_system_that_hands_over_the_same_passages_costs_as_much(collection, asked, tmp_path, monkeypatch):
    held = replace(collection, folder=tmp_path, cache=Cache(tmp_path / "under_way", ""), loaded=dict(collection.loaded))
    whole = evidence.generate_all

    def slow(memory_lm, z, prompts, **named):
        time.sleep(0.05 * len(prompts))
        return whole(memory_lm, z, prompts, **named)

    monkeypatch.setattr(evidence, "generate_all", slow)
    spent = [cost.answered("gold-passage", asked, held, suffix=suffix)[1] for suffix in ("", "-again")]
    assert min(one["read_seconds"] for one in spent) > 0.05, "by question"
    assert spent[1]["seconds_per_question"] == pytest.approx(spent[0]["seconds_per_question"], rel=0.5)


def test_building_is_repaid_by_cheaper_questions_or_never():
    rows = [("zmem", 110.0, 0.1), ("hybrid", 10.0, 0.3), ("bm25", 1.0, 0.05), ("dense", 20.0, 0.3)]
    costs = pd.DataFrame(rows, columns=["system", "build_seconds", "seconds_per_question"])
    assert cost.break_even(costs, "zmem", "hybrid") == pytest.approx(500)
    assert cost.break_even(costs, "zmem", "bm25") == math.inf
    assert cost.break_even(costs, "bm25", "hybrid") == 0.0
    assert cost.break_even(costs, "dense", "hybrid") == math.inf, "as dear a question never makes up for more"
    assert math.isnan(cost.break_even(costs, "zmem", "long-context"))


def test_a_piece_of_work_leaves_the_gpus_peak_to_the_chapter(monkeypatch):
    class Gpu:  # counts as torch.cuda does: one peak, which can be set back
        now = peak = 900

        def max_memory_allocated(self):
            return self.peak

        def reset_peak_memory_stats(self):
            self.peak = self.now

    gpu = Gpu()
    monkeypatch.setattr(meter, "torch_on_gpu", lambda: SimpleNamespace(cuda=gpu))
    monkeypatch.setattr(meter, "GPU_PEAKS", [0])
    gpu.now = 100
    with meter.metered() as work:
        gpu.peak = 300
    assert work.peak_memory_bytes == 300
    assert meter.peaks()["peak_gpu_memory_bytes"] == 900
    gpu.peak = 1000
    assert meter.peaks()["peak_gpu_memory_bytes"] == 1000

"""The ways of choosing: which there are, and that they rank the same questions."""

import pytest
from tiny_collection import small_collection, small_docs, small_questions
from tiny_models import small_params

from zmem_lib.systems import choosing, cost

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

"""Twenty questions side by side: which are drawn, what their blocks say, and that no text becomes a page's markup."""

import re

import pandas as pd
import pytest

from zmem_lib.data.corpus import licence_of
from zmem_lib.params import changed, read_params
from zmem_lib.report import side_by_side

HOSTILE = "<script>x</script> $z$ </td>"
PARAMS = read_params("params/smoke.yaml")


def answers_of(ids, document, answer, evidence="It says so."):
    return pd.DataFrame(
        {
            "question_id": ids,
            "ranked_doc_ids": [document(one) for one in ids],
            "evidence": [[evidence] for _ in ids],
            "answer": answer,
        }
    )


@pytest.fixture
def tables():
    """60 questions of two parts: z-memory is right in every tenth, BM25 in all but three of them."""
    ids = [f"q{i:02d}" for i in range(60)]
    parts = ["seen" if i < 40 else "new" for i in range(60)]
    questions = pd.DataFrame(
        {"question_id": ids, "question": [f"Who is {one}?" for one in ids], "answers": [["Ada", "Ada L."]] * 60,
         "gold_doc_ids": [[f"d{one}"] for one in ids], "kind": ""}
    )  # fmt: skip
    docs = pd.DataFrame({"doc_id": [f"d{one}" for one in ids], "title": [f"Title {one}" for one in ids]})
    answers = {
        "zmem": answers_of(ids, lambda one: ["dq00", f"d{one}"], "Bo", "z wrote " + "x" * 400),
        "bm25": answers_of(ids, lambda one: [f"d{one}", "dq00"], "Ada"),
        "dense": answers_of(ids, lambda one: [f"d{one}", "dq00"], "Ada"),
        "closed-book": answers_of(ids, lambda one: [], "Nobody", ""),
    }
    rows = [(one, "zmem", part, "em", float(i % 10 == 0)) for i, (one, part) in enumerate(zip(ids, parts, strict=True))]
    rows += [(one, name, part, "em", float(i not in (1, 2, 41))) for name in ("bm25", "dense")
             for i, (one, part) in enumerate(zip(ids, parts, strict=True))]  # fmt: skip
    rows += [(one, "zmem", "rephrased", "em", 1.0) for one in ids]  # a kind of seen: counted once
    scores = pd.DataFrame(rows, columns=["question_id", "system", "part", "metric", "value"])
    return {"answers": answers, "questions": questions, "scores": scores, "docs": docs}


def shown(tables, params=PARAMS):
    rest = {name: tables[name] for name in ("scores", "docs")}
    return side_by_side.side_by_side(tables["answers"], tables["questions"], **rest, params=params).data


def test_every_part_and_kind_is_drawn_and_counted(tables):
    right = side_by_side.outcomes(tables["answers"], tables["scores"], "em")
    picked = side_by_side.pick(right, seed=1)
    assert len(picked) == len(set(picked)) == 20 and picked == side_by_side.pick(right.sample(frac=1).sort_index(), 1)
    assert {"q01", "q02", "q41"} <= set(picked), "the few that BM25 has wrong are among them"
    assert picked != side_by_side.pick(right, seed=2)
    kinds = side_by_side.kinds(right, picked).set_index(["part", "zmem", "bm25"])
    assert kinds["questions"].to_dict() == {
        ("seen", "wrong", "wrong"): 2, ("seen", "wrong", "right"): 34, ("seen", "right", "right"): 4,
        ("new", "wrong", "wrong"): 1, ("new", "wrong", "right"): 17, ("new", "right", "right"): 2,
    }  # fmt: skip
    assert kinds["shown"].sum() == 20 and kinds["shown"].min() >= 1


def test_a_block_says_what_was_found_written_and_answered(tables):
    html = shown(tables)
    assert html.count("Gold answer: <strong>Ada / Ada L.</strong>") == 20 and "closed-book" not in html
    block = html[html.index("Who is q01?") : html.index("Who is q02?")]
    rows = re.findall(r"<tr><td.*?</tr>", block)
    assert len(rows) == 2, "BM25 and dense agree in everything and share a row"
    assert "zmem" in rows[0] and "Title q00" in rows[0] and "gold: rank 2" in rows[0] and ">wrong<" in rows[0]
    assert "bm25<br>dense" in rows[1] and "Title q01" in rows[1] and "<strong>gold</strong>" in rows[1]
    assert rows[0].count("<details>") == 1 and "x" * 400 not in rows[0], "long evidence unfolds"
    right = html[html.index("Who is q10?") :]
    assert ">right<" in right[: right.index("</table>")]


def test_texts_are_escaped_and_kept_from_mathjax(tables):
    tables["questions"]["question"], tables["docs"]["title"] = HOSTILE, HOSTILE
    tables["questions"]["answers"] = [[HOSTILE]] * 60
    for table in tables["answers"].values():
        table["answer"], table["evidence"] = HOSTILE, [[HOSTILE * 9] for _ in range(len(table))]
    html = shown(tables)
    kept = html.index('<div class="tex2jax_ignore mathjax_ignore"', html.index("Right and wrong"))
    assert "<script" not in html and html.index("$z$") > kept
    assert html.count("&lt;script&gt;") >= 20 * 6
    for tag in ("table", "tr", "td", "details", "div", "p", "small", "strong"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag


def test_unpublished_texts_leave_counts(tables):
    html = shown(tables, changed(PARAMS, {"corpus.publish_text": False}))
    assert "20 questions" in html and ">34<" in html
    assert not re.search(r"Who is|Ada|Title|z wrote|dq\d", html)


def test_a_licence_stands_below_the_texts_of_another_corpus(tables):
    params = changed(PARAMS, {"corpus.name": "squad", "corpus.subset": "v1.1"})
    assert licence_of(params) == "CC BY-SA 4.0" and "CC BY-SA 4.0" in shown(tables, params)
    assert "licence" not in shown(tables)


def test_a_run_without_reader_and_without_z_memory_is_shown_by_what_it_found(tables):
    answers = {name: table.assign(answer="") for name, table in tables["answers"].items() if name in ("bm25", "dense")}
    scores = tables["scores"][tables["scores"]["system"].isin(list(answers))]
    scores = pd.concat([scores, scores.assign(metric="recall@1")])
    html = shown({**tables, "answers": answers, "scores": scores[scores["metric"] == "recall@1"]})
    assert "whether a gold document comes first" in html and html.count("Gold answer") == 20
    assert ">bm25</th>" in html and ">right<" in html and ">wrong<" in html and "zmem" not in html
    assert "<small style" not in html, "there is no answer to be right or wrong"


def test_where_hardly_an_answer_is_exact_questions_are_drawn_by_what_was_found(tables):
    found = tables["scores"].assign(metric="recall@1")
    none = tables["scores"].assign(value=0.0)
    html = shown({**tables, "scores": pd.concat([found, none])})
    assert "whether a gold document comes first" in html and ">34<" in html
    rows = re.findall(r"<tr><td.*?</tr>", html[html.index("Who is") :])
    assert all(">wrong</small>" in row for row in rows), "below an answer stands whether it is exact"


def test_a_run_without_a_scored_question_shows_an_empty_table(tables):
    assert shown({**tables, "scores": tables["scores"].iloc[:0]}).count("<table") == 1

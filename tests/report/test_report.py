"""Tables, figures and sentences, on made-up tables whose figures are known."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from zmem_lib.evaluation import scoring
from zmem_lib.evaluation.pairs import pair_table
from zmem_lib.params import read_params
from zmem_lib.report import control_tables, memory_tables, page, system_tables
from zmem_lib.report.figures import COLOURS, CURVES
from zmem_lib.report.findings import findings
from zmem_lib.report.findings_controls import asked_or_not
from zmem_lib.report.headline import costs_by_step
from zmem_lib.report.verdict import setting, verdict
from zmem_lib.tables import CHANCES, COMPARED, SYSTEMS, TABLES, TEST_PARTS, check

N = 60
SHARE = {
    "zmem": 0.2, "zmem-oracle": 0.6, "zmem-shuffled": 0.05, "zmem-similar": 0.1, "zmem-random": 0.05, "bm25": 0.8,
    "bm25-asked": 0.6, "dense": 0.5, "dense-tuned": 0.55, "hybrid-rrf": 0.4, "hybrid": 0.55,
    "text-twin": 0.4, "closed-book": 0.0, "chance": 0.0,
    "chance-alike": 0.05, "zmem+text": 0.3, "zmem+bm25": 0.3, "hybrid+rerank": 0.5, "lm-rerank": 0.5,
    "long-context": 0.4,
}  # fmt: skip
HOSTILE = "<script>alert(1)</script> $x$ & 'q'"


def empty(table):
    return check(pd.DataFrame({name: pd.Series(dtype=object) for name in TABLES[table]}), table)


@pytest.fixture(scope="module")
def tables():
    rows = []
    for system in (*SYSTEMS, *CHANCES):
        share = SHARE.get(system, 0.9)
        metrics = ["em", "f1", "answer_in_evidence", "evidence_tokens", "input_tokens", "output_tokens"]
        metrics += ["recall@1", "recall@5", "recall@20"] if system in COMPARED else []
        for part in ("seen", "new"):
            for metric in ["answer_in_evidence"] if system in CHANCES else metrics:
                values = (
                    [17.0] * N if metric.endswith("tokens") else [1.0] * int(share * N) + [0.0] * (N - int(share * N))
                )
                rows += [(f"{part}{i}", system, part, "", metric, value) for i, value in enumerate(values)]
    scores = pd.DataFrame(rows, columns=list(TABLES["scores"]))
    kinds = ["right"] * 12 + ["wrong z"] * 24 + ["wrong evidence"] * 18 + ["wrong reading"] * 6
    failures = [
        (f"{part}{i}", s, part, kind) for s in SYSTEMS for part in ("seen", "new") for i, kind in enumerate(kinds)
    ]
    costs = [(system, 12.0, 0.25, 3_000_000, 2_000_000_000, 0.0, 120) for system in SYSTEMS]
    curve = [
        (start, step, 0.1 * step, 4.0 - step, metric, 0.1 * step, 0.1 * step - 0.05, 0.1 * step + 0.05, 40)
        for start in ("mean", "random")
        for step in (0, 1, 2, 5)
        for metric in CURVES
    ]
    selectors = [
        (selector, part, metric, value, value - 0.1, value + 0.1, N)
        for selector, value in (("key", 0.4), ("key_then_likelihood", 0.6))
        for part in ("seen", "new")
        for metric in (*control_tables.RANKED, "seconds")
    ]
    retention = [("seen", 0.9, 0.8, 0.97, N, 0.7), ("new", np.nan, np.nan, np.nan, N, 0.05)]
    return {
        "scores": scores,
        "summary": scoring.summarise(scores, 200, seed=1),
        "pairs": pair_table(scores, 200, seed=1),
        "failures": pd.DataFrame(failures, columns=list(TABLES["failures"])),
        "costs": pd.DataFrame(costs, columns=list(TABLES["costs"])),
        "write_curve": pd.DataFrame(curve, columns=list(TABLES["write_curve"])),
        "selectors": pd.DataFrame(selectors, columns=list(TABLES["selectors"])),
        "retention": pd.DataFrame(retention, columns=list(TABLES["retention"])),
        "abstention": empty("abstention"),
        "damage": empty("damage"),
        "asked": pd.DataFrame([("seen", "asked", 0), ("new", "asked", 0)], columns=list(TABLES["asked"])),
    }


@pytest.fixture(scope="module")
def params():
    return read_params("params/tiny.yaml", ["evaluate.bootstrap_samples=200"])


def without_systems(tables, *systems):
    kept = {}
    for name, table in tables.items():
        columns = [column for column in ("system", "first", "second") if column in table]
        kept[name] = table[~table[columns].isin(systems).any(axis=1)]
    return kept


def all_of(sections):
    return "\n".join(sentence for sentences in sections.values() for sentence in sentences)


def test_findings_say_plainly_that_z_memory_is_worse(tables, params):
    said = findings(tables, params)
    text = all_of(said)
    assert "worse than BM25 (−0.60 [" in text and "Most right" not in text
    assert "what is written comes from the document's own z" in text
    assert "Given the right z, the model writes the answer for 0.60 [" in said["short"][0]
    assert "(n = 60)" in text and "60.0" not in text
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
    level = tables | {"scores": same, "summary": scoring.summarise(same, 200, seed=1)}
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
        "another document's z for 0.05 [0.00, 0.10] (minus that +0.00 [+0.00, +0.00]: not to be told from chance)"
    )
    assert shuffled in said[0]
    assert "the most similar other document's z for 0.10 [" in said[0] and "+0.05 [+0." in said[0]
    assert "right z minus the most similar other document's z +0.50 [" in said[0]
    assert said[1].startswith("**Bounds, seen documents.** Without any evidence the reader answers 0.00 [0.00, 0.00]")


def test_retention_is_said_and_shown_and_where_it_is_not_defined(tables, params):
    text = findings(tables, params)["short"][1]
    assert "seen documents 0.90 [0.80, 0.97] (text brings 0.70 F1, n = 60)" in text
    assert "new documents not defined (text brings 0.05 F1, n = 60)" in text
    html = control_tables.retention_overview(tables["retention"]).to_html()
    assert "0.90<br><small>[0.80, 0.97]" in html and "not defined" in html and "nan" not in html
    assert len(findings(tables | {"retention": empty("retention")}, params)["short"]) == 1


def test_ways_of_choosing_stand_side_by_side_with_their_time(tables, params):
    said = findings(tables, params)["selecting"]
    assert len(said) == 2 and "`key` 0.40 [0.30, 0.50], 400.0 ms; `key_then_likelihood` 0.60 [" in said[0]
    html = control_tables.selector_overview(tables["selectors"]).to_html()
    assert html.count("<small>[") == 4 * 5 and html.count(">600.0<") == 2 and "ms per question" in html
    assert [axis.get_title() for axis in control_tables.selector_curves(tables["selectors"]).axes] == [
        "seen documents (n = 60)", "new documents (n = 60)",
    ]  # fmt: skip


def test_documents_with_and_without_training_questions_stand_side_by_side(tables, params):
    assert not findings(tables, params)["asked"]  # no seen document is without
    summary = tables["summary"]
    third = summary[summary["part"] == "seen"].assign(part="unasked-document", n=30)
    third["value"] = third["value"] / 2
    both = pd.concat([summary, third])
    said = asked_or_not(both)
    assert "(n = 60 and 30). Found first z-memory 0.20 and 0.10, z-memory's choice, read as text 0.30 and 0.15," in said
    assert ", BM25 0.80 and 0.40," in said
    html = control_tables.apart_overview(both).to_html()
    assert "exact match<br>with<" in html and "exact match<br>without<" in html and "n: with 60, without 30" in html
    assert "zmem-shuffled" not in html and "zmem-oracle" in html and "nan" not in html
    assert "without<" not in control_tables.apart_overview(summary).to_html()


def test_writing_is_told_from_every_start():
    rows = [("encode", step, 3.0 - step, 0.5 * step, 1.0 - step, 0.02 * step, 8) for step in (0, 1)]
    log = pd.DataFrame(rows, columns=list(TABLES["write_log"]))
    assert memory_tables.writing_finding(log).data == (
        "- start `encode`: 3.00 → **2.00** nats per token in 1 steps, recited greedily 0% → **50%** of a text, 20 ms "
        "per document (8 documents in batches, 0% of them still being written)"
    )


def test_absent_parts_and_systems_are_left_out(tables, params):
    only_seen = {n: t[t["part"] == "seen"] if "part" in t else t for n, t in tables.items()}
    bare = only_seen | {"write_curve": empty("write_curve")}
    text = all_of(findings(bare, params))
    assert "new documents" not in text and "Writing" not in text
    controls_only = findings(without_systems(bare, "zmem", "bm25", "dense"), params)
    assert controls_only["controls"] and not controls_only["choosing"]
    for figure in (system_tables.quality_bars(bare["summary"], "em"), system_tables.recall_curves(bare["summary"])):
        assert isinstance(figure, Figure)
    assert system_tables.summary_text(bare["summary"]).startswith("seen documents, n = 60")
    assert isinstance(system_tables.write_quality(bare["write_curve"]), Figure)


def test_a_run_without_the_part_seen_has_a_whole_report(tables, params, tmp_path):
    """As with MIRAGE, where no test question is about a document that training asks about."""
    apart = {name: table.replace({"part": {"seen": "unasked-document"}}) for name, table in tables.items()}
    said = findings(apart, params)
    assert "on unasked documents (n = 60) z-memory with 0.20 is worse than BM25 with 0.80" in verdict(apart, params)[1]
    assert len(said["answers"]) == len(said["evidence"]) == len(said["failures"]) == 2 == len(said["controls"]) / 2
    assert "seen documents" not in all_of(said)
    assert system_tables.summary_text(apart["summary"]).startswith("unasked documents, n = 60")
    html = system_tables.summary_tables(apart["summary"]).data
    assert html.count("<table") == 2 and "Part unasked-document: n = 60" in html and "Part seen" not in html
    assert ">17<" in cost_html(apart, params)
    for figure in (system_tables.recall_curves(apart["summary"]), system_tables.failure_bars(apart["failures"])):
        assert [axis.get_title() for axis in figure.axes] == ["unasked documents (n = 60)", "new documents (n = 60)"]
    assert isinstance(system_tables.quality_bars(apart["summary"], "em"), Figure)
    ids = [f"{part}{i}" for part in ("seen", "new") for i in range(N)]
    questions = pd.DataFrame({"question_id": ids, "question": "?", "answers": [["x"]] * len(ids)})
    answers = pd.DataFrame({"question_id": ids, "evidence": [["e"]] * len(ids), "answer": "a"})
    examples = system_tables.failure_examples(apart["failures"], questions, answers, system="zmem").to_html()
    assert examples.index("unasked-document") < examples.index(">new<")


def test_three_parts_stand_beside_each_other(tables, params):
    third = {n: t[t["part"] == "seen"].assign(part="unasked-document") for n, t in tables.items() if "part" in t}
    three = tables | {name: pd.concat([tables[name], table]) for name, table in third.items()}
    assert len(findings(three, params)["choosing"]) == 3
    for figure in (system_tables.recall_curves(three["summary"]), system_tables.failure_bars(three["failures"])):
        assert len(figure.axes) == 3
        figure.draw_without_rendering()  # lays it out
        assert figure.get_tightbbox().x0 >= -0.01 and figure.get_tightbbox().x1 <= 7.01
    order = [system_tables.summary_tables(three["summary"]).data.index(f"Part {part}:") for part in TEST_PARTS]
    assert order == sorted(order)


def test_what_was_run_says_how_many_questions_are_about_unasked_documents(params):
    rows = [("train", ["a"]), ("test", ["a"]), ("test", ["b"]), ("new-test", ["c"])]
    questions = pd.DataFrame(rows, columns=["split", "gold_doc_ids"])
    docs = pd.DataFrame({"part": ["seen", "seen", "new"]})
    said = setting(docs, questions, params)
    assert "2 seen documents with 2 test questions (1 of them about *unasked documents*" in said
    assert "unasked" not in setting(docs, questions.iloc[[0, 1, 3]], params)


def test_summary_table_has_every_system_in_order_with_intervals(tables):
    html = system_tables.summary_table(tables["summary"], "seen").to_html()
    rows = re.findall(r"row_heading level0 row\d+\" >([^<]+)<", html)
    assert rows == [*SYSTEMS, *CHANCES] and "n = 60" in html
    assert html.count("<small>[") == len(SYSTEMS) * 3 + len(COMPARED) + len(CHANCES)
    assert f"Bold: best of {', '.join(COMPARED)}." in html
    bold = re.search(r"([^}]*)\{\s*font-weight: bold", html).group(1)
    assert set(re.findall(r"row(\d+)_", bold)) == {str(SYSTEMS.index("bm25"))}
    assert html == system_tables.summary_table(tables["summary"], "seen").to_html()  # the same bytes in every run


def cost_html(tables, params):
    curve = tables["write_curve"]
    spent = costs_by_step(tables["costs"], tables["summary"], curve, train_seconds=9.0, start=params.write.start)
    return page.costs_table(spent, curve, params).data


def test_cost_table_and_text(tables, params):
    html = cost_html(tables, params)
    assert ">3.00<" in html and ">2.00<" in html and ">17<" in html and "nan" not in html.lower()
    text = system_tables.summary_text(tables["summary"])
    assert [line.split()[0] for line in text.splitlines()[2 : 2 + len(SYSTEMS)]] == list(SYSTEMS)
    assert max(map(len, text.splitlines())) <= 100
    assert "nan" not in text.lower()


def test_failure_counts(tables):
    html = system_tables.failure_table(tables["failures"]).to_html()
    assert re.findall(r'class="data row0 col\d+" >(\d+)<', html) == ["12", "24", "18", "6", "60"]


def test_text_of_a_corpus_is_escaped(tables):
    ids = [f"{part}{i}" for part in ("seen", "new") for i in range(N)]
    questions = pd.DataFrame(
        {"question_id": ids, "question": HOSTILE, "answers": [[HOSTILE]] * len(ids), "evidence": "own"}
    )
    answers = pd.DataFrame({"question_id": ids, "part": "seen", "answer": HOSTILE})
    answers["evidence"] = [[HOSTILE] for _ in ids]
    html = system_tables.failure_examples(tables["failures"], questions, answers, system="zmem").to_html()
    assert html.count("&lt;script&gt;") == 4 * 2 * 2 * 4 and "<script" not in html and "mathjax_ignore" in html


def test_missing_values_are_counted():
    metrics = ["em", "ragas_string_presence", "ragas_context_recall", "ragas_context_recall"]
    table = system_tables.missing_table(pd.DataFrame({"metric": metrics, "value": [1.0, 1.0, np.nan, 0.5]}))
    assert table.to_dict("index") == {
        "ragas_string_presence": {"missing": 0, "of": 1},
        "ragas_context_recall": {"missing": 1, "of": 2},
    }


def test_bars_show_the_values_and_intervals(tables):
    figure = system_tables.quality_bars(tables["summary"], "em")
    (axis,) = figure.axes
    assert [round(bar.get_height(), 2) for bar in axis.patches][:2] == [0.2, 0.2]
    assert len(axis.containers) == 2 * len(SYSTEMS)  # bars and intervals
    (axis,) = system_tables.quality_bars(tables["summary"], "answer_in_evidence", system_tables.CONTROLLED).axes
    labels = [container.get_label() for container in axis.containers if not container.get_label().startswith("_")]
    assert labels[0] == "zmem" and set(labels) == set(system_tables.CONTROLLED) and labels[-2:] == list(CHANCES)
    (axis,) = figure.axes
    assert axis.patches[0].get_facecolor()[:3] == pytest.approx(
        tuple(int(COLOURS["zmem"][i : i + 2], 16) / 255 for i in (1, 3, 5))
    )


def test_figures_fit_700_pixels_and_nothing_sticks_out(tables, tmp_path):
    steps = np.arange(1, 41)
    log = pd.DataFrame({"step": steps, "term": "recite", "split": "train", "nll": 4.0 / steps, "seconds": 1.0})
    dev = log.iloc[::10].assign(split="dev")
    write_log = tables["write_curve"].rename(columns={"recite_nll": "nll", "value": "recited"})
    figures = [
        system_tables.loss_curves(pd.concat([log, dev, log.assign(term="read")])),
        system_tables.write_loss(write_log),
        system_tables.write_quality(tables["write_curve"]),
        system_tables.quality_bars(tables["summary"], "f1"),
        system_tables.recall_curves(tables["summary"]),
        system_tables.failure_bars(tables["failures"]),
        system_tables.quality_bars(tables["summary"], "answer_in_evidence", system_tables.CONTROLLED),
        control_tables.selector_curves(tables["selectors"]),
    ]
    for number, figure in enumerate(figures):
        assert figure.get_size_inches()[0] == 7
        figure.savefig(tmp_path / f"{number}.png")
        frame = figure.get_tightbbox()  # inches
        assert frame.x0 >= -0.01 and frame.x1 <= 7.01, (number, frame)
        labelled = [axis for axis in figure.axes if axis.get_xlabel() or axis.get_ylabel()]
        inner = (
            system_tables.write_quality(tables["write_curve"]) and number == 2
        )  # its right panels share what is on the left
        assert inner or labelled == [axis for axis in figure.axes if axis.get_visible()]
    assert len(list(Path(tmp_path).glob("*.png"))) == len(figures)


def test_a_section_without_sentences_shows_nothing():
    assert system_tables.bullets([])._repr_markdown_().strip() == "" and system_tables.bullets([])._repr_markdown_()
    assert system_tables.bullets(["one", "two"])._repr_markdown_() == "- one\n- two"


def test_what_the_model_asked_itself_and_what_it_forgot_is_said(tables, params):
    said = findings(tables, params)
    assert not said["asked"]
    own = [("seen", "asked", 70), ("seen", "kept", 42), ("new", "asked", 0)]
    own = pd.DataFrame(own, columns=list(TABLES["asked"]))
    rows = [("before", 9.0, 8.0, 10.0, 64), ("after", 18.0, 16.0, 20.0, 64), ("factor", 2.0, 1.9, 2.1, 64)]
    damage = pd.DataFrame(rows, columns=list(TABLES["damage"]))
    now = findings({**tables, "asked": own, "damage": damage}, params)
    assert "About seen documents 70, of which 42 are learned" in now["asked"][0]
    assert "new documents" not in now["asked"][0]
    assert "2.000 times as much [1.900, 2.100] (n = 64 pieces)" in now["controls"][-1]
    assert len(now["controls"]) == len(said["controls"]) + 1

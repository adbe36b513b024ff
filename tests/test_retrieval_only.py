"""A run without a language model: the retrieval opponents alone, through the pipeline to what the book is made of."""

import nbformat
import pandas as pd
import pytest
import torch
from conftest import ROOT, zmem

from zmem_lib.chapters import chapters_of, is_finished
from zmem_lib.combinations import refuse_memoryless
from zmem_lib.evaluation.metrics import METRICS
from zmem_lib.files import LOCK, BadInput
from zmem_lib.params import changed, check_params, flat, read_params
from zmem_lib.report.book import BOOK, assemble, finished_runs, run_notebooks
from zmem_lib.report.results import keep_run, read_kept
from zmem_lib.report.verdict import fused
from zmem_lib.runs.duration import L4, estimate_seconds
from zmem_lib.runs.kernel import NEEDS_LM
from zmem_lib.runs.plan import plan_lines, summary_lines
from zmem_lib.systems.collection import open_collection
from zmem_lib.systems.evidence import answer, pick_questions
from zmem_lib.systems.holdings import Holdings
from zmem_lib.systems.systems import compared, possible_systems, which
from zmem_lib.tables import OF_MEMORY, read_table

ALONE = {
    "run": "alone", "lm.name": "none", "lm.vocab_size": 0, "lm.hidden_size": 0, "lm.layers": 0, "lm.heads": 0,
    "corpus.absent_questions": 0, "answer.noise_questions": 0, "answer.long_context_tokens": 0,
    "answer.dense_epochs": 1, "evaluate.bootstrap_samples": 100,
}  # fmt: skip
CHAPTERS = ["01_corpus", "02_tuples", "05_baselines", "06_eval", "07_report"]
SYSTEMS = set(which(lambda system: system.without_lm)) - {"hybrid+rerank"}


@pytest.fixture
def alone(smoke_params):
    return changed(smoke_params, ALONE)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A runs folder with one run of the chapters that stand without a model."""
    runs = tmp_path_factory.mktemp("alone") / "runs"
    settings = [f"{key}={value}" for key, value in ALONE.items()]
    done = zmem("run", "params/smoke.yaml", "--runs", runs, "--set", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines() if "done in" in line] == CHAPTERS
    assert done.stderr.strip() == ""
    return runs


def test_five_chapters_are_executed_without_the_cells_that_need_a_model(runs):
    folder = runs / "alone"
    assert sorted(path.stem for path in folder.glob("*.ipynb")) == CHAPTERS
    assert all(is_finished(folder, number, read_params(folder / "params.yaml")) for number in (1, 2, 5, 6, 7))
    for name in CHAPTERS:
        cells = nbformat.read(folder / f"{name}.ipynb", as_version=4).cells
        assert not [cell for cell in cells if NEEDS_LM in cell.metadata.get("tags", [])], name
        template = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
        staying = [cell for cell in template.cells if NEEDS_LM not in cell.metadata.get("tags", [])]
        assert len(cells) == len(staying) + 1, "and the injected parameters"
    text = (folder / "05_baselines.ipynb").read_text(encoding="utf-8")
    assert "This run has no language model" in text and "nothing in front of a question" in text


def test_retrievers_answer_with_passages_that_nobody_reads(runs):
    folder = runs / "alone"
    params = read_params(folder / "params.yaml")
    found = {path.stem.removeprefix("answers_"): path for path in folder.glob("answers_*.parquet")}
    assert set(found) == SYSTEMS
    docs = read_table(folder / "docs.parquet", "docs")
    for name, path in found.items():
        answers = read_table(path, "answers")
        assert (answers["answer"] == "").all() and (answers["input_tokens"] == 0).all(), name
        assert not (answers["part"] == "trained").any()
        words = answers["evidence"].map(lambda items: len(" ".join(items).split()))
        assert (answers["evidence_tokens"] == words).all() and words.between(1, params.memory.evidence_tokens).all()
        assert answers["ranked_doc_ids"].map(len).min() == (min(20, len(docs)) if name in compared() else 0), name


def test_no_measure_of_an_answer_is_computed_and_those_of_retrieval_are(runs):
    summary = read_table(runs / "alone/summary.parquet", "summary")
    assert (
        not set(summary["metric"]) & {name for name, metric in METRICS.items() if metric.reader}
        and set(summary["system"]) == SYSTEMS
    )
    wanted = {"recall@1", "recall@5", "recall@20", "mrr@10", "ndcg@10", "answer_in_evidence", "evidence_tokens"}
    assert wanted <= set(summary["metric"])
    assert (summary.query("metric == 'recall@20'")["value"] > 0.5).all(), "24 + 8 documents"
    costs = read_table(runs / "alone/costs.parquet", "costs").set_index("system")
    assert set(costs.index) == SYSTEMS
    assert ((costs["build_seconds"] > 0) == costs.index.isin(compared())).all()
    assert "exact match" not in (runs / "alone/06_eval.ipynb").read_text(encoding="utf-8")


def test_what_it_does_not_have_is_there_without_a_row(runs):
    for name in OF_MEMORY:
        assert read_table(runs / f"alone/{name}.parquet", name).empty, name


def test_encodings_are_kept_beside_the_runs(runs):
    (model,) = (runs / "encodings").iterdir()
    assert model.name.startswith("packaged-") and {path.suffix or path.name for path in model.iterdir()} == {
        ".made_with",
        ".safetensors",
        LOCK,
    }


def test_the_book_takes_it_alone_and_beside_another(runs, tmp_path):
    assert finished_runs(runs) == ["alone"] and len(run_notebooks(runs / "alone")) == 5
    (runs / "whole").mkdir()
    for name in chapters_of(read_params(ROOT / "params/smoke.yaml")).values():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}")])
        nbformat.write(notebook, runs / f"whole/{name}.ipynb")
    for names, other in ((["alone"], 0), (["alone", "whole"], 7), (["whole", "alone"], 7)):
        source = assemble(runs, names, pages=BOOK, source=tmp_path / "source")
        there = {path.relative_to(source).as_posix() for path in source.rglob("*.ipynb")}
        assert len(there) == 5 + other and "index.ipynb" in there
        assert not {path for path in there if path.startswith(("alone/03", "alone/04"))}


def test_it_is_kept(runs, tmp_path):
    keep_run(runs / "alone", tmp_path / "kept")
    assert set(read_kept(tmp_path / "kept", "summary")["system"]) == SYSTEMS
    assert read_kept(tmp_path / "kept", "right_z").empty and read_kept(tmp_path / "kept", "train_log").empty
    from zmem_lib.report.ablation import kept_runs  # draws

    (tmp_path / "results/runs").mkdir(parents=True)
    (tmp_path / "kept").rename(tmp_path / "results/runs/alone")
    said, table = kept_runs(tmp_path / "results")
    assert "the retrieval opponents alone" in said.data and "recall@1" in table.data


def test_what_needs_a_memory_is_refused_in_a_sentence(runs, alone):
    with pytest.raises(BadInput, match=r"asking.* needs a language model, and run alone has none"):
        open_collection(runs / "alone")
    done = zmem("ask", "alone", "who?", "--runs", runs)
    assert done.returncode == 2 and "has none (lm.name none)" in done.stderr and done.stderr.count("\n") == 1
    with pytest.raises(BadInput, match=r"lm\.name none"):
        refuse_memoryless(alone, "an ablation")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"answer.reader": "api", "answer.api_url": "http://127.0.0.1", "answer.api_model": "m"},
            "answer.reader api needs answers.*set answer.reader to local",
        ),
        (
            {"evaluate.judge": "nli", "evaluate.judge_model": "m"},
            "evaluate.judge nli needs answers.*set evaluate.judge to none",
        ),
        ({"corpus.absent_questions": 3}, "absent_questions 3 needs answers.*set corpus.absent_questions to 0"),
        ({"answer.noise_questions": 3}, "answer.noise_questions 3 needs answers"),
        ({"answer.long_context_tokens": 30}, "answer.long_context_tokens 30 needs answers"),
        ({"run": "encodings"}, "folder that all runs share"),
    ],
)
def test_combinations_that_need_a_reader_are_refused(values, sentence, alone):
    check_params(flat(alone), "here")
    with pytest.raises(BadInput, match=sentence):
        check_params(flat(alone) | values, "here")


def test_chapters_systems_and_plan_follow_from_the_model(alone, smoke_params):
    assert list(chapters_of(alone)) == [1, 2, 5, 6, 7] and list(chapters_of(smoke_params)) == [*range(1, 8)]
    assert set(possible_systems(alone)) == SYSTEMS and {"zmem", "lm-rerank"} <= set(possible_systems(smoke_params))
    assert all(estimate_seconds(alone, number, L4) > 0 for number in chapters_of(alone))
    lines = "\n".join(plan_lines(alone))
    assert "lm.name none" in lines and "05_baselines" in lines and "03_train_joint" not in lines
    assert "| alone | 0.0 |" in "\n".join(summary_lines([alone]))


def test_evidence_is_cut_by_words_and_keeps_its_lines(alone, tmp_path):
    docs, nothing = pd.DataFrame({"doc_id": [], "title": [], "text": []}), torch.empty(0)
    held = Holdings(tmp_path, changed(alone, {"memory.evidence_tokens": 3}), docs, nothing, nothing)
    asked = pd.DataFrame({"question_id": ["a", "b"]})
    readings = answer(asked, held, [["Lund\nLund is  a city", "one"], []], began=0.0)
    assert list(readings.evidence) == [["Lund\nLund is", "one"], []] and list(readings.evidence_tokens) == [4, 0]
    assert list(readings.answer) == ["", ""] and list(readings.input_tokens) == [0, 0]


def test_training_questions_are_not_picked_where_nothing_was_trained(alone, smoke_params):
    questions = pd.DataFrame(
        {"question_id": ["a", "b"], "split": ["train", "test"], "gold_doc_ids": [["d"], ["d"]], "kind": ""}
    )
    assert list(pick_questions(questions, alone)["question_id"]) == ["b"]
    assert list(pick_questions(questions, smoke_params)["question_id"]) == ["a", "b"]


@pytest.mark.parametrize(("p_holm", "told"), [(0.001, True), (0.4, False)])
def test_fusing_by_rank_is_said_to_lose_where_the_test_says_so(p_holm, told, alone, smoke_params):
    values = {"bm25": 0.77, "dense": 0.62, "hybrid-rrf": 0.74, "hybrid": 0.8}
    summary = pd.DataFrame(
        [(name, "seen", "recall@1", value, value - 0.02, value + 0.02, 900) for name, value in values.items()],
        columns=["system", "part", "metric", "value", "ci_low", "ci_high", "n"],
    ).assign(clusters=300)
    pairs = pd.DataFrame(
        [
            ("seen", "recall@1", first, second, values[first] - values[second], 0.0, 0.0, 900, p_holm, p_holm, 0.02)
            for first, second in (("bm25", "hybrid-rrf"), ("bm25", "hybrid"), ("bm25", "dense"))
        ],
        columns=["part", "metric", "first", "second", "value", "ci_low", "ci_high", "n", "p", "p_holm", "detectable"],
    ).assign(clusters=300)
    (said,) = fused({"summary": summary, "pairs": pairs}, alone)
    assert ("worse than BM25 alone with 0.77" in said) == told
    assert ("better than it" in said) == told and ("not told apart" in said) != told
    assert ("dense retrieval with 0.62 pulls BM25 down" in said) == told
    assert fused({"summary": summary, "pairs": pairs}, smoke_params) == [], "of runs without a memory"
    (korean,) = fused({"summary": summary, "pairs": pairs}, changed(alone, {"report.language": "ko"}))
    assert "0.77" in korean and "worse" not in korean


def test_the_parameter_files_take_whole_corpora_and_all_questions():
    for name, documents in (("squad", 2067), ("sleepqa", 7005), ("korquad", 961)):
        params = read_params(ROOT / f"params/retrieval-{name}.yaml")
        assert (params.corpus.documents, params.corpus.new_documents, params.answer.questions) == (documents, 0, 0)
        assert params.run == f"retrieval-{name}" and not params.has_lm
        assert params.corpus.publish_text == (name == "squad"), "of the others no passage may be shown"

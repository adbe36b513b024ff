"""publish_text: where it is false, no text of the corpus stands on any page of a run."""

import json
import re
from html import escape

import nbformat
import pandas as pd
import pytest
from conftest import ROOT, zmem

from zmem_lib.chapters import CHAPTERS

pytestmark = pytest.mark.long

SHOWING = (1, 2, 3, 4, 6, 7)  # chapters that show texts


@pytest.fixture(scope="module")
def hidden_run(tmp_path_factory):
    """The folder of a run of all seven notebooks whose texts are not published."""
    runs = tmp_path_factory.mktemp("hidden")
    settings = (
        "corpus.publish_text=false",
        "evaluate.bootstrap_samples=20",
        "write.steps=5",
        "corpus.absent_questions=8",
    )
    done = zmem("run", "params/smoke.yaml", "--runs", runs, "--set", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return runs / "smoke"


def texts_of(folder):
    """What of the run's texts may not be seen: names, questions, answers, passages; none that a template has too."""
    docs, questions = (pd.read_parquet(folder / f"{name}.parquet") for name in ("docs", "questions"))
    pseudo = pd.concat([pd.read_parquet(folder / f"pseudo_{part}.parquet") for part in ("seen", "new")])
    absent = pd.read_parquet(folder / "absent.parquet")
    names = {word for title in docs["title"] for word in re.findall(r"[A-Z]\w{3,}", title)}
    sentences = {part.strip() for text in docs["text"] for part in text.split(".") if len(part) > 12}
    asked = {*questions["question"], *absent["question"], *pseudo["question"]}
    told = {answer for answers in questions["answers"] for answer in answers}
    templates = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb"))
    every = names | sentences | asked | told
    return {form for text in every for form in (text, escape(text), escape(text, quote=False)) if text not in templates}


def seen_in(path):
    """All that a reader of a notebook or a page can read: sources and outputs, but no picture."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    said = []
    for cell in nbformat.read(path, as_version=4).cells:
        said.append(cell.source)
        for output in cell.get("outputs", []):
            bundle = {kind: text for kind, text in output.get("data", {}).items() if not kind.startswith("image/")}
            said += [
                *map(str, bundle.values()),
                str(output.get("metadata", "")),
                output.get("text", ""),
                "\n".join(output.get("traceback", [])),
            ]
    return "\n".join(said)


def found(path, texts):
    """The texts that stand in a file; a single word only as a whole one."""
    seen = seen_in(path)
    words = set(re.findall(r"\w+", seen))
    return {text for text in texts if (text in words if text.isalnum() else text in seen)}


def test_no_page_of_a_run_holds_a_text_of_its_corpus(hidden_run):
    texts = texts_of(hidden_run)
    pages = [path for kind in ("*.ipynb", "report.json") for path in hidden_run.glob(kind)]
    assert {f"{name}.ipynb" for name in CHAPTERS.values()} | {"report.json"} <= {path.name for path in pages}
    assert {path.name: found(path, texts) for path in pages} == {path.name: set() for path in pages}
    told = [seen_in(hidden_run / f"{CHAPTERS[number]}.ipynb").count("are not shown here") for number in (1, 2, 3, 4, 6)]
    assert all(told), f"a sentence stands in the place of the texts, by chapter: {told}"


def test_what_is_kept_of_such_a_run_holds_no_text(hidden_run, tmp_path):
    done = zmem("keep", "smoke", "--runs", hidden_run.parent, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    texts = texts_of(hidden_run)
    assert len(kept) > 5 and {path.name for path in kept if found(path, texts)} == set()


def test_the_search_finds_what_a_published_run_shows(smoke_runs):
    folder = smoke_runs / "smoke"
    texts = texts_of(folder)
    for number in SHOWING:
        assert found(folder / f"{CHAPTERS[number]}.ipynb", texts), CHAPTERS[number]
    assert json.loads((folder / "report.json").read_text())["params"]["corpus.publish_text"] is True

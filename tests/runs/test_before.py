"""The questions that a model asks about mere texts: which are kept, and when they are asked again."""

import pandas as pd
import pytest

from zmem_lib.data.texts import OWN
from zmem_lib.files import BadInput, read_json
from zmem_lib.params import read_params
from zmem_lib.runs import before
from zmem_lib.tables import TABLES

NAMES = ("Ada", "Bo", "Cyd", "Dov", "Eva", "Fay", "Gus")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder of seven texts and one for the run; a model that asks about the last: by name, and about nobody."""
    (tmp_path / "texts").mkdir()
    for name in NAMES:
        (tmp_path / "texts" / f"{name}.txt").write_text(f"{name} lives in a house.", encoding="utf-8")
    asked = []

    def own_questions(_, docs, n, **options):
        asked.append((list(docs.doc_id), n, len(options["questions"])))
        base = {"doc_id": "Gus.txt#1", "evidence": "Gus lives in a house.", "evidence_start": 0, "split": "train"}
        rows = [
            base | {"question_id": f"pseudo-{i}", "tuple_id": f"pseudo-{i}@Gus.txt#1", "question": said, "answers": []}
            for i, said in enumerate(["Where does Gus live?", "Who lives in a house?"])
        ]
        counts = {"asked": 7, "empty": 4, "duplicate": 1, "unanswerable": 0, "kept": 2}
        kept = pd.DataFrame(rows if n else [], columns=list(TABLES["tuples"]))
        return kept, pd.DataFrame({"what": list(counts), "n": list(counts.values())})

    monkeypatch.setattr("zmem_lib.memory.self_questions.own_questions", own_questions)
    monkeypatch.setattr("zmem_lib.memory.lm.make_memory_lm", lambda *_: None)
    (tmp_path / "run").mkdir()
    return tmp_path, asked


def params_of(folder, *more):
    return read_params("params/mine.yaml", [f"corpus.path={folder / 'texts'}", *more])


def test_a_question_that_does_not_find_its_passage_is_left_out_and_counted(run):
    folder, asked = run
    before.ask_texts(params_of(folder), folder / "run")
    made = read_json(folder / "run" / OWN)
    assert [row["question"] for row in made["questions"]] == ["Where does Gus live?"]
    assert made["questions"][0]["gold_doc_ids"] == ["Gus.txt#1"]
    assert made["left out"] == {
        "own questions, empty": 4, "own questions, duplicate": 1, "own questions, unanswerable": 0, before.UNFOUND: 1,
    }  # fmt: skip
    assert asked == [([f"{name}.txt#1" for name in NAMES], 5, 0)]
    before.ask_texts(params_of(folder), folder / "run")
    assert len(asked) == 1  # the same texts are not asked about again
    (folder / "texts/Ada.txt").write_text("Ada lives in a tent.", encoding="utf-8")
    before.ask_texts(params_of(folder), folder / "run")
    assert len(asked) == 2


def test_where_nothing_of_use_was_asked_the_run_ends_with_a_sentence(run, monkeypatch):
    folder, _ = run
    monkeypatch.setattr(before, "FOUND", 0)
    with pytest.raises(BadInput, match=r"asked nothing of use about .*texts: raise corpus\.own_questions"):
        before.ask_texts(params_of(folder), folder / "run")

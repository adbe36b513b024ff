"""The phrases: both languages have the same keys and placeholders, and notebook 07 says what they say."""

import re
from pathlib import Path
from string import Formatter

import nbformat
import pytest

from zmem_lib.report.wording import phrases
from zmem_lib.runs.kernel import read_template, translate
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import MEASURES, TEST_PARTS

REPORT = Path(__file__).parents[2] / "notebooks/07_report.ipynb"
HANGUL = re.compile("[가-힣]")
AS_THEY_ARE = {
    "verdict.join", "head.size", "metric.f1", "metric.recall@1", "column.n", "cost.n", "row.bm25", "system.bm25",
    "plot.panel", "plot.value", "plot.noise_panel", "limit.shown", "limit.least", "changed.kept", "fact.counts",
}  # fmt: skip


def placeholders(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_keys_and_placeholders():
    english, korean = phrases("en"), phrases("ko")
    assert set(english) == set(korean)
    differing = {key for key in english if placeholders(english[key]) != placeholders(korean[key])}
    assert differing == set()
    assert not any("" in placeholders(text) for text in english.values())  # none by position
    assert {key for key in english if english[key].count("**") != korean[key].count("**")} == set()


def test_korean_is_korean_and_english_is_english():
    assert {key for key, text in phrases("ko").items() if not HANGUL.search(text)} <= AS_THEY_ARE
    assert not [key for key, text in phrases("en").items() if HANGUL.search(text)]


def test_no_particle_follows_a_value_whose_last_sound_is_not_known():
    """은/는, 이/가, 을/를, 과/와 and (으)로 depend on the sound before them, which a placeholder hides."""
    bad = re.compile(r"\}(은|는|이|가|을|를|과|와|으로|로)(\s|$)")
    assert {key: text for key, text in phrases("ko").items() if bad.search(text)} == {}


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_system_part_and_measure_has_a_name(language):
    words = phrases(language)
    assert all(words[f"row.{system}"] and words[f"system.{system}"] for system in SYSTEMS)
    assert len({words[f"row.{system}"] for system in SYSTEMS}) == len(SYSTEMS)
    assert all(words[f"part.{part}"] for part in TEST_PARTS) and all(words[f"metric.{name}"] for name in MEASURES)


def test_the_notebook_says_what_the_phrases_say_and_is_translated_by_cell():
    notebook = nbformat.read(REPORT, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells if cell.cell_type == "markdown"}
    named = {key.removeprefix("cell."): text for key, text in phrases("en").items() if key.startswith("cell.")}
    assert set(named) <= set(cells) and {name: cells[name].source for name in named} == named
    others = {name: cell.source for name, cell in cells.items() if name not in named}
    translate(notebook, "ko")
    assert all(cells[name].source == phrases("ko")[f"cell.{name}"] for name in named)
    assert {name: cells[name].source for name in others} == others


def test_a_template_is_read_with_the_names_it_must_set():
    source = REPORT.read_text(encoding="utf-8")
    assert '"runs = ' in source
    with pytest.raises(Exception, match="must set run, runs, and differs in params_file"):
        read_template(REPORT, {"runs", "run"})

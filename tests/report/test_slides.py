"""The four slides: what they say, and that no text leaves its box."""

import re

import pandas as pd
import pytest
from fake_runs import made_up
from pptx import Presentation

from zmem_lib.params import changed, read_params
from zmem_lib.report.book import copy_slides
from zmem_lib.report.page import page_plots
from zmem_lib.report.slides import link, make_slides, plain, spans
from zmem_lib.report.slides_pptx import write_pptx
from zmem_lib.report.wording import COMPARED, phrases
from zmem_lib.systems.systems import SYSTEMS
from zmem_lib.tables import TABLES, TEST_PARTS, no_rows

PARAMS = read_params("params/smoke.yaml")
INCH, POINT = 914_400, 12_700
HANGUL = re.compile("[가-힣]")


@pytest.fixture
def tables():
    """What fake runs have, and documents and questions."""
    made = made_up(0.5)
    tables = {
        name: pd.DataFrame(made[name], columns=list(TABLES[name]))
        for name in ("summary", "pairs", "costs", "write_curve")
    }
    tables["right_z"] = no_rows("right_z")
    tables["noise"] = pd.DataFrame(columns=list(TABLES["noise"]))
    docs = pd.DataFrame({"doc_id": ["a", "b", "c"], "part": ["seen", "seen", "new"]})
    rows = [("train", ["a"]), ("test", ["a"]), ("test", ["b"]), ("new-test", ["c"])]
    return tables | {"docs": docs, "questions": pd.DataFrame(rows, columns=["split", "gold_doc_ids"])}


@pytest.fixture
def crowded(tables):
    """All systems in three parts, every pair tested, long numbers: as much as a run can have."""
    metrics = ("em", "f1", "answer_in_evidence", "recall@1", "input_tokens", "output_tokens")
    places = [(system, part, metric) for system in SYSTEMS for part in TEST_PARTS for metric in metrics]
    summary = [(*place, 0.5, 0.444, 0.556, 12345, 1234) for place in places]
    tested = [(part, metric, "zmem", other) for part in TEST_PARTS for metric in ("em", "recall@1")
              for other in COMPARED if other != "zmem"]  # fmt: skip
    pairs = [(*pair, -0.1, -0.2, -0.05, 12345, 1234, 0.001, 0.002, 0.1, "exploratory") for pair in tested]
    costs = [(system, *[1234.5] * 3, *[4.115] * 3, 12.345, *[10**10] * 4, 2000, 0.0, 10) for system in SYSTEMS]
    gaps = [(part, "gold+random-sentence", "difference", -0.1, -0.2, 0.0, 12345, 1234) for part in TEST_PARTS]
    made = {"summary": summary, "pairs": pairs, "costs": costs, "right_z": gaps}
    return tables | {name: pd.DataFrame(rows, columns=list(TABLES[name])) for name, rows in made.items()}


def written(tables, folder, language):
    params = changed(PARAMS, {"report.language": language})
    page_plots(tables, folder, params)
    deck = make_slides(tables, params, folder)
    write_pptx(deck, folder / "slides.pptx", language=language)
    return deck


def boxes(path):
    """Of every box of letters in a file: place, its paragraphs, the size of its letters; all in inches."""
    for page in Presentation(path).slides:
        for shape in page.shapes:
            place = [length / INCH for length in (shape.left, shape.top, shape.width, shape.height)]
            if shape.has_table:
                yield from cells(shape.table, place)
            elif shape.has_text_frame:
                yield place, shape.text_frame.paragraphs, 0.0
            else:
                yield place, [], 0.0


def cells(table, place):
    top = place[1]
    for line in table.rows:
        left = place[0]
        for cell, column in zip(line.cells, table.columns, strict=True):
            yield (
                [left, top, column.width / INCH, line.height / INCH],
                cell.text_frame.paragraphs,
                cell.margin_left / INCH,
            )
            left += column.width / INCH
        top += line.height / INCH


def lines_of(paragraph, width):
    """Lines that a paragraph takes, its words wrapped one after the other, by a letter's usual width."""
    size = paragraph.runs[0].font.size / POINT / 72
    lines, at = 1, 0.0
    for word in "".join(run.text for run in paragraph.runs).split(" "):
        long = sum(size if HANGUL.match(letter) else 0.5 * size for letter in word)
        if at and at + long > width:
            lines, at = lines + 1, 0.0
        at += long + 0.25 * size
    return lines * size * 1.2


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("kind", ["tables", "crowded"])
def test_no_text_leaves_its_box_and_no_box_the_slide(kind, language, request, tmp_path):
    written(request.getfixturevalue(kind), tmp_path, language)
    found = list(boxes(tmp_path / "slides.pptx"))
    assert len(found) > 30
    for (left, top, width, height), paragraphs, margin in found:
        assert left >= 0 and top >= 0 and left + width <= 13.34 and top + height <= 7.51
        inside = [one for one in paragraphs if one.runs]
        taken = sum(lines_of(one, width - 2 * margin) for one in inside)
        assert taken <= height + 0.02, [run.text for one in inside for run in one.runs]
        assert all(run.font.size >= 7 * POINT for one in inside for run in one.runs)


def test_the_slides_say_problem_model_set_up_and_results(tables, tmp_path):
    deck = written(tables, tmp_path, "en")
    assert [slide.title for slide in deck] == [phrases("en")[f"{name}.title"] for name in ("problem", "model", "setup",
                                                                                         "results")]  # fmt: skip
    said = " ".join(sentence for slide in deck for sentence in slide.bullets)
    assert "2 seen documents with 2 test questions" in said and "Holm" in said and "`" not in said
    assert "20 gradient steps" in said and "z-memory with 0.50 is better than BM25 with 0.50" in said
    table = deck[3].table.set_index("")
    assert table.loc["z-memory", "seen documents\nexact match\nn = 40"] == "0.50\n[0.40, 0.60]"
    assert table.loc["BM25", "seen documents\nexact match\nn = 40"].startswith("0.50 ▼")
    assert {"right z", "gold passage", "closed book"} <= set(table.index) and "0.00" in table.loc["BM25", "stored (MB)"]
    assert [path.name for path, _ in deck[3].figures] == ["quality.png", "writing.png"]
    shown = Presentation(tmp_path / "slides.pptx")
    texts = [[shape.text_frame.text for shape in page.shapes if shape.has_text_frame] for page in shown.slides]
    for slide, there in zip(deck, texts, strict=True):
        assert there[0] == slide.title and there[1] == "\n".join(slide.bullets).replace("**", "")
    pictures = [shape for page in shown.slides for shape in page.shapes if shape.shape_type == 13]
    assert len(pictures) == 3 and all(one._element.nvPicPr.cNvPr.get("descr") for one in pictures)


def test_korean_slides_are_korean_and_name_a_font_with_hangul(tables, tmp_path):
    deck = written(tables, tmp_path, "ko")
    assert all(HANGUL.search(sentence) for slide in deck for sentence in (slide.title, *slide.bullets))
    fonts = set()
    for page in Presentation(tmp_path / "slides.pptx").slides:
        fonts |= set(
            re.findall(r'<a:ea typeface="([^"]+)"', page._element.xml if hasattr(page._element, "xml") else "")
        )
    assert fonts == {"Malgun Gothic"}
    assert "슬라이드" in link("ko").data


def test_equal_slides_are_equal_files(tables, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written(tables, tmp_path / name, "en")
    one, two = ((tmp_path / name / "slides.pptx").read_bytes() for name in ("one", "two"))
    assert one == two


def test_only_bold_is_marked():
    assert plain("**a** `b` *c*") == "**a** b c" and spans("**a** b") == [("a", True), (" b", False)]


def test_a_run_without_memory_has_slides_too(tables, tmp_path):
    keep = ("bm25", "dense")
    alone = {name: table[table["system"].isin(keep)] if "system" in table else table for name, table in tables.items()}
    alone["summary"] = alone["summary"][alone["summary"]["metric"] != "em"]
    alone["pairs"], alone["write_curve"] = tables["pairs"].iloc[:0], tables["write_curve"].iloc[:0]
    params = changed(PARAMS, {"lm.name": "none"})
    page_plots(alone, tmp_path, params)
    deck = make_slides(alone, params, tmp_path)
    write_pptx(deck, tmp_path / "slides.pptx", language="en")
    assert deck[1].bullets == (phrases("en")["model.none"],) and list(deck[3].table[""]) == ["BM25", "dense"]
    assert [path.stem for path, _ in deck[3].figures] == ["quality"]


def test_slides_lie_beside_the_page_that_links_them(tmp_path):
    for run in ("one", "two", "old"):
        (tmp_path / run).mkdir()
        (tmp_path / "html" / run).mkdir(parents=True)
    for run in ("one", "two"):
        (tmp_path / run / "slides.pptx").write_text(run)
    copy_slides(tmp_path, ["two", "one", "old"], tmp_path / "html")
    assert (tmp_path / "html/slides.pptx").read_text() == "two" and not (tmp_path / "html/two/slides.pptx").exists()
    assert (tmp_path / "html/one/slides.pptx").read_text() == "one" and not list((tmp_path / "html/old").iterdir())
    assert '<a href="slides.pptx">' in link("en").data

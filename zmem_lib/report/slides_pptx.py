"""Slides as a PowerPoint file, by python-pptx: boxes of fixed places, letters as large as fit in them.

Takes slides of slides.py, writes one file. How wide a text is, is estimated from its letters, as no font is at hand.
"""

import unicodedata
import zipfile
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd

from zmem_lib.files import write_atomic
from zmem_lib.report.slides import Slide, spans

INCH, POINT = 914_400, 12_700  # in the units of the file format
PAGE = (13.333, 7.5)  # inches
FONTS = {"en": "Calibri", "ko": "Malgun Gothic"}  # the second has Hangul
TITLE = (0.5, 0.3, 12.33, 0.8)  # left, top, width, height in inches, as in all boxes
WHOLE, HALF, BESIDE = (0.5, 1.4, 12.33, 5.6), (0.5, 1.4, 7.3, 5.6), (8.2, 1.5, 4.6, 5.0)
TOP, LOWER, RIGHT = (0.5, 1.1, 12.33, 1.75), (0.5, 2.95, 7.9, 4.05), (8.6, 2.95, 4.3, 4.3)
UPPER, LOW = 3.0, (1.8, 4.45, 9.7, 2.85)  # height of what stands above a figure below all, and its box
CAPTION = 0.35  # inches below a table
SIZES = (28, 26, 24, 22, 20, 18, 16, 15, 14, 13, 12, 11, 10, 9, 8)  # points, the largest that fits is taken
CELL_SIZES = (16, 14, 12, 11, 10, 9, 8, 7)
LEADING, GAP = 1.25, 0.4  # of a line, and between paragraphs, in heights of a letter
NARROW, BROAD = 0.55, 1.0  # widths of a letter, in its height; broad are Hangul and its like
CELL_SIDE, CELL_TOP = 0.05, 0.02  # margins of a cell, inches
EPOCH = datetime(2000, 1, 1)  # of the file's parts: equal slides are equal files


def write_pptx(deck: Sequence[Slide], path: Path, *, language: str) -> None:
    """Write the slides; a figure keeps its proportions."""
    from pptx import Presentation

    show: Any = Presentation()
    show.slide_width, show.slide_height = (round(length * INCH) for length in PAGE)
    show.core_properties.created = show.core_properties.modified = EPOCH
    show.core_properties.title, show.core_properties.author = deck[0].title, "zmem"
    for slide in deck:
        _add(show.slides.add_slide(show.slide_layouts[5]), slide, FONTS[language])  # the layout of a title alone
    made = BytesIO()
    show.save(made)
    write_atomic(path, lambda temporary: Path(temporary).write_bytes(same_bytes(made)))


def same_bytes(made: BytesIO) -> bytes:
    """The file with one fixed time for all of its parts."""
    out = BytesIO()
    with zipfile.ZipFile(made) as parts, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as fixed:
        for name in parts.namelist():
            part = zipfile.ZipInfo(name, EPOCH.timetuple()[:6])
            part.compress_type = zipfile.ZIP_DEFLATED
            fixed.writestr(part, parts.read(name))
    return out.getvalue()


def _add(page: Any, slide: Slide, font: str) -> None:
    title = page.shapes.title
    title.left, title.top, title.width, title.height = _units(TITLE)
    _fill(title, [f"**{slide.title}**"], TITLE, font, sizes=SIZES)
    high = UPPER if slide.below else WHOLE[3]
    box = WHOLE if slide.table is None else TOP if slide.figures else (*HALF[:3], high)
    _fill(page.shapes.add_textbox(*_units(box)), slide.bullets, box, font, sizes=SIZES[SIZES.index(20) :])
    if slide.table is not None:
        box = LOWER if slide.figures else (*BESIDE[:3], high)
        below = _add_table(page, slide.table, box, font)
        if slide.caption:
            box = (box[0], below, box[2], CAPTION)
            _fill(page.shapes.add_textbox(*_units(box)), [slide.caption], box, font, sizes=CELL_SIZES[3:])
    if slide.below:
        _add_figure(page, *slide.below, LOW)
    for place, (path, shows) in enumerate(slide.figures):
        height = RIGHT[3] / len(slide.figures)
        _add_figure(page, path, shows, (RIGHT[0], RIGHT[1] + place * height, RIGHT[2], height))


def _fill(shape: Any, sentences: Sequence[str], box: tuple, font: str, *, sizes: Sequence[int]) -> None:
    """Put sentences into a box, a paragraph each, in the largest letters of `sizes` that fit."""
    size = fitting(sentences, box, sizes)
    frame = shape.text_frame
    frame.word_wrap = True
    frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
    for place, sentence in enumerate(sentences):
        paragraph = frame.paragraphs[0] if place == 0 else frame.add_paragraph()
        paragraph.space_after = round(GAP * size * POINT)
        paragraph.line_spacing = 1.0
        _write(paragraph, spans(sentence), size, font)


def _write(paragraph: Any, pieces: Sequence[tuple[str, bool]], size: int, font: str) -> None:
    for text, bold in pieces:
        run = paragraph.add_run()
        run.text, run.font.size, run.font.bold, run.font.name = text, size * POINT, bold, font
        east = run.font._element.makeelement("{http://schemas.openxmlformats.org/drawingml/2006/main}ea")
        east.set("typeface", font)  # python-pptx names the Latin letters' font only
        run.font._element.append(east)


def _add_table(page: Any, table: pd.DataFrame, box: tuple, font: str) -> float:
    """Add a table, return where it ends, in inches; columns without names have no head."""
    rows = [list(row) for row in table.itertuples(index=False)]
    headed = all(isinstance(name, str) for name in table.columns)
    rows = [list(table.columns), *rows] if headed else rows
    size, widths, heights = fitting_table(rows, box)
    frame = page.shapes.add_table(len(rows), len(rows[0]), *_units((*box[:2], sum(widths), sum(heights))))
    made = frame.table
    made.first_row, made.horz_banding = headed, True
    for place, width in enumerate(widths):
        made.columns[place].width = round(width * INCH)
    for line, (row, height) in enumerate(zip(rows, heights, strict=True)):
        made.rows[line].height = round(height * INCH)
        for place, text in enumerate(row):
            cell = made.cell(line, place)
            cell.margin_left = cell.margin_right = round(CELL_SIDE * INCH)
            cell.margin_top = cell.margin_bottom = round(CELL_TOP * INCH)
            for number, part in enumerate(text.split("\n")):
                paragraph = cell.text_frame.paragraphs[0] if number == 0 else cell.text_frame.add_paragraph()
                _write(paragraph, [(part, headed and line == 0)], size, font)
    return box[1] + sum(heights)


def _add_figure(page: Any, path: Path, shows: str, box: tuple) -> None:
    picture = page.shapes.add_picture(str(path), *_units(box)[:2])
    scale = min(box[2] * INCH / picture.width, box[3] * INCH / picture.height)
    picture.width, picture.height = round(scale * picture.width), round(scale * picture.height)
    picture._element.nvPicPr.cNvPr.set("descr", shows)  # read aloud where the picture cannot be seen


def fitting(sentences: Sequence[str], box: tuple, sizes: Sequence[int]) -> int:
    """The largest of `sizes`, in points, at which the sentences fit into the box; the smallest where none does."""
    for size in sizes:
        lines = sum(lines_of(sentence.replace("**", ""), box[2], size) for sentence in sentences)
        if (LEADING * lines + GAP * len(sentences)) * size / 72 <= box[3]:
            return size
    return sizes[-1]


def lines_of(text: str, width: float, size: float) -> int:
    """Lines that a text takes in a box of so many inches, its words put one after the other."""
    lines = 0
    for part in text.split("\n"):
        lines, at = lines + 1, 0.0
        for word in part.split(" "):
            long = width_of(word, size)
            if at and at + long > width:
                lines, at = lines + 1, 0.0
            lines += max(0, ceil(long / width) - 1)  # a word that is longer than a line
            at += long + width_of(" ", size)
    return lines


def width_of(text: str, size: float) -> float:
    """Inches of a text on one line, estimated."""
    broad = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return (BROAD * broad + NARROW * (len(text) - broad)) * size / 72


def fitting_table(rows: Sequence[Sequence[str]], box: tuple) -> tuple[int, list[float], list[float]]:
    """Size of letters in points, widths of columns and heights of rows in inches, as large as the box allows."""
    layouts = []
    for size in CELL_SIZES:
        needed = [width_of_column(column, size) for column in zip(*rows, strict=True)]
        widths = [width * min(1.0, box[2] / sum(needed)) for width in needed]
        inside = [width - 2 * CELL_SIDE for width in widths]
        lines = [max(lines_of(*cell, size) for cell in zip(row, inside, strict=True)) for row in rows]
        heights = [LEADING * size / 72 * most + 2 * CELL_TOP for most in lines]
        layouts.append((size, widths, heights))
        if sum(needed) <= box[2] and sum(heights) <= box[3] - CAPTION:
            break
    return layouts[-1]


def width_of_column(cells: Sequence[str], size: float) -> float:
    """Inches in which no line of a cell wraps, but for the first cell's, the head, which may between its words."""
    lines = cells[0].split() + [line for cell in cells[1:] for line in cell.split("\n")]
    return max((width_of(line, size) for line in lines), default=0.0) + 2 * CELL_SIDE + 0.05


def _units(box: tuple) -> tuple[int, ...]:
    return tuple(round(length * INCH) for length in box)

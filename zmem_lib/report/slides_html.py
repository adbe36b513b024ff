"""Slides as one HTML file that asks nobody for anything: its style, its figures and its few lines of script are in it.

Takes slides of slides.py, writes one file. Arrow keys go from slide to slide; printed, each is a page of its own.
"""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from zmem_lib.files import write_atomic
from zmem_lib.report.slides import Slide, spans
from zmem_lib.report.slides_phrases import SLIDES

STYLE = """
  @page { size: 13.333in 7.5in; margin: 0 }
  * { box-sizing: border-box }
  html { scroll-snap-type: y proximity }
  body { margin: 0; background: #e8e8e8; color: #1a1a1a; line-height: 1.35;
         font-family: "Segoe UI", "Malgun Gothic", "Apple SD Gothic Neo", "Noto Sans KR", sans-serif }
  section { background: #fff; width: min(100%, 80rem); min-height: 45rem; margin: 1rem auto; padding: 2.2rem 3rem;
            scroll-snap-align: start; break-after: page; break-inside: avoid; position: relative }
  h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.1rem; color: #004b75 }
  ul { padding-left: 1.1em; margin: 0 0 1rem; font-size: 1.45rem } li { margin-bottom: .6em }
  .columns { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 2rem; align-items: start }
  .below img { display: block; width: 74%; margin: 0 auto } section:has(.below) ul { font-size: 1.2rem }
  .dense h1 { margin-bottom: .6rem } .dense ul { font-size: .95rem } .dense li { margin-bottom: .3em }
  .dense .columns { grid-template-columns: minmax(0, 62fr) minmax(0, 38fr); gap: 1.2rem }
  table { border-collapse: collapse; width: 100% } .dense table { font-size: .68rem; line-height: 1.25 }
  th, td { text-align: left; vertical-align: top; padding: .3em .5em; border-bottom: 1px solid #ccc;
           white-space: pre-line }
  .dense th, .dense td { padding: .15em .3em } th { border-bottom: 2px solid #004b75 }
  .wide { overflow-x: auto }
  figure { margin: 0 0 .5rem } img { width: 100% } small { color: #444 }
  footer { position: absolute; right: 1.2rem; bottom: .7rem; font-size: .8rem; color: #666 }
  @media (max-width: 50rem) { section { padding: 1.2rem; min-height: 0 } .columns, .dense .columns { display: block } }
  @media print { body { background: #fff } html { font-size: 14px }
                 section { margin: 0; width: 100%; min-height: 0; height: 7.45in; overflow: hidden }
                 section:last-of-type { break-after: auto } }
"""
SCRIPT = """
  const slides = [...document.querySelectorAll("section")];
  addEventListener("keydown", pressed => {
    const step = {ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1}[pressed.key];
    if (!step) return;
    const here = slides.findLastIndex(one => one.getBoundingClientRect().top <= innerHeight / 3);
    slides[Math.min(Math.max(here + step, 0), slides.length - 1)].scrollIntoView();
    pressed.preventDefault();
  });
"""


def write_html(deck: Sequence[Slide], path: Path, *, language: str) -> None:
    """Write the slides as one page."""
    body = "\n".join(section(slide, f"{number} / {len(deck)}") for number, slide in enumerate(deck, start=1))
    page = (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'  # else a browser asks the server for one
        f"<title>{escape(deck[0].title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
    write_atomic(path, lambda temporary: Path(temporary).write_text(page, encoding="utf-8"))


def links(language: str) -> HTML:
    """The line of page one that leads to both files of slides, which lie beside that page."""
    words = SLIDES[language]
    ends = {end: f'<a href="slides.{end}">{words[f"link.{end}"]}</a>' for end in ("html", "pptx")}
    return HTML(f"<p>{words['link'].format(**ends)}</p>")


def section(slide: Slide, number: str) -> str:
    """One slide: title, sentences, and beside or below them the table and the figures."""
    sentences = "".join(f"<li>{marked(sentence)}</li>" for sentence in slide.bullets)
    listed, table = f"<ul>{sentences}</ul>", table_of(slide.table, slide.caption)
    figures = "".join(figure(path, shows) for path, shows in slide.figures)
    below = f'<div class="below">{figure(*slide.below)}</div>' if slide.below else ""
    if slide.figures:
        body = f'{listed}<div class="columns"><div>{table}</div><div>{figures}</div></div>'
    else:
        body = f'<div class="columns"><div>{listed}</div><div>{table}</div></div>' if table else listed
    kind = ' class="dense"' if slide.figures else ""
    return f"<section{kind}>\n<h1>{escape(slide.title)}</h1>\n{body}{below}\n<footer>{number}</footer>\n</section>"


def marked(sentence: str) -> str:
    """A sentence as HTML, bold where it is marked so."""
    pieces = [(escape(text), bold) for text, bold in spans(sentence)]
    return "".join(f"<strong>{text}</strong>" if bold else text for text, bold in pieces)


def table_of(table: pd.DataFrame | None, caption: str) -> str:
    """A table as HTML, without a head where its columns have no names; nothing for none."""
    if table is None:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns if isinstance(name, str))
    rows = ["".join(f"<td>{escape(text)}</td>" for text in row) for row in table.itertuples(index=False)]
    body = (f"<tr>{head}</tr>" if head else "") + "".join(f"<tr>{row}</tr>" for row in rows)
    scrolling = f'<div class="wide" tabindex="0"><table>{body}</table></div>'
    return scrolling + (f"<p><small>{escape(caption)}</small></p>" if caption else "")


def figure(path: Path, shows: str) -> str:
    """A PNG file as part of the page."""
    coded = b64encode(path.read_bytes()).decode("ascii")
    return f'<figure><img src="data:image/png;base64,{coded}" alt="{escape(shows)}"></figure>'

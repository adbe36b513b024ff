"""Builds the HTML book: hand-written pages and the executed notebooks of one run or several, by jupyter-book.

The findings (chapter 07) of the first run are the front page, then come its chapters, the other runs, and a page that
compares them. Nothing is executed and nothing is fetched: every asset lies in book/_assets.
"""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path

import nbformat
import pandas as pd
import yaml

from zmem_lib.chapters import CHAPTERS, chapters_by, read_manifest
from zmem_lib.combinations import NO_LM, TEXTS
from zmem_lib.data.texts import OWN
from zmem_lib.files import BadInput, must_exist, read_json
from zmem_lib.memory.table import load_z
from zmem_lib.meter import about
from zmem_lib.params import completed, read_params
from zmem_lib.report.compare import read_runs, write_page
from zmem_lib.report.slides import FILE as SLIDES
from zmem_lib.report.tables import text_table
from zmem_lib.report.wording import template
from zmem_lib.systems.systems import z_files
from zmem_lib.tables import read_table

BOOK = Path(__file__).parents[2] / "book"
ERROR_TAG = "papermill-error-cell-tag"
FINDINGS, UNTESTED = CHAPTERS[7], "untested"  # front pages
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"  # of this environment, whatever PATH says
FONT_PRELOAD = re.compile(r'<link rel="preload" as="font"[^>]*>')  # a browser refuses these in a page opened as a file
IMAGE = re.compile(r'<img alt="([^"]*)" (src="(?:[^"]*/)?_images/([^"/.]+)\.[a-z]+")')  # as Sphinx writes it, no other
NO_WORDS = re.compile(r"\s*|.*\.(png|svg|jpe?g|gif)|png", re.IGNORECASE)  # of an alt that says nothing
TITLE = re.compile(r"<title>(.*?)(?: &#8212;[^<]*)?</title>", re.DOTALL)
OPTIONS = ("-W", "-n", "--keep-going", "-q")  # every warning is an error, and all of them are shown


def finished_runs(runs: Path) -> list[str]:
    """Names of the runs whose executed chapters are all there, the one that ended last first."""
    folders = [path.parent for path in runs.glob(f"*/{CHAPTERS[1]}.ipynb")]
    copies = {folder: [folder / f"{name}.ipynb" for name in chapters_in(folder)] for folder in folders}
    ends = {folder: paths[-1].stat().st_mtime for folder, paths in copies.items() if all(map(Path.is_file, paths))}
    return [folder.name for folder in sorted(ends, key=ends.__getitem__, reverse=True)]


def chapters_in(folder: Path) -> list[str]:
    """Names of the chapters that the run in a folder executes, by `lm.name` and `corpus.name` alone."""
    path = folder / "params.yaml"
    values = completed(yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {})
    return list(chapters_by(has_lm=values["lm.name"] != NO_LM, tests=values["corpus.name"] != TEXTS).values())


def build_book(runs: Path, names: list[str], *, pages: Path = BOOK, out: Path = BOOK) -> Path:
    """Build the book of the named runs in out/_build and return the path of its front page."""
    source = assemble(runs, names, pages=pages, source=out / "_build" / "source")
    html, log = out / "_build" / "html", out / "_build" / "build.log"
    for old in (html, out / "_build" / ".doctrees", out / "_build" / ".jupyter_cache"):
        shutil.rmtree(old, ignore_errors=True)
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(source), "--path-output", str(out), *OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        tail = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if line.strip())[-3000:]
        raise BadInput(f"the book of {', '.join(names)} could not be built (all of it stands in {log}):\n{tail}")
    described = descriptions(source)
    for page in html.rglob("*.html"):
        text = FONT_PRELOAD.sub("", page.read_text(encoding="utf-8"))
        page.write_text(with_descriptions(text, described), encoding="utf-8")
    copy_slides(runs, names, html)
    return html / "index.html"


def descriptions(source: Path) -> dict[str, str]:
    """What every image of the notebooks shows, as canvas.py wrote it down, by the name that the book gives its file."""
    cells = [cell for path in source.rglob("*.ipynb") for cell in nbformat.read(path, as_version=4).cells]
    found = {}
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        said = output.get("metadata", {}).get("image/png", {}).get("alt")
        if said and (image := output["data"].get("image/png")):
            found[hashlib.sha256(base64.b64decode(image)).hexdigest()] = said
    return found


def with_descriptions(page: str, described: Mapping[str, str]) -> str:
    """The page with an alternative text for every image that has none: its description, else the page it is on."""
    title = TITLE.search(page)
    otherwise = f"Figure of the page {title[1].strip()}" if title else "Figure"

    def alt(image: re.Match) -> str:
        said = escape(described[image[3]]) if image[3] in described else otherwise
        return f'<img alt="{said if NO_WORDS.fullmatch(image[1]) else image[1]}" {image[2]}'

    return IMAGE.sub(alt, page)


def assemble(runs: Path, names: list[str], *, pages: Path, source: Path) -> Path:
    """Put pages, notebooks and the table of contents into the source folder, made anew, and return it."""
    copies, fronts = {name: run_notebooks(runs / name) for name in dict.fromkeys(names)}, {}
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(pages, source, ignore=shutil.ignore_patterns("_build"))
    first = next(iter(copies))
    for name, paths in copies.items():
        (source / name).mkdir()
        for path in paths:
            shutil.copyfile(path, source / name / path.name)
        page = front_page(runs / name, source / name)
        fronts[name] = page.stem
        if name == first:
            page.rename(source / f"index{page.suffix}")
    toc = yaml.safe_load((pages / "_toc.yml").read_text(encoding="utf-8"))
    parts = []
    for name in copies:
        chapters = [chapter for chapter in chapters_in(runs / name) if chapter != FINDINGS]
        chapters = chapters if name == first else [fronts[name], *chapters]
        parts.append({"caption": f"Run {name}", "chapters": [{"file": f"{name}/{chapter}"} for chapter in chapters]})
    parts += comparison(runs, list(copies), source)
    toc = {"format": toc["format"], "root": "index", "parts": parts + toc["parts"]}
    (source / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    return source


def front_page(run: Path, source: Path) -> Path:
    """The page of findings among a run's copied chapters, its code hidden; where nothing was measured, another."""
    page = source / f"{FINDINGS}.ipynb"
    if page.is_file():
        page.write_text(page.read_text(encoding="utf-8").replace('"hide-input"', '"remove-input"'), encoding="utf-8")
    else:
        page = source / f"{UNTESTED}.md"
        write_untested(run, page)
    return page


def write_untested(run: Path, page: Path) -> None:
    """Write the front page of a run over texts that came without questions: what it holds, and no figure."""
    params, docs = read_params(run / "params.yaml"), read_table(run / "docs.parquet", "docs")
    asked = read_json(must_exist(run / OWN))
    named = docs.assign(file=docs["doc_id"].str.rpartition("#")[0], words=[len(text.split()) for text in docs["text"]])
    questions = pd.Series([row["gold_doc_ids"][0] for row in asked["questions"]], dtype=str)
    of_file = questions.str.rpartition("#")[0].value_counts()
    table = named.groupby("file", sort=False)["words"].agg(passages="size", words="sum").reset_index()
    table["questions kept"] = table["file"].map(of_file).fillna(0).astype(int)
    z, seconds = load_z(run / z_files(params)[0])[1], [(read_manifest(run, n) or {}).get("seconds", 0) for n in (3, 4)]
    text = template(f"{UNTESTED}_{params.report.language}.md.j2").render(
        run=params.run, passages=f"{len(docs):,}", files=f"{len(table):,}", words=f"{named['words'].mean():.0f}",
        block_kib=f"{z[0].nbytes / 1024:,.1f}", kept=f"{len(questions):,}",
        asked=f"{len(docs) * params.corpus.own_questions:,}", learning=about(seconds[0]), writing=about(seconds[1]),
        table=text_table(table, params, {"files": len(table), "passages": len(docs)}).data,
    )  # fmt: skip
    page.write_text(text, encoding="utf-8")


def copy_slides(runs: Path, names: list[str], html: Path) -> None:
    """Put the slides of each run beside its page of findings, which links to them."""
    for place, name in enumerate(dict.fromkeys(names)):
        if (path := runs / name / SLIDES).is_file():
            shutil.copyfile(path, (html / name if place else html) / SLIDES)


def comparison(runs: Path, names: list[str], source: Path) -> list[dict]:
    """Write the page that compares the runs, where two or more have tables; return its part of the contents."""
    found, left_out = read_runs(runs, names)
    if len(found) < 2:
        return []
    return [{"caption": "All runs", "chapters": [{"file": write_page(found, left_out, source).stem}]}]


def run_notebooks(folder: Path) -> list[Path]:
    """The executed copies of a run's chapters; refuses a run with a missing one or with an error in one."""
    if not folder.is_dir():
        raise BadInput(f"run folder {folder} does not exist: give the name of a run in {folder.parent}")
    paths = [folder / f"{name}.ipynb" for name in chapters_in(folder)]
    for path in paths:
        if not path.is_file():
            raise BadInput(
                f"{path} is missing: let the run go through to its last chapter first (zmem run PARAMS.yaml)"
            )
        cells = nbformat.read(path, as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        errors = [output for cell in code for output in cell.outputs if output.output_type == "error"]
        if errors or any(ERROR_TAG in cell.metadata.get("tags", []) for cell in cells):
            raise BadInput(
                f"{path} holds a failed cell and does not go into the book: execute its chapter again (--from)"
            )
        if any(cell.execution_count is None and cell.source.strip() for cell in code):
            raise BadInput(f"{path} was not executed to its end: execute its chapter again (--from)")
    return paths

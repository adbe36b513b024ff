"""The built book: what does not get into it, and what a real browser says to its pages."""

import functools
import json
import os
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import nbformat
import pytest
import yaml
from conftest import ROOT, zmem
from markup import IN_TEXT, IN_TITLE, with_markup, write_folder

from zmem_lib.chapters import CHAPTERS
from zmem_lib.data.corpus import load_corpus
from zmem_lib.files import BadInput
from zmem_lib.params import changed, read_params
from zmem_lib.report.book import BOOK, assemble, descriptions, finished_runs, with_descriptions

pytestmark = pytest.mark.long

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1300,900"
)

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": False}
WIDER = """
    const page = document.documentElement;
    const loose = [...document.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right > 391);
    if (page.scrollWidth <= page.clientWidth) return [];
    return [page.scrollWidth, ...loose.slice(0, 3).map(one => one.outerHTML.slice(0, 300))];
"""
BOXES = """
    const scrolls = one => one.scrollWidth > one.clientWidth && getComputedStyle(one).overflowX === "auto";
    const above = one => one.tagName === "ARTICLE" ? [] : [one, ...above(one.parentElement)];
    return above(document.querySelector("table.wide").parentElement).some(scrolls);
"""
CONTRASTS = """
    const channels = colour => (colour.match(/[\\d.]+/g) || [0, 0, 0]).map(Number);
    const linear = c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const behind = one => {
        for (; one; one = one.parentElement) {
            const colour = channels(getComputedStyle(one).backgroundColor);
            if (colour.length < 4 || colour[3] > 0.5) return colour;
        }
        return [255, 255, 255];
    };
    const speaks = one => [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    const apart = "svg, script, style, mjx-container, .headerlink";  // the last is seen under the pointer alone
    const texts = [...document.querySelectorAll("article *")].filter(one => speaks(one) && !one.closest(apart));
    return texts.filter(one => one.checkVisibility()).map(one => {
        const pair = [light(channels(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => b - a);
        return [(pair[0] + 0.05) / (pair[1] + 0.05), one.textContent.slice(0, 40)];
    }).filter(([ratio]) => ratio < 4.5);
"""
MADE_OF_MARKUP = """
    const bad = "script, img, a, strong:not(small > strong), b, i, em, code, mjx-container";
    const marks = ["zmemHacked", "**bold**", "$z^2$"];
    const cells = [...document.querySelectorAll("td, li, p, pre")];
    const marked = cells.filter(cell => marks.some(mark => cell.textContent.includes(mark)));
    const loose = document.querySelectorAll("img[src='x'], [onerror], a[href^='javascript:zmem']");
    return [...loose, ...marked.flatMap(cell => [...cell.querySelectorAll(bad)])].map(one => one.outerHTML);
"""


@pytest.fixture
def executed(tmp_path):
    """Two run folders with seven executed copies each that hold one cell."""
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        for name in CHAPTERS.values():
            cell = nbformat.v4.new_code_cell("1", execution_count=1)
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}"), cell])
            nbformat.write(notebook, tmp_path / run / f"{name}.ipynb")
    return tmp_path


def test_findings_of_the_first_run_are_the_front_page(executed):
    assert sorted(finished_runs(executed)) == ["one", "two"]
    source = assemble(executed, ["two", "one"], pages=BOOK, source=executed / "source")
    toc = yaml.safe_load((source / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert toc["root"] == "index" and files[0] == "two/01_corpus" and files[6] == "one/07_report"
    assert files[-2:] == ["method", "related"] and len(files) == 6 + 7 + len(list(BOOK.glob("*.md")))
    assert not (source / "two/07_report.ipynb").exists() and (source / "index.ipynb").exists()


def test_a_run_of_an_older_version_is_shown_too(executed):
    for run, lm in (("one", "scratch"), ("two", "none")):
        (executed / run / "params.yaml").write_text(f"run: {run}\nlm: {lm}\nforgotten: 1\n")
    for name in ("03_train_joint", "04_write_znew"):
        (executed / "two" / f"{name}.ipynb").unlink()
    assert sorted(finished_runs(executed)) == ["one", "two"]
    assemble(executed, ["one", "two"], pages=BOOK, source=executed / "source")
    (executed / "one/03_train_joint.ipynb").unlink()
    assert finished_runs(executed) == ["two"]


@pytest.mark.parametrize("fault", ["error output", "error tag", "not executed", "missing"])
def test_a_failed_notebook_never_gets_into_the_book(fault, executed):
    path = executed / "one/03_train_joint.ipynb"
    notebook = nbformat.read(path, as_version=4)
    if fault == "error output":
        notebook.cells[1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[])]
    if fault == "error tag":
        notebook.cells[0].metadata["tags"] = ["papermill-error-cell-tag"]
    if fault == "not executed":
        notebook.cells[1].execution_count = None
    nbformat.write(notebook, path)
    if fault == "missing":
        path.rename(path.with_suffix(".failed.ipynb"))
    with pytest.raises(BadInput, match=r"03_train_joint\.ipynb"):
        assemble(executed, ["one"], pages=BOOK, source=executed / "source")
    assert not (executed / "source").exists()


@pytest.fixture(scope="module")
def front_page(tmp_path_factory):
    """The front page of ZMEM_BOOK, else of a short run whose corpus is a folder with markup in its texts."""
    if os.environ.get("ZMEM_BOOK"):
        return Path(os.environ["ZMEM_BOOK"]).resolve()
    corpus = load_corpus(changed(read_params(ROOT / "params/smoke.yaml"), {"corpus.documents": 40}))
    docs, questions = with_markup(corpus.docs.assign(part="seen"), corpus.questions, n=len(corpus.docs))
    place = write_folder(docs, questions, tmp_path_factory.mktemp("corpus"))
    runs, out = tmp_path_factory.mktemp("marked"), tmp_path_factory.mktemp("book")
    short = ("write.steps=5", "evaluate.bootstrap_samples=20", "train.steps=10")
    settings = ("corpus.name=folder", f"corpus.path={place}", *short)
    done = zmem("run", "params/smoke.yaml", "--runs", runs, "--set", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    done = zmem("book", "--runs", runs, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "_build/html/index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not CHROMIUM or not DRIVER:
        pytest.skip("there is no Chromium with its driver here (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module", params=["file", "http"])
def address(request, front_page):
    """The book's folder as an address: as files, and from a server on this machine."""
    if request.param == "file":
        yield front_page.parent.as_uri()
        return
    handler = functools.partial(QuietHandler, directory=str(front_page.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def all_pages(front_page):
    """Addresses of the book's own pages, relative to the front page's folder."""
    pages = [path.relative_to(front_page.parent).as_posix() for path in front_page.parent.rglob("*.html")]
    pages = [page for page in pages if page not in ("search.html", "genindex.html") and "_static" not in page]
    assert len(pages) >= 8
    return pages


def test_every_page_loads_whole_and_from_here_only(browser, address, front_page):
    for page in all_pages(front_page):
        browser.get_log("browser"), browser.get_log("performance")
        browser.get(f"{address}/{page}")
        settle(browser)
        requests, failures = traffic(browser, address)
        assert requests and failures == [], page
        assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == [], page
        loud = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        assert loud == [], page
        images = browser.execute_script("return [...document.images].map(i => [i.src.slice(-60), i.naturalWidth])")
        assert [image for image in images if image[1] == 0] == [], page
        assert not browser.execute_script("return document.querySelectorAll('mjx-merror').length"), page


def test_the_front_page_shows_findings_table_and_figures(browser, address):
    browser.get(f"{address}/index.html")
    settle(browser)
    tables = browser.execute_script("return [...document.querySelectorAll('table')].map(t => t.innerText)")
    systems = ("zmem", "zmem-oracle", "zmem-shuffled", "bm25", "dense", "gold-passage", "closed-book")
    assert any(all(system in table for system in systems) for table in tables), "the summary table is not there"
    assert browser.execute_script("return document.querySelectorAll('article img').length") >= 3
    assert "Traceback" not in browser.page_source


def test_the_slides_open_from_the_front_page(browser, address, front_page):
    browser.get(f"{address}/index.html")
    settle(browser)
    found = browser.find_elements("css selector", "article a[href*='slides.']")
    assert [link.get_attribute("href") for link in found] == [f"{address}/slides.pptx"]
    assert (front_page.parent / "slides.pptx").read_bytes()[:2] == b"PK"


@pytest.mark.skipif("ZMEM_BOOK" in os.environ, reason="the corpus of that book has no markup in it")
def test_markup_in_a_corpus_shows_as_text(browser, address, front_page):
    literal = {}
    for page in all_pages(front_page):
        browser.get(f"{address}/{page}")
        settle(browser)
        assert browser.execute_script("return window.zmemHacked === undefined"), f"{page} runs a document's script"
        assert browser.execute_script(MADE_OF_MARKUP) == [], page
        shown = " ".join(browser.find_element("tag name", "body").text.split())
        literal[page] = [markup.strip() in shown for markup in (IN_TEXT, IN_TITLE)]
    assert all(literal["smoke/01_corpus.html"]) and literal["smoke/02_tuples.html"][0], literal

    browser.get(f"data:text/html,<p>{quote(IN_TEXT)}</p>")  # what a page that does not escape it would show
    assert browser.execute_script("return window.zmemHacked") and browser.execute_script(MADE_OF_MARKUP)


def test_an_image_gets_the_description_that_its_notebook_has(tmp_path):
    data, wordless = "iVBORw0KGgo=", "iVBORw0KGgp="
    outputs = [
        nbformat.v4.new_output("display_data", {"image/png": data}, metadata={"image/png": {"alt": 'a < "b"'}}),
        nbformat.v4.new_output("display_data", {"image/png": wordless}),
    ]
    cell = nbformat.v4.new_code_cell("1", execution_count=1, outputs=outputs)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
    described = descriptions(tmp_path)
    (name,) = described
    page = (
        f'<title>2 · Tuples &#8212; zmem</title><img alt="_images/{name}.png" src="_images/{name}.png" />'
        '<img alt="../_images/ab.png" src="../_images/ab.png" /><img alt="a logo" src="_images/cd.svg" />'
    )
    alts = re.findall('alt="([^"]*)"', with_descriptions(page, described))
    assert alts == ["a &lt; &quot;b&quot;", "Figure of the page 2 · Tuples", "a logo"]


def test_every_image_of_the_book_is_described(front_page):
    found = {}
    for page in all_pages(front_page):
        images = re.findall(r"<img\b[^>]*>", (front_page.parent / page).read_text(encoding="utf-8"))
        found[page] = [re.search(r'alt="([^"]*)"', image) for image in images]
    said = [(page, match[1] if match else "") for page, matches in found.items() for match in matches]
    assert len(said) >= 12
    assert [one for one in said if len(one[1]) < 20 or re.search(r"\.(png|svg|jpe?g)$", one[1])] == []
    assert [one for one in said if one[1].startswith("Figure of the page")] == [], "a figure without its own words"


def test_no_page_is_wider_than_a_phone(browser, address, front_page):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        wide = {}
        for page in all_pages(front_page):
            browser.get(f"{address}/{page}")
            settle(browser)
            assert browser.execute_script("return window.innerWidth") == PHONE["width"]
            wide[page] = browser.execute_script(WIDER)
        assert {page: found for page, found in wide.items() if found} == {}
        browser.get(f"{address}/index.html")
        assert browser.execute_script(BOXES), "the headline table cannot be scrolled"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_of_every_page_is_readable_in_light_and_dark(theme, browser, front_page):
    faint = {}
    for page in all_pages(front_page):
        browser.get((front_page.parent / page).as_uri())
        settle(browser)
        browser.execute_script(f"document.documentElement.dataset.theme = '{theme}'")
        dark = browser.execute_script("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark is (theme == "dark")
        faint[page] = browser.execute_script(CONTRASTS)  # WCAG 2.2, 1.4.3
    assert {page: found for page, found in faint.items() if found} == {}


def test_the_search_finds_pages(browser, address):
    browser.get(f"{address}/search.html?q=evidence")
    browser.set_script_timeout(60)
    found = browser.execute_async_script(
        "const done = arguments[0], began = Date.now(), look = () => {"
        "  const hits = document.querySelectorAll('#search-results li').length;"
        "  hits || Date.now() - began > 20000 ? done(hits) : setTimeout(look, 200); }; look();"
    )
    assert found >= 3


def test_formulas_are_drawn(browser, address):
    browser.get(f"{address}/method.html")
    settle(browser)
    assert browser.execute_script("return document.querySelectorAll('mjx-container svg').length") > 20


def settle(browser):
    """Wait until scripts, fonts and formulas are done."""
    browser.set_script_timeout(60)
    browser.execute_async_script(
        "const done = arguments[0]; const math = window.MathJax && MathJax.startup && MathJax.startup.promise;"
        "Promise.all([document.fonts.ready, math]).then(() => setTimeout(done, 300));"
    )


def traffic(browser, address):
    """Addresses that the page asked for, and what failed of them."""
    requests, failures = [], []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        told = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent" and told["documentURL"].startswith(address):
            requests.append(told["request"]["url"])
        if message["method"] == "Network.loadingFailed" and not told.get("canceled"):
            failures.append(told)
        if message["method"] == "Network.responseReceived" and told["response"]["status"] >= 400:
            failures.append(told["response"]["url"])
    return requests, failures

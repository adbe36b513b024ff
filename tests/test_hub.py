"""Files of the hub: a cached snapshot is used offline; what a hub refuses is one sentence with what to do.

The hub here is a small server of this test that answers as the hub does.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT

from zmem_lib.files import BadInput
from zmem_lib.hub import fetch, revision_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ANSWERS = {
    "/gated/": (403, "GatedRepo", "Access to this repository is restricted"),
    "/private/": (401, "RepoNotFound", "Repository not found"),
    "/missing/": (404, "RepoNotFound", "Repository not found"),
    "/moved/": (404, "RevisionNotFound", "Revision not found"),
}
FETCH = """import sys
from zmem_lib.files import BadInput
from zmem_lib.hub import fetch
try:
    fetch(sys.argv[1], "main", kind=sys.argv[2])
except BadInput as refusal:
    print(refusal)"""


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, code, text = next(answer for part, answer in ANSWERS.items() if part in self.path)
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", text)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.mark.parametrize(
    ("repo", "kind", "sentence"),
    [
        (
            "gated/lm",
            "model",
            "model gated/lm is gated: accept its licence on https://huggingface.co/gated/lm, ",
        ),
        ("private/lm", "model", "model private/lm is not on the hub, or is private and needs HF_TOKEN"),
        ("missing/rows", "dataset", "data set missing/rows is not on the hub"),
        ("moved/lm", "model", "model moved/lm has no revision 'main' on the hub"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(repo, kind, sentence, hub, tmp_path):
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path), "NO_PROXY": "*"}
    environment.pop("HF_TOKEN", None)
    done = subprocess.run(
        [sys.executable, "-c", FETCH, repo, kind],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(sentence) and done.stdout.count("\n") == 1


def test_offline_and_not_cached_says_what_to_download_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(BadInput, match=r"HF_HUB_OFFLINE is set.* `hf download some/lm --revision v1 --local-dir DIR`"):
        fetch("some/lm", "v1", kind="model")
    with pytest.raises(BadInput, match=r"--repo-type dataset .* set corpus.path to it"):
        fetch("some/rows", "main", kind="dataset")
    assert time.monotonic() - began < 10


def test_a_cached_snapshot_is_used_offline(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--some--lm"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text(COMMIT)
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "snapshots" / COMMIT / "config.json").write_text("{}")
    for revision in ("main", COMMIT, ""):
        folder = fetch("some/lm", revision, kind="model")
        assert (folder / "config.json").is_file() and revision_of(folder) == COMMIT
    assert revision_of(tmp_path) == ""


@pytest.mark.parametrize("name", ["a b", "a/b/c", "./none", ""])
def test_what_is_no_name_on_the_hub_is_named(name):
    with pytest.raises(BadInput, match="neither a folder that exists"):
        fetch(name, "main", kind="model")

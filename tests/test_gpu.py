"""The session on a GPU, rehearsed on a CPU with a small random model: packed, then run from the packed folder alone."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from families import save_family
from test_school import write_corpus

PACK = ROOT / "bench/gpu/pack.py"


@pytest.mark.long
def test_what_is_packed_runs_alone_and_leaves_its_figures_and_the_adapter(tmp_path):
    texts = [*write_corpus(tmp_path / "other", 100), *write_corpus(tmp_path / "mine", 0)]
    run = {"check": True, "capture_output": True, "text": True, "env": os.environ | {"ZMEM_PROGRESS": ""}}
    places = [tmp_path / "gpu", tmp_path / "other", tmp_path / "mine"]
    subprocess.run([sys.executable, PACK, *places, "--documents", "30", "20", "--rows", "8"], **run)
    code, out = tmp_path / "gpu/code", tmp_path / "out"
    small = {"name": save_family("meta-llama/Llama-3.2-3B-Instruct", tmp_path / "lm", texts), "adapter": ""}
    for name in ("school", "own"):
        params = json.loads((code / f"data/{name}.json").read_text())
        params["lm"] |= small | {"lora_rank": 4, "window_tokens": 512}
        params["memory"] |= {"document_tokens": 48, "evidence_tokens": 24, "z_tokens": 4}
        (code / f"data/{name}.json").write_text(json.dumps(params))
    subprocess.run([sys.executable, "session.py", "data", out, "--seconds", "8"], cwd=code, **run)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["at"] for line in log if "n" in line] == ["start", "schooled", "joint", "written"]
    assert {"school", "joint", "write", "done"} <= {line["at"] for line in log} and log[-1]["clock"] < 60
    measured = next(line for line in log if line["at"] == "written")
    flags = [json.loads(line) for line in (out / "flags.jsonl").read_text().splitlines()]
    last = [line for line in flags if line["at"] == "written"]
    assert [line["what"] for line in last] == ["right z", "another question", "another's z", "text", "recall@1"]
    assert all(len(line["value"]) == len(line["question_id"]) == measured["n"] > 3 for line in last)
    assert (out / "packed/weights.safetensors").is_file() and (out / "lm/adapter_config.json").is_file()

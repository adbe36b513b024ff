"""Pack what session.py needs on a machine with a GPU and no network: the model in two pieces, code, texts, wheels.

python bench/gpu/pack.py OUT TRAIN DEV [--wheels]: corpora in the folder format, to be schooled on and to be written.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch

from zmem_lib.files import BadInput
from zmem_lib.packaged import PACKAGES, part_path
from zmem_lib.params import read_params
from zmem_lib.runs.pipeline import run_chapters
from zmem_lib.systems.evidence import with_another
from zmem_lib.systems.holdings import Holdings
from zmem_lib.tables import read_table

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
PIECE = 50 * 2**20
WHEELS = ("peft", "accelerate", "psutil", "pandas", "python-dateutil", "six", "gguf")  # beside torch and transformers
QUESTIONS = 400  # test questions that are measured
FILES = {"school": "school.yaml", "own": "squad-packaged.yaml"}


def main() -> None:
    """Fill the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("train", help="the corpus that the model is schooled on")
    parser.add_argument("dev", help="the corpus of which all documents are learned and written")
    parser.add_argument("--documents", type=int, nargs=2, default=(15_000, 2_000), help="of the one and of the other")
    parser.add_argument("--rows", type=int, default=128, help="questions of a step; fewer to rehearse on a CPU")
    parser.add_argument("--wheels", action="store_true", help="download the packages that a bare machine lacks")
    options = parser.parse_args()
    code = options.out / "code"
    (code / "data").mkdir(parents=True, exist_ok=True)
    places = {
        "school": [f"corpus.path={options.train}", f"corpus.apart_from={options.dev}", "corpus.new_path="],
        "own": [f"corpus.path={options.dev}", "corpus.new_articles=0"],
    }
    for (name, changes), documents in zip(places.items(), options.documents, strict=True):
        changes += ["corpus.new_documents=0", "corpus.absent_questions=0", f"corpus.documents={documents}"]
        leave(name, [*changes, *batches(options.rows)], options.out, code / "data")
    shutil.copytree(
        PROJECT / "zmem_lib", code / "zmem_lib", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    shutil.copy(HERE / "session.py", code)
    (module, file) = PACKAGES["packaged"].parts[0]
    whole = part_path("packaged", module, file).read_bytes()
    for i, begin in enumerate(range(0, len(whole), PIECE)):
        (options.out / f"piece{i}").mkdir(exist_ok=True)
        (options.out / f"piece{i}/{file}").write_bytes(whole[begin : begin + PIECE])
    if options.wheels:
        wanted = ["--no-deps", "--only-binary=:all:", "--python-version=3.12", "-d", str(code / "wheels")]
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", *wanted, *WHEELS], check=True)
    for path in sorted(options.out.glob("*")):
        size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        print(f"{size / 2**20:7.1f} MiB  {path}")


def batches(rows: int) -> list[str]:
    """What goes side by side on a large GPU, beside so many questions of a step."""
    sizes = {"batch_tuples": rows, "batch_recite": rows // 2, "batch_text": rows // 4, "batch_read": rows // 8}
    large = {"write_batch": rows, "answer_batch": 2 * rows, "scan_batch": 2 * rows}
    return [f"train.{key}={n}" for key, n in sizes.items()] + [f"machine.{key}={n}" for key, n in large.items()]


def leave(name: str, changes: list[str], out: Path, data: Path) -> None:
    """The parameters of a run and its tables, as JSON."""
    params = read_params(PROJECT / "params" / FILES[name], [*changes, f"run=gpu-{name}"])
    folder = run_chapters(params, out / "runs", last=2, notebooks=PROJECT / "notebooks")
    (data / f"{name}.json").write_text(params.model_dump_json(), encoding="utf-8")
    tables = {kind: read_table(folder / f"{kind}.parquet", kind) for kind in ("docs", "tuples")}
    if name == "own":
        held = Holdings(folder, params, tables["docs"], torch.zeros(0), torch.zeros(0))
        test = with_another(read_table(folder / "questions.parquet", "questions").query("split == 'test'"), held)
        tables["questions"] = test.sample(min(QUESTIONS, len(test)), random_state=params.seed)
    for kind, table in tables.items():
        plain = pd.DataFrame(table.to_dict("records"))
        plain.to_json(data / f"{name}_{kind}.jsonl.gz", orient="records", lines=True, force_ascii=False)


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        sys.exit(f"pack.py: {error}")

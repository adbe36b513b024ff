"""The memory trains and writes on a machine that has little more than torch and transformers."""

import subprocess
import sys
from pathlib import Path

from tiny_models import small_params

MAY = ("torch", "transformers", "tokenizers", "peft", "safetensors", "numpy", "pandas", "tqdm", "zmem_lib")
MAY += ("huggingface_hub", "filelock", "yaml", "regex")  # which come with these
OTHERS = ("params", "combinations", "data", "opponents", "report")
ABSENT = ("pydantic", "faiss", *(f"zmem_lib.{name}" for name in OTHERS))
CODE = f"""import builtins, sys
sys.modules |= dict.fromkeys({ABSENT})  # importing one of them raises ImportError
plain = builtins.__import__
def guarded(name, globals=None, *more, **named):  # what transformers needs itself, such as yaml, may be there
    within, root = (globals or {{}}).get("__name__", ""), name.partition(".")[0]
    assert not within.startswith("zmem_lib") or root in {MAY} or root in sys.stdlib_module_names, (within, name)
    return plain(name, globals, *more, **named)
builtins.__import__ = guarded
from pathlib import Path
import pandas as pd
import torch
from zmem_lib.cache import Cache
from zmem_lib.memory import choose, encoder, lessons, lm, self_questions, shape, table, train, write
from zmem_lib.ids import search

params = shape.settings((Path(sys.argv[1]) / "params.json").read_text())
docs = pd.DataFrame([dict(doc_id=f"d{{i}}", title="", text=f"amber bird {{i}} fern. Moss is {{i}}.") for i in range(6)])
tuples = docs.assign(
    question=[f"what is {{i}}" for i in range(6)], evidence=docs.text, answers=[["moss"]] * 6, split="train",
    question_id=docs.doc_id, tuple_id=docs.doc_id,
)
memory_lm = lm.make_memory_lm(params, list(docs.text))
z_table = table.make_ztable(encoder.start_z("vocab", list(docs.text), memory_lm, limit=40, seed=params.seed))
due = lessons.make_lessons(memory_lm, docs, tuples, params)
log = train.train(memory_lm, z_table, due, keep=Cache(Path(sys.argv[1]), ""))
lm.save_memory_lm(memory_lm, Path(sys.argv[1]) / "lm", "card")
memory_lm = lm.load_memory_lm(Path(sys.argv[1]) / "lm", params)
snapshots, written = write.write(memory_lm, ["kelp is jade"], **write.numbers_of(params))
vectors = encoder.question_vectors(memory_lm, ["what is 1"])
ids, _ = choose.rank(vectors @ encoder.document_keys(memory_lm, list(docs.text), 40).T, list(docs.doc_id), 3)
print(log.step.max(), len(snapshots), len(ids[0]), sorted(set(log.term)))
"""


def test_memory_trains_and_writes_from_json_alone(tmp_path: Path):
    changes = {"train.steps": 3, "write.steps": 2}
    changes |= {"memory.key_width": 6, "train.encode_share": 0.5, "train.key_weight": 1.0}
    (tmp_path / "params.json").write_text(small_params(changes).model_dump_json())
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=3) == ["3", "3", "3", "['evidence', 'key', 'question', 'read', 'recite']\n"]

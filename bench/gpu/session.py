"""A quarter of an hour on a GPU: schooling, joint training, writing of all documents, and what comes of each.

Takes what pack.py left; writes log.jsonl (every figure as it comes), flags.jsonl (the outcome of every question) and
the adapter. It needs zmem_lib/memory and what that imports, and no network. Every phase has its share of the seconds:
steps are timed first, and as many are made as there is room for.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from zmem_lib.evaluation.metrics import answer_in_evidence
from zmem_lib.memory.choose import rank, score_questions
from zmem_lib.memory.encoder import start_z
from zmem_lib.memory.lessons import Lessons, asked_rows, make_lessons
from zmem_lib.memory.likelihood import generate_all
from zmem_lib.memory.lm import MemoryLM, make_memory_lm, save_memory_lm
from zmem_lib.memory.shape import Settings, settings
from zmem_lib.memory.table import ZTable, make_ztable, no_table
from zmem_lib.memory.train import make_training, train_step
from zmem_lib.memory.write import numbers_of, write
from zmem_lib.schooled import pack
from zmem_lib.text import passages

PHASES = {"school": 0.45, "joint": 0.25, "write": 0.15}  # of the seconds; the rest loads and measures
TIMED = 5  # steps, after as many that warm up
CHUNK = 256  # documents, between two looks at the clock
EVIDENCE_TOKENS = 64
CARD = "An adapter of SmolLM2-135M-Instruct (Apache-2.0), schooled on SQuAD 1.1 (CC BY-SA 4.0) by bench/gpu.\n"


class Session:
    """The model, and where its figures go."""

    def __init__(self, data: Path, out: Path, seconds: float) -> None:
        self.data, self.out, self.seconds, self.began = data, out, seconds, time.monotonic()
        self.params = self.read_params("school")
        self.memory_lm: MemoryLM = make_memory_lm(self.params, [])
        self.gpu = self.memory_lm.device.type == "cuda"
        self.say("loaded", device=torch.cuda.get_device_name() if self.gpu else "cpu")

    def read_params(self, name: str) -> Settings:
        """The parameters of the run NAME."""
        return settings((self.data / f"{name}.json").read_text(encoding="utf-8"))

    def rows(self, name: str) -> pd.DataFrame:
        """A table that pack.py left."""
        return pd.read_json(self.data / f"{name}.jsonl.gz", lines=True, dtype=False)

    def say(self, at: str, **figures: object) -> None:
        """A line of the log, with the seconds since the beginning."""
        line = json.dumps({"at": at, "clock": round(time.monotonic() - self.began, 1), **figures})
        print(line, flush=True)
        with (self.out / "log.jsonl").open("a") as log:
            log.write(line + "\n")

    def learn(self, phase: str, table: ZTable, lessons: Lessons) -> None:
        """As many steps as fit into the phase's seconds."""
        room, steps = PHASES[phase] * self.seconds, 2 * TIMED
        timed, began = make_training(self.memory_lm, table, lessons), time.monotonic()
        for step in range(steps):
            if step == TIMED:
                began = time.monotonic()
            train_step(timed, step)
        pace = self.waited(began) / TIMED
        lessons.params.train.steps = max(int(room / pace), 1)
        training, began, since = make_training(self.memory_lm, table, lessons), time.monotonic(), []
        for step in range(lessons.params.train.steps):
            since.append(train_step(training, step))
            if (late := time.monotonic() - began > room) or step % 20 == 19:
                means = pd.DataFrame(since).mean().round(3).to_dict()
                self.say(phase, step=step + 1, seconds=round(self.waited(began), 1), **means)
                since = []
            if late:
                break
        rows = (step + 1) * lessons.params.train.batch_tuples
        self.say(phase, rows=rows, seconds=round(self.waited(began), 1), peak_gib=self.peak())

    def waited(self, began: float) -> float:
        """Seconds since `began`, what the GPU still does included."""
        if self.gpu:
            torch.cuda.synchronize()
        return time.monotonic() - began

    def peak(self) -> float:
        """The most memory that torch held on the GPU so far, GiB."""
        return round(torch.cuda.max_memory_allocated() / 2**30, 2) if self.gpu else 0.0

    def begun(self, docs: pd.DataFrame) -> Tensor:
        """The blocks (N,K,W) that documents begin from."""
        memory, seed = self.params.memory, self.params.seed
        return start_z(memory.start, passages(docs), self.memory_lm, limit=memory.document_tokens, seed=seed)

    def measure(self, at: str, z: Tensor, docs: pd.DataFrame, questions: pd.DataFrame, *, finds: bool = False) -> None:
        """Answer in evidence from z (N,K,W) of docs, from another's, to another question, from the text; recall@1."""
        began, memory_lm, prompts = time.monotonic(), self.memory_lm, self.memory_lm.prompts
        memory_lm.lm.eval()
        row_of = {doc_id: i for i, doc_id in enumerate(docs["doc_id"])}
        places = torch.tensor([row_of[golds[0]] for golds in questions["gold_doc_ids"]])
        asked = [prompts.asked(question) for question in questions["question"]]
        others = [prompts.asked(question) for question in questions["another"]]
        limit, texts = self.params.memory.document_tokens, passages(docs)
        read = [prompts.text(texts[i], limit) + one for i, one in zip(places.tolist(), asked, strict=True)]
        found = {
            "right z": self.outcomes(z[places], asked, questions),
            "another question": self.outcomes(z[places], others, questions),
            "another's z": self.outcomes(z[(places + 1) % len(z)], asked, questions),
            "text": self.outcomes(None, read, questions),
        }
        if finds:
            scores = score_questions(memory_lm, z, questions["question"].tolist(), batch=self.params.machine.scan_batch)
            first = [ids[0] for ids in rank(scores, list(docs["doc_id"]), 1)[0]]
            found["recall@1"] = [
                float(one in golds) for one, golds in zip(first, questions["gold_doc_ids"], strict=True)
            ]
        with (self.out / "flags.jsonl").open("a") as file:
            for name, flags in found.items():
                line = {"at": at, "what": name, "question_id": questions["question_id"].tolist(), "value": flags}
                file.write(json.dumps(line) + "\n")
        means = {name: round(sum(flags) / len(flags), 3) for name, flags in found.items()}
        self.say(at, n=len(questions), seconds=round(time.monotonic() - began, 1), **means)

    def outcomes(self, z: Tensor | None, prompts: list[list[int]], questions: pd.DataFrame) -> list[float]:
        """Of each question whether an answer stands in what is written after its prompt, behind z (Q,K,W) if any."""
        batch = self.params.machine.answer_batch
        written = generate_all(self.memory_lm, z, prompts, max_tokens=EVIDENCE_TOKENS, batch=batch)
        said = map(self.memory_lm.prompts.decode, written)
        return [answer_in_evidence(*pair, "squad") for pair in zip(said, questions["answers"], strict=True)]


def main() -> None:
    """Run all phases, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder that pack.py filled")
    parser.add_argument("out", type=Path, help="where the figures and the adapter go")
    parser.add_argument("--seconds", type=float, default=500.0, help="of all phases together")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    session = Session(options.data, options.out, options.seconds)
    docs, questions, memory_lm = session.rows("own_docs"), session.rows("own_questions"), session.memory_lm
    session.measure("start", session.begun(docs), docs, questions)
    others, tuples = session.rows("school_docs"), session.rows("school_tuples")
    lessons = replace(make_lessons(memory_lm, others, tuples, session.params), dev_rows=[])
    session.learn("school", no_table(len(others), memory_lm.heads.z_tokens, memory_lm.heads.width), lessons)
    save_memory_lm(memory_lm, options.out / "lm", CARD)
    pack(options.out / "lm", options.out / "packed")
    session.measure("schooled", session.begun(docs), docs, questions)

    own, given = session.read_params("own"), session.rows("own_tuples")
    table, lessons = make_ztable(session.begun(docs)), make_lessons(memory_lm, docs, given, own)
    session.learn("joint", table, lessons)
    session.measure("joint", table.z, docs, questions, finds=True)
    write_all(session, own, docs, given, questions)
    session.say("done", peak_gib=session.peak())


def write_all(
    session: Session, own: Settings, docs: pd.DataFrame, given: pd.DataFrame, questions: pd.DataFrame
) -> None:
    """Write as many documents anew as fit, from text and given questions, the model frozen, and measure them."""
    memory_lm, blocks, began = session.memory_lm, [], time.monotonic()
    train = given[given["split"] == "train"]
    for first in range(0, len(docs), CHUNK):
        some = docs[first : first + CHUNK]
        asked = asked_rows(memory_lm.prompts, train, list(some["doc_id"]), own.memory.evidence_tokens)
        options = numbers_of(own) | {"asked": asked, "curve": False, "start": own.write.start}
        blocks.append(write(memory_lm, passages(some), session.begun(some), **options)[0][own.write.steps])
        if time.monotonic() - began > PHASES["write"] * session.seconds:
            break
    z, docs = torch.cat(blocks), docs.head(sum(map(len, blocks)))
    seconds = round(session.waited(began) / len(docs), 4)
    session.say("write", documents=len(docs), steps=own.write.steps, seconds_per_document=seconds)
    known = questions["gold_doc_ids"].str[0].isin(docs["doc_id"])
    session.measure("written", z, docs, questions[known].reset_index(drop=True), finds=True)


if __name__ == "__main__":
    main()

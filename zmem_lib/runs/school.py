"""Schooling: on other text the model learns to write evidence from texts and blocks, to find, and to read.

Chapters 01 and 02 read the corpus. Then the joint loss of chapter 03, with every block made of its text: nothing is
learned about a document, so there is no table. Whenever the rows that were learned have doubled, the systems of
MEASURED answer the dev questions about the run's new documents, which it never learns; it ends where neither what is
written from the text nor what is written from the block gains. It leaves in the run's folder `lm`, which is what
`lm.adapter` takes, and school.parquet.
"""

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from zmem_lib.cache import Cache, drop_cache, open_cache, remembered
from zmem_lib.chapters import chapter_made_by
from zmem_lib.evaluation.scoring import score_answers, summarise
from zmem_lib.evaluation.write_curve import new_dev_questions
from zmem_lib.files import BadInput, hash_path, read_json, write_atomic
from zmem_lib.fingerprint import git_revision
from zmem_lib.memory.encoder import encode, start_z
from zmem_lib.memory.lessons import Lessons, make_lessons
from zmem_lib.memory.lm import MemoryLM, make_memory_lm, save_memory_lm
from zmem_lib.memory.table import no_table
from zmem_lib.memory.train import train
from zmem_lib.params import Params, params_hash
from zmem_lib.report.chapter_tables import model_card
from zmem_lib.runs import duration
from zmem_lib.runs.before import fetch
from zmem_lib.runs.pipeline import Say, run_chapters, say_now
from zmem_lib.systems.evidence import answers_of
from zmem_lib.systems.holdings import Holdings
from zmem_lib.tables import read_table
from zmem_lib.text import passages

FIRST_ROWS = 1000  # after which the model is measured for the first time, but for its start
LEAST_GAIN = 0.02  # for a doubling of the rows
LEADING = ("text-evidence", "zmem-oracle")  # of which one has to gain
WRITING = (*LEADING, "zmem-other-question", "zmem-shuffled")  # evidence
READ = ("text-evidence", "gold-passage")  # by the reader, who answers from them
MEASURED = (*WRITING, "gold+random-sentence", "gold-passage")
LEARNED = ("docs.parquet", "tuples.parquet", "questions.parquet")


def school(params: Params, runs: Path, *, notebooks: Path, say: Say = say_now) -> Path:
    """School the model of a run, or go on where it was stopped; returns the folder of its adapter."""
    if not params.schools:
        raise BadInput(
            f"run {params.run} is no schooling: set train.encode_share to 1, so that all blocks come from texts, and "
            "lm.lora_rank, so that what is learned is an adapter"
        )
    if not params.corpus.new_documents:
        raise BadInput("schooling is measured on documents that it never learns: raise corpus.new_documents")
    folder = run_chapters(params, runs, last=2, notebooks=notebooks, say=say)
    fetch(params, 3)
    made_with = params_hash(params, 3), chapter_made_by(3)["code"]
    keep = open_cache(folder / "under_way_school", *made_with, files=[folder / name for name in LEARNED])
    docs = read_table(folder / "docs.parquet", "docs")
    seen, new = (docs[docs["part"] == part].reset_index(drop=True) for part in ("seen", "new"))
    memory_lm = make_memory_lm(params, passages(seen))
    lessons = make_lessons(memory_lm, seen, read_table(folder / "tuples.parquet", "tuples"), params)
    none, no_keys = encode(memory_lm, [], params.memory.document_tokens)  # (0,K,W), (0,E)
    held = Holdings(folder, params, new, none, no_keys, loaded={"lm": memory_lm})
    curve = learned(memory_lm, lessons, held, keep, say)
    write_atomic(folder / "school.parquet", partial(curve.to_parquet, index=False))
    save_memory_lm(memory_lm, folder / "lm", model_card(params, facts(folder, curve)))
    drop_cache(keep)
    return folder / "lm"


def facts(folder: Path, curve: pd.DataFrame) -> dict[str, str]:
    """What the card says of a schooling: data and their hashes, rows, seconds, machine, and what it led to."""
    last = curve[(curve["rows"] == curve["rows"].max()) & (curve["metric"] == "answer_in_evidence")]
    reached = [
        f"{one.system} {one.value:.2f} [{one.ci_low:.2f}, {one.ci_high:.2f}]" for one in last.itertuples()
    ]
    on = f"{last['n'].max():.0f} dev questions about {last['clusters'].max():.0f} documents that it never learned"
    return {
        "learned from": ", ".join(f"`{name}` {hash_path(folder / name)[:16]}" for name in LEARNED),
        "rows, seconds": f"{curve['rows'].max():,}, {curve['seconds'].max():,.0f}",
        "made on": f"{platform.machine()}, {torch.get_num_threads()} threads"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
        "code": git_revision() or "unknown",
        "answer in evidence": f"{'; '.join(reached)} ({on}; 95 % intervals by document)",
    }


def learned(memory_lm: MemoryLM, lessons: Lessons, held: Holdings, keep: Cache, say: Say) -> pd.DataFrame:
    """Train in place, mark by mark; the summary of every mark, with `rows` learned and `seconds` of training."""
    table = no_table(len(lessons.docs), memory_lm.heads.z_tokens, memory_lm.heads.width)
    lessons = replace(lessons, dev_rows=[])
    tuples, steps, found = held.params.train.batch_tuples, held.params.train.steps, []
    within = Cache(keep.folder / "train", keep.made_with)
    for step in marks(steps, tuples):
        if step:
            train(memory_lm, table, lessons, keep=within, until=step)
        seconds = read_json(within.folder / "checkpoint" / "state.json")["seconds"] if step else 0.0
        one = remembered(keep, f"school_{step:07d}.parquet", partial(measured, memory_lm, held))
        found.append(one.assign(rows=step * tuples, seconds=seconds))
        values = one[one["metric"] == "answer_in_evidence"].set_index("system")["value"]
        said = ", ".join(f"{name} {values[name]:.2f}" for name in MEASURED if name in values)
        say(f"{step * tuples:,} rows, {seconds:,.0f} s: answer in evidence {said}")
        if step and not gains(found):
            say(f"neither {' nor '.join(LEADING)} gained {LEAST_GAIN} since: enough")
            break
    return pd.concat(found, ignore_index=True)


def planned_seconds(params: Params, machine: duration.Machine) -> dict[str, float]:
    """Seconds that learning, and measuring at every mark, will about take on a machine, where no plateau ends it."""
    steps, tuples, answer = params.train.steps, params.train.batch_tuples, params.answer
    learning = duration.descent_seconds(
        params, machine, tokens=duration.training_tokens(params) * steps, batches=3 * steps, learning=True
    )
    asked = len(marks(steps, tuples)) * (answer.questions or 2 * params.corpus.new_documents)
    reader, written = len(READ) * answer.answer_tokens, len(WRITING) * duration.EVIDENCE_TOKENS
    read = asked * (len(WRITING) + len(READ)) * (params.memory.document_tokens + duration.QUESTION_TOKENS)
    passes = asked / params.machine.answer_batch * (duration.LONGEST * written + reader)
    measuring = duration.forward_seconds(params, machine, read=read, written=asked * (written + reader), passes=passes)
    return {"learning": learning, "measuring": measuring}


def marks(steps: int, tuples: int) -> list[int]:
    """The steps after which the model is measured: none, those that bring the rows to a doubling, the last one."""
    doublings = [-(-FIRST_ROWS * 2**i // tuples) for i in range(32)]
    return [0, *(step for step in doublings if step < steps), steps]


def gains(found: Sequence[pd.DataFrame]) -> bool:
    """Whether one of LEADING gained enough between the last two marks; before a doubling nothing is known."""
    if len(found) < 3:
        return True
    before, now = (
        one[(one["metric"] == "answer_in_evidence") & one["system"].isin(LEADING)].set_index("system")["value"]
        for one in found[-2:]
    )
    return bool((now - before >= LEAST_GAIN).any())


def measured(memory_lm: MemoryLM, held: Holdings) -> pd.DataFrame:
    """The summary of MEASURED on the dev questions about the documents that are held, their blocks made of the texts."""
    params, limit = held.params, held.params.memory.document_tokens
    memory_lm.lm.eval()
    texts = passages(held.docs)
    held.z = start_z(params.memory.start, texts, memory_lm, limit=limit, seed=params.seed)  # (N,K,W)
    asked = new_dev_questions(held.folder, params).assign(part="new")
    answers = {name: answers_of(name, asked, held, reads=name in READ) for name in MEASURED}
    scores = score_answers(asked, held.docs, answers, params, ragas=False)
    summary = summarise(scores, params.evaluate.bootstrap_samples, params.seed)
    answered = summary["metric"].isin(["em", "f1"]) & summary["system"].isin(READ)
    return summary[answered | summary["metric"].eq("answer_in_evidence")].reset_index(drop=True)

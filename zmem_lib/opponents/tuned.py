"""Opponents that learn from what z-memory learns from: the training questions about the run's seen documents.

BM25 over every passage followed by the training questions about it: document expansion as in doc2query (1904.08375),
with questions that were really asked. And the sentence encoder of the dense index, fine-tuned with in-batch negatives
(Henderson et al., 1705.00652, section 4); its checkpoint is chosen on dev questions.
"""

import math
import time
from collections import deque
from collections.abc import Iterator
from copy import deepcopy
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from transformers import get_linear_schedule_with_warmup

from zmem_lib.cache import open_cache, remembered
from zmem_lib.files import new_folder
from zmem_lib.memory.lm import pick_dtype
from zmem_lib.meter import progress
from zmem_lib.opponents.dense import DOCUMENT, QUERY, build_dense, by_cosine, load_encoder, rank_dense, save_dense
from zmem_lib.params import Params
from zmem_lib.text import passages

if TYPE_CHECKING:
    from zmem_lib.opponents.dense import SentenceTransformer

BATCH = 32
LR = 2.0e-5
WARM_UP = 0.1  # of the steps
CLIP = 1.0
SCALE = 20.0  # of cosines, before the softmax over the batch's passages
CHECKPOINTS = 3  # beside the encoder as it came
DEV_SAMPLE = 256  # dev questions, and at least so many passages, by which a checkpoint is chosen


def taught_questions(docs: pd.DataFrame, questions: pd.DataFrame, split: str = "train") -> pd.DataFrame:
    """The questions of split `train` or `dev` about seen documents, with the seen ones of their gold documents."""
    assert split in ("train", "dev"), f"nothing is taught by the questions of split {split}"
    seen = set(docs.loc[docs["part"] == "seen", "doc_id"])
    chosen = questions[questions["split"] == split]
    gold = [[doc_id for doc_id in ids if doc_id in seen] for ids in chosen["gold_doc_ids"]]
    chosen = chosen.assign(gold_doc_ids=pd.Series(gold, chosen.index, dtype=object))
    return chosen[chosen["gold_doc_ids"].map(len) > 0].reset_index(drop=True)


def asked_passages(docs: pd.DataFrame, questions: pd.DataFrame) -> list[str]:
    """The passage of every document, followed by the training questions about it: what `bm25-asked` indexes."""
    lines = {doc_id: [text] for doc_id, text in zip(docs["doc_id"], passages(docs), strict=True)}
    taught = taught_questions(docs, questions)
    for question, gold in zip(taught["question"], taught["gold_doc_ids"], strict=True):
        for doc_id in gold:
            lines[doc_id].append(question)
    return ["\n".join(lines[doc_id]) for doc_id in docs["doc_id"]]


def make_tuned(
    folder: Path, docs: pd.DataFrame, questions: pd.DataFrame, *, params: Params
) -> tuple[pd.DataFrame, float]:
    """Tune the run's encoder, index all docs with it, keep both in a run's folder; the log, and the seconds."""
    if not params.answer.dense_steps:
        return pd.DataFrame(columns=["step", "loss", "dev_recall"]), 0.0

    def make() -> dict[str, object]:
        began = time.perf_counter()
        encoder = load_encoder(params.answer.dense_model, params.machine.device)  # its own copy: it is changed in place
        log = tune_encoder(encoder, questions, docs=docs, params=params)
        with new_folder(folder / "dense_tuned") as new:
            encoder.save(str(new), create_model_card=False, safe_serialization=True)
        save_dense(build_dense(encoder, list(docs.doc_id), passages(docs)), folder / "dense_tuned.faiss")
        return {"seconds": time.perf_counter() - began, "log": log.to_dict("list")}

    decides = params.seed, params.answer.dense_model, params.answer.dense_steps, params.machine.precision
    cache = open_cache(folder / "tuning", *decides, files=[folder / "docs.parquet", folder / "questions.parquet"])
    kept = remembered(cache, "log.json", make)
    return pd.DataFrame(kept["log"]), kept["seconds"]


def tune_encoder(
    encoder: "SentenceTransformer", questions: pd.DataFrame, *, docs: pd.DataFrame, params: Params
) -> pd.DataFrame:
    """Fine-tune the encoder in place for `answer.dense_steps` steps; it ends as its best checkpoint on dev questions.

    Returns the log: step, loss of its batch, and where there was a checkpoint recall@1 on dev (else NaN); step 0 is
    the encoder as it came, equal checkpoints go to the later one, and without dev questions the last one stays.
    """
    train, dev = (taught_questions(docs, questions, split) for split in ("train", "dev"))
    sample, steps = dev_sample(dev, docs, params.seed), params.answer.dense_steps
    best, weights = dev_recall(encoder, *sample), deepcopy(encoder.state_dict())
    log, text_of = [(0, math.nan, best)], dict(zip(docs["doc_id"], passages(docs), strict=True))
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)  # dropout
        losses = tune_steps(encoder, train, text_of=text_of, params=params)
        for step, loss in enumerate(progress(losses, "tuning the dense model", steps), 1):
            recall = math.nan
            if step * CHECKPOINTS // steps > (step - 1) * CHECKPOINTS // steps:  # the last step among them
                recall = dev_recall(encoder, *sample)
                best, weights = (best, weights) if recall < best else (recall, deepcopy(encoder.state_dict()))
            log.append((step, loss, recall))
    encoder.load_state_dict(weights)
    return pd.DataFrame(log, columns=["step", "loss", "dev_recall"])


def tune_steps(
    encoder: "SentenceTransformer", train: pd.DataFrame, *, text_of: dict[str, str], params: Params
) -> Iterator[float]:
    """Update the encoder `answer.dense_steps` times, and yield the loss of every batch.

    Not sentence-transformers' trainer: it knows no batches by gold document, and it prints and draws bars.
    """
    rng, steps = Random(params.seed), params.answer.dense_steps
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=LR, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimiser, math.ceil(steps * WARM_UP), steps)  # as BERT, 1810.04805
    half = pick_dtype(params.machine.precision, encoder.device) is torch.bfloat16  # float16 would need a scaled loss
    for batch in islice(disjoint_batches(list(train["gold_doc_ids"]), rng), steps):
        rows = train.iloc[batch]
        right = [text_of[rng.choice(gold)] for gold in rows["gold_doc_ids"]]
        encoder.train()
        with torch.autocast(encoder.device.type, torch.bfloat16, enabled=half):
            asked = embed(encoder, list(rows["question"]), QUERY)  # (B,E)
            found = embed(encoder, right, DOCUMENT)  # (B,E)
        loss = in_batch_loss(asked.float(), found.float(), SCALE if by_cosine(encoder) else 1.0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        yield loss.item()


def in_batch_loss(asked: Tensor, found: Tensor, scale: float = SCALE) -> Tensor:
    """Mean of -log softmax over the batch's passages of the right one; both are (B,E), row by row."""
    return cross_entropy(scale * asked @ found.T, torch.arange(len(asked), device=asked.device))  # (B,B)


def embed(encoder: "SentenceTransformer", texts: list[str], role: str) -> Tensor:
    """Vectors (B,E) of texts that are QUERY or DOCUMENT, with gradients; of length 1 where cosine compares them."""
    features = encoder.preprocess(texts, prompt=encoder.prompts[role])
    features = {name: value.to(encoder.device) if torch.is_tensor(value) else value for name, value in features.items()}
    vectors = encoder(features)["sentence_embedding"]  # (B,E)
    return normalize(vectors, dim=-1) if by_cosine(encoder) else vectors


def disjoint_batches(gold: list[list[str]], rng: Random) -> Iterator[list[int]]:
    """Without end, at most BATCH rows that share no gold document: none's passage is right for another's question.

    Every row comes once before any comes twice, but for those that had to wait.
    """
    waiting: deque[int] = deque()
    while True:
        if len(waiting) < 2 * BATCH:  # so that a pass ends in no small batch
            waiting.extend(rng.sample(range(len(gold)), len(gold)))
        batch, later, taken = [], [], set()
        while waiting and len(batch) < BATCH:
            row = waiting.popleft()
            if taken.isdisjoint(gold[row]):
                batch.append(row)
                taken.update(gold[row])
            else:
                later.append(row)
        waiting.extendleft(reversed(later))
        yield batch


def dev_sample(dev: pd.DataFrame, docs: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """At most DEV_SAMPLE dev questions, and their gold documents with others, so that a checkpoint costs seconds."""
    dev = dev.sample(min(len(dev), DEV_SAMPLE), random_state=seed)
    gold = docs["doc_id"].isin(set().union(*dev["gold_doc_ids"]))
    others = docs[~gold & (docs["part"] == "seen")]
    wanted = min(len(others), max(0, DEV_SAMPLE - int(gold.sum())))
    return dev, pd.concat([docs[gold], others.sample(wanted, random_state=seed)])


def dev_recall(encoder: "SentenceTransformer", dev: pd.DataFrame, candidates: pd.DataFrame) -> float:
    """Recall@1 of the dev questions among the candidates; NaN if there are no questions."""
    if not len(dev):
        return math.nan
    index = build_dense(encoder, list(candidates["doc_id"]), passages(candidates))
    ranked, _ = rank_dense(index, encoder, list(dev["question"]), 1)
    return sum(best[0] in gold for best, gold in zip(ranked, dev["gold_doc_ids"], strict=True)) / len(dev)

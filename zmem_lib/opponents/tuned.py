"""Opponents that learn from what z-memory learns from: the training questions about the run's seen documents.

BM25 over every passage followed by the training questions about it: document expansion as in doc2query (1904.08375),
with questions that were really asked. And the sentence encoder of the dense index, fine-tuned over all training
questions with the batch's other passages as negatives (Henderson et al., 1705.00652, section 4), and beside each
passage hard ones: what BM25 ranks high for its questions and is not gold (DPR: Karpukhin et al., 2004.04906, section
3.2). Its checkpoint is chosen on dev questions.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
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
from zmem_lib.opponents.bm25 import BM25Index, load_bm25, rank_bm25
from zmem_lib.opponents.dense import DOCUMENT, QUERY, build_dense, by_cosine, load_encoder, rank_dense, save_dense
from zmem_lib.params import Params
from zmem_lib.text import passages

if TYPE_CHECKING:
    from zmem_lib.opponents.dense import SentenceTransformer

BATCH, ASKED = 32, 8  # passages of a batch, and questions about each, at most: a passage costs ten times a question
HARD = 10  # documents by BM25 from which a question's hard negatives are drawn
TOGETHER = 16  # texts of like length that are read together
LR = 5.0e-5  # the highest of those by which BERT (1810.04805) is fine-tuned: the batches are few and large
WARM_UP = 0.1  # of the steps
CLIP = 1.0
SCALE = 20.0  # of cosines, before the softmax over the batch's passages
CHECKPOINTS = 3  # beside the encoder as it came
DEV_SAMPLE = 256  # dev questions, and at least so many passages, by which a checkpoint is chosen

Batch = list[tuple[str, list[int]]]  # gold document, and rows of questions about it


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
    """Tune the run's encoder, index all docs with it, keep both in a run's folder; the log, and the seconds.

    The folder has the run's BM25 index, by which hard negatives are found.
    """
    if not params.answer.dense_epochs:
        return pd.DataFrame(columns=["step", "loss", "dev_recall"]), 0.0

    def make() -> dict[str, object]:
        encoder = load_encoder(params.answer.dense_model, params.machine.device)  # its own copy: it is changed in place
        began = time.perf_counter()
        log = tune_encoder(encoder, questions, docs=docs, bm25=load_bm25(folder / "bm25"), params=params)
        with new_folder(folder / "dense_tuned") as new:
            encoder.save(str(new), create_model_card=False, safe_serialization=True)
        save_dense(build_dense(encoder, list(docs.doc_id), passages(docs)), folder / "dense_tuned.faiss")
        return {"seconds": time.perf_counter() - began, "log": log.to_dict("list")}

    answer, files = params.answer, [folder / name for name in ("docs.parquet", "questions.parquet", "bm25")]
    decides = params.seed, answer.dense_model, answer.dense_epochs, answer.dense_negatives, params.machine.precision
    cache = open_cache(folder / "tuning", *decides, files=files)
    kept = remembered(cache, "log.json", make)
    return pd.DataFrame(kept["log"]), kept["seconds"]


def tune_encoder(
    encoder: "SentenceTransformer", questions: pd.DataFrame, *, docs: pd.DataFrame, bm25: BM25Index, params: Params
) -> pd.DataFrame:
    """Fine-tune the encoder in place for `answer.dense_epochs` epochs; it ends as its best checkpoint on dev questions.

    Returns the log: step, loss of its batch, and where there was a checkpoint recall@1 on dev (else NaN); step 0 is
    the encoder as it came, equal checkpoints go to the later one, and without dev questions the last one stays.
    """
    train, dev = (taught_questions(docs, questions, split) for split in ("train", "dev"))
    rng, sample = Random(params.seed), dev_sample(dev, docs, params.seed)
    drawn = [batch for _ in range(params.answer.dense_epochs) for batch in batches(list(train["gold_doc_ids"]), rng)]
    best, weights, steps = dev_recall(encoder, *sample), deepcopy(encoder.state_dict()), len(drawn)
    log, seen = [(0, math.nan, best)], docs[docs["part"] == "seen"]
    text_of = dict(zip(seen["doc_id"], passages(seen), strict=True))
    hard = hard_negatives(bm25, train, text_of) if params.answer.dense_negatives else [[]] * len(train)
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)  # dropout
        losses = tune_steps(encoder, train, drawn, hard=hard, text_of=text_of, rng=rng, params=params)
        for step, loss in enumerate(progress(losses, "tuning the dense model", steps), 1):
            recall = math.nan
            if step * CHECKPOINTS // steps > (step - 1) * CHECKPOINTS // steps:  # the last step among them
                recall = dev_recall(encoder, *sample)
                best, weights = (best, weights) if recall < best else (recall, deepcopy(encoder.state_dict()))
            log.append((step, loss, recall))
    encoder.load_state_dict(weights)
    return pd.DataFrame(log, columns=["step", "loss", "dev_recall"])


def batches(gold: Sequence[Sequence[str]], rng: Random) -> list[Batch]:
    """An epoch: every row of questions with these gold documents once, at most ASKED of them with one of these."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row in rng.sample(range(len(gold)), len(gold)):
        rows_of[rng.choice(gold[row])].append(row)
    groups = [(doc_id, rows[i : i + ASKED]) for doc_id, rows in rows_of.items() for i in range(0, len(rows), ASKED)]
    rng.shuffle(groups)
    return [groups[i : i + BATCH] for i in range(0, len(groups), BATCH)]


def hard_negatives(bm25: BM25Index, train: pd.DataFrame, allowed: Mapping[str, str]) -> list[list[str]]:
    """For each question the HARD documents that BM25 ranks first of those that are allowed and not gold."""
    ranked, _ = rank_bm25(bm25, list(train["question"]), 2 * HARD + int(train["gold_doc_ids"].map(len).max() or 0))
    pairs = zip(ranked, train["gold_doc_ids"], strict=True)
    return [[doc_id for doc_id in ids if doc_id in allowed and doc_id not in gold][:HARD] for ids, gold in pairs]


def tune_steps(
    encoder: "SentenceTransformer", train: pd.DataFrame, drawn: Sequence[Batch], *, hard: Sequence[Sequence[str]],
    text_of: Mapping[str, str], rng: Random, params: Params,
) -> Iterator[float]:  # fmt: skip
    """Update the encoder by each of the batches drawn, and yield its loss; a passage is read as far as it reads one.

    Not sentence-transformers' trainer: it knows no passage with several questions, and it prints and draws bars.
    """
    optimiser, steps = torch.optim.AdamW(encoder.parameters(), lr=LR, weight_decay=0.0), len(drawn)
    schedule = get_linear_schedule_with_warmup(optimiser, math.ceil(steps * WARM_UP), steps)  # as BERT, 1810.04805
    half = pick_dtype(params.machine.precision, encoder.device) is torch.bfloat16  # float16 would need a scaled loss
    asked, gold = list(train["question"]), list(train["gold_doc_ids"])
    for batch in drawn:
        doc_ids, rows, own = [doc_id for doc_id, _ in batch], [], []
        for place, (_, some) in enumerate(batch):
            near = sorted({doc_id for row in some for doc_id in hard[row]})
            doc_ids += rng.sample(near, min(len(near), params.answer.dense_negatives))
            rows, own = rows + some, own + [place] * len(some)
        encoder.train()
        with torch.autocast(encoder.device.type, torch.bfloat16, enabled=half):
            questions = embed(encoder, [asked[row] for row in rows], QUERY)  # (Q,E)
            found = embed(encoder, [text_of[doc_id] for doc_id in doc_ids], DOCUMENT)  # (C,E)
        right = torch.tensor([[doc_id in gold[row] for doc_id in doc_ids] for row in rows])  # (Q,C)
        scale = SCALE if by_cosine(encoder) else 1.0
        loss = in_batch_loss(questions.float(), found.float(), torch.tensor(own), right=right, scale=scale)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        yield loss.item()


def in_batch_loss(asked: Tensor, found: Tensor, own: Tensor, *, right: Tensor, scale: float = SCALE) -> Tensor:
    """Mean of -log softmax over passages (C,E) of each question's (Q,E) own column (Q,); any other right one is none.

    `right` (Q,C) says which passages are right for which question.
    """
    others = right.scatter(1, own[:, None], value=False).to(asked.device)  # (Q,C)
    return cross_entropy((scale * asked @ found.T).masked_fill(others, -math.inf), own.to(asked.device))


def embed(encoder: "SentenceTransformer", texts: list[str], role: str) -> Tensor:
    """Vectors (B,E) of texts that are QUERY or DOCUMENT, with gradients; of length 1 where cosine compares them."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    pieces = []
    for begin in range(0, len(order), TOGETHER):
        some = [texts[place] for place in order[begin : begin + TOGETHER]]
        features = encoder.preprocess(some, prompt=encoder.prompts[role])
        features = {name: one.to(encoder.device) if torch.is_tensor(one) else one for name, one in features.items()}
        pieces.append(encoder(features)["sentence_embedding"])  # (TOGETHER,E)
    vectors = torch.cat(pieces)[torch.tensor(order).argsort()]  # (B,E)
    return normalize(vectors, dim=-1) if by_cosine(encoder) else vectors


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

"""The loss terms of one training step: each adds its gradients, and returns its mean in nats.

Takes the step's work: its batch, and the blocks of the documents that the batch names, which learn. The encoder makes
the keys, and in some steps the blocks: it reads the documents anew, and learns.
Batches pass through the model `machine.micro_batch` rows at a time.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.utils.checkpoint import checkpoint

from zmem_lib.memory.encoder import TEMPERATURE, KeyBank, encode_rows, mean_vectors
from zmem_lib.memory.lessons import Batch, Lessons
from zmem_lib.memory.likelihood import counted_logits, nll_of
from zmem_lib.memory.lm import MemoryLM
from zmem_lib.memory.prompts import TERMS, Row, behind_text
from zmem_lib.memory.table import ZTable

EVIDENCE = TERMS.index("evidence")


@dataclass(frozen=True)
class Work:
    """What a step has to do: the rows (U,K*W), which learn, belong to `documents` (U,), in rising order."""

    memory_lm: MemoryLM
    z_table: ZTable  # does not learn here
    lessons: Lessons
    batch: Batch
    documents: np.ndarray
    rows: Tensor
    keyed: np.ndarray  # (V,) documents that the encoder has read, in rising order: all, or those of the first tuples
    keys: Tensor  # (V,E) of these, which learn
    encoded: Tensor | None  # what the encoder made (V,K*W+E), of which the keys, and maybe the rows, are a copy
    bank: KeyBank
    scaler: GradScaler

    def blocks(self, documents: np.ndarray) -> Tensor:
        """The blocks of documents (B,M), side by side: (B,M*K,W)."""
        place = torch.as_tensor(np.searchsorted(self.documents, documents), device=self.rows.device)  # (B,M)
        return self.z_table.blocks(self.rows)[place].flatten(1, 2)  # (B,M*K,W)

    def chunks(self, n: int) -> Iterator[slice]:
        """Slices of n rows that pass through the model at once."""
        size = self.lessons.params.machine.micro_batch or max(n, 1)
        return (slice(begin, begin + size) for begin in range(0, n, size))

    def encode_backward(self) -> None:
        """Take the gradients of what the encoder has made further back into it."""
        if self.encoded is not None:
            gradient = torch.zeros_like(self.encoded)  # (V,K*W+E)
            parts = gradient.split([self.rows.shape[1], self.keys.shape[1]], 1)  # (V,K*W), (V,E)
            found = self.rows.grad if self.batch.encoded else None, self.keys.grad
            for part, known in zip(parts, found, strict=True):
                if known is not None:
                    part.copy_(known)
            self.encoded.backward(gradient)


def make_work(
    memory_lm: MemoryLM, z_table: ZTable, lessons: Lessons, batch: Batch, *, bank: KeyBank, scaler: GradScaler
) -> Work:
    """The work of a batch: its rows taken from the table or made by the encoder, which makes the keys."""
    documents = np.unique(np.concatenate([lessons.tuple_index[batch.tuples], batch.beside.ravel(), batch.recited]))
    rows, keyed = z_table.rows[documents].to(memory_lm.device), documents  # (U,K*W)
    if not batch.encoded:
        keyed = np.unique(lessons.tuple_index[batch.keyed])
    encoded, keys = None, rows.new_zeros(len(keyed), bank.keys.shape[1])  # (V,E)
    if len(keyed):
        texts = [lessons.text(i) for i in keyed]
        size = lessons.params.machine.micro_batch or len(texts)  # what is in pieces is encoded twice, and not kept
        encode = partial(checkpoint, encode_rows, use_reentrant=False) if size < len(texts) else encode_rows
        encoded = torch.cat([encode(memory_lm, texts[i : i + size]) for i in range(0, len(texts), size)])  # (V,K*W+E)
        blocks, keys = (part.detach() for part in encoded.split([rows.shape[1], keys.shape[1]], 1))  # (V,K*W), (V,E)
        rows = blocks if batch.encoded else rows
    rows, keys = rows.requires_grad_(True), keys.requires_grad_(True)
    return Work(memory_lm, z_table, lessons, batch, documents, rows, keyed, keys, encoded, bank, scaler)


def all_losses(work: Work) -> dict[str, float]:
    """Add the gradients of every term that the parameters ask for; returns their means."""
    lessons, batch, train = work.lessons, work.batch, work.lessons.params.train
    rows, right = [lessons.tuple_row(i) for i in batch.tuples], lessons.tuple_index[batch.tuples]
    if batch.beside.shape[1]:  # among distractors the question does not count: it says nothing of its own z
        question = TERMS.index("question")
        rows = [Row(row.ids, [0 if term == question else term for term in row.terms]) for row in rows]
    distilled = train.batch_text if train.distill_weight else 0
    losses = row_losses(work, rows, np.insert(batch.beside, batch.place, right, axis=1), distilled=distilled)  # (B,1+M)
    if len(batch.recited):
        losses |= row_losses(work, batch.recite_rows, batch.recited[:, None])
    if batch.read_rows or batch.text_rows:
        losses |= row_losses(work, batch.read_rows + batch.text_rows)
    if train.key_weight:
        losses["key"] = key_loss(work)
    if train.encode_weight and batch.encoded:
        losses["encode"] = encode_loss(work)
    return losses


def row_losses(
    work: Work, rows: Sequence[Row], documents: np.ndarray | None = None, *, distilled: int = 0
) -> dict[str, float]:
    """Add the gradients of rows, each behind the blocks of its documents (B,M); the mean nll per token of each term.

    The first `distilled` of them, the batch's tuples, also learn from the model that has the text: the term `distill`.
    The others stand beside rows of like length, so that less is padded where a step is made in pieces.
    """
    order = sorted(range(len(rows)), key=lambda i: (i >= distilled) * len(rows[i].ids))
    rows, documents = [rows[i] for i in order], None if documents is None else documents[order]
    weights = vars(work.lessons.params.train) | {"evidence_weight": 1.0}
    count = Counter(TERMS[term] for row in rows for term in row.terms)
    count["distill"] = sum(row.terms.count(EVIDENCE) for row in rows[:distilled])
    losses: dict[str, float] = {}
    for chunk in work.chunks(len(rows)):
        z = None if documents is None else work.blocks(documents[chunk])  # (B,M*K,W)
        sums = sums_of(work, z, rows[chunk], taught=range(len(rows))[chunk][: max(distilled - chunk.start, 0)])
        parts = {term: total / count[term] for term, total in sums.items()}
        weighted = [weights[f"{term}_weight"] * nll for term, nll in parts.items()]
        work.scaler.scale(sum(weighted, torch.zeros(()))).backward()
        losses |= {term: losses.get(term, 0.0) + nll.item() for term, nll in parts.items()}
    return losses


def sums_of(work: Work, z: Tensor | None, rows: Sequence[Row], *, taught: range) -> dict[str, Tensor]:
    """The summed loss of each term of rows behind z (B,K,W); of the first ones, tuples number `taught`, distill too."""
    logits, ids, terms, counted = counted_logits(work.memory_lm, z, rows)
    sums = sum_by_term(nll_of(logits, ids, counted), terms)
    if taught:
        learns = (terms == EVIDENCE) & (torch.arange(len(terms), device=terms.device) < len(taught))[:, None]
        sums["distill"] = distillation(work, rows[: len(taught)], taught, student=logits[learns[counted]])
    return sums


def sum_by_term(nll: Tensor, terms: Tensor) -> dict[str, Tensor]:
    """The sum of the nll of each term that occurs, from nll and terms of one shape."""
    return {TERMS[t]: nll[terms == t].sum() for t in terms.unique().tolist() if t}


def distillation(work: Work, rows: Sequence[Row], taught: range, *, student: Tensor) -> Tensor:
    """KL from what the model says behind the documents' texts to the student's logits (counted,V), in nats, summed.

    The rows are those of the batch's tuples number `taught`; what counts are their evidence tokens.
    """
    lessons, memory_lm = work.lessons, work.memory_lm
    texts = [lessons.text(i) for i in lessons.tuple_index[work.batch.tuples[list(taught)]]]
    behind = [behind_text(text, row) for text, row in zip(texts, rows, strict=True)]
    bare = memory_lm.adapted and not lessons.params.train.text_weight  # without adapter where it learns no text
    with torch.no_grad(), memory_lm.lm.disable_adapter() if bare else nullcontext():
        teacher = counted_logits(memory_lm, None, behind, "evidence")[0].log_softmax(-1)  # (counted,V)
    return nn.functional.kl_div(student.log_softmax(-1), teacher, log_target=True, reduction="sum")


def key_loss(work: Work) -> float:
    """InfoNCE (van den Oord et al., 1807.03748): the question's vector against the keys of the batch and of the bank.

    Of the bank only the `train.key_negatives` nearest to each question count. A gold document is never a negative.
    """
    lessons, tuples, total = work.lessons, work.batch.keyed, 0.0
    documents = np.unique(lessons.tuple_index[tuples])
    at = torch.as_tensor(np.searchsorted(work.keyed, documents), device=work.keys.device)
    right = np.searchsorted(documents, lessons.tuple_index[tuples])
    for chunk in work.chunks(len(tuples)):
        vectors = mean_vectors(work.memory_lm, [lessons.question(i) for i in tuples[chunk]])  # (B,E)
        logits = vectors @ work.keys[at].T / TEMPERATURE  # (B,U')
        barred = np.array([[d in lessons.gold[i] for d in documents] for i in tuples[chunk]])  # (B,U')
        barred[np.arange(len(barred)), right[chunk]] = False
        logits = logits.masked_fill(torch.as_tensor(barred, device=logits.device), -torch.inf)
        logits = torch.cat([logits, hard_logits(work, vectors, tuples[chunk], documents)], 1)  # (B,U'+H)
        target = torch.as_tensor(right[chunk], device=logits.device)
        loss = nn.functional.cross_entropy(logits, target, reduction="sum") / len(tuples)
        work.scaler.scale(lessons.params.train.key_weight * loss).backward()
        total += loss.item()
    return total


def hard_logits(work: Work, vectors: Tensor, tuples: np.ndarray, present: np.ndarray) -> Tensor:
    """Logits (B,H) of the bank's keys nearest to the vectors (B,E), of no gold document and none that is `present`."""
    documents = work.bank.documents.cpu().numpy()  # (M,)
    barred = [np.isin(documents, [*present, *work.lessons.gold[i]]) for i in tuples]  # (M,) each
    logits = vectors @ work.bank.keys.T / TEMPERATURE  # (B,M)
    logits = logits.masked_fill(torch.as_tensor(np.array(barred), device=logits.device), -torch.inf)
    return logits.topk(min(work.lessons.params.train.key_negatives, len(documents))).values  # (B,H)


def encode_loss(work: Work) -> float:
    """Squared distance of the encoder's blocks from the table's, as a share of the latter's mean square."""
    made = work.z_table.blocks(work.rows)  # (U,K,W)
    there = work.z_table.z[work.documents].to(made.device)  # (U,K,W)
    loss = nn.functional.mse_loss(made, there) / there.square().mean()
    work.scaler.scale(work.lessons.params.train.encode_weight * loss).backward()
    return loss.item()

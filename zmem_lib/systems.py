"""The systems that are compared: each a function from questions to answers, with the same reader and token budget.

`zmem` chooses z (method 1 or 2) and generates evidence from it; `bm25` and `dense` retrieve passages, and so do
`bm25_asked` and `dense_tuned`, which have learned from the training questions as z-memory has; `hybrid_rrf` and
`hybrid` fuse the rankings of `bm25` and `dense`; `text_twin` is z-memory's own language model with the passages' text
in the place of z; `gold_passage` is given the right passage, `closed_book` none. The controls of z are in controls.py.
Every system chooses among all documents, seen and new, and hands the reader at most `top_k` evidence items.
"""

import time
from collections.abc import Callable

import pandas as pd
from torch import Tensor

from zmem_lib import fusion, retrieve
from zmem_lib.artifacts import read_json
from zmem_lib.bench import (
    DEPTH,
    SELECTORS,
    Bench,
    both_rankings,
    by_key_then_likelihood,
    by_text,
    load_bench,
    rows_of,
    texts_of,
)
from zmem_lib.memory_lm import MemoryLM, generate_all
from zmem_lib.params import Params
from zmem_lib.reader import read
from zmem_lib.schema import check
from zmem_lib.select import Ranking
from zmem_lib.tuples import parts_of

__all__ = ["SELECTORS", "Bench", "by_key_then_likelihood", "by_text", "load_bench"]
NO_RANKING: Ranking = ([], [])


def zmem(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """z chosen as `select` says, evidence generated from it."""
    began = time.perf_counter()
    ranking = SELECTORS[bench.params.select](list(questions.question), bench)
    items, spent = recall(questions, bench, [ids[: bench.params.top_k] for ids in ranking[0]])
    return answer(questions, bench, items, ranking=ranking, spent=spent, began=began)


def retrieved(questions: pd.DataFrame, bench: Bench, choose: Callable[[list[str]], Ranking]) -> pd.DataFrame:
    """The passages of the documents that `choose` ranks first, read."""
    began = time.perf_counter()
    ranking = choose(list(questions.question))
    items = chosen_passages(bench, [ids[: bench.params.top_k] for ids in ranking[0]])
    return answer(questions, bench, items, ranking=ranking, began=began)


def bm25(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25."""
    return retrieved(questions, bench, lambda asked: retrieve.rank_bm25(bench.bm25, asked, DEPTH))


def dense(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by the inner product of sentence embeddings."""
    return retrieved(questions, bench, lambda asked: retrieve.rank_dense(bench.dense, bench.encoder, asked, DEPTH))


def bm25_asked(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25 over passage and training questions; the reader gets the passage alone."""
    index = retrieve.load_bm25(bench.folder / "bm25_asked")
    return retrieved(questions, bench, lambda asked: retrieve.rank_bm25(index, asked, DEPTH))


def dense_tuned(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by the same encoder as `dense`, trained on the training questions."""
    index = retrieve.load_dense(bench.folder / "dense_tuned.faiss")
    encoder = retrieve.load_encoder(str(bench.folder / "dense_tuned"), str(bench.memory_lm.device))
    return retrieved(questions, bench, lambda asked: retrieve.rank_dense(index, encoder, asked, DEPTH))


def hybrid_rrf(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25 and dense together: reciprocal rank fusion."""
    return retrieved(questions, bench, lambda asked: fusion.reciprocal_ranks(*both_rankings(asked, bench), DEPTH))


def hybrid(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages ranked by BM25 and dense together: the sum of scores with the weight that was best on dev questions."""
    weight = read_json(bench.folder / fusion.WEIGHT_FILE)["weight"]
    return retrieved(questions, bench, lambda asked: fusion.weighted_sum(*both_rankings(asked, bench), weight, DEPTH))


def text_twin(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """Passages of z-memory's shortlist, ranked by the same language model on their text."""
    return retrieved(questions, bench, lambda asked: by_text(asked, bench))


def gold_passage(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """The gold document's text: what the reader does with perfect retrieval."""
    began = time.perf_counter()
    return answer(questions, bench, chosen_passages(bench, [ids[:1] for ids in questions.gold_doc_ids]), began=began)


def closed_book(questions: pd.DataFrame, bench: Bench) -> pd.DataFrame:
    """No evidence: what the reader knows by itself."""
    return answer(questions, bench, [[] for _ in range(len(questions))], began=time.perf_counter())


def recall(
    questions: pd.DataFrame, bench: Bench, chosen: list[list[str]]
) -> tuple[list[list[str]], list[tuple[int, int]]]:
    """Evidence items generated from the z of each chosen document, and (input, output) tokens, by question."""
    row_of = rows_of(bench)
    pairs = [(q, row_of[doc_id]) for q, ids in enumerate(chosen) for doc_id in ids]
    return from_blocks(questions, bench, pairs, bench.z[[row for _, row in pairs]])


def from_blocks(
    questions: pd.DataFrame, bench: Bench, pairs: list[tuple[int, int]], z: Tensor
) -> tuple[list[list[str]], list[tuple[int, int]]]:
    """Evidence items generated from z (B,K,W), one for each pair (number of the question, any), and tokens spent."""
    asked, params = list(questions.question), bench.params
    written = generate_evidence(
        bench.memory_lm,
        z,
        [asked[q] for q, _ in pairs],
        evidence_tokens=params.evidence_tokens,
        batch=params.batch_answers,
    )
    items: list[list[str]] = [[] for _ in asked]
    spent = [(0, 0) for _ in asked]
    for (q, _), text in zip(pairs, written, strict=True):
        items[q].append(text)
        prompts = bench.memory_lm.prompts
        read_in, written_out = spent[q]
        read_in += z.shape[1] + len(prompts.asked(asked[q]))
        spent[q] = (read_in, written_out + len(prompts.encode(text)))
    return items, spent


def generate_evidence(
    memory_lm: MemoryLM, z: Tensor, questions: list[str], *, evidence_tokens: int, batch: int
) -> list[str]:
    """The evidence that the model writes from z (B,K,W) for each question."""
    prompts = [memory_lm.prompts.asked(question) for question in questions]
    output = generate_all(memory_lm, z, prompts, max_tokens=evidence_tokens, batch=batch)
    return [memory_lm.prompts.decode(ids) for ids in output]


def chosen_passages(bench: Bench, chosen: list[list[str]]) -> list[list[str]]:
    """The texts of the chosen documents, by question."""
    text_of = texts_of(bench)
    return [[text_of[doc_id] for doc_id in ids] for ids in chosen]


def answer(
    questions: pd.DataFrame,
    bench: Bench,
    items: list[list[str]],
    *,
    ranking: Ranking = NO_RANKING,
    spent: list[tuple[int, int]] | None = None,
    began: float,
) -> pd.DataFrame:
    """Read the items and return the answers table; `spent` are the tokens already read and written per question."""
    readings = read(bench.memory_lm, list(questions.question), items, bench.params)
    n = len(questions)
    spent = spent or [(0, 0)] * n
    ids, scores = ranking if ranking[0] else ([[]] * n, [[]] * n)
    table = pd.DataFrame(
        {
            "question_id": list(questions.question_id),
            "part": list(questions.part),
            "ranked_doc_ids": ids,
            "ranked_scores": scores,
            "evidence": readings.evidence,
            "evidence_tokens": readings.evidence_tokens,
            "answer": readings.answers,
            "seconds": (time.perf_counter() - began) / max(n, 1),
            "input_tokens": [a + b for a, (b, _) in zip(readings.input_tokens, spent, strict=True)],
            "output_tokens": [a + b for a, (_, b) in zip(readings.output_tokens, spent, strict=True)],
        }
    )
    return check(table, "answers")


def pick_questions(questions: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The fixed sample that every system answers: at most `scan_questions` per part and kind, with their `part`.

    Parts: seen and unasked-document (test), new (new-test), trained (as many training questions, to show the fit).
    """
    questions = questions.assign(part=parts_of(questions))
    questions = questions[questions.part != ""]
    shuffled = questions.sample(frac=1, random_state=params.seed)
    limit = params.scan_questions or len(shuffled)
    picked = shuffled.groupby(["part", "kind"], sort=False).head(limit)
    return picked.sort_values("question_id").reset_index(drop=True)

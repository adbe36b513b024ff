"""The plan of a run as text: GPU memory by chapter and part, disk, download, time and cost on a G2 machine of GCP.

Every figure comes from the formulas of needs.py and plan.py: it is planned, before anything is downloaded or measured.
"""

from collections.abc import Iterable

from zmem_lib.chapters import chapters_of
from zmem_lib.memory.shape import model_shape, published
from zmem_lib.memory.write import snapshot_steps
from zmem_lib.params import Params
from zmem_lib.runs.machine import L4
from zmem_lib.runs.needs import GIB, gpu_total, learned_weights, memory, number_bytes, row_bytes
from zmem_lib.runs.plan import api_requests, estimate_seconds, judge_requests
from zmem_lib.text import about

L4_BYTES = 22.5 * GIB  # of its 24 GB, what the driver leaves
PRICE = 0.85  # dollars an hour of a g2-standard-8, on demand: look up your region's
MEMORY_CHAPTERS = {3: "03 train", 4: "04 write", 5: "05 answer"}
TOKENIZER, DATA_SET, ENVIRONMENT = 0.02 * GIB, 1.0 * GIB, 6.5 * GIB  # bytes; the last with torch's CUDA build
TABLES = 40_000  # bytes for a document: tuples, answers of seven systems, rankings, BM25's terms, vectors
LABEL, COLUMN = 30, 12


def plan_lines(params: Params, price: float = PRICE) -> list[str]:
    """The whole plan, line by line; `price` in dollars an hour."""
    if not params.has_lm:
        documents = params.corpus.documents + params.corpus.new_documents
        said = f"{params.run}: lm none, the retrieval opponents alone; corpus {params.corpus.name}, {documents:,} documents"
        return [said, "", *disk_lines(params), "", *time_lines(params, price)]
    parts = [model_lines(params), memory_lines(params), disk_lines(params), time_lines(params, price)]
    if params.answer.reader == "api":
        prices = (params.answer.api_input_price, params.answer.api_output_price)
        parts.append(address_lines(f"Reader {params.answer.api_model}", api_requests(params), prices))
    if params.evaluate.judge == "api":
        prices = (params.evaluate.judge_input_price, params.evaluate.judge_output_price)
        parts.append(address_lines(f"Judge {params.evaluate.judge_model}", judge_requests(params), prices))
    if "api" in (params.answer.reader, params.evaluate.judge):
        limit = f"the run stops before ${params.machine.api_budget:.2f}" if params.machine.api_budget else "no limit (api_budget)"
        parts.append([f"Spending at addresses: {limit}"])
    return [line for part in parts for line in ["", *part]][1:]


def summary_lines(runs: Iterable[Params], price: float = PRICE) -> list[str]:
    """The plans of several runs as one table in Markdown, a row each."""
    lines = [
        "| run | GPU memory, GiB | disk, GiB | download, GiB | time on an L4 | cost, US dollars |",
        "|---|---|---|---|---|---|",
    ]
    for params in runs:
        chapters = MEMORY_CHAPTERS if params.has_lm else ()
        peak = max((gpu_total(memory(params, one, number_bytes(params))) for one in chapters), default=0.0)
        seconds = sum(estimate_seconds(params, number, L4) for number in chapters_of(params))
        sizes = [peak, sum(disk_bytes(params).values()), download_bytes(params)]
        cells = [params.run, *[f"{size / GIB:.1f}" for size in sizes], about(seconds), f"{seconds / 3600 * price:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def model_lines(params: Params) -> list[str]:
    """Model, its shape, and the documents."""
    shape = model_shape(params)
    learns = learned_weights(params) if params.train.lm else 0
    block = params.memory.z_tokens * shape.hidden
    return [
        f"{params.run}: lm {params.lm.name}, quantisation {params.lm.quantisation}",
        f"  {shape.linear + shape.other:,} weights: {shape.layers} layers of width {shape.hidden}, "
        f"vocabulary {shape.vocabulary:,}; {learns:,} of the model learn",
        f"  corpus {params.corpus.name}: {params.corpus.documents:,} documents seen, {params.corpus.new_documents:,} new; "
        f"z of {params.memory.z_tokens} x {shape.hidden}, {4 * block / 1024:,.0f} KiB each",
    ]


def memory_lines(params: Params) -> list[str]:
    """GPU memory at the peak of each chapter that needs some, by part, and whether an L4 has it."""
    parts = {chapter: memory(params, chapter, number_bytes(params)) for chapter in MEMORY_CHAPTERS}
    totals = {chapter: gpu_total(parts[chapter]) for chapter in parts}
    outside = {chapter: totals[chapter] - sum(parts[chapter].values()) for chapter in parts}
    lines = [_row("GPU memory, planned, GiB", MEMORY_CHAPTERS.values())]
    lines += [_row(f"  {name}", [_gib(parts[chapter][name]) for chapter in parts]) for name in parts[3]]
    lines.append(_row("  CUDA, allocator's slack", [_gib(outside[chapter]) for chapter in parts]))
    lines.append(_row("  in all", [_gib(totals[chapter]) for chapter in parts]))
    fits = ["fits" if total <= L4_BYTES else "TOO MUCH" for total in totals.values()]
    return [*lines, _row(f"  an L4 has {_gib(L4_BYTES)}", fits)]


def download_bytes(params: Params) -> float:
    """Bytes of the language model to download: none for one made here or in a local folder."""
    known = published().get(params.lm.name)
    if known is None:
        return 0.0
    return known["download_bytes"] + TOKENIZER


def disk_bytes(params: Params) -> dict[str, float]:
    """Bytes on disk by what they are for, at their largest."""
    always = {
        "this environment": ENVIRONMENT,
        "data set, downloaded": DATA_SET * (params.corpus.name not in ("synthetic", "folder") and not params.corpus.path),
        "tables and indices": TABLES * float(params.corpus.documents + params.corpus.new_documents),
    }
    if not params.has_lm:
        return always
    learned = learned_weights(params) * (params.train.lm or params.learns_whole)
    block = float(row_bytes(params))
    seen, new = params.corpus.documents * block, params.corpus.new_documents * block
    return always | {
        "model, downloaded": download_bytes(params),
        "lm/ and z": 4.0 * learned + TOKENIZER + seen + new,
        "z at steps of writing": 4 * 2 * len(snapshot_steps(params.write.steps)) * new,  # starts; pieces and whole
        "checkpoint, two at a time": 2 * 3 * (4.0 * learned + seen) * params.train.lm,  # with both moments
    }


def disk_lines(params: Params) -> list[str]:
    """Disk and download."""
    parts = disk_bytes(params)
    known = published().get(params.lm.name)
    lines = [_row("Disk, planned, GiB", [""])]
    lines += [_row(f"  {name}", [_gib(value)]) for name, value in parts.items() if value]
    lines.append(_row("  in all", [_gib(sum(parts.values()))]))
    if known:
        gated = "accept it on the hub and set HF_TOKEN" if known["gated"] else "no token needed"
        lines.append(f"  licence of the model: {known['licence']}; {gated}")
    return lines


def time_lines(params: Params, price: float) -> list[str]:
    """Time of each chapter on an L4, their sum, and what it costs."""
    seconds = {number: estimate_seconds(params, number, L4) for number in chapters_of(params)}
    total = sum(seconds.values())
    lines = [_row("Time on an L4, planned", [""])]
    lines += [_row(f"  {name}", [about(seconds[number])]) for number, name in chapters_of(params).items()]
    lines.append(_row("  in all", [about(total)]))
    lines.append(f"  planned cost: ${total / 3600 * price:.2f}, at ${price:.2f} an hour (change it with --price)")
    return lines


def address_lines(who: str, planned: tuple[int, int, int], prices: tuple[float, float]) -> list[str]:
    """Requests to an address, their tokens and dollars; the same question twice is asked once.

    Prices are in dollars for a million tokens, of input and of output.
    """
    requests, read, written = planned
    cost = (read * prices[0] + written * prices[1]) / 1e6
    return [
        _row(f"{who}, planned", [""]),
        _row("  requests, at most about", [f"{requests:,}"]),
        _row("  input tokens", [f"{read:,}"]),
        _row("  output tokens", [f"{written:,}"]),
        f"  planned cost: ${cost:.2f}, at ${prices[0]:g} and ${prices[1]:g} for a million",
    ]


def _row(label: str, cells: object) -> str:
    return f"{label:<{LABEL}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells)


def _gib(size: float) -> str:
    return f"{size / GIB:.2f}"

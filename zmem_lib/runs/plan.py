"""The plan of a run as text: GPU memory by chapter and part, disk, download, time and cost on a G2 machine of GCP.

Every figure comes from the formulas of needs.py and duration.py, and from the counts of requests here: it is planned,
before anything is downloaded or measured.
"""

from collections.abc import Iterable, Mapping

from zmem_lib.chapters import CHAPTERS, chapters_of
from zmem_lib.memory.shape import model_shape, published
from zmem_lib.meter import about
from zmem_lib.packaged import PACKAGES, title_of
from zmem_lib.params import Params
from zmem_lib.runs import duration, needs
from zmem_lib.runs.needs import GIB, gpu_total, number_bytes
from zmem_lib.systems.systems import SYSTEMS, compared, which

L4_BYTES = 22.5 * GIB  # of its 24 GB, what the driver leaves
PRICE = 0.85  # dollars an hour of a g2-standard-8, on demand: look up your region's
MEMORY_CHAPTERS = {3: "03 train", 4: "04 write", 5: "05 answer"}
INSTRUCTION_TOKENS = 40  # of a request to a reader at an address: what to do, and the marks of a chat
JUDGING, JUDGING_PIECE = 9, 3  # requests to a judge of an answer, and of each piece of its evidence
JUDGING_TOKENS, JUDGING_PIECE_TOKENS = 4_100, 1_300  # of the same, without the evidence
EVIDENCE_READ, VERDICT_TOKENS = 6, 60  # times that a judge reads the whole evidence; tokens of its reply
LABEL, COLUMN = 30, 12


def plan_lines(params: Params, price: float = PRICE) -> list[str]:
    """The whole plan, line by line; `price` in dollars an hour."""
    parts = [model_lines(params), *([memory_lines(params)] if params.has_lm else []), disk_lines(params)]
    parts += [time_lines(params, price), *address_parts(params)]
    return [line for part in parts for line in ["", *part]][1:]


def summary_lines(runs: Iterable[Params], price: float = PRICE) -> list[str]:
    """The plans of several runs as one table in Markdown, a row each."""
    lines = [
        "| run | GPU memory, GiB | disk, GiB | download, GiB | time on an L4 | cost, US dollars |",
        "|---|---|---|---|---|---|",
    ]
    for params in runs:
        chapters = MEMORY_CHAPTERS if params.has_lm else ()
        peak = max((gpu_total(needs.memory(params, one, number_bytes(params))) for one in chapters), default=0.0)
        seconds = sum(chapter_seconds(params).values())
        sizes = [_gib(size, 1) for size in (peak, sum(needs.disk_bytes(params).values()), needs.download_bytes(params))]
        lines.append(f"| {' | '.join([params.run, *sizes, about(seconds), f'{seconds / 3600 * price:.2f}'])} |")
    return lines


def model_lines(params: Params) -> list[str]:
    """Model, its shape, and the documents."""
    corpus, memory = params.corpus, params.memory
    if not params.has_lm:
        documents = f"corpus {corpus.name}, {corpus.documents + corpus.new_documents:,} documents"
        return [f"{params.run}: lm.name none, the retrieval opponents alone; {documents}"]
    shape = model_shape(params)
    learns = needs.learned_weights(params) if params.train.lm else 0
    keys = f", with a key of {memory.key_width}" if memory.key_width else ""
    return [
        f"{params.run}: lm {title_of(params.lm.name)}, quantisation {params.lm.quantisation}",
        f"  {shape.linear + shape.other:,} weights: {shape.layers} layers of width {shape.hidden}, "
        f"vocabulary {shape.vocabulary:,}; {learns:,} of the model learn",
        f"  corpus {corpus.name}: {corpus.documents:,} documents seen, {corpus.new_documents:,} new; z of "
        f"{memory.z_tokens} x {needs.block_width(params)}{keys}, {needs.row_bytes(params) / 1024:,.1f} KiB each",
    ]


def memory_lines(params: Params) -> list[str]:
    """GPU memory at the peak of each chapter that needs some, by part, and whether an L4 has it."""
    parts = {chapter: needs.memory(params, chapter, number_bytes(params)) for chapter in MEMORY_CHAPTERS}
    totals = {chapter: gpu_total(parts[chapter]) for chapter in parts}
    outside = [_gib(totals[chapter] - sum(parts[chapter].values())) for chapter in parts]
    return [
        _row("GPU memory, planned, GiB", MEMORY_CHAPTERS.values()),
        *(_row(f"  {name}", [_gib(parts[chapter][name]) for chapter in parts]) for name in parts[3]),
        _row("  CUDA, allocator's slack", outside),
        _row("  in all", map(_gib, totals.values())),
        _row(f"  an L4 has {_gib(L4_BYTES)}", ["fits" if size <= L4_BYTES else "TOO MUCH" for size in totals.values()]),
    ]


def disk_lines(params: Params) -> list[str]:
    """Disk and download."""
    parts, known = needs.disk_bytes(params), published().get(title_of(params.lm.name))
    sizes = {name: _gib(size) for name, size in parts.items() if size}
    lines = _block("Disk, planned, GiB", sizes | {"in all": _gib(sum(parts.values()))})
    if known:
        gated = known["gated"] and params.lm.name not in PACKAGES
        token = "accept it on the hub and set HF_TOKEN" if gated else "no token needed"
        lines.append(f"  licence of the model: {known['licence']}; {token}")
    return lines


def chapter_seconds(params: Params) -> dict[str, float]:
    """Seconds of each chapter on an L4; of a schooling, of its two chapters and what it does itself."""
    if params.schools:
        from zmem_lib.runs.school import planned_seconds  # imports torch, which takes seconds

        before = {name: duration.estimate_seconds(params, i, duration.L4) for i, name in CHAPTERS.items() if i < 3}
        return before | planned_seconds(params, duration.L4)
    return {name: duration.estimate_seconds(params, i, duration.L4) for i, name in chapters_of(params).items()}


def time_lines(params: Params, price: float) -> list[str]:
    """Time of each chapter on an L4, their sum, and what it costs."""
    seconds = chapter_seconds(params)
    total = sum(seconds.values())
    cost = f"  planned cost: ${total / 3600 * price:.2f}, at ${price:.2f} an hour (change it with --price)"
    lines = _block("Time on an L4, planned", {name: about(s) for name, s in (seconds | {"in all": total}).items()})
    return [*lines, cost]


def address_parts(params: Params) -> list[list[str]]:
    """Of reader and judge at an address: requests, their tokens and dollars; the same question twice is asked once."""
    answer, evaluate, budget, asked, parts = params.answer, params.evaluate, params.machine.api_budget, [], []
    if answer.reader == "api":
        prices = (answer.api_input_price, answer.api_output_price)
        asked.append((f"Reader {answer.api_model}", api_requests(params), *prices))
    if evaluate.judge == "api":
        prices = (evaluate.judge_input_price, evaluate.judge_output_price)
        asked.append((f"Judge {evaluate.judge_model}", judge_requests(params), *prices))
    for who, (requests, read, written), input_price, output_price in asked:
        cost = (read * input_price + written * output_price) / 1e6
        counts = {"requests, at most about": requests, "input tokens": read, "output tokens": written}
        lines = _block(f"{who}, planned", {name: f"{count:,}" for name, count in counts.items()})
        prices = f"${input_price:g} and ${output_price:g} for a million"
        parts.append([*lines, f"  planned cost: ${cost:.2f}, at {prices}"])
    limit = f"the run stops before ${budget:.2f}" if budget else "no limit (machine.api_budget)"
    return [*parts, [f"Spending at addresses: {limit}"]] if parts else []


def api_requests(params: Params) -> tuple[int, int, int]:
    """Requests to a reader at an address, and their input and output tokens: all systems, absent ones, snapshots."""
    answer, snapshots = params.answer, needs.snapshots_scored(params)
    absent = 2 * len(which(lambda system: system.asked_absent)) * params.corpus.absent_questions
    asked = len(SYSTEMS) * duration.questions_answered(params) + absent
    requests = asked + snapshots * duration.questions_of_a_snapshot(params)
    evidence = answer.top_k * min(duration.BLOCK_TEXT_TOKENS, params.memory.evidence_tokens)
    read = requests * (INSTRUCTION_TOKENS + duration.QUESTION_TOKENS + evidence)
    return requests, read, requests * answer.answer_tokens


def judge_requests(params: Params) -> tuple[int, int, int]:
    """Requests to a judge at an address, and their input and output tokens: every compared system's answers.

    Of an answer four of ragas', claims and entailment of RAGChecker's and RAGBench's one; of each piece of evidence one
    of ragas' and two of RAGChecker's. The token counts are those of their prompts, at four letters a token.
    """
    judged = len(compared()) * (duration.PARTS * params.evaluate.judge_questions or duration.questions_answered(params))
    evidence = params.answer.top_k * min(duration.BLOCK_TEXT_TOKENS, params.memory.evidence_tokens)
    requests = judged * (JUDGING + JUDGING_PIECE * params.answer.top_k)
    read = judged * (JUDGING_TOKENS + JUDGING_PIECE_TOKENS * params.answer.top_k + EVIDENCE_READ * evidence)
    return requests, read, requests * VERDICT_TOKENS


def _block(title: str, cells: Mapping[str, str]) -> list[str]:
    return [_row(title, [""]), *(_row(f"  {name}", [cell]) for name, cell in cells.items())]


def _row(label: str, cells: Iterable[str]) -> str:
    return f"{label:<{LABEL}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells)


def _gib(size: float, digits: int = 2) -> str:
    return f"{size / GIB:.{digits}f}"

"""Page one in English: every fixed sentence, heading and label, as format strings.

phrases_ko.py has the same keys with the same placeholders; wording.phrases chooses between them. The names of systems
in a sentence are those of wording.NAMES; here stand the short ones, for the rows of tables and for plots.
"""

PHRASES = {
    # the prose cells of notebook 07, by their id
    "cell.cell-00": "# Findings\n\nCan a small language model with one learned block of vectors per document take "
    "the place of the vector database in retrieval-augmented generation?\n\nA **z-memory** keeps a short block of "
    "vectors $z$ for every document in the place of its text, trained together with the model that writes evidence "
    "from it. A new document gets its block by a few gradient steps while the model stays as it is. BM25, dense "
    "retrieval and fusions of them choose a passage of text for the same questions; where answers are compared, one "
    "reader writes them all.",
    "cell.page-verdict": "## The verdict", "cell.page-table": "## The numbers", "cell.page-costs": "## What it costs",
    "cell.page-plots": "## Four plots", "cell.page-controls": "## Controls", "cell.page-limits": "## Limits",
    "cell.page-changed": "## What changed since the last run of this name",
    # the verdict
    "verdict.found": "**Finding the document** (the right one comes first, recall@1): {parts}.",
    "verdict.exact": "**Answering** (exact match): {parts}.", "verdict.join": "; ",
    "verdict.better": "on {part} (n = {n}) {name} with {value} is better than {rival} with {rival_value}{rest}",
    "verdict.worse": "on {part} (n = {n}) {name} with {value} is worse than {rival} with {rival_value}{rest}",
    "verdict.same": "on {part} (n = {n}) {name} with {value} is not told apart from {rival} with {rival_value}{rest}",
    "verdict.rest": ", the best of {others} others (of these: better than {better}, worse than {worse}, not told "
    "apart from {same})",
    "verdict.leader": "on {part} (n = {n}) {name} has the highest value, {value}, and is told apart from {better} "
    "of {others} others",
    "verdict.alone": "on {part} (n = {n}) {name} has {value}, and no other system to be held against",
    "verdict.nothing": "on {part} (n = {n}) the answers decide nothing: no system, the gold passage included, has "
    "more than {most} of them exact",
    "verdict.few": "on {part} n = {n} is too few for any difference to show ({name} has {value})",
    "verdict.none": "No system that has to find its document was compared in this run.",
    "fused": "**Fusing BM25 and dense retrieval, {part}** (recall@1, n = {n}): by rank {rank}, {rank_side} {strong} "
    "alone with {strong_value}; by the weighted sum of scores {score}, {score_side} it.",
    "fused.weak": " Fusing by rank gives both rankings the same say, and {weak} with {weak_value} pulls {strong} "
    "down; the weighted sum has a weight, chosen on dev questions.",
    "fused.better": "better than", "fused.worse": "worse than", "fused.same": "not told apart from",
    "verdict.rule": "Better, worse and not told apart are said by a paired permutation test alone, corrected after "
    "Holm for all pairs of systems of one part and measure, p < {level}.",
    # what was run
    "setting": "Corpus `{corpus}`: {seen} seen documents with {test} test questions{apart}, {new} new documents "
    "with {new_test}. {block}Every system chooses among all {all} documents and gives the reader the evidence of "
    "{top_k}, at most {tokens} tokens of each.",
    "setting.apart": " ({n} of them about *unasked documents*, which no training question names)",
    "setting.block": "A block is {z_tokens} soft tokens. ",
    # controls
    "control.placebo": "**Placebo, {part}** (n = {n}): with the right z the answer stands in {right} of what is "
    "written, with {wrong_name} in {wrong}; the difference is {gap}: {meaning}.",
    "control.works": "what is written comes from the document's own z",
    "control.unsure": "no effect of the document's own z can be told at this n",
    "control.fails": "the right z does worse than a wrong one, so the memory does not work here",
    "control.reader": "**Reader, {part}** (n = {n}): exact answers without evidence {closed}, with the gold passage "
    "{gold}.",
    "control.kept": "**Retention, {part}** (n = {n}): of the {gain} F1 that the gold passage brings over no "
    "evidence, the right z keeps the share {value}.",
    "control.none": "This run has no memory, and so no controls of one.",
    # limits
    "limit.run": "One run with seed {seed}. The intervals are over questions; what another seed would give is not "
    "in them.",
    "limit.power": "So many questions show these differences in {power} % of all studies, after the correction (the "
    "least and the largest over the pairs with z-memory, or with BM25 where there is none): {parts}. A smaller one may "
    "be missed: not told apart does not mean the same.",
    "limit.shown": "{part} (n = {n}) {least}", "limit.least": "{size} ({metric})", "limit.over": "more than 1",
    "limit.sample": "A fixed sample of the test questions was answered: {parts}.",
    "limit.of": "{n} of {all} about {part}",
    "limit.synthetic": "The corpus is made by a program. What holds on it need not hold on natural text.",
    "limit.size": "The documents are {all}. Finding one among many more is harder, for every system in its own way.",
    "limit.favoured": "Asked about seen documents (n = {n}), z-memory puts a new document first for the share "
    "{value}{rival}; {new} of the {all} documents are new. It favours them, which lifts what it finds of the new "
    "documents at the cost of the seen ones.",
    "limit.favoured_rival": " (BM25: {value})",
    "limit.reader": "One reader answers for all ({reader}). Where it cannot read, recall and evidence tell more "
    "than exact answers.",
    "limit.unread": "Nobody reads in this run: it has no language model. What retrieval finds is measured, and "
    "whether the answer stands there, not what a reader makes of it.",
    "limit.scratch": "the model of this run, trained from scratch",
    "limit.budget": "The budget is {top_k} × {tokens} tokens of evidence. With another one the order may differ.",
    # what changed
    "changed.first": "First run of this name: there is nothing to compare it with.",
    "changed.same": "Compared with {where}: no parameter changed, and the interval of no measure leaves its former "
    "value.",
    "changed.since": "Compared with {where}.",
    "changed.previous": "the previous execution in the run's folder",
    "changed.kept": "the run kept in `results/runs/{run}`", "changed.params": "Changed parameters: {names}.",
    "changed.no_params": "No parameter changed.", "changed.param": "`{name}` ({before} before, {now} now)",
    "changed.values": "Of {all} values {moved} moved so far that the new interval no longer covers the old "
    "value{cut}.",
    "changed.cut": "; the {shown} that moved most are shown",
    "changed.caption": "Values that moved: before, and now with its 95 % interval over n questions.",
    # the headline table
    "head.caption": "Mean and 95 % bootstrap interval over n questions: {sizes}. Against {reference}, by the "
    "corrected test: ▲ better, ▼ worse, = not told apart; no mark: not tested (controls need not find their "
    "document). Items and tokens: evidence that the reader gets for a question.",
    "head.size": "{part} n = {n}{least}",
    "head.least": " (so many show a difference of {least} in {power} % of all studies)",
    "head.items": "evidence items", "head.tokens": "evidence tokens", "head.as_fits": "as fit",
    # the cost table
    "cost.caption": "Measured on the machine of this run; a dash: not measured, or not there. Train: chapter 03; "
    "write: a new document into its block, its start included, {write}; index: building the index, and for the "
    "tuned encoder its training; answer: choosing and reading, the mean over n questions. Stored: what grows with "
    "the corpus. Peak memory: of the whole process while it answered. Tokens are those that a language model reads "
    "and writes for a question. Money: dollars paid to an address; 0 for what runs here.",
    "cost.write_none": "which this run did not do", "cost.write_start": "from the start <code>{start}</code>",
    "cost.train": "train (s)", "cost.write": "write (s / document)", "cost.index": "index (s)",
    "cost.answer": "answer (s / question)", "cost.stored": "stored (MB)", "cost.memory": "peak memory (GB)",
    "cost.input": "tokens in", "cost.output": "tokens out", "cost.money": "money ($ / 1,000 questions)",
    "cost.n": "n",
    # plots
    "plot.quality": "share of questions", "plot.in_evidence": "answer in evidence", "plot.exact": "exact match",
    "plot.quality_alt": "Quality: share of questions whose answer stands in the evidence, and share answered "
    "exactly, by system, with 95 % intervals. {values}",
    "plot.recall_x": "documents looked at (k)", "plot.recall_y": "recall@k (share)",
    "plot.recall_alt": "Retrieval: share of questions with a gold document among the first 1, 5 and 20, by system, "
    "with 95 % intervals. {values}",
    "plot.write_y": "answer in evidence\n(share, the right z given)", "plot.write_step": "writing step",
    "plot.write_ms": "milliseconds per document, start included",
    "plot.write_title": "new documents, new-dev questions (n = {n})", "plot.start": "start: {start}",
    "plot.write_alt": "Writing a new document: share of new-dev questions whose answer stands in what the right "
    "block writes, against writing steps and milliseconds, with 95 % intervals. {values}",
    "plot.panel": "{part}\n(n = {n})", "plot.value": "{name}, {part}: {value}",
    "plot.no_writing": "No document was written in this run.",
    "plot.no_noise": "Noise was not measured in this run (`answer.noise_questions`).",
    "plot.noise_alt": "Noise: F1 of the answers as a growing share of the evidence items is replaced, by system, "
    "with 95 % intervals. {values}",
    "plot.noise_value": "{name}, {part}, {kind}: {first} with none replaced, {last} at {share} %",
    "kind.changed answer": "by a wrong answer", "kind.hard negative": "by similar documents",
    "plot.noise_y": "F1 (mean, 0 to 1)", "plot.noise_x": "evidence items replaced (%)",
    "plot.noise_panel": "{part} (n = {n})\n{kind}",
    # names
    "part.seen": "seen documents", "part.unasked-document": "unasked documents", "part.new": "new documents",
    "metric.em": "exact match", "metric.f1": "F1", "metric.answer_in_evidence": "answer in evidence",
    "metric.recall@1": "recall@1", "column.system": "system", "column.part": "part", "column.measure": "measure",
    "column.before": "before", "column.now": "now", "column.n": "n", "row.zmem": "z-memory",
    "row.zmem+text": "z, then text", "row.zmem+bm25": "z and BM25", "row.zmem-oracle": "right z",
    "row.zmem-shuffled": "another's z", "row.zmem-similar": "similar z", "row.zmem-random": "random z",
    "row.zmem-text": "right z and text", "row.bm25": "BM25", "row.bm25-asked": "BM25, questions",
    "row.dense": "dense", "row.dense-tuned": "dense, tuned", "row.hybrid-rrf": "fused by rank",
    "row.hybrid": "fused by score", "row.hybrid+rerank": "cross-encoder", "row.lm-rerank": "LM reranking",
    "row.text-twin": "text twin", "row.long-context": "long context", "row.gold-passage": "gold passage",
    "row.closed-book": "closed book",
}  # fmt: skip

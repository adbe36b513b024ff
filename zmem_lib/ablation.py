"""The rows of the ablation, as data: what each replaces in a parameter file, and what it shows.

`frozen` and `plain` are the simplest steps, each of PARTS is the file with one part off, the last rows have one more.
Chapter 06 shows what results/ holds of them; runs/ablate.py executes them.
"""

from collections.abc import Mapping
from typing import Any

PLAIN = {
    "train.question_weight": 0.0, "train.recite_weight": 0.0, "train.recite_inside": 0.0, "train.text_weight": 0.0, "train.key_weight": 0.0,
    "train.key_negatives": 0, "train.distill_weight": 0.0, "train.distractor_share": 0.0, "train.self_questions": 0,
    "write.self_questions": 0, "train.encode_share": 0.0, "train.encode_weight": 0.0, "train.id_steps": 0,
    "memory.z_width": 0, "memory.key_width": 0, "memory.start": "random", "write.start": "mean", "write.stop": 0.0,
    "write.proximal": 0.0, "answer.select": "query_likelihood",
}  # fmt: skip
BASE = {  # 2 million weights
    "lm.name": "scratch", "lm.revision": "", "lm.quantisation": "none", "lm.vocab_size": 2048, "lm.hidden_size": 192, "lm.layers": 4,
    "lm.heads": 4,
}  # fmt: skip
PARTS: dict[str, tuple[dict[str, Any], str]] = {  # the first key is the part's switch
    "connector": ({"memory.z_width": 0}, "blocks as wide as the model, without the shared connector"),
    "key": (
        {
            "memory.key_width": 0,
            "train.key_weight": 0.0,
            "train.key_negatives": 0,
            "train.id_steps": 0,
            "answer.select": "query_likelihood",
        },
        "no key vector: documents are chosen by the likelihood of the question alone",
    ),
    "encode": (
        {
            "train.encode_share": 0.0,
            "train.encode_weight": 0.0,
            "memory.start": "random",
            "write.start": "mean",
            "memory.key_width": 0,
            "train.key_weight": 0.0,
            "train.key_negatives": 0,
            "train.id_steps": 0,
            "answer.select": "query_likelihood",
        },
        "no encoder, and so no key for new documents: blocks start at random, new ones at the mean of the trained",
    ),
    "recite": ({"train.recite_weight": 0.0, "train.recite_inside": 0.0}, "no document is recited in joint training"),
    "recite-inside": ({"train.recite_inside": 0.0}, "recitations begin at the start of the document only"),
    "question": ({"train.question_weight": 0.0}, "log p(question | z), by which documents are chosen, is not trained"),
    "text": (
        {"train.text_weight": 0.0, "train.self_questions": 0, "write.self_questions": 0},
        "no lesson with the document's text in the place of z, and so no questions of its own",
    ),
    "distill": ({"train.distill_weight": 0.0}, "nothing is learnt from the model that has the text in context"),
    "distractors": ({"train.distractor_share": 0.0}, "a block never stands among other documents' blocks"),
    "pseudo-questions": ({"train.self_questions": 0}, "joint training has no questions but those of the corpus"),
    "write-questions": ({"write.self_questions": 0}, "writing recites only: it has no questions of the model's own"),
    "negatives": ({"train.key_negatives": 0}, "keys are held against those of the batch only, not against hard ones"),
    "start": ({"memory.start": "random"}, "the table starts at random; the encoder is trained all the same"),
    "muon": ({"train.optimiser": "adamw"}, "the model's matrices learn by AdamW, as everything else does"),
    "base": (BASE, "a model made from scratch in the place of the pretrained base"),
}
ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "frozen": (
        {"train.lm": False, **PLAIN},
        "the simplest step: the model, which also reads for all systems, stays as it is, and only z learns, from "
        "-log p(evidence | z, q)",
    ),
    "plain": (
        PLAIN,
        "the plain formula: model and z learn from -log p(evidence | z, q) alone (and the reader, which all systems "
        "share, from its own lessons)",
    ),
    "full": ({}, "nothing off"),
    **PARTS,
    "with-ids": ({"train.id_steps": 600}, "and ids are learned, by which documents can be chosen too (method 2)"),
    "with-distill": ({"train.distill_weight": 0.3}, "and the model learns from itself with the text in context"),
    "with-distractors": (
        {"train.distractor_share": 0.2},
        "and in a fifth of the steps other documents' blocks stand beside",
    ),
    "with-encode": (
        {"train.encode_share": 0.3, "train.encode_weight": 0.1},
        "and the encoder learns in three steps of ten",
    ),
}


def is_off(values: Mapping[str, Any], row: str) -> bool:
    """Whether parameters have the row already: its part is off there, or it replaces nothing; or lack what it needs."""
    overrides = ROWS[row][0]
    if row == "with-ids" and not values["memory.key_width"]:
        return True
    switches = list(overrides)[:1] if row in PARTS else list(overrides)
    return bool(switches) and all(values[key] == overrides[key] for key in switches)

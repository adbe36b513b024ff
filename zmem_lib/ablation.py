"""The rows of an ablation (ablation.yaml): what each replaces in a parameter file, and what that shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Row = tuple[dict[str, Any], str]
_GROUPS = yaml.safe_load(Path(__file__).with_name("ablation.yaml").read_text(encoding="utf-8"))
_TOLD: dict[str, Any] = {name: row for group in _GROUPS.values() for name, row in group.items()}


def _overrides(row: str) -> dict[str, Any]:
    """What a row sets, and then what the row sets that it is `as`."""
    return _TOLD[row]["sets"] | (_overrides(_TOLD[row]["as"]) if "as" in _TOLD[row] else {})


ROWS: dict[str, Row] = {name: (_overrides(name), row["shows"]) for name, row in _TOLD.items()}
PARTS: dict[str, Row] = {name: ROWS[name] for name in _GROUPS["parts"]}  # each without one part of ours


def is_off(values: Mapping[str, Any], row: str) -> bool:
    """Whether parameters have the row already: its part is off there, or it replaces nothing; or lack what it needs."""
    overrides = ROWS[row][0]
    if row == "with-ids" and not values["memory.key_width"]:
        return True
    switches = list(overrides)[:1] if row in PARTS else list(overrides)
    return bool(switches) and all(values[key] == overrides[key] for key in switches)

"""Blocks, by which an engine takes no writes: which there are, and what lifts them."""

from __future__ import annotations

import re

BLOCKS = {
    "cluster read-only": "cluster.blocks.read_only",
    "cluster create-index": "cluster.blocks.create_index",
    "index read-only (": "index.blocks.read_only",
    "index read (": "index.blocks.read",
    "index write": "index.blocks.write",
    "index metadata": "index.blocks.metadata",
}
"""What the engines say of a block, and the setting that it is."""
FULL = "Free disk space on its nodes, whose flood-stage watermark is passed; the engine lifts the block by itself then."


def lift(reason: str) -> str:
    """What to do about a block that an engine gives as its reason."""
    if "flood-stage" in reason:
        return FULL
    setting = next((setting for words, setting in BLOCKS.items() if words in reason), None)
    match = re.search(r"index \[([^]]+)\]", reason)
    return lift_setting(setting, match[1] if match else "{index}") if setting else "Lift the block."


def lift_setting(setting: str, index: str) -> str:
    if setting.startswith("cluster."):
        return f'Lift the block: PUT /_cluster/settings {{"persistent": {{"{setting}": null}}}}.'
    return f'Lift the block: PUT /{index}/_settings {{"{setting}": null}}.'

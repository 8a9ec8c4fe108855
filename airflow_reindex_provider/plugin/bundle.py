"""Where the page's files lie. Standard library only."""

from __future__ import annotations

import hashlib
from pathlib import Path

BUNDLE = Path(__file__).with_name("www") / "dist"
MAIN = "main.js"


def content_hash(content: bytes) -> str:
    """Says whether a file of the bundle is the one that somebody has."""
    return hashlib.sha256(content).hexdigest()[:16]

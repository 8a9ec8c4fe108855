"""The ceiling: bodies that ours has made, ready in memory: ``vectors_replay url index folder rows at_once``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.search_replay import replay


def main(url: str, index: str, folder: str, rows: int, at_once: int) -> None:
    replay(url, index, [path.read_bytes() for path in sorted(Path(folder).iterdir())], rows, at_once)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))

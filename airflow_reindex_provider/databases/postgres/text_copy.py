r"""COPY's text form: a row is a line, its columns stand between tabs, NULL is ``\N``, and a backslash begins an escape."""

from __future__ import annotations

import re

Cells = list[bytes | None]

_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def cells_of(line: bytes) -> Cells:
    """The columns of a row."""
    cells = line.split(b"\t")
    cells[-1] = cells[-1].removesuffix(b"\n")
    if b"\\" not in line:
        return [*cells]
    return [None if cell == rb"\N" else _unescaped(cell) if b"\\" in cell else cell for cell in cells]


def _unescaped(cell: bytes) -> bytes:
    if b"\\\\" in cell:
        return _ESCAPE.sub(_meant, cell)
    # Each backslash begins an escape: most are the lines of a text.
    for letter, meant in _ESCAPED.items():
        cell = cell.replace(b"\\" + letter, meant)
    return cell


def _meant(match: re.Match[bytes]) -> bytes:
    return _ESCAPED.get(match[1], match[1])

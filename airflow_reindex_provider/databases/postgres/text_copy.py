r"""COPY's text form: a row is a line, its columns stand between tabs, NULL is ``\N``, and a backslash begins an escape."""

from __future__ import annotations

Cells = list[bytes | None]

_ESCAPED = {rb"\n": b"\n", rb"\t": b"\t", rb"\r": b"\r", rb"\b": b"\b", rb"\f": b"\f", rb"\v": b"\v"}


def cells_of(line: bytes) -> Cells:
    """The columns of a row."""
    cells = line.split(b"\t")
    cells[-1] = cells[-1].removesuffix(b"\n")
    if b"\\" not in line:
        return [*cells]
    return [None if cell == rb"\N" else _unescaped(cell) if b"\\" in cell else cell for cell in cells]


def _unescaped(cell: bytes) -> bytes:
    # From left to right, so that the second half of a backslash begins nothing.
    return b"\\".join([_without_backslash(part) for part in cell.split(rb"\\")])


def _without_backslash(part: bytes) -> bytes:
    for escape, meant in _ESCAPED.items():
        # Most have escapes of one kind, the lines of a text; and to look for two bytes takes far longer than for one.
        if b"\\" not in part:
            break
        part = part.replace(escape, meant)
    return part

"""The frame of a binary COPY, and its rows one by one for the rare case in which one of them must be told from the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, flags and extension."""
TRAILER = b"\xff\xff"

Cells = Sequence[bytes | None]


def rows_of(pieces: Iterable[bytes]) -> list[Cells]:
    """The columns of each row of a stream."""
    stream = memoryview(b"".join(pieces))
    at = len(HEADER)
    rows: list[Cells] = []
    while stream[at : at + 2] not in (TRAILER, b""):
        cells: list[bytes | None] = []
        columns = int.from_bytes(stream[at : at + 2], "big")
        at += 2
        for _ in range(columns):
            size = int.from_bytes(stream[at : at + 4], "big", signed=True)
            at += 4
            cells.append(None if size < 0 else bytes(stream[at : at + size]))
            at += max(0, size)
        rows.append(cells)
    return rows


def stream_of(rows: Iterable[Cells]) -> Iterable[bytes]:
    """The inverse."""
    yield HEADER
    for cells in rows:
        yield len(cells).to_bytes(2, "big")
        for cell in cells:
            yield b"\xff" * 4 if cell is None else len(cell).to_bytes(4, "big") + cell
    yield TRAILER

"""Batches joined from places at equal distances."""

from __future__ import annotations

from airflow_reindex_provider.core.model import Position, Window

HOPS_PER_BATCH = 25
"""A part is joined from whole hops: with 25 to a batch, rounding leaves the parts equal within 1/25. More cost time."""


def joined(
    window: Window, starts: list[Position], step: int, last_rows: int, batch_rows: int, max_slices: int
) -> tuple[tuple[Window, int], ...]:
    """The window in at most ``max_slices`` parts of about ``batch_rows`` rows, each with how many it has.

    :param starts: every ``step``-th row of it, the first included. :param last_rows: how many there are from the last one on."""
    # The rows after the last hop may have moved on before they were counted.
    last_rows = max(1, last_rows)
    rows = (len(starts) - 1) * step + last_rows
    parts = min(max_slices, -(-rows // batch_rows))
    cuts = [len(starts) * i // parts for i in range(parts)]
    ends = [*cuts[1:], len(starts)]
    found = []
    for number, (cut, end) in enumerate(zip(cuts, ends, strict=True)):
        final = number == parts - 1
        part = Window(starts[cut] if number else window.start, window.end if final else starts[end])
        found.append((part, (end - cut) * step - (step - last_rows if final else 0)))
    return tuple(found)

"""What a task has read and written so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.model import Counts

if TYPE_CHECKING:
    from airflow_reindex_provider.core.model import Schema
    from airflow_reindex_provider.core.progress import Progress
    from airflow_reindex_provider.stream import Stream


@dataclass(slots=True)
class Touched:
    """:ivar stream: that of the group, where the task is of one. :ivar schema: of the source. :ivar rows: that were read, where
    they are not those of the progress. :ivar swapped: whether the public name points at another generation by now."""

    stream: Stream | None = None
    generation: str | None = None
    schema: Schema | None = None
    rows: int | None = None
    swapped: bool = False
    _progress: Progress | None = None
    _before: Counts = Counts()

    def follow(self, progress: Progress) -> None:
        """Count what it counts, from now on."""
        if progress is self._progress:
            return
        # Of those before only the sum is kept: a catch-up has many.
        self._before = self.counts
        self._progress = progress

    @property
    def counts(self) -> Counts:
        """Of this try alone: what an earlier one has done was told by that one."""
        return self._before if self._progress is None else self._before + self._progress.of_this_try

    @property
    def read(self) -> int | None:
        """How many rows; None where nothing counts them."""
        if self.rows is not None or self._progress is None:
            return self.rows
        return self.counts.processed

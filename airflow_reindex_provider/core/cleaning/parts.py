"""What a target and a checkpoint store may offer so that what nothing needs is found at them. One that does not is cleaned as far
as its other methods tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from airflow_reindex_provider.core.model import Checkpoint, Marked
from airflow_reindex_provider.core.protocols import CheckpointStore, TargetSession


@runtime_checkable
class MarkingTarget(TargetSession, Protocol):
    """A target that tells what carries this package's mark, whosever stream it is of."""

    def marked(self) -> Sequence[Marked]:
        """All that the connection may see, in the order in which it can be removed: what reads from others first."""

    def unmake(self, marked: Marked) -> bool:
        """Remove it, if it is still what :meth:`marked` has said; False where it is not, and nothing was done.

        :raises ConfigurationError: something else is made on top of it; names it."""


@runtime_checkable
class ListingStore(CheckpointStore, Protocol):
    """A store that tells what it keeps, of whichever stream."""

    def kept(self) -> Iterator[Checkpoint]:
        """Each thing that was saved here, in any order. What a person has written by hand without saying whose it is, and what
        cannot be read, is left out."""

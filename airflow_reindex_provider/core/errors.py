"""Every error of the package, grouped by what the caller does about it.

The core raises them and Airflow's retry policy decides by them: a ``ConfigurationError`` fails a task at once,
everything else is worth another try.
"""

from __future__ import annotations


class ReindexError(Exception):
    """Root of all errors that this package raises on purpose."""


class ConfigurationError(ReindexError):
    """Fix the stream, the connection, the grant or the schema; a retry cannot help."""


class WindowError(ConfigurationError):
    """Ask for another window: this one is empty, reversed, in the future, or not of the cursor's type."""


class CheckpointInvalidError(ConfigurationError):
    """Mend or reset the stored checkpoint: it cannot be read, or lies ahead of the source's clock."""


class HorizonError(ConfigurationError):
    """Grant, set or state (``lag``) what the horizon rests on; without it rows could be skipped."""


class CheckpointConflictError(ReindexError):
    """Somebody else moved the checkpoint meanwhile; nothing was overwritten."""


class BatchesFailedError(ConfigurationError):
    """Some batches of the run failed; the checkpoint stands before the first of them."""


class TooManyFailuresError(ConfigurationError):
    """More documents were refused than ``max_failures`` allows; mend them or raise the limit."""


class TooManyDeletesError(ConfigurationError):
    """A sweep would delete more than ``max_delete_fraction`` of the index; find out why, or raise the limit."""


class StreamBusyError(ConfigurationError):
    """Another run works on the stream and holds its lease; let it end, or wait until the lease has run out."""


class GenerationGoneError(ConfigurationError):
    """The generation that a run was planned for has been dropped since; start a new run, which plans for the live one."""


class NotPassedYetError(ConfigurationError):
    """A generation has still to read what was to be forgotten; try again once its load has ended."""


class VerificationError(ConfigurationError):
    """A rebuilt generation is not what the source says it should be; it was not promoted, and the live one serves on."""


class SourceIncompleteError(ReindexError):
    """A row was left out of a scan of the source and is there all the same; nothing was deleted. Try again."""


class IndexingStoppedError(ReindexError):
    """The task was asked to stop and did so between two chunks; what was acknowledged is kept."""


class TransientError(ReindexError):
    """The source or the target did not answer as it should; a retry goes on after the last chunk."""


class ThrottledError(TransientError):
    """A provider wants fewer requests, or later ones; whoever asks waits, and counts no failed try.

    :ivar retry_after_s: how long it wants to be left alone; None where it does not say.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TextRefusedError(ReindexError):
    """A text will never be embedded as it is; its document is parked with the reason, and the others go on."""


class VectorsGoneError(ReindexError):
    """A target was to give its documents vectors that it held, and does not hold them any more; embed these passages.

    :ivar hashes: of the passages. Nothing of the chunk was written."""

    def __init__(self, hashes: frozenset[bytes]) -> None:
        super().__init__(f"{len(hashes)} vectors that the index held are gone.")
        self.hashes = hashes

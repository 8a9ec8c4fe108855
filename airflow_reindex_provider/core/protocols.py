"""All extension points, in the order in which a run meets them; what embeds has files of its own, ``embedding/embedder.py``,
``embedding/cache.py`` and ``embedding/target.py``, and so have sources that record their deletions, ``recording.py``, and what a
clean-up needs, ``cleaning/parts.py``.

A source, a target and a checkpoint store are plain values that a Dag file makes without I/O. ``open()`` gives a session:
one connection, used by one task, closed at the end. Every method may raise ``ConfigurationError`` (a person must act) or
``TransientError`` (try again); both leave nothing half done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol, runtime_checkable

from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed
from airflow_reindex_provider.core.model import (
    Batch,
    Checkpoint,
    Chunk,
    Document,
    Finding,
    Format,
    Generation,
    Groups,
    Guarantee,
    Key,
    Look,
    Outliers,
    Position,
    Schema,
    Size,
    Slices,
    Survey,
    Window,
    WriteResult,
)


class PlanningSource(Protocol):
    """What of an open source a plan is made of."""

    def survey(self) -> Survey:
        """Columns, clock and horizon, taken before any row is read; everything that is wrong with the stream's
        definition on the source's side is raised here."""

    def slices(self, window: Window, *, batch_rows: int, max_slices: int, fresh: bool = False) -> Slices:
        """Cut the window into at most ``max_slices`` parts of about ``batch_rows`` rows, equal within 5%, in order.
        Parts meet without a gap: the first starts where the window starts, the last ends where it ends. A window
        without rows has no parts.

        :param fresh: as in :class:`Batch`: in the source of one group, of its own rows only."""


class SourceSession(PlanningSource, Protocol):
    """An open source. It only ever reads."""

    def schema(self) -> Schema:
        """The columns alone, for a task whose window is settled already; as this session has found them, if it has before."""

    def has_changes(self, window: Window) -> bool:
        """Whether a row lies in the window; must not scan the table where an index helps."""

    def read(self, batch: Batch, *, format: Format, fields: Sequence[str], chunk_rows: int) -> Iterator[Chunk]:
        """The batch's rows as they are now, in order of change, cut into chunks of about ``chunk_rows`` rows, sooner where
        they are large. The last chunk ends where the batch ends; a batch without rows may yield nothing. Memory is that of a
        chunk, and of the largest row. A row that cannot be read is in ``Chunk.rejected`` and does not stop the rest. A row
        whose cursor has moved past the window meanwhile is left out: a later window brings it.

        The source of one group gives rows of other groups as deletions, and leaves them out of a fresh batch."""

    def keys_from(self, cursor: str) -> Iterator[Sequence[Key]]:
        """Pages of the keys of all rows that lie at or above the cursor value now, gone or not, from one snapshot, in any
        order. They may lie above the horizon, where nothing but a key may be read. Memory is that of a page."""

    def cancel(self) -> None:
        """Make a read that another thread waits in end soon, with an error. Called when its rows are not wanted any more;
        the session is of no further use."""


@runtime_checkable
class CountingSource(SourceSession, Protocol):
    """An open source whose rows may lie where no run reads them."""

    def outliers(self) -> Outliers:
        """How many do. It may read the whole table."""


@runtime_checkable
class LookingSource(SourceSession, Protocol):
    """An open source that says at once what waits in it."""

    def look(self, since: Position | None, *, limit: int) -> Look:
        """At or past the position, or at all; counts go no further than ``limit``. One cheap query where an index helps. Whoever
        holds the horizon back is named at once, and a horizon that cannot be seen is None, ``held_by`` says why."""


@runtime_checkable
class PreparingSource(SourceSession, Protocol):
    """An open source that may need long for the first row of a batch."""

    def preparation(self, batch: Batch, *, format: Format, fields: Sequence[str]) -> str:
        """What it does before that, in words for people; empty where rows come at once."""


@runtime_checkable
class GroupedSession(SourceSession, Protocol):
    """An open source whose rows are in groups, by the value of a column."""

    def groups(self, window: Window, *, limit: int) -> Groups:
        """Those that have a row in the window, in order; more than ``limit`` are not told. One value has one text, always
        the same, and different values have different ones."""


@runtime_checkable
class ListingSource(SourceSession, Protocol):
    """A source that can be swept: it lists its keys in the order of ``core.keys``, whatever its own order is.

    The source of one group lists the rows of this group alone."""

    def key_ranges(self, within: KeyRange, *, rows: int, max_ranges: int) -> Sequence[tuple[KeyRange, int]]:
        """Cut the range at every ``rows``-th key, at most into ``max_ranges`` parts that meet without a gap; with the
        number of rows in each. A range without rows is one part."""

    def keys(self, within: KeyRange, *, below: str) -> Iterator[Sequence[Listed]]:
        """Pages of all rows of the range, in order, from one snapshot: complete once the iterator has ended, or it raises.
        The version of a row at or above the cursor value ``below``, or without one, is None. Memory is that of a page."""

    def checksum(self, within: KeyRange, *, below: str) -> Checksum | None:
        """Of the range's rows below ``below`` that are not gone; None where the source cannot compute one."""

    def look_up(self, keys: Sequence[Key], *, below: str) -> Mapping[Key, Listed]:
        """Those of the keys that exist at all, gone or not, each with its row as :meth:`keys` would list it, from a new
        snapshot. The row is found by the value: its own key may be another text of an equal one (see ``core.keys``)."""


@runtime_checkable
class ContentSource(SourceSession, Protocol):
    """A source whose checksums can be over the values of its rows."""

    def content_checksum(self, within: KeyRange, *, below: str, columns: Mapping[str, str]) -> Checksum | None:
        """As ``checksum``, with the values of these columns, each as the type named would write it; None where the source
        does not have one of the types."""


class Source(Protocol):
    """What a Dag author names as the table or query to read."""

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats that :meth:`SourceSession.read` can give."""

    def open(self) -> AbstractContextManager[SourceSession]: ...

    def serialize(self) -> dict[str, Any]:
        """Arguments of ``deserialize``, a class method that makes an equal source: a sensor's trigger needs them."""

    @property
    def label(self) -> str:
        """How messages name the source, connection included."""


@runtime_checkable
class GroupingSource(Source, Protocol):
    """A source whose rows may be in groups."""

    @property
    def has_groups(self) -> bool:
        """Whether a column groups the rows; False in the source of one group."""

    def of_group(self, value: str) -> Source:
        """The same rows, of which only those of the group are to be in the index."""


class Writer(Protocol):
    """An open way into one generation, in one format."""

    def write(self, chunk: Chunk) -> WriteResult:
        """Write all of the chunk or raise. When it returns, what it counts survives a crash of the target. A document
        the target refuses is in ``rejected`` and does not stop the rest."""


@runtime_checkable
class StagingWriter(Writer, Protocol):
    """A writer that can take a chunk to the target while the chunk before it is still being written there."""

    def stage(self, chunk: Chunk) -> Callable[[], WriteResult]:
        """Use up the chunk's payload, without an effect on the generation; the answer then does what :meth:`write` does.

        The answer is called once or never, in a thread of its own, at the same time as that of the chunk before, it may
        be. Waits where too many chunks are staged and not written."""


class TargetSession(Protocol):
    """An open target."""

    def generations(self) -> Sequence[Generation]:
        """This stream's generations, oldest first.

        :raises ConfigurationError: the public name is taken by something that is not ours."""

    def create_first(self, name: str, schema: Schema) -> str:
        """Make the stream's first generation, empty and not yet public, and return its name.

        Where another run has made one meanwhile, that one is left as it is and its name returned."""

    def fields(self, generation: str, schema: Schema) -> Sequence[str]:
        """The source columns that the generation holds, after comparing the two catalogues.

        :raises ConfigurationError: a column is missing at the source, or its type no longer fits."""

    def writer(self, generation: str, schema: Schema, format: Format) -> AbstractContextManager[Writer]: ...

    def promote(self, generation: str) -> None:
        """Finish the generation (indexes that wait for the end of the load) and point the public name at it, in one
        atomic step. Doing it again changes nothing."""


@runtime_checkable
class WarningTarget(TargetSession, Protocol):
    """A target whose generations may be such that a person should know of it."""

    def warnings(self, generation: str) -> Sequence[str]:
        """What that is, and what to do about it; rows are written all the same."""


@runtime_checkable
class ComparingTarget(TargetSession, Protocol):
    """A target that compares documents with those that it holds."""

    def differing(self, generation: str, documents: Sequence[Document], schema: Schema) -> Sequence[tuple[Key, str]]:
        """Those of the documents that the generation holds with the same version and other values, with the first field
        that differs. Nothing is written."""


@runtime_checkable
class MeasuredTarget(TargetSession, Protocol):
    """A target that knows the size of what it holds without reading it."""

    def sizes(self) -> Mapping[str, Size]:
        """Of each of the stream's generations, by name."""


@runtime_checkable
class RebuildingTarget(ComparingTarget, Protocol):
    """A target that can be rebuilt: it holds generations beside the live one, and swaps them."""

    def create(self, name: str, schema: Schema) -> None:
        """Make another generation, empty, beside those that are there. One of this name and stream is left as it is."""

    def promote(self, generation: str, *, carry: Callable[[str], None] | None = None) -> None:
        """As for a first load; where another generation is live, the public name changes over in one atomic step, and both
        count as served from then on. Readers wait for no index to be built.

        :param carry: called with the name of the live generation once nothing but the swap is left to do, so that
            :meth:`carry_over` can take place: its documents are in the new one at the swap. Others' writes to the live one wait
            from then on, where the engine can make them. It may be called again; what it raises leaves the live one live."""

    def carry_over(self, keys: Sequence[Key], schema: Schema, *, from_generation: str, to_generation: str) -> int:
        """Copy the documents of these keys, each with its version and the fields that both generations hold, where the
        other generation has nothing of the key or remembers an older deletion; says how many. What is there already stays
        as it is. A document that the other one refuses is left out, and nothing is copied where their keys differ."""

    def drop(self, generation: str) -> None:
        """Remove a generation with all that it holds. One that is not there is no error.

        :raises ConfigurationError: it is the live one, as the very step that would drop it sees it."""

    def count(self, generation: str) -> int:
        """How many documents a search of this generation finds."""


@runtime_checkable
class OwnedTarget(TargetSession, Protocol):
    """A target whose generations can be given to a stream of another name, and removed with all that belongs to them."""

    def hand_over(self, stream: str) -> None:
        """All generations and the public name belong to the stream of this name from now on; in one step where that can be."""

    def remove(self) -> None:
        """Drop the public name and every generation. Nothing there is no error.

        :raises ConfigurationError: something else is made on top of them; names it."""


@runtime_checkable
class ListingTarget(TargetSession, Protocol):
    """A target that can be swept: it lists what a generation holds in the order of ``core.keys``."""

    def keys(self, generation: str, within: KeyRange, schema: Schema) -> Iterator[Sequence[Listed]]:
        """Pages of the range's documents with their versions, in order: complete once the iterator has ended, or it
        raises. Remembered deletions are among them where the target can list those. Memory is that of a page."""

    def checksum(self, generation: str, within: KeyRange, schema: Schema, *, below: int) -> Checksum | None:
        """Of the range's documents with versions under ``below``, such that a source's checksum of equal keys and
        versions is equal. None where the engine cannot compute one of that kind."""


@runtime_checkable
class ContentTarget(TargetSession, Protocol):
    """A target whose checksums can be over the values of its documents."""

    def content_columns(self, generation: str, schema: Schema) -> Mapping[str, str]:
        """The source's columns that a checksum is over, besides the key, with the types that the generation has for them."""

    def content_checksum(self, generation: str, within: KeyRange, schema: Schema, *, below: int) -> Checksum:
        """As ``checksum``, with the values of :meth:`content_columns`, such that a source's of equal values is equal."""


class Target(Protocol):
    """What a Dag author names as the index to keep true."""

    guarantee: ClassVar[Guarantee]

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats that a writer accepts, the fastest first."""

    @property
    def chunk_rows(self) -> int:
        """How many rows a chunk should have."""

    def open(self, stream: str) -> AbstractContextManager[TargetSession]: ...

    def generation_name(self, stamp: str) -> str:
        """The name of a generation made at ``stamp`` (UTC, ``YYYYMMDDtHHMMSS``)."""

    @property
    def label(self) -> str:
        """How messages name the target, connection included."""


@runtime_checkable
class GroupingTarget(Target, Protocol):
    """A target whose public name may hold ``{group}``: an index for each group."""

    @property
    def group_room(self) -> int | None:
        """How many bytes the name of a group may have; None where the public name holds no ``{group}``."""

    def of_group(self, name: str) -> Target:
        """The index of one group. :param name: of ``a-z``, ``0-9``, ``_`` and ``-``."""


SAVE_TRIES = 5
"""How often whoever saves a checkpoint loads it anew after a conflict, before giving up."""


class CheckpointStore(Protocol):
    """Where the cursor of (stream, generation) is kept."""

    def load(self, stream: str, generation: str) -> Checkpoint:
        """What is stored, or a checkpoint of version 0 where nothing is.

        :raises CheckpointInvalidError: what is stored cannot be read; the message says where it is and how to reset."""

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        """Store it if the stored version is still ``checkpoint.version``; returns it as stored, one version on.

        :raises CheckpointConflictError: somebody else saved meanwhile; nothing was written."""

    def reset(self, stream: str, generation: str) -> None:
        """Forget it: the next run reads from the first row on. Nothing there is no error."""

    def where(self, stream: str, generation: str) -> str:
        """Where a person finds the checkpoint, and how to reset it: one sentence for error messages."""


@runtime_checkable
class Checked(Protocol):
    """An open source, an open target or a store that says what a stream needs of it, and whether it is so."""

    def check(self) -> Iterator[Finding]:
        """One finding for each thing, what others rest on first. Nothing is written, and what is wrong is no error."""


class ProgressReporter(Protocol):
    """Takes a snapshot of progress; the caller sees to it that no failure in here reaches the work."""

    def report(self, record: dict[str, Any]) -> None: ...


class ResumeLog(Protocol):
    """Where a task notes how far it has got, so that its next try goes on from there."""

    def load(self) -> dict[str, Any] | None: ...

    def save(self, value: dict[str, Any]) -> None: ...

    def clear(self) -> None: ...

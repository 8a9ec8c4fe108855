"""The chunk loop: reads a batch, writes it chunk by chunk, and remembers what was acknowledged."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from airflow_reindex_provider.core import parking
from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.target import PassageTarget
from airflow_reindex_provider.core.errors import (
    ConfigurationError,
    GenerationGoneError,
    IndexingStoppedError,
    TooManyFailuresError,
)
from airflow_reindex_provider.core.model import (
    Batch,
    BatchResult,
    Chunk,
    Counts,
    Document,
    Format,
    PassageCounts,
    Position,
    Rejection,
    Transform,
    WriteResult,
)
from airflow_reindex_provider.core.model.packed import packed, size, unpacked
from airflow_reindex_provider.core.observing import Growth, Observer, Side, Step, Unobserved
from airflow_reindex_provider.core.parking import MAX_REASON_CHARS
from airflow_reindex_provider.core.progress import Progress, Status
from airflow_reindex_provider.core.protocols import (
    PreparingSource,
    ResumeLog,
    SourceSession,
    StagingWriter,
    TargetSession,
    Writer,
)
from airflow_reindex_provider.core.running.embedding import Embedding
from airflow_reindex_provider.core.running.readahead import read_ahead, stage_ahead
from airflow_reindex_provider.core.running.transforming import transformed

log = logging.getLogger(__name__)

NOTE_BYTES = 48 * 1024
"""Of the note for the next try: Airflow's ``[state_store] max_value_storage_bytes`` is 64 kB as it comes."""
NOT_NOTED = "refused in an earlier try of the task, whose log has the reason"
WRITES_AT_ONCE = 2


def choose_format(
    offered: Sequence[Format], accepted: Sequence[Format], transform: Transform | None, embed: Embed | None = None
) -> Format:
    """The target's fastest format that the source has; a transform and a model work on rows."""
    if transform is not None or embed is not None:
        return Format.ROWS
    return next((f for f in accepted if f in offered), Format.ROWS)


@dataclass(frozen=True, slots=True)
class _Done:
    """What earlier tries and this one have had acknowledged."""

    end: Position | None = None
    counts: Counts = Counts()
    rejected: tuple[Rejection, ...] = ()
    chunks: int = 0
    key_bytes: int = 0
    """Of the rejected documents."""
    passages: PassageCounts = PassageCounts()

    def after(self, chunk: Chunk, result: WriteResult, passages: PassageCounts) -> _Done:
        return _Done(
            chunk.end,
            self.counts + result.counts,
            self.rejected + tuple(replace(r, reason=r.reason[:MAX_REASON_CHARS]) for r in result.rejected),
            self.chunks + 1,
            self.key_bytes + sum(parking.key_bytes(r.key) for r in result.rejected),
            passages,
        )

    def note(self, batch: Batch) -> dict[str, Any] | None:
        """What the next try needs to know; None where that has no room. Reasons give way before keys, and a note without all
        keys would lose documents."""
        for rejected in (parking.bounded(self.rejected), tuple(replace(r, reason=NOT_NOTED) for r in self.rejected)):
            value = {
                "batch": _noted(batch),
                "end": self.end.to_json() if self.end else None,
                "counts": self.counts.to_json(),
                "rejected": packed([r.to_json() for r in rejected]),
                "chunks": self.chunks,
                **({} if self.passages == PassageCounts() else {"passages": self.passages.to_json()}),
            }
            if size(value) <= NOTE_BYTES:
                return value
        return None

    @classmethod
    def load(cls, value: dict[str, Any] | None, batch: Batch) -> _Done:
        # A plan made anew puts another slice under the same map index: what was noted for the old one says nothing.
        if not value or value["batch"] not in (_noted(batch), batch.to_json()):
            return cls()
        passages = PassageCounts.from_json(value.get("passages", {}))
        if not value["end"]:
            return cls(passages=passages)
        rejected = tuple(Rejection.from_json(r) for r in unpacked(value["rejected"]))
        return cls(
            Position.from_json(value["end"]),
            Counts.from_json(value["counts"]),
            rejected,
            value["chunks"],
            sum(parking.key_bytes(r.key) for r in rejected),
            passages,
        )


def _noted(batch: Batch) -> dict[str, Any]:
    """The batch, with a digest in the place of its keys, of which there may be many."""
    value = batch.to_json()
    if batch.keys:
        value["keys"] = hashlib.sha256(json.dumps(value["keys"]).encode()).hexdigest()
    return value


def index_batch(
    batch: Batch,
    *,
    source: SourceSession,
    target: TargetSession,
    format: Format,
    chunk_rows: int,
    max_failures: int,
    progress: Progress,
    resume: ResumeLog,
    transform: Transform | None = None,
    embed: Embed | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    pace: Callable[[int], None] = lambda documents: None,
    observer: Observer = Unobserved(),
    clock: Callable[[], float] = time.monotonic,
) -> BatchResult:
    """Write every row of the batch into its generation, going on after what an earlier try had acknowledged.

    Every write carries its version, so a chunk that is written twice (its acknowledgement lost in a crash) changes
    nothing. What was acknowledged is noted before every report of progress (once a second), at every stop and before every
    error.

    :param embed: what of the documents is embedded; the format is then rows. What a model has answered is written also where it
        fails in the end, so that another try does not ask for it again.
    :param resume: cleared at the end, so that a task cleared by hand does all of its work again.
    :param should_stop: looked at between chunks, and while the source has none yet.
    :param pace: told after each chunk how many documents it had; may wait, see ``core.running.throttle``.
    :param observer: is told after each chunk what has gone over the wire, and at the end, whatever that is; each step
        of each chunk is told as it begins and ends.
    :raises IndexingStoppedError: asked to stop.
    :raises TooManyFailuresError: more than ``max_failures`` documents of the batch were refused.
    """
    started = clock()
    done = _Done.load(resume.load(), batch)
    schema = source.schema()
    fields = target.fields(batch.generation, schema)
    rest = batch if done.end is None else replace(batch, window=replace(batch.window, start=done.end))
    before = noted = done

    def note() -> None:
        nonlocal noted
        noted = done
        value = done.note(batch)
        if value is None:
            # The note of before stands: a retry writes again what came since, and refuses the same documents again.
            log.info("Batch %d: too many documents were refused to note how far it has come.", batch.number + 1)
            return
        try:
            resume.save(value)
        except Exception as error:
            # It would only spare a retry some work; the rows themselves are safe in the target.
            log.warning("What batch %d has reached was not noted: %s", batch.number + 1, error)

    def stop_if_asked() -> None:
        if should_stop():
            raise IndexingStoppedError(f"Stopped after {done.counts.processed:,} rows; a retry goes on from there.")

    embedding: Embedding | None = None
    grown: list[Growth] = []

    def tell_passages() -> None:
        assert embedding is not None
        left = embedding.left(batch.rows - before.counts.processed)
        progress.embed(before.passages + embedding.counts, left=left, before_report=note_spent)

    def note_spent() -> None:
        nonlocal done
        # What a model was asked for costs, whatever becomes of it.
        done = replace(done, passages=before.passages + _embedded(embedding))
        note()

    try:
        first = source.preparation(rest, format=format, fields=fields) if isinstance(source, PreparingSource) else ""
        progress.start(done.counts if done.end else None, first, passages=done.passages)
        reading = source.read(rest, format=format, fields=fields, chunk_rows=chunk_rows)
        with ExitStack() as stack:
            if embed is not None:
                embedding = stack.enter_context(
                    Embedding(
                        embed,
                        target=embedding_target(target, batch.stream),
                        generation=batch.generation,
                        schema=schema,
                        told=tell_passages,
                        waiting=stop_if_asked,
                        observer=observer,
                    )
                )
                grown.append(Growth(observer, Side.MODEL, embedding))
            writer = stack.enter_context(target.writer(batch.generation, schema, format))
            grown.append(Growth(observer, Side.TARGET, writer))
            writes = stack.enter_context(
                _writes(
                    reading,
                    writer,
                    format,
                    transform,
                    embedding,
                    cancel=source.cancel,
                    waiting=stop_if_asked,
                    observer=observer,
                )
            )
            for chunk, write in writes:
                result = write()
                unread = chunk.rejected
                result = WriteResult(result.counts + Counts(failures=len(unread)), (*unread, *result.rejected))
                done = done.after(chunk, result, before.passages + _embedded(embedding))
                for refused in result.rejected:
                    log.warning("Refused and parked: key %s: %s", "/".join(refused.key), refused.reason)
                # Noted before it is shown: a try that takes over never begins below figures that people have seen.
                progress.add(result.counts, before_report=note)
                for growth in grown:
                    growth.tell()
                if len(done.rejected) > max_failures or done.key_bytes > parking.MAX_BYTES:
                    raise TooManyFailuresError(_too_many(batch, done.rejected, max_failures))
                stop_if_asked()
                pace(result.counts.processed)
    except BaseException as error:
        if (spent := before.passages + _embedded(embedding)) != done.passages:
            done = replace(done, passages=spent)
        if noted is not done and not isinstance(error, TooManyFailuresError):
            note()
        stopped = isinstance(error, IndexingStoppedError | GenerationGoneError)
        progress.finish(Status.CANCELLED if stopped else Status.FAILED, str(error)[:MAX_REASON_CHARS])
        raise
    finally:
        for growth in grown:
            growth.tell()
    progress.finish(Status.COMPLETED)
    resume.clear()
    return BatchResult(
        batch, done.counts, parking.bounded(done.rejected), done.chunks, clock() - started, done.passages
    )


def _embedded(embedding: Embedding | None) -> PassageCounts:
    return PassageCounts() if embedding is None else embedding.acknowledged + embedding.spent


def embedding_target(target: TargetSession, stream: str) -> PassageTarget:
    """:raises ConfigurationError: the target cannot hold passages."""
    if not isinstance(target, PassageTarget):
        raise ConfigurationError(
            f"Stream {stream!r}: its target cannot hold passages with vectors, which embed= makes."
        )
    return target


@contextmanager
def _writes(
    reading: Iterator[Chunk],
    writer: Writer,
    format: Format,
    transform: Transform | None,
    embedding: Embedding | None,
    *,
    cancel: Callable[[], None],
    waiting: Callable[[], None],
    observer: Observer,
) -> Iterator[Iterator[tuple[Chunk, Callable[[], WriteResult]]]]:
    """Each chunk, and what writes its documents.

    The author's transform runs where the task runs, never in a thread.
    """
    if isinstance(writer, StagingWriter) and format is not Format.ROWS:
        # A chunk may be written while the one before it still is; they are acknowledged in their order all the same.
        with (
            ThreadPoolExecutor(WRITES_AT_ONCE, "reindex-write") as pool,
            stage_ahead(
                reading,
                lambda chunk: pool.submit(_written, writer.stage(chunk), observer),
                cancel=cancel,
                waiting=waiting,
                observer=observer,
            ) as staged,
        ):
            yield ((chunk, written.result) for chunk, written in staged)
        return
    with read_ahead(reading, cancel=cancel, waiting=waiting, observer=observer) as chunks:
        made = chunks if transform is None else (_transformed(chunk, transform, observer) for chunk in chunks)
        if embedding is not None:
            with embedding.writes(iter(made), _Watched(writer, observer)) as writes:
                yield writes
        else:
            yield ((chunk, partial(_written, partial(writer.write, chunk), observer)) for chunk in made)


def _transformed(chunk: Chunk, transform: Transform, observer: Observer) -> Chunk:
    with observer.step(Step.TRANSFORM) as span:
        made = transformed(chunk, transform)
        span.set(documents=len(cast("Sequence[Document]", made.payload)), rejected=len(made.rejected))
        return made


def _written(write: Callable[[], WriteResult], observer: Observer) -> WriteResult:
    with observer.step(Step.WRITE) as span:
        result = write()
        span.set(documents=result.counts.processed, rejected=len(result.rejected))
        return result


@dataclass(frozen=True, slots=True)
class _Watched:
    """A writer whose writes are steps."""

    writer: Writer
    observer: Observer

    def write(self, chunk: Chunk) -> WriteResult:
        return _written(partial(self.writer.write, chunk), self.observer)


def _too_many(batch: Batch, rejected: Sequence[Rejection], max_failures: int) -> str:
    shown = "; ".join(f"{'/'.join(r.key)}: {r.reason}" for r in rejected[:3])
    limit = f"max_failures={max_failures}" if len(rejected) > max_failures else parking.ROOM
    return (
        f"Stream {batch.stream!r}: {len(rejected)} documents of batch {batch.number + 1}/{batch.of} were refused, more than"
        f" {limit}. The checkpoint stays before this batch. First ones: {shown}"
    )

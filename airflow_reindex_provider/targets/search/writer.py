"""Sends chunks to one generation in ``_bulk`` bodies, and deals with every answer.

chunk --pieces--> bodies of the pace's size --_bulk--> answer: counts, documents refused --> rejected
                       ^---- later, smaller ---- 429, 503, 413, no answer
"""

from __future__ import annotations

import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from airflow_reindex_provider.core.errors import GenerationGoneError, TransientError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Format, Rejection, Schema, WriteResult
from airflow_reindex_provider.core.observing import Meter, Traffic
from airflow_reindex_provider.targets.search.answers import (
    FILTER,
    Outcome,
    RefusedItemError,
    boundary,
    is_one,
    key,
    read_outcome,
    too_large,
)
from airflow_reindex_provider.targets.search.blocks import lift
from airflow_reindex_provider.targets.search.documents import bulk_lines
from airflow_reindex_provider.targets.search.engine import (
    BUSY,
    JSON,
    NDJSON,
    Answer,
    EngineBusyError,
    EngineGoneError,
    EngineSlowError,
)
from airflow_reindex_provider.targets.search.mapping import vector_fields
from airflow_reindex_provider.targets.search.pace import Pace

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls

MOST_HELD_BYTES = 16 * 1024 * 1024
"""Of chunks that are not answered yet, all that are staged taken together. Of what comes beyond it, the first part is sent while
the rest is read; so memory is bounded by bytes that have come, however wide rows turn out to be."""
LARGE_BYTES = 1024 * 1024
"""A document of this size may be what the engine stumbles over; one that is smaller waits until the engine has room."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one body is tried again, in seconds since its first failure."""

    busy_s: float = 300.0
    """The engine answers, but has no room."""
    gone_s: float = 120.0
    """The engine does not answer: time enough for a restart."""


class SearchWriter:
    """Conforms to ``StagingWriter``. What a body's answer counts is in the engine's translog; a body whose answer was lost is
    sent again, which changes nothing but the counts, since every document carries its version.

    A chunk's documents are sent in the chunk's order, except those that the engine asks for again: a single document that it has
    no room for waits until the others went through. If it is more than the engine can ever take at once it is rejected; a large
    one also when the engine, which answers otherwise, does not take it for as long as patience lasts. Several threads may write.

    :param path: of the ``_bulk`` call, with the generation's write alias. :param gone: the error's text if that is missing.
    :param compress: whether bodies travel as gzip.
    """

    def __init__(
        self,
        calls: Calls,
        path: str,
        *,
        schema: Schema,
        gone: str,
        compress: bool,
        timeout_s: float,
        patience: Patience = Patience(),
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._calls = calls
        self._path = f"{path}?require_alias=true&filter_path={FILTER}"
        self._key_columns = len(schema.primary_key)
        self._vectors = vector_fields(schema)
        self._gone = gone
        self._headers = {"accept": JSON, "content-type": NDJSON} | ({"content-encoding": "gzip"} if compress else {})
        self._compress = compress
        self._timeout_s = timeout_s
        self._patience = patience
        self._clock = clock
        self._stopped = threading.Event()
        self._held = _Held()
        self._meter = Meter()
        self.pace = Pace(wait or self._pause, clock, meter=self._meter)

    @property
    def traffic(self) -> Traffic:
        return self._meter.traffic

    def write(self, chunk: Chunk) -> WriteResult:
        return self.stage(chunk)()

    def stage(self, chunk: Chunk) -> Callable[[], WriteResult]:
        """Hold the chunk's bytes. Where they are too many for that, the first ones are sent: they are in the index whether or
        not the answer is called, which a second try of the chunk does not mind."""
        waiting: deque[bytes] = deque()
        size = 0
        done = _Sum()
        unmade: list[Rejection] = []
        for piece in self._lines(chunk, unmade):
            waiting.append(piece)
            size += len(piece)
            if self._held.add(len(piece)) > MOST_HELD_BYTES and size >= self.pace.body_bytes:
                self._send(waiting, done)
                size = 0
        done.reject(*unmade)
        return partial(self._send, waiting, done)

    def _lines(self, chunk: Chunk, unmade: list[Rejection]) -> Iterable[bytes]:
        if chunk.format is Format.BULK:
            return cast("Iterable[bytes]", chunk.payload)
        return bulk_lines(cast("Sequence[Document]", chunk.payload), unmade, vectors=self._vectors)

    def stop(self) -> None:
        """Let whoever waits for the engine give up, with a ``TransientError``."""
        self._stopped.set()

    # -- sending

    def _send(self, waiting: deque[bytes], done: _Sum) -> WriteResult:
        """Uses the pieces up, so that they are not held beside the bodies that are made of them."""
        halves: deque[bytes] = deque()
        trouble = _Trouble(self._patience, self._clock, self.pace)
        while halves or waiting:
            self.pace.hold()
            body = halves.popleft() if halves else self._take(waiting)
            started = self._clock()
            answer: Answer | None = None
            try:
                answer = self._post(body)
                outcome = self._outcome(body, answer)
                if outcome is None:
                    self._divide(body, answer.status, answer.error, halves, done)
                    continue
                done.add(outcome)
                rest = b"".join(outcome.again)
                self._held.drop(len(body) - len(rest))
                if len(rest) < len(body):
                    trouble.over()
                if outcome.too_large:
                    self._divide(rest, _TOO_MANY, outcome.busy, halves, done)
                    continue
                if rest:
                    body = rest
                    raise _Busy(outcome.busy, answer)
            except (EngineGoneError, EngineSlowError, EngineBusyError) as error:
                alone = is_one(body)
                if not trouble.lasts(error):
                    trouble.met(error, len(body))
                    # What waits behind a single document goes first.
                    (waiting.append if alone else waiting.appendleft)(body)
                elif alone and len(body) >= LARGE_BYTES and self._answers():
                    self._park(body, f"the engine does not take its {len(body):,} bytes: {error}", done)
                else:
                    raise trouble.too_long(error) from error
                continue
            self.pace.answered(len(body), self._clock() - started)
        return WriteResult(done.counts, tuple(done.rejected))

    def _take(self, waiting: deque[bytes]) -> bytes:
        """The next body: whole pieces up to the pace's size, or the first part of a piece that is far larger."""
        room = self.pace.body_bytes
        piece = waiting.popleft()
        if len(piece) > 1.5 * room:
            at = boundary(piece, room)
            if at < len(piece):
                waiting.appendleft(piece[at:])
                return piece[:at]
        parts, size = [piece], len(piece)
        while waiting and size + len(waiting[0]) <= room:
            parts.append(waiting.popleft())
            size += len(parts[-1])
        return b"".join(parts) if len(parts) > 1 else piece

    def _post(self, body: bytes) -> Answer:
        data = body
        if self._compress:
            gzip = zlib.compressobj(1, wbits=31)
            data = gzip.compress(body) + gzip.flush()
        answer = self._calls.engine.request(
            "POST", self._path, body=data, headers=self._headers, timeout_s=self._timeout_s
        )
        self._meter.sent(len(data))
        return answer

    def _outcome(self, body: bytes, answer: Answer) -> Outcome | None:
        """None where the engine refused the body as a whole because of what is in it."""
        if answer.status == 200:
            try:
                return read_outcome(body, answer.text, self._key_columns)
            except GenerationGoneError as error:
                raise GenerationGoneError(f"{self._gone} ({error})") from error
            except RefusedItemError as error:
                raise self._calls.refusal_of(error.status, error.reason) from error
        if answer.status in BUSY:
            if too_large(answer.error):
                return None
            raise _Busy(f"{answer.status} {answer.error}", answer)
        if answer.status == 404:
            raise GenerationGoneError(f"{self._gone} ({answer.error})")
        if answer.status == 413 or (answer.status == 400 and "media_type_header" not in answer.text):
            return None
        raise self._calls.refusal(answer)

    def _divide(self, body: bytes, status: int, reason: str, halves: deque[bytes], done: _Sum) -> None:
        """Two bodies of the one, to be sent as they are, or a rejection where it was a single document.

        A 400 comes from a document whose action line the engine does not take (an ``_id`` of more than 512 bytes); it does
        not say which one.
        """
        at = boundary(body, len(body) // 2)
        if at < len(body):
            halves.extendleft((body[at:], body[:at]))
            if status in _LIMITS:
                self.pace.too_large(len(body))
            return
        if limit := _LIMITS.get(status):
            reason = f"{len(body):,} bytes are more than the engine takes {limit}: {reason}"
        self._park(body, reason, done)

    def _park(self, document: bytes, reason: str, done: _Sum) -> None:
        self._held.drop(len(document))
        done.reject(Rejection(key(document, self._key_columns), reason))

    def _answers(self) -> bool:
        """Whether the engine is well but for what it is sent."""
        try:
            answer = self._calls.engine.request(
                "GET", "/_nodes/_local?filter_path=nodes.*.version", headers={"accept": JSON}, timeout_s=self._timeout_s
            )
        except TransientError:
            return False
        return answer.status < 300

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise TransientError("The task was stopped while it waited for the engine.")


_TOO_MANY = 429
_LIMITS = {
    413: "in one request (http.max_content_length)",
    _TOO_MANY: "at once (indexing_pressure.memory.limit, a tenth of its heap by default)",
}
"""Statuses of what is too large, whatever is in it."""


class _Busy(EngineBusyError):
    def __init__(self, reason: str, answer: Answer) -> None:
        super().__init__(f"{reason}. {lift(reason)}" if "blocked by" in reason else reason)
        self.retry_after = answer.headers.get("retry-after")


class _Held:
    """How many bytes wait for an answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    def add(self, size: int) -> int:
        """All that are held by now."""
        with self._lock:
            self._bytes += size
            return self._bytes

    def drop(self, size: int) -> None:
        self.add(-size)


class _Sum:
    """What became of a chunk's documents so far."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.rejected: list[Rejection] = []

    def add(self, outcome: Outcome) -> None:
        self.counts += outcome.counts
        self.rejected += outcome.rejected

    def reject(self, *rejected: Rejection) -> None:
        self.counts += Counts(failures=len(rejected))
        self.rejected += rejected


class _Trouble:
    """Failures in a row, until patience ends."""

    def __init__(self, patience: Patience, clock: Callable[[], float], pace: Pace) -> None:
        self._patience = patience
        self._clock = clock
        self._pace = pace
        self._since: float | None = None
        self._attempt = 0

    def lasts(self, error: TransientError) -> bool:
        """Whether patience is over."""
        patience = self._patience.gone_s if isinstance(error, EngineGoneError) else self._patience.busy_s
        return self._since is not None and self._clock() - self._since >= patience

    def met(self, error: TransientError, sent: int) -> None:
        self._since = self._clock() if self._since is None else self._since
        self._pace.pushed_back(str(error), self._attempt, getattr(error, "retry_after", None), sent)
        self._attempt += 1

    def too_long(self, error: TransientError) -> TransientError:
        since = self._clock() if self._since is None else self._since
        return TransientError(f"{error} (for {self._clock() - since:.0f} s now)")

    def over(self) -> None:
        self._since, self._attempt = None, 0

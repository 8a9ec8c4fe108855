"""A ``_bulk`` body and the engine's answer to it: which document fared how."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from airflow_reindex_provider.core.bulk import key_of
from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError
from airflow_reindex_provider.core.model import Counts, Key, Rejection
from airflow_reindex_provider.targets.search.engine import BUSY, error_text

FILTER = "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
"""What of the answer is asked for (``filter_path``): without it, it is as large as a small body."""

_DELETE = b'{"delete"'
_BUSY_TYPES = {"es_rejected_execution_exception", "rejected_execution_exception"}
_NOT_THE_DOCUMENT = {"index_closed_exception", "cluster_block_exception", "security_exception"}


@dataclass(slots=True)
class Outcome:
    """What became of the documents of one body."""

    counts: Counts
    rejected: list[Rejection] = field(default_factory=list)
    again: list[bytes] = field(default_factory=list)
    """Documents that the engine had no room for; they have to be sent again."""
    busy: str = ""
    """Why it had none."""
    too_large: bool = False
    """It will never have: they are too much for it at once."""


_PRESSURE = re.compile(r"_operation_bytes=(\d+), max_\w+=(\d+)")


def too_large(reason: str) -> bool:
    """Whether a 429 says that what was sent is by itself more than the engine's limit for all that it indexes at once, so that
    no waiting helps."""
    match = _PRESSURE.search(reason)
    return match is not None and int(match[1]) > int(match[2])


class RefusedItemError(ConfigurationError):
    """An item was refused for a reason that is the index's, not the document's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def read_outcome(body: bytes, answer: str, key_columns: int) -> Outcome:
    """:raises GenerationGoneError, RefusedItemError: no document of the body can be written."""
    if '"errors":false' in answer:
        # Counted as text: at several hundred thousand documents a second, reading each item costs more than sending it.
        created = answer.count('{"index":{"status":201}')
        updated = answer.count('{"index":{"status":200}')
        deleted = answer.count('{"delete":{"status":200}')
        noops = answer.count('{"delete":{"status":404}')
        if created + updated + deleted + noops == answer.count('"status":'):
            return Outcome(Counts(created=created, updated=updated, deleted=deleted, noops=noops))
    return _read_items(body, answer, key_columns)


def _read_items(body: bytes, answer: str, key_columns: int) -> Outcome:
    tally = dict.fromkeys(("created", "updated", "deleted", "noops", "version_conflicts", "failures"), 0)
    outcome = Outcome(Counts())
    for document, item in zip(documents(body), json.loads(answer)["items"], strict=True):
        ((action, result),) = item.items()
        status, error = result["status"], result.get("error")
        kind = error.get("type") if error else None
        if error is None:
            what = ("noops" if status == 404 else "deleted") if action == "delete" else _WRITTEN[status]
            tally[what] += 1
        elif status == 409:
            tally["version_conflicts"] += 1
        elif status in BUSY or kind in _BUSY_TYPES:
            outcome.again.append(document)
            outcome.busy = f"{status} {error_text(error)}"
            outcome.too_large |= too_large(outcome.busy)
        elif status == 404:
            raise GenerationGoneError(error_text(error))
        elif status in (401, 403) or status >= 500 or kind in _NOT_THE_DOCUMENT:
            raise RefusedItemError(status, error_text(error))
        else:
            tally["failures"] += 1
            outcome.rejected.append(Rejection(key(document, key_columns), error_text(error)))
    outcome.counts = Counts(**tally)
    return outcome


_WRITTEN = {200: "updated", 201: "created"}


def documents(body: bytes) -> Iterator[bytes]:
    """Each document's lines: two, or one for a deletion."""
    start = 0
    while start < len(body):
        end = _end(body, start)
        yield body[start:end]
        start = end


def boundary(body: bytes, at: int) -> int:
    """Where the document that holds the byte ``at`` begins, or ends if it is the first one."""
    start = 0
    while True:
        end = _end(body, start)
        if end > at:
            return start or end
        start = end


def is_one(body: bytes) -> bool:
    """Whether it is a single document."""
    return boundary(body, 0) == len(body)


def _end(body: bytes, start: int) -> int:
    # A document's own line may look like any action: lines have to be walked from the first one on.
    end = body.index(b"\n", start) + 1
    return end if body.startswith(_DELETE, start) else body.index(b"\n", end) + 1


def key(document: bytes, columns: int) -> Key:
    ((_, action),) = json.loads(document[: document.index(b"\n")]).items()
    return key_of(action["_id"], columns)

"""Does to a stream what a run was asked for, in a task: see ``control.acts`` for what that can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow_reindex_provider.checkpoints.asset import AssetCheckpoint
from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
from airflow_reindex_provider.control.acts import act_of
from airflow_reindex_provider.control.looking import look
from airflow_reindex_provider.control.streams import accept_changes, move_checkpoint, remove_stream, rename_stream
from airflow_reindex_provider.control.tombstones import purge_tombstones
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Checkpoint, Key, Parked, Position
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import CheckpointStore
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.stream import Stream

Arguments = Mapping[str, Any]


def do(stream: Stream, name: str, arguments: Arguments) -> dict[str, Any]:
    """What came of it, as small JSON: ``action``, ``arguments``, ``stream``, ``at``, ``lines`` (what was done, or would be, for
    people), and what the action says besides.

    :param name: of one of ``acts.ACTS`` that is not in a trigger form.
    :raises ConfigurationError: it cannot be done; nothing was changed, or the message says what.
    """
    given = act_of(name).checked(arguments)
    if name not in _DOES:
        raise ConfigurationError(f"{name!r} is a run of its own: trigger the stream's Dag for it without an action.")
    at = utc_now().isoformat(timespec="milliseconds")
    return {"action": name, "arguments": given, "stream": stream.name, "at": at, **_DOES[name](stream, given)}


def _look(stream: Stream, given: Arguments) -> dict[str, Any]:
    return look(stream)


def _refresh(stream: Stream, given: Arguments) -> dict[str, Any]:
    return {"lines": []}


def _parked_retry(stream: Stream, given: Arguments) -> dict[str, Any]:
    now = utc_now().isoformat(timespec="seconds")

    def due_now(parked: Parked) -> Parked:
        return replace(parked, next_try_at=now)

    changed = _change_parked(stream, given, due_now)
    return {"count": changed, "lines": [f"{changed:,} parked documents are tried again by the next run."]}


def _parked_drop(stream: Stream, given: Arguments) -> dict[str, Any]:
    changed = _change_parked(stream, given, lambda parked: None)
    lines = [f"{changed:,} parked documents were given up: they come back when their rows change, or with a sweep."]
    return {"count": changed, "lines": lines}


def _change_parked(stream: Stream, given: Arguments, change: Callable[[Parked], Parked | None]) -> int:
    """:raises ConfigurationError: a key that was named is not parked."""
    named: set[Key] | None = {tuple(key) for key in given["keys"]} if "keys" in given else None
    checkpoint = _checkpoint(stream)
    known = {parked.key for parked in checkpoint.parked}
    if unknown := sorted((named or set()) - known):
        shown = ", ".join("/".join(key) for key in unknown[:10])
        raise ConfigurationError(
            f"Stream {stream.name!r}: no parked document has the key {shown}; nothing was changed."
        )
    kept: list[Parked] = []
    changed = 0
    for parked in checkpoint.parked:
        if named is not None and parked.key not in named:
            kept.append(parked)
            continue
        changed += 1
        if (after := change(parked)) is not None:
            kept.append(after)
    if changed:
        _save(stream, replace(checkpoint, parked=tuple(kept)))
    return changed


def _checkpoint_set(stream: Stream, given: Arguments) -> dict[str, Any]:
    checkpoint = _checkpoint(stream)
    with stream.source.open() as source:
        schema = source.schema()
    try:
        cursor = schema.cursor_type.bound(given["cursor"], schema.cursor_timezone)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"Stream {stream.name!r}: {given['cursor']!r} is no {schema.cursor_type} value: {error}. Nothing was changed."
        ) from error
    position = Position(cursor, tuple(given.get("key") or ()))
    _save(stream, replace(checkpoint, position=position))
    return {"lines": [f"The checkpoint of {checkpoint.generation} is {position}; it was {checkpoint.position}."]}


def _checkpoint_reset(stream: Stream, given: Arguments) -> dict[str, Any]:
    checkpoint = _checkpoint(stream)
    stream.checkpoint.reset(stream.name, checkpoint.generation)
    return {
        "lines": [
            f"The checkpoint of {checkpoint.generation} is forgotten; it was {checkpoint.position}, with"
            f" {len(checkpoint.parked)} parked documents. The next run reads all rows."
        ]
    }


def _checkpoint_move(stream: Stream, given: Arguments) -> dict[str, Any]:
    dry_run = bool(given.get("dry_run", False))
    return {"dry_run": dry_run, "lines": move_checkpoint(stream, _store(given), dry_run=dry_run)}


def _store(given: Arguments) -> CheckpointStore:
    kind, conn_id, name = given["to"], given.get("conn_id"), given.get("name")
    if kind == "variable":
        return VariableCheckpoint(prefix=name) if name else VariableCheckpoint()
    if kind == "asset":
        if not name:
            raise ConfigurationError("checkpoint-move: give the name of the asset as name.")
        return AssetCheckpoint(name)
    if not conn_id:
        raise ConfigurationError("checkpoint-move: give the connection of the table as conn_id.")
    return TableCheckpoint(conn_id, table=name) if name else TableCheckpoint(conn_id)


def _rename(stream: Stream, given: Arguments) -> dict[str, Any]:
    dry_run = bool(given.get("dry_run", False))
    return {"dry_run": dry_run, "lines": rename_stream(stream, given["name"], dry_run=dry_run)}


def _remove(stream: Stream, given: Arguments) -> dict[str, Any]:
    dry_run = bool(given.get("dry_run", False))
    return {"dry_run": dry_run, "lines": remove_stream(stream, dry_run=dry_run)}


def _accept_changes(stream: Stream, given: Arguments) -> dict[str, Any]:
    accept_changes(stream)
    return {"lines": ["What was remembered of the stream's source and index is forgotten; its checkpoints stay."]}


def _tombstones_ddl(stream: Stream, given: Arguments) -> dict[str, Any]:
    return {"ddl": _recording(stream).tombstone_ddl(), "lines": []}


def _tombstones_install(stream: Stream, given: Arguments) -> dict[str, Any]:
    _recording(stream).install_tombstones(conn_id=given.get("conn_id"))
    return {"lines": [f"Deletions at {stream.source.label} are recorded from now on."]}


def _tombstones_remove(stream: Stream, given: Arguments) -> dict[str, Any]:
    _recording(stream).remove_tombstones(conn_id=given.get("conn_id"))
    return {"lines": [f"Deletions at {stream.source.label} are no longer recorded, and what was recorded is dropped."]}


def _tombstones_purge(stream: Stream, given: Arguments) -> dict[str, Any]:
    older_than = timedelta(days=given["older_than_days"])
    purged = purge_tombstones(stream, older_than=older_than, conn_id=given.get("conn_id"))
    return {"count": purged, "lines": [f"{purged:,} recorded deletions were forgotten."]}


def _recording(stream: Stream) -> PostgresSource:
    if not isinstance(stream.source, PostgresSource):
        raise ConfigurationError(f"Stream {stream.name!r}: {stream.source.label} does not record deletions.")
    return stream.source


def _checkpoint(stream: Stream) -> Checkpoint:
    """Of the live generation. :raises ConfigurationError: there is none."""
    if stream.has_groups:
        raise ConfigurationError(
            f"Stream {stream.name!r} has groups, and a checkpoint for each: name one, {stream.name}.<group>."
        )
    with stream.target.open(stream.name) as target:
        live = next((g.name for g in target.generations() if g.live), None)
    if live is None:
        raise ConfigurationError(f"Stream {stream.name!r} has no live index yet: let a run load it.")
    return stream.checkpoint.load(stream.name, live)


def _save(stream: Stream, checkpoint: Checkpoint) -> None:
    now = utc_now().isoformat(timespec="seconds")
    stream.checkpoint.save(replace(checkpoint, saved_at=now, saved_by="by hand"))


_DOES: dict[str, Callable[[Stream, Arguments], dict[str, Any]]] = {
    "look": _look,
    "refresh": _refresh,
    "parked-retry": _parked_retry,
    "parked-drop": _parked_drop,
    "checkpoint-set": _checkpoint_set,
    "checkpoint-reset": _checkpoint_reset,
    "checkpoint-move": _checkpoint_move,
    "rename": _rename,
    "remove": _remove,
    "accept-changes": _accept_changes,
    "tombstones-ddl": _tombstones_ddl,
    "tombstones-install": _tombstones_install,
    "tombstones-remove": _tombstones_remove,
    "tombstones-purge": _tombstones_purge,
}

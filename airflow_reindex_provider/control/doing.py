"""Does to a stream what a run was asked for, in a task: see ``control.acts`` for what that can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from airflow_reindex_provider.checkpoints.asset import AssetCheckpoint
from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
from airflow_reindex_provider.control.acts import act_of
from airflow_reindex_provider.control.checking import findings, worst
from airflow_reindex_provider.control.checkpoints import reset_checkpoint, set_checkpoint
from airflow_reindex_provider.control.looking import look
from airflow_reindex_provider.control.parked import drop_parked, retry_parked
from airflow_reindex_provider.control.streams import accept_changes, move_checkpoint, remove_stream, rename_stream
from airflow_reindex_provider.control.tombstones import purge_tombstones
from airflow_reindex_provider.control.words import counted
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Checkpoint, Key
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.core.protocols import CheckpointStore
from airflow_reindex_provider.core.recording import RecordingSource
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


def _check(stream: Stream, given: Arguments) -> dict[str, Any]:
    found = findings(stream)
    return {
        "worst": str(worst(found)),
        "findings": [finding.to_json() for finding in found],
        "lines": [f"{finding.level}: {finding.what}: {finding.says}" for finding in found],
    }


def _refresh(stream: Stream, given: Arguments) -> dict[str, Any]:
    return {"lines": []}


def _parked_retry(stream: Stream, given: Arguments) -> dict[str, Any]:
    changed = retry_parked(stream, keys=_keys(given), group=given.get("group"))
    return {
        "count": changed,
        "lines": [f"{counted(changed, 'parked document', ('is', 'are'))} tried again by the next run."],
    }


def _parked_drop(stream: Stream, given: Arguments) -> dict[str, Any]:
    changed = drop_parked(stream, keys=_keys(given), group=given.get("group"))
    lines = [f"{counted(changed, 'parked document', ('was', 'were'))} given up, until a change of the row or a sweep."]
    return {"count": changed, "lines": lines}


def _keys(given: Arguments) -> list[Key] | None:
    return [tuple(key) for key in given["keys"]] if "keys" in given else None


def _checkpoint_set(stream: Stream, given: Arguments) -> dict[str, Any]:
    before, after = set_checkpoint(stream, given["cursor"], given.get("key") or (), group=given.get("group"))
    return {"lines": [f"The checkpoint of {after.generation} is {after.position}; it was {_told(before)}."]}


def _checkpoint_reset(stream: Stream, given: Arguments) -> dict[str, Any]:
    before = reset_checkpoint(stream, group=given.get("group"))
    start = f"from {stream.first_cursor} on" if stream.first_cursor is not None else "all rows"
    was = "it could not be read" if before is None else f"it was {_told(before)}"
    return {"lines": [f"The checkpoint is forgotten; {was}. The next run reads {start}."]}


def _told(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.position or 'none'}, with {counted(len(checkpoint.parked), 'parked document')}"


def _checkpoint_move(stream: Stream, given: Arguments) -> dict[str, Any]:
    dry_run = bool(given.get("dry_run", False))
    lines = move_checkpoint(stream, _store(given), dry_run=dry_run)
    return _done(dry_run, lines, "Write the new store into the Dag file before the next run, which looks for it there.")


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
    lines = rename_stream(stream, given["name"], dry_run=dry_run)
    return _done(
        dry_run, lines, f"Write name={given['name']!r} into the Dag file; until then runs of the old name fail."
    )


def _remove(stream: Stream, given: Arguments) -> dict[str, Any]:
    dry_run = bool(given.get("dry_run", False))
    lines = remove_stream(
        stream, tombstones=given.get("tombstones", False), conn_id=given.get("conn_id"), dry_run=dry_run
    )
    return _done(dry_run, lines, "Take the stream's Dags out of the Dag file; until then the next run loads it anew.")


def _done(dry_run: bool, lines: list[str], then: str) -> dict[str, Any]:
    return {"dry_run": dry_run, "lines": [*lines, *(() if dry_run else (then,))]}


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
    return {"count": purged, "lines": [f"{counted(purged, 'recorded deletion', ('was', 'were'))} forgotten."]}


def _recording(stream: Stream) -> RecordingSource:
    if not isinstance(stream.source, RecordingSource):
        raise ConfigurationError(f"Stream {stream.name!r}: {stream.source.label} does not record deletions.")
    return stream.source


_DOES: dict[str, Callable[[Stream, Arguments], dict[str, Any]]] = {
    "look": _look,
    "check": _check,
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

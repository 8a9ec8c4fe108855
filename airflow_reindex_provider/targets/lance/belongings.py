"""All in a database that carries this package's mark, whosever stream it is of; and how one of these is removed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from airflow_reindex_provider.core.generations import made_at
from airflow_reindex_provider.core.model import Marked
from airflow_reindex_provider.targets.lance.layout import mark_of
from airflow_reindex_provider.targets.lance.pointer import State, is_pointer, state_of

if TYPE_CHECKING:
    from lancedb.table import Table

    from airflow_reindex_provider.targets.lance.storage import Storage

POINTER, GENERATION = "view", "generation"
_OURS = re.compile(r"((.+)_\d{8}t\d{6})_[0-9a-f]{8}")


def listed(storage: Storage) -> list[Marked]:
    """Pointers first, then the tables of generations: those that a pointer names are its stream's. One that none names is stray
    where its index has a pointer of the same stream: a task was killed while it made or dropped it."""
    tables = {name: storage.table(name) for name in storage.names()}
    with storage.explained():
        states = _states(tables)
        named = {made.table: state.stream for state in states.values() for made in state.generations.values()}
        found = [Marked(POINTER, state.stream, name) for name, state in states.items() if state.stream is not None]
        for name, table in tables.items():
            if (stream := named.get(name)) is not None:
                found.append(Marked(GENERATION, stream, name, _size(table)))
            elif marked := _alone(name, table, states):
                found.append(marked)
        return found


def unmade(storage: Storage, marked: Marked) -> bool:
    """See ``MarkingTarget``."""
    if not any((m.kind, m.stream, m.name) == (marked.kind, marked.stream, marked.name) for m in listed(storage)):
        return False
    storage.drop(marked.name)
    return True


def _states(tables: dict[str, Table | None]) -> dict[str, State]:
    found = {}
    for name, table in tables.items():
        if table is not None and is_pointer(table.schema) and (state := state_of(table)) is not None:
            found[name] = state
    return found


def _alone(name: str, table: Table | None, states: dict[str, State]) -> Marked | None:
    """None of a table that is not ours. One that cannot be opened any more is ours by its name, and by the pointer beside it."""
    match = _OURS.fullmatch(name)
    pointer = states.get(match[2]) if match else None
    stream = mark_of(table.schema).get("stream") if table is not None else pointer.stream if pointer else None
    if match is None or stream is None:
        return None
    stray = pointer is not None and pointer.stream == stream and pointer.live is not None
    return Marked(GENERATION, stream, name, _size(table), stray, made_at(match[1]))


def _size(table: Table | None) -> int:
    return 0 if table is None else int(cast("Any", table.stats())["total_bytes"])

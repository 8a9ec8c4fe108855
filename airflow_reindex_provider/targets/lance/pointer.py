"""The table with the public name: one row, which says which generations there are and which one is live.

| column | says |
|---|---|
| ``table`` | the table of the live generation, for whoever searches; NULL while none is |
| ``generation`` | its name |
| ``state`` | JSON: the stream, and of each generation its table and whether it has served |
| ``revision`` | one more with each change |

It is changed with ``UPDATE ... WHERE revision = ...``, whose condition LanceDB judges anew in each try to commit: of two that
change it at one moment, one finds its revision gone and looks again. Each change is one commit, so a reader sees the one state or
the other.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError
from airflow_reindex_provider.targets.known_generations import KnownGenerations
from airflow_reindex_provider.targets.lance.layout import MARK, UNIQUE, mark_of
from airflow_reindex_provider.targets.lance.storage import OvertakenError, Storage, latest

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

log = logging.getLogger(__name__)

_TRIES = 20
_IS_POINTER = "pointer"


@dataclass(frozen=True, slots=True)
class Made:
    """A generation. :ivar table: its table. :ivar indexed: whether the indexes that wait for the end of the load are built."""

    table: str
    served: bool = False
    indexed: bool = False


@dataclass(frozen=True, slots=True)
class State(KnownGenerations[Made]):
    """What the pointer says. :ivar revision: how often it has been changed."""

    revision: int = 0

    @property
    def row(self) -> dict[str, Any]:
        table = self.generations[self.live].table if self.live else None
        generations = {name: asdict(made) for name, made in self.generations.items()}
        state = json.dumps({"stream": self.stream, "generations": generations})
        return {"generation": self.live, "table": table, "state": state, "revision": self.revision}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> State:
        state = json.loads(row["state"])
        generations = {name: Made(**made) for name, made in state["generations"].items()}
        return cls(state["stream"], row["generation"], generations, row["revision"])


class Pointer:
    """:param name: the public one."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name

    def state(self) -> State:
        """As it is now. :raises ConfigurationError: the public name is taken by something that is not ours."""
        table = self._table()
        return State() if table is None else self._read(table)

    def change(self, decide: Callable[[State], State | None]) -> bool:
        """Put another state in the place of the present one, in one atomic step.

        :param decide: says which; None for nothing at all. Asked again when somebody else has changed it meanwhile.
        :returns: whether there was something to do."""
        for _ in range(_TRIES):
            try:
                if (changed := self._tried(decide)) is not None:
                    return changed
            except OvertakenError as error:
                log.info("%s", error)
        raise TransientError(
            f"{self._storage.label}: its pointer is moved again and again by somebody else. Try again."
        )

    def _tried(self, decide: Callable[[State], State | None]) -> bool | None:
        """None where somebody else has come first."""
        table = self._table()
        if table is None:
            if decide(State()) is None:
                return False
            table = self._made()
        before = self._read(table)
        if (after := decide(before)) is None:
            return False
        values = replace(after, revision=before.revision + 1).row
        with self._storage.explained():
            return bool(table.update(where=f"revision = {before.revision}", values=values).rows_updated) or None

    def remove(self) -> None:
        self._storage.drop(self._name)

    def _table(self) -> Table | None:
        table = self._storage.table(self._name)
        if table is not None and not is_pointer(table.schema):
            raise ConfigurationError(
                f"{self._storage.label}: there is a table of this name, which this package did not make, where the pointer"
                " should be. It is left alone: give the stream another index name, or rename the table."
            )
        return table

    def _read(self, table: Table) -> State:
        with self._storage.explained():
            rows = table.to_arrow().to_pylist()
            if not rows:
                self._fill(table)
                rows = table.to_arrow().to_pylist()
        return State.of(rows[0])

    def _made(self) -> Table:
        try:
            with self._storage.explained():
                self._storage.database.create_table(self._name, schema=_schema())
        except ReindexError:
            # Somebody else may have made it meanwhile.
            if self._table() is None:
                raise
        table = self._table()
        assert table is not None
        return table

    def _fill(self, table: Table) -> None:
        """A pointer that says nothing gets what it has said last. LanceDB looks whether a table is there and then writes it as if
        it were not, so whoever began to make it before somebody else had done so may have emptied it since."""
        import pyarrow as pa

        row = State().row
        for version in sorted((v["version"] for v in table.list_versions()), reverse=True):
            table.checkout(version)
            if said := table.to_arrow().to_pylist():
                row = said[0]
                break
        latest(table)
        rows = pa.Table.from_pylist([{**row, "one": "row"}], schema=table.schema)
        table.merge_insert("one").when_not_matched_insert_all().execute(rows)
        latest(table)


def is_pointer(schema: pa.Schema) -> bool:
    return mark_of(schema).get("is") == _IS_POINTER


def state_of(table: Table) -> State | None:
    """Of a pointer; None where it says nothing yet."""
    rows = table.to_arrow().to_pylist()
    return State.of(rows[0]) if rows else None


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("one", pa.string(), nullable=False, metadata=UNIQUE),
            pa.field("table", pa.string()),
            pa.field("generation", pa.string()),
            pa.field("state", pa.string(), nullable=False),
            pa.field("revision", pa.int64(), nullable=False),
        ],
        metadata={MARK: json.dumps({"is": _IS_POINTER})},
    )

"""An open Postgres target: its generations, and what each of them can hold."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError
from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed
from airflow_reindex_provider.core.model import (
    Document,
    Finding,
    Format,
    Generation,
    Key,
    Marked,
    Recalled,
    Schema,
    Size,
)
from airflow_reindex_provider.databases.postgres.checking import server
from airflow_reindex_provider.databases.postgres.errors import explained
from airflow_reindex_provider.databases.postgres.listing import KeyList
from airflow_reindex_provider.databases.postgres.names import split_name
from airflow_reindex_provider.databases.postgres.transactions import at_server, transaction
from airflow_reindex_provider.targets.postgres import belongings, checking
from airflow_reindex_provider.targets.postgres.beside import Beside
from airflow_reindex_provider.targets.postgres.carrying import carry_over, hold_writes
from airflow_reindex_provider.targets.postgres.checks import build_index
from airflow_reindex_provider.targets.postgres.fitting import require_fit
from airflow_reindex_provider.targets.postgres.listing import key_list
from airflow_reindex_provider.targets.postgres.marks import MARK, mark, mark_of, not_ours, stream_of
from airflow_reindex_provider.targets.postgres.passages import OWN, listed_version
from airflow_reindex_provider.targets.postgres.sizes import sizes_of
from airflow_reindex_provider.targets.postgres.statements import DELETED, VERSION
from airflow_reindex_provider.targets.postgres.swap import dependents_named, swap_view
from airflow_reindex_provider.targets.postgres.tables import (
    Held,
    create_table,
    held_by,
    index_definitions,
)
from airflow_reindex_provider.targets.postgres.writer import PostgresWriter
from airflow_reindex_provider.targets.refusing import gone, still_live

if TYPE_CHECKING:
    import psycopg

    from airflow_reindex_provider.targets.postgres.definition import PostgresIndexDefinition

log = logging.getLogger(__name__)

_RELATIONS = """
SELECT c.relname, c.relkind, o.description,
       ARRAY(SELECT d.refobjid::bigint FROM pg_rewrite r
             JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
              AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
             WHERE r.ev_class = c.oid AND c.relkind = 'v'), c.oid::bigint
FROM pg_class c
LEFT JOIN pg_description o ON o.objoid = c.oid AND o.classoid = 'pg_class'::regclass AND o.objsubid = 0
WHERE c.relnamespace = %(schema)s::regnamespace
  AND (c.relname = %(name)s OR (c.relkind = 'r' AND o.description LIKE %(mark)s))
ORDER BY c.relname
"""


class PostgresTargetSession:
    """See :class:`~airflow_reindex_provider.core.protocols.TargetSession`."""

    def __init__(self, target: PostgresIndexDefinition, stream: str, connection: psycopg.Connection[Any]) -> None:
        self._target = target
        self._stream = stream
        self._connection = connection
        schema, self._name = split_name(target.index)
        self._schema = schema or self._current_schema()
        self._held: dict[str, Mapping[str, str]] = {}
        self._beside = Beside(target, stream, connection, self._schema, self._name)

    # -- generations

    def generations(self) -> Sequence[Generation]:
        named = {"schema": _quoted(self._schema), "name": self._name, "mark": f'%"{MARK}"%'}
        with self._explained():
            rows = self._connection.execute(_RELATIONS, named).fetchall()
        behind_view: list[int] = []
        own: list[tuple[str, int, bool]] = []
        for name, kind, comment, reads, oid in rows:
            stream = stream_of(comment)
            if name == self._name:
                if kind != "v" or stream != self._stream:
                    raise ConfigurationError(not_ours(self._target.label, self._schema, kind, stream, self._stream))
                behind_view = reads
            elif stream == self._stream and name.startswith(f"{self._name}_"):
                own.append((name, oid, bool(mark_of(comment).get("served"))))
        return [Generation(name, oid in behind_view, served or oid in behind_view) for name, oid, served in own]

    def create_first(self, name: str, schema: Schema) -> str:
        with self._explained(), self._alone():
            existing = self.generations()
            if existing:
                return existing[0].name
            self._make(name, schema)
        return name

    def create(self, name: str, schema: Schema) -> None:
        with self._explained(), self._alone():
            if all(g.name != name for g in self.generations()):
                self._make(name, schema)

    def _make(self, name: str, schema: Schema) -> None:
        if self._target.passages:
            self._beside.require_name()
        table = self._identifier(name)
        create_table(self._connection, self._target, table, self._beside.table(name), schema)
        self._mark("TABLE", name)
        log.info("Made generation %s of %s.", name, self._target.label)

    def promote(self, generation: str, *, carry: Callable[[str], None] | None = None) -> None:
        with self._explained():
            if any(g.live and g.name == generation for g in self.generations()):
                return
            self._build_indexes(generation)
            swapped = swap_view(
                self._connection,
                alone=self._alone,
                view=self._identifier(self._name),
                table=self._identifier(generation),
                columns=[n for n in self._holds(generation).columns if n not in OWN],
                claim=lambda: self._claim(generation, carry),
                beside=lambda: self._beside.show(generation),
                mark=lambda: self._mark("VIEW", self._name),
                label=self._target.label,
            )
        if swapped:
            log.info("The view %s now reads from %s.", self._target.index, generation)

    def carry_over(self, keys: Sequence[Key], schema: Schema, *, from_generation: str, to_generation: str) -> int:
        with self._explained():
            return carry_over(
                self._connection,
                keys,
                primary_key=schema.primary_key,
                source=self._identifier(from_generation),
                target=self._identifier(to_generation),
                passages=self._beside.carried(from_generation, to_generation),
            )

    def drop(self, generation: str) -> None:
        with self._explained(), self._alone():
            found = next((g for g in self.generations() if g.name == generation), None)
            if found is None:
                return
            if found.live:
                raise still_live(self._target.label, generation)
            with dependents_named(self._connection, self._identifier(generation), self._target.label):
                self._connection.execute(sql.SQL("DROP TABLE {}").format(self._identifier(generation)))
            self._beside.drop(generation)
        log.info("Dropped generation %s of %s.", generation, self._target.label)

    def hand_over(self, stream: str) -> None:
        with self._explained(), self._alone():
            generations = self.generations()
            facts = {g.name: self._facts(g.name) for g in generations}
            self._stream = stream
            for name, known in facts.items():
                self._mark("TABLE", name, **known)
            if any(g.live for g in generations):
                self._mark("VIEW", self._name)
            self._beside.hand_over(stream)

    def remove(self) -> None:
        with self._explained(), self._alone():
            generations = self.generations()
            self._beside.drop_view()
            names = [("VIEW", self._name)] if any(g.live for g in generations) else []
            for kind, name in (*names, *(("TABLE", g.name) for g in generations)):
                with dependents_named(self._connection, self._identifier(name), self._target.label):
                    self._connection.execute(sql.SQL("DROP {} {}").format(sql.SQL(kind), self._identifier(name)))
                if kind == "TABLE":
                    self._beside.drop(name)
        log.info("Removed %s with %d generations.", self._target.label, len(generations))

    def marked(self) -> Sequence[Marked]:
        with self._explained():
            return belongings.listed(self._connection)

    def unmake(self, marked: Marked) -> bool:
        with self._explained(), self._alone():
            return belongings.unmade(self._connection, marked, label=self._target.label)

    def count(self, generation: str) -> int:
        with self._explained():
            statement = sql.SQL("SELECT count(*) FROM {} WHERE NOT {}")
            counted = statement.format(self._identifier(generation), sql.Identifier(DELETED))
            row = self._connection.execute(counted).fetchone()
        return int(row[0]) if row else 0

    def sizes(self) -> Mapping[str, Size]:
        names = [generation.name for generation in self.generations()]
        with self._explained():
            return sizes_of(self._connection, self._schema, names, self.count)

    def check(self) -> Iterator[Finding]:
        yield server(self._connection)
        yield from checking.rights(self._connection, self._schema)
        generations = self.generations()
        yield from checking.owners(self._connection, self._schema, self._name, generations)
        yield checking.room([size.bytes or 0 for size in self.sizes().values()])

    def differing(self, generation: str, documents: Sequence[Document], schema: Schema) -> Sequence[tuple[Key, str]]:
        with self.writer(generation, schema, Format.ROWS) as writer, self._explained():
            return writer.differing(documents)

    def _build_indexes(self, generation: str) -> None:
        """Once, before the swap and outside of its locks."""
        table = self._identifier(generation)
        with self._alone():
            if self._facts(generation).get("indexed"):
                return
            for definition in index_definitions(self._target):
                log.info("Building an index on %s: %s", generation, definition)
                build_index(self._connection, self._target, table, definition)
            self._beside.build_indexes(generation)
            self._mark("TABLE", generation, indexed=True)
        self._connection.execute(sql.SQL("ANALYZE {}").format(table))

    def _facts(self, generation: str) -> dict[str, bool]:
        """What is noted of the generation beside whose it is."""
        row = self._connection.execute(
            "SELECT obj_description(to_regclass(%s), 'pg_class')", [self._identifier(generation).as_string(None)]
        ).fetchone()
        return {name: fact for name, fact in mark_of(row and row[0]).items() if name != "stream"}

    def _claim(self, generation: str, carry: Callable[[str], None] | None) -> bool:
        """In the transaction of the swap: what is live now stays known as served, and so will what becomes live.

        False where somebody else has swapped meanwhile."""
        live = [g.name for g in self.generations() if g.live]
        if generation in live:
            return False
        if carry is not None:
            for name in live:
                # To the end of the transaction: what is carried over is then all that readers can have seen of the live one.
                hold_writes(self._connection, self._identifier(name), label=self._target.label)
                carry(name)
        for name in (*live, generation):
            self._mark("TABLE", name, indexed=True, served=True)
        return True

    # -- writing

    def fields(self, generation: str, schema: Schema) -> Sequence[str]:
        held = self._fitting(generation, schema)
        return [field.name for field in schema.fields if field.name in held.columns]

    @contextmanager
    def writer(self, generation: str, schema: Schema, format: Format) -> Iterator[PostgresWriter]:
        held = self._fitting(generation, schema)
        fields = [field.name for field in schema.fields if field.name in held.columns]
        hidden = {VERSION, DELETED, *held.generated}
        columns = {n: kind for n, kind in held.columns.items() if n not in hidden}
        copied = format in (Format.PG_COPY, Format.PG_TEXT)
        if copied:
            unfed = [n for n in columns if n not in fields]
            if unfed:
                raise ConfigurationError(
                    f"{self._target.label}: column {unfed[0]!r} is declared in columns=, but the source has no such column and"
                    " the stream no transform that would fill it. Bring it back at the source, or drop it from columns= and"
                    f" from the table {generation!r}."
                )
            columns = {n: columns[n] for n in fields}
        with self._explained(), ExitStack() as stack:
            loading = copied and not any(g.served for g in self.generations() if g.name == generation)
            connections = [self._connection]
            if self._target.passages:
                # What it holds is asked in this session while chunks are written.
                connections = [stack.enter_context(self._target.connect())]
            elif copied:
                connections.append(stack.enter_context(self._target.connect()))
            try:
                yield PostgresWriter(
                    connections,
                    table=self._identifier(generation),
                    columns=columns,
                    staged={n: schema.field(n).wire_type if copied else "text" for n in columns},
                    primary_key=schema.primary_key,
                    is_text=format is Format.PG_TEXT,
                    has_deletes=schema.has_deletes or format is Format.ROWS,
                    loose=held.loose,
                    all_new=loading,
                    passages=self._beside.writer(generation, self._live),
                )
            except errors.UndefinedTable as error:
                raise self._gone(generation) from error

    def recall(self, generation: str, documents: Sequence[Document], schema: Schema) -> Recalled:
        with self._explained():
            return self._beside.recall(generation, documents, schema, self._live)

    # -- keys, for a sweep

    def keys(self, generation: str, within: KeyRange, schema: Schema) -> Iterator[Sequence[Listed]]:
        with self._explained():
            yield from self._keys(generation, schema).keys(self._connection, within)

    def checksum(self, generation: str, within: KeyRange, schema: Schema, *, below: int) -> Checksum | None:
        with self._explained():
            return self._keys(generation, schema, below).checksum(self._connection, within)

    def content_columns(self, generation: str, schema: Schema) -> Mapping[str, str]:
        self._keys(generation, schema)
        held = self._held[generation]
        names = (f.name for f in schema.fields if f.name not in schema.primary_key)
        return {name: held[name] for name in names if name in held}

    def content_checksum(self, generation: str, within: KeyRange, schema: Schema, *, below: int) -> Checksum:
        names = self.content_columns(generation, schema)
        contents = tuple(sql.Identifier("t", name) for name in names)
        with self._explained():
            listed = replace(self._keys(generation, schema, below), contents=contents)
            return listed.checksum(self._connection, within)

    def _keys(self, generation: str, schema: Schema, below: int | None = None) -> KeyList:
        if generation not in self._held:
            # Whoever has dropped it or changed its key meanwhile shows here.
            self._held[generation] = self._fitting(generation, schema).columns
        listed = key_list(
            self._identifier(generation), self._held[generation], schema, label=self._target.label, below=below
        )
        if self._target.passages is None:
            return listed
        return replace(listed, version=listed_version(self._beside.table(generation)))

    # -- pieces

    def _live(self) -> str | None:
        return next((g.name for g in self.generations() if g.live), None)

    def _holds(self, generation: str) -> Held:
        with self._explained():
            return held_by(self._connection, self._identifier(generation))

    def _fitting(self, generation: str, schema: Schema) -> Held:
        """:raises GenerationGoneError: there is none of this name. :raises ConfigurationError: it cannot take the rows."""
        # What is asked of it takes one transaction: a pool may lie far away.
        with self._explained(), transaction(self._connection):
            held = self._holds(generation)
            if held.columns:
                self._beside.require_recipe(generation)
        if not held.columns:
            raise self._gone(generation)
        ours = {*OWN, *held.generated}
        columns = {name: kind for name, kind in held.columns.items() if name not in ours}
        require_fit(self._target, generation, columns, set(held.key), schema)
        return held

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """In one transaction, and only one at a time for this index."""
        with transaction(self._connection):
            self._connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext(%s))", [f"{MARK} {self._schema}.{self._name}"]
            )
            yield

    def _mark(self, kind: str, name: str, **facts: bool) -> None:
        comment = mark(self._stream, **facts)
        self._connection.execute(
            sql.SQL("COMMENT ON {} {} IS {}").format(sql.SQL(kind), self._identifier(name), sql.Literal(comment))
        )

    def _gone(self, generation: str) -> GenerationGoneError:
        return gone(self._target.label, generation)

    def _identifier(self, name: str) -> sql.Identifier:
        return sql.Identifier(self._schema, name)

    def _current_schema(self) -> str:
        schema = at_server(self._connection).schema
        if schema is None:
            raise ConfigurationError(f"{self._target.label}: the role's search_path has no schema; write schema.name.")
        return schema

    def _explained(self) -> Any:
        server = at_server(self._connection)
        role = _quoted(server.role)
        return explained(
            f"Target {self._target.label}",
            grant=f"GRANT USAGE, CREATE ON SCHEMA {_quoted(self._schema)} TO {role};"
            f" GRANT TEMPORARY ON DATABASE {_quoted(server.database)} TO {role}; and let it own the index's tables.",
        )


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)

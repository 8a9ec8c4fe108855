"""A source examined: each thing that a stream needs of it, with the statement that mends it. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.findings import ok, tried, warning, wrong
from airflow_reindex_provider.core.model import Finding, Level
from airflow_reindex_provider.core.progress import utc_now
from airflow_reindex_provider.databases.postgres.checking import server
from airflow_reindex_provider.databases.postgres.names import quoted, render
from airflow_reindex_provider.databases.postgres.transactions import at_server
from airflow_reindex_provider.sources.postgres.asking import asking
from airflow_reindex_provider.sources.postgres.assumptions import examine
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition
from airflow_reindex_provider.sources.postgres.description import Description
from airflow_reindex_provider.sources.postgres.horizon import glance, index_warnings, require_clock
from airflow_reindex_provider.sources.postgres.parts import DescribedPart
from airflow_reindex_provider.sources.postgres.relations import describe_all, tombstones_of
from airflow_reindex_provider.sources.postgres.sql import Relation

# The zone that sessions have by themselves: ours is settled for the transaction alone. Two names of one zone show the same times.
_ZONES = """
SELECT reset_val, bool_and((at AT TIME ZONE reset_val) = (at AT TIME ZONE %(zone)s))
FROM pg_settings, generate_series(now(), now() + interval '1 year', interval '3 months') AS at
WHERE name = 'TimeZone' GROUP BY 1
"""
_STAMP = """CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.{column} := {clock}; RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER {name} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}();"""
CLOCKS_APART_S = 5.0
_CLOCKS = {
    CursorType.TIMESTAMPTZ: "now()",
    CursorType.TIMESTAMP: "now() AT TIME ZONE {zone}",
    CursorType.DATE: "(now() AT TIME ZONE {zone})::date",
}


def check(source: PostgresDefinition, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """See ``Checked``."""
    yield server(connection)
    try:
        described, parts, _ = describe_all(source, connection)
    except ReindexError as error:
        yield wrong("table", error)
        return
    relation = Relation.of(source, described.schema, described.own_types)
    yield ok("table", _table(described))
    yield tried("rights", lambda: _rights(described, relation, connection))
    yield tried("open transactions", lambda: _transactions(described))
    yield from _indexes(described)
    yield from _stamps(described, relation, connection)
    for part in parts:
        yield from _part(part, connection)
    if source.tombstones:
        yield tried("deletions", lambda: _deletions(described, connection))
    yield from _horizon(described, relation, connection)
    yield _clock(connection)
    if (zone := _zone(described, connection)) is not None:
        yield zone


def _part(found: DescribedPart, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Of a table whose rows are in documents of others."""
    described, part = found.description, found.part
    relation = Relation.of(described.definition, described.schema, described.own_types)
    yield tried(f"child {part.path}", lambda: _required(found))
    yield tried("rights", lambda: _rights(described, relation, connection))
    missing = list(found.missing_indexes())
    yield from (warning("index", says) for says in missing)
    if not missing:
        yield ok("index", f"{part.table} has what finds the documents of its changes, and its rows of a document.")
    yield from _stamps(described, relation, connection)


def _required(found: DescribedPart) -> str:
    found.require()
    part = found.part
    recorded = f"what leaves is recorded in {part.losses}" if part.losses else "nothing is said to leave"
    return f"{part.table}, by ({', '.join(part.on)}): {recorded}."


def _table(described: Description) -> str:
    source, schema = described.definition, described.schema
    what = "fields" if source.children else "columns"
    return (
        f"{source.label}: {len(schema.fields)} {what}, primary_key ({', '.join(schema.primary_key)}), cursor_field"
        f" {source.cursor_field!r} ({schema.cursor_type})."
    )


def _rights(described: Description, relation: Relation, connection: psycopg.Connection[Any]) -> str:
    """Postgres looks at rights, and at the author's filter, also where no row is asked for."""
    names = (sql.Identifier("r", f.name) for f in described.schema.fields if not f.fields)
    columns = sql.SQL(", ").join([*names, relation.cursor, relation.deleted])
    with asking(described.definition, connection):
        connection.execute(sql.SQL("SELECT {} FROM {} LIMIT 0").format(columns, relation.body))
    return f"Role {at_server(connection).role!r} may read all that the stream reads."


def _transactions(described: Description) -> str:
    source, facts = described.definition, described.catalogue.facts
    require_clock(source, described.schema.cursor_type, facts)
    if source.lag is not None:
        return f"They are not looked at: the stream states a lag of {source.lag}."
    return f"Role {facts['role']!r} sees those of all sessions."


def _indexes(described: Description) -> Iterator[Finding]:
    if described.catalogue.is_view:
        yield ok("index", "A view or a query has none of its own: those of its tables count.")
        return
    found = list(index_warnings(described))
    yield from (warning("index", says) for says in found)
    if not found:
        yield ok("index", f"There is one on ({quoted(described.order())}).")


def _stamps(described: Description, relation: Relation, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    try:
        doubts = examine(described, relation, connection)
    except ReindexError as error:
        yield wrong("stamps", error)
        return
    for says in doubts:
        found = warning("stamps", says)
        by_hand = found.statement is None and "is stamped by no clock" in says
        yield Finding(Level.WARNING, "stamps", says, _trigger(described) if by_hand else found.statement)
    if not doubts:
        told = described.catalogue.facts["stamps"] or ()
        by = [t["name"] for stamp in told for t in stamp["triggers"] or ()]
        how = f"by trigger {', '.join(map(repr, by))}" if by else "by the database"
        if described.definition.lag is not None:
            how = "by whoever the lag is stated for"
        yield ok("stamps", f"cursor_field {described.definition.cursor_field!r} is set {how}.")


def _trigger(described: Description) -> str | None:
    """A trigger that sets the cursor field; None where it would be somewhere else than on a table of the stream."""
    source, kind = described.definition, described.schema.cursor_type
    if described.catalogue.kind not in ("r", "p") or kind not in _CLOCKS or source.table is None:
        return None
    schema, name = described.catalogue.facts["relation"]["schema"], source.table.rpartition(".")[2]
    clock = sql.SQL(_CLOCKS[kind]).format(zone=sql.Literal(source.cursor_timezone or "UTC"))
    return render(
        sql.SQL(_STAMP).format(
            function=sql.Identifier(schema, f"{name}_stamp"),
            name=sql.Identifier(f"{name}_stamp"),
            column=sql.Identifier(source.cursor_field),
            table=sql.Identifier(schema, name),
            clock=clock,
        )
    )


def _deletions(described: Description, connection: psycopg.Connection[Any]) -> str:
    tombstones_of(described, connection).require()
    return f"They are recorded in {described.definition.tombstone_table}."


def _horizon(described: Description, relation: Relation, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    try:
        horizon = glance(described, relation, connection)
    except ReindexError:
        # The finding about open transactions, or about stamps, has said so.
        return
    if horizon.held_by:
        yield warning("horizon", f"It is held back by {horizon.held_by}. Changes since then wait.")
    else:
        yield ok("horizon", f"{horizon.cursor or 'None yet'} ({horizon.basis}).")


def _clock(connection: psycopg.Connection[Any]) -> Finding:
    """How fresh an index is, is told by two clocks: the server's stamps rows, and a worker's says when it was."""
    asked = utc_now()
    row = connection.execute("SELECT statement_timestamp()").fetchone()
    answered = utc_now()
    assert row is not None
    # Anything within the time that the question took may be the time of the answer.
    apart = max((asked - row[0]).total_seconds(), (row[0] - answered).total_seconds(), 0.0)
    if apart > CLOCKS_APART_S:
        return warning(
            "clock",
            f"The server's clock and this machine's are {apart:,.0f} s apart. Nothing is lost by it, but ages and times of"
            " retries are told wrong by as much: let both follow a time server.",
        )
    return ok("clock", f"Less than {max(1.0, apart):.0f} s from this machine's.")


def _zone(described: Description, connection: psycopg.Connection[Any]) -> Finding | None:
    """Of a cursor without a time zone, which its writers' sessions give it."""
    source = described.definition
    if described.schema.cursor_type not in (CursorType.TIMESTAMP, CursorType.DATE):
        return None
    zone = source.cursor_timezone or "UTC"
    with asking(source, connection):
        row = connection.execute(_ZONES, {"zone": zone}).fetchone()
    assert row is not None
    found, same = row
    if same:
        return ok("time zone", f"Sessions of this role have {found}, as cursor_timezone says.")
    database = quoted([at_server(connection).database])
    return warning(
        "time zone",
        f"cursor_timezone is {zone!r}, and sessions of this role have {found!r}. Those that write the rows must have {zone!r}:"
        f" ALTER DATABASE {database} SET TimeZone = '{zone}';",
    )

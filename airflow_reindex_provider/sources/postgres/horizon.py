"""The bound below which no row of the source can still appear or change unseen, and what holds it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import HorizonError
from airflow_reindex_provider.core.model import Counter, Horizon, Survey
from airflow_reindex_provider.databases.postgres.names import quoted
from airflow_reindex_provider.sources.postgres.activity import STILL_OPEN
from airflow_reindex_provider.sources.postgres.asking import asking
from airflow_reindex_provider.sources.postgres.assumptions import examine
from airflow_reindex_provider.sources.postgres.counters import identity as sequence_files
from airflow_reindex_provider.sources.postgres.counters import require_order, stand
from airflow_reindex_provider.sources.postgres.definition import PostgresDefinition
from airflow_reindex_provider.sources.postgres.description import Description
from airflow_reindex_provider.sources.postgres.sql import Relation

NAMED_AFTER_S = 60.0
GLANCE_NAMED_AFTER_S = 1.0
INTEGER_WAIT_S = 10.0
LEAST_BIGINT, GREATEST_BIGINT = -(2**63), 2**63 - 1
_SUFFIXES = {CursorType.TIMESTAMPTZ: "", CursorType.TIMESTAMP: "_local", CursorType.DATE: "_date"}
"""Of the survey's facts, for each type of cursor that is made of time."""


def survey(description: Description, relation: Relation, connection: psycopg.Connection[Any]) -> Survey:
    """:raises HorizonError: what the horizon rests on cannot be seen, and no lag is stated."""
    source, facts, schema = description.definition, description.catalogue.facts, description.schema
    kind = schema.cursor_type
    require_clock(source, kind, facts)
    warnings = (*_warnings(description), *examine(description, relation, connection))
    identity = facts["identity"] or {}
    if kind is CursorType.INTEGER:
        horizon, counter, sequences = integer_horizon(source, relation, connection)
        identity |= sequences
        return Survey(schema, _held_by_prepared(source, facts) or horizon, None, warnings, counter, identity)
    horizon = _of_time(source, kind, facts, named_after_s=NAMED_AFTER_S)
    return Survey(schema, horizon, facts["now" + _SUFFIXES[kind]], warnings, identity=identity)


def glance(description: Description, relation: Relation, connection: psycopg.Connection[Any]) -> Horizon:
    """The horizon alone, without what a run asks besides: nothing is waited for, and whoever holds it back is named at once.

    :raises HorizonError: what it rests on cannot be seen, and no lag is stated."""
    source, facts, kind = description.definition, description.catalogue.facts, description.schema.cursor_type
    require_clock(source, kind, facts)
    if kind is CursorType.INTEGER:
        horizon, _, _ = integer_horizon(source, relation, connection, wait_s=0)
        return _held_by_prepared(source, facts) or horizon
    return _of_time(source, kind, facts, named_after_s=GLANCE_NAMED_AFTER_S)


def _of_time(source: PostgresDefinition, kind: CursorType, facts: dict[str, Any], *, named_after_s: float) -> Horizon:
    if held := _held_by_prepared(source, facts):
        return held
    cursor = facts["safe" + _SUFFIXES[kind]]
    if cursor == "-infinity":
        return Horizon(None, _basis(source), "the standby, which has replayed no transaction since it started")
    return Horizon(cursor, _basis(source), _holder(source, facts, named_after_s))


def _warnings(description: Description) -> Iterator[str]:
    source, facts = description.definition, description.catalogue.facts
    yield from index_warnings(description)
    if holder := _holder(source, facts, NAMED_AFTER_S):
        yield f"{source.label}: the horizon is held back by {holder}. Changes since then wait for it to end."


def index_warnings(description: Description) -> Iterator[str]:
    """Of each index that a run or a load has to do without."""
    source = description.definition
    columns = description.order()
    if not description.catalogue.is_view and (ddl := description.index_ddl(columns)):
        yield f"{source.label} has no index on ({quoted(columns)}): every run reads the whole table. {ddl}"
    columns = description.order(fresh=True)
    if source.group_by and not description.catalogue.is_view and (ddl := description.index_ddl(columns)):
        yield (
            f"{source.label} has no index on ({quoted(columns)}): the first load, a rebuild and a sweep of each group read the"
            f" whole table. {ddl}"
        )


def _holder(source: PostgresDefinition, facts: dict[str, Any], after_s: float) -> str | None:
    """Whoever has held the horizon back for so long that a person should know."""
    holder = facts["holder"]
    if not holder or holder["age_s"] <= after_s or source.lag is not None:
        return None
    return (
        f"the {holder['state'] or holder['kind']} transaction of user {holder['user']!r}, pid {holder['pid']}"
        f" ({holder['application'] or 'no name'}), open for {holder['age_s']:.0f} s"
    )


def _basis(source: PostgresDefinition) -> str:
    if source.lag is not None:
        return f"lag of {source.lag} stated for the stream"
    return f"oldest open transaction, less {source.margin.total_seconds():g} s"


def require_clock(source: PostgresDefinition, kind: CursorType, facts: dict[str, Any]) -> None:
    """:raises HorizonError: what the horizon rests on cannot be seen, and no lag is stated."""
    if source.lag is not None:
        return
    unit = "a number of values" if kind is CursorType.INTEGER else "a timedelta"
    or_lag = f", or state lag ({unit} after which no change stays invisible)"
    if not facts["sees_all"]:
        raise HorizonError(
            f"{source.label}: role {facts['role']!r} cannot see other sessions' transactions, so a late commit would be"
            f" skipped. GRANT pg_read_all_stats TO {quoted([facts['role']])};{or_lag}."
        )
    if facts["untracked"]:
        session = facts["untracked"][0]
        raise HorizonError(
            f"{source.label}: the session of user {session['user']!r}, pid {session['pid']}, has track_activities off,"
            f" so nobody sees its transactions. ALTER ROLE {quoted([session['user']])} SET track_activities = on; and let it"
            f" reconnect{or_lag}."
        )


def _held_by_prepared(source: PostgresDefinition, facts: dict[str, Any]) -> Horizon | None:
    prepared = facts["prepared"]
    if not prepared or source.lag is not None:
        return None
    return Horizon(
        None,
        "prepared transaction",
        f"prepared transaction {prepared['gid']!r} of user {prepared['user']!r}, open for {prepared['age_s']:.0f} s,"
        " whose rows cannot be dated: COMMIT PREPARED or ROLLBACK PREPARED it",
    )


def integer_horizon(
    source: PostgresDefinition,
    relation: Relation,
    connection: psycopg.Connection[Any],
    *,
    wait_s: float = INTEGER_WAIT_S,
) -> tuple[Horizon, Counter, dict[str, str]]:
    """With what the sequences behind the cursor are known by.

    :param wait_s: for transactions that were open when the greatest value was seen.

    :raises HorizonError: what hands out the values does not do so in increasing order, or a row has the last one that there is,
        and no lag is stated.
    """
    with asking(source, connection):
        counter, at, sequences = stand(source, relation, connection)
    require_order(source, sequences)
    return _integer_horizon(source, counter, at, connection, wait_s), counter, sequence_files(sequences)


def _integer_horizon(
    source: PostgresDefinition, counter: Counter, at: str, connection: psycopg.Connection[Any], wait_s: float
) -> Horizon:
    greatest = counter.greatest
    if greatest is None:
        return Horizon(None, "no row has a cursor value")
    if source.lag is not None:
        assert isinstance(source.lag, int)
        return Horizon(str(max(greatest - source.lag, LEAST_BIGINT)), _basis(source))
    if greatest == GREATEST_BIGINT:
        raise HorizonError(
            f"{source.label}: cursor_field {source.cursor_field!r} is {greatest} in a row, the greatest value that there is,"
            " behind which no window ends. Give the row another one, or state lag (a number of values), which leaves it out."
        )
    deadline = time.monotonic() + wait_s
    while holder := connection.execute(STILL_OPEN, {"at": at}).fetchone():
        if time.monotonic() > deadline:
            what, age_s = holder
            return Horizon(None, "transactions open", f"the {what}, open for {age_s:.0f} s")
        time.sleep(0.1)
    return Horizon(str(greatest + 1), "greatest value, after all transactions open then had ended")

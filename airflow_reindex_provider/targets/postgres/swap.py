"""Points a view at another table in one transaction. Readers see the one or the other, and never wait longer than a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.targets.postgres.attachments import attach, attachments
from airflow_reindex_provider.targets.postgres.statements import DELETED

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

LOCK_TIMEOUT = "1s"
"""New readers queue behind a swap that waits for an old one."""
_SECOND_TIMEOUT = "300ms"
"""Whoever reads both views may hold the second and wait for the first, which is ours by now. Then we give way, before Postgres
looks for deadlocks and ends one of us."""
TRIES = 60
_PAUSE_S = 1.0

_VIEW = """
SELECT pg_get_userbyid(relowner), reloptions, pg_get_userbyid(relowner) = current_user
FROM pg_class c WHERE c.oid = to_regclass(%(view)s)
"""
_DEPENDENTS = """
SELECT DISTINCT r.ev_class::regclass::text
FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
WHERE d.refobjid = to_regclass(%(name)s) AND r.ev_class <> d.refobjid ORDER BY 1
"""


def swap_view(
    connection: psycopg.Connection[Any],
    *,
    alone: Callable[[], AbstractContextManager[None]],
    view: sql.Identifier,
    table: sql.Identifier,
    columns: Sequence[str],
    claim: Callable[[], bool],
    beside: Callable[[], None],
    mark: Callable[[], None],
    label: str,
) -> bool:
    """Make the view or point it at the table; owner, options and all that people have attached to it stay.

    :param alone: opens the transaction. :param claim: called in it first; False says that nothing is left to do.
    :param beside: called in it to point another view at what lies beside the table. :param mark: called in it last, to mark the
        view.
    :raises ConfigurationError: the columns differ, so the view must be made anew, and other objects depend on it, or what is
        attached to it does not fit any more.
    :raises TransientError: readers held the view for a minute.
    """
    steps = [lambda: point_view(connection, view, _documents(table, columns), columns, label), beside]
    for _ in range(TRIES):
        try:
            with alone():
                if not claim():
                    return False
                for step, timeout in zip(steps, (LOCK_TIMEOUT, _SECOND_TIMEOUT), strict=True):
                    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(timeout)))
                    step()
                mark()
                return True
        except errors.LockNotAvailable:
            log.info("%s: a reader holds the view; the swap lets others pass and tries again.", label)
        # Readers of both views mostly lock them in one order: it is this one or the other.
        steps.reverse()
        # With the lock given back, so that those who have queued behind it get through.
        time.sleep(_PAUSE_S)
    raise TransientError(
        f"{label}: transactions that read the view have held it all the time; the swap is to be tried again."
    )


def point_view(
    connection: psycopg.Connection[Any],
    view: sql.Identifier,
    query: sql.Composed,
    columns: Sequence[str],
    label: str,
) -> None:
    """In a transaction: make the view, or have it show what this query gives. :param columns: names of what that is."""
    found = connection.execute(_VIEW, {"view": view.as_string(None)}).fetchone()
    owner, options, is_owner = found or ("", None, True)
    try:
        with connection.transaction():
            connection.execute(_made("CREATE OR REPLACE VIEW", view, query, options))
        return
    except errors.InvalidTableDefinition:
        # Other columns than before, by name, type or order: it has to be another view.
        attached = attachments(connection, view)
    with dependents_named(connection, view, label):
        connection.execute(sql.SQL("DROP VIEW {}").format(view))
    connection.execute(_made("CREATE VIEW", view, query, options))
    if not is_owner:
        connection.execute(sql.SQL("ALTER VIEW {} OWNER TO {}").format(view, sql.Identifier(owner)))
    attach(connection, view, attached, columns, label=label)


@contextmanager
def dependents_named(connection: psycopg.Connection[Any], name: sql.Identifier, label: str) -> Iterator[None]:
    """:raises ConfigurationError: what the block would drop is in use by other views; names them."""
    dependents = [n for (n,) in connection.execute(_DEPENDENTS, {"name": name.as_string(None)})]
    try:
        yield
    except errors.DependentObjectsStillExist as error:
        used_by = ", ".join(dependents) or str(error.diag.message_detail)
        raise ConfigurationError(
            f"{label}: {name.as_string(None)} cannot be dropped, since {used_by} depends on it. Drop what depends on it, and"
            " make it anew afterwards."
        ) from error


def _made(verb: str, view: sql.Identifier, query: sql.Composed, options: Sequence[str] | None) -> sql.Composed:
    settings = sql.SQL(" WITH ({})").format(sql.SQL(", ").join(map(sql.SQL, options))) if options else sql.SQL("")
    return sql.SQL("{} {}{} AS {}").format(sql.SQL(verb), view, settings, query)


def _documents(table: sql.Identifier, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("SELECT {} FROM {} WHERE NOT {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), table, sql.Identifier(DELETED)
    )

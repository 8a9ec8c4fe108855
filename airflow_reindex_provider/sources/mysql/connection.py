"""A connection of SQLAlchemy upon that of the official hook, with a session that is the same on every server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.sources.mysql.definition import MySqlDefinition
from airflow_reindex_provider.sources.sql.asking import Asking
from airflow_reindex_provider.sources.sql.definition import TableDefinition
from airflow_reindex_provider.sources.sql.explaining import explaining, hook_of

SESSION_SETTINGS = (
    "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'",
    "SET SESSION time_zone = '+00:00'",
    # A limit that a server sets for all would cut pages in silence; the other two are of values that are none.
    "SET SESSION sql_select_limit = DEFAULT",
    "SET SESSION sql_auto_is_null = 0",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    # Who may only read holds no horizon back.
    "SET SESSION TRANSACTION READ ONLY",
    # Who waits for a table that is being altered, for a whole day by default, waits in vain, and seems to hang.
    "SET SESSION lock_wait_timeout = 60",
)
_PASSING = frozenset({1040, 1053, 1205, 1213, 1317, 1412, 1969, 3024})
"""Too many connections, a shutdown, a lock that was not had in time, a deadlock, a statement that was killed or took too long,
a table that was altered after the snapshot that is read."""
_DEADLOCK = 1213
_TRIES = 10


@contextmanager
def connect(source: TableDefinition) -> Iterator[tuple[Asking, Callable[[], None]]]:
    """With it, what ends the statement that it runs, from another thread.

    :raises ConfigurationError: no such connection, or not of MySQL; :raises TransientError: it does not answer."""
    from airflow.providers.mysql.hooks.mysql import MySqlHook

    hook = hook_of(source, MySqlHook)
    driver = _open(source, hook)
    engine = _engine(driver)
    explained = partial(explaining, source.label, passing=_PASSING)
    try:
        with explained(), engine.connect() as connection:
            number = int(connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one())
            connection.rollback()
            yield Asking(connection, explained), lambda: _stop(source, hook, number)
    finally:
        engine.dispose()


def change(source: MySqlDefinition, statements: Sequence[str | sa.Executable], conn_id: str | None) -> int:
    """Run them, one after the other, on a connection that may write; returns how many rows they changed.

    Doing them again must be no harm: triggers of the application write to the same table, and who gives way to them in a deadlock
    begins anew.

    :param conn_id: default: the source's own."""
    from airflow.providers.mysql.hooks.mysql import MySqlHook

    used = replace(source, conn_id=conn_id or source.conn_id)
    driver = _driver(used, hook_of(used, MySqlHook))
    engine = _engine(driver)
    try:
        number = 0
        while True:
            try:
                with explaining(f"Tombstones of {used.label}", passing=_PASSING):
                    return _changed(engine, statements)
            except TransientError as error:
                number += 1
                if number == _TRIES or not _is_deadlock(error.__cause__):
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**number))
    finally:
        engine.dispose()


def _changed(engine: sa.Engine, statements: Sequence[str | sa.Executable]) -> int:
    changed = 0
    with engine.begin() as connection:
        for setting in SESSION_SETTINGS[:2]:
            connection.exec_driver_sql(setting)
        for statement in statements:
            told = connection.execute(
                sa.text(statement.replace(":", "\\:")) if isinstance(statement, str) else statement
            )
            changed += max(0, told.rowcount)
    return changed


def _is_deadlock(error: BaseException | None) -> bool:
    return isinstance(error, sa.exc.DBAPIError) and error.orig is not None and error.orig.args[:1] == (_DEADLOCK,)


def _engine(driver: Any) -> sa.Engine:
    module = "mysqldb" if type(driver).__module__.startswith("MySQLdb") else "mysqlconnector"
    return sa.create_engine(f"mysql+{module}://", creator=lambda: driver, poolclass=sa.StaticPool)


def _open(source: TableDefinition, hook: Any) -> Any:
    driver = _driver(source, hook)
    with closing(driver.cursor()) as cursor:
        for setting in SESSION_SETTINGS:
            cursor.execute(setting)
    driver.commit()
    return driver


def _driver(source: TableDefinition, hook: Any) -> Any:
    try:
        driver = hook.get_conn()
    except RuntimeError as error:
        # The provider's own words about a client that is not installed.
        raise ConfigurationError(
            f"Source {source.label}: {error} Or install mysql-connector-python, and say so in the connection's extra:"
            ' {"client": "mysql-connector-python"}.'
        ) from error
    except Exception as error:
        number = error.args[0] if error.args else None
        refused = number in (1044, 1045, 1049, 1698) or "Access denied" in str(error)
        raise (ConfigurationError if refused else TransientError)(
            f"Source {source.label}: connection {source.conn_id!r}: {' '.join(str(error).split())}"
        ) from error
    if hasattr(driver, "set_character_set"):
        driver.set_character_set("utf8mb4")
    else:
        # What is left of a page is read before the next statement, as the other client does by itself.
        driver.set_charset_collation("utf8mb4")
        driver.can_consume_results = True
    return driver


def _stop(source: TableDefinition, hook: Any, number: int) -> None:
    # It is no error if the session, or the server, has gone meanwhile.
    with suppress(Exception), closing(hook.get_conn()) as other, closing(other.cursor()) as cursor:
        cursor.execute(f"KILL QUERY {number}")

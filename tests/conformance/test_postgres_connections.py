"""A connection that cannot be opened: one of our errors, with its name, tried again only where that can help."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.caches.postgres import PostgresVectorCache
from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError
from airflow_reindex_provider.databases.postgres.refusals import unopened
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres

pytestmark = pytest.mark.versions

REFUSED, SILENT = ConfigurationError, TransientError

SPOILT = {
    "a key that is none of the driver's": ({"extra": {"sslmod": "require"}}, REFUSED, r"sslmod.*extra.*libpq"),
    "a key of another driver": ({"extra": {"cursor_factory": "x", "keepalive": 1}}, REFUSED, "keepalive"),
    "a value that is none": ({"extra": {"sslmode": "sometimes"}}, REFUSED, "sslmode.*sometimes"),
    "a number that is none": ({"extra": {"connect_timeout": "soon"}}, REFUSED, "connect_timeout"),
    "a list": ({"extra": {"options": ["-c", "x=y"]}}, REFUSED, "-c"),
    "what the driver takes as its own": ({"extra": {"context": 1}}, REFUSED, ""),
    "a cursor that the hook does not know": ({"extra": {"cursor": "nonsense"}}, REFUSED, "nonsense"),
    "an option that the server does not know": ({"extra": {"options": "-c nonsense=1"}}, REFUSED, "nonsense"),
    "a value that the server does not take": ({"extra": {"options": "-c TimeZone=Nowhere"}}, REFUSED, "Nowhere"),
    "no such database": ({"schema": "nowhere"}, REFUSED, '"nowhere" does not exist'),
    "no such role": ({"login": "nobody_here"}, REFUSED, "nobody_here"),
    "no such host": ({"host": "no-such-host.invalid"}, REFUSED, "no-such-host.invalid|Name or service|resolve"),
    "a port that is none": ({"host": "127.0.0.1", "port": 99999}, REFUSED, "port"),
    "nobody listens there": ({"host": "127.0.0.1", "port": 1}, SILENT, "refused"),
    "a socket that is not there": ({"host": "/nowhere"}, SILENT, "/nowhere"),
    "a service that nobody has defined": ({"extra": {"service": "nope"}}, REFUSED, "nope"),
}
USERS: dict[str, Callable[[str], Any]] = {
    "source": lambda conn_id: PostgresSource(conn_id, table="t", primary_key="id", cursor_field="at").open(),
    "target": lambda conn_id: PostgresTarget(conn_id, index="t_index").open("stream"),
    "checkpoint": lambda conn_id: nullcontext(TableCheckpoint(conn_id).load("stream", "generation")),
    "cache": lambda conn_id: PostgresVectorCache(conn_id).open(),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_connection_that_is_wrong(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The driver's word for it, and the connection; never the driver's own error."""
    spoilt, error, text = SPOILT[name]
    whole = {
        "conn_type": "postgres",
        "host": str(postgres.socket_dir),
        "login": "postgres",
        "schema": "postgres",
        **spoilt,
    }
    monkeypatch.setenv("AIRFLOW_CONN_SPOILT", json.dumps(whole))

    for opened in USERS.values():
        with pytest.raises(ReindexError, match=f"(?s)'spoilt'.*({text})") as raised, opened("spoilt"):
            pass
        assert type(raised.value) is error


def test_what_a_server_says_to_newcomers(
    postgres: EmbeddedPostgres, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role without a login or a database that takes nobody is for a person; too many sessions pass."""
    with database.connect() as db:
        db.execute("CREATE ROLE no_login; CREATE ROLE one_too_many LOGIN CONNECTION LIMIT 0")
        db.execute("CREATE DATABASE closed_shop ALLOW_CONNECTIONS false")
        try:
            for login, name, error in (
                ("no_login", database.name, ConfigurationError),
                ("one_too_many", database.name, TransientError),
                ("postgres", "closed_shop", ConfigurationError),
            ):
                uri = database.uri.replace("postgres@", f"{login}@").replace(database.name, name)
                monkeypatch.setenv("AIRFLOW_CONN_NEWCOMER", uri)
                with pytest.raises(error, match="'newcomer'"), USERS["source"]("newcomer"):
                    pass
        finally:
            db.execute("DROP DATABASE closed_shop")
            db.execute("DROP ROLE no_login; DROP ROLE one_too_many")


MESSAGES = [
    (REFUSED, 'FATAL:  password authentication failed for user "x"'),
    (REFUSED, "fe_sendauth: no password supplied"),
    (REFUSED, 'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "x", database "y", no encryption'),
    (REFUSED, 'FATAL:  role "x" is not permitted to log in'),
    (REFUSED, 'FATAL:  permission denied for database "y"'),
    (REFUSED, "server does not support SSL, but SSL was required"),
    (REFUSED, 'root certificate file "/x/root.crt" does not exist'),
    (REFUSED, 'could not read certificate file "/x/client.crt": No such file or directory'),
    (REFUSED, 'private key file "/x/client.key" has group or world access'),
    (REFUSED, "SSL error: certificate verify failed"),
    (REFUSED, 'server certificate for "a" does not match host name "b"'),
    (REFUSED, "FATAL:  no such database: y"),
    (REFUSED, "FATAL:  unsupported startup parameter: options"),
    (REFUSED, "failed to resolve host 'x': [Errno -2] Name or service not known"),
    (SILENT, "failed to resolve host 'x': [Errno -3] Temporary failure in name resolution"),
    (SILENT, 'connection to server at "10.0.0.1", port 5432 failed: Connection refused'),
    (SILENT, "connection timeout expired"),
    (SILENT, "FATAL:  the database system is starting up"),
    (SILENT, "FATAL:  the database system is in recovery mode"),
    (SILENT, "FATAL:  sorry, too many clients already"),
    (SILENT, "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute"),
    (SILENT, "FATAL:  too many connections for role"),
    (SILENT, "server closed the connection unexpectedly"),
    (SILENT, "FATAL:  query_wait_timeout"),
    (SILENT, "FATAL:  terminating connection due to administrator command"),
]


@pytest.mark.parametrize(("error", "message"), MESSAGES)
def test_who_has_to_act(error: type[ReindexError], message: str) -> None:
    """By what libpq, servers and poolers say at the door; there is no code to go by."""
    found = unopened(psycopg.OperationalError(f"connection failed: {message}"), "db", "source 'x'")
    assert type(found) is error
    assert "'db'" in str(found)


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (ImportError("No module named 'boto3'"), REFUSED),
        (ValueError("Invalid cursor passed x"), REFUSED),
        (ConnectionResetError("peer"), SILENT),
        (TimeoutError("the token service"), SILENT),
    ],
)
def test_what_the_hook_raises_by_itself(raised: Exception, error: type[ReindexError]) -> None:
    """On its way to the driver, as for a token of a cloud."""
    found = unopened(raised, "db", "source 'x'")
    assert type(found) is error
    assert "'db'" in str(found)


def test_outside_of_a_task_a_missing_connection_says_where_airflow_looks() -> None:
    """Airflow reads its own database in tasks alone: whoever has just added the connection must be told."""
    source = PostgresSource("nowhere_db", table="t", primary_key="id", cursor_field="at", tombstones=True)
    with pytest.raises(ConfigurationError, match=r"(?s)'nowhere_db'.*Outside of a task.*AIRFLOW_CONN_NOWHERE_DB"):
        source.install_tombstones()

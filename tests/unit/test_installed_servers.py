"""The servers that the system's packages bring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from airflow_reindex_provider.testing.installed_postgres import InstalledPostgres
from airflow_reindex_provider.testing.pgbouncer import find_pgbouncer
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres


def test_the_installed_postgres_has_what_the_embedded_one_lacks(contrib_database: Database):
    """contrib modules, collations of ICU, and logical decoding."""
    with contrib_database.connect() as connection:
        for name in ("citext", "hstore", "postgres_fdw"):
            connection.execute(f"CREATE EXTENSION {name}")
        connection.execute(
            "CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
        assert connection.execute("SELECT 'Ä' = 'ä' COLLATE folding, 'A'::citext = 'a'").fetchone() == (True, True)
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)


def test_a_missing_postgres_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The variable that misleads, and what to install."""
    monkeypatch.setenv("REINDEX_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"REINDEX_POSTGRES_BIN is .*apt-get install postgresql"):
        InstalledPostgres().__enter__()


@pytest.mark.parametrize(("mode", "moves"), [("transaction", True), ("session", False)])
def test_a_pool_gives_sessions_out_as_its_mode_says(
    postgres: EmbeddedPostgres, database: Database, pgbouncer: Callable[..., Database], mode: str, moves: bool
):
    """In transaction mode two statements may meet two sessions of the server, in session mode they never do."""
    pooled = pgbouncer(postgres, database.name, pool_mode=mode, pool_size=2)
    with pooled.connect() as one, pooled.connect() as other:
        for connection in (one, other):  # both sessions of the pool are open
            connection.execute("BEGIN")
        for connection in (one, other):
            connection.execute("COMMIT")
        assert len({_backend(one) for _ in range(4)}) == (2 if moves else 1)


def test_roles_come_through_a_pool_as_themselves(
    postgres: EmbeddedPostgres, database: Database, pgbouncer: Callable[..., Database]
):
    """Those that the pool was given; nobody else."""
    with database.connect() as connection:
        connection.execute("CREATE ROLE pooled_reader LOGIN")
    try:
        pooled = pgbouncer(postgres, database.name, user="pooled_reader", users=("postgres", "pooled_reader"))
        with pooled.connect() as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("pooled_reader",)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(pooled.dsn, user="somebody")
    finally:
        with postgres.database().connect() as connection:
            connection.execute("DROP ROLE pooled_reader")


def test_a_missing_pgbouncer_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch):
    """What to install."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="apt-get install pgbouncer"):
        find_pgbouncer()


def _backend(connection: psycopg.Connection) -> int:
    return connection.execute("SELECT pg_backend_pid()").fetchone()[0]

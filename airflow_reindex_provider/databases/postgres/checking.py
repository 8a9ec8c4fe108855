"""What is to be known of a server first, from either side."""

from __future__ import annotations

from typing import Any

import psycopg

from airflow_reindex_provider.core.findings import ok, warning
from airflow_reindex_provider.core.model import Finding
from airflow_reindex_provider.databases.postgres.transactions import at_server

OLDEST = 14
TESTED = 18


def server(connection: psycopg.Connection[Any]) -> Finding:
    row = connection.execute(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int"
    ).fetchone()
    assert row is not None
    version, number = row
    at = at_server(connection)
    says = f"PostgreSQL {version}, database {at.database!r}, role {at.role!r}{', a standby' if at.standby else ''}."
    if number // 10_000 < OLDEST:
        return warning(
            "server",
            f"{says} It is older than {OLDEST}, and some statements of this package do not exist there. Tests run on {TESTED}.",
        )
    return ok("server", says)

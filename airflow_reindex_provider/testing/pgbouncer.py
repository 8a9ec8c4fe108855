"""A real PgBouncer in front of a server: for tests of what a pooler between us and Postgres does to sessions."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.processes import ProcessSet, UntilLeft, free_port, until_it_answers

_START_S = 30.0


class PgBouncer(UntilLeft):
    """Context manager: a pool for every database of ``postgres``, on loopback; no password.

    It ends with the context, and also when the owner is killed.

    :param postgres: a running server.
    :param pool_mode: ``transaction``: each transaction may get another session of the server; ``session``; ``statement``.
    :param pool_size: how many sessions of the server there are for each database and user, at the most. They are given out in
        turn, so that with more than one nobody keeps the same one by chance.
    :param users: the roles that may come through it.
    :param settings: of ``[pgbouncer]``, besides; such as ``{"ignore_startup_parameters": "extra_float_digits,options"}``.
    :raises RuntimeError: on entering, when it cannot be had; says why, and what to install.
    """

    def __init__(
        self,
        postgres: EmbeddedPostgres,
        *,
        pool_mode: str = "transaction",
        pool_size: int = 5,
        users: Sequence[str] = ("postgres",),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._postgres = postgres
        self._users = users
        self._port = free_port()
        self._settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "admin_users": "postgres",
            "pool_mode": pool_mode,
            "default_pool_size": str(pool_size),
            "server_round_robin": "1",
            "ignore_startup_parameters": "extra_float_digits",
            **(settings or {}),
        }
        self._processes = ProcessSet()

    def _begin(self, stack: contextlib.ExitStack) -> None:
        program = find_pgbouncer()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reindex-pgbouncer-")))
        stack.enter_context(self._processes)
        log = folder / "output.log"
        self._processes.start(
            "pgbouncer", [str(program), str(self._configure(folder))], env={}, log=log, user=self._uid()
        )
        self._wait(log)

    def dsn(self, database: str, *, user: str = "postgres") -> str:
        """The conninfo string that psycopg and libpq take."""
        return make_conninfo("", host="127.0.0.1", port=self._port, user=user, dbname=database)

    def database(self, name: str, *, conn_id: str, user: str = "postgres") -> Database:
        """A database of the server as it is reached through the pool; `conn_id`: what its Airflow connection is called."""
        uri = f"postgres://{quote(user, safe='')}@127.0.0.1:{self._port}/{quote(name, safe='')}"
        return Database(name=name, dsn=self.dsn(name, user=user), uri=uri, conn_id=conn_id)

    def _configure(self, folder: Path) -> Path:
        users = folder / "users.txt"
        users.write_text("".join(f'"{user}" ""\n' for user in self._users))
        settings = {"auth_file": str(users), **self._settings}
        lines = [f"{name} = {value}" for name, value in settings.items()]
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(
            "\n".join(("[databases]", f"* = host={self._postgres.socket_dir}", "[pgbouncer]", *lines, ""))
        )
        if self._postgres.user is not None:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, self._postgres.user)
        return configuration

    def _uid(self) -> int | None:
        """It refuses to run as root, and must reach the server's socket."""
        user = self._postgres.user
        return None if user is None else pwd.getpwnam(user).pw_uid

    def _wait(self, log: Path) -> None:
        until_it_answers(
            # Its own console is there as soon as it is.
            lambda: psycopg.connect(self.dsn("pgbouncer"), autocommit=True).close(),
            psycopg.OperationalError,
            within_s=_START_S,
            alive=self._processes.check,
            what="PgBouncer",
            log=log,
        )


def find_pgbouncer() -> Path:
    """:raises RuntimeError: there is none; says what to install."""
    # Debian keeps it where only root's path leads.
    if found := shutil.which("pgbouncer", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))):
        return Path(found)
    raise RuntimeError("There is no pgbouncer on this machine: install it (on Debian: apt-get install pgbouncer).")

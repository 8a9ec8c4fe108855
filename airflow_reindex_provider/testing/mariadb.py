"""The MariaDB that the system's packages bring, in a temporary folder, without Docker: for tests and benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

from airflow_reindex_provider.testing.folders import make_folder
from airflow_reindex_provider.testing.installed import install, server_user
from airflow_reindex_provider.testing.processes import ProcessSet, free_port, until_it_answers

_VARIABLE = "REINDEX_MARIADB_BIN"
_CLIENT = "REINDEX_MYSQL_CLIENT"
"""Names the client of Airflow's connections."""
_REMEDY = (
    "Install MariaDB (on Debian: apt-get install mariadb-server), or name the folder of its programs (mariadbd,"
    f" mariadb-install-db) in {_VARIABLE}."
)
_START_S = 60.0
PASSWORD = "reindex"
FIRST_USER = (
    "CREATE USER IF NOT EXISTS `root`@`127.0.0.1`;\n"
    # MariaDB's first files have this user, without a password.
    f"ALTER USER `root`@`127.0.0.1` IDENTIFIED BY '{PASSWORD}';\n"
    "GRANT ALL ON *.* TO `root`@`127.0.0.1` WITH GRANT OPTION;\n"
)
SETTINGS = {
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_buffer_pool_size": "256M",
    "max_connections": "200",
    "innodb_lock_wait_timeout": "20",
    "character_set_server": "utf8mb4",
    # Who comes from 127.0.0.1 is known by that, and not by the name it has here.
    "skip_name_resolve": "1",
}
"""Of MariaDB and MySQL alike."""


@dataclass(frozen=True)
class MariaDatabase:
    """One database of a server as a user of its reaches it; ``uri`` is for the Airflow connection ``conn_id``."""

    name: str
    port: int
    user: str
    password: str
    conn_id: str

    @property
    def uri(self) -> str:
        extra = json.dumps({"client": os.environ.get(_CLIENT, "mysql-connector-python")})
        return (
            f"mysql://{self.user}:{self.password}@127.0.0.1:{self.port}/{self.name}?{urlencode({'__extra__': extra})}"
        )

    @property
    def env(self) -> dict[str, str]:
        """The environment variable that makes the Airflow connection."""
        return {f"AIRFLOW_CONN_{self.conn_id.upper()}": self.uri}

    def connect(self, **options: Any) -> Any:
        """A connection of PyMySQL in autocommit mode, another client than the one under test; ``options`` go to it."""
        import pymysql

        return pymysql.connect(
            **{
                "host": "127.0.0.1",
                "port": self.port,
                "user": self.user,
                "password": self.password,
                "database": self.name,
                "autocommit": True,
                **options,
            }
        )

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Each of them, on a connection of its own; the rows of the last one."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


class InstalledMariaDB:
    """Context manager: one MariaDB server on loopback, not durable; superuser ``root`` with a password. It ends with the
    context, and also when the owner is killed.

    :param settings: of the server, besides.
    :raises RuntimeError: on entering, when it cannot be had or started; says why, and what to install.
    """

    SETTINGS: ClassVar[Mapping[str, str]] = {
        **SETTINGS,
        "innodb_log_file_size": "64M",
        "lc-messages-dir": "/usr/share/mysql",
    }

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self._settings = {**self.SETTINGS, **(settings or {})}
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        programs = self._find()
        folder = make_folder("reindex-mariadb-", durable=False)
        user = server_user("mysql", "nobody", remedy=_REMEDY)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            processes = stack.enter_context(ProcessSet(folders=[folder]))
            data, log = folder / "data", folder / "server.log"
            if user is not None:
                shutil.chown(folder, user)
            self._make_first_files(programs, data, folder, user)
            options = {
                "datadir": str(data),
                "bind-address": "127.0.0.1",
                "port": str(self.port),
                "socket": str(folder / "s"),
                "pid-file": str(folder / "pid"),
                **self._settings,
            }
            command = [str(programs[0]), "--no-defaults", *(f"--{name}={value}" for name, value in options.items())]
            processes.start("mariadb", command, env={}, log=log, user=user)
            self._wait(processes, log)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._exit.close()

    def database(self, name: str, *, conn_id: str = "shop_mysql", user: str = "root") -> MariaDatabase:
        """One that is there. :param user: with the password of all."""
        return MariaDatabase(name, self.port, user, PASSWORD, conn_id)

    def create_database(self, name: str, *, conn_id: str = "shop_mysql") -> MariaDatabase:
        self.database("mysql").execute(f"CREATE DATABASE `{name}`")
        return self.database(name, conn_id=conn_id)

    def create_user(self, name: str, *grants: str) -> None:
        """:param grants: what stands between GRANT and TO."""
        self.database("mysql").execute(
            f"DROP USER IF EXISTS `{name}`@`127.0.0.1`",
            f"CREATE USER `{name}`@`127.0.0.1` IDENTIFIED BY '{PASSWORD}'",
            *(f"GRANT {grant} TO `{name}`@`127.0.0.1`" for grant in grants),
        )

    def drop_database(self, name: str) -> None:
        """Sessions in it are ended first."""
        server = self.database("mysql")
        for (session,) in server.execute(f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"):
            # It may have gone by itself meanwhile.
            with contextlib.suppress(Exception):
                server.execute(f"KILL {session}")
        server.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def _find(self) -> tuple[Path, ...]:
        """The server, and what else it takes."""
        return find_mariadb()

    def _make_first_files(self, programs: tuple[Path, ...], data: Path, folder: Path, user: str | None) -> None:
        data.mkdir()
        if user is not None:
            shutil.chown(data, user)
        script = folder / "first.sql"
        # Read by a server without tables of rights: they have to be read before one can be set.
        script.write_text("FLUSH PRIVILEGES;\n" + FIRST_USER)
        install(
            [
                *(programs[1], "--no-defaults", f"--datadir={data}", f"--extra-file={script}", "--skip-test-db"),
                *("--auth-root-authentication-method=normal", "--innodb-log-file-size=64M"),
            ],
            user=user,
        )

    def _wait(self, processes: ProcessSet, log: Path) -> None:
        until_it_answers(
            lambda: self.database("mysql").execute("SELECT 1"),
            Exception,  # whatever a server that is coming up answers
            within_s=_START_S,
            alive=processes.check,
            what="The server",
            log=log,
        )


def find_mariadb() -> tuple[Path, Path]:
    """The server and the program that makes its first tables.

    :raises RuntimeError: they are not here; says what to install."""
    places = os.environ.get(_VARIABLE) or os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    server, installer = (shutil.which(name, path=places) for name in ("mariadbd", "mariadb-install-db"))
    if server is None or installer is None:
        raise RuntimeError(f"There is no MariaDB on this machine. {_REMEDY}")
    return Path(server), Path(installer)

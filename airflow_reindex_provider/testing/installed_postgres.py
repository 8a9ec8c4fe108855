"""The PostgreSQL that the system's packages bring: with contrib (citext, hstore, postgres_fdw ...) and ICU collations, which
the embedded one comes without. For tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from airflow_reindex_provider.testing.installed import install, server_user
from airflow_reindex_provider.testing.postgres import EmbeddedPostgres

_VARIABLE = "REINDEX_POSTGRES_BIN"
_REMEDY = (
    "Install PostgreSQL with its contrib modules (on Debian: apt-get install postgresql), or name the folder of its programs"
    f" in {_VARIABLE}."
)
_EXTENSIONS = frozenset({"citext", "dblink", "hstore", "postgres_fdw"})


class InstalledPostgres(EmbeddedPostgres):
    """Context manager: a server of its own like :class:`EmbeddedPostgres`, in a temporary folder, of the newest PostgreSQL
    that is installed here; not durable, with ``wal_level = logical``.

    ``REINDEX_POSTGRES_BIN`` names the folder of another one's programs (``initdb``, ``pg_ctl``).

    :param settings: of the server, besides.
    :raises RuntimeError: on entering, when there is none, or one without contrib or ICU; says what to install.
    """

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(durable=False, settings={"wal_level": "logical", **(settings or {})})

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._demand_contrib()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make_cluster(self) -> tuple[Path, str | None]:
        programs = find_programs()
        user = server_user("postgres", remedy=_REMEDY)
        if user is not None:
            shutil.chown(self.data_dir, user)
        install(
            [
                *(programs / "initdb", "--pgdata", self.data_dir, "--username", "postgres", "--auth", "trust"),
                *("--no-sync", "--encoding", "UTF8", "--locale", "C.UTF-8"),
            ],
            user=user,
        )
        return programs, user

    def _demand_contrib(self) -> None:
        with self.database().connect() as connection:
            there = {name for (name,) in connection.execute("SELECT name FROM pg_available_extensions")}
            icu = connection.execute("SELECT 1 FROM pg_collation WHERE collprovider = 'i' LIMIT 1").fetchone()
        missing = sorted(_EXTENSIONS - there) + ([] if icu else ["ICU collations"])
        if missing:
            raise RuntimeError(f"the PostgreSQL of {self._pg_ctl.parent} lacks {', '.join(missing)}. {_REMEDY}")


def find_programs() -> Path:
    """The folder with ``initdb`` and ``pg_ctl``: ``REINDEX_POSTGRES_BIN``, else the newest of Debian's, else the path's.

    :raises RuntimeError: there is none; says what to install."""
    if given := os.environ.get(_VARIABLE):
        if not Path(given, "initdb").is_file():
            raise RuntimeError(f"{_VARIABLE} is {given}, where there is no initdb. {_REMEDY}")
        return Path(given)
    # Debian keeps them off the path, in a folder for each major version.
    debians = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").is_file()]
    if debians:
        return max(debians, key=lambda path: float(path.parent.name))
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise RuntimeError(f"There is no PostgreSQL on this machine. {_REMEDY}")

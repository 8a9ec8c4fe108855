"""A MySQL in a temporary folder, without Docker: for tests. Debian's stable releases have none; ``make mysql`` fetches one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import ClassVar

from airflow_reindex_provider.testing.installed import install
from airflow_reindex_provider.testing.mariadb import FIRST_USER, SETTINGS, InstalledMariaDB

_VARIABLE = "REINDEX_MYSQL_BIN"
_FETCHED = ".cache/mysql/bin"
_REMEDY = f"Fetch one with `make mysql`, or name the folder of a MySQL's mysqld in {_VARIABLE}."


class InstalledMySQL(InstalledMariaDB):
    """As MariaDB's."""

    SETTINGS: ClassVar = {**SETTINGS, "mysqlx": "OFF", "skip-log-bin": "1", "secure-file-priv": ""}

    def _find(self) -> tuple[Path, ...]:
        return (find_mysql(),)

    def _make_first_files(self, programs: tuple[Path, ...], data: Path, folder: Path, user: str | None) -> None:
        script = folder / "first.sql"
        script.write_text(FIRST_USER)
        command = [programs[0], "--no-defaults", "--initialize-insecure", f"--datadir={data}", f"--init-file={script}"]
        install([*command, "--secure-file-priv="], user=user)


def find_mysql() -> Path:
    """:raises RuntimeError: there is none; says what to do."""
    places = os.environ.get(_VARIABLE) or _FETCHED
    # On a Debian, mysqld on the path is another name of MariaDB.
    server = shutil.which("mysqld", path=places)
    if server is None:
        raise RuntimeError(f"There is no MySQL on this machine. {_REMEDY}")
    return Path(server).absolute()

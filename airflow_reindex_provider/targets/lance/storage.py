"""A LanceDB database from an Airflow connection, and what its errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any, cast

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.targets.refusing import unknown_connection

if TYPE_CHECKING:
    from lancedb.db import DBConnection
    from lancedb.table import Table

_SCHEMES = ("s3", "gs", "az", "abfss", "memory")
_REFUSED = re.compile(
    r"permission denied|access ?denied|forbidden|unauthorized|invalid ?access ?key|signature ?does ?not ?match"
    r"|no ?such ?bucket|credential|read-only file system",
    re.IGNORECASE,
)
"""What no second try mends, in the words of systems and object stores: LanceDB gives them as one class of error."""
_OVERTAKEN = re.compile(r"commit conflict|incompatible transaction|concurrent", re.IGNORECASE)
_NOT_EMPTY = re.compile(r"not empty", re.IGNORECASE)
_DROP_TRIES = 20
_DROP_AGAIN_S = 0.1
_MISSING = re.compile(r"was not found|not found", re.IGNORECASE)


class OvertakenError(TransientError):
    """Another commit to the table came first, and LanceDB would not judge this one anew upon it; nothing was written."""


@dataclass(frozen=True, slots=True)
class Storage:
    """An open database. :ivar uri: where it is, without credentials."""

    database: DBConnection
    uri: str
    conn_id: str
    label: str

    @classmethod
    def open(cls, conn_id: str, label: str) -> Storage:
        """:raises ConfigurationError: no such connection, or its place cannot be a database."""
        import lancedb
        from airflow.sdk import BaseHook
        from airflow.sdk.exceptions import AirflowNotFoundException

        try:
            connection = BaseHook.get_connection(conn_id)
        except AirflowNotFoundException as error:
            hint = ", whose host is the folder or the URI of the database"
            raise unknown_connection(label, conn_id, hint=hint) from error
        uri = place(connection.host or "", conn_id, label)
        options = connection.extra_dejson.get("storage_options") or {}
        if not isinstance(options, Mapping):
            raise ConfigurationError(
                f"{label}: storage_options in the extra of the connection {conn_id!r} is no JSON object of texts."
            )
        with explained(label, conn_id):
            database = lancedb.connect(uri, storage_options={str(k): str(v) for k, v in options.items()} or None)
        return cls(database, uri, conn_id, label)

    def table(self, name: str) -> Table | None:
        """As it is now; None where there is none."""
        with self.explained():
            try:
                return self.database.open_table(name)
            except ValueError as error:
                if _MISSING.search(str(error)):
                    return None
                raise

    def names(self) -> list[str]:
        """Of all tables, in order."""
        found: list[str] = []
        token = None
        with self.explained():
            while True:
                answer = self.database.list_tables(page_token=token)
                found += answer.tables
                token = answer.page_token
                if not token:
                    return sorted(found)

    def drop(self, name: str) -> None:
        """One that is not there is no error. Whoever still writes to it adds files while others go: what is left then goes once
        that one has found that its table is gone."""
        with self.explained():
            for left in reversed(range(_DROP_TRIES)):
                try:
                    self.database.drop_table(name)
                except (RuntimeError, OSError) as error:
                    if not left or not _NOT_EMPTY.search(str(error)):
                        raise
                    sleep(_DROP_AGAIN_S)
                except ValueError as error:
                    if _MISSING.search(str(error)):
                        return
                    raise
                else:
                    return

    def explained(self) -> AbstractContextManager[None]:
        return explained(self.label, self.conn_id)


def latest(table: Table) -> None:
    """Look at the table as it is now."""
    cast("Any", table).checkout_latest()


def place(host: str, conn_id: str, label: str) -> str:
    """:raises ConfigurationError: the connection's host is no place for a database that every worker finds."""
    scheme, separator, _ = host.partition("://")
    if separator:
        if scheme not in _SCHEMES:
            raise ConfigurationError(
                f"{label}: the host of the connection {conn_id!r} begins with {scheme}://, and an embedded LanceDB is in a"
                f" folder or begins with one of {', '.join(f'{known}://' for known in _SCHEMES[:-1])}."
            )
        return host
    if not os.path.isabs(host):
        raise ConfigurationError(
            f"{label}: the host of the connection {conn_id!r} is {host!r}. It has to be the absolute path of a folder, or a URI"
            " like s3://bucket/prefix: a worker's own folder is not that of the next one."
        )
    if not os.path.isdir(host):
        # LanceDB would make it: an index on this worker's own disk, beside the one on a disk that is not mounted here.
        raise ConfigurationError(
            f"{label}: there is no folder {host} on this machine, which the connection {conn_id!r} names. Make it, or mount it,"
            " where all workers of the stream and all who search find the same one."
        )
    return host


@contextmanager
def explained(label: str, conn_id: str) -> Iterator[None]:
    """LanceDB's errors as ours."""
    try:
        yield
    except (RuntimeError, OSError, ValueError) as error:
        # Behind its message LanceDB gives the place in its own sources.
        says = re.split(r", /\S*\.rs:\d+", str(error).removeprefix("lance error: "))[0]
        if _REFUSED.search(says):
            raise ConfigurationError(
                f"Target {label}: the storage of the connection {conn_id!r} refuses it: {says}. Let the worker's user write"
                " there, or mend the credentials in storage_options."
            ) from error
        if _OVERTAKEN.search(says):
            raise OvertakenError(f"Target {label}: {says}") from error
        if isinstance(error, ValueError):
            raise ConfigurationError(f"Target {label}: {says}") from error
        raise TransientError(f"Target {label}: {says}") from error

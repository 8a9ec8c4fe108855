"""Tables and indexes by OpenLineage's naming rules, of the connection that reaches them.

============================  ======================================================  ==============================
system                        namespace                                               name
============================  ======================================================  ==============================
Postgres                      ``postgres://host:port``                                ``database.schema.table``
MySQL, MariaDB                ``mysql://host:port``                                   ``database.table``
another database              as its hook says, else the hook's dialect               ``database.schema.table``
OpenSearch, Elasticsearch     ``opensearch://host:port``, ``elasticsearch://...``     the public name of the index
LanceDB                       ``s3://bucket`` and the like, ``file``                  the path of the index in it
Weaviate                      ``weaviate://host:port``                                the public name of the index
============================  ======================================================  ==============================

The rules name no search engine; theirs is made as those of others are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow_reindex_provider.targets.lance.definition import LanceDefinition
from airflow_reindex_provider.targets.weaviate.definition import WeaviateDefinition

log = logging.getLogger(__name__)

_TWO_LEVELS = ("mysql", "mariadb")
"""Databases that have no schemas, or call a schema a database."""
_ENGINES_PORT = 9200


@dataclass(frozen=True, slots=True)
class Name:
    namespace: str
    name: str


def source_names(source: Any, databases: Databases) -> Iterator[tuple[str, Name]]:
    """The tables that are read, by their places in the document, the source's own first: its place is empty. Those of a query
    are what OpenLineage's parser finds in it, with places that no field has."""
    if getattr(source, "conn_id", None) is None:
        return
    database = databases.of(source.conn_id)
    if source.table is not None:
        yield "", database.name(source.table)
    else:
        for number, table in enumerate(database.tables_of(source.query)):
            yield f"query.{number}", table
    for part in (part for top in getattr(source, "parts", ()) for part in top.walk()):
        # What a row of a join table points at stands in its place.
        yield f"{part.path} (join)" if part.is_join else part.path, database.name(part.table)


def index_name(target: Any, databases: Databases) -> Name | None:
    """None of a target that is not reached by a connection, and of one that has an index for each group, which a task of them
    all does not know."""
    if getattr(target, "conn_id", None) is None or getattr(target, "group_room", None) is not None:
        return None
    if (engine := getattr(target, "engine_name", None)) is not None:
        return Name(f"{engine.lower()}://{_authority(_connection(target.conn_id))}", target.index)
    if isinstance(target, WeaviateDefinition):
        connection = _connection(target.conn_id)
        return Name(f"weaviate://{_authority(connection, _web_port(connection))}", target.index)
    if isinstance(target, LanceDefinition):
        place = urlsplit(_connection(target.conn_id).host or "")
        path = f"{place.path.rstrip('/')}/{target.index}"
        return Name(f"{place.scheme}://{place.netloc}", path.lstrip("/")) if place.scheme else Name("file", path)
    return databases.of(target.conn_id).name(target.index)


class Databases:
    """Those of one event, each looked up once: a task asks Airflow's api-server for a connection."""

    def __init__(self) -> None:
        self._known: dict[str, _Database] = {}

    def of(self, conn_id: str) -> _Database:
        if conn_id not in self._known:
            self._known[conn_id] = _Database(conn_id)
        return self._known[conn_id]


class _Database:
    """That of a connection, as its official hook describes it."""

    def __init__(self, conn_id: str) -> None:
        self._connection = _connection(conn_id)
        self._hook: Any = self._connection.get_hook()
        self._default_schema: str | None = None
        self._database: str | None = None
        info: Any = self._hook.get_openlineage_database_info(self._connection)
        if info is not None:
            self._scheme, authority = str(info.scheme), info.authority
            self._database = info.database or self._connection.schema
        else:
            url = self._hook.get_sqlalchemy_engine().url
            self._scheme, authority = url.get_backend_name(), url.database
            if url.host is not None:
                # Without one the database is a file, which is its own host.
                authority = self._hook.get_openlineage_authority_part(self._connection)
                self._database = self._connection.schema
        self._namespace = f"{self._scheme}://{authority or ''}"

    def name(self, table: str) -> Name:
        """:param table: as a source or target writes it: with its schema or without."""
        schema, _, name = table.rpartition(".")
        if self._scheme in _TWO_LEVELS:
            levels = [schema or self._database, name]
        elif self._database is None:
            levels = [schema, name]
        else:
            levels = [self._database, schema or self._schema(), name]
        return Name(self._namespace, ".".join(level for level in levels if level))

    def tables_of(self, query: str) -> list[Name]:
        from airflow.providers.openlineage.sqlparser import SQLParser

        parsed = SQLParser(dialect=self._hook.get_openlineage_database_dialect(self._connection)).parse(query)
        found = parsed.in_tables if parsed else ()
        return [self.name(f"{table.schema}.{table.name}" if table.schema else table.name) for table in found]

    def _schema(self) -> str | None:
        """That in which the connection's user finds a table without one. One query."""
        if self._default_schema is None:
            try:
                self._default_schema = self._hook.get_openlineage_default_schema()
            except Exception as error:
                log.info("The default schema of %s is not known: %s", self._namespace, error)
        return self._default_schema


def _connection(conn_id: str) -> Any:
    from airflow.sdk import BaseHook

    return BaseHook.get_connection(conn_id)


def _authority(connection: Any, port: int = _ENGINES_PORT) -> str:
    """:param port: where the connection names none."""
    host = connection.host or ""
    parsed = urlsplit(host if "//" in host else f"//{host}")
    return f"{parsed.hostname}:{connection.port or parsed.port or port}"


def _web_port(connection: Any) -> int:
    """As the hook of Weaviate has it."""
    return 443 if connection.extra_dejson.get("http_secure") else 80

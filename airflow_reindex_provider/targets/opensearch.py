"""OpenSearch as a target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.targets.refusing import unknown_connection
from airflow_reindex_provider.targets.search.target import SearchTarget

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Answer, Calls, Engine

OLDEST = (2, 0)


@dataclass(frozen=True, slots=True)
class OpenSearchTarget(SearchTarget):
    """An OpenSearch index. What it guarantees, and its other arguments: :class:`SearchTarget`.

    :param conn_id: Airflow connection of type OpenSearch; what its user needs is in ``privileges``.
    """

    engine_name: ClassVar[str] = "OpenSearch"
    extra: ClassVar[str] = "opensearch"
    privileges: ClassVar[str] = (
        "cluster_monitor and cluster_composite_ops on the cluster, and on {names} create_index, manage, manage_point_in_time,"
        " read and write"
    )

    @contextmanager
    def connect(self) -> Iterator[Engine]:
        from airflow.providers.opensearch.hooks.opensearch import OpenSearchHook
        from airflow.sdk.exceptions import AirflowNotFoundException

        connection_class = _connection_class()
        try:
            hook = OpenSearchHook(
                open_search_conn_id=self.conn_id, log_query=False, open_search_conn_class=connection_class
            )
        except AirflowNotFoundException as error:
            raise unknown_connection(self.label, self.conn_id, "an OpenSearch connection") from error
        client = hook.client
        try:
            yield _OpenSearch(client)
        finally:
            client.close()

    def check_version(self, calls: Calls) -> None:
        info = calls.call("GET", "/")
        version = info.get("version") or {}
        number, distribution = str(version.get("number", "")), version.get("distribution")
        if distribution != "opensearch":
            found = "Elasticsearch" if "build_flavor" in version else f"{info.get('tagline') or 'something else'}"
            raise ConfigurationError(
                f"{self.label}: it is {found} {number} that answers, not OpenSearch. Use the target of that engine, or"
                f" mend the connection {self.conn_id!r}."
            )
        self.require_version(number, OLDEST)

    @staticmethod
    def passage_vector(dims: int) -> Mapping[str, Any]:
        field = {"type": "knn_vector", "dimension": dims}
        return {**field, "method": {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"}}

    @staticmethod
    def vector_field(dims: int) -> Mapping[str, Any]:
        # The engine that is a part of OpenSearch itself; the others have libraries of their own, and limits of theirs.
        return {"type": "knn_vector", "dimension": dims, "method": {"name": "hnsw", "engine": "lucene"}}


class _OpenSearch:
    """See :class:`~airflow_reindex_provider.targets.search.engine.Engine`."""

    name = "OpenSearch"

    def __init__(self, client: Any) -> None:
        from airflow_reindex_provider.targets.search.engine import is_loopback

        # Not the client's own transport: it would retry, and drop the headers of an error, Retry-After among them.
        self._connection = client.transport.get_connection()
        self.where = str(self._connection.host)
        self.is_local = is_loopback(str(self._connection.hostname))

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        from opensearchpy.exceptions import ConnectionError, ConnectionTimeout, SSLError

        from airflow_reindex_provider.targets.search.engine import Answer, silent, slow

        try:
            status, given, text = self._connection.perform_request(
                method, path, body=body, headers=headers, timeout=timeout_s, ignore=range(300, 600)
            )
        except SSLError as error:
            raise ConfigurationError(
                f"no TLS connection to {self.where}: {error.info}. Name the authority that signed its certificate in the"
                " environment variable SSL_CERT_FILE, or set verify_certs to false in the connection's extra."
            ) from error
        except ConnectionTimeout as error:
            raise slow(self, timeout_s) from error
        except ConnectionError as error:
            raise silent(self, error.info) from error
        return Answer(status, {name.lower(): value for name, value in given.items()}, text)


def _connection_class() -> Any:
    """urllib3 spends far less time on a large body than the client's default, requests."""
    from opensearchpy import Urllib3HttpConnection

    class Connection(Urllib3HttpConnection):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{"pool_maxsize": 10, **options})
            # The writer compresses, where it pays.
            self.http_compress = False

        def log_request_success(self, *_: Any, **__: Any) -> None:
            """The client would write every body, rows and all, into the task's log."""

        def log_request_fail(self, *_: Any, **__: Any) -> None:
            """Our own errors say it, without a stack for every try."""

    return Connection

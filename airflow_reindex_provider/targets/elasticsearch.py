"""Elasticsearch as a target."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.targets.refusing import unknown_connection
from airflow_reindex_provider.targets.search.target import SearchTarget

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Answer, Calls, Engine

OLDEST = (8, 0)
_MEDIA_TYPES = {
    "application/json": "application/vnd.elasticsearch+json; compatible-with=8",
    "application/x-ndjson": "application/vnd.elasticsearch+x-ndjson; compatible-with=8",
}
"""What Elasticsearch 8 and 9 both understand; a client would name its own major version, which an older engine refuses."""


@dataclass(frozen=True, slots=True)
class ElasticsearchTarget(SearchTarget):
    """An Elasticsearch index. What it guarantees, and its other arguments: :class:`SearchTarget`.

    :param conn_id: Airflow connection of type Elasticsearch; what its user needs is in ``privileges``.
    """

    engine_name: ClassVar[str] = "Elasticsearch"
    extra: ClassVar[str] = "elasticsearch"
    privileges: ClassVar[str] = "monitor on the cluster, and on {names} create_index, manage, read and write"

    @contextmanager
    def connect(self) -> Iterator[Engine]:
        from airflow.providers.elasticsearch.hooks.elasticsearch import ElasticsearchSQLHook
        from airflow.sdk.exceptions import AirflowNotFoundException

        try:
            client = ElasticsearchSQLHook(elasticsearch_conn_id=self.conn_id).get_conn().es
        except AirflowNotFoundException as error:
            raise unknown_connection(self.label, self.conn_id, "an Elasticsearch connection") from error
        except (ValueError, TypeError, OSError) as error:
            # The client takes the connection's extra as its own arguments, and reads the certificates they name.
            raise ConfigurationError(
                f"{self.label}: no client can be made of the connection {self.conn_id!r}: {error}"
            ) from error
        with _quiet():
            try:
                yield _Elasticsearch(client)
            finally:
                client.close()

    def check_version(self, calls: Calls) -> None:
        # The client has looked at the product's name by then.
        nodes = calls.call("GET", "/_nodes/_local?filter_path=nodes.*.version")["nodes"]
        for node in nodes.values():
            self.require_version(node["version"], OLDEST)

    @staticmethod
    def passage_vector(dims: int) -> Mapping[str, Any]:
        return {"type": "dense_vector", "dims": dims, "index": True, "similarity": "cosine"}

    @staticmethod
    def vector_field(dims: int) -> Mapping[str, Any]:
        return {"type": "dense_vector", "dims": dims}


class _Elasticsearch:
    """See :class:`~airflow_reindex_provider.targets.search.engine.Engine`."""

    name = "Elasticsearch"

    def __init__(self, client: Any) -> None:
        from airflow_reindex_provider.targets.search.engine import JSON, NDJSON, is_loopback

        bytes_alone = _bytes_alone()
        for kind in (JSON, NDJSON, "application/vnd.elasticsearch+json", "application/vnd.elasticsearch+x-ndjson"):
            client.transport.serializers.serializers[kind] = bytes_alone
        # What a proxy answers may be of any kind.
        client.transport.serializers.serializers["text/*"] = bytes_alone
        nodes = client.transport.node_pool.all()
        self._client = client
        self.where = str(nodes[0].base_url)
        self.is_local = all(is_loopback(node.host) for node in nodes)

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        from elastic_transport import ConnectionError, ConnectionTimeout, SerializationError, TlsError
        from elasticsearch import ApiError, UnsupportedProductError

        from airflow_reindex_provider.targets.search.engine import Answer, silent, slow

        client = self._client.options(request_timeout=timeout_s, max_retries=0, retry_on_timeout=False)
        try:
            answer = client.perform_request(
                method, path, headers={name: _MEDIA_TYPES.get(v, v) for name, v in headers.items()}, body=body
            )
        except UnsupportedProductError as error:
            raise ConfigurationError(
                f"it is not Elasticsearch that answers at {self.where}. Use the target of that engine, or mend the connection."
            ) from error
        except ApiError as error:
            return Answer(error.meta.status, _lower(error.meta.headers), _text(error.body))
        except TlsError as error:
            raise ConfigurationError(
                f"no TLS connection to {self.where}: {error.message}. Name the authority that signed its certificate as"
                " ca_certs in the connection's extra, or set verify_certs to false there."
            ) from error
        except ConnectionTimeout as error:
            raise slow(self, timeout_s) from error
        except (ConnectionError, SerializationError) as error:
            raise silent(self, error.message) from error
        return Answer(answer.meta.status, _lower(answer.meta.headers), _text(answer.body))


@contextmanager
def _quiet() -> Iterator[None]:
    """The client would write a line into the task's log for every body; our own errors say what goes wrong."""
    logger = logging.getLogger("elastic_transport.transport")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _text(body: Any) -> str:
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")


def _bytes_alone() -> Any:
    """A serializer that lets bytes through: the bodies are made already, and answers are read as far as is needed."""
    from elastic_transport import Serializer

    class Bytes(Serializer):
        def dumps(self, data: bytes) -> bytes:
            return data

        def loads(self, data: bytes) -> bytes:
            return data

    return Bytes()

"""A Weaviate server through the official hook, and what its errors mean."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError
from airflow_reindex_provider.targets.refusing import unknown_connection

if TYPE_CHECKING:
    from weaviate import WeaviateClient
    from weaviate.collections import Collection

log = logging.getLogger(__name__)

LEAST_VERSION = (1, 32)
"""From which on there are aliases."""
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_AGAIN_SAID = re.compile(
    r"read-?only|not enough (?:disk|memory)|unavailable|deadline|timed? ?out|too many requests|resource_?exhausted|no leader"
    r"|leader not found|connection (?:refused|reset)",
    re.IGNORECASE,
)
"""What may be over at the next try: a disk that is nearly full has made a shard read-only, a node restarts."""
_EXISTS = re.compile(r"already (?:exists|used)|is already", re.IGNORECASE)
_MISSING = re.compile(r"not found|does not exist|could not find class|no alias found", re.IGNORECASE)

FENCED = "multi-tenancy enabled"
"""What a register says to objects: the name that they were sent under was taken away."""
TOO_LARGE = "larger than max"


class ExistsError(ConfigurationError):
    """What was to be made is there."""


class MissingError(ConfigurationError):
    """What was named is not there."""


@dataclass(frozen=True, slots=True)
class Server:
    """:ivar client: one connection, of any number of threads."""

    client: WeaviateClient
    conn_id: str
    label: str

    @classmethod
    @contextmanager
    def opened(cls, conn_id: str, label: str) -> Iterator[Server]:
        """:raises ConfigurationError: no such connection, or the server is none that will do."""
        from airflow.providers.weaviate.hooks.weaviate import WeaviateHook
        from airflow.sdk.exceptions import AirflowNotFoundException

        try:
            with explained(label, conn_id):
                client = WeaviateHook(conn_id).get_conn()
        except AirflowNotFoundException as error:
            raise unknown_connection(label, conn_id, "a Weaviate connection") from error
        try:
            server = cls(client, conn_id, label)
            server.require_version()
            yield server
        finally:
            client.close()

    @property
    def version(self) -> str:
        with self.explained():
            return str(self.client.get_meta()["version"])

    def require_version(self) -> None:
        version = self.version
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < LEAST_VERSION:
            raise ConfigurationError(
                f"Target {self.label}: the server of the connection {self.conn_id!r} is Weaviate {version}, which has no aliases."
                f" They are there from {'.'.join(map(str, LEAST_VERSION))} on."
            )

    # -- collections

    def collection(self, name: str) -> Collection[Any, Any]:
        """Under its name, or under an alias of it. Nothing is asked."""
        from weaviate.classes.config import ConsistencyLevel

        return self.client.collections.use(name).with_consistency_level(ConsistencyLevel.QUORUM)

    def description(self, name: str) -> str | None:
        """Of a collection, by its own name; None where there is none, or a mere alias."""
        with self.explained():
            try:
                found = self.client.collections.use(name).config.get(simple=True)
            except Exception as error:
                if _status(error) == 404:
                    return None
                raise
        return (found.description or "") if found.name == name else None

    def descriptions(self) -> dict[str, str]:
        """Of all collections that the connection may see, by name."""
        with self.explained():
            found = self.client.collections.list_all(simple=True)
        return {name: config.description or "" for name, config in found.items()}

    def describe(self, name: str, description: str) -> None:
        with self.explained():
            self.client.collections.use(name).config.update(description=description)

    def make(self, config: dict[str, Any]) -> None:
        """:raises ExistsError: there is one of this name."""
        with self.explained():
            self.client.collections.create_from_dict(config)

    def drop(self, name: str) -> None:
        """A collection. One that is not there is no error."""
        with self.explained():
            self.client.collections.delete(name)

    # -- aliases

    def alias(self, name: str) -> str | None:
        """The collection at which it points; None where there is no such alias."""
        with self.explained():
            found = self.client.alias.get(alias_name=name)
        return found.collection if found is not None else None

    def aliases(self, collection: str | None = None) -> dict[str, str]:
        """Collections by alias: of one collection, or all."""
        with self.explained():
            found = self.client.alias.list_all(collection=collection)
        return {name: alias.collection for name, alias in found.items()}

    def make_alias(self, name: str, collection: str) -> None:
        """:raises ExistsError: there is one of this name. :raises MissingError: there is no such collection."""
        with self.explained():
            self.client.alias.create(alias_name=name, target_collection=collection)

    def point(self, name: str, collection: str) -> None:
        """An alias that there is at another collection."""
        with self.explained():
            self.client.alias.update(alias_name=name, new_target_collection=collection)

    def drop_alias(self, name: str) -> None:
        """One that is not there is no error."""
        with self.explained():
            self.client.alias.delete(alias_name=name)

    @contextmanager
    def explained(self) -> Iterator[None]:
        with explained(self.label, self.conn_id):
            yield


@contextmanager
def explained(label: str, conn_id: str) -> Iterator[None]:
    """Weaviate's errors as ours."""
    from weaviate.exceptions import WeaviateBaseError

    try:
        yield
    except (WeaviateBaseError, OSError) as error:
        raise meant(str(error), label, conn_id, status=_status(error), is_silence=_is_silence(error)) from error
    except Exception as error:
        # The client lets errors of its own transports through.
        if not type(error).__module__.startswith(("httpx", "httpcore", "grpc", "authlib")):
            raise
        raise TransientError(
            f"Target {label}: Weaviate of the connection {conn_id!r} does not answer: {error}"
        ) from error


def meant(says: str, label: str, conn_id: str, *, status: int | None = None, is_silence: bool = False) -> ReindexError:
    """What an error of Weaviate's means for a task."""
    if status in (401, 403) or "permission" in says.lower() or "unauthenticated" in says.lower():
        return ConfigurationError(
            f"Target {label}: Weaviate refuses the credentials of the connection {conn_id!r}: {says}. Mend its API key, or give"
            " its user the rights to create, read, update and delete collections, aliases and objects of this index."
        )
    if _EXISTS.search(says):
        return ExistsError(f"Target {label}: {says}")
    if status == 404 or (status == 422 and _MISSING.search(says)):
        return MissingError(f"Target {label}: {says}")
    if is_silence or status in _AGAIN or _AGAIN_SAID.search(says):
        hint = " Free room on its disk; a shard that was made read-only is set READY by hand." if "only" in says else ""
        return TransientError(f"Target {label}: {says}{hint}")
    return ConfigurationError(f"Target {label}: {says}")


def _status(error: BaseException) -> int | None:
    """Of HTTP; those of gRPC are numbers below a hundred."""
    found = getattr(error, "status_code", None)
    return found if isinstance(found, int) and found >= 100 else None


def _is_silence(error: BaseException) -> bool:
    from weaviate import exceptions

    kinds = (
        exceptions.WeaviateConnectionError,
        exceptions.WeaviateTimeoutError,
        exceptions.WeaviateGRPCUnavailableError,
        exceptions.WeaviateRetryError,
        exceptions.WeaviateStartUpError,
    )
    return isinstance(error, (OSError, *kinds))

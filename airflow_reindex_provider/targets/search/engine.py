"""What the search targets need of an engine's client: one request, one answer, and errors that say what to do."""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.patience import patience_s
from airflow_reindex_provider.targets.search.blocks import lift

log = logging.getLogger(__name__)

JSON = "application/json"
NDJSON = "application/x-ndjson"
BUSY = frozenset({429, 502, 503, 504})
"""Statuses that say "later": too much at once, or a node, a shard or a proxy's backend that is not there just now."""
CALL_TIMEOUT_S = 30.0
RESTART_S = 60.0
"""How long an engine may take to come back. A call that found it gone is made again for so long."""


class EngineGoneError(TransientError):
    """No answer: the connection was refused or broke. What was sent may have been done."""


class EngineSlowError(TransientError):
    """No answer in time. What was sent may have been done, or may still be."""


def slow(engine: Engine, timeout_s: float) -> EngineSlowError:
    return EngineSlowError(f"{engine.name} at {engine.where} did not answer within {timeout_s:g} s")


def silent(engine: Engine, says: object) -> EngineGoneError:
    return EngineGoneError(f"{engine.name} at {engine.where} does not answer: {says}")


class EngineBusyError(TransientError):
    """The engine says that it has too much to do, or cannot reach its own parts."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    text: str

    @property
    def error(self) -> str:
        """Type and reason, as far as the engine (or a proxy before it) gives them."""
        try:
            error = json.loads(self.text)["error"]
        except (ValueError, KeyError, TypeError):
            return _plain(self.text[:300]) or f"status {self.status}"
        return error_text(error)


def error_text(error: Any) -> str:
    """An engine's error, without a full stop: what is said behind it begins with one."""
    if not isinstance(error, dict):
        return _plain(str(error))
    reason = _plain(str(error.get("reason") or error.get("type")))
    if " " not in reason and error.get("type", reason) != reason:
        reason = f"{error['type']}: {reason}"
    cause = _plain(str((error.get("caused_by") or {}).get("reason") or ""))
    return f"{reason}: {cause}" if cause and cause not in reason else reason


def _plain(reason: str) -> str:
    # What follows shows the document: logs and records keep reasons, and no rows.
    for words in ("\n at [Source:", " Preview of "):
        reason = reason.partition(words)[0]
    return reason.rstrip(" .;\n")


class Engine(Protocol):
    """One client, open. Several threads may use it at once."""

    @property
    def name(self) -> str:
        """``OpenSearch`` or ``Elasticsearch``."""

    @property
    def where(self) -> str:
        """Scheme, host and port, for messages."""

    @property
    def is_local(self) -> bool:
        """Whether the engine runs on this machine, so that compressing costs more than it spares."""

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Answer:
        """One try, without retries; every status is an answer. ``path`` holds the query.

        :raises ConfigurationError: TLS fails, or it is not this engine that answers.
        :raises EngineGoneError, EngineSlowError: no answer."""


class Calls:
    """The engine's management calls for one target: JSON in and out, and the target's name in every error."""

    def __init__(self, engine: Engine, owner: str, conn_id: str, privileges: str) -> None:
        """:param owner: the target's label. :param privileges: what the connection's user needs, for messages."""
        self.engine = engine
        self._owner = owner
        self._conn_id = conn_id
        self._privileges = privileges

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        missing_ok: bool = False,
        loads: Callable[[str], Any] = partial(json.loads, parse_float=Decimal),
    ) -> Any:
        """The answer's JSON; None for a 404 where that is no error. Safe to make twice: an engine that is gone or busy is
        asked again for a minute, or for as long as whoever asks has patience.

        :param loads: reads the JSON. Default: without loss, since a document's numbers may be beyond double precision.

        :raises ConfigurationError, TransientError: what the engine refuses, or that it does not answer."""
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_delay(patience_s(RESTART_S)),
            wait=wait_random_exponential(multiplier=0.3, max=5),
            before_sleep=lambda state: log.info("%s; trying again.", state.outcome and state.outcome.exception()),
            reraise=True,
        )
        return retrying(self._call, method, path, body, missing_ok=missing_ok, loads=loads)

    def _call(self, method: str, path: str, body: Any, *, missing_ok: bool, loads: Callable[[str], Any]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"accept": JSON} if data is None else {"accept": JSON, "content-type": JSON}
        try:
            answer = self.engine.request(method, path, body=data, headers=headers, timeout_s=CALL_TIMEOUT_S)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._owner}: {error}") from error
        except TransientError as error:
            raise type(error)(f"{self._owner}: {error}") from error
        if answer.status == 404 and missing_ok:
            return None
        if answer.status >= 300:
            raise self.refusal(answer)
        return loads(answer.text) if answer.text else {}

    def refusal(self, answer: Answer) -> Exception:
        """The error for an answer that is none of the good ones."""
        return self.refusal_of(answer.status, answer.error)

    def refusal_of(self, status: int, reason: str) -> Exception:
        start = f"{self._owner}: {self.engine.name} at {self.engine.where}"
        if status == 401:
            return ConfigurationError(
                f"{start} refuses the credentials (401): {reason}. Mend login and password (or the API key) of the"
                f" connection {self._conn_id!r}."
            )
        if "blocked by" in reason and status not in BUSY:
            return ConfigurationError(f"{start} has the index blocked ({status}): {reason}. {lift(reason)}")
        if status == 403:
            return ConfigurationError(
                f"{start} forbids this (403): {reason}. The user of connection {self._conn_id!r} needs {self._privileges}."
            )
        if "media_type_header_exception" in reason or "Accept version must be" in reason:
            return ConfigurationError(
                f"{start} does not speak the version that is asked for: {reason}. This target speaks to Elasticsearch 8 and 9;"
                " if [elasticsearch] es_compat_with is set in Airflow's configuration, it must suit the server."
            )
        if "more than one write index" in reason:
            # Answered as an error of the server; it is the other one of two creations at the same moment that has won.
            return ConfigurationError(f"{start} refuses this ({status}): {reason}.")
        if "index_closed_exception" in reason:
            return ConfigurationError(f"{start} has the index closed ({status}). Open it: POST /{{index}}/_open.")
        if status in BUSY:
            hint = f" {lift(reason)}" if "blocked by" in reason else ""
            return EngineBusyError(f"{start} is busy ({status}): {reason}.{hint}")
        if status >= 500:
            return TransientError(f"{start} failed ({status}): {reason}.")
        return ConfigurationError(f"{start} refuses this ({status}): {reason}.")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"

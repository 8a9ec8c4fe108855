"""What the client libraries of models raise, told apart by the status that the provider has answered.

Libraries have errors of their own, and most keep the status and the headers in one of a few places.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_reindex_provider.core.errors import (
    ConfigurationError,
    ReindexError,
    TextRefusedError,
    ThrottledError,
    TransientError,
)

_TEXT = frozenset({400, 413, 422})
"""Statuses that are about what was sent."""
_LATER = frozenset({408, 409, 424, 425, 500, 502, 503, 504, 529})
_NOT_THE_TEXT = ("model", "dimensions", "encoding_format", "user", "api_key", "input_type")
"""Parameters of a request that are no text: refused for one of these, each request would be."""
_NOT_THE_TEXT_IN_WORDS = ("model identifier", "on-demand throughput", "extraneous key", "required key")
"""The same at Amazon, which names no parameter."""
_NO_ANSWER = frozenset(
    {"APIConnectionError", "TransportError", "RequestException"}
    # Amazon's, whose own class of connection errors is none of Python's.
    | {"EndpointConnectionError", "HTTPClientError", "IncompleteReadError"}
)
_NO_MONEY = ("insufficient_quota", "billing", "credit", "servicequotaexceeded")
_MAX_CHARS = 300


@contextmanager
def named(label: str) -> Iterator[None]:
    """What a client raises within the block that carries an HTTP status, or says that there was no answer, is one of the errors
    of :class:`~airflow_reindex_provider.core.embedding.embedder.EmbedderSession`; anything else comes as it is."""
    try:
        yield
    except ReindexError:
        raise
    except Exception as error:
        failure = failure_of(error, label)
        if failure is None:
            raise
        raise failure from error


def failure_of(error: Exception, label: str) -> ReindexError | None:
    """None where the error says nothing of an answer of the provider's, or of the lack of one."""
    status, headers = _answer(error)
    if status is None:
        if _no_answer(error):
            return TransientError(f"{label} did not answer: {_words(error)}")
        return None
    says = f"{label} answered {status}: {_words(error)}"
    if status in (400, 429) and any(word in _code(error) for word in _NO_MONEY):
        return ConfigurationError(f"{says}. Pay for more, or raise the limit there; waiting does not help.")
    if status == 429 or (status == 503 and "retry-after" in headers):
        return ThrottledError(says, retry_after_s=retry_after_s(headers))
    if status in _TEXT:
        if _parameter(error).startswith(_NOT_THE_TEXT) or any(words in says for words in _NOT_THE_TEXT_IN_WORDS):
            return ConfigurationError(f"{says}. It is about how the model is asked; change the embedder.")
        return TextRefusedError(says)
    if status in _LATER or status >= 500 or status < 400:
        return TransientError(says)
    if status in (401, 403):
        return ConfigurationError(f"{says}. Mend the credentials of the connection, or what they are allowed.")
    if status == 404:
        return ConfigurationError(f"{says}. Mend the model's name, or the address in the connection.")
    return ConfigurationError(says)


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """As the answer says it, in milliseconds, seconds or as a date; None where it does not."""
    if (ms := headers.get("retry-after-ms", "")).replace(".", "", 1).isdigit():
        return float(ms) / 1000
    value = headers.get("retry-after", "").strip()
    if value.replace(".", "", 1).isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())


def _answer(error: Exception) -> tuple[int | None, Mapping[str, str]]:
    response: Any = getattr(error, "response", None)
    if isinstance(response, Mapping):
        # Amazon's.
        found = response.get("ResponseMetadata", {})
        return found.get("HTTPStatusCode"), _lower(found.get("HTTPHeaders"))
    headers = getattr(response, "headers", None) or getattr(error, "headers", None)
    for of in (error, response):
        for name in ("status_code", "status", "code"):
            value = getattr(of, name, None)
            if isinstance(value, int):
                return int(value), _lower(headers)
    return None, {}


def _no_answer(error: Exception) -> bool:
    """The network's own errors, and those of HTTP clients, which no class unites."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, ConnectionError | TimeoutError) or not names.isdisjoint(_NO_ANSWER)


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}


def _body(error: Exception) -> Mapping[str, Any]:
    body: Any = getattr(error, "body", None)
    response: Any = getattr(error, "response", None)
    if isinstance(response, Mapping):
        found = response.get("Error", {})
        return {"code": found.get("Code"), "message": f"{found.get('Code')}: {found.get('Message')}"} if found else {}
    if body is None and (text := getattr(response, "text", None)):
        try:
            body = json.loads(text)
        except (TypeError, ValueError):
            body = None
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _code(error: Exception) -> str:
    body = _body(error)
    return f"{body.get('code')} {body.get('type')}".lower()


def _parameter(error: Exception) -> str:
    return str(_body(error).get("param") or "")


def _words(error: Exception) -> str:
    """Without a full stop: what is said behind it begins with one."""
    body = getattr(error, "body", None)
    said = _body(error).get("message") or (isinstance(body, str) and body) or str(error) or type(error).__name__
    return " ".join(str(said).split())[:_MAX_CHARS].rstrip(".")

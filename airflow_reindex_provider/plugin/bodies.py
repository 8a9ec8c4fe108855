"""What comes in: bodies that are small JSON objects, sent by nobody else's web page."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

from airflow.configuration import conf
from fastapi import Depends, Request

from airflow_reindex_provider.plugin.problems import Problem
from airflow_reindex_provider.plugin.rights import PersonDep

MOST_BYTES = 64 * 1024
_NOT_JSON = "The body is not a JSON object: {}."


async def _body(request: Request, person: PersonDep) -> dict[str, Any]:
    """Of a request that changes something. It takes the person, so that a stranger is turned away before a byte is read.

    :raises Problem: another site's page has sent it; it is not JSON by its header; it is no JSON object, too long, or says a
        name twice."""
    _refuse_other_sites(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(
            415, "media-type", "Send the header 'Content-Type: application/json', and a JSON object as the body."
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "media-type", "Send the body as it is, without a Content-Encoding.")
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > MOST_BYTES:
            raise Problem(413, "too-large", f"The body is longer than {MOST_BYTES:,} bytes. Send fewer keys at a time.")
    return _object(bytes(read))


BodyDep = Annotated[dict[str, Any], Depends(_body)]


def _object(text: bytes) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem(400, "body", _NOT_JSON.format(reason)) from None
    if not isinstance(found, dict):
        raise Problem(400, "body", _NOT_JSON.format(f"it is a {type(found).__name__}"))
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _refuse_other_sites(request: Request) -> None:
    """A browser sends Airflow's cookie along with what another site's page asks for; it does not lie about who asks. A token in
    a header is sent by nobody who was not given it, and programs send none of these headers."""
    headers = request.headers
    scheme, _, token = headers.get("authorization", "").partition(" ")
    # Without a token behind the word, Airflow takes the cookie.
    if scheme.lower() == "bearer" and token:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("same-origin", "none") or (site is None and origin is None):
        return
    allowed = [conf.get("api", "base_url", fallback=""), *conf.getlist("api", "access_control_allow_origins")]
    if origin is not None and origin.lower() in map(_origin, allowed):
        return
    # Whether it was https is known to the proxy alone, so only the host and its port count.
    if site is None and origin is not None and origin.partition("://")[2] == headers.get("host"):
        return
    raise Problem(
        403,
        "other-site",
        f"The request was sent by a page of {origin or 'another site'}, which is not Airflow's own. Where people reach Airflow"
        " at another address than it knows, set [api] base_url to that.",
    )


def _origin(url: str) -> str:
    """Of a URL in the configuration, as a browser tells it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()

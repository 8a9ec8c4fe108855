"""A database's address in the words of psycopg2, for what is not run by our Python."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit


def address(uri: str) -> str:
    """A socket's folder is no host there. dlt wants a password, which nobody asks for."""
    parts = urlsplit(uri)
    return f"postgresql://{parts.username}:none@localhost{parts.path}?host={unquote(parts.hostname or '')}"

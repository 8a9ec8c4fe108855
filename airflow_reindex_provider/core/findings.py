"""Findings of what errors and warnings say already: their words, and the statement in them that mends it."""

from __future__ import annotations

import re
from collections.abc import Callable

from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.core.model import Finding, Level

# Every statement that our messages print ends in a semicolon, and the last one where the message has several.
_SQL = re.compile(r"(?s)(?:\bBEGIN;\n|\b(?:ALTER|CREATE|GRANT|DROP) \w).*;")
_REQUEST = re.compile(r"\b(?:PUT|POST|DELETE) /\S+(?: \{.*\})?")
_COMMAND = re.compile(r"`((?:airflow|pip) [^`]+)`")


def ok(what: str, says: str) -> Finding:
    return Finding(Level.OK, what, says)


def warning(what: str, says: str) -> Finding:
    return Finding(Level.WARNING, what, says, statement_in(says))


def wrong(what: str, error: Exception | str) -> Finding:
    says = str(error) if isinstance(error, (str, ReindexError)) else f"{type(error).__name__}: {error}"
    return Finding(Level.WRONG, what, says, statement_in(says))


def tried(what: str, ask: Callable[[], str]) -> Finding:
    """What came of it: what it returned, or why it cannot be."""
    try:
        return ok(what, ask())
    except Exception as error:
        # Whoever examines goes on with the next thing, whatever is the matter with this one.
        return wrong(what, error)


def statement_in(text: str) -> str | None:
    """What a message tells a person to run; None where that is in words alone."""
    for pattern in (_SQL, _REQUEST, _COMMAND):
        if found := pattern.search(text):
            return found[found.lastindex or 0].rstrip(".")
    return None

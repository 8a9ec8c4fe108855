"""Conditions on keys in LanceDB's SQL."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.targets.key_texts import KeyTexts


def between(texts: KeyTexts, range: KeyRange, column: str) -> list[str]:
    """Conditions that hold of the range's keys alone."""
    edges = ((range.start, ">="), (range.end, "<"))
    return [f"{column} {operator} {quoted(texts.text(key))}" for key, operator in edges if key is not None]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def one_of(texts: Iterable[str], column: str) -> str:
    """A condition. Of no text it holds never."""
    listed = ", ".join(map(quoted, texts))
    return f"{column} IN ({listed})" if listed else "false"

"""All in an engine that carries this package's mark, whosever stream it is of; and how one of these is removed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.generations import made_at
from airflow_reindex_provider.core.model import Marked
from airflow_reindex_provider.targets.search.indexes import mark_of, path

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls

ALIAS, GENERATION = "alias", "generation"
_QUERY = "?expand_wildcards=open,closed,hidden&filter_path=*.aliases,*.mappings._meta"
_POINTS_AT = " -> "


def listed(calls: Calls, index: str, *, stream: str) -> list[Marked]:
    """Aliases of the stream that stand where they mean nothing, then the generations of all streams.

    :param index: the stream's public name."""
    found: Mapping[str, Any] = calls.call("GET", f"/*{_QUERY}", missing_ok=True) or {}
    strays = [Marked(ALIAS, stream, name, stray=True) for name in _strays(found, index)]
    made = {name: mark for name, about in found.items() if (mark := _made_as(name, about)) is not None}
    sizes = _sizes(calls, list(made))
    return [
        *strays,
        *(Marked(GENERATION, mark["stream"], name, sizes.get(name)) for name, mark in sorted(made.items())),
    ]


def unmade(calls: Calls, index: str, marked: Marked, *, stream: str) -> bool:
    """See ``MarkingTarget``."""
    if marked.kind == ALIAS:
        alias, _, of = marked.name.partition(_POINTS_AT)
        found = calls.call("GET", path(of) + _QUERY, missing_ok=True) or {}
        if marked.name not in _strays(found, index) or marked.stream != stream:
            return False
        calls.call("POST", "/_aliases", {"actions": [{"remove": {"index": of, "alias": alias, "must_exist": True}}]})
        return True
    found = calls.call("GET", path(marked.name) + _QUERY, missing_ok=True) or {}
    mark = _made_as(marked.name, found.get(marked.name, {}))
    if mark is None or mark["stream"] != marked.stream:
        return False
    calls.call("DELETE", path(marked.name), missing_ok=True)
    return True


def _made_as(name: str, about: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The mark of a generation. A clone or a restored copy has it too: without the alias by which its writes go, or with that
    of the one it was made from."""
    mark = mark_of(about)
    return mark if mark is not None and made_at(name) and f"{name}_write" in about.get("aliases", {}) else None


def _strays(found: Mapping[str, Any], index: str) -> Iterator[str]:
    """Hidden aliases that the stream's generations have, on an index that is none of them, or another one than the alias is
    named after. Restoring a snapshot under other names leaves them. One that is served is a person's to judge."""
    ours = re.compile(rf"({re.escape(index)}_\d{{8}}t\d{{6}})_write|{re.escape(index)}_(?:first|served)")
    generation = re.compile(rf"{re.escape(index)}_\d{{8}}t\d{{6}}")
    for name, about in sorted(found.items()):
        aliases = about.get("aliases", {})
        for alias, options in sorted(aliases.items()):
            if index in aliases or not options.get("is_hidden") or not (match := ours.fullmatch(alias)):
                continue
            if not generation.fullmatch(name) or (match[1] is not None and match[1] != name):
                yield f"{alias}{_POINTS_AT}{name}"


def _sizes(calls: Calls, names: list[str]) -> dict[str, int]:
    if not names:
        return {}
    found = calls.call("GET", path(",".join(names), "_stats", "store"), missing_ok=True) or {"indices": {}}
    return {name: about["total"]["store"]["size_in_bytes"] for name, about in found["indices"].items()}

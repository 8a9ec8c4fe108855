"""What a generation in a search engine holds, for a sweep: a point in time, read in the order of keys, page by page.

The engine sorts by the key's own fields, and only numbers and keywords have the order of ``core.keys``. A deleted document is
not there at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow_reindex_provider.core.bulk import key_of
from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError
from airflow_reindex_provider.core.keys import KeyKind, KeyRange, Listed, key_kinds
from airflow_reindex_provider.core.model import Key, Schema

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls

PAGE = 2_000
KEEP_ALIVE = "5m"
"""How long the engine keeps the point in time after each page."""
_WHOLE = frozenset({"byte", "short", "integer", "long", "unsigned_long"})


@dataclass(frozen=True, slots=True)
class KeyField:
    """A field to sort by, and what a part of a key is as a value of it."""

    name: str
    kind: KeyKind

    def value(self, part: str) -> int | str:
        return int(part) if self.kind is KeyKind.NUMBER else part


def key_fields(mapping: Mapping[str, Any], schema: Schema, *, label: str) -> tuple[KeyField, ...]:
    """:param mapping: of the generation.

    :raises ConfigurationError: a key column has no field that sorts as its text does."""
    properties = mapping.get("properties", {})
    found = []
    for name, kind in zip(schema.primary_key, key_kinds(schema), strict=True):
        field = properties.get(name, {})
        if kind is KeyKind.NUMBER and field.get("type") in _WHOLE:
            found.append(KeyField(name, kind))
            continue
        inner = next((n for n, f in field.get("fields", {}).items() if f.get("type") == "keyword"), None)
        if kind is KeyKind.NUMBER or not (field.get("type") == "keyword" or inner):
            raise ConfigurationError(
                f"{label}: the key's field {name!r} is a {field.get('type')}, which does not sort as the key does. A sweep needs"
                f' a {"long" if kind is KeyKind.NUMBER else "keyword"}: mappings={{"properties": {{"{name}": {{"type": ...}}}}}},'
                " and a rebuild."
            )
        found.append(KeyField(name if field["type"] == "keyword" else f"{name}.{inner}", kind))
    return tuple(found)


def pages(
    calls: Calls, generation: str, fields: Sequence[KeyField], within: KeyRange, *, label: str
) -> Iterator[list[Listed]]:
    """The range's documents, as they are now. Ends once the engine has no more, with every shard's answer, or raises."""
    # What was acknowledged can be searched only after this.
    calls.call("POST", f"/{quote(generation)}/_refresh")
    _require_sortable(calls, generation, fields, label)
    with _point_in_time(calls, generation) as pit:
        after: list[Any] | None = None
        listed = 0
        while True:
            body: dict[str, Any] = {
                "size": PAGE,
                "query": _within(fields, within),
                "sort": [{f.name: "asc"} for f in fields],
                "pit": {"id": pit, "keep_alive": KEEP_ALIVE},
                "version": True,
                "_source": False,
                # Without it OpenSearch guesses where the next page begins, and leaves documents out:
                # opensearch-project/OpenSearch issues 14824 and 15869, pull request 18896.
                "track_total_hits": True,
            }
            if after is not None:
                body["search_after"] = after
            answer = calls.call("POST", f"/_search?{_QUERY}", body)
            _require_whole(answer, label)
            hits = answer["hits"].get("hits", [])
            listed += len(hits)
            if hits:
                yield [Listed(key_of(hit["_id"], len(fields)), hit["_version"], False) for hit in hits]
            if len(hits) < PAGE:
                _require_all(listed, answer["hits"]["total"]["value"], label)
                return
            after = hits[-1]["sort"][: len(fields)]


_QUERY = urlencode(
    {
        "allow_partial_search_results": "false",
        "filter_path": "timed_out,_shards.failed,hits.total.value,hits.hits",
    }
)


@contextmanager
def _point_in_time(calls: Calls, generation: str) -> Iterator[str]:
    """The two engines name it differently."""
    if calls.engine.name == "OpenSearch":
        path = f"/{quote(generation)}/_search/point_in_time?keep_alive={KEEP_ALIVE}"
        close, name = "/_search/point_in_time", "pit_id"
    else:
        path = f"/{quote(generation)}/_pit?keep_alive={KEEP_ALIVE}"
        close, name = "/_pit", "id"
    pit = calls.call("POST", path)[name]
    try:
        yield pit
    finally:
        # The engine forgets it by itself.
        with suppress(ReindexError):
            calls.call("DELETE", close, {name: [pit] if name == "pit_id" else pit})


def _require_whole(answer: Mapping[str, Any], label: str) -> None:
    if answer["timed_out"] or answer["_shards"]["failed"]:
        raise TransientError(f"{label}: a listing of keys lacks what some of the shards hold. Try again.")


def _require_all(listed: int, total: int, label: str) -> None:
    if listed != total:
        raise TransientError(f"{label}: a listing of keys has {listed:,} of {total:,} documents. Try again.")


def _require_sortable(calls: Calls, generation: str, fields: Sequence[KeyField], label: str) -> None:
    """Keys beyond a keyword's ``ignore_above`` have no place in its order."""
    missing = [{"bool": {"must_not": {"exists": {"field": f.name}}}} for f in fields]
    found = calls.call("POST", f"/{quote(generation)}/_count", {"query": {"bool": {"should": missing}}})["count"]
    if found:
        names = ", ".join(f.name for f in fields)
        raise ConfigurationError(
            f"{label}: {found:,} documents have no value in the key's fields ({names}), so a sweep would not see them. Their keys"
            " are longer than ignore_above, or they were written by something else: declare the key as a keyword in mappings="
            " and rebuild, or delete them."
        )


def _within(fields: Sequence[KeyField], within: KeyRange) -> dict[str, Any]:
    edges = [_beyond(fields, key, operator) for key, operator in ((within.start, "gt"), (within.end, "lt")) if key]
    return {"bool": {"filter": edges}} if edges else {"match_all": {}}


def _beyond(fields: Sequence[KeyField], key: Key, operator: str) -> dict[str, Any]:
    """At or after the key with ``gt``, before it with ``lt``, column by column."""
    field, value = fields[0], fields[0].value(key[0])
    if len(fields) == 1:
        return {"range": {field.name: {"gte" if operator == "gt" else "lt": value}}}
    rest = _beyond(fields[1:], key[1:], operator)
    return {
        "bool": {
            "should": [
                {"range": {field.name: {operator: value}}},
                {"bool": {"filter": [{"term": {field.name: value}}, rest]}},
            ]
        }
    }

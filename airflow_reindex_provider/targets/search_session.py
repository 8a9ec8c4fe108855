"""An open search target: its generations, what each holds, and the settings of a load."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed
from airflow_reindex_provider.core.model import Format, Generation, Schema
from airflow_reindex_provider.targets.search_listing import key_fields, pages
from airflow_reindex_provider.targets.search_mapping import has_vectors, index_mapping, still_fits
from airflow_reindex_provider.targets.search_writer import SearchWriter

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search_engine import Calls
    from airflow_reindex_provider.targets.search_target import SearchTarget

log = logging.getLogger(__name__)

_MARK = "airflow_reindex_provider"
_DEFAULTS = {"index.gc_deletes": "1h"}
"""A late write must find the version of what was deleted meanwhile; by default the engines forget it after a minute."""
_LOAD = {"index.refresh_interval": "-1", "index.number_of_replicas": "0"}
"""While nobody searches a generation, segments for readers and copies of each are work for nothing."""


@dataclass(frozen=True, slots=True)
class _Index:
    """A physical index under our names; ``mark`` is what we noted in its mapping, None where it is not ours."""

    name: str
    live: bool
    mark: Mapping[str, Any] | None

    @property
    def stream(self) -> str | None:
        return self.mark["stream"] if self.mark else None


class SearchTargetSession:
    """See :class:`~airflow_reindex_provider.core.protocols.TargetSession`.

    What a generation was made for is noted in ``_meta`` of its mapping. Two aliases belong to each: ``{generation}_write``,
    by which a write finds that its generation is gone instead of making an index anew, and for a first generation
    ``{index}_first``, of which the engine allows one alone.
    """

    def __init__(self, target: SearchTarget, stream: str, calls: Calls) -> None:
        self._target = target
        self._stream = stream
        self._calls = calls

    # -- generations

    def generations(self) -> Sequence[Generation]:
        return [Generation(i.name, i.live) for i in self._own()]

    def create_first(self, name: str, schema: Schema) -> str:
        if existing := self._own():
            return existing[0].name
        target = self._target
        mapping = index_mapping(schema, target.given_mappings(), target.vector_field)
        mark = {
            "stream": self._stream,
            "fields": {f.name: f.type for f in schema.fields},
            "primary_key": list(schema.primary_key),
        }
        knn = {"index.knn": True} if has_vectors(mapping) else {}
        body = {
            "mappings": _marked(mapping, mark),
            "settings": {**_DEFAULTS, **knn, **target.given_settings()},
            # The engine takes one index with is_write_index for each alias: of two runs that make the first generation at
            # the same moment, one is refused.
            "aliases": {
                f"{target.index}_first": {"is_write_index": True, "is_hidden": True},
                f"{name}_write": {"is_hidden": True},
            },
        }
        try:
            self._calls.call("PUT", _path(name), body)
        except ConfigurationError as error:
            made = self._own()
            if not made:
                raise ConfigurationError(
                    f"{error} If that is about the mapping or the settings, mend mappings= or settings= of the target."
                ) from error
            return made[0].name
        self._prepare_load(name, mapping, mark)
        log.info("Made generation %s of %s.", name, target.label)
        return name

    def promote(self, generation: str) -> None:
        indexes = self._own()
        found = next((i for i in indexes if i.name == generation), None)
        if found is None:
            raise ConfigurationError(self._gone(generation))
        if found.live:
            return
        # Settings first, the alias last: wherever this breaks off, the next call does it all again, and no generation that
        # people search is left without refresh.
        assert found.mark is not None
        if restore := found.mark.get("restore"):
            self._calls.call("PUT", _path(generation, "_settings"), restore)
        self._calls.call("POST", _path(generation, "_refresh"))
        actions: list[dict[str, Any]] = [{"add": {"index": generation, "alias": self._target.index}}]
        actions += [{"remove": {"index": i.name, "alias": self._target.index}} for i in indexes if i.live]
        self._calls.call("POST", "/_aliases", {"actions": actions})
        log.info("The alias %s now points at %s.", self._target.index, generation)

    # -- writing

    def fields(self, generation: str, schema: Schema) -> Sequence[str]:
        held, key = self._held(generation)
        at_source = {f.name: f for f in schema.fields}
        label = self._target.label
        if key != schema.primary_key:
            raise ConfigurationError(
                f"{label}: generation {generation!r} was made for the primary key ({', '.join(key)}), not"
                f" ({', '.join(schema.primary_key)}). Rebuild the index."
            )
        declared = self._target.given_mappings().get("properties", {})
        for name, kind in held.items():
            if name not in at_source:
                raise ConfigurationError(
                    f"{label}: generation {generation!r} has the field {name!r}, which the source no longer has. Bring the"
                    " column back, list the columns of the stream, or rebuild the index."
                )
            now = at_source[name].type
            if name not in declared and not still_fits(now, kind, self._target.vector_field):
                raise ConfigurationError(
                    f"{label}: field {name!r} of generation {generation!r} was made for {kind}, and the column is a {now} by"
                    " now, whose values do not all fit. Rebuild the index, or name the field in mappings= if it does fit."
                )
        new = [n for n in at_source if n not in held]
        if new:
            log.warning(
                "%s: the source's columns %s are not in generation %s; rebuild the index to add them.",
                label,
                ", ".join(new),
                generation,
            )
        return [n for n in at_source if n in held]

    @contextmanager
    def writer(self, generation: str, schema: Schema, format: Format) -> Iterator[SearchWriter]:
        self._held(generation)
        engine, compress = self._calls.engine, self._target.compress
        writer = SearchWriter(
            self._calls,
            f"/{quote(generation)}_write/_bulk",
            schema=schema,
            gone=self._gone(generation),
            compress=not engine.is_local if compress is None else compress,
            timeout_s=self._target.timeout_s,
        )
        try:
            yield writer
        finally:
            writer.stop()

    # -- keys, for a sweep

    def keys(self, generation: str, within: KeyRange, schema: Schema) -> Iterator[Sequence[Listed]]:
        answer = self._calls.call("GET", _path(generation, "_mapping"), missing_ok=True)
        if not answer:
            raise ConfigurationError(self._gone(generation))
        label = self._target.label
        fields = key_fields(answer[generation]["mappings"], schema, label=label)
        yield from pages(self._calls, generation, fields, within, label=label)

    def checksum(self, generation: str, within: KeyRange, schema: Schema, *, below: int) -> Checksum | None:
        """The engines hash nothing as Postgres does."""
        return None

    # -- pieces

    def _own(self) -> list[_Index]:
        """This stream's indexes, oldest first, after a look at whether the public name is ours to have."""
        index, label = self._target.index, self._target.label
        found = self._look()
        stream = self._stream
        for other in found:
            if other.name == index:
                raise ConfigurationError(
                    f"{label}: there is an index of this name, which this package did not make, where the alias should be. It"
                    f" is left alone: give stream {stream!r} another index name, or reindex it under another name"
                    " (POST /_reindex), delete it, and let the first run load the new one."
                )
            if other.live and other.mark is None:
                raise ConfigurationError(
                    f"{label}: the alias of this name points at the index {other.name!r}, which this package did not make. It is"
                    f" left alone: give stream {stream!r} another index name, or rename or remove the alias."
                )
            if other.mark is not None and other.stream != stream:
                raise ConfigurationError(
                    f"{label}: the index {other.name!r} belongs to stream {other.stream!r}. It is left alone: give stream"
                    f" {stream!r} another index name."
                )
        return [i for i in found if i.mark is not None]

    def _look(self) -> list[_Index]:
        """All indexes that have the public name, bear it as an alias, or could be generations of it by their names."""
        index = self._target.index
        query = {
            "ignore_unavailable": "true",
            "allow_no_indices": "true",
            "expand_wildcards": "open,closed,hidden",
            "features": "aliases,mappings",
        }
        if self._calls.engine.name != "Elasticsearch":
            del query["features"]
        generation = re.compile(re.escape(index) + r"_\d{8}t\d{6}")
        answer = self._calls.call("GET", _path(f"{index},{index}_*") + "?" + urlencode(query))
        return [
            _Index(name, live, _mark(found))
            for name, found in sorted(answer.items())
            if (live := index in found["aliases"]) or name == index or generation.fullmatch(name)
        ]

    def _held(self, generation: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """The columns that the generation was made for, with their types, and the key."""
        answer = self._calls.call("GET", _path(generation, "_mapping"), missing_ok=True)
        mark = _mark(answer[generation]) if answer and generation in answer else None
        if mark is None:
            raise ConfigurationError(self._gone(generation))
        return dict(mark["fields"]), tuple(mark["primary_key"])

    def _gone(self, generation: str) -> str:
        return (
            f"{self._target.label}: generation {generation!r} is gone. Start the run anew, so that it plans for the live"
            " generation."
        )

    def _prepare_load(self, name: str, mapping: Mapping[str, Any], mark: Mapping[str, Any]) -> None:
        """Note what the settings are, the author's, a template's or the engine's own, and only then change them."""
        settings = self._calls.call("GET", _path(name, "_settings") + "?flat_settings=true")[name]["settings"]
        restore = {setting: settings.get(setting) for setting in _LOAD}
        self._calls.call(
            "PUT", _path(name, "_mapping"), {"_meta": _marked(mapping, {**mark, "restore": restore})["_meta"]}
        )
        self._calls.call("PUT", _path(name, "_settings"), _LOAD)


def _marked(mapping: Mapping[str, Any], mark: Mapping[str, Any]) -> dict[str, Any]:
    return {**mapping, "_meta": {**mapping.get("_meta", {}), _MARK: mark}}


def _mark(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    mark = found["mappings"].get("_meta", {}).get(_MARK)
    return mark if isinstance(mark, dict) and "stream" in mark else None


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe=',*')}" for part in parts)

"""An open search target: its generations, what each holds, and the settings of a load."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_reindex_provider.core.embedding.recipe import Recipe, require_recipe
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.findings import tried
from airflow_reindex_provider.core.keys import Checksum, KeyRange, Listed
from airflow_reindex_provider.core.model import (
    Chunk,
    Document,
    Finding,
    Format,
    Generation,
    Key,
    Marked,
    Position,
    Recalled,
    Schema,
    Size,
)
from airflow_reindex_provider.core.protocols import Writer
from airflow_reindex_provider.targets.refusing import gone, still_live
from airflow_reindex_provider.targets.search import belongings, checking
from airflow_reindex_provider.targets.search.conditions import require_as_made, require_writable, warnings
from airflow_reindex_provider.targets.search.copies import differing, lacking
from airflow_reindex_provider.targets.search.indexes import Action, Held, Index, Indexes, marked, path
from airflow_reindex_provider.targets.search.listing import key_fields, pages
from airflow_reindex_provider.targets.search.mapping import has_vectors, index_mapping, still_fits
from airflow_reindex_provider.targets.search.passage_writer import PassageWriter
from airflow_reindex_provider.targets.search.passages import PASSAGES, require_room, with_passages
from airflow_reindex_provider.targets.search.recalling import Recalling, Refreshes
from airflow_reindex_provider.targets.search.refusals import remedy
from airflow_reindex_provider.targets.search.writer import SearchWriter

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.definition import SearchDefinition
    from airflow_reindex_provider.targets.search.engine import Calls

log = logging.getLogger(__name__)

_DEFAULTS = {
    # A late write must find the version of what was deleted meanwhile; by default the engines forget it after a minute.
    "index.gc_deletes": "1h",
    # What is acknowledged is on disk, whatever an index template says.
    "index.translog.durability": "request",
}
_LOAD = {"index.refresh_interval": "-1", "index.number_of_replicas": "0"}
"""While nobody searches a generation, segments for readers and copies of each are work for nothing."""
_REFRESHED_S = 30.0
"""A text that another task has embedded meanwhile may be embedded again."""


class SearchTargetSession:
    """See :class:`~airflow_reindex_provider.core.protocols.RebuildingTarget` and ``ListingTarget``.

    What a generation was made for is noted in ``_meta`` of its mapping. Two more aliases can belong to each:
    ``{generation}_write``, by which a write finds that its generation is gone instead of making an index anew, and for a
    first generation ``{index}_first``, of which the engine allows one alone.
    """

    def __init__(self, target: SearchDefinition, stream: str, calls: Calls) -> None:
        self._target = target
        self._stream = stream
        self._calls = calls
        self._indexes = Indexes(calls, target.index, stream=stream, label=target.label)
        self._refreshes = Refreshes(_REFRESHED_S)

    # -- generations

    def generations(self) -> Sequence[Generation]:
        return [Generation(i.name, i.live, i.served) for i in self._indexes.own()]

    def create_first(self, name: str, schema: Schema) -> str:
        if existing := self._indexes.own():
            return existing[0].name
        # The engine takes one index with is_write_index for each alias: of two runs that make the first generation at the
        # same moment, one is refused.
        try:
            self._make(name, schema, {f"{self._target.index}_first": {"is_write_index": True, "is_hidden": True}})
        except ConfigurationError:
            if not (made := self._indexes.own()):
                raise
            return made[0].name
        return name

    def create(self, name: str, schema: Schema) -> None:
        if any(i.name == name for i in self._indexes.own()):
            return
        try:
            self._make(name, schema, {})
        except ConfigurationError:
            if all(i.name != name for i in self._indexes.own()):
                raise

    def promote(self, generation: str, *, carry: Callable[[str], None] | None = None) -> None:
        def decide(found: Sequence[Index]) -> tuple[str, list[Action]] | None:
            index = next((i for i in found if i.name == generation), None)
            if index is None:
                raise gone(self._target.label, generation)
            if index.live:
                return None
            # Settings first, the alias last: wherever this breaks off, the next call does it all again, and no generation
            # that people search is left without refresh.
            if not index.served:
                self._end_load(index)
            if carry is not None:
                for live in (i.name for i in found if i.live):
                    carry(live)
            # What has been written is found by the first search.
            self._calls.call("POST", path(generation, "_refresh"))
            return generation, [self._indexes.serve(i.name) for i in (*found, index) if i.live or i is index]

        if self._indexes.change(decide):
            log.info("The alias %s now points at %s.", self._target.index, generation)

    def carry_over(self, keys: Sequence[Key], schema: Schema, *, from_generation: str, to_generation: str) -> int:
        """Writes to the generation that is copied from do not wait meanwhile: these engines cannot make them."""
        here, there = self._held(from_generation).mark, self._held(to_generation).mark
        if here["primary_key"] != there["primary_key"] or not keys:
            return 0
        dropped = here["fields"].keys() - there["fields"].keys()
        if here.get(PASSAGES) != there.get(PASSAGES):
            # The next run brings them, from the model of the other one.
            dropped |= {PASSAGES}
        documents = lacking(self._calls, keys, dropped, from_generation=from_generation, to_generation=to_generation)
        with self._plain_writer(to_generation, schema) as writer:
            # An older deletion gives way to the document's version, a newer one does not.
            counts = writer.write(Chunk(Position(""), Format.ROWS, documents)).counts
        return counts.created + counts.updated

    def drop(self, generation: str) -> None:
        def decide(found: Sequence[Index]) -> tuple[str | None, list[Action]] | None:
            index = next((i for i in found if i.name == generation), None)
            if index is None:
                return None
            if index.live:
                raise still_live(self._target.label, generation)
            live = next((i.name for i in found if i.live), None)
            return live, [{"remove_index": {"index": generation}}]

        if self._indexes.change(decide):
            log.info("Dropped generation %s of %s.", generation, self._target.label)

    def hand_over(self, stream: str) -> None:
        # The live one last: until then the stream's old name is known, under which it can be called again.
        for index in sorted(self._indexes.own(), key=lambda i: i.live):
            held = self._held(index.name)
            noted = marked(held.mapping, {**held.mark, "stream": stream})
            self._calls.call("PUT", path(index.name, "_mapping"), {"_meta": noted["_meta"]})

    def remove(self) -> None:
        # The live one last: as long as it is there, so is the public name.
        for index in sorted(self._indexes.own(), key=lambda i: i.live):
            self._calls.call("DELETE", path(index.name), missing_ok=True)
        log.info("Removed %s.", self._target.label)

    def marked(self) -> Sequence[Marked]:
        return belongings.listed(self._calls, self._target.index, stream=self._stream)

    def unmake(self, marked: Marked) -> bool:
        return belongings.unmade(self._calls, self._target.index, marked, stream=self._stream)

    def count(self, generation: str) -> int:
        self._held(generation)
        # In a load nothing can be searched before this.
        self._calls.call("POST", path(generation, "_refresh"))
        return int(self._calls.call("GET", path(generation, "_count"))["count"])

    def sizes(self) -> Mapping[str, Size]:
        names = [index.name for index in self._indexes.own()]
        if not names:
            return {}
        found = self._calls.call("GET", path(",".join(names), "_stats", "docs,store"))["indices"]
        return {
            name: Size(found[name]["primaries"]["docs"]["count"], False, found[name]["total"]["store"]["size_in_bytes"])
            for name in names
            if name in found
        }

    def check(self) -> Iterator[Finding]:
        target, calls = self._target, self._calls
        yield checking.engine(calls)
        yield checking.health(calls)
        live = next((g.name for g in self.generations() if g.live), None)
        names = (target.index, f"{target.index}_*")
        yield checking.rights(calls, names, privileges=target.privileges.format(names=" and ".join(names)))
        if live is not None:
            stated = target.given_settings()
            yield tried("writes", lambda: self._writable(live, stated))
        yield from checking.room(calls, needed=(self.sizes()[live].bytes or 0) if live else 0)

    def _writable(self, generation: str, stated: Mapping[str, Any]) -> str:
        require_writable(self._held(generation), stated=stated, label=self._target.label)
        return f"{generation} takes writes."

    def differing(self, generation: str, documents: Sequence[Document], schema: Schema) -> Sequence[tuple[Key, str]]:
        return differing(self._calls, generation, documents, self._held(generation).mapping, schema)

    # -- writing

    def fields(self, generation: str, schema: Schema) -> Sequence[str]:
        mark = self._held(generation).mark
        held, key = dict(mark["fields"]), tuple(mark["primary_key"])
        at_source = {f.name: f for f in schema.fields}
        label = self._target.label
        if key != schema.primary_key:
            raise ConfigurationError(
                f"{label}: generation {generation!r} was made for the primary key ({', '.join(key)}), not"
                f" ({', '.join(schema.primary_key)}). Rebuild the index."
            )
        require_recipe(_recipe(mark), self._target.passages, generation, label)
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
        return [n for n in at_source if n in held]

    def warnings(self, generation: str) -> Sequence[str]:
        return list(warnings(self._held(generation), label=self._target.label))

    @contextmanager
    def writer(self, generation: str, schema: Schema, format: Format) -> Iterator[Writer]:
        with self._plain_writer(generation, schema) as writer:
            if self._target.passages is None:
                yield writer
            else:
                # What it looks for was there, or has been written since.
                yield PassageWriter(writer, self._recalling(generation, Refreshes(every_s=0)))

    @contextmanager
    def _plain_writer(self, generation: str, schema: Schema) -> Iterator[SearchWriter]:
        target = self._target
        require_writable(self._held(generation), stated=target.given_settings(), label=target.label)
        engine, compress = self._calls.engine, target.compress
        writer = SearchWriter(
            self._calls,
            f"/{quote(generation)}_write/_bulk",
            schema=schema,
            gone=str(gone(self._target.label, generation)),
            compress=not engine.is_local if compress is None else compress,
            timeout_s=target.timeout_s,
        )
        try:
            yield writer
        finally:
            writer.stop()

    def recall(self, generation: str, documents: Sequence[Document], schema: Schema) -> Recalled:
        """Nothing is known to the engine itself: a document is written whole, and its vectors are sent again."""
        return self._recalling(generation, self._refreshes).recall(documents)

    def _recalling(self, generation: str, refreshes: Refreshes) -> Recalling:
        recipe = self._target.passages
        assert recipe is not None
        live = [i for i in self._indexes.own() if i.live and i.name != generation]
        lenders = [i.name for i in live if (found := _recipe(i.mark or {})) is not None and found.model == recipe.model]
        return Recalling(self._calls, [generation, *lenders], refreshes)

    # -- keys, for a sweep

    def keys(self, generation: str, within: KeyRange, schema: Schema) -> Iterator[Sequence[Listed]]:
        label = self._target.label
        fields = key_fields(self._held(generation).mapping, schema, label=label)
        yield from pages(self._calls, generation, fields, within, label=label)

    def checksum(self, generation: str, within: KeyRange, schema: Schema, *, below: int) -> Checksum | None:
        """The engines hash nothing as Postgres does."""
        return None

    # -- pieces

    def _held(self, generation: str) -> Held:
        found = self._indexes.held(generation)
        if found is None:
            raise gone(self._target.label, generation)
        return found

    def _make(self, name: str, schema: Schema, aliases: Mapping[str, Any]) -> None:
        target = self._target
        given = target.given_mappings()
        try:
            mapping = index_mapping(schema, given, target.vector_field, target.nested)
        except ConfigurationError as error:
            raise ConfigurationError(f"{target.label}: {error}") from None
        recipe = target.passages
        if recipe is not None:
            require_room(recipe, schema, given, target.label)
            mapping = with_passages(mapping, target.passage_vector(recipe.dimensions))
        mark: dict[str, Any] = {
            "stream": self._stream,
            "fields": {f.name: f.type for f in schema.fields},
            "primary_key": list(schema.primary_key),
            **({} if recipe is None else {PASSAGES: recipe.to_json()}),
        }
        knn = {"index.knn": True} if has_vectors(mapping) else {}
        aliases = {f"{name}_write": {"is_hidden": True}, **aliases}
        body = {
            "mappings": marked(mapping, mark),
            "settings": {**_DEFAULTS, **knn, **target.given_settings()},
            "aliases": aliases,
        }
        try:
            self._calls.call("PUT", path(name), body)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error} {remedy(str(error), mapping, mark['fields'])}") from error
        made = self._held(name)
        try:
            require_as_made(made, aliases=aliases, label=target.label)
            require_writable(made, stated=target.given_settings(), label=target.label)
        except ConfigurationError:
            self._calls.call("DELETE", path(name))
            raise
        self._begin_load(made, mapping)
        log.info("Made generation %s of %s.", name, target.label)

    def _begin_load(self, made: Held, mapping: Mapping[str, Any]) -> None:
        """Note what the settings are, the author's, a template's or the engine's own, and only then change them."""
        restore = {setting: made.settings.get(setting) for setting in _LOAD}
        noted = marked(mapping, {**made.mark, "restore": restore})
        self._calls.call("PUT", path(made.name, "_mapping"), {"_meta": noted["_meta"]})
        self._calls.call("PUT", path(made.name, "_settings"), _LOAD)

    def _end_load(self, index: Index) -> None:
        assert index.mark is not None
        if restore := index.mark.get("restore"):
            self._calls.call("PUT", path(index.name, "_settings"), restore)


def _recipe(mark: Mapping[str, Any]) -> Recipe | None:
    """What the passages of a generation are made by; None where it has none."""
    return Recipe.from_json(mark[PASSAGES]) if PASSAGES in mark else None

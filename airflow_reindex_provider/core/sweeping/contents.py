"""Whether documents say what their rows say, where both have the same version: for rows changed without their cursor field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_reindex_provider.core.model import Batch, Document, Format, Key, Mode, Position, Schema, Transform, Window
from airflow_reindex_provider.core.protocols import ComparingTarget, SourceSession
from airflow_reindex_provider.core.sweeping.records import Content

CHUNK_ROWS = 500


@dataclass(frozen=True, slots=True)
class Contents:
    """Reads rows by their keys, makes their documents, and lets the target compare these with its own.

    The target compares values as its own types have them, so declared columns and transforms count as they are written.
    """

    stream: str
    generation: str
    bound: str
    source: SourceSession
    target: ComparingTarget
    schema: Schema
    fields: Sequence[str]
    """The source's columns that the generation holds."""
    transform: Transform | None = None

    @classmethod
    def opened(
        cls,
        stream: str,
        generation: str,
        bound: str,
        source: SourceSession,
        target: ComparingTarget,
        transform: Transform | None,
    ) -> Contents:
        schema = source.schema()
        fields = target.fields(generation, schema)
        return cls(stream, generation, bound, source, target, schema, fields, transform)

    def of(self, keys: Sequence[Key]) -> Mapping[Key, Content]:
        """Of those of the keys that still have a row below the bound; a document of another version by now counts as the same."""
        if not keys:
            return {}
        window = Window(None, Position(self.bound))
        batch = Batch(self.stream, self.generation, 0, 1, window, len(keys), tuple(keys), Mode.SWEEP)
        found: dict[Key, Content] = {}
        for chunk in self.source.read(batch, format=Format.ROWS, fields=self.fields, chunk_rows=CHUNK_ROWS):
            made = [self._made(document, found) for document in chunk.payload if isinstance(document, Document)]
            there = [document for document in made if document is not None]
            for key, _ in self.target.differing(self.generation, there, self.schema):
                found[key] = Content.OTHER
        return found

    def _made(self, document: Document, found: dict[Key, Content]) -> Document | None:
        """The document to compare, if there is one; the others are judged here."""
        fields = document.fields
        if fields is not None and self.transform is not None:
            try:
                fields = self.transform(dict(fields))
            except Exception:
                # Indexing it will tell, with the key and the reason.
                found[document.key] = Content.OTHER
                return None
        found[document.key] = Content.NONE if fields is None else Content.SAME
        return None if fields is None else Document(document.key, document.version, fields)

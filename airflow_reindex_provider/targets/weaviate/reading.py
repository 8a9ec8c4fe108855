"""Documents of a generation, read by key: compared, copied to another generation, or asked for the vectors of their passages."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.model import Document, Key, Recalled, Rejection
from airflow_reindex_provider.targets.row_passages import HASHES, PASSAGES, own
from airflow_reindex_provider.targets.weaviate.layout import DELETED, VERSION, Layout
from airflow_reindex_provider.targets.weaviate.rows import Row, Rows, version_of
from airflow_reindex_provider.targets.weaviate.sending import held_of
from airflow_reindex_provider.targets.weaviate.server import Server
from airflow_reindex_provider.targets.weaviate.types import same

T = TypeVar("T")

_READ_AT_ONCE = 250
"""Objects whose vectors are in memory at once."""


def differing(documents: Sequence[Document], server: Server, generation: str, layout: Layout) -> list[tuple[Key, str]]:
    """Those that the generation holds with the same version and other values, with the first column that differs."""
    rows = Rows(layout)
    wanted = {rows.id(document.key): document for document in documents}
    found: list[tuple[Key, str]] = []
    names = [VERSION, *layout.properties.values(), *([HASHES] if layout.recipe else [])]
    for held in _objects(server, generation, list(wanted), names, layout.vectors):
        document = wanted[str(held.uuid)]
        if version_of(held.properties[VERSION]) != document.version:
            continue
        refused: list[Rejection] = []
        made = rows.of([document], refused)
        if refused:
            found.append((document.key, refused[0].reason))
        elif (name := _first_other(made[0], held, layout)) is not None:
            found.append((document.key, name))
        elif document.passages and (held.properties.get(HASHES) or []) != [p.hash.hex() for p in own(document)]:
            found.append((document.key, PASSAGES))
    return found


def carried(keys: Sequence[Key], server: Server, generation: str, here: Layout, there: Layout) -> Iterator[list[Row]]:
    """The documents of these keys that one generation holds as objects for another one, with what both have."""
    if here.key != there.key:
        return
    rows = Rows(there)
    shared = [c for c, kind in here.columns.items() if there.columns.get(c) == kind]
    vectors = [c for c in here.vectors if c in shared]
    with_passages = here.recipe is not None and here.recipe == there.recipe
    names = [here.properties[c] for c in shared if c in here.properties] + [PASSAGES, HASHES] * with_passages
    ids = {rows.id(key): key for key in keys}
    asked = vectors + [PASSAGES] * with_passages
    part: list[Row] = []
    for held in _objects(server, generation, list(ids), [VERSION, DELETED, *names], asked):
        if held.properties[DELETED]:
            continue
        key = ids[str(held.uuid)]
        # Only its key and its version count: what it holds is copied as it is.
        document = Document(key, version_of(held.properties[VERSION]), {})
        (row,) = rows.of([document], [])
        values = {n: held.properties[n] for n in names if held.properties.get(n) is not None}
        named = {n: v for n, v in held.vector.items() if n in asked and len(v)}
        part.append(Row(document, row.id, {**row.properties, **values}, named, 4_000))
        if len(part) == _READ_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def recalled(
    documents: Sequence[Document],
    server: Server,
    lenders: Sequence[str],
    layout: Layout,
    *,
    given: Collection[bytes] = (),
) -> Recalled:
    """:param lenders: the generation that is written to first, then others with vectors of the same model.
    :param given: hashes whose vectors need not be looked for."""
    rows = Rows(layout)
    wanted = {rows.id(document.key): document for document in documents if document.passages}
    overtaken = set()
    for ids in _parts(list(wanted)):
        for id, held in held_of(server, lenders[0], ids).items():
            if held.version > wanted[id].version:
                overtaken.add(wanted[id].key)
    hashes = {p.hash for d in wanted.values() if d.key not in overtaken for p in d.passages} - set(given)
    vectors: dict[bytes, Vector] = {}
    for lender in lenders:
        for part in _parts(sorted(hashes - vectors.keys())):
            vectors |= _held(server, lender, set(part))
    return Recalled(vectors=vectors, overtaken=frozenset(overtaken))


def _held(server: Server, generation: str, hashes: set[bytes]) -> dict[bytes, Vector]:
    """One text may be in many documents: what was found is not asked for again."""
    from weaviate.classes.query import Filter

    found: dict[bytes, Vector] = {}
    while left := hashes - found.keys():
        with server.explained():
            page = server.collection(generation).query.fetch_objects(
                filters=Filter.by_property(HASHES).contains_any([hash.hex() for hash in left]),
                limit=_READ_AT_ONCE,
                return_properties=[HASHES],
                include_vector=[PASSAGES],
            )
        before = len(found)
        for held in page.objects:
            texts: Any = held.properties[HASHES]
            numbers: Any = held.vector.get(PASSAGES) or ()
            for text, vector in zip(texts, numbers, strict=True):
                if (hash := bytes.fromhex(text)) in left:
                    found[hash] = array("f", vector)
        if len(page.objects) < _READ_AT_ONCE or len(found) == before:
            break
    return found


def _first_other(made: Row, held: Any, layout: Layout) -> str | None:
    for column, name in layout.properties.items():
        if not same(made.properties.get(name), held.properties.get(name)):
            return column
    for column in layout.vectors:
        one: Any = made.vectors.get(column)
        other: Any = held.vector.get(column) or None
        if (one is None) != (other is None) or (one is not None and array("f", one) != array("f", other)):
            return column
    return None


def _objects(
    server: Server, generation: str, ids: Sequence[str], names: Sequence[str], vectors: Sequence[str]
) -> Iterator[Any]:
    """With the properties of these names: what is not named comes without files."""
    from weaviate.classes.query import Filter, QueryNested

    passages = QueryNested(name=PASSAGES, properties=["field", "start", "end", "text"])
    for part in _parts(ids):
        with server.explained():
            page = server.collection(generation).query.fetch_objects(
                filters=Filter.by_id().contains_any(list(part)),
                limit=len(part),
                return_properties=[passages if name == PASSAGES else name for name in names],
                include_vector=list(vectors) if vectors else False,
            )
        yield from page.objects


def _parts(all: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(all), _READ_AT_ONCE):
        yield all[at : at + _READ_AT_ONCE]

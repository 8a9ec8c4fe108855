"""The vectors that a search engine holds of some documents' passages: read by key first, then by the hash of a text.

What was written can be read by key at once. By hash it can be searched after a refresh, which makes a segment of its own, with a
graph of its vectors.
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from airflow_reindex_provider.core.bulk import document_id, engine_version
from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.model import Document, Key, Recalled
from airflow_reindex_provider.targets.search.copies import with_vectors
from airflow_reindex_provider.targets.search.indexes import path
from airflow_reindex_provider.targets.search.passages import PASSAGES

if TYPE_CHECKING:
    from airflow_reindex_provider.targets.search.engine import Calls

T = TypeVar("T")

_READ_AT_ONCE = 50
"""Documents, whose vectors come as text."""
_ASKED_AT_ONCE = 500
"""Hashes in one search."""
_FOUND_AT_ONCE = 200
"""Documents that one search answers with."""
_WITHIN = 100
"""Passages of one of them: the most that the engines give."""
_MOST_MISSING = 100_000
"""Hashes that are remembered, some ten megabytes."""


class Refreshes:
    """When generations were refreshed, so that not every question asks for it.

    :param every_s: what others have written since may not be found for so long. What was looked for here in vain has likely been
        written by now, so a question for it asks for a refresh until it is found.
    """

    def __init__(self, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._last: dict[str, float] = {}
        self._missing: defaultdict[str, set[bytes]] = defaultdict(set)

    def are_due(self, generation: str, hashes: Collection[bytes]) -> bool:
        """And counted as done, then."""
        last, now = self._last.get(generation), self._clock()
        if last is not None and now - last < self._every_s and self._missing[generation].isdisjoint(hashes):
            return False
        self._last[generation] = now
        return True

    def answered(self, generation: str, found: Collection[bytes], missing: Collection[bytes]) -> None:
        held = self._missing[generation]
        held.difference_update(found)
        held.update(missing)
        if len(held) > _MOST_MISSING:
            held.clear()
            del self._last[generation]


class Recalling:
    """What can be given to the documents of one generation without asking a model.

    :param lenders: the generations that are looked into, this one first; all with vectors of the same model.
    """

    def __init__(self, calls: Calls, lenders: Sequence[str], refreshes: Refreshes) -> None:
        self._calls = calls
        self._lenders = lenders
        self._refreshes = refreshes
        self._queries = {lender: with_vectors(calls, lender) for lender in lenders}

    def recall(self, documents: Sequence[Document], *, given: Collection[bytes] = ()) -> Recalled:
        """:param given: hashes whose vectors need not be looked for."""
        wanted = [document for document in documents if document.passages]
        versions, vectors = self._of_keys(self._lenders[0], [document.key for document in wanted])
        overtaken = {
            document.key for document in wanted if versions.get(document.key, -1) > engine_version(document.version)
        }
        lacking = [document for document in wanted if document.key not in overtaken]
        hashes = {passage.hash for document in lacking for passage in document.passages} - set(given)
        held = {hash: vector for hash, vector in vectors.items() if hash in hashes}
        for lender in self._lenders[1:]:
            keys = [d.key for d in lacking if any(p.hash in hashes and p.hash not in held for p in d.passages)]
            _, vectors = self._of_keys(lender, keys)
            held |= {hash: vector for hash, vector in vectors.items() if hash in hashes}
        for lender in self._lenders:
            held |= self._of_hashes(lender, hashes - held.keys())
        return Recalled(vectors=held, overtaken=frozenset(overtaken))

    def _of_keys(self, generation: str, keys: Sequence[Key]) -> tuple[dict[Key, int], dict[bytes, Vector]]:
        """Versions by key, and vectors by hash."""
        by_id = {document_id(key): key for key in keys}
        versions: dict[Key, int] = {}
        vectors: dict[bytes, Vector] = {}
        for found in self._read(generation, list(by_id)):
            versions[by_id[found["_id"]]] = found["_version"]
            vectors |= _vectors(found["_source"])
        return versions, vectors

    def _of_hashes(self, generation: str, hashes: Set[bytes]) -> dict[bytes, Vector]:
        if not hashes:
            return {}
        if self._refreshes.are_due(generation, hashes):
            self._calls.call("POST", path(generation, "_refresh"))
        vectors: dict[bytes, Vector] = {}
        for asked in _slices(list(hashes), _ASKED_AT_ONCE):
            left = set(asked)
            while left:
                holders = self._search(generation, left)
                # Of each text, one document that has it.
                ids = {hash: id for id, of_it in holders.items() for hash in of_it}
                for found in self._read(generation, sorted(set(ids.values()))):
                    vectors |= {hash: v for hash, v in _vectors(found["_source"]).items() if hash in left}
                left -= vectors.keys()
                if len(holders) < _FOUND_AT_ONCE or not ids:
                    break
        self._refreshes.answered(generation, vectors.keys(), hashes - vectors.keys())
        return vectors

    def _search(self, generation: str, hashes: Collection[bytes]) -> dict[str, list[bytes]]:
        """The hashes that documents have, by ``_id``."""
        name = f"{PASSAGES}.hash"
        inner = {"size": _WITHIN, "_source": False, "docvalue_fields": [name]}
        query = {"terms": {name: [hash.hex() for hash in hashes]}}
        body = {
            "size": _FOUND_AT_ONCE,
            "_source": False,
            "query": {"nested": {"path": PASSAGES, "query": query, "score_mode": "none", "inner_hits": inner}},
        }
        hits = self._calls.call("POST", path(generation, "_search"), body)["hits"]["hits"]
        return {
            hit["_id"]: [
                bytes.fromhex(within["fields"][name][0]) for within in hit["inner_hits"][PASSAGES]["hits"]["hits"]
            ]
            for hit in hits
        }

    def _read(self, generation: str, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        includes = f"_source_includes={PASSAGES}.hash,{PASSAGES}.vector"
        query = "&".join(filter(None, (includes, self._queries[generation])))
        for some in _slices(ids, _READ_AT_ONCE):
            answer = self._calls.call(
                "POST", f"{path(generation, '_mget')}?{query}", {"ids": some}, loads=msgspec.json.decode
            )
            yield from (found for found in answer["docs"] if found.get("found"))


def _slices(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[at : at + size] for at in range(0, len(values), size))


def _vectors(source: Mapping[str, Any]) -> dict[bytes, Vector]:
    held = source.get(PASSAGES, ())
    return {bytes.fromhex(p["hash"]): array("f", p["vector"]) for p in held if "vector" in p}

"""Keys of a generation, for a sweep."""

from __future__ import annotations

import pytest

from airflow_reindex_provider.core.keys import KeyRange, key_kinds, placing
from airflow_reindex_provider.core.model import Format
from airflow_reindex_provider.core.planning import current_generation
from airflow_reindex_provider.testing.target_suite.index import (
    STREAM,
    Index,
    IndexSuite,
    doc,
    gone,
    listing_of,
    published,
)


class ListingSuite(IndexSuite):
    """The promises of ``core.protocols.ListingTarget``."""

    def test_keys_are_listed_in_the_shared_order(self, index: Index) -> None:
        """What is there, with versions, in the order of ``core.keys``, range by range; what was deleted is left out or said
        to be gone."""
        words = ["", "a", "B", "é", "10", "9", "😀", "it's", "a b", 'x"\\y', "z%s"]
        schema = index.schema()
        place_of = placing(key_kinds(schema))
        with published(index, Format.ROWS) as write:
            write(*(doc(word, 5 + n, "x") for n, word in enumerate(words) if word), doc("gone", 1, "x"))
            write(gone("gone", 2), gone("never", 2))
        with index.target.open(STREAM) as session:
            lister = listing_of(session)
            generation = current_generation(session) or ""
            ranges = KeyRange().cut([("9",), ("a b",), ("it's",)])
            listed = [[e for page in lister.keys(generation, part, schema) for e in page] for part in ranges]
            whole = [e for page in lister.keys(generation, KeyRange(), schema) for e in page]

        there = {e.key: e.version for e in whole if not e.gone}
        assert there == {(word,): 5 + n for n, word in enumerate(words) if word}
        assert {e.key for e in whole if e.gone} <= {("gone",), ("never",)}
        assert [e for part in listed for e in part] == whole
        assert [e.key for e in whole] == sorted((e.key for e in whole), key=place_of)
        assert all(place_of(part[-1].key) < place_of(r.end) for r, part in zip(ranges, listed, strict=True) if r.end)

    def test_many_keys_come_in_pages(self, index: Index) -> None:
        """None twice, none left out where one page ends."""
        keys = [f"{n:05}" for n in range(2_500)]
        with published(index, Format.ROWS) as write:
            write(*(doc(key, 1, "x") for key in keys))
        with index.target.open(STREAM) as session:
            lister = listing_of(session)
            generation = current_generation(session) or ""
            pages = list(lister.keys(generation, KeyRange(), index.schema()))

        assert [e.key[0] for page in pages for e in page] == keys
        assert len(pages) > 1

    def test_checksums_tell_documents_apart(self, index: Index) -> None:
        """They follow keys and versions below the bound alone; deleted documents are not in them."""
        schema = index.schema()
        with published(index, Format.ROWS) as write:
            write(*(doc(str(n), 1, "x") for n in range(10)))
            with index.target.open(STREAM) as session:
                lister = listing_of(session)
                generation = current_generation(session) or ""
                before = lister.checksum(generation, KeyRange(), schema, below=5)
                if before is None:
                    pytest.skip("this target computes no checksums")
                write(doc("new", 5, "x"), doc("gone", 1, "x"))
                write(gone("gone", 2))
                assert lister.checksum(generation, KeyRange(), schema, below=5) == before
                assert before.count == 10
                write(doc("3", 2, "x"))
                after = lister.checksum(generation, KeyRange(), schema, below=5)
                assert after is not None
                assert (after.count, after.digest == before.digest) == (10, False)

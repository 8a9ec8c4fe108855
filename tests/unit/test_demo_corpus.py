"""The demo's corpus: what every machine with Airflow installed has offline."""

from __future__ import annotations

import gc
import inspect
import platform
import textwrap
from itertools import islice

import pytest

from airflow_reindex_provider.demo.corpus import ApiDoc, read_corpus

ENOUGH = 20_000


@pytest.fixture(scope="module")
def corpus() -> list[ApiDoc]:
    # A third of the time would go into looking for garbage among syntax trees, which are none.
    gc.disable()
    try:
        return list(read_corpus(ENOUGH))
    finally:
        gc.enable()


def test_there_is_enough_to_index(corpus):
    """At least 20,000 documented functions and classes; and no more come than are asked for."""
    assert len(corpus) == ENOUGH


def test_keys_are_unique(corpus):
    """No two rows share a key, also where a name is defined twice in a module."""
    assert len({doc.id for doc in corpus}) == len(corpus)
    assert any(doc.id.endswith("#2") for doc in corpus)


def test_reading_again_gives_the_same(corpus):
    """The same rows, with the same keys, in the same order."""
    assert list(islice(read_corpus(), 1_000)) == corpus[:1_000]


def test_a_row_says_what_the_source_says(corpus):
    """Name, signature, docstring, package and version of a function everybody knows."""
    doc = next(doc for doc in corpus if doc.id == "python:textwrap.dedent")

    assert (doc.kind, doc.qualified_name, doc.version) == ("function", "textwrap.dedent", platform.python_version())
    assert doc.docstring == inspect.getdoc(textwrap.dedent)
    assert doc.signature == "dedent(text)"


def test_every_text_can_be_stored(corpus):
    """No NUL character and no lone surrogate, which Postgres refuses."""
    assert not any("\0" in text for doc in corpus for text in (doc.signature, doc.docstring))
    for doc in corpus:
        doc.docstring.encode()

"""What every embedder must do, as tests: subclass :class:`EmbedderConformance` and give it one.

class TestMine(EmbedderConformance):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return MyEmbedder(...)
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import hypot
from typing import cast

import pytest

from airflow_reindex_provider.core.embedding.answers import checked
from airflow_reindex_provider.core.embedding.embedder import Embedder, EmbedderSession, TokenizingEmbedder, Vector
from airflow_reindex_provider.core.stable_text import stable_text

TEXTS = (
    "The harbour lights go out at midnight.",
    "Ships leave the port when it is dark.",
    "Bread is made of flour, water and salt.",
    'Grüße, 日本語の文章, emoji 👍🏽 and "quotes"\nin two lines.',
    "x",
)


class EmbedderConformance:
    """The model must be one that knows what English words mean, or answer the same for the same text at least."""

    knows_words = True

    @pytest.fixture
    def embedder(self) -> Embedder:
        raise NotImplementedError("give the embedder that is to be tested")

    def test_a_vector_for_each_text(self, embedder: Embedder) -> None:
        """Of float32, as wide as the identity says, in the order of the texts, and of the document side."""
        with embedder.open() as session:
            vectors = _embedded(embedder, session, TEXTS)
            assert all(vector.typecode == "f" for vector in vectors)
            turned = _embedded(embedder, session, TEXTS[::-1])
        assert all(_cosine(one, other) > 0.999 for one, other in zip(vectors, turned[::-1], strict=True))

    def test_a_full_request(self, embedder: Embedder) -> None:
        """The limits are such that a request of so many texts is answered."""
        texts = [f"{TEXTS[number % 3]} {number}" for number in range(embedder.limits.texts)]
        with embedder.open() as session:
            assert len(checked(session.embed(texts), texts, embedder)) == len(texts)

    def test_several_threads(self, embedder: Embedder) -> None:
        """One session answers them all, each its own texts."""
        with embedder.open() as session:
            alone = [session.embed([text]).vectors[0] for text in TEXTS]
            with ThreadPoolExecutor(len(TEXTS)) as pool:
                together = [answer.vectors[0] for answer in pool.map(lambda text: session.embed([text]), TEXTS)]
        assert all(_cosine(one, other) > 0.999 for one, other in zip(alone, together, strict=True))

    def test_a_query_is_near_to_what_it_asks_for(self, embedder: Embedder) -> None:
        with embedder.open() as session:
            vectors = _embedded(embedder, session, TEXTS[:3])
            query = session.embed_query("at night boats sail out of the harbour")
        assert len(query) == embedder.identity.dimensions
        if self.knows_words:
            near, _, far = (_cosine(query, vector) for vector in vectors)
            assert near > far

    def test_a_dag_file_can_hold_it(self, embedder: Embedder) -> None:
        """Its text has no address in it: a Dag that has not changed has one version. Names and identity cost no I/O."""
        assert " at 0x" not in stable_text(embedder)
        assert embedder.label
        assert str(embedder.identity) == str(embedder.identity)

    def test_tokens_are_counted(self, embedder: Embedder) -> None:
        """If at all: more for a longer text, and none for nothing."""
        if not isinstance(embedder, TokenizingEmbedder):
            pytest.skip("the tokens of this model cannot be counted here")
        none, one, three = embedder.count_tokens(["", "flour", "flour, water and salt"])
        assert none <= 2
        assert one < three


def _embedded(embedder: Embedder, session: EmbedderSession, texts: Sequence[str]) -> list[Vector]:
    """By as few requests as the limits allow."""
    most = embedder.limits.texts
    requests = [texts[start : start + most] for start in range(0, len(texts), most)]
    vectors = [vector for request in requests for vector in checked(session.embed(request), request, embedder)]
    assert not [vector for vector in vectors if isinstance(vector, str)]
    return cast("list[Vector]", vectors)


def _cosine(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (hypot(*one) * hypot(*other))

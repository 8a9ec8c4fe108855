"""Texts, the vectors that ``embedding_server`` has for them, and what becomes of texts on their way through an embedder."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from embedding_server import vector_of

from airflow_reindex_provider.core.embedding.embedder import Embedder
from airflow_reindex_provider.core.embedding.requests import Outcome, Requests

SOON_S = 60
TEXTS = [f"text {number}" for number in range(50)]
RIGHT = [array("f", vector_of(text)) for text in TEXTS]


def answers(model: Embedder, texts: Sequence[str], concurrency: int = 2) -> Sequence[Outcome]:
    """What becomes of each text by way of :class:`Requests`, as in a run."""
    with (
        model.open() as session,
        Requests(model, session, concurrency=concurrency, first_delay_s=0.01) as requests,
    ):
        return requests.submit(texts).result(SOON_S)

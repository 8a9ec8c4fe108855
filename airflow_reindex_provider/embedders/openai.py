"""OpenAI, and every server that speaks its API of embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.embedding.embedder import Answer, Identity, Limits, Vector
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.embedders.failures import named
from airflow_reindex_provider.embedders.hooks import connected, installed
from airflow_reindex_provider.embedders.hosted import HostedModel
from airflow_reindex_provider.embedders.sizes import require_sizes
from airflow_reindex_provider.embedders.vectors import vector_of, vector_of_base64

if TYPE_CHECKING:
    from openai import OpenAI

_DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
_SHORTENED = ("text-embedding-3-small", "text-embedding-3-large")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIEmbedder(HostedModel):
    """A model behind OpenAI's API of embeddings: OpenAI's own, or that of vLLM, Ollama, LM Studio, a gateway and many others.

    Needs ``pip install 'airflow-reindex-provider[openai]'``. The key and the address are those of an Airflow connection.

    :param conn_id: first. A connection of type OpenAI: the key as its password; as its host the address of another server than
        OpenAI's, such as ``http://models.internal:8000/v1``.
    :param model: its name there.
    :param dimensions: of a vector. Default: what OpenAI's models have; they make shorter vectors where fewer are asked for. Of
        another server's model it must be said, and is not sent: a server that can shorten vectors is asked in ``options``.
    :param document_prefix: put before each passage, such as ``"passage: "`` for E5.
    :param query_prefix: put before what a search asks.
    :param options: further parameters of each request, as the client's ``embeddings.create`` takes them, such as
        ``{"extra_body": {"input_type": "passage"}}``.
    :param query_options: those of a search's request. Default: ``options``.
    :param texts_per_request: at the most; default 128.
    :param tokens_per_request: of these together, as far as bytes tell; default 250,000.
    :param timeout_s: how long an answer may take before the request is sent again; default 60.
    """

    conn_id: str = field(kw_only=False)
    model: str
    dimensions: int = 0
    document_prefix: str = ""
    query_prefix: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    query_options: Mapping[str, Any] | None = None
    texts_per_request: int = 128
    tokens_per_request: int = 250_000
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        known = _DIMENSIONS.get(self.model)
        if not self.dimensions:
            if known is None:
                raise ConfigurationError(f"{self.label}: say how many dimensions its vectors have: dimensions=768.")
            object.__setattr__(self, "dimensions", known)
        elif known is not None and self.dimensions != known and not (self._shortens and self.dimensions < known):
            raise ConfigurationError(f"{self.label} has {known} dimensions, and cannot have {self.dimensions}.")
        require_sizes(self.label, self.dimensions, self.texts_per_request)

    @property
    def _shortens(self) -> bool:
        return self.model in _SHORTENED

    @property
    def identity(self) -> Identity:
        settings = {"prefix": self.document_prefix, "options": json.dumps(self.options, sort_keys=True, default=str)}
        given = {"prefix": bool(self.document_prefix), "options": bool(self.options)}
        return Identity(
            "openai",
            self.model,
            self.dimensions,
            tuple((name, value) for name, value in settings.items() if given[name]),
        )

    @property
    def limits(self) -> Limits:
        return Limits(self.texts_per_request, self.tokens_per_request)

    @contextmanager
    def open(self) -> Iterator[_Session]:
        with installed(self.label, "openai"):
            from airflow.providers.openai.hooks.openai import OpenAIHook
        with connected(self.label, self.conn_id, "an OpenAI"):
            client = OpenAIHook(conn_id=self.conn_id).conn
        # What is throttled is waited for by all requests together, which the client's own retries know nothing of.
        with client.with_options(max_retries=0, timeout=self.timeout_s) as patient:
            yield _Session(patient, self)


class _Session:
    """See :class:`~airflow_reindex_provider.core.embedding.embedder.EmbedderSession`."""

    def __init__(self, client: OpenAI, embedder: OpenAIEmbedder) -> None:
        self._client = client
        self._embedder = embedder

    def embed(self, texts: Sequence[str]) -> Answer:
        prefix = self._embedder.document_prefix
        return self._create([prefix + text for text in texts], self._embedder.options)

    def embed_query(self, text: str) -> Vector:
        embedder = self._embedder
        options = embedder.options if embedder.query_options is None else embedder.query_options
        return self._create([embedder.query_prefix + text], options).vectors[0]

    def _create(self, texts: list[str], options: Mapping[str, Any]) -> Answer:
        embedder, label = self._embedder, self._embedder.label
        shorter = embedder._shortens and embedder.dimensions != _DIMENSIONS[embedder.model]
        asked: dict[str, Any] = {
            "model": embedder.model,
            "input": texts,
            # A quarter of the size of numbers as text, and nothing is lost.
            "encoding_format": "base64",
            **({"dimensions": embedder.dimensions} if shorter else {}),
            **options,
        }
        with named(label):
            try:
                answer: Any = self._client.embeddings.create(**asked)
            except ValueError as error:
                raise TransientError(f"{label} answered something that is no JSON: {error}") from error
        items = {item.index: item.embedding for item in getattr(answer, "data", None) or ()}
        if items.keys() != set(range(len(texts))):
            raise TransientError(
                f"{label} answered vectors for {len(items)} of {len(texts)} texts. If it always does, what is at the address of"
                " the connection does not speak OpenAI's API."
            )
        vectors = [_vector(items[number], label) for number in range(len(texts))]
        usage = getattr(answer, "usage", None)
        return Answer(vectors, getattr(usage, "total_tokens", None))


def _vector(found: Any, label: str) -> Vector:
    return vector_of_base64(found) if isinstance(found, str) else vector_of(found, label)

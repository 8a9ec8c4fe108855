"""Amazon Bedrock: Titan's and Cohere's models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_reindex_provider.core.embedding.embedder import Answer, Vector
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.embedders.cohere import DOCUMENT, MOST_TEXTS, QUERY, require_truncate
from airflow_reindex_provider.embedders.failures import named
from airflow_reindex_provider.embedders.hooks import installed
from airflow_reindex_provider.embedders.hosted import TruncatingModel
from airflow_reindex_provider.embedders.sizes import dimensions_of, require_sizes, shortened
from airflow_reindex_provider.embedders.vectors import vectors_of

if TYPE_CHECKING:
    from botocore.client import BaseClient

_DIMENSIONS: dict[str, tuple[int, ...]] = {
    "amazon.titan-embed-text-v2": (1024, 512, 256),
    "amazon.titan-embed-text-v1": (1536,),
    "cohere.embed-v4": (1536, 1024, 512, 256),
    "cohere.embed-english-v3": (1024,),
    "cohere.embed-multilingual-v3": (1024,),
}
"""By the beginning of a model's name; the first is what it has where none is asked for."""
_FAMILY = re.compile(r"(?:^|[./])(?:amazon\.(titan)-embed-text|(cohere)\.embed)")
_CONNECTIONS = 32
"""That are kept open, for so many requests at a time."""
_TOKENS = "x-amzn-bedrock-input-token-count"
_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoAuthTokenError", "SSOError", "LoginError"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BedrockEmbedder(TruncatingModel):
    """A model of Amazon's (Titan Text Embeddings) or of Cohere's, at Amazon Bedrock.

    Needs ``pip install 'airflow-reindex-provider[bedrock]'``. Credentials and region are those of an Airflow connection. Titan
    takes one text a request, so ``Embed(concurrency=...)`` says how fast it goes; Cohere takes 96, and tells the two sides apart.

    :param conn_id: first. A connection of type Amazon Web Services. Where there is none of this name, what the worker runs as is
        taken, as everywhere in Amazon's provider.
    :param model: its id there, that of an inference profile, or the ARN of either.
    :param family: which models' requests it takes, ``titan`` or ``cohere``. Default: as the id says; of an ARN that does not name
        the model it must be said.
    :param dimensions: of a vector. Default: what the model has; Titan's second and Cohere's fourth make shorter vectors too.
    :param truncate: Cohere's: what becomes of a text that is longer than the model takes: ``NONE``, it is refused, and its
        document is parked; ``END`` or ``START``, that end of it is not embedded. Default: ``NONE``. Titan always refuses.
    :param region_name: Default: the connection's.
    :param texts_per_request: at the most. Default: all that the model takes, which is 96 or, for Titan, 1.
    :param timeout_s: how long an answer may take before the request is sent again; default 60.
    """

    PROVIDER: ClassVar[str] = "bedrock"

    conn_id: str = field(kw_only=False)
    model: str
    family: Literal["titan", "cohere"] | None = None
    dimensions: int = 0
    truncate: Literal["NONE", "START", "END"] = "NONE"
    region_name: str | None = None
    texts_per_request: int = 0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        family = self.family or _family_of(self.model)
        if family not in ("titan", "cohere"):
            raise ConfigurationError(
                f"{self.label}: say whether it takes requests as Titan does or as Cohere does: family='titan' or family='cohere'."
            )
        most = 1 if family == "titan" else MOST_TEXTS
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "dimensions", dimensions_of(self.label, self.dimensions, self._known))
        object.__setattr__(self, "texts_per_request", self.texts_per_request or most)
        require_sizes(self.label, self.dimensions, self.texts_per_request, most)
        require_truncate(self.label, self.truncate)
        if family == "titan" and self.truncate != "NONE":
            raise ConfigurationError(f"{self.label}: Titan refuses what is too long, and cannot truncate it.")

    @property
    def _known(self) -> tuple[int, ...] | None:
        return next((sizes for name, sizes in _DIMENSIONS.items() if name in self.model), None)

    @contextmanager
    def open(self) -> Iterator[_Session]:
        with installed(self.label, "bedrock"):
            from airflow.providers.amazon.aws.hooks.bedrock import BedrockRuntimeHook
            from botocore.config import Config
        hook = BedrockRuntimeHook(aws_conn_id=self.conn_id, region_name=self.region_name)
        patient = Config(
            # What is throttled is waited for by all requests together, which the client's own retries know nothing of.
            retries={"total_max_attempts": 1, "mode": "standard"},
            read_timeout=self.timeout_s,
            max_pool_connections=_CONNECTIONS,
        )
        with _credentials(self.label), named(self.label):
            client = hook.get_client_type(config=hook.config.merge(patient))
        try:
            yield _Session(client, self)
        finally:
            client.close()


class _Session:
    """See :class:`~airflow_reindex_provider.core.embedding.embedder.EmbedderSession`."""

    def __init__(self, client: BaseClient, embedder: BedrockEmbedder) -> None:
        self._client: Any = client
        self._embedder = embedder

    def embed(self, texts: Sequence[str]) -> Answer:
        return self._invoke(texts, DOCUMENT)

    def embed_query(self, text: str) -> Vector:
        return self._invoke([text], QUERY).vectors[0]

    def _invoke(self, texts: Sequence[str], side: str) -> Answer:
        embedder, label = self._embedder, self._embedder.label
        asked = _titan(embedder, texts) if embedder.family == "titan" else _cohere(embedder, texts, side)
        with _credentials(label), named(label):
            answer = self._client.invoke_model(
                modelId=embedder.model,
                body=json.dumps(asked),
                contentType="application/json",
                accept="application/json",
            )
            said = answer["body"].read()
        try:
            found = json.loads(said)
        except ValueError as error:
            raise TransientError(f"{label} answered something that is no JSON: {error}") from error
        tokens = answer["ResponseMetadata"]["HTTPHeaders"].get(_TOKENS, "")
        return Answer(vectors_of(_rows(found), texts, label), int(tokens) if tokens.isdigit() else None)


def _family_of(model: str) -> str | None:
    found = _FAMILY.search(model)
    return None if found is None else found[1] or found[2]


def _titan(embedder: BedrockEmbedder, texts: Sequence[str]) -> dict[str, Any]:
    (text,) = texts
    shorter = shortened(embedder.dimensions, embedder._known)
    return {"inputText": text, **({"dimensions": embedder.dimensions} if shorter else {})}


def _cohere(embedder: BedrockEmbedder, texts: Sequence[str], side: str) -> dict[str, Any]:
    shorter = shortened(embedder.dimensions, embedder._known)
    return {
        "texts": list(texts),
        "input_type": side,
        "truncate": embedder.truncate,
        "embedding_types": ["float"],
        **({"output_dimension": embedder.dimensions} if shorter else {}),
    }


def _rows(answer: Any) -> Sequence[Any]:
    """Titan's one vector, or Cohere's, which lie by their types where types were asked for."""
    if not isinstance(answer, Mapping):
        return ()
    if row := answer.get("embedding"):
        return (row,)
    rows = answer.get("embeddings")
    rows = rows.get("float") if isinstance(rows, Mapping) else rows
    return rows if isinstance(rows, list) else ()


@contextmanager
def _credentials(label: str) -> Iterator[None]:
    """:raises ConfigurationError: there are none, or no region, which botocore has found out before it asked anybody."""
    try:
        yield
    except Exception as error:
        names = {cls.__name__ for cls in type(error).__mro__}
        if "NoRegionError" in names:
            raise ConfigurationError(
                f"{label}: say region_name in the connection's extra, or in the embedder."
            ) from error
        if names.isdisjoint(_NO_CREDENTIALS):
            raise
        raise ConfigurationError(
            f"{label}: {str(error).rstrip('.')}. Add an Amazon Web Services connection with this id, or let the worker run as"
            " somebody who may ask Bedrock."
        ) from error

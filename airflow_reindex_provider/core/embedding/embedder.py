"""What a model must do to embed passages: the extension point of the folder ``embedders/``.

An embedder is a plain value that a Dag file makes without I/O. ``open()`` gives a session: one client, used by one task, by
several of its threads at once, closed at the end.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol, TypeAlias, runtime_checkable

Vector: TypeAlias = "array[float]"
"""``array("f")``: float32 in the machine's order of bytes, an object with a buffer, to be written as it is."""

HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class Identity:
    """All that changes the numbers of a vector. Vectors of different identities are never mixed in one index.

    :ivar settings: what else changes them, such as a prefix or a normalisation, as pairs of texts.
    """

    provider: str
    model: str
    dimensions: int
    settings: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """The same in every process, and different for different identities: what a generation is marked with."""
        return json.dumps([self.provider, self.model, self.dimensions, sorted(self.settings)], separators=(",", ":"))

    def hasher(self) -> Callable[[str], bytes]:
        """Makes the hash of a text under this identity, ``HASH_BYTES`` long: equal hash, equal vector.

        The splitter has no part in it: a passage that another splitter cuts alike has its vector already."""
        recipe = blake2b(str(self).encode() + b"\0", digest_size=HASH_BYTES)

        def hashed(text: str) -> bytes:
            digest = recipe.copy()
            digest.update(text.encode())
            return digest.digest()

        return hashed


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider takes.

    :ivar texts: in one request. :ivar tokens: of all texts of one request; None where there is no such limit.
    :ivar text_tokens: of one text; None where there is no such limit, or the model cuts off what is too long.
    """

    texts: int
    tokens: int | None = None
    text_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """To one request: a vector for each text, in the order of the texts. :ivar tokens: as the provider counts them for its bill;
    None where it does not say."""

    vectors: Sequence[Vector]
    tokens: int | None = None


class EmbedderSession(Protocol):
    """An open model. Both sides give vectors that can be compared with each other.

    :raises TextRefusedError: the request will never be answered for what is in one of its texts.
    :raises ThrottledError: the provider wants fewer requests, or later ones.
    :raises TransientError: it did not answer as it should.
    :raises ConfigurationError: no request can be answered, such as for a key that is not valid."""

    def embed(self, texts: Sequence[str]) -> Answer:
        """One request for passages of documents, within the limits. May be called by several threads at once."""

    def embed_query(self, text: str) -> Vector:
        """What a search asks with; another vector than a passage's where the model has two sides."""


class Embedder(Protocol):
    """What a Dag author names as the model."""

    @property
    def identity(self) -> Identity: ...

    @property
    def limits(self) -> Limits: ...

    def open(self) -> AbstractContextManager[EmbedderSession]: ...

    @property
    def label(self) -> str:
        """How messages name the model, connection included."""


@runtime_checkable
class TokenizingEmbedder(Embedder, Protocol):
    """A model whose tokens can be counted here, without a request."""

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """Of each text, as the model counts."""

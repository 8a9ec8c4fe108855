"""Sizes of vectors and of requests that an author may ask for."""

from __future__ import annotations

from airflow_reindex_provider.core.embedding.embedder import Limits
from airflow_reindex_provider.core.errors import ConfigurationError


class Sized:
    """A model that is asked for so many texts at once. A dataclass with this field."""

    __slots__ = ()

    texts_per_request: int

    @property
    def limits(self) -> Limits:
        return Limits(self.texts_per_request)


def require_sizes(label: str, dimensions: int, texts_per_request: int, most_texts: int | None = None) -> None:
    """:raises ConfigurationError: one of them is none, or more than the model takes."""
    if dimensions < 1 or texts_per_request < 1:
        raise ConfigurationError(f"{label}: dimensions and texts_per_request start at 1.")
    if most_texts is not None and texts_per_request > most_texts:
        raise ConfigurationError(
            f"{label} takes {most_texts} texts a request at the most, and not {texts_per_request}."
        )


def dimensions_of(label: str, asked: int, known: tuple[int, ...] | None) -> int:
    """:param asked: 0 for what the model has. :param known: all that it can have, that first.
    :raises ConfigurationError: it cannot have these, or nobody knows what it has."""
    if known is None:
        if not asked:
            raise ConfigurationError(f"{label}: say how many dimensions its vectors have: dimensions=1024.")
        return asked
    if asked and asked not in known:
        raise ConfigurationError(f"{label} has {' or '.join(map(str, known))} dimensions, and cannot have {asked}.")
    return asked or known[0]


def shortened(dimensions: int, known: tuple[int, ...] | None) -> bool:
    """Whether the model has to be asked for so many."""
    return known is not None and dimensions != known[0]

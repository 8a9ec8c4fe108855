"""What a model answered, looked at before anything is made of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from math import isfinite

from airflow_reindex_provider.core.embedding.embedder import Answer, Embedder, Vector
from airflow_reindex_provider.core.errors import ConfigurationError

_HIGHEST = 3 if sys.byteorder == "little" else 0
"""Of a float32, the byte with sign and most of the exponent."""
_AT_ONCE = 64
NOT_FINITE = "the model {label} gave a vector with NaN or infinity for it"
NOTHING = "the model {label} gave a vector of zeros for it, which is near to nothing and has no direction to compare"


def checked(answer: Answer, texts: Sequence[str], embedder: Embedder) -> list[Vector | str]:
    """For each text its vector, or why there is none that could be searched.

    :raises ConfigurationError: the vectors cannot be told apart, or are not what the embedder's identity says."""
    label = embedder.label
    if len(answer.vectors) != len(texts):
        raise ConfigurationError(
            f"{label} answered {len(answer.vectors)} vectors for {len(texts)} texts, so none can be told to belong to a text."
            " It must give one for each, in their order."
        )
    dimensions = embedder.identity.dimensions
    for vector in answer.vectors:
        if len(vector) != dimensions:
            raise ConfigurationError(
                f"{label} answered vectors of {len(vector)} dimensions, and the stream says {dimensions}. Set dimensions to what"
                " the model gives, then rebuild an index that was made with the other number."
            )
    # A look at many at once costs a fraction of one at each.
    parts = (answer.vectors[n : n + _AT_ONCE] for n in range(0, len(texts), _AT_ONCE))
    return [found for part in parts for found in _looked_at(part, label)]


def _looked_at(vectors: Sequence[Vector], label: str) -> Iterator[Vector | str]:
    # NaN, infinity and what is beyond 1.7e38 alone have such a byte in front. The sum, in double precision, tells them apart.
    highest = b"".join(vectors)[_HIGHEST::4]
    suspect = 0x7F in highest or 0xFF in highest
    for vector in vectors:
        if suspect and not isfinite(sum(vector)):
            yield NOT_FINITE.format(label=label)
        else:
            yield vector if any(vector) else NOTHING.format(label=label)

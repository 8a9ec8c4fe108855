"""What providers and functions give as a vector, made into one."""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.errors import ConfigurationError, TransientError


def vector_of(numbers: Any, label: str) -> Vector:
    """From a sequence of numbers, or an array of NumPy or alike, whose float32 are taken as they are.

    :raises ConfigurationError: it is neither; ``label`` names the model."""
    try:
        if getattr(numbers, "dtype", None) == "float32":
            vector = array("f")
            vector.frombytes(numbers.tobytes())
            return vector
        return array("f", numbers)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{label} gave {_kind(numbers)} where a vector should be: it must be a sequence of numbers ({error})."
        ) from error


def vectors_of(rows: Sequence[Any], texts: Sequence[str], label: str) -> list[Vector]:
    """Of an answer that has them in the order of the texts. :raises TransientError: they are not as many."""
    if len(rows) != len(texts):
        raise TransientError(f"{label} answered vectors for {len(rows)} of {len(texts)} texts.")
    return [vector_of(row, label) for row in rows]


def vector_of_base64(text: str) -> Vector:
    """Of float32, the lower byte first, as OpenAI's API gives it."""
    vector = array("f")
    vector.frombytes(b64decode(text))
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"

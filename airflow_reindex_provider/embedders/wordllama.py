"""A small model that runs in the task itself: WordLlama, whose weights come in its package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.core.embedding.embedder import Answer, Identity, Limits, Vector
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.embedders.hooks import installed
from airflow_reindex_provider.embedders.vectors import vector_of

if TYPE_CHECKING:
    from wordllama.inference import WordLlamaInference

_MODEL = "l2_supercat"
_DIMENSIONS = (64, 128, 256)
_PADDED_TEXTS = 16
"""That the model works on at once: it needs a vector for each of their tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordLlamaEmbedder:
    """The mean of the words' vectors, some thousand texts a second on one processor, with nothing to pay, to ask or to download.
    It knows what texts are about; it does not know the order of their words.

    Needs ``pip install 'airflow-reindex-provider[wordllama]'``. Vectors have length one.

    :param dimensions: of a vector: 64, 128 or 256.
    """

    dimensions: int = 256

    def __post_init__(self) -> None:
        if self.dimensions not in _DIMENSIONS:
            raise ConfigurationError(f"{self.label} has {', '.join(map(str, _DIMENSIONS))} dimensions.")

    @property
    def identity(self) -> Identity:
        return Identity("wordllama", _MODEL, self.dimensions)

    @property
    def limits(self) -> Limits:
        # A fifth of a second. Each request is handed from thread to thread, which the model waits for.
        return Limits(texts=512)

    @property
    def label(self) -> str:
        return f"WordLlama {_MODEL!r}"

    @contextmanager
    def open(self) -> Iterator[_Session]:
        yield _Session(self._loaded(), self.label)

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """See :class:`~airflow_reindex_provider.core.embedding.embedder.TokenizingEmbedder`."""
        return [sum(found.attention_mask) for found in self._loaded().tokenize(list(texts))]

    def _loaded(self) -> WordLlamaInference:
        with installed(self.label, "wordllama"):
            return _load(self.dimensions)


@lru_cache(maxsize=1)
def _load(dimensions: int) -> WordLlamaInference:
    import wordllama

    # Without these two it would look for its files elsewhere, and download them.
    here = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(_MODEL, cache_dir=here, trunc_dim=dimensions, disable_download=True)


class _Session:
    """See :class:`~airflow_reindex_provider.core.embedding.embedder.EmbedderSession`."""

    def __init__(self, model: WordLlamaInference, label: str) -> None:
        self._model = model
        self._label = label

    def embed(self, texts: Sequence[str]) -> Answer:
        rows: Any = self._model.embed(list(texts), batch_size=_PADDED_TEXTS)
        # By hand: the model's own way divides by zero for a text of which it knows no word.
        lengths = (rows * rows).sum(axis=1, keepdims=True) ** 0.5
        lengths[lengths == 0] = 1
        return Answer([vector_of(row, self._label) for row in rows / lengths])

    def embed_query(self, text: str) -> Vector:
        return self.embed([text]).vectors[0]

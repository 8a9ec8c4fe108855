"""A model's answers are looked at before anything is made of them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from contextlib import AbstractContextManager

import pytest

from airflow_reindex_provider.core.embedding.answers import checked
from airflow_reindex_provider.core.embedding.embedder import Answer, EmbedderSession, Identity, Limits
from airflow_reindex_provider.core.errors import ConfigurationError


class Model:
    identity = Identity("test", "letters", 3)
    limits = Limits(10)
    label = "model 'letters'"

    def open(self) -> AbstractContextManager[EmbedderSession]:
        raise NotImplementedError


def answered(*vectors: Sequence[float]) -> Answer:
    return Answer([array("f", vector) for vector in vectors])


def test_good_vectors_come_as_they_are() -> None:
    answer = answered((1, 0, 0), (1e-30, 0, 0), (3e38, 3e38, 3e38), (-3e38, -1, 0))
    assert checked(answer, ["a", "b", "c", "d"], Model()) == list(answer.vectors)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_or_too_many_vectors_belong_to_no_text(count: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"'letters' answered {count} vectors for 2 texts"):
        checked(answered(*[(1, 0, 0)] * count), ["a", "b"], Model())


@pytest.mark.parametrize("vector", [(), (1, 0), (1, 0, 0, 0)])
def test_vectors_of_another_width_are_said(vector: Sequence[float]) -> None:
    with pytest.raises(ConfigurationError, match=rf"{len(vector)} dimensions, and the stream says 3"):
        checked(answered((1, 0, 0), vector), ["a", "b"], Model())


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_numbers_that_are_none_are_said_of_their_text(number: float) -> None:
    """Also those that are too large for float32. The other texts of the request have their vectors."""
    good, bad = checked(answered((1, 0, 0), (1, number, 0)), ["a", "b"], Model())
    assert good == array("f", (1, 0, 0))
    assert "NaN or infinity" in bad
    assert "'letters'" in bad


def test_a_vector_of_zeros_is_said_of_its_text() -> None:
    good, bad = checked(answered((0, 0, 1), (0, -0.0, 0)), ["a", "b"], Model())
    assert good == array("f", (0, 0, 1))
    assert "zeros" in bad

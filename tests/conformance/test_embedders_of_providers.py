"""Providers with APIs of their own, by way of their official hooks and clients, over real HTTP: as they are, and as they fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from embedders_under_test import RIGHT, TEXTS, answers
from embedding_server import DIMENSIONS, MODEL, EmbeddingServer, Fault

from airflow_reindex_provider.core.embedding.embedder import Embedder
from airflow_reindex_provider.core.errors import ConfigurationError, TextRefusedError, TransientError
from airflow_reindex_provider.embedders.cohere import CohereEmbedder
from airflow_reindex_provider.testing.embedder_conformance import EmbedderConformance

pytestmark = pytest.mark.versions

SECRET = "sk-of-a-test"


@dataclass(frozen=True)
class Provider:
    """:ivar make: its embedder, with what is to be other than usual. :ivar connection: the Airflow connection with an address.
    :ivar texts: in a request at the most. :ivar throttled: how it says that, with a number of seconds."""

    make: Callable[..., Any]
    connection: Callable[[str], dict[str, Any]]
    texts: int
    throttled: Callable[[int], Fault]


def _cohere(**arguments: Any) -> CohereEmbedder:
    return CohereEmbedder(**{"conn_id": "models", "model": MODEL, "dimensions": DIMENSIONS, **arguments})


def _cohere_connection(address: str) -> dict[str, Any]:
    return {"conn_type": "cohere", "password": SECRET, "host": address}


def _retry_after(seconds: int) -> Fault:
    return {"status": 429, "headers": {"Retry-After": str(seconds)}}


PROVIDERS = {
    "cohere": Provider(_cohere, _cohere_connection, 96, _retry_after),
}


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Provider:
    return PROVIDERS[request.param]


@pytest.fixture
def server(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(provider.connection(server.address)))
        yield server


class TestProviders(EmbedderConformance):
    knows_words = False

    @pytest.fixture
    def embedder(self, server: EmbeddingServer, provider: Provider) -> Embedder:
        return provider.make()


def test_all_is_well(server: EmbeddingServer, provider: Provider) -> None:
    """Requests are as full as the provider takes, the key of the connection is sent, and what is billed is known."""
    assert answers(provider.make(), TEXTS * 3) == RIGHT * 3
    assert len(server.requests) == -(-len(TEXTS) * 3 // provider.texts)
    assert len(server.keys) == 1
    with provider.make().open() as session:
        assert session.embed(TEXTS[:1]).tokens == 2


def test_what_is_throttled_is_waited_for(server: EmbeddingServer, provider: Provider) -> None:
    """By all requests, as long as the provider says; no try is lost, and no request gets smaller."""
    server.faults.extend([provider.throttled(1)] * 5)
    started = datetime.now(UTC)
    assert answers(provider.make(), TEXTS) == RIGHT
    assert (datetime.now(UTC) - started).total_seconds() >= 1


def test_a_text_that_is_too_long_is_the_only_one_refused(server: EmbeddingServer, provider: Provider) -> None:
    server.refuse = lambda texts: "text 7" in texts
    found = answers(provider.make(), TEXTS)
    assert isinstance(found[7], TextRefusedError)
    assert "model 'letters' of connection 'models' answered 400: " in str(found[7])
    assert [f for n, f in enumerate(found) if n != 7] == [r for n, r in enumerate(RIGHT) if n != 7]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503},
        {"hang_up": True},
        {"cut": True},
        {"body": '{"embeddings": [[0.1'},
        {"body": "<html>busy</html>"},
        {"body": "[]"},
        {"body": "{}"},
        {"items": 0},
    ],
    ids=["500", "503", "hang-up", "half the bytes", "half the JSON", "no JSON", "a list", "nothing", "no vectors"],
)
def test_what_is_not_answered_in_whole_is_sent_again(server: EmbeddingServer, provider: Provider, fault: Fault) -> None:
    """Once in a while nobody notices; where it goes on, it is the task's turn."""
    server.faults.extend([fault] * 3)
    assert answers(provider.make(), TEXTS) == RIGHT
    server.faults.extend([fault] * 200)
    found = answers(provider.make(), TEXTS)
    assert {type(answer) for answer in found} == {TransientError}
    assert "model 'letters' of connection 'models'" in str(found[0])
    assert SECRET not in str(found[0])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 401}, "Mend the credentials"),
        ({"status": 403}, "Mend the credentials"),
        ({"status": 404}, "Mend the model's name"),
        ({"width": 4}, "4 dimensions, and the stream says 8"),
    ],
)
def test_what_no_retry_helps_is_said_at_once(
    server: EmbeddingServer, provider: Provider, fault: Fault, said: str
) -> None:
    server.faults.append(fault)
    found = answers(provider.make(), TEXTS, concurrency=1)
    assert {type(answer) for answer in found} == {ConfigurationError}
    assert said in str(found[0])
    assert SECRET not in str(found[0])
    assert len(server.requests) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_vector_that_is_none_is_its_texts(server: EmbeddingServer, provider: Provider, value: float) -> None:
    server.faults.append({"value": value})
    found = answers(provider.make(texts_per_request=1), TEXTS[:3], concurrency=1)
    assert isinstance(found[0], TextRefusedError)
    assert found[1:] == RIGHT[1:3]


def test_an_address_where_nobody_listens(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(provider.connection("http://127.0.0.1:1")))
    (found,) = answers(provider.make(), ["text"])
    assert isinstance(found, TransientError)
    assert "did not answer" in str(found)


# -- Cohere's own


@pytest.fixture
def cohere(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(_cohere_connection(server.address)))
        yield server


def test_cohere_is_told_which_side_it_is_and_that_nothing_may_be_cut_off(cohere: EmbeddingServer) -> None:
    with CohereEmbedder("models", model="embed-v4.0", dimensions=256, truncate="END").open() as session:
        session.embed(["a"])
        session.embed_query("b")
    with CohereEmbedder("models", model="embed-v4.0").open() as session:
        session.embed(["a"])
    document, query, plain = cohere.requests
    assert (document["input_type"], document["texts"], document["truncate"]) == ("search_document", ["a"], "END")
    assert (query["input_type"], query["texts"]) == ("search_query", ["b"])
    assert document["output_dimension"] == query["output_dimension"] == 256
    assert (plain["truncate"], "output_dimension" in plain) == ("NONE", False)
    assert cohere.keys == {f"Bearer {SECRET}"}


def test_coheres_own_models_are_known() -> None:
    assert CohereEmbedder("c", model="embed-v4.0").dimensions == 1536
    assert CohereEmbedder("c", model="embed-multilingual-light-v3.0").dimensions == 384
    for wrong, said in (
        ({"model": "embed-v4.0", "dimensions": 257}, "1536 or 1024 or 512 or 256 dimensions"),
        ({"model": "embed-english-v3.0", "dimensions": 512}, "cannot have 512"),
        ({"model": "mine"}, "say how many dimensions"),
        ({"model": "embed-v4.0", "texts_per_request": 97}, "96 texts a request at the most"),
        ({"model": "embed-v4.0", "truncate": "MIDDLE"}, "truncate is NONE, START or END"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            CohereEmbedder("c", **wrong)  # type: ignore[arg-type]  # of several types


def test_what_changes_coheres_numbers_is_in_the_identity() -> None:
    plain = _cohere().identity
    assert plain == _cohere(conn_id="other", texts_per_request=1, timeout_s=1).identity
    for changed in ({"truncate": "END"}, {"truncate": "START"}, {"dimensions": 9}, {"model": "x"}):
        assert str(_cohere(**changed).identity) != str(plain)


def test_a_connection_to_cohere_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="add a Cohere connection"), _cohere(conn_id="missing").open():
        pass

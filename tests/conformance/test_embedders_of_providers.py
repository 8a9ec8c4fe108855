"""Providers with APIs of their own, by way of their official hooks and clients, over real HTTP: as they are, and as they fail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from embedders_under_test import RIGHT, TEXTS, answers
from embedding_server import DIMENSIONS, MODEL, EmbeddingServer, Fault

from airflow_reindex_provider.core.embedding.embedder import Embedder
from airflow_reindex_provider.core.errors import ConfigurationError, TextRefusedError, TransientError
from airflow_reindex_provider.embedders.bedrock import BedrockEmbedder
from airflow_reindex_provider.embedders.cohere import CohereEmbedder
from airflow_reindex_provider.testing.embedder_conformance import EmbedderConformance

pytestmark = pytest.mark.versions

SECRET = "sk-of-a-test"


@dataclass(frozen=True)
class Provider:
    """:ivar make: its embedder, with what is to be other than usual. :ivar connection: the Airflow connection with an address.
    :ivar texts: in a request at the most. :ivar key: what is sent to say who asks."""

    make: Callable[..., Any]
    connection: Callable[[str], dict[str, Any]]
    texts: int
    key: str


def _cohere(**arguments: Any) -> CohereEmbedder:
    return CohereEmbedder(**{"conn_id": "models", "model": MODEL, "dimensions": DIMENSIONS, **arguments})


def _cohere_connection(address: str) -> dict[str, Any]:
    return {"conn_type": "cohere", "password": SECRET, "host": address}


def _bedrock(**arguments: Any) -> BedrockEmbedder:
    return BedrockEmbedder(**{"conn_id": "models", "model": MODEL, "dimensions": DIMENSIONS, **arguments})


def _aws_connection(address: str) -> dict[str, Any]:
    endpoint = {"bedrock-runtime": {"endpoint_url": address}}
    extra = {"region_name": "eu-central-1", "service_config": endpoint}
    return {"conn_type": "aws", "login": "AKIAOFATEST", "password": SECRET, "extra": extra}


PROVIDERS = {
    "cohere": Provider(_cohere, _cohere_connection, 96, f"Bearer {SECRET}"),
    "titan": Provider(partial(_bedrock, family="titan"), _aws_connection, 1, "Credential=AKIAOFATEST/"),
    "cohere at amazon": Provider(partial(_bedrock, family="cohere"), _aws_connection, 96, "Credential=AKIAOFATEST/"),
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
    assert all(provider.key in key for key in server.keys)
    with provider.make().open() as session:
        assert session.embed(TEXTS[:1]).tokens == 2


@pytest.mark.parametrize("headers", [{"Retry-After": "0.2"}, {}], ids=["so long", "not said"])
def test_what_is_throttled_is_waited_for(server: EmbeddingServer, provider: Provider, headers: dict[str, str]) -> None:
    """By all requests, as long as the provider says; more often than there are tries, and no request gets smaller."""
    server.faults.extend([{"status": 429, "headers": headers}] * 5)
    started = datetime.now(UTC)
    assert answers(provider.make(), TEXTS, concurrency=1) == RIGHT
    assert (datetime.now(UTC) - started).total_seconds() >= (1 if headers else 0)
    assert len(server.requests) == 5 + -(-len(TEXTS) // provider.texts)


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
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"model": "embed-v4.0", "dimensions": 257}, "1536 or 1024 or 512 or 256 dimensions"),
        ({"model": "embed-english-v3.0", "dimensions": 512}, "cannot have 512"),
        ({"model": "mine"}, "say how many dimensions"),
        ({"model": "embed-v4.0", "texts_per_request": 97}, "96 texts a request at the most"),
        ({"model": "embed-v4.0", "truncate": "MIDDLE"}, "truncate is NONE, START or END"),
    )
    for wrong, said in refused:
        with pytest.raises(ConfigurationError, match=said):
            CohereEmbedder("c", **wrong)


def test_what_changes_coheres_numbers_is_in_the_identity() -> None:
    plain = _cohere().identity
    assert plain == _cohere(conn_id="other", texts_per_request=1, timeout_s=1).identity
    for changed in ({"truncate": "END"}, {"truncate": "START"}, {"dimensions": 9}, {"model": "x"}):
        assert str(_cohere(**changed).identity) != str(plain)


def test_a_connection_to_cohere_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="add a Cohere connection"), _cohere(conn_id="missing").open():
        pass


# -- Amazon's own


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(_aws_connection(server.address)))
        yield server


def test_titan_is_asked_for_one_text_and_cohere_for_many(amazon: EmbeddingServer) -> None:
    for model in (
        BedrockEmbedder("models", model="amazon.titan-embed-text-v2:0", dimensions=256),
        BedrockEmbedder("models", model="eu.cohere.embed-v4:0", dimensions=512, truncate="END"),
        BedrockEmbedder("models", model="cohere.embed-multilingual-v3"),
    ):
        with model.open() as session:
            session.embed(["a"])
            session.embed_query("b")
    titan, titans_query, fourth, fourths_query, third, _ = amazon.requests
    assert titan == {"inputText": "a", "dimensions": 256}
    assert titans_query == {"inputText": "b", "dimensions": 256}
    cohere = {"embedding_types": ["float"], "truncate": "END", "output_dimension": 512}
    assert fourth == {"texts": ["a"], "input_type": "search_document", **cohere}
    assert fourths_query == {"texts": ["b"], "input_type": "search_query", **cohere}
    assert (third["truncate"], "output_dimension" in third) == ("NONE", False)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 400, "error": {"message": "The provided model identifier is invalid."}}, "change the embedder"),
        ({"status": 400, "error": {"message": "Invocation with on-demand throughput isn't supported."}}, "change the"),
        ({"status": 400, "headers": {"x-amzn-errortype": "ServiceQuotaExceededException"}}, "waiting does not help"),
    ],
)
def test_what_is_wrong_with_every_request_to_amazon_parks_nothing(
    amazon: EmbeddingServer, fault: Fault, said: str
) -> None:
    amazon.faults.append(fault)
    found = answers(_bedrock(family="titan"), TEXTS, concurrency=1)
    assert {type(answer) for answer in found} == {ConfigurationError}
    assert said in str(found[0])


def test_a_model_of_amazons_that_fails_once(amazon: EmbeddingServer) -> None:
    amazon.faults.append({"status": 424})
    assert answers(_bedrock(family="titan"), TEXTS) == RIGHT


def test_amazons_models_are_known() -> None:
    def made(model: str, **arguments: Any) -> tuple[str | None, int, int]:
        made = BedrockEmbedder("c", model=model, **arguments)
        return made.family, made.dimensions, made.texts_per_request

    assert made("amazon.titan-embed-text-v2:0") == ("titan", 1024, 1)
    assert made("amazon.titan-embed-text-v1") == ("titan", 1536, 1)
    assert made("us.cohere.embed-v4:0", dimensions=256) == ("cohere", 256, 96)
    assert made("arn:aws:bedrock:eu-west-1::foundation-model/cohere.embed-english-v3") == ("cohere", 1024, 96)
    profile = "arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc"
    assert made(profile, family="titan", dimensions=512) == ("titan", 512, 1)
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"model": profile}, "family='titan' or family='cohere'"),
        ({"model": profile, "family": "cohere"}, "say how many dimensions"),
        ({"model": "amazon.titan-embed-text-v2:0", "dimensions": 1025}, "cannot have 1025"),
        ({"model": "amazon.titan-embed-text-v2:0", "texts_per_request": 2}, "1 texts a request"),
        ({"model": "amazon.titan-embed-text-v2:0", "truncate": "END"}, "cannot truncate"),
        ({"model": "cohere.embed-v4:0", "texts_per_request": 97}, "96 texts a request"),
    )
    for arguments, said in refused:
        with pytest.raises(ConfigurationError, match=said):
            BedrockEmbedder("c", **arguments)


def test_what_changes_amazons_numbers_is_in_the_identity() -> None:
    plain = _bedrock(family="cohere").identity
    assert plain == _bedrock(family="cohere", conn_id="other", region_name="us-east-1", texts_per_request=1).identity
    for changed in ({"truncate": "END"}, {"dimensions": 9}, {"model": "x"}):
        assert str(_bedrock(**{"family": "cohere", **changed}).identity) != str(plain)


def test_nobody_to_ask_amazon_as(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No connection, and a worker that runs as nobody."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="say region_name"), _bedrock(family="titan").open():
        pass
    with (
        _bedrock(family="titan", region_name="eu-central-1").open() as session,
        pytest.raises(ConfigurationError, match="Add an Amazon Web Services connection"),
    ):
        session.embed(["a"])

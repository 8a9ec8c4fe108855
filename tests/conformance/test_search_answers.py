"""What the search targets make of answers that hurt: both clients, and a stand-in for the engine that gives them on demand."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest
from stand_in_engine import Reply, Request, StandIn, about, error, stand_in, success

from airflow_reindex_provider.core.errors import ConfigurationError, TransientError
from airflow_reindex_provider.core.model import Chunk, Counts, Format, Position, WriteResult
from airflow_reindex_provider.core.observing import Traffic
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search.engine import Calls
from airflow_reindex_provider.targets.search.pace import FIRST_BYTES, LEAST_BYTES, MOST_BYTES
from airflow_reindex_provider.targets.search.target import SearchTarget
from airflow_reindex_provider.targets.search.writer import LARGE_BYTES, MOST_HELD_BYTES, SearchWriter
from airflow_reindex_provider.testing.target_conformance import text_schema

pytestmark = pytest.mark.versions

TARGETS = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}


@pytest.fixture(params=["opensearch", "elasticsearch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with stand_in(request.param) as engine:
        connection = {"conn_type": engine.product, "host": "127.0.0.1", "port": engine.port}
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", json.dumps(connection))
        yield engine


class Clock:
    """Time that passes only while somebody waits, or as a test says."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def target(engine: StandIn) -> SearchTarget:
    return TARGETS[engine.product]("engine", index="things", timeout_s=0.5)


@pytest.fixture
def writer(target: SearchTarget, clock: Clock) -> Iterator[SearchWriter]:
    with target.connect() as client:
        yield make_writer(client, target, clock)


def make_writer(client: Any, target: SearchTarget, clock: Clock, *, compress: bool = False) -> SearchWriter:
    return SearchWriter(
        Calls(client, target.label, "engine", target.privileges),
        "/things_20260101t000000_write/_bulk",
        schema=text_schema(),
        gone="generation 'things_20260101t000000' is gone",
        compress=compress,
        timeout_s=target.timeout_s,
        clock=lambda: clock.now,
        wait=clock.wait,
    )


def document(id: str, text: str = "x", version: int = 1) -> bytes:
    action = {"index": {"_id": id, "version": version, "version_type": "external_gte"}}
    return f"{json.dumps(action, separators=(',', ':'))}\n{json.dumps({'id': id, 'body': text})}\n".encode()


def deletion(id: str) -> bytes:
    action = {"delete": {"_id": id, "version": 1, "version_type": "external_gte"}}
    return json.dumps(action, separators=(",", ":")).encode() + b"\n"


def chunk(*pieces: bytes) -> Chunk:
    return Chunk(Position("1"), Format.BULK, list(pieces))


def script(engine: StandIn, *replies: Reply | None) -> None:
    """These answers in turn, then the good ones; None is a good one."""
    left = list(replies)
    engine.script = lambda request: left.pop(0) if left and "_bulk" in request.path else None


def refused(kind: str, status: int) -> dict[str, Any]:
    return {"status": status, "error": {"type": kind, "reason": f"{kind} it is"}}


BUSY = error("es_rejected_execution_exception", "queue is full", 429)


# -- what goes over the wire


def test_a_body_is_what_the_source_wrote(engine: StandIn, writer: SearchWriter):
    """Pieces travel as they are, together in one body, and name the generation's alias, which must be there."""
    result = writer.write(chunk(document("1") + document("2"), deletion("3")))

    (request,) = engine.requests
    assert request.body == document("1") + document("2") + deletion("3")
    assert request.path.startswith("/things_20260101t000000_write/_bulk?require_alias=true&")
    assert "ndjson" in request.headers["content-type"]
    assert result == WriteResult(Counts(created=2, deleted=1))


def test_compressed_bodies(engine: StandIn, target: SearchTarget, clock: Clock):
    """With compression, the same documents arrive as gzip, and are far fewer bytes."""
    documents = [document(str(n), "words " * 100) for n in range(100)]
    with target.connect() as client:
        written = make_writer(client, target, clock, compress=True)
        written.write(chunk(*documents))

    (request,) = engine.requests
    assert request.headers["content-encoding"] == "gzip"
    assert request.body == b"".join(documents)
    assert int(request.headers["content-length"]) < len(request.body) / 10
    assert written.traffic == Traffic(int(request.headers["content-length"]))


def test_bodies_grow_while_time_is_flat(engine: StandIn, writer: SearchWriter):
    """Starting with 1 MiB, bodies double up to 16 MiB, and none is cut within a document."""
    pieces = [document(str(n), "y" * 100_000) for n in range(500)]
    assert writer.write(chunk(*pieces)).counts == Counts(created=500)

    sizes = [len(request.body) for request in engine.requests]
    assert sizes[0] <= FIRST_BYTES < sizes[1] <= 2 * FIRST_BYTES < sizes[2] <= 4 * FIRST_BYTES < sizes[3]
    assert max(sizes) <= MOST_BYTES == writer.pace.body_bytes
    assert [id for request in engine.requests for id in request.ids] == [str(n) for n in range(500)]


def test_a_chunk_is_held_until_it_is_wanted(engine: StandIn, writer: SearchWriter):
    """Staging has no effect on the index; what it returns sends the chunk, whose payload is used up by then."""
    payload = iter([document("1")])
    send = writer.stage(Chunk(Position("1"), Format.BULK, payload))
    assert list(payload) == []
    assert engine.requests == []

    assert send() == WriteResult(Counts(created=1))


# -- an engine under pressure


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_engine_is_given_time(
    engine: StandIn, writer: SearchWriter, clock: Clock, status: int, caplog: pytest.LogCaptureFixture
):
    """Growing pauses, smaller bodies, and one line in the log; then all documents are in, once."""
    script(engine, *[Reply(status, BUSY)] * 5)
    with caplog.at_level(logging.WARNING, logger="airflow_reindex_provider"):
        result = writer.write(chunk(*(document(str(n), "z" * 1000) for n in range(500))))

    assert result == WriteResult(Counts(created=500))
    sizes = [len(request.body) for request in engine.requests[:6]]
    assert all(after <= before * 0.8 for before, after in pairwise(sizes) if after > LEAST_BYTES)
    assert all(0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(clock.waits))
    assert len(clock.waits) == 5
    assert (writer.traffic.push_backs, writer.traffic.paused_s) == (5, pytest.approx(sum(clock.waits)))
    assert writer.traffic.bytes == sum(len(request.body) for request in engine.requests)
    (line,) = [r.getMessage() for r in caplog.records if "pushes back" in r.getMessage()][:1]
    assert str(status) in line
    assert "queue is full" in line


def test_bodies_grow_again_after_pressure(engine: StandIn, writer: SearchWriter):
    """A short peak does not keep bodies small for good."""
    script(engine, *[Reply(429, BUSY)] * 6)
    writer.write(chunk(*(document(str(n), "z" * 10_000) for n in range(2000))))

    sizes = [len(request.body) for request in engine.requests]
    assert min(sizes[:7]) < FIRST_BYTES / 20
    assert max(sizes[7:]) > FIRST_BYTES


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(engine: StandIn, writer: SearchWriter, clock: Clock, form: str):
    """A pause that the engine asks for, in either form of the header, is kept in full, also when it is a long one."""
    wanted = "40" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=41), usegmt=True)
    script(engine, Reply(429, BUSY, {"retry-after": wanted}))
    writer.write(chunk(document("1")))

    assert 39 <= sum(clock.waits) <= 42
    assert max(clock.waits) <= 30


def test_only_what_found_no_room_is_sent_again(engine: StandIn, writer: SearchWriter, clock: Clock):
    """Of a body that was taken in part, the rest goes again, and nothing is counted twice."""
    documents = [document(str(n)) for n in range(6)] + [deletion("gone")]
    busy = refused("es_rejected_execution_exception", 429)

    def answer(request: Request) -> Reply | None:
        left = {1: {"1": busy, "4": busy, "gone": busy}, 2: {"4": {**busy, "status": 503}}}.get(
            len(engine.requests), {}
        )
        return Reply(json=success(request, **left))

    engine.script = lambda request: answer(request) if "_bulk" in request.path else None
    result = writer.write(chunk(*documents))

    assert [r.ids for r in engine.requests] == [["0", "1", "2", "3", "4", "5", "gone"], ["1", "4", "gone"], ["4"]]
    assert engine.requests[1].body == document("1") + document("4") + deletion("gone")
    assert result == WriteResult(Counts(created=6, deleted=1))
    assert len(clock.waits) == 2


def test_patience_ends(engine: StandIn, writer: SearchWriter, clock: Clock):
    """After five minutes without room the task fails, worth a retry; the error names the engine's reason."""
    engine.script = lambda request: Reply(429, BUSY) if "_bulk" in request.path else None
    with pytest.raises(TransientError, match="queue is full"):
        writer.write(chunk(document("1")))

    assert 300 <= clock.now - 1000 <= 345
    assert max(clock.waits) <= 30


def pressed(operation: str, size: int, most: int = 50_000) -> dict[str, Any]:
    """What both engines say of what is more than their limit for all that is indexed at once."""
    reason = (
        f"rejected execution of {operation} operation [coordinating_and_primary_bytes=0, replica_bytes=0, all_bytes=0,"
        f" {operation}_operation_bytes={size}, max_{operation}_bytes={most}]"
    )
    return error("es_rejected_execution_exception", reason, 429)


@pytest.mark.parametrize("answered", ["body", "document"])
def test_what_the_engine_can_never_take_is_parked(engine: StandIn, writer: SearchWriter, clock: Clock, answered: str):
    """A 429 that names a limit below what was sent: bodies are halved at once, a single document is parked with the setting;
    nothing waits, and all others are in."""

    def limit(request: Request) -> Reply | None:
        if "_bulk" not in request.path or len(request.body) <= 50_000:
            return None
        pressure = pressed("coordinating" if answered == "body" else "primary", len(request.body))
        if answered == "body":
            return Reply(429, pressure)
        return Reply(json=success(request, **{id: {"status": 429, "error": pressure["error"]} for id in request.ids}))

    engine.script = limit
    documents = [document(str(n), "w" * 1000) for n in range(100)]
    result = writer.write(chunk(*documents[:50], document("huge", "w" * 60_000), b"".join(documents[50:])))

    assert result.counts == Counts(created=100, failures=1)
    (rejection,) = result.rejected
    assert rejection.key == ("huge",)
    assert "60," in rejection.reason
    assert "indexing_pressure.memory.limit" in rejection.reason
    assert clock.waits == []


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(429, error("circuit_breaking_exception", "[parent] Data too large", 429)),
        Reply(503, error("unavailable", "no room", 503)),
        Reply(hang_up=True),
    ],
    ids=["429", "503", "no answer"],
)
def test_what_the_engine_does_not_take_is_parked_after_the_others(
    engine: StandIn, writer: SearchWriter, trouble: Reply
):
    """A large document that is refused for as long as patience lasts, by an engine that answers otherwise: the others went
    through first, and a second one of the kind needs no patience of its own."""
    huge = {"huge", "vast"}
    engine.script = lambda request: trouble if "_bulk" in request.path and huge & set(request.ids) else None
    large = "w" * LARGE_BYTES
    result = writer.write(chunk(document("huge", large), document("vast", large), document("1"), document("2")))

    assert result.counts == Counts(created=2, failures=2)
    assert {r.key for r in result.rejected} == {("huge",), ("vast",)}
    assert all(f"{LARGE_BYTES // 1000:,}"[:3] in r.reason for r in result.rejected)
    assert sum(1 for request in engine.requests if huge & set(request.ids)) < 60


@pytest.mark.parametrize(("size", "answers"), [(1000, True), (LARGE_BYTES, False)], ids=["small", "engine is not well"])
def test_patience_ends_without_parking(engine: StandIn, writer: SearchWriter, size: int, answers: bool):
    """A small document, or an engine that answers nothing else either: that is the engine's trouble, not the document's."""
    engine.script = lambda request: None if answers and "_bulk" not in request.path else Reply(429, BUSY)
    with pytest.raises(TransientError, match="queue is full"):
        writer.write(chunk(document("1", "w" * size)))


def test_what_is_held_is_bounded_by_bytes(engine: StandIn, writer: SearchWriter):
    """Chunks that are staged and not answered hold so many bytes together, however many they are and however wide their rows;
    what comes beyond is sent while it is read."""
    sends = []
    for number in range(6):
        rows = (document(f"{number}-{n}", "w" * 1_000_000) for n in range(10))
        sends.append(writer.stage(Chunk(Position(str(number)), Format.BULK, rows)))
    sent = sum(len(request.body) for request in engine.requests)

    assert 60_000_000 - sent < MOST_HELD_BYTES + MOST_BYTES
    results = [send() for send in sends]
    assert sum(r.counts.created for r in results) == 60
    assert sorted(id for request in engine.requests for id in request.ids) == sorted(
        f"{number}-{n}" for number in range(6) for n in range(10)
    )


def test_a_stopped_task_does_not_wait(engine: StandIn, target: SearchTarget):
    """Whoever waits for a busy engine gives up at once when the writer is stopped."""
    asked = threading.Event()

    def busy(request: Request) -> Reply | None:
        if "_bulk" not in request.path:
            return None
        asked.set()
        return Reply(429, BUSY, {"retry-after": "3600"})

    engine.script = busy
    with target.connect() as client:
        writer = SearchWriter(
            Calls(client, target.label, "engine", target.privileges),
            "/things_write/_bulk",
            schema=text_schema(),
            gone="gone",
            compress=False,
            timeout_s=5,
        )
        threading.Thread(target=lambda: (asked.wait(), writer.stop())).start()
        with pytest.raises(TransientError, match="stopped"):
            writer.write(chunk(document("1")))


# -- bodies and documents that are refused


def test_a_body_that_is_too_large_is_split(engine: StandIn, writer: SearchWriter, clock: Clock):
    """413 halves the body until it fits, within a piece too; nothing waits."""

    def limit(request: Request) -> Reply | None:
        return Reply(413, {"error": "too large"}) if len(request.body) > 50_000 else None

    engine.script = limit
    documents = [document(str(n), "w" * 1000) for n in range(300)]
    result = writer.write(chunk(b"".join(documents[:200]), *documents[200:]))

    assert result == WriteResult(Counts(created=300))
    taken = [request for request in engine.requests if len(request.body) <= 50_000]
    assert [id for request in taken for id in request.ids] == [str(n) for n in range(300)]
    assert clock.waits == []


def test_a_document_that_is_too_large_is_parked(engine: StandIn, writer: SearchWriter):
    """A single document over the engine's limit is named with its size; the others go in."""
    engine.script = lambda request: Reply(413, {"error": "too large"}) if len(request.body) > 5_000 else None
    result = writer.write(chunk(document("1"), document("huge", "w" * 10_000), document("2")))

    assert result.counts == Counts(created=2, failures=1)
    (rejection,) = result.rejected
    assert rejection.key == ("huge",)
    assert "10," in rejection.reason
    assert "http.max_content_length" in rejection.reason


def test_a_document_that_poisons_its_body_is_parked(engine: StandIn, writer: SearchWriter):
    """A 400 for the whole body says nothing of the document: it is found, and the rest goes in."""

    def poison(request: Request) -> Reply | None:
        bad = {"17", "80"} & set(request.ids) if "_bulk" in request.path else set()
        return Reply(400, error("action_request_validation_exception", "id is too long", 400)) if bad else None

    engine.script = poison
    result = writer.write(chunk(*(document(str(n)) for n in range(100))))

    assert result.counts == Counts(created=98, failures=2)
    assert [(r.key, r.reason) for r in result.rejected] == [(("17",), "id is too long"), (("80",), "id is too long")]


def test_a_refused_document_is_parked_with_its_reason(engine: StandIn, writer: SearchWriter):
    """Items answer in order; what the engine says of one, with its cause, is the reason. Conflicts are no failures."""
    bad = {
        "status": 400,
        "error": {
            "type": "mapper_parsing_exception",
            "reason": "failed to parse",
            "caused_by": {"reason": "For input"},
        },
    }
    conflict = refused("version_conflict_engine_exception", 409)
    script(engine)
    engine.script = lambda request: (
        Reply(json=success(request, b=bad, c=conflict, d={"status": 404}, e={"status": 200}))
        if "_bulk" in request.path
        else None
    )
    result = writer.write(chunk(document("a"), document("b"), document("c"), deletion("d"), document("e")))

    assert result.counts == Counts(created=1, updated=1, noops=1, version_conflicts=1, failures=1)
    assert [(r.key, r.reason) for r in result.rejected] == [(("b",), "failed to parse: For input")]


# -- no answer


def test_an_unknown_outcome_is_sent_again(engine: StandIn, writer: SearchWriter):
    """A body without an answer in time goes again: its documents may be there, and the same version is taken."""
    never = threading.Event()
    script(engine, Reply(silent=never))
    try:
        result = writer.write(chunk(document("1"), document("2")))
    finally:
        never.set()

    assert [r.ids for r in engine.requests] == [["1", "2"], ["1", "2"]]
    assert result == WriteResult(Counts(created=2))


def test_a_broken_connection_is_made_again(engine: StandIn, writer: SearchWriter):
    """An engine that hangs up is asked again."""
    script(engine, Reply(hang_up=True), Reply(hang_up=True))
    assert writer.write(chunk(document("1"))) == WriteResult(Counts(created=1))
    assert len(engine.requests) == 3


def test_an_engine_that_does_not_come_back(engine: StandIn, target: SearchTarget, clock: Clock, monkeypatch: Any):
    """Refused connections are tried for two minutes; the error is worth a retry and names the engine."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv(
        "AIRFLOW_CONN_ENGINE", json.dumps({"conn_type": engine.product, "host": "127.0.0.1", "port": port})
    )
    with target.connect() as client, pytest.raises(TransientError, match=str(port)):
        make_writer(client, target, clock).write(chunk(document("1")))

    assert 120 <= clock.now - 1000 <= 155


# -- answers that a person has to act upon


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "login and password"), (403, "create_index, manage,.* read and write")]
)
def test_credentials_and_privileges(
    engine: StandIn, target: SearchTarget, writer: SearchWriter, status: int, remedy: str
):
    """Both fail at once, at the start as well as while writing, with the remedy and the connection's name."""
    script(engine, Reply(status, error("security_exception", "no permissions", status)))
    with pytest.raises(ConfigurationError, match=remedy) as caught:
        writer.write(chunk(document("1")))
    assert "'engine'" in str(caught.value)
    assert "no permissions" in str(caught.value)

    engine.script = lambda request: Reply(status, error("security_exception", "no permissions", status))
    with pytest.raises(ConfigurationError, match=remedy), target.open("things"):
        pass


@pytest.mark.parametrize("whole", [True, False])
def test_a_generation_that_went_meanwhile(engine: StandIn, writer: SearchWriter, whole: bool):
    """Without the generation's alias no document is parked: the batch says that its generation is gone."""
    reason = "[require_alias] request flag is [true] and [things_write] is not an alias"
    missing = refused("index_not_found_exception", 404)

    def answer(request: Request) -> Reply | None:
        if "_bulk" not in request.path:
            return None
        if whole:
            return Reply(404, error("index_not_found_exception", reason, 404))
        return Reply(json=success(request, **dict.fromkeys(request.ids, missing)))

    engine.script = answer
    with pytest.raises(ConfigurationError, match="'things_20260101t000000' is gone"):
        writer.write(chunk(document("1"), document("2")))


@pytest.mark.parametrize(
    ("kind", "status", "remedy"),
    [
        ("cluster_block_exception", 403, "index has the index blocked|Lift the block"),
        ("index_closed_exception", 400, "has the index closed.*Open it: POST"),
        ("security_exception", 403, "create_index"),
    ],
)
def test_an_index_that_takes_no_document(engine: StandIn, writer: SearchWriter, kind: str, status: int, remedy: str):
    """What is wrong with the index is not put down to its documents."""
    reason = "blocked by: read-only" if kind == "cluster_block_exception" else kind
    item = {"status": status, "error": {"type": kind, "reason": reason}}
    engine.script = lambda request: Reply(json=success(request, **{"1": item})) if "_bulk" in request.path else None
    with pytest.raises(ConfigurationError, match=remedy):
        writer.write(chunk(document("1"), document("2")))


def test_another_product_answers(engine: StandIn, target: SearchTarget):
    """Elasticsearch behind an OpenSearch target, and the other way round, are told apart by their names."""
    engine.product = "elasticsearch" if engine.product == "opensearch" else "opensearch"
    with pytest.raises(ConfigurationError, match=f"not {target.engine_name}") as caught, target.open("things"):
        pass
    assert "'engine'" in str(caught.value)


def test_an_engine_that_is_too_old(engine: StandIn, target: SearchTarget):
    """The error names the version found and the oldest one that will do."""
    engine.script = lambda request: Reply(json=about(engine.product, request.path, number="1.3.20"))
    with pytest.raises(ConfigurationError, match=r"1\.3\.20 is too old; \d\.0"), target.open("things"):
        pass


def test_an_engine_that_speaks_another_version(engine: StandIn, target: SearchTarget):
    """The engine's own refusal of the media type comes with the versions that will do, and Airflow's option for it."""
    reason = "Accept version must be either version 11 or 10, but found 8"
    engine.script = lambda request: Reply(400, error("media_type_header_exception", reason, 400))
    with pytest.raises(ConfigurationError, match="es_compat_with"), target.open("things"):
        pass


def test_tls_that_is_none(engine: StandIn, target: SearchTarget, monkeypatch: pytest.MonkeyPatch):
    """TLS towards a port that speaks none: the error says where certificates are set, and does not wait."""
    extra = {"use_ssl": True, "verify_certs": True} if engine.product == "opensearch" else {}
    connection = {
        "conn_type": engine.product,
        "host": "127.0.0.1",
        "port": engine.port,
        "schema": "https",
        "extra": extra,
    }
    monkeypatch.setenv("AIRFLOW_CONN_ENGINE", json.dumps(connection))
    with pytest.raises(ConfigurationError, match="verify_certs"), target.open("things"):
        pass


def test_a_client_that_is_not_installed(target: SearchTarget, monkeypatch: pytest.MonkeyPatch):
    """A worker without the extra: the error has the command that installs it."""
    extra = "opensearch" if isinstance(target, OpenSearchTarget) else "elasticsearch"
    monkeypatch.setitem(sys.modules, f"airflow.providers.{extra}.hooks.{extra}", None)
    with (
        pytest.raises(ConfigurationError, match=rf"pip install 'airflow-reindex-provider\[{extra}\]'"),
        target.open("s"),
    ):
        pass


def test_an_unknown_connection(engine: StandIn):
    """The error says how to add it."""
    target = TARGETS[engine.product]("nowhere", index="things")
    with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_NOWHERE"), target.open("things"):
        pass

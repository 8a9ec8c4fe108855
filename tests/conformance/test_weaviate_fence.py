"""Weaviate's guarantee: whoever writes at the same moment, held up, dead or overtaken, the newest state stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, current_thread
from typing import Any

import pytest

from airflow_reindex_provider.core.errors import GenerationGoneError, TransientError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Format, Position, WriteResult
from airflow_reindex_provider.targets.weaviate import WeaviateTarget, lock, sending
from airflow_reindex_provider.targets.weaviate.session import WeaviateTargetSession
from airflow_reindex_provider.testing.target_conformance import STREAM, text_schema
from airflow_reindex_provider.testing.weaviate_server import WeaviateServer

TARGET = WeaviateTarget("weaviate", index="Fenced")
FIRST = TARGET.generation_name("20260101t000000")
SLOW = "slow"


@pytest.fixture
def server(weaviate: WeaviateServer) -> WeaviateServer:
    weaviate.clear("Fenced")
    return weaviate


@pytest.fixture
def session(server: WeaviateServer) -> Iterator[WeaviateTargetSession]:
    with TARGET.open(STREAM) as session:
        session.create_first(FIRST, text_schema())
        session.promote(FIRST)
        yield session


def write(session: WeaviateTargetSession, version: int, *keys: str, gone: bool = False) -> WriteResult:
    documents = [Document((k,), version, None if gone else {"id": k, "body": f"{version}"}) for k in keys]
    with session.writer(FIRST, text_schema(), Format.ROWS) as writer:
        return writer.write(Chunk(Position("1"), Format.ROWS, documents))


def held(server: WeaviateServer) -> dict[str, str]:
    found = server.call("GET", f"/objects?class={FIRST}&limit=1000")["objects"]
    assert len({o["properties"]["_reindex_key"] for o in found}) == len(found)
    return {o["properties"]["id_"]: o["properties"]["body"] for o in found if not o["properties"]["_reindex_deleted"]}


def test_writers_at_the_same_moment(session: WeaviateTargetSession, server: WeaviateServer) -> None:
    """Of the same new keys each is there once, in the newest state; each document is counted, once as created."""
    keys, writers = [str(n) for n in range(20)], 4
    at_once = Barrier(writers)

    def work(number: int) -> Counts:
        at_once.wait()
        return sum((write(session, version, *keys).counts for version in (number, number + writers)), Counts())

    with ThreadPoolExecutor(writers) as pool:
        counts = sum(pool.map(work, range(writers)), Counts())

    assert held(server) == dict.fromkeys(keys, str(2 * writers - 1))
    assert counts.created == len(keys)
    assert counts.processed == len(keys) * writers * 2


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Event, Event]]:
    """The thread :data:`SLOW` waits between its look at what is held and its write. Events: it has come there, it may go on."""
    there, on = Event(), Event()
    look: Callable[..., Any] = sending.held_of

    def slowly(*args: Any) -> Any:
        found = look(*args)
        if current_thread().name.startswith(SLOW):
            there.set()
            assert on.wait(60)
        return found

    monkeypatch.setattr(sending, "held_of", slowly)
    monkeypatch.setattr(lock, "TAKE_OVER_S", 0.05)
    yield there, on
    on.set()


def test_a_worker_that_was_held_up_changes_nothing(
    session: WeaviateTargetSession, server: WeaviateServer, held_up: tuple[Event, Event]
) -> None:
    """It has seen that its version is the newest, and when it goes on, it is not. It is told to try again, and then finds out."""
    there, on = held_up
    with ThreadPoolExecutor(1, thread_name_prefix=SLOW) as pool:
        slow = pool.submit(write, session, 1, "1", "2")
        assert there.wait(60)
        assert write(session, 2, "1").counts == Counts(created=1)
        assert write(session, 2, "2", gone=True).counts == Counts(noops=1)
        on.set()
        with pytest.raises(TransientError, match="held up"):
            slow.result()

    assert held(server) == {"1": "2"}
    assert write(session, 1, "1", "2").counts == Counts(version_conflicts=2)
    assert held(server) == {"1": "2"}


def test_what_is_sent_to_a_dropped_generation(
    session: WeaviateTargetSession, server: WeaviateServer, held_up: tuple[Event, Event]
) -> None:
    """The writer finds out, and Weaviate makes no collection of a name that it knows no more."""
    there, on = held_up
    second = TARGET.generation_name("20260102t000000")
    with ThreadPoolExecutor(1, thread_name_prefix=SLOW) as pool:
        slow = pool.submit(write, session, 1, "1")
        assert there.wait(60)
        session.create(second, text_schema())
        session.promote(second)
        session.drop(FIRST)
        on.set()
        with pytest.raises(GenerationGoneError, match=FIRST):
            slow.result()

    assert server.collections("Fenced") == [second, "Fenced_register"]


def test_a_holder_that_died(
    session: WeaviateTargetSession, server: WeaviateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock stands until others have seen it stand for long enough; then they go on, and little is left of it."""
    dead = lock.Lock(session._server, FIRST, TARGET.register)
    monkeypatch.setattr(lock, "_LONGEST_WAIT_S", 0.05)
    number = dead._taken()
    with pytest.raises(TransientError, match="max_active_batches"):
        write(session, 1, "1")
    monkeypatch.setattr(lock, "TAKE_OVER_S", 0.01)
    assert write(session, 1, "1").counts == Counts(created=1)
    for version in (2, 3):
        assert write(session, version, "1").counts == Counts(updated=1)

    assert server.call("GET", f"/aliases/{FIRST}_lock_{number}")["class"] == "Fenced_register"
    # The dead one's, and the last holder's with what says that it was given back.
    assert len(server.aliases(f"{FIRST}_lock_")) == 3


def test_an_answer_that_did_not_come(session: WeaviateTargetSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent may still be written: the lock is not given back, so that nobody reads before that."""

    class Silent:
        def insert_many(self, objects: object) -> None:
            raise TimeoutError("no answer")

    real = session._server.collection

    def collection(name: str) -> Any:
        return type("C", (), {"data": Silent()})() if "_lock_" in name else real(name)

    monkeypatch.setattr(type(session._server), "collection", lambda _, name: collection(name))
    monkeypatch.setattr(lock, "_LONGEST_WAIT_S", 0.05)
    with pytest.raises(TransientError, match="no answer"):
        write(session, 1, "1")
    with pytest.raises(TransientError, match="max_active_batches"):
        write(session, 1, "1")

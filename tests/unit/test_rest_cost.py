"""What a request costs Airflow's database does not grow with the streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from many_streams import TEMPLATE, fill
from rest_client import API, Server
from sqlalchemy import event
from streams_of_rest import dags, stream

RUNS = 100
SIZES = (5, 50, 500)


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that are sent to Airflow's database meanwhile."""
    from airflow import settings

    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement)

    event.listen(settings.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(settings.engine, "before_cursor_execute", note)


def test_the_number_of_statements_is_fixed(server: Server, metadata: Any) -> None:
    """With 5, 50 and 500 streams of 100 runs each: for the list, and for one of them."""
    metadata.parse(dags(stream(TEMPLATE))[0])
    client = server.client("anna")
    made = 0
    numbers: dict[str, list[int]] = {}
    for size in SIZES:
        fill(metadata, range(made, size), runs=RUNS)
        made = size
        for path in ("/streams?limit=500", "/streams/stream_0003", "/streams/stream_0003/runs"):
            assert client.get(f"{API}{path}").status_code == 200, "Dags that have not been seen before are read first"
            with counted() as sent:
                found = client.get(f"{API}{path}").json()
            numbers.setdefault(path, []).append(len(sent))
        assert found["total"] == RUNS
        assert client.get(f"{API}/streams").json()["total"] == size + 1
    assert {path: len(set(of_sizes)) for path, of_sizes in numbers.items()} == dict.fromkeys(numbers, 1), numbers
    assert max(numbers["/streams?limit=500"]) <= 10
    assert max(numbers["/streams/stream_0003"]) <= 10
    (first, *_) = client.get(f"{API}/streams?q=stream_0003").json()["streams"]
    assert (first["state"], first["progress"], len(first["recent"])) == ("reindexing", 0.5, 5)

"""What the workers of one run share."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import workers


class Engine:
    """A stand-in for a search engine, which counts its starts."""

    started = 0
    ended = 0

    def __init__(self, name: str, *, url: str = "", short_lived: bool = False) -> None:
        self.name, self.url, self.version = name, url, "1"

    def __enter__(self) -> Engine:
        if self.name == "missing":
            raise RuntimeError("there is no JDK")
        if not self.url:
            Engine.started += 1
            self.url = "http://127.0.0.1:9200"
        return self

    def __exit__(self) -> None:
        Engine.ended += 1


def test_an_engine_is_started_once_for_all_workers(monkeypatch: pytest.MonkeyPatch):
    """They all get its address; it ends with the run. One that cannot be had is said to each of them."""
    monkeypatch.setattr(workers, "SearchEngine", Engine)
    engines = workers.Engines()
    lender = workers.Lender(engines)
    worker = SimpleNamespace(workerinput={"engines": lender.address})
    found: list[str] = []

    def ask() -> None:
        found.append(workers.engine_of_the_run(worker, "opensearch").url)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="there is no JDK"):
            workers.engine_of_the_run(worker, "missing")
    lender.end()
    engines.end()

    assert found == ["http://127.0.0.1:9200"] * 4
    assert engines.versions() == [("opensearch", "1")]
    assert (Engine.started, Engine.ended) == (1, 1)


def test_tests_that_share_a_server_are_one_workers():
    """A file each, or a class of it, and a folder where it has one running Airflow."""
    scope = workers.ByFile._split_scope
    assert (
        scope(None, "tests/unit/test_cursors.py::TestText::test_order[a::b]") == "tests/unit/test_cursors.py::TestText"
    )
    assert scope(None, "tests/unit/test_cursors.py::test_order[a::b]") == "tests/unit/test_cursors.py"
    assert scope(None, "tests/airflow/test_backfill.py::test_it") == "tests/airflow/"

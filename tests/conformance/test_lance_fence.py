"""LanceDB's guarantee: whoever writes at the same moment, in threads or forked processes, killed or not, the newest stays."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import lancedb
import pytest

from airflow_reindex_provider.core.keys import KeyRange
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Format, Position
from airflow_reindex_provider.targets.lance import LanceTarget, pointer
from airflow_reindex_provider.targets.lance.pointer import Pointer, State
from airflow_reindex_provider.targets.lance.storage import Storage
from airflow_reindex_provider.targets.lance.writer import LanceWriter
from airflow_reindex_provider.testing.target_conformance import text_schema

pytestmark = pytest.mark.versions

STREAM = "products"
TARGET = LanceTarget("lake", index="products")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "host": str(tmp_path)}))
    return tmp_path


@contextmanager
def writing(generation: str) -> Iterator[LanceWriter]:
    with TARGET.open(STREAM) as session, session.writer(generation, text_schema(), Format.ROWS) as writer:
        yield writer


def live() -> str:
    with TARGET.open(STREAM) as session:
        name = session.create_first(TARGET.generation_name("20260101t000000"), text_schema())
        session.promote(name)
        return name


def chunk(*documents: Document) -> Chunk:
    return Chunk(Position("1"), Format.ROWS, documents)


def doc(key: int, version: int) -> Document:
    return Document((str(key),), version, {"id": str(key), "body": str(version)})


def held(folder: Path) -> list[tuple[str, int, str | None]]:
    """Key, version and body of all rows, remembered deletions too, in the order of keys."""
    database = lancedb.connect(folder)
    (name,) = database.open_table("products").to_arrow()["table"].to_pylist()
    rows = database.open_table(name).to_arrow().to_pylist()
    return sorted((row["_reindex_key"], row["_reindex_version"], row["body"]) for row in rows)


@pytest.mark.parametrize("seed", range(3))
def test_writers_at_the_same_moment(folder: Path, seed: int) -> None:
    """New keys, changes and deletions by four workers, each in an order of its own: of each key one row, of the greatest version,
    and the counts add up to what is there."""
    generation, keys, workers = live(), 25, 4
    at_once = Barrier(workers)

    def work(number: int) -> Counts:
        chance = random.Random(seed * 100 + number)
        counts = Counts()
        with writing(generation) as writer:
            at_once.wait()
            for _ in range(6):
                # A version says which worker has written it, and whether it is a deletion.
                made = [(k, chance.randrange(1000) * workers + number) for k in chance.sample(range(keys), 12)]
                documents = [Document((str(k),), v, None) if v % 3 == 0 else doc(k, v) for k, v in made]
                seen.extend(documents)
                counts += writer.write(chunk(*documents)).counts
        return counts

    seen: list[Document] = []
    with ThreadPoolExecutor(workers) as pool:
        total = sum(pool.map(work, range(workers)), Counts())

    newest: dict[str, Document] = {}
    for document in sorted(seen, key=lambda document: document.version):
        newest[document.key[0]] = document
    assert held(folder) == [(key, d.version, d.fields and d.fields["body"]) for key, d in sorted(newest.items())]
    assert total.processed == len(seen)
    assert total.created - total.deleted == sum(d.fields is not None for d in newest.values())


def test_an_older_worker_that_is_slower(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read its rows and is about to commit them when the newer one does: what it brings is refused, also for a deletion,
    and keys that it alone has are taken."""
    generation = live()
    is_ready, may_go_on = Event(), Event()
    merged = LanceWriter._merged

    def slowly(self: LanceWriter, table: Any, documents: list[Document], rows: Any) -> Counts:
        if documents[0].version == 1:
            is_ready.set()
            may_go_on.wait(30)
        return merged(self, table, documents, rows)

    monkeypatch.setattr(LanceWriter, "_merged", slowly)
    with writing(generation) as older, writing(generation) as newer, ThreadPoolExecutor(1) as pool:
        late = pool.submit(older.write, chunk(doc(1, 1), doc(2, 1), doc(3, 1)))
        assert is_ready.wait(30)
        newer.write(chunk(doc(1, 2), Document(("2",), 2, None)))
        may_go_on.set()
        assert late.result().counts == Counts(created=1, version_conflicts=2)

    assert held(folder) == [("1", 2, "2"), ("2", 2, None), ("3", 1, "1")]


def test_a_swap_and_a_drop_at_the_same_moment(folder: Path) -> None:
    """Whichever comes first, the public name points at a generation that is there."""
    names = [TARGET.generation_name(f"2026010{n}t000000") for n in (1, 2)]
    at_once = Barrier(2)

    def act(promotes: bool) -> str:
        with TARGET.open(STREAM) as other:
            at_once.wait()
            try:
                (other.promote if promotes else other.drop)(names[1])
            except Exception as error:
                return type(error).__name__
            return ""

    with TARGET.open(STREAM) as session:
        for _ in range(3):
            for name in names:
                session.create(name, text_schema())
            session.promote(names[0])
            with ThreadPoolExecutor(2) as pool:
                failed = [name for name in pool.map(act, (True, False)) if name]
            assert failed in (["ConfigurationError"], ["GenerationGoneError"])
            (table,) = lancedb.connect(folder).open_table("products").to_arrow()["table"].to_pylist()
            assert lancedb.connect(folder).open_table(table).count_rows() == 0
            kept = {
                made.table
                for made in Pointer(Storage.open("lake", "the index"), "products").state().generations.values()
            }
            assert {path.stem for path in folder.glob("*.lance")} == {"products", *kept}


def test_a_pointer_that_was_emptied_says_again_what_it_said(folder: Path) -> None:
    """LanceDB makes a table over another one where both began before either was there."""
    generation = live()
    lancedb.connect(folder).create_table("products", schema=pointer._schema(), mode="overwrite")

    with TARGET.open(STREAM) as session:
        assert [(g.name, g.live) for g in session.generations()] == [(generation, True)]
        session.create(TARGET.generation_name("20260102t000000"), text_schema())
        assert len(session.generations()) == 2


def test_changes_of_the_pointer_follow_one_another(folder: Path) -> None:
    """None is lost, also where four workers make them at the same moment, and the pointer itself before them."""
    at_once = Barrier(4)

    def having(name: str, state: State) -> State:
        return replace(state, stream=STREAM).having(name, pointer.Made("t"))

    def work(number: int) -> None:
        at = Pointer(Storage.open("lake", "the index"), "products")
        at_once.wait()
        for n in range(3):
            at.change(partial(having, f"{number}.{n}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    state = Pointer(Storage.open("lake", "the index"), "products").state()
    assert (state.revision, len(state.generations)) == (12, 12)


_WORKERS = """
import os, random, signal, sys, time
from airflow.sdk import BaseHook  # what Airflow itself has loaded before it forks
from airflow_reindex_provider import LanceTarget
from airflow_reindex_provider.core.model import Chunk, Document, Format, Position
from airflow_reindex_provider.testing.target_conformance import text_schema

target, schema, rows = LanceTarget("lake", index="products"), text_schema(), 300
assert "lancedb" not in sys.modules and "pyarrow" not in sys.modules

def forked(task):
    pid = os.fork()
    if pid:
        return pid
    try:
        task()
    except BaseException as error:
        print("failed", repr(error), flush=True)
    finally:
        os._exit(0)

def written(first, last, out):
    with target.open("products") as session, session.writer(session.generations()[0].name, schema, Format.ROWS) as writer:
        for version in range(first, last):
            documents = [Document((str(n),), version, {"id": str(n), "body": str(version)}) for n in range(rows)]
            counts = writer.write(Chunk(Position("1"), Format.ROWS, documents)).counts
            assert counts.created + counts.updated == rows, counts
            os.write(out, b".")

for start in (0, 100):
    read, write = os.pipe()
    worker = forked(lambda: written(start, start + 100, write))
    os.close(write)
    os.read(read, 1)  # it has written once
    time.sleep(random.Random(start).random() / 10)
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    assert "lancedb" not in sys.modules
    print("killed", flush=True)
"""


def test_forked_workers_that_are_killed(folder: Path) -> None:
    """As Airflow forks its tasks from a process that has much loaded: each works, also after one that was killed within a write;
    of a chunk all is there or nothing."""
    live()
    done = subprocess.run([sys.executable, "-c", _WORKERS], capture_output=True, text=True, timeout=120, check=False)

    told = [line for line in done.stdout.splitlines() if line.startswith(("killed", "failed"))]
    assert (told, done.returncode) == (["killed"] * 2, 0), done.stderr[-2000:]
    found = held(folder)
    assert [key for key, *_ in found] == sorted(map(str, range(300)))
    assert len({version for _, version, _ in found}) == 1
    assert all(str(version) == body for _, version, body in found)
    with TARGET.open(STREAM) as session:
        listed = [e for page in session.keys(session.generations()[0].name, KeyRange(), text_schema()) for e in page]
    assert len(listed) == 300

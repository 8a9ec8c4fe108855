"""Tables of LanceDB that a killed task has left: a clean-up finds them, and nothing that only looks like them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import lancedb
import pyarrow as pa
import pytest
from leftovers import OLD, Place

from airflow_reindex_provider.targets.lance import LanceTarget
from airflow_reindex_provider.targets.lance.pointer import Pointer
from airflow_reindex_provider.targets.lance.session import LanceTargetSession
from airflow_reindex_provider.targets.lance.storage import Storage
from airflow_reindex_provider.testing.target_conformance import text_schema

pytestmark = pytest.mark.versions

STREAM = "products"
TARGET = LanceTarget("lake", index="products")
PLACE = Place(TARGET, STREAM)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "host": str(tmp_path)}))
    return tmp_path


@pytest.fixture
def session(folder: Path) -> Iterator[LanceTargetSession]:
    """Of a stream with a live generation."""
    with PLACE.opened() as session:
        yield session


def tables(folder: Path) -> set[str]:
    return set(lancedb.connect(folder).list_tables().tables)


def killed_while_dropping(session: LanceTargetSession, stamp: str = OLD) -> None:
    name = TARGET.generation_name(stamp)
    session.create(name, text_schema())
    with mock.patch.object(Storage, "drop"):
        session.drop(name)


def killed_while_making(session: LanceTargetSession) -> None:
    killed = mock.patch.object(Pointer, "change", side_effect=KeyboardInterrupt)
    with mock.patch.object(Storage, "drop"), killed, pytest.raises(KeyboardInterrupt):
        session.create(TARGET.generation_name(OLD), text_schema())


def test_what_a_kill_left_goes(folder: Path, session: LanceTargetSession) -> None:
    """Of a drop and of a rebuild's beginning, with its size; the live one stays."""
    before = tables(folder)
    killed_while_dropping(session)
    killed_while_making(session)
    left = tables(folder) - before
    assert len(left) == 2

    found = PLACE.cleaned(session)
    assert {orphan.name for orphan in found} == left
    assert all("neither pointer nor register names it" in orphan.reason for orphan in found)
    assert tables(folder) == before
    assert [g.live for g in session.generations()] == [True]


def test_files_without_a_table_go_too(folder: Path, session: LanceTargetSession) -> None:
    """A kill in the middle of a drop: what it was is known by its name alone."""
    before = tables(folder)
    killed_while_dropping(session)
    (left,) = tables(folder) - before
    shutil.rmtree(folder / f"{left}.lance" / "_versions")
    assert [orphan.name for orphan in PLACE.cleaned(session)] == [left]
    assert not (folder / f"{left}.lance").exists()


def test_a_young_one_stays(folder: Path, session: LanceTargetSession) -> None:
    """It may be one that is just being made."""
    killed_while_dropping(session, "20260131t120000")
    assert list(PLACE.cleaning(session).find()) == []


def test_what_is_not_ours_stays(folder: Path, session: LanceTargetSession) -> None:
    """A table of that name that this package did not make, one that somebody has copied, and those of another stream."""
    database = lancedb.connect(folder)
    database.create_table("products_20260102t000000_0a1b2c3d", schema=pa.schema([pa.field("id", pa.string())]))
    live = database.open_table("products").to_arrow()["table"][0].as_py()
    database.create_table("my_copy", database.open_table(live).to_arrow())
    other = LanceTarget("lake", index="products_old")
    with other.open("another stream") as theirs:
        theirs.create_first(other.generation_name(OLD), text_schema())
        killed = other.generation_name("20260103t000000")
        theirs.create(killed, text_schema())
        with mock.patch.object(Storage, "drop"):
            theirs.drop(killed)
    assert list(PLACE.cleaning(session).find()) == []


def test_nothing_is_judged_while_there_is_no_pointer(folder: Path, session: LanceTargetSession) -> None:
    """Somebody has taken it away, or it is just being made anew: whoever brings it back finds the tables."""
    killed_while_dropping(session)
    lancedb.connect(folder).drop_table("products")
    assert list(PLACE.cleaning(session).find()) == []

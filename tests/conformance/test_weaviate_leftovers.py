"""Collections of Weaviate that a killed task has left: a clean-up finds them, and nothing that only looks like them."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest
from leftovers import LIVE, OLD, Place

from airflow_reindex_provider.core.model import Marked
from airflow_reindex_provider.targets.weaviate import WeaviateTarget
from airflow_reindex_provider.targets.weaviate.server import Server
from airflow_reindex_provider.targets.weaviate.session import WeaviateTargetSession
from airflow_reindex_provider.testing.target_conformance import text_schema
from airflow_reindex_provider.testing.weaviate_server import WeaviateServer

pytestmark = pytest.mark.versions

STREAM = "leavings"
TARGET = WeaviateTarget("weaviate", index="Leavings")
PLACE = Place(TARGET, STREAM)


@pytest.fixture
def session(weaviate: WeaviateServer) -> Iterator[WeaviateTargetSession]:
    """Of a stream with a live generation."""
    weaviate.clear("Leavings")
    with PLACE.opened() as session:
        yield session
    weaviate.clear("Leavings")


def killed_while_making(session: WeaviateTargetSession, stamp: str = OLD) -> str:
    name = TARGET.generation_name(stamp)
    with mock.patch.object(Server, "describe", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        session.create(name, text_schema())
    return name


def test_what_a_kill_left_goes(weaviate: WeaviateServer, session: WeaviateTargetSession) -> None:
    """Of a rebuild's beginning; the live one stays. One that was half dropped is still in the register, and goes too."""
    before = weaviate.collections("Leavings")
    made = killed_while_making(session)
    dropped = TARGET.generation_name("20260103t000000")
    session.create(dropped, text_schema())
    with mock.patch.object(Server, "describe", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        session.drop(dropped)

    found = {orphan.name: orphan.reason for orphan in PLACE.cleaned(session)}
    assert found.keys() == {made, dropped}
    assert "neither pointer nor register names it" in found[made]
    assert weaviate.collections("Leavings") == before
    assert [g.live for g in session.generations()] == [True]


def test_a_young_one_stays(session: WeaviateTargetSession) -> None:
    """It may be one that is just being made."""
    killed_while_making(session, "20260131t120000")
    assert list(PLACE.cleaning(session).find()) == []


def test_what_is_not_ours_stays(weaviate: WeaviateServer, session: WeaviateTargetSession) -> None:
    """A collection of that name that this package did not make; one that somebody has copied; of another stream."""
    live = TARGET.generation_name(LIVE)
    mark = weaviate.call("GET", f"/schema/{live}")["description"]
    for name, description in ((TARGET.generation_name(OLD), "mine"), ("Leavings_copy", mark)):
        weaviate.call("POST", "/schema", {"class": name, "description": description, "vectorizer": "none"})
    other = WeaviateTarget("weaviate", index="LeavingsOld")
    with other.open("another stream") as theirs:
        theirs.create_first(other.generation_name(OLD), text_schema())
    assert list(PLACE.cleaning(session).find()) == []
    assert not session.unmake(Marked("generation", STREAM, TARGET.generation_name(OLD), stray=True))
    assert {m.stream for m in session.marked() if m.name.startswith("LeavingsOld")} == {"another stream"}


def test_while_nothing_is_live_nothing_is_stray(session: WeaviateTargetSession, weaviate: WeaviateServer) -> None:
    """Somebody has taken the alias away: whoever brings it back finds the collections."""
    killed_while_making(session)
    weaviate.call("DELETE", "/aliases/Leavings")
    assert list(PLACE.cleaning(session).find()) == []

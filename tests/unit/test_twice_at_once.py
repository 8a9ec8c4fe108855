"""The same work twice at once, for every kind of job: it is shared where it is asked for, and refused where it would begin."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from airflow.utils.types import DagRunTriggeredByType
from metadata import Metadata
from streams_of_rest import dags, stream

from airflow_reindex_provider import MaintenanceDag, RebuildDag, ReindexDag, SweepDag, Watch, WatchDag
from airflow_reindex_provider.control import cleaning
from airflow_reindex_provider.control.acts import ACTS
from airflow_reindex_provider.control.cleaning import PURPOSE, Cleaning, drop_orphans, find_orphans
from airflow_reindex_provider.control.status.catalogue import list_streams
from airflow_reindex_provider.control.steering import By, Started, start
from airflow_reindex_provider.core.cleaning.records import Rules
from airflow_reindex_provider.core.errors import StreamBusyError
from airflow_reindex_provider.core.leases import Keeper
from airflow_reindex_provider.core.model import Mode
from airflow_reindex_provider.core.protocols import RebuildingTarget
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource, MemoryTarget

ANNA = By("anna", DagRunTriggeredByType.REST_API, "1")
GIVEN = {
    "window_start": "2026-01-01",
    "cursor": "2026-01-01",
    "rollback_to": "previous",
    "name": "other",
    "to": "table",
    "conn_id": "shop_db",
    "older_than_days": 3,
}
"""An argument of each name that must be given."""


@pytest.mark.parametrize("name", ACTS)
def test_what_is_asked_for_twice_is_one_run(name: str, metadata: Metadata) -> None:
    """Whatever can be done to a stream: whoever asks for the same while it is under way is shown that run."""
    metadata.parse(*dags(stream()))
    wanted = ACTS[name]
    arguments = {needed: GIVEN[needed] for needed in wanted.needed}
    started: list[Started] = []
    for _ in range(2):
        with metadata.session() as session:
            entry = list_streams(session)["items"]
            started.append(start(session, entry, wanted.role, wanted.conf(arguments), by=ANNA))
            session.commit()
    assert [one.created for one in started] == [True, False]
    assert started[0].run_id == started[1].run_id


def test_a_dag_of_each_kind_runs_once_at_a_time() -> None:
    """What Airflow's scheduler and people start beside each other waits in its queue."""
    of = stream()
    nobody: Any = None
    made = (
        ReindexDag(of),
        RebuildDag(of),
        SweepDag(of),
        MaintenanceDag([of]),
        WatchDag([Watch(of)], notifiers=[nobody]),
    )
    assert {dag.dag_id: dag.max_active_runs for dag in made} == dict.fromkeys((dag.dag_id for dag in made), 1)


PURPOSES = (str(Mode.REBUILD), str(Mode.SWEEP), PURPOSE)


@pytest.mark.parametrize("first", PURPOSES)
@pytest.mark.parametrize("second", PURPOSES)
def test_of_two_who_want_the_stream_for_themselves_one_is_refused(first: str, second: str) -> None:
    """Also of one kind, from two Dags or two deployments, and told who is at work; behind it the other one gets it."""
    store = MemoryCheckpoint()
    one = Keeper(store, "items", holder="one", purpose=first)
    other = Keeper(store, "items", holder="other", purpose=second)
    one.keep()
    with pytest.raises(StreamBusyError, match=f"{first} of run one"):
        other.keep()
    one.release()
    other.keep()


@pytest.fixture
def littered() -> Stream:
    """A stream with three generations that rebuilds have left."""
    store = MemoryCheckpoint()
    items = Stream(name="items", source=MemorySource(now_us=10), target=MemoryTarget(name="items"), checkpoint=store)
    with items.target.open("items") as target, items.source.open() as source:
        target.create_first(items.target.generation_name("20250101t000000"), source.schema())
        target.promote(items.target.generation_name("20250101t000000"))
        assert isinstance(target, RebuildingTarget)
        for day in range(2, 5):
            target.create(items.target.generation_name(f"202501{day:02}t000000"), source.schema())
    return items


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clean-ups have opened the stream before one of them drops anything."""
    ready, held = Barrier(2), cleaning._held

    def meet(*arguments: Any) -> Any:
        ready.wait(10)
        return held(*arguments)

    monkeypatch.setattr(cleaning, "_held", meet)


def test_of_two_clean_ups_one_drops(littered: Stream, together: None) -> None:
    """Nothing is dropped twice, nor counted twice, and neither fails: the one that comes second is told of the other, or finds
    nothing left."""
    wanted = Cleaning(streams=[littered], rules=Rules(older_than=timedelta(0)))
    found = find_orphans(wanted).orphans
    assert len(found) == 3

    def clean(holder: str) -> Any:
        return drop_orphans(wanted, found, holder=holder)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(clean, ("one", "other")))
    assert sorted(o.name for done in both for o in done.dropped) == sorted(o.name for o in found)
    for done in both:
        assert not done.troubles
        assert len(done.dropped) in (0, 3)


def test_a_clean_up_waits_for_whoever_is_at_work(littered: Stream) -> None:
    """It leaves the stream alone, says who that is, and what is left goes with the next one."""
    wanted = Cleaning(streams=[littered], rules=Rules(older_than=timedelta(0)))
    found = find_orphans(wanted).orphans
    for purpose in PURPOSES:
        other = Keeper(littered.checkpoint, "items", holder="another run", purpose=purpose)
        other.keep()
        done = drop_orphans(wanted, found, holder="one")
        assert (done.dropped, done.troubles) == ([], {})
        assert f"{purpose} of run another run" in done.busy["items"]
        other.release()
    assert len(drop_orphans(wanted, found, holder="one").dropped) == 3

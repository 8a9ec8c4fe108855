"""Names of groups, which groups there are, how they share a run, and how each is settled on its own."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reindex_provider import PostgresSource, PostgresTarget, Stream
from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import BatchesFailedError, ConfigurationError, TransientError
from airflow_reindex_provider.core.groups import (
    GROUPS,
    LEAST_ROOM,
    MAX_GROUPS,
    GroupPlans,
    fair_shares,
    furthest_behind,
    group_name,
    known_groups,
    list_groups,
    plan_groups,
)
from airflow_reindex_provider.core.model import (
    Batch,
    BatchResult,
    Counts,
    Groups,
    Mode,
    Plan,
    Position,
    Window,
)
from airflow_reindex_provider.core.running.outcomes import Outcome
from airflow_reindex_provider.core.running.settling_groups import require_all, settle_groups
from airflow_reindex_provider.core.windows import Request
from airflow_reindex_provider.dags.rebuild import RebuildDag
from airflow_reindex_provider.events import Event, event_asset
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemorySource

KIND = CursorType.TIMESTAMPTZ
END = Position(KIND.text(100))
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


# -- names


@given(st.text(), st.integers(LEAST_ROOM, 80))
def test_every_value_has_a_name_that_all_can_take(value: str, room: int) -> None:
    """Lower case letters, digits, _ and -, not longer than there is room, and always the same."""
    name = group_name(value, room)
    assert NAME.fullmatch(name)
    assert len(name) <= room
    assert name == group_name(value, room)


@given(st.lists(st.text(alphabet="aAbB-_ 0é/", max_size=12), unique=True), st.integers(LEAST_ROOM, 60))
def test_different_values_have_different_names(values: list[str], room: int) -> None:
    """Also those that differ in case, in signs, or past what there is room for; and a name given as a value is not taken for
    the value that it stands for."""
    values = [*values, *(group_name(value, room) for value in values)]
    assert len({group_name(value, room) for value in values}) == len(set(values))


def test_plain_values_are_their_own_names() -> None:
    """What people call their tenants, numbers and uuids."""
    for value in ("acme", "acme_corp", "acme-corp", "42", "550e8400-e29b-41d4-a716-446655440000"):
        assert group_name(value, 47) == value


def test_names_that_targets_make_are_not_left_to_values() -> None:
    """A generation is called like its index with a time behind it, and search targets use two more endings."""
    for value in ("acme_20260101t000000", "20260101t000000", "acme_first", "first", "acme_write"):
        assert group_name(value, 47) != value
        assert "__" in group_name(value, 47)


# -- streams


def grouped_stream(index: str = "products_{group}", name: str = "products", group_by: str | None = "tenant") -> Stream:
    source = PostgresSource("shop", table="products", primary_key="id", cursor_field="updated_at", group_by=group_by)
    return Stream(name=name, source=source, target=PostgresTarget("search", index=index))


def test_the_stream_of_a_group() -> None:
    """Its own name, source and index; it has no groups itself."""
    own = grouped_stream("shop.products_{group}").of_group("Acme")
    assert own.name == "products." + group_name("Acme", 38)
    assert isinstance(own.target, PostgresTarget)
    assert own.target.index == "shop.products_" + group_name("Acme", 38)
    assert isinstance(own.source, PostgresSource)
    assert (own.source.group, own.has_groups) == ("Acme", False)
    assert PostgresSource.deserialize(own.source.serialize()) == own.source
    with pytest.raises(ConfigurationError, match="has no groups"):
        own.of_group("acme")


def test_a_search_index_for_each_group() -> None:
    """The names are such that engines take them."""
    source = PostgresSource("shop", table="products", primary_key="id", cursor_field="updated_at", group_by="tenant")
    stream = Stream(name="products", source=source, target=OpenSearchTarget("search", index="products_{group}"))
    own = stream.of_group("ACME Inc.")
    assert isinstance(own.target, OpenSearchTarget)
    assert re.fullmatch(r"products_acme_inc__[0-9a-f]{10}", own.target.index)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": "products"}, "does not have the other"),
        ({"group_by": None}, "does not have the one"),
        ({"index": "p" * 40 + "{group}"}, "leave 7 characters"),
        ({"name": "p" * 90}, "leave 9 characters"),
        ({"index": "{group}.products"}, "behind the schema"),
    ],
)
def test_half_a_stream_with_groups_is_refused(options: dict[str, Any], message: str) -> None:
    """When it is made, not when it runs."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        grouped_stream(**options)


# -- which there are


def put(source: MemorySource, key: str, tenant: str | None) -> None:
    source.now_us += 1
    with source.transaction() as transaction:
        transaction.put({"id": key, "tenant": tenant})
    source.now_us += 1


def listed(source: MemorySource, store: MemoryCheckpoint, request: Request = Request()) -> Groups:
    with source.open() as session:
        return list_groups("s", request, source=session, survey=session.survey(), store=store, run="r")


def table() -> MemorySource:
    return MemorySource(columns={"id": "text", "tenant": "text"}, group_by="tenant")


def test_groups_are_remembered() -> None:
    """One whose last row has left is listed still, from what was saved; only the rows since are looked through."""
    source, store = table(), MemoryCheckpoint()
    put(source, "1", "a")
    put(source, "2", None)
    assert listed(source, store) == Groups(("a",), 1)
    put(source, "1", "b")
    assert listed(source, store, Request(dry_run=True)) == Groups(("a", "b"), 0)
    assert known_groups("s", store) == ("a",)
    assert listed(source, store) == Groups(("a", "b"), 0)
    assert listed(source, store) == Groups(("a", "b"), 0)
    assert store.load("s", GROUPS).position == Position(KIND.text(source.now_us), ("a", "b"))


def test_a_late_commit_brings_its_group() -> None:
    """The list reads no further than the horizon, so a group that commits late is met by the next run."""
    source, store = table(), MemoryCheckpoint()
    late = source.begin()
    late.put({"id": "1", "tenant": "late"})
    put(source, "2", "a")
    assert listed(source, store) == Groups(())
    late.commit()
    assert listed(source, store).values == ("a", "late")


def test_too_many_groups_are_refused_by_their_number() -> None:
    """A key taken for a group would make an index for each row."""
    source = table()
    for number in range(MAX_GROUPS + 1):
        put(source, str(number), str(number))
    with pytest.raises(ConfigurationError, match=f"more than {MAX_GROUPS} groups"):
        listed(source, MemoryCheckpoint())


def test_the_group_furthest_behind() -> None:
    """One without a checkpoint, else the one with the least."""
    a, b = (Position("2"), "a"), (Position("10"), "b")
    assert furthest_behind(CursorType.INTEGER, [b, a]) == a
    assert furthest_behind(CursorType.INTEGER, [b, (None, "new"), a]) == (None, "new")
    assert furthest_behind(CursorType.INTEGER, []) == (None, "")


# -- sharing a run


@given(st.lists(st.integers(0, 64), max_size=30), st.integers(1, 64))
def test_shares_are_fair(needs: list[int], cap: int) -> None:
    """All is given out that is asked for, up to the cap; nobody gets more than it needs; whoever gets less than it needs gets
    as much as any other, or one less."""
    shares = fair_shares(needs, cap)
    busy = sum(need > 0 for need in needs)
    assert sum(shares) == max(min(sum(needs), cap), busy)
    assert all(share <= need and (share > 0 or need == 0) for share, need in zip(shares, needs, strict=True))
    short = [share for share, need in zip(shares, needs, strict=True) if share < need]
    assert not short or max(shares) - min(short) <= 1


def plan_of(group: str, batches: int, *, retry: bool = False) -> Plan:
    stream = f"s.{group}"
    cuts = [None, *(Position(KIND.text(n)) for n in range(1, batches)), END]
    made = (
        []
        if not batches
        else [
            Batch(stream, "g", n, batches + retry, Window(a, b or END), 10, group=group)
            for n, (a, b) in enumerate(pairwise(cuts))
        ]
    )
    if retry:
        made.append(Batch(stream, "g", batches, batches + 1, Window(None, END), 1, (("k",),), group=group))
    return Plan(stream, Mode.INCREMENTAL, "g", Window(None, END), KIND, None, tuple(made), 10 * batches, group=group)


def planned(*plans: Plan, max_batches: int = 64) -> GroupPlans:
    by_group = {str(plan.group): plan for plan in plans}
    return plan_groups("s", Request(), Groups(tuple(by_group)), by_group.__getitem__, max_batches=max_batches)


def test_batches_are_shared_out_and_still_tile_each_window() -> None:
    """A large group takes what small ones leave; neighbours are joined; parked documents keep their batch."""
    plans = planned(plan_of("big", 20, retry=True), plan_of("small", 1), plan_of("idle", 0), max_batches=7)
    big, small, idle = plans.plans
    assert [len(p.batches) for p in (big, small, idle)] == [7, 1, 0]
    parts = big.batches[:-1]
    assert (parts[0].window.start, parts[-1].window.end) == (None, END)
    assert all(a.window.end == b.window.start for a, b in pairwise(parts))
    assert sum(b.rows for b in parts) == big.rows
    assert [(b.number, b.of) for b in big.batches] == [(n, 7) for n in range(7)]
    assert big.batches[-1].keys == (("k",),)


def test_plans_survive_the_way_through_an_xcom() -> None:
    """The batches travel beside the plans, in one list."""
    plans = planned(plan_of("a", 2, retry=True), plan_of("b", 3))
    assert GroupPlans.from_json(plans.to_json(), [batch.to_json() for batch in plans.batches]) == plans


def test_a_group_that_cannot_be_planned_is_left_out() -> None:
    """Where none can, the run fails at once; an error that a retry may get over fails it too."""

    def plan(group: str) -> Plan:
        if group == "bad":
            raise ConfigurationError("the index is gone")
        if group == "down":
            raise TransientError("no answer")
        return plan_of(group, 1)

    def of(*groups: str) -> GroupPlans:
        return plan_groups("s", Request(), Groups(groups), plan, max_batches=64)

    assert ([p.group for p in of("a", "bad").plans], of("a", "bad").failures) == (["a"], {"bad": "the index is gone"})
    with pytest.raises(ConfigurationError, match="None of the 1 groups"):
        of("bad")
    with pytest.raises(TransientError):
        of("a", "down")


# -- settling


def settled(plans: GroupPlans, results: list[BatchResult], wrong: dict[str, Exception]) -> Any:
    def settle(plan: Plan, mine: Any) -> Outcome:
        if error := wrong.get(str(plan.group)):
            raise error
        return Outcome(plan, Counts(created=len(mine)), len(mine), None, END, 0)

    return settle_groups(plans, results, settle)


def test_each_group_is_settled_on_its_own() -> None:
    """One lacks a batch, one cannot be saved: both are named, and the third is settled."""
    plans = planned(plan_of("a", 2), plan_of("b", 2), plan_of("c", 1))
    results = [BatchResult(batch, Counts()) for batch in plans.batches if (batch.group, batch.number) != ("b", 1)]
    outcome = settled(plans, results, {"c": ConfigurationError("no such table")})
    report = outcome.to_json()
    assert (report["status"], report["created"], report["batches_done"]) == ("failed", 3, 3)
    assert {group: told["status"] for group, told in report["groups"].items()} == {"a": "completed", "b": "failed"}
    with pytest.raises(BatchesFailedError, match=r"(?s)2 of 3 groups failed: 'b', 'c'.*no such table"):
        require_all(outcome)


def test_an_error_worth_a_retry_is_retried_after_all_are_settled() -> None:
    """The others are not held up by it, and the task is tried again."""
    plans = planned(plan_of("a", 0), plan_of("b", 0))
    outcome = settled(plans, [], {"a": TransientError("no answer")})
    assert [o.plan.group for o in outcome.outcomes] == ["b"]
    with pytest.raises(TransientError, match="'a'"):
        require_all(outcome)


def test_what_each_group_tells_is_known_before() -> None:
    """Two groups that tell their first event at one moment would both make its asset, and Airflow fails the second one's task."""
    dag = RebuildDag(grouped_stream())
    known = {asset.name for asset in dag.get_task("groups").inlets}
    told = (Event.REBUILD_STARTED, Event.SWAP_COMPLETED, Event.ROLLBACK_COMPLETED)
    assert {event_asset(event, "products").name for event in told} <= known
    assert grouped_stream().events in dag.get_task("groups").outlets


def test_groups_tell_their_swaps_one_after_the_other() -> None:
    """They swap beside one another; what tells it is at work for one of them at a time."""
    dag = RebuildDag(grouped_stream(), task_args={"max_active_tis_per_dagrun": 8})
    limits = {
        task.task_id: task.max_active_tis_per_dagrun
        for task in dag.tasks
        if task.task_id.startswith(("each.", "serve."))
    }
    assert [task_id for task_id, limit in limits.items() if limit == 1] == ["each.close", "serve.retire"]
    assert limits["each.promote"] == limits["serve.promote"] == 8

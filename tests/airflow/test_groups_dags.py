"""ReindexDag, RebuildDag and SweepDag of a stream with groups, on a real Airflow."""

from __future__ import annotations

from typing import Any

import pytest
from command_line import CommandLine
from streams_under_test import TIMEOUT_S, Run, StreamUnderTest

from airflow_reindex_provider.testing.postgres import Database

pytestmark = pytest.mark.overlaps
VALUES = ("acme", "Acme", "{{ b }}")


def ended(items: StreamUnderTest, dag_id: str, expect: str = "success", **conf) -> Run:
    run = Run(items.airflow, dag_id, items.airflow.trigger(dag_id, conf=conf))
    items.airflow.wait_for_run(dag_id, run.run_id, timeout_s=TIMEOUT_S, expect=expect)
    return run


def served(search: Database) -> dict[str, tuple[int, ...]]:
    """The ids behind each public name."""
    with search.connect() as connection:
        names = connection.execute("SELECT viewname FROM pg_views WHERE viewname LIKE 'tenants\\_%' ORDER BY 1")
        return {
            name: tuple(sorted(i for (i,) in connection.execute(f'SELECT id FROM "{name}"')))
            for (name,) in names.fetchall()
        }


def generations(search: Database) -> dict[str, str]:
    """Public name to the table that it reads from."""
    query = (
        "SELECT DISTINCT v.relname, t.relname FROM pg_class v JOIN pg_rewrite r ON r.ev_class = v.oid"
        " JOIN pg_depend d ON d.objid = r.oid AND d.classid = 'pg_rewrite'::regclass"
        " JOIN pg_class t ON t.oid = d.refobjid AND t.relkind = 'r'"
        " WHERE v.relkind = 'v' AND v.relname LIKE 'tenants\\_%'"
    )
    with search.connect() as connection:
        return dict(connection.execute(query).fetchall())


def told(items: StreamUnderTest, run: Run) -> list[tuple[str, str]]:
    """The events of a rebuild that are of one group, each with its value."""
    events = items.airflow.rest.get("/assets/events", source_dag_id=run.dag_id, limit=100)["asset_events"]
    return sorted((e["extra"]["event"], e["extra"]["group"]) for e in events if _is_of_a_group(e, run))


def _is_of_a_group(event: dict[str, Any], run: Run) -> bool:
    return event["source_run_id"] == run.run_id and event["extra"]["group"] is not None


def test_groups_are_indexed_rebuilt_and_swept_on_their_own(stream, search: Database, cli: CommandLine):
    """Groups appear, rows move, and a failure stays with its group: in a run, in a rebuild that serves each on its own, and in
    one that serves none before all are ready; so it does in a sweep. A value that looks like a template is a value."""
    items: StreamUnderTest = stream("tenants")
    items.at_source("ALTER TABLE {} ADD tenant text")
    for number, value in enumerate(VALUES):
        items.at_source(
            f"INSERT INTO {{}} SELECT id, 't', now() - interval '1 hour', %s FROM generate_series({number * 100 + 1},"
            f" {number * 100 + 100}) AS id",
            value,
        )
    first = ended(items, "reindex_tenants")
    assert first.sums["created"] == 300
    assert [len(first.xcom("extract")), len(first.sums["groups"])] == [9, 3]
    standing = first.xcom("checkpoint", "reindex_standing")
    assert {one["group"]: one["documents"] for one in standing["generations"]} == dict.fromkeys(VALUES, 100)
    assert standing["documents"] == 300
    names = {"tenants_acme", *(n for n in served(search) if n.startswith(("tenants_acme__", "tenants_b__")))}
    assert len(names) == 3
    assert all(len(ids) == 100 for ids in served(search).values())

    # A row moves; a new group finds its name taken, and fails alone.
    items.at_source("UPDATE {} SET tenant = 'acme', updated_at = now() WHERE id = 300")
    items.at_source("UPDATE {} SET tenant = 'taken', updated_at = now() WHERE id = 299")
    with search.connect() as connection:
        connection.execute("CREATE TABLE tenants_taken (id int)")
    failed = ended(items, "reindex_tenants", expect="failed")
    assert "1 of 4 groups failed: 'taken'" in failed.log("checkpoint")
    assert "there is a table of this name" in failed.log("checkpoint")
    assert sorted(map(len, served(search).values())) == [98, 100, 101]
    with search.connect() as connection:
        connection.execute("DROP TABLE tenants_taken")
    ended(items, "reindex_tenants")
    assert served(search)["tenants_taken"] == (299,)
    assert 300 in served(search)["tenants_acme"]

    # Most rows of one group are gone: its rebuild fails, and those of the others are served.
    before = generations(search)
    items.at_source("DELETE FROM {} WHERE tenant = 'Acme' AND id > 110")
    each = ended(items, "rebuild_tenants", expect="failed")
    assert "1 of 4 groups failed: 'Acme'. The others are served." in each.log("ready")
    after = generations(search)
    assert sum(after[name] == before[name] for name in after) == 1
    # All of these for the first time, and three groups at one moment.
    of_each = [("swap.completed", value) for value in ("acme", "taken", "{{ b }}")]
    assert told(items, each) == sorted([*of_each, *(("rebuild.started", value) for value in (*VALUES, "taken"))])
    assert items.airflow.variable("reindex.tenants.acme.lease") is None

    together = ended(items, "rebuild_tenants", expect="failed", promote="all")
    assert "1 of 4 groups failed: 'Acme'. None is served" in together.log("ready")
    assert generations(search) == after
    assert items.airflow.variable("reindex.tenants.acme.lease") is None

    done = ended(items, "rebuild_tenants", promote="all", groups=["acme", "{{ b }}"])
    assert [done.states["serve.promote", n] for n in (0, 1)] == ["success", "success"]
    assert [value for event, value in told(items, done) if event == "swap.completed"] == ["acme", "{{ b }}"]
    last = generations(search)
    assert {name for name in last if last[name] != after[name]} == {"tenants_acme", *(n for n in last if "_b__" in n)}

    known = cli.reindex("generations", "tenants", "-o", "json").json
    assert {one["group"] for one in known} == {*VALUES, "taken"}
    assert {one["name"] for one in known if one["group"] == "acme" and one["live"]} == {last["tenants_acme"]}

    back = ended(items, "rebuild_tenants", groups=["acme"], rollback_to="previous")
    assert back.states["serve.promote", -1] == "skipped"
    assert told(items, back) == [("rollback.completed", "acme")]
    assert generations(search)["tenants_acme"] == after["tenants_acme"]
    assert len(served(search)["tenants_acme"]) == 101

    # Its sweep finds the rows gone, and fails until it is told that all of the source is there.
    swept = ended(items, "sweep_tenants", expect="failed")
    assert "the sweep of 1 of 4 groups failed: 'Acme'. The others are swept." in swept.log("report")
    assert {group: found["orphaned"] for group, found in swept.xcom("report", "reindex_sweep")["groups"].items()} == {
        "acme": 0,
        "taken": 0,
        "{{ b }}": 0,
    }
    swept = ended(items, "sweep_tenants", groups=["Acme"], max_delete_fraction=1)
    assert swept.xcom("report")["repairs"] == 90
    assert sorted(map(len, served(search).values())) == [1, 10, 98, 101]

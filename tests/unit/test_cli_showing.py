"""What the commands that only look say of a stream, on a metadata database whose runs were made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cli_in_process import AT, STANDING, a_run, items, parse

from airflow_reindex_provider import PostgresSource, PostgresTarget, RebuildDag, ReindexDag, Stream

pytestmark = pytest.mark.versions


def test_how_a_stream_is(metadata, cli):
    """The same figures in JSON, YAML, a table and in lines to cut; texts of others are shown as they are."""
    parse(metadata, items())
    metadata.beat()
    run_id = a_run(metadata)
    found = cli("status", "items", "-o", "json").json
    assert (found["documents"], found["parked"]["count"], found["state"]) == (1234, 2, "behind")
    assert found["last_success"]["run_id"] == run_id
    assert [s["name"] for s in cli("list", "-o", "json").json] == ["items"]
    table = cli("status", "items").out
    for text in ("1,234", "held back by pid 7", run_id, "reindex_items (", "100%", "5 created"):
        assert text in table
    assert "documents: 1234\n" in cli("status", "items", "-o", "yaml").out
    assert cli("list", "-o", "plain").out.splitlines()[1].split()[:2] == ["items", "behind"]

    parked = cli("parked", "list", "items")
    assert "no [bold] number :smile:" in parked.out
    assert '["7", "a/b"]' in parked.out
    assert "As of 2026-11-21 17:26:00 UTC" in parked.err
    assert "1 of 2 are shown" in parked.err
    assert cli("parked", "list", "items", "-o", "json").json == STANDING["parked"]["documents"]
    assert cli("checkpoint", "show", "items", "-o", "json").json == STANDING["checkpoint"]
    generations = cli("generations", "items").out
    assert all(text in generations for text in ("about 1,200", "1.5 MB", "live", "served before", "999 B"))
    assert cli("generations", "items", "-o", "json").json == STANDING["generations"]
    assert "changes since" not in generations
    looked = {
        "stream": "items",
        "at": "2026-11-21T17:27:00.000+00:00",
        "generations": {STANDING["generations"][0]["name"]: 4},
    }
    metadata.run("reindex_items", xcoms={("extract", -1, "reindex_action"): looked}, conf={"action": "look"})
    since = cli("generations", "items", "-o", "plain")
    assert [line.split()[-1] for line in since.out.splitlines()] == ["since", "4", "-"]
    assert "a roll-back reads again first" in since.err


def test_what_was_asked_for_in_vain_says_nothing_of_the_stream(metadata, cli):
    """Nor does what was done since hide that the last run has failed."""
    parse(metadata, items())
    done = {"began": AT + timedelta(hours=1)}
    a_run(metadata)
    metadata.run("reindex_items", "failed", conf={"action": "parked-retry"}, **done)
    assert cli("status", "items", "-o", "json").json["state"] == "behind"
    metadata.run("reindex_items", "failed", began=AT + timedelta(hours=2))
    metadata.run("reindex_items", "success", conf={"action": "refresh"}, began=AT + timedelta(hours=3))
    assert cli("status", "items", "-o", "json").json["state"] == "failing"


def test_a_dag_without_a_schedule(metadata, cli):
    parse(metadata, items())
    dags = {dag["dag_id"]: dag["schedule"] for dag in cli("status", "items", "-o", "json").json["dags"]}
    assert dags["rebuild_items"] is None
    assert dags["reindex_items"] is not None
    assert "rebuild_items (by hand)" in cli("status", "items").out


def test_lists_are_cut(metadata, cli):
    parse(metadata, items())
    parse(metadata, items("orders"))
    assert [s["name"] for s in cli("list", "--match", "ORDERS_index", "-o", "json").json] == ["orders"]
    assert cli("list", "--state", "failing", "-o", "json").json == []
    assert {s["name"] for s in cli("list", "--state", "idle", "-o", "json").json} == {"items", "orders"}


def test_a_stream_that_nobody_knows(metadata, cli):
    parse(metadata, items())
    said = cli("status", "itens", "-o", "json")
    assert (said.code, said.out) == (2, "")
    assert "No Dag carries a stream 'itens'. Did you mean: items?" in said.err
    for words in (("run", "itens"), ("cancel", "itens"), ("parked", "list", "itens")):
        assert cli(*words).code == 2


def test_who_has_no_stream_yet_is_told_what_makes_one_known(metadata, cli):
    assert "airflow reindex check --file" in cli("list").err
    parse(metadata, items())
    assert "check --file" not in cli("list", "--match", "nothing").err


def test_nothing_is_known_yet(metadata, cli):
    parse(metadata, items())
    said = cli("parked", "list", "items", "-o", "json")
    assert (said.code, said.json) == (0, [])
    assert "`airflow reindex refresh items` asks for it" in said.err
    said = cli("checkpoint", "show", "items")
    assert (said.code, said.out) == (3, "")
    assert "has no checkpoint yet" in said.err


def test_only_changes_are_printed_where_no_bar_can_be(metadata, cli, monkeypatch):
    from airflow_reindex_provider.cli import watching

    parse(metadata, items())
    metadata.beat()
    a_run(metadata)
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            metadata.run("sweep_items", "running", began=datetime.now(UTC))
        if looks == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", sleep)
    said = cli("status", "--watch")
    assert (said.code, looks) == (0, 4)
    assert [line.partition(",")[0] for line in said.out.splitlines()] == ["items: behind", "items: sweeping"]


def test_groups_are_told_one_by_one(metadata, cli):
    """Of a stream with groups there is no checkpoint and no generation but those of its groups; generations and parked documents
    say whose. A group that was rebuilt since shows what its rebuild has left."""
    stream = Stream(
        name="items",
        source=PostgresSource(
            "shop_db", table="public.items", primary_key="id", cursor_field="updated_at", group_by="tenant"
        ),
        target=PostgresTarget("search_db", index="public.items_{group}"),
    )
    metadata.parse(ReindexDag(stream), RebuildDag(stream))
    group = {"generation": "items_a_1", "status": "completed", "processed": 3, "parked": 1}
    groups = {
        "a": group | {"checkpoint_after": {"cursor": "2026-11-21 17:25:00+00", "key": ["7"]}},
        "b": group | {"status": "failed", "generation": "items_b_1", "checkpoint_after": None},
    }
    outcome = {"stream": "items", "total": 6, "processed": 6, "parked": 2, "groups": groups}
    document = STANDING["parked"]["documents"][0] | {"group": "b"}
    old, live = STANDING["generations"]
    standing = STANDING | {
        "generations": [old | {"group": "a", "live": True}, live | {"group": "b"}],
        "checkpoint": None,
        "documents": None,
        "parked": {"count": 2, "documents": [document]},
    }
    xcoms = {("checkpoint", -1, "reindex_run"): outcome, ("checkpoint", -1, "reindex_standing"): standing}
    metadata.run("reindex_items", xcoms=xcoms)
    parked = cli("parked", "list", "items", "-o", "plain")
    assert parked.out.splitlines()[1].startswith('b        ["7", "a/b"]')
    assert "1 of 2 are shown" in parked.err
    said = cli("checkpoint", "show", "items", "-o", "plain")
    assert [line.split()[:3] for line in said.out.splitlines()[1:]] == [
        ["b", "failed", "items_b_1"],
        ["a", "completed", "items_a_1"],
    ]
    assert "has groups" in said.err
    assert cli("checkpoint", "show", "items", "-o", "json").json == groups
    assert cli("generations", "items", "-o", "json").json == standing["generations"]
    rebuilt = {"stream": "items.a", "group": "a", "at": "2026-11-21T18:00:00.000+00:00", "generations": [old, live]}
    stale = rebuilt | {"stream": "items.b", "group": "b", "at": "2026-11-21T17:00:00.000+00:00"}
    swapped = {("serve.retire", 0, "reindex_group"): rebuilt, ("serve.retire", 1, "reindex_group"): stale}
    metadata.run("rebuild_items", xcoms=swapped)
    shown = cli("generations", "items", "-o", "plain").out.splitlines()[1:]
    assert [line.split()[:3] for line in shown] == [
        ["a", old["name"], "served"],
        ["a", live["name"], "live"],
        ["b", live["name"], "live"],
    ]
    assert "2026-11-21 17:25:00+00" in cli("status", "items").out


def test_texts_of_others_do_not_steer_the_terminal(metadata, cli):
    parse(metadata, items())
    metadata.beat()
    document = STANDING["parked"]["documents"][0] | {"reason": "\x1b]0;owned\x07 \x9b31m line\nnext"}
    standing = STANDING | {"parked": {"count": 1, "documents": [document]}}
    metadata.run(
        "reindex_items", "failed", xcoms={("checkpoint", -1, "reindex_standing"): standing}, note="\x1b[2J gone"
    )
    for words in (
        ("parked", "list", "items"),
        ("status", "items"),
        ("list", "-o", "plain"),
        ("parked", "list", "items", "-o", "plain"),
    ):
        said = cli(*words)
        assert not {"\x1b", "\x07", "\x9b"} & set(said.out + said.err), repr(said.out)
    assert "\\x1b]0;owned" in cli("parked", "list", "items", "-o", "plain").out


def test_watching_is_for_one_thing(metadata, cli):
    parse(metadata, items())
    assert cli("status", "items", "--watch", "--exact").code == 2
    assert cli("status", "--exact").code == 2


def test_bars_are_drawn(metadata, cli):
    """Whatever a run says of itself, and however many batches it has."""
    from io import StringIO

    from rich.console import Console

    from airflow_reindex_provider.cli.bars import render_stream, render_streams
    from airflow_reindex_provider.cli.finding import database, status_of

    parse(metadata, items())
    progress = {
        "status": "running",
        "total": 100,
        "processed": 40,
        "docs_per_s": 10.0,
        "eta_ms": 6000,
        "message": "at [/red] :smile:",
        "stream": "items",
        "at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat(),
    }
    metadata.run(
        "reindex_items",
        "running",
        tasks={("index", n): "running" for n in range(30)},
        xcoms={
            ("extract", -1, "reindex_plan"): {"stream": "items", "rows": 3000},
            **{("index", n, "reindex_progress"): progress for n in range(30)},
        },
    )
    with database() as session:
        status = status_of(session, "items")
    drawn = StringIO()
    console = Console(file=drawn, force_terminal=True, width=160, emoji=False, color_system=None)
    console.print(render_stream(status), render_streams([status], "No scheduler."))
    for text in ("at [/red] :smile:", "40 of 100", "and 10 more", "1,200 of 3,000", "300 docs/s", "6 s left", "━"):
        assert text in drawn.getvalue(), drawn.getvalue()

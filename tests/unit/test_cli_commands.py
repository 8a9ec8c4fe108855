"""What the commands say and how they end, on a metadata database whose runs were made by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_reindex_provider import PostgresSource, PostgresTarget, RebuildDag, ReindexDag, Stream, SweepDag

pytestmark = pytest.mark.versions

AT = datetime(2026, 11, 21, 17, 25, tzinfo=UTC)


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(metadata, capsys):
    """`airflow reindex ...` in this process."""

    def call(*words: str) -> Said:
        args = get_parser().parse_args(["reindex", *words])
        capsys.readouterr()
        try:
            args.func(args)
            code = 0
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


def items(name: str = "items", **options: Any) -> Stream:
    return Stream(
        name=name,
        source=PostgresSource("shop_db", table=f"public.{name}", primary_key="id", cursor_field="updated_at"),
        target=PostgresTarget("search_db", index=f"public.{name}_index"),
        **options,
    )


def parse(metadata, stream: Stream) -> None:
    metadata.parse(ReindexDag(stream, schedule="@hourly"), RebuildDag(stream), SweepDag(stream))


STANDING = {
    "stream": "items",
    "at": "2026-11-21T17:26:00.000+00:00",
    "fresh_until": "2026-11-21T17:25:00+00:00",
    "documents": 1234,
    "generations": [
        {
            "name": "items_index_20261120t000000",
            "live": False,
            "served": True,
            "made_at": "2026-11-20T00:00:00+00:00",
            "documents": 1200,
            "documents_estimated": True,
            "bytes": 1_500_000,
        },
        {
            "name": "items_index_20261121t000000",
            "live": True,
            "served": True,
            "made_at": "2026-11-21T00:00:00+00:00",
            "documents": 1234,
            "documents_estimated": False,
            "bytes": 999,
        },
    ],
    "checkpoint": {
        "generation": "items_index_20261121t000000",
        "cursor": "2026-11-21 17:25:00+00",
        "key": ["7", "a/b"],
        "saved_at": "2026-11-21T17:25:30+00:00",
        "saved_by": "run x",
        "where": "the Airflow Variable 'reindex.items.items_index_20261121t000000' (Admin > Variables)",
    },
    "parked": {
        "count": 2,
        "documents": [
            {
                "key": ["7", "a/b"],
                "reason": "no [bold] number :smile:",
                "attempts": 3,
                "parked_at": "2026-11-21T17:00:00+00:00",
                "next_try_at": "2026-11-21T18:00:00+00:00",
            }
        ],
    },
    "lease": None,
}


def a_run(metadata, state: str = "success", **columns: Any) -> str:
    xcoms = {
        ("extract", -1, "reindex_plan"): {
            "stream": "items",
            "rows": 5,
            "horizon": "h",
            "held_by": "pid 7",
            "warnings": [],
        },
        ("checkpoint", -1, "reindex_standing"): STANDING,
        ("checkpoint", -1, "reindex_run"): {"stream": "items", "total": 5, "processed": 5, "created": 5},
    }
    return metadata.run("reindex_items", state, began=AT, xcoms=xcoms, **columns)


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


def test_without_a_scheduler_nothing_is_started(metadata, cli):
    """And it is said at once; who does not wait may queue it."""
    parse(metadata, items())
    said = cli("run", "items")
    assert said.code == 4
    assert "No scheduler of Airflow is alive (there never was one)" in said.err
    assert cli("status", "items", "-o", "json").json["recent"] == []
    metadata.beat(ago_s=3600)
    said = cli("run", "items")
    assert (said.code, "the last was heard at" in said.err) == (4, True)
    queued = cli("run", "items", "--no-wait", "-o", "json")
    assert (queued.code, queued.json["created"]) == (0, True)
    again = cli("run", "items", "--no-wait", "-o", "json")
    assert (again.code, again.json) == (0, queued.json | {"created": False})
    assert "does that already" in again.err


def test_a_paused_dag(metadata, cli):
    parse(metadata, items())
    metadata.beat()
    metadata.change_dag("reindex_items", is_paused=True)
    said = cli("run", "items")
    assert (said.code, said.out) == (4, "")
    assert "'reindex_items' is paused" in said.err


def test_the_time_is_up(metadata, cli):
    """The run goes on, and the words say how to see and to end it."""
    parse(metadata, items())
    metadata.beat()
    said = cli("run", "items", "--timeout", "0", "-o", "json")
    assert (said.code, said.out) == (4, "")
    assert "goes on" in said.err
    assert "`airflow reindex status items --watch`" in said.err
    assert cli("status", "items", "-o", "json").json["run"]["state"] == "queued"


def test_another_run_is_in_the_way(metadata, cli):
    parse(metadata, items())
    there = cli("rebuild", "items", "--promote", "wait", "--no-wait", "-o", "json").json
    said = cli("rebuild", "items", "--no-wait")
    assert (said.code, there["run_id"] in said.err) == (3, True)


def test_no_dag_does_it(metadata, cli):
    metadata.parse(ReindexDag(items()))
    said = cli("rebuild", "items", "--no-wait")
    assert said.code == 2
    assert "Add RebuildDag(items) to a Dag file" in said.err


def test_arguments_that_do_not_fit(metadata, cli):
    """Nothing is started: neither what the act does not take, nor what the Dag's form does not."""
    parse(metadata, items())
    for words in (
        ("run", "items", "--window-end", "2026-01-01T00:00:00Z"),
        ("rebuild", "items", "--max-lag-s", "-1"),
        ("rebuild", "items", "--promote", "perhaps"),
    ):
        said = cli(*words, "--no-wait")
        assert (said.code, said.out) == (2, ""), words
        assert said.err
    assert cli("status", "items", "-o", "json").json["recent"] == []


def test_what_cannot_be_undone_is_asked(metadata, cli, monkeypatch):
    """A script says --yes; a person is asked, and no is no."""
    parse(metadata, items())
    said = cli("checkpoint", "reset", "items", "--no-wait")
    assert (said.code, "Give --yes" in said.err) == (2, True)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for typed, code in (("n", 1), ("", 1), ("y", 0)):
        monkeypatch.setattr("builtins.input", lambda prompt, typed=typed: typed)
        said = cli("checkpoint", "reset", "items", "--no-wait")
        assert (said.code, "Forget the checkpoint of items" in said.err) == (code, True)
    assert cli("checkpoint", "reset", "items", "--no-wait", "--yes", "-o", "json").json["created"] is False


def test_a_run_that_has_failed(metadata, cli, monkeypatch):
    """The code says so, and the words say why."""
    from airflow_reindex_provider.cli import starting
    from airflow_reindex_provider.control.steering import Started

    parse(metadata, items())
    metadata.beat()
    failure = {"message": "relation items does not exist", "stream": "items"}
    run_id = metadata.run(
        "reindex_items",
        "failed",
        tasks={("extract", -1): "failed"},
        xcoms={("extract", -1, "reindex_failure"): failure},
    )
    monkeypatch.setattr(starting, "start", lambda *args, **kwargs: Started("reindex_items", run_id, created=True))
    said = cli("run", "items", "-o", "json")
    assert (said.code, said.out) == (1, "")
    assert "is failed: relation items does not exist" in said.err


def test_cancel_and_answer(metadata, cli):
    parse(metadata, items())
    for words in (("cancel", "items"), ("approve", "items"), ("reject", "items", "some_run")):
        assert cli(*words).code == 3
    running = metadata.run("reindex_items", "running", tasks={("index", 0): "running"})
    sweeping = metadata.run("sweep_items", "running")
    both = cli("cancel", "items")
    assert both.code == 2
    assert all(run in both.err for run in (running, sweeping))
    assert cli("cancel", "items", running, "-o", "json").json == [
        {"dag_id": "reindex_items", "run_id": running, "cancelled": True}
    ]
    assert cli("status", "items", "-o", "json").json["recent"][-1]["dag_id"] in ("reindex_items", "sweep_items")
    assert [run["run_id"] for run in cli("cancel", "items", "--all", "-o", "json").json] == [sweeping]

    asking = metadata.run("rebuild_items", "running", tasks={("approve", -1): "deferred"})
    metadata.ask("rebuild_items", asking, "approve")
    assert cli("list", "--state", "waiting for approval", "-o", "json").json[0]["run"]["run_id"] == asking
    answered = cli("reject", "items", "-o", "json").json
    assert answered == {"dag_id": "rebuild_items", "run_id": asking, "task_id": "approve", "approved": False}
    assert cli("approve", "items").code == 3


def test_ctrl_c_ends_the_waiting_alone(metadata, cli, monkeypatch):
    """The words say which run goes on, and how to end it."""
    from airflow_reindex_provider.cli import waiting

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting.time, "sleep", interrupt)
    parse(metadata, items())
    metadata.beat()
    said = cli("run", "items", "-o", "json")
    assert (said.code, said.out) == (130, "")
    run_id = cli("status", "items", "-o", "json").json["run"]["run_id"]
    assert f"Run '{run_id}' of Dag 'reindex_items' goes on." in said.err
    assert "`airflow reindex cancel items` ends it" in said.err


def test_what_holds_a_run_up_is_told_once(metadata, cli, monkeypatch):
    """A Dag that is paused while a command waits, and a database that is away for a moment."""
    from sqlalchemy.exc import OperationalError

    from airflow_reindex_provider.cli import finding, waiting

    parse(metadata, items())
    metadata.beat()
    there = finding.database
    looks = 0

    def away():
        raise OperationalError("SELECT 1", {}, Exception("gone away"))

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        metadata.change_dag("reindex_items", is_paused=True)
        monkeypatch.setattr(finding, "database", away if looks in (2, 3) else there)
        if looks == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(waiting.time, "sleep", sleep)
    said = cli("run", "items")
    assert said.code == 130
    assert said.err.count("'reindex_items' was paused: the run waits") == 1
    assert said.err.count("does not answer, and is asked again") == 1
    assert looks == 6


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


DAG_FILE = """
from airflow_reindex_provider import PostgresSource, PostgresTarget, ReindexDag, Stream

ReindexDag(Stream(
    name="items",
    source=PostgresSource("stored_db", table="public.{table}", primary_key="id", cursor_field="updated_at"),
    target=PostgresTarget("stored_db", index="public.items_index"),
))
"""


@pytest.fixture
def stored(metadata, database, monkeypatch):
    """A database whose connection is kept in Airflow's own, and in no environment."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    monkeypatch.delenv(f"AIRFLOW_CONN_{database.conn_id.upper()}", raising=False)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
    with create_session() as session:
        session.add(Connection(conn_id="stored_db", uri=database.uri))
    with database.connect() as connection:
        connection.execute("CREATE TABLE items (id bigint PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())")
        connection.execute("CREATE INDEX ON items (updated_at, id)")
    yield database
    with create_session() as session:
        session.delete(session.query(Connection).filter_by(conn_id="stored_db").one())


def dag_file(folder, table: str = "items") -> str:
    path = folder / f"dag_of_{table}.py"
    path.write_text(DAG_FILE.format(table=table))
    return str(path)


def test_a_dag_file_is_checked(stored, cli, tmp_path):
    """Before Airflow has parsed it, with connections that Airflow keeps; nothing is written."""
    good = cli("check", "--file", dag_file(tmp_path), "-o", "json")
    (checked,) = good.json
    assert (good.code, checked["stream"], checked["worst"] != "wrong") == (0, "items", True), good
    assert {finding["what"].partition(":")[0] for finding in checked["findings"]} == {"source", "target", "checkpoint"}
    bad = cli("check", "--file", dag_file(tmp_path, "no_such_table"))
    assert bad.code == 1
    assert "wrong" in bad.out
    assert "no_such_table" in bad.out
    assert "Something is wrong with items." in bad.err
    with stored.connect() as connection:
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relname ~ 'items_index'").fetchone() == (0,)


def test_files_that_cannot_be_checked(cli, tmp_path):
    """A file that is not there, that fails, or that carries none of it."""
    assert cli("check", "--file", str(tmp_path / "none.py")).code == 2
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module_at_all")
    said = cli("check", "--file", str(broken))
    assert (said.code, "no_such_module_at_all" in said.err) == (1, True)
    assert "it has items" in cli("check", "orders", "--file", dag_file(tmp_path)).err
    assert cli("check").code == 2
    assert cli("check", "--file", "x.py", "--as-run").code == 2


def test_a_stream_whose_file_is_elsewhere(metadata, cli):
    """Is a finding of its own, and the others are checked; a run can do it."""
    parse(metadata, items())
    said = cli("check", "-o", "json")
    assert (said.code, [c["worst"] for c in said.json]) == (1, ["wrong"])
    assert "give --as-run" in said.json[0]["findings"][0]["says"]
    said = cli("status", "items", "--exact")
    assert (said.code, "bundle 'tests'" in said.err) == (2, True)


def test_changes_that_wait_are_counted(metadata, stored, cli, tmp_path):
    """Exactly, at the source, and without a checkpoint too."""
    parse(metadata, items())
    with stored.connect() as connection:
        connection.execute("INSERT INTO items SELECT id, now() - interval '90 s' FROM generate_series(1, 7) AS id")
    said = cli("status", "items", "--exact", "--file", dag_file(tmp_path), "-o", "json")
    looked = said.json["freshness"]["looked"]
    assert (said.code, looked["waiting"]) == (0, 7)
    assert 90 <= looked["oldest_s"] < 400
    assert "7 changes wait past the checkpoint" in cli("status", "items", "--exact", "--file", dag_file(tmp_path)).out


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

"""What the commands say of a Dag file that Airflow has not parsed, with connections that Airflow keeps."""

from __future__ import annotations

import pytest
from cli_in_process import items, parse

pytestmark = pytest.mark.versions

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

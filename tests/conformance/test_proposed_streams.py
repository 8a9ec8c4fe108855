"""`airflow reindex init` over databases that nobody here designed: what it proposes is right, and runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_reindex_provider import Stream
from airflow_reindex_provider.sources.postgres.proposing import propose
from airflow_reindex_provider.streamfile.reading import Entry, read_streams
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.runs import Runner

LAYOUTS = Path(__file__).parent / "layouts"
Init = Callable[..., Path]


@pytest.fixture
def init(database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Init:
    """The file that the command writes for the test's database."""

    def run(*options: str) -> Path:
        path = tmp_path / "reindex.yaml"
        words = ["reindex", "init", "--conn", database.conn_id, "--target-conn", database.conn_id]
        args = get_parser().parse_args([*words, "--write", str(path), *options])
        args.func(args)
        return path

    return run


def load(database: Database, name: str) -> None:
    with database.connect() as connection:
        connection.execute((LAYOUTS / name).read_text())


def entries(path: Path) -> dict[str, Entry]:
    found = {entry.name: entry for entry in read_streams(path)}
    assert [problem for entry in found.values() for problem in entry.problems] == []
    return found


def enabled(path: Path) -> dict[str, Stream]:
    return {name: entry.stream for name, entry in entries(path).items() if entry.jobs and entry.stream is not None}


def index(stream: Stream) -> int:
    """How many documents a run of the stream has written."""
    runner = Runner(source=stream.source, target=stream.target, stream=stream.name)
    outcome = runner.run()
    assert outcome.complete
    assert outcome.counts.failures == 0
    return outcome.counts.created


def test_a_film_rental_shop(database: Database, init: Init) -> None:
    """Keys of one and of two columns, the triggers' column as cursor; a table without one has the SQL that it needs."""
    load(database, "film-rental.sql")
    path = init()
    streams = enabled(path)
    assert set(streams) == {"actor", "film", "film_actor", "language"}
    assert streams["film_actor"].source.key == ("actor_id", "film_id")
    assert {stream.source.cursor_field for stream in streams.values()} == {"last_update"}
    assert {name: index(stream) for name, stream in streams.items()} == {
        "actor": 50,
        "film": 100,
        "film_actor": 100,
        "language": 5,
    }
    assert not entries(path)["payment"].jobs
    text, sql = path.read_text(), path.with_suffix(".sql").read_text()
    assert 'ALTER TABLE "public"."payment" ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();' in sql
    assert 'CREATE INDEX CONCURRENTLY ON "public"."payment" ("updated_at", "payment_date", "payment_id");' in sql
    assert '"public"."actor" ("last_update", "actor_id")' in sql
    assert '"public"."film" ("last_update"' not in sql
    assert "# public.film: " in text
    assert "actor_info" not in text


def test_what_is_missing_is_enough(database: Database, init: Init) -> None:
    """With the SQL of the file the table that could not be a stream is one."""
    load(database, "film-rental.sql")
    sql = init().with_suffix(".sql")
    with database.connect() as connection:
        for statement in sql.read_text().replace("CONCURRENTLY ", "").split("\n\n"):
            connection.execute(statement)
    for file in (sql, sql.with_suffix(".yaml")):
        file.unlink()
    path = init()
    assert "payment" in enabled(path)
    assert not sql.exists() or "payment" not in sql.read_text()


def test_a_django_app(database: Database, init: Init) -> None:
    """The application's own time of change, and its mark of deleted rows; times that no change moves are no cursors."""
    load(database, "django-app.sql")
    path = init()
    streams = enabled(path)
    assert set(streams) == {"shop_article"}
    source = streams["shop_article"].source
    assert (source.cursor_field, source.soft_delete_column) == ("modified", "is_removed")
    assert index(streams["shop_article"]) == 45
    assert "is stamped by no clock of the database" in " ".join(path.read_text().replace("#", "").split())
    log = next(p for p in propose(database.conn_id) if p.name == "shop_log")
    assert (log.key, log.cursor, log.is_ready) == (None, "updated_at", False)
    assert (
        '-- Choose its key: ALTER TABLE "public"."shop_log" ADD PRIMARY KEY (...);'
        in path.with_suffix(".sql").read_text()
    )


def test_the_metadata_database_of_airflow(postgres: EmbeddedPostgres, database: Database, init: Init) -> None:
    """Some sixty tables with keys of many kinds: those that tell when they changed are streams, and all of these run."""
    from airflow.models.base import Base
    from airflow.utils.db import import_all_models
    from sqlalchemy import create_engine

    import_all_models()
    engine = create_engine(postgres.sqlalchemy_url(database.name))
    Base.metadata.create_all(engine)
    engine.dispose()
    streams = enabled(init())
    assert {"asset", "backfill", "dag_run", "serialized_dag", "task_instance", "task_state_store"} <= set(streams)
    assert streams["asset_state_store"].source.key == ("asset_id", "key")
    for stream in streams.values():
        index(stream)


def test_nothing_is_written_over(init: Init, database: Database) -> None:
    """A file that is there stays as it is."""
    load(database, "django-app.sql")
    path = init()
    before = path.read_text()
    with pytest.raises(SystemExit) as ended:
        init()
    assert ended.value.code == 2
    assert path.read_text() == before


def test_a_file_is_checked_without_airflow_s_database(database: Database, init: Init) -> None:
    """The doctor over a file, in a process whose metadata database is nowhere: good streams are looked at, a bad one is told, and
    what is for a person to finish is left alone."""
    load(database, "django-app.sql")
    path = init()
    path.write_text(path.read_text() + "  misspelt:\n    source: {tabel: public.misspelt}\n")
    nowhere = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody@127.0.0.1:9/nowhere"}
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "reindex", "check", "--file", str(path), "--output", "json"],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    found = {checked["stream"]: checked for checked in json.loads(done.stdout)}
    assert found["shop_article"]["worst"] == "warning"
    assert any(finding["what"] == "target: index" for finding in found["shop_article"]["findings"])
    says = [finding["says"] for finding in found["misspelt"]["findings"]]
    assert any("source.tabel is not known. Did you mean table?" in told for told in says)
    assert set(found) == {"shop_article", "misspelt"}
    assert "Not enabled, and not looked at: auth_user, " in done.stderr


def test_what_init_proposes_passes_the_doctor(
    database: Database, init: Init, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is: what is for a person to finish is not enabled, and is looked at where it is named."""
    load(database, "django-app.sql")
    words = ["reindex", "check", "--file", str(init())]
    args = get_parser().parse_args(words)
    args.func(args)
    assert "shop_article" in capsys.readouterr().out
    args = get_parser().parse_args([*words[:2], "shop_log", *words[2:]])
    with pytest.raises(SystemExit) as ended:
        args.func(args)
    assert ended.value.code == 1
    assert "primary_key names 'id', which is not a column of it" in " ".join(capsys.readouterr().out.split())

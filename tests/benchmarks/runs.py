"""What a run costs that is not the first: one without changes; and 200,000 changed rows of 1,000,000 into the full index, with
and without full text, against psql's COPY and one upsert statement into a table of the same columns and indexes.
``BENCH_UPDATED`` is how many rows there are; a fifth of them changes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow_reindex_provider.testing.postgres import Database
from tests.benchmarks import data, psql, runs_idle
from tests.benchmarks.contest import Answer, process, rate, say
from tests.benchmarks.figures import Figure
from tests.benchmarks.runs_updates import open_index, stream

ROWS = int(os.environ.get("BENCH_UPDATED", "1000000"))
REPETITIONS = 3
SLICES = 5
SETTINGS = {"shared_buffers": "2GB"}
"""Room for the tables, as on a server that somebody has set up: the 128 MB that Postgres comes with make it a figure of how often
a page is read again and written out for another, whoever asks."""
_THEIRS = "public.theirs"


def figures(database: Database) -> list[Figure]:
    idle_s = runs_idle.seconds(database)
    plain = _updates(database, "plain", since=datetime(2026, 2, 1, tzinfo=UTC), stride=1)
    # A load puts what changed together into the same pages, so these are other fifths: each has a fifth of every page.
    full_text = _updates(database, "full_text", since=datetime(2026, 3, 1, tzinfo=UTC), stride=SLICES)
    return [
        Figure.alone("run_idle_ms", idle_s * 1000, "ms", at_most=50),
        Figure.compared("pg_updates", *plain, "rows/s", at_least=1.3),
        Figure.compared("pg_updates_full_text", *full_text, "rows/s", at_least=1.3),
    ]


def _updates(database: Database, form: str, *, since: datetime, stride: int) -> tuple[float, float]:
    """Rows a second of ours, and of psql. :param stride: how many neighbours by key change together."""
    process("runs_updates", form, ROWS, data.first(ROWS)[0], str(since))
    table = _make_theirs(database, form)
    runs: dict[str, list[Answer]] = {"ours": [], "psql": []}
    # The first one finds pages that are packed as a load leaves them, and is not counted.
    for number in range(REPETITIONS + 1):
        window = change(database, since + timedelta(days=number), number, stride)
        before = _updated(database, table)
        ours = process("runs_updates", form, ROWS // SLICES, *window)
        updated, in_place = (now - then for now, then in zip(_updated(database, table), before, strict=True))
        settle(database)
        rows, seconds = psql.run(database, _THEIRS, window)
        if number:
            runs["ours"].append(ours)
            runs["psql"].append({"rows": ROWS // SLICES, "seconds": seconds})
        say(
            f"updates, {form}: {ours['seconds']:.1f} s, {in_place / updated:.0%} within their page, psql {seconds:.1f} s"
            f"{'' if number else ', not counted'}"
        )
        if (ours["rows"], rows) != (ROWS // SLICES, ROWS):
            raise RuntimeError(f"{form}: ours wrote {ours['rows']} rows, and psql's table has {rows}")
    with database.connect() as connection:
        connection.execute(f"DROP TABLE {_THEIRS}")
    return rate(runs["ours"]), rate(runs["psql"])


def _make_theirs(database: Database, form: str) -> str:
    """A table as a person makes it, with the documents and the indexes of ours; the name of ours."""
    with open_index(stream(form)) as session:
        (generation,) = (found.name for found in session.generations() if found.live)
    names = ", ".join(data.COLUMNS)
    with database.connect() as connection:
        connection.execute(f"CREATE TABLE {_THEIRS} (LIKE {generation} INCLUDING GENERATED)")
        connection.execute(
            f"ALTER TABLE {_THEIRS} DROP COLUMN _reindex_version, DROP COLUMN _reindex_deleted, ADD PRIMARY KEY (id)"
        )
        connection.execute(f"INSERT INTO {_THEIRS} ({names}) SELECT {names} FROM {generation}")
        connection.execute(f"CREATE INDEX ON {_THEIRS} (category)")
        if form == "full_text":
            connection.execute(f"CREATE INDEX ON {_THEIRS} USING gin (search)")
    settle(database)
    return str(generation)


def _updated(database: Database, table: str) -> tuple[int, int]:
    """How many rows of it have been updated, and how many of them within their page, so that no index changed."""
    with database.connect() as connection:
        row = connection.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s", [table]
        ).fetchone()
    assert row is not None
    return row


def change(database: Database, start: datetime, number: int, stride: int) -> tuple[str, str]:
    """A fifth of the products has another price and stock; the window in which it has."""
    with database.connect() as connection:
        connection.execute(
            f"UPDATE {data.TABLE} SET price = price + 1, stock = stock + 1,"
            " updated_at = %s + id * interval '1 ms' WHERE id / %s %% %s = %s",
            [start, stride, SLICES, number],
        )
    settle(database)
    return str(start), str(start + timedelta(days=1))


def settle(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")

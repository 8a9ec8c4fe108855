"""Keys whose equal values have several texts: an index follows when a key changes to another of them, and a sweep ends clean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Format, Position, Transform
from airflow_reindex_provider.core.sweeping.records import Difference
from airflow_reindex_provider.databases.postgres.types import ONE_TEXT_TYPES, has_one_text
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.installed_postgres import InstalledPostgres
from airflow_reindex_provider.testing.memory import MemoryCheckpoint, MemoryTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.runs import Runner
from airflow_reindex_provider.testing.sweeps import Sweeper

# Type of the key, an old text and a new one of an equal value, and another value.
KINDS = {
    "numeric": ("1.0", "1.00", "7"),
    "double precision": ("0", "-0", "7"),
    "real": ("-0", "0", "7"),
    "interval": ("1 day", "24:00:00", "3 days"),
    "jsonb": ('{"a": 1.0}', '{"a": 1.00}', "{}"),
    "numeric[]": ("{1.0}", "{1.00}", "{7}"),
    "numrange": ("[1.0,2)", "[1.00,2)", "[7,8)"),
    "nummultirange": ("{[1.0,2)}", "{[1.00,2)}", "{[7,8)}"),
    "pair": ("(1.0,x)", "(1.00,x)", "(7,x)"),
    "amount": ("1.0", "1.00", "7"),
    "citext": ("Ann@example.com", "ann@example.com", "bob"),
    "email": ("ANN", "Ann", "bob"),
    'text COLLATE "nocase"': ("Ann", "ann", "Bob"),
    'varchar(9) COLLATE "nocase"': ("Ann", "ANN", "bob"),
}
TYPES = """
CREATE EXTENSION citext;
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE pair AS (a numeric, b text);
CREATE DOMAIN amount AS numeric CHECK (VALUE > 0);
CREATE DOMAIN email AS citext;
"""


@pytest.fixture(scope="module")
def shared(contrib_postgres: InstalledPostgres) -> Iterator[Database]:
    database = contrib_postgres.create_database("key_texts")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in database.env.items():
            patch.setenv(name, value)
        with database.connect() as connection:
            connection.execute(TYPES)
        yield database
    contrib_postgres.drop_database(database.name)


class World:
    """A table with such a key, and an index of it."""

    def __init__(
        self,
        database: Database,
        connection: psycopg.Connection[Any],
        kind: str,
        transform: Transform | None,
        **options: Any,
    ) -> None:
        self.connection = connection
        self.same = f"id = %s::{kind.partition(' COLLATE')[0]}"
        connection.execute("DROP TABLE IF EXISTS items, items_tombstones; DROP VIEW IF EXISTS items_index")
        connection.execute(
            f"CREATE TABLE items (id {kind}, part int, note text, updated_at timestamptz, PRIMARY KEY (id, part))"
        )
        self.source = PostgresSource(
            database.conn_id,
            table="public.items",
            primary_key=("id", "part"),
            cursor_field="updated_at",
            margin=timedelta(0),
            **options,
        )
        target = PostgresTarget(database.conn_id, index="public.items_index")
        self.run = Runner(
            source=self.source, target=target, stream=f"{kind} {transform} {options}", transform=transform
        )
        self.sweeper = Sweeper(run=self.run, max_delete_fraction=1.0)

    def put(self, *keys: str) -> None:
        for key in keys:
            self.connection.execute("INSERT INTO items VALUES (%s, 1, 'x', clock_timestamp())", [key])

    def respell(self, new: str, *, at: str = "updated_at = clock_timestamp()") -> None:
        self.connection.execute(f"UPDATE items SET id = %s, note = 'y', {at} WHERE {self.same}", [new, new])

    def held(self, name: str) -> list[tuple[str, str]]:
        return sorted(self.connection.execute(f"SELECT id::text, note FROM {name}"))

    def is_true(self) -> bool:
        return self.held("items") == self.held("items_index")


@pytest.fixture
def connection(shared: Database) -> Iterator[psycopg.Connection[Any]]:
    with shared.connect() as connection:
        yield connection
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relname ~ '^items_index_' AND relkind = 'r'"
        ).fetchall():
            connection.execute(f'DROP TABLE "{name}" CASCADE')


@pytest.mark.parametrize(
    ("kind", "transform"),
    [
        *(pytest.param(kind, None, id=f"{kind}-pg_copy") for kind in KINDS),
        *(pytest.param(kind, lambda document: document, id=f"{kind}-rows") for kind in ("numeric", "citext")),
    ],
)
def test_an_index_follows_a_key_to_its_new_text(
    shared: Database, connection: psycopg.Connection[Any], kind: str, transform: Transform | None
) -> None:
    """Found by a run or by a sweep, with a cursor field that was moved or was not: one document, with the key as it is now; and
    when the row is deleted at last, none."""
    old, new, other = KINDS[kind]
    world = World(shared, connection, kind, transform)
    world.put(old, other)
    world.run.run()
    assert world.is_true()

    world.respell(new)
    world.run.run()
    world.sweeper.sweep()
    assert world.is_true()
    assert world.sweeper.sweep()[0].counts == {}

    world.respell(old, at="updated_at = updated_at")
    found, done = world.sweeper.sweep()
    assert (found.counts, done.spared) == ({Difference.MISSING: 1, Difference.ORPHANED: 1}, 0)
    assert [key for key, _ in world.held("items_index")] == [key for key, _ in world.held("items")]
    assert world.sweeper.sweep()[0].counts == {}

    world.respell(new)
    connection.execute(f"DELETE FROM items WHERE {world.same}", [new])
    world.run.run()
    world.sweeper.sweep()
    assert world.is_true()
    assert world.sweeper.sweep()[0].counts == {}


def test_what_equal_values_are_written_as_is_known_of_every_type(connection: psycopg.Connection[Any]) -> None:
    """The server's own types that can be a key: each is on the list of those with one text, or among those that are known to
    have several, or nobody has decided yet, and this fails."""
    several = {"numeric", "real", "double precision", "interval", "jsonb", "numrange", "nummultirange"}
    no_columns = {"oidvector", "tsquery", "tid"}
    rows = connection.execute(
        "SELECT format_type(t.oid, NULL) FROM pg_type t JOIN pg_opclass o ON o.opcintype = t.oid AND o.opcdefault"
        " JOIN pg_am m ON m.oid = o.opcmethod AND m.amname = 'btree' WHERE t.typnamespace = 'pg_catalog'::regnamespace"
        " AND t.typtype <> 'p'"
        " UNION SELECT format_type(rngtypid, NULL) FROM pg_range r JOIN pg_type t ON t.oid = rngtypid"
        " WHERE t.typnamespace = 'pg_catalog'::regnamespace"
        " UNION SELECT format_type(rngmultitypid, NULL) FROM pg_range r JOIN pg_type t ON t.oid = rngmultitypid"
        " WHERE t.typnamespace = 'pg_catalog'::regnamespace"
    )
    types = {name for (name,) in rows}
    assert {name for name in types if not has_one_text(name)} - several - no_columns == set()
    assert not several & ONE_TEXT_TYPES


@pytest.mark.parametrize(
    ("type", "one", "other"),
    [
        ("character(5)", "a", "a  "),
        ("inet", "10.0.0.1", "10.0.0.1/32"),
        ("cidr", "10/8", "10.0.0.0/8"),
        ("macaddr", "08:00:2b:01:02:03", "08002B-010203"),
        ("bytea", "ab", "\\x6162"),
        ("uuid", "{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("timestamptz", "2026-01-01 12:00+01", "2026-01-01 11:00+00"),
        ("int4range", "[1,2]", "(0,3)"),
        ("daterange", "[2026-01-01,2026-01-02]", "[2026-01-01,2026-01-03)"),
        ("tstzrange", "[2026-01-01 12:00+01,)", "[2026-01-01 11:00+00,infinity]"),
        ("int4multirange", "{[1,2],[3,4]}", "{[1,5)}"),
        ("tsvector", "b a", "a b b"),
        ("money", "1", "1.00"),
        ("numeric(10,2)", "1", "1.00"),
        ("character(3)[]", "{a}", '{"a "}'),
    ],
)
def test_equal_values_of_these_have_one_text(
    connection: psycopg.Connection[Any], type: str, one: str, other: str
) -> None:
    """However they were written by whoever put them in."""
    statement = f"SELECT a::text = b::text OR a <> b FROM (SELECT %s::{type} AS a, %s::{type} AS b) AS s"
    assert connection.execute(statement, [one, other]).fetchone() == (True,)


@pytest.mark.parametrize(
    ("type", "one"),
    [
        ("numeric(10,2)", True),
        ("numeric(20,0)[]", True),
        ("numeric", False),
        ("character varying(9)", True),
        ("character(3)[]", True),
        ("timestamp(3) with time zone", True),
        ("timestamp with time zone", True),
        ("citext", False),
        ("my.type", False),
        ("vector(3)", False),
    ],
)
def test_a_scale_makes_texts_equal(type: str, one: bool) -> None:
    """As a column declares it; what is on no list has several texts."""
    assert has_one_text(type) is one


def test_deletions_of_several_texts_of_a_key_in_one_chunk(
    shared: Database, connection: psycopg.Connection[Any]
) -> None:
    """As tombstones bring them: the document goes whichever text it has, and stays where only others are deleted; two documents
    of one key are an error, of which nothing is lost in silence."""
    world = World(shared, connection, "numeric", None)
    world.put("1.0", "2.0", "3.0", "7")
    plan = world.run.run().plan
    past = Position("2026-01-01")

    def write(*documents: Document) -> Counts:
        with world.run.sessions() as (source, target):
            schema = source.schema()
            with target.writer(plan.generation, schema, Format.ROWS) as writer:
                return writer.write(Chunk(past, Format.ROWS, documents)).counts

    def gone(text: str, later: int) -> Document:
        return Document((text, "1"), 10**16 + later, None)

    assert write(gone("1.0", 1), gone("1.00", 2), gone("2.00", 1), gone("2.000", 2)).deleted == 1
    assert [key for key, _ in world.held("items_index")] == ["2.0", "3.0", "7"]
    here = Document(("3.00", "1"), 10**16, {"id": "3.00", "part": "1", "note": "z"})
    assert write(gone("3.0", 5), here).updated == 1
    assert ("3.00", "z") in world.held("items_index")
    with pytest.raises(ConfigurationError, match="a second time"):
        write(here, replace(here, key=("3.000", "1")))


TOMBSTONES = {
    "numeric",
    "double precision",
    "real",
    "jsonb",
    "amount",
    "citext",
    "email",
    *(k for k in KINDS if "nocase" in k),
}


UNFIT = {
    "of another collation": ('text COLLATE "nocase"', 'k COLLATE "C"', "nothing makes (k) unique"),
    "of another equality": ("pair", "k record_image_ops", "nothing makes (k) unique"),
    "without an order": ("hstore", "k", "whose values have no order"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_an_index_that_keeps_other_keys_apart(shared: Database, connection: psycopg.Connection[Any], what: str) -> None:
    """Its rows may have values that are equal to their column, or that nothing puts in order: no run would come past them."""
    type, index, says = UNFIT[what]
    connection.execute("CREATE EXTENSION IF NOT EXISTS hstore; DROP TABLE IF EXISTS unfit")
    connection.execute(f"CREATE TABLE unfit (k {type} NOT NULL, at timestamptz DEFAULT now())")
    connection.execute(f"CREATE UNIQUE INDEX ON unfit ({index})")
    source = PostgresSource(shared.conn_id, table="unfit", primary_key="k", cursor_field="at")
    with source.open() as session, pytest.raises(ConfigurationError) as caught:
        session.survey()
    assert says in str(caught.value)
    connection.execute("DROP TABLE unfit")


@pytest.mark.parametrize("kind", [*KINDS, "numeric(4,2)"])
def test_tombstones_are_about_texts(shared: Database, connection: psycopg.Connection[Any], kind: str) -> None:
    """Each text that a key has had goes from the index with the next run, whether the index takes two texts for one key or not;
    the row that is there stays. Of a key whose texts cannot be indexed there are no tombstones, and the error names it."""
    old, new, other = KINDS.get(kind, ("1.00", "1", "7"))
    world = World(shared, connection, kind, None, tombstones=True)
    if kind in KINDS and kind not in TOMBSTONES:
        with pytest.raises(ConfigurationError, match="primary_key column 'id'"):
            world.source.install_tombstones()
        return
    for _ in range(2):
        world.source.install_tombstones()
    by_text = replace(world.run, target=MemoryTarget(), store=MemoryCheckpoint())
    world.put(old, other)
    world.run.run()
    by_text.run()

    def is_true() -> bool:
        world.run.run()
        by_text.run()
        documents = by_text.target.documents()  # type: ignore[attr-defined]
        return world.is_true() and {key[0] for key in documents} == {key for key, _ in world.held("items")}

    # The cursor is the application's own, and lags behind the server's clock that stamps tombstones.
    world.respell(new, at="updated_at = clock_timestamp() - interval '0.01 s'")
    assert is_true()
    world.respell(old)
    world.respell(new)
    connection.execute(f"DELETE FROM items WHERE {world.same}", [new])
    assert is_true()
    world.put(old)
    assert is_true()
    connection.execute("TRUNCATE items")
    assert is_true()
    assert world.held("items_index") == []
    assert world.sweeper.sweep()[0].counts == {}


@pytest.mark.parametrize(
    "where", [{"table": "public.invoices"}, {"query": "SELECT * FROM invoices"}], ids=["table", "query"]
)
def test_a_group_has_one_text(shared: Database, connection: psycopg.Connection[Any], where: dict[str, str]) -> None:
    """A column whose collation takes several texts for one value is refused, as a citext is; one that does not care for case in
    its order alone is not."""
    connection.execute("DROP TABLE IF EXISTS invoices; DROP COLLATION IF EXISTS german")
    connection.execute("CREATE COLLATION german (provider = icu, locale = 'de')")
    connection.execute(
        'CREATE TABLE invoices (id int PRIMARY KEY, loose text COLLATE nocase, "odd ""1" email, strict text COLLATE german,'
        " plain varchar(9), updated_at timestamptz NOT NULL DEFAULT now())"
    )
    for name, refused in (("loose", True), ('odd "1', True), ("strict", False), ("plain", False)):
        source = PostgresSource(shared.conn_id, primary_key="id", cursor_field="updated_at", group_by=name, **where)
        with source.open() as session:
            if refused:
                with pytest.raises(ConfigurationError, match=f"group_by column '{name}'"):
                    session.schema()
            else:
                session.schema()

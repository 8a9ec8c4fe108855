"""A swap that changes an index's columns makes its view anew: what people have attached to it stays, or is named before."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import PostgresTarget
from airflow_reindex_provider.testing.postgres import Database
from airflow_reindex_provider.testing.rebuilds import Rebuilder
from airflow_reindex_provider.testing.runs import Runner

Connection = psycopg.Connection[Any]
_stamps = itertools.count(1)

# What a catalogue that refers to relations or to their columns says of a view, and what becomes of it.
KINDS = {
    "pg_attribute": "made anew, from the table",
    "pg_attrdef": "attached again",
    "pg_class": "a name of its own, no storage, no TOAST",
    "pg_constraint": "not of views",
    "pg_extension": "names tables of its own alone",
    "pg_foreign_table": "not of views",
    "pg_index": "not of views",
    "pg_inherits": "not of views",
    "pg_partitioned_table": "not of views",
    "pg_policy": "not of views",
    "pg_publication_rel": "not of views",
    "pg_rewrite": "attached again",
    "pg_sequence": "not of views",
    "pg_statistic": "not of views",
    "pg_statistic_ext": "not of views",
    "pg_subscription_rel": "not of views",
    "pg_trigger": "attached again",
    "pg_type": "the row's type, made anew; what is made of it hinders the swap",
    # By way of a class and an object.
    "pg_depend": "hinders the swap",
    "pg_description": "attached again",
    "pg_init_privs": "of an extension's objects, which hinder the swap",
    "pg_seclabel": "attached again",
    "pg_shdepend": "owner and grantees",
    "pg_shdescription": "of shared objects",
    "pg_shseclabel": "of shared objects",
}

ATTACHED = """
ALTER VIEW items_index SET (security_barrier = true, security_invoker = true, check_option = local);
COMMENT ON COLUMN items_index.note IS 'the note''s own';
COMMENT ON COLUMN items_index."a""b %s" IS 'odd';
ALTER VIEW items_index ALTER COLUMN note SET DEFAULT 'it''s %s';
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER "guard ""1" INSTEAD OF INSERT ON items_index FOR EACH ROW EXECUTE FUNCTION f('%s', 'it''s');
CREATE TRIGGER every AFTER UPDATE ON items_index FOR EACH STATEMENT EXECUTE FUNCTION f();
COMMENT ON TRIGGER every ON items_index IS 'each statement';
CREATE RULE "no deletes" AS ON DELETE TO items_index WHERE old.note = '%' DO INSTEAD NOTHING;
COMMENT ON RULE "no deletes" ON items_index IS 'why';
GRANT SELECT, INSERT ON items_index TO "reader ""1" WITH GRANT OPTION;
GRANT SELECT ON items_index TO PUBLIC;
GRANT UPDATE ("a""b %s"), SELECT (note) ON items_index TO "reader ""1";
GRANT UPDATE (note) ON items_index TO PUBLIC;
REVOKE TRUNCATE ON items_index FROM CURRENT_USER;
"""
SEEN = """
SELECT 'options', reloptions::text FROM pg_class WHERE oid = 'items_index'::regclass
UNION ALL SELECT 'acl', string_agg(a::text, ' ' ORDER BY a::text) FROM pg_class, unnest(relacl) a
  WHERE oid = 'items_index'::regclass
UNION ALL SELECT 'column ' || attname, concat_ws('; ', attacl, col_description(attrelid, attnum), pg_get_expr(adbin, adrelid))
  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  WHERE attrelid = 'items_index'::regclass AND attname <> 'added'
UNION ALL SELECT 'trigger', concat_ws('; ', pg_get_triggerdef(oid), obj_description(oid, 'pg_trigger'))
  FROM pg_trigger WHERE tgrelid = 'items_index'::regclass
UNION ALL SELECT 'rule', concat_ws('; ', pg_get_ruledef(oid), obj_description(oid, 'pg_rewrite'))
  FROM pg_rewrite WHERE ev_class = 'items_index'::regclass AND rulename <> '_RETURN'
ORDER BY 1, 2
"""


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        connection.execute(
            'CREATE TABLE items (id int PRIMARY KEY, "a""b %s" int, note text, updated_at timestamptz NOT NULL DEFAULT now());'
            " INSERT INTO items (id) VALUES (1)"
        )
        connection.execute('CREATE ROLE "reader ""1"')
        yield connection
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.execute('DROP OWNED BY "reader ""1"; DROP ROLE "reader ""1"')


@pytest.fixture
def run(database: Database, db: Connection) -> Runner:
    source = PostgresSource(
        database.conn_id, table="public.items", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
    )
    run = Runner(source=source, target=PostgresTarget(database.conn_id, index="public.items_index"))
    run.run()
    return run


def rebuild(run: Runner) -> None:
    Rebuilder(run=run).rebuild(f"20270101t{next(_stamps):06}")


def test_every_catalogue_that_says_something_of_a_view_is_thought_of(db: Connection) -> None:
    """A server with a new one fails this, until somebody decides what a swap does with it."""
    rows = db.execute(
        "SELECT DISTINCT fktable::regclass::text FROM pg_get_catalog_foreign_keys()"
        " WHERE pktable IN ('pg_class'::regclass, 'pg_attribute'::regclass) UNION"
        " SELECT attrelid::regclass::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
        " WHERE attname IN ('classoid', 'classid', 'refclassid') AND relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'"
    )
    assert {name for (name,) in rows} == set(KINDS)


def test_what_is_attached_to_the_view_stays(run: Runner, db: Connection) -> None:
    """All of it, as it was, with names and texts that need quotes; also where the view is made anew twice, and where others'
    default privileges would give a new view more."""
    db.execute(ATTACHED)
    before = db.execute(SEEN).fetchall()
    assert len(before) == 9
    db.execute('ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "reader ""1"')
    for change in ("ADD COLUMN added int, DROP COLUMN note, ADD COLUMN note text", "DROP COLUMN added"):
        oid = db.execute("SELECT 'items_index'::regclass::oid").fetchone()
        db.execute(f"ALTER TABLE items {change}")
        rebuild(run)
        assert db.execute("SELECT 'items_index'::regclass::oid").fetchone() != oid
        assert db.execute(SEEN).fetchall() == before


def test_what_belongs_to_a_column_goes_with_it(run: Runner, db: Connection, caplog: pytest.LogCaptureFixture) -> None:
    """And the log says so."""
    db.execute("COMMENT ON COLUMN items_index.note IS 'x'; GRANT SELECT (note) ON items_index TO PUBLIC")
    db.execute("ALTER TABLE items DROP COLUMN note")
    with caplog.at_level(logging.WARNING):
        rebuild(run)
    assert "the comment on column note of the view goes with the column" in caplog.text
    assert "a privilege on column note" in caplog.text


@pytest.mark.parametrize(
    ("attached", "named", "mended"),
    [
        (
            "CREATE RULE r AS ON INSERT TO items_index DO INSTEAD INSERT INTO elsewhere VALUES (new.note)",
            "rule r cannot be attached",
            "DROP RULE r ON items_index",
        ),
        (
            "SET allow_system_table_mods = on; INSERT INTO pg_seclabel VALUES"
            " ('items_index'::regclass, 'pg_class'::regclass, 0, 'nobody', 'secret')",
            'the security label cannot be attached to it again: security label provider "nobody" is not loaded',
            "DELETE FROM pg_seclabel",
        ),
        ("CREATE VIEW other AS SELECT * FROM items_index", "other depends on it", "DROP VIEW other"),
        (
            "CREATE FUNCTION of_rows(items_index) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "of_rows",
            "DROP FUNCTION of_rows",
        ),
        ("CREATE TABLE kept (v items_index)", "kept", "DROP TABLE kept"),
    ],
)
def test_what_cannot_stay_is_named_before_the_swap(
    run: Runner, db: Connection, attached: str, named: str, mended: str
) -> None:
    """The live index is served as before, with what hangs on it; once that is out of the way, the swap takes place."""
    db.execute("CREATE TABLE elsewhere (note text)")
    db.execute(attached)
    db.execute("ALTER TABLE items DROP COLUMN note, ADD COLUMN first int")
    before = db.execute(SEEN).fetchall()
    with pytest.raises(ConfigurationError, match="items_index") as caught:
        rebuild(run)
    assert named in str(caught.value)
    assert db.execute(SEEN).fetchall() == before
    db.execute(mended)
    rebuild(run)
    assert db.execute("SELECT first FROM items_index").fetchall() == [(None,)]

"""The checkpoint stores against a real Postgres and a real Airflow metadata database, and what is special to each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any
from urllib.parse import quote

import airflow_task
import psycopg
import pytest
from airflow_task import AirflowTask, InTask
from psycopg.conninfo import conninfo_to_dict

from airflow_reindex_provider.checkpoints.asset import AssetCheckpoint
from airflow_reindex_provider.checkpoints.stored import read_checkpoint, storage_key
from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
from airflow_reindex_provider.core.errors import (
    CheckpointConflictError,
    CheckpointInvalidError,
    ConfigurationError,
    TransientError,
)
from airflow_reindex_provider.core.model import Checkpoint, Position
from airflow_reindex_provider.core.protocols import CheckpointStore
from airflow_reindex_provider.testing.checkpoint_conformance import (
    FULL,
    GENERATION,
    STREAM,
    CheckpointStoreConformance,
)

pytestmark = pytest.mark.versions

KEY = f"reindex.{STREAM}.{GENERATION}"


class TestMemoryCheckpoint(CheckpointStoreConformance):
    """The stand-in for tests keeps the same promises."""

    compare_and_set = True

    @pytest.fixture
    def store(self) -> CheckpointStore:
        return pytest.importorskip("airflow_reindex_provider.testing.memory").MemoryCheckpoint()

    def corrupt(self, store: Any, stream: str, generation: str) -> None:
        pytest.skip("nobody edits what is in memory")


class TestVariableCheckpoint(CheckpointStoreConformance):
    """Real Variables, reached as a task reaches them."""

    compare_and_set = False

    @pytest.fixture
    def store(self, task: AirflowTask) -> InTask:
        task.run(airflow_task.delete_variables)
        return InTask(VariableCheckpoint(), task)

    def corrupt(self, store: Any, stream: str, generation: str) -> None:
        store.task.run(airflow_task.set_variable, storage_key("reindex", stream, generation), "2026-11-23, I think")

    def test_the_value_can_be_read_and_edited(self, store: InTask) -> None:
        """A person finds indented JSON, sets another cursor, and the next run starts there, parked documents kept."""
        saved = store.save(FULL)
        text = store.task.run(airflow_task.get_variable, KEY)
        assert text.startswith("{\n")
        assert "ключ" in text

        edited = {**json.loads(text), "cursor": "2026-01-01", "key": []}
        store.task.run(airflow_task.set_variable, KEY, json.dumps(edited))

        assert store.load(STREAM, GENERATION) == replace(saved, position=Position("2026-01-01"))
        assert store.save(store.load(STREAM, GENERATION)).version == saved.version + 1

    def test_a_cursor_alone_is_enough(self, store: InTask) -> None:
        """A value written by hand is a checkpoint, and a run that was under way does not overwrite it."""
        read = store.save(store.save(FULL))
        store.task.run(airflow_task.set_variable, KEY, '{"cursor": "2026-01-01"}')

        with pytest.raises(CheckpointConflictError):
            store.save(read)

        loaded = store.load(STREAM, GENERATION)
        assert loaded.position == Position("2026-01-01")
        assert store.save(loaded).version == loaded.version + 1

    def test_a_failed_read_is_not_an_empty_store(self, store: InTask) -> None:
        """When Airflow does not answer, the run fails and is tried again; it does not read from the first row on."""
        saved = store.save(FULL)

        for broken in ("GetVariable", "GetVariable, GetVariableKeys"):
            with pytest.raises(TransientError, match=KEY):
                store.task.run(airflow_task.without_answers, broken, store.store.load, STREAM, GENERATION)

        assert store.load(STREAM, GENERATION) == saved

    def test_two_prefixes_do_not_mix(self, store: InTask) -> None:
        """Stores with different prefixes, of two environments say, keep checkpoints of their own."""
        other = InTask(VariableCheckpoint(prefix="staging"), store.task)
        store.save(FULL)

        assert other.load(STREAM, GENERATION).version == 0

    def test_the_reset_command_works(self, store: InTask) -> None:
        """The command that the message prints is one that a shell takes."""
        store.save(FULL)
        command = re.search(r"\(airflow (variables delete '.*')\)", store.where(STREAM, GENERATION))
        assert command is not None

        subprocess.run(
            ["/bin/sh", "-c", f"{sys.executable} -m airflow {command[1]}"],
            env=store.task.env,
            check=True,
            capture_output=True,
        )

        assert store.load(STREAM, GENERATION).version == 0

    @pytest.mark.parametrize("prefix", ["", "a/b", "a b", "é"])
    def test_a_prefix_that_is_no_part_of_a_key_is_refused(self, prefix: str) -> None:
        """At once, in the Dag file."""
        with pytest.raises(ConfigurationError, match="prefix"):
            VariableCheckpoint(prefix=prefix)

    def test_a_name_too_long_for_airflow_is_refused(self) -> None:
        """Before Airflow's database cuts it off or refuses it."""
        with pytest.raises(ConfigurationError, match="250"):
            VariableCheckpoint().where("p" * 240, GENERATION)


class TestAssetCheckpoint(CheckpointStoreConformance):
    """A real asset's state, reached as a task that has it among its inlets reaches it."""

    compare_and_set = False

    @pytest.fixture
    def store(self, task: AirflowTask) -> InTask:
        task.run(airflow_task.clear_state)
        return InTask(AssetCheckpoint(airflow_task.ASSET), task)

    def corrupt(self, store: Any, stream: str, generation: str) -> None:
        store.task.run(airflow_task.set_state, storage_key("reindex", stream, generation), ["2026-11-23"])

    def test_an_asset_is_as_good_as_its_name(self, store: InTask) -> None:
        """``AssetCheckpoint(Asset(...))`` and ``AssetCheckpoint("...")`` reach the same state."""
        from airflow.sdk import Asset

        saved = store.save(FULL)

        assert InTask(AssetCheckpoint(Asset(airflow_task.ASSET)), store.task).load(STREAM, GENERATION) == saved

    def test_an_asset_that_the_task_does_not_have_is_refused(self, task: AirflowTask) -> None:
        """The error says what to add to which task."""
        with pytest.raises(ConfigurationError, match=r"'another'.*'serve'.*inlets"):
            InTask(AssetCheckpoint("another"), task).load(STREAM, GENERATION)


class TestTableCheckpoint(CheckpointStoreConformance):
    """A table in a real Postgres."""

    compare_and_set = True

    @pytest.fixture
    def store(self, database: Any) -> TableCheckpoint:
        return TableCheckpoint(database.conn_id)

    @pytest.fixture(autouse=True)
    def _database(self, database: Any) -> None:
        self.database = database

    def corrupt(self, store: CheckpointStore, stream: str, generation: str) -> None:
        with self.database.connect() as connection:
            connection.execute("UPDATE reindex_checkpoint SET parked = '{\"7\": 1}'")

    def test_the_row_can_be_edited(self, store: TableCheckpoint) -> None:
        """A person sets another cursor by UPDATE; the next run starts there, parked documents kept."""
        saved = store.save(FULL)
        with self.database.connect() as connection:
            connection.execute("UPDATE reindex_checkpoint SET cursor = '2026-01-01', key = '{}'")

        assert store.load(STREAM, GENERATION) == replace(saved, position=Position("2026-01-01"))

    @pytest.mark.parametrize(
        "garbage",
        [
            "version = 0",
            "version = -1",
            "key = '{NULL}'",
            "key = '{{a},{b}}'",
            "saved_at = 'infinity'",
            "parked = '[7]'",
        ],
    )
    def test_what_the_column_types_let_through_is_still_garbage(self, store: TableCheckpoint, garbage: str) -> None:
        """What Postgres takes and no checkpoint can mean is an error that names the row; the DELETE in it mends it."""
        store.save(FULL)
        with self.database.connect() as connection:
            connection.execute(f"UPDATE reindex_checkpoint SET {garbage}")

        with pytest.raises(CheckpointInvalidError, match="reindex_checkpoint") as caught:
            store.load(STREAM, GENERATION)

        delete = re.search(r"\((DELETE FROM .*;)\)", str(caught.value))
        assert delete is not None
        with self.database.connect() as connection:
            connection.execute(delete[1])
        assert store.load(STREAM, GENERATION).version == 0

    def test_many_make_the_table_at_once(self, store: TableCheckpoint) -> None:
        """Several first runs at the same moment all find the table made."""
        at_once = Barrier(8)

        def load(number: int) -> int:
            at_once.wait()
            return store.load(STREAM, str(number)).version

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(load, range(8))) == [0] * 8

    @pytest.mark.parametrize("table", ["checkpoints", 'public.O"Brien', "public.Große Liste; --"])
    def test_any_name_is_a_table(self, table: str) -> None:
        """Names are quoted, not pasted; without a schema it is the role's search path that decides."""
        store = TableCheckpoint(self.database.conn_id, table=table)
        saved = store.save(FULL)

        assert store.load(STREAM, GENERATION) == saved
        with self.database.connect() as connection:
            names = connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '^(pg_|sql_)'")
            assert [name for (name,) in names] == [table.removeprefix("public.")]

    @pytest.mark.parametrize("table", ["", "a.b.c", "public."])
    def test_a_name_that_is_none_is_refused(self, table: str) -> None:
        """At once, in the Dag file."""
        with pytest.raises(ConfigurationError):
            TableCheckpoint("shop_db", table=table)

    def test_an_unknown_connection_is_named(self) -> None:
        """A retry cannot help, so it is a configuration error."""
        with pytest.raises(ConfigurationError, match="no_such_conn"):
            TableCheckpoint("no_such_conn").load(STREAM, GENERATION)

    def test_a_missing_schema_is_named(self) -> None:
        """Schemas are not made by the way."""
        with pytest.raises(ConfigurationError, match="no_such_schema"):
            TableCheckpoint(self.database.conn_id, table="no_such_schema.checkpoint").load(STREAM, GENERATION)

    def test_another_table_of_that_name_is_left_alone(self, store: TableCheckpoint) -> None:
        """A table that holds something else is an error that says so."""
        with self.database.connect() as connection:
            connection.execute("CREATE TABLE reindex_checkpoint (id int)")

        with pytest.raises(ConfigurationError, match="no checkpoint table"):
            store.load(STREAM, GENERATION)

    def test_the_printed_grants_are_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A role without privileges gets, before anything is written, the GRANT that mends it: the schema's, then the
        table's, also where it may read but not write."""
        role = f'o"{self.database.name}'
        quoted = '"' + role.replace('"', '""') + '"'
        host = conninfo_to_dict(self.database.dsn)["host"]
        monkeypatch.setenv(
            "AIRFLOW_CONN_LIMITED", f"postgres://{quote(role)}@{quote(str(host), safe='')}/{self.database.name}"
        )
        store = TableCheckpoint("limited")

        with self.database.connect() as admin:
            admin.execute(f"CREATE ROLE {quoted} LOGIN")
            try:
                mend(store, admin, "CREATE ON SCHEMA")
                assert store.save(FULL).version == 1
                admin.execute(
                    f"REVOKE ALL ON SCHEMA public FROM {quoted}, public; GRANT USAGE ON SCHEMA public TO {quoted}"
                )
                admin.execute("ALTER TABLE reindex_checkpoint OWNER TO postgres")
                admin.execute(f"REVOKE ALL ON reindex_checkpoint FROM {quoted}")
                mend(store, admin, "SELECT, INSERT, UPDATE, DELETE ON TABLE")
                admin.execute(f"REVOKE UPDATE ON reindex_checkpoint FROM {quoted}")
                mend(store, admin, "UPDATE ON TABLE")
                assert store.save(store.load(STREAM, GENERATION)).version == 2
            finally:
                admin.execute(f"DROP OWNED BY {quoted}")
                admin.execute(f"DROP ROLE {quoted}")


def mend(store: TableCheckpoint, admin: psycopg.Connection[Any], expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        store.load(STREAM, GENERATION)
    grant = re.search(r"GRANT .*;", str(caught.value))
    assert grant is not None
    assert expected in grant[0]
    admin.execute(grant[0])
    store.load(STREAM, GENERATION)


@pytest.mark.parametrize("store", [VariableCheckpoint(), AssetCheckpoint("products")], ids=["variable", "asset"])
def test_outside_a_task_the_airflow_stores_say_so(store: CheckpointStore) -> None:
    """Nothing is taken for empty where Airflow cannot be asked."""
    with pytest.raises(ConfigurationError, match="inside a running task"):
        store.load(STREAM, GENERATION)


def test_making_a_store_costs_a_dag_file_nothing() -> None:
    """Neither Airflow nor a client is imported before a store is used."""
    script = (
        "import sys;"
        "from airflow_reindex_provider import AssetCheckpoint, TableCheckpoint, VariableCheckpoint;"
        "VariableCheckpoint(), TableCheckpoint('shop_db'), AssetCheckpoint('products');"
        "print({'airflow', 'psycopg'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "set()"


WHOLE = {**FULL.to_json(), "version": 5}


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        ({"cursor": None}, Checkpoint(STREAM, GENERATION, version=1)),
        ({"cursor": 20261123}, Checkpoint(STREAM, GENERATION, Position("20261123"), version=1)),
        ({"cursor": "7", "key": None}, Checkpoint(STREAM, GENERATION, Position("7"), version=1)),
        (WHOLE, replace(FULL, version=5)),
        ({**WHOLE, "parked": []}, replace(FULL, parked=(), version=5)),
    ],
)
def test_an_edit_that_can_only_mean_one_thing_is_taken(edited: dict[str, Any], expected: Checkpoint) -> None:
    """What is left out has one safe meaning, and a whole number is its text."""
    assert read_checkpoint(edited, stream=STREAM, generation=GENERATION, where="") == expected


@pytest.mark.parametrize(
    "edited",
    [
        None,
        "2026-11-23",
        {},
        {"crusor": "2026-11-23"},
        {**WHOLE, "crusor": "2026-11-23"},
        {**WHOLE, "stream": "orders"},
        {**WHOLE, "generation": "products_20250101t000000"},
        {**WHOLE, "cursor": 1.5},
        {**WHOLE, "cursor": True},
        {**WHOLE, "key": "7"},
        {**WHOLE, "key": [7]},
        {**WHOLE, "version": "5"},
        {**WHOLE, "version": True},
        {**WHOLE, "version": 0},
        {**WHOLE, "saved_by": 7},
        {**WHOLE, "parked": None},
        {**WHOLE, "parked": {}},
        {**WHOLE, "parked": [{"key": ["7"]}]},
        {**WHOLE, "parked": [{**WHOLE["parked"][0], "key": "7"}]},
        {**WHOLE, "parked": [{**WHOLE["parked"][0], "attempts": "3"}]},
        {**WHOLE, "parked": [{**WHOLE["parked"][0], "next_try_at": "tomorrow"}]},
        {**WHOLE, "parked": [{**WHOLE["parked"][0], "next_try_at": "2026-11-23T18:40:00"}]},
    ],
)
def test_an_edit_that_could_hide_a_slip_is_refused(edited: Any) -> None:
    """The error says where the checkpoint is; a run never starts from a guess."""
    with pytest.raises(CheckpointInvalidError, match="the place"):
        read_checkpoint(edited, stream=STREAM, generation=GENERATION, where="the place")

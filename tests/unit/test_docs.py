"""What the documentation says is so: its code runs, its names, paths, commands and links exist, its tables are the code's."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import yaml

import airflow_reindex_provider
from airflow_reindex_provider.checkpoints.table import TableCheckpoint
from airflow_reindex_provider.core import errors
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Batch, Mode, Position, Window
from airflow_reindex_provider.core.parking import retry_delay
from airflow_reindex_provider.core.progress import Progress, Status
from airflow_reindex_provider.sources.postgres import PostgresSource
from airflow_reindex_provider.targets.postgres import FullText, PostgresTarget
from airflow_reindex_provider.testing.memory import MemoryReporter
from airflow_reindex_provider.testing.postgres import Database, EmbeddedPostgres
from airflow_reindex_provider.testing.runs import Runner

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
TEXT = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_TOP = ("docs/", "dags/", "tests/", ".ci/", "airflow_reindex_provider/")


def _blocks(language: str, *pages: str) -> list[tuple[str, str]]:
    """Page and text of every code block in the language; of all pages, or of those named."""
    return [(p, text) for p in pages or TEXT for kind, text in _BLOCK.findall(TEXT[p]) if kind == language]


def _prose(page: str) -> str:
    return _BLOCK.sub("", TEXT[page])


def _numbered(blocks: list[tuple[str, str]]) -> list[Any]:
    return [pytest.param(text, id=f"{page}-{number}") for number, (page, text) in enumerate(blocks)]


def _makes_a_dag(text: str) -> bool:
    return "ReindexDag(" in text or "DAG(" in text


@pytest.mark.parametrize("text", _numbered(_blocks("python")))
def test_python_runs(text: str, tmp_path: Path) -> None:
    """Every Python block is a whole program; one that makes a Dag is a Dag file without import errors."""
    if (file := re.search(r'ReindexDags\("([\w.]+)"\)', text)) is not None:
        _expect_dags_of_a_file(text, file[1], tmp_path)
        return
    if not _makes_a_dag(text):
        exec(compile(text, "documentation", "exec"), {"__name__": "documentation"})
        return
    from airflow.dag_processing.dagbag import DagBag

    file = tmp_path / "dag_of_documentation.py"
    file.write_text(text)
    bag = DagBag(str(file))
    assert bag.import_errors == {}
    assert len(bag.dags) == 1


def _expect_dags_of_a_file(text: str, name: str, folder: Path) -> None:
    """With the file beside it that the page shows."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    shown = next(block for _, block in _blocks("yaml", "docs/streams-file.md") if "version: 1" in block)
    (folder / name).write_text(shown)
    file = folder / "dag_of_documentation.py"
    file.write_text(text)
    bag = DagBag(str(file))
    assert bag.import_errors == {}
    assert len(bag.dags) == 4
    for dag in bag.dags.values():
        DagSerialization.to_dict(dag)


def test_readme_shows_a_dag_of_five_lines() -> None:
    """The first thing a reader sees is all that is needed."""
    (first, *_) = _blocks("python", "README.md")
    assert _makes_a_dag(first[1])
    assert len([line for line in first[1].splitlines() if line]) == 5


def test_make_commands_exist() -> None:
    """Whatever target of make a page names is in the Makefile, with a line of help."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    named = {
        target
        for page in TEXT
        for text in [*re.findall(r"`([^`\n]+)`", _prose(page)), *(text for _, text in _blocks("sh", page))]
        for target in re.findall(r"(?:^|\s)make ([a-z-]+)", text)
    }
    assert {"demo", "test", "bench"} <= named <= targets


def test_readme_has_the_two_commands() -> None:
    """`make demo` and `make test` stand in the README as commands of their own."""
    lines = [line for _, text in _blocks("sh", "README.md") for line in text.splitlines()]
    assert {"make demo", "make test"} <= set(lines)


@pytest.mark.parametrize("text", _numbered([b for b in _blocks("sh") if "airflow " in b[1] and "pip" not in b[1]]))
def test_airflow_commands_parse(text: str) -> None:
    """Every `airflow ...` line is one that Airflow's command line takes, JSON in it included."""
    from airflow.cli.cli_parser import get_parser

    for line in text.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "airflow"
        get_parser().parse_args(arguments)
        for argument in arguments:
            if argument.startswith("{"):
                json.loads(argument)


def test_links_resolve() -> None:
    """Links within the repository lead to a file, and to a heading in it where they name one. Images are there."""
    for page in TEXT:
        for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
            if target.startswith(("http://", "https://")):
                continue
            name, _, anchor = target.partition("#")
            path = (ROOT / page).parent / name if name else ROOT / page
            assert path.exists(), f"{page} links to {target}"
            if anchor:
                assert anchor in _anchors(path.read_text()), f"{page} links to {target}"


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_paths_exist() -> None:
    """Every path of the repository that a page names is there, and the test in it, if it names one."""
    for page in TEXT:
        for name in re.findall(r"`([^`\s]+)`", _prose(page)):
            if name.startswith(_TOP) or name in ("docker-compose.yaml", "requirements.lock", "pyproject.toml"):
                path, _, test = name.partition("::")
                assert (ROOT / path).exists(), f"{page} names {name}"
                named = test.rpartition("::")[2].partition("[")[0]
                assert not test or f" {named}(" in (ROOT / path).read_text(), f"{page} names {name}"


def test_dotted_names_exist() -> None:
    """Every dotted name of the package that a page mentions can be imported."""
    import pkgutil

    for page in TEXT:
        for name in re.findall(r"`(airflow_reindex_provider(?:\.\w+)+)`", _prose(page)):
            pkgutil.resolve_name(name)


def test_airflow_settings_exist() -> None:
    """Every `[section] key` is an option of Airflow, and defaults that are stated are its defaults."""
    from airflow.configuration import conf

    known = conf.configuration_description
    named = {match for page in TEXT for match in re.findall(r"`\[(\w+)\] (\w+)`", _prose(page))}
    assert ("workers", "min_heartbeat_interval") in named
    for section, key in named:
        assert key in known[section]["options"], (section, key)
    assert str(known["workers"]["options"]["min_heartbeat_interval"]["default"]) == "5"
    assert str(known["core"]["options"]["max_map_length"]["default"]) == "1024"


def test_rest_paths_exist() -> None:
    """Every path of Airflow's REST API that a page names is in its specification."""
    import airflow.api_fastapi.core_api as api

    specification = Path(str(api.__file__)).parent / "openapi" / "v2-rest-api-generated.yaml"
    paths = yaml.load(specification.read_text(), Loader=yaml.CSafeLoader)["paths"]
    known = {re.sub(r"\{\w+\}", "*", path) for path in paths}
    named = [path for page in TEXT for path in re.findall(r"(?:GET|DELETE) (/api/v2/[^\s`]+)", TEXT[page])]
    assert len(named) >= 3
    for path in named:
        shape = re.sub(r"\{\w+\}|<id>|reindex\.[\w.]+", "*", path)
        assert shape in known, path


# -- the API page


def _sections() -> dict[str, str]:
    parts = re.split(r"^### (.+)$", TEXT["docs/api.md"], flags=re.M)
    return {name.strip("`"): text for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_public_name_is_documented() -> None:
    """docs/api.md has a section for each public name, and for nothing else."""
    assert set(_sections()) == set(airflow_reindex_provider.__all__)


@pytest.mark.parametrize("name", [n for n in airflow_reindex_provider.__all__ if n != "__version__"])
def test_every_argument_is_documented(name: str) -> None:
    """The table of a section has exactly the arguments of its class, and marks those that can be given by place."""
    parameters = inspect.signature(getattr(airflow_reindex_provider, name)).parameters.values()
    _expect_table(_sections()[name].split("\n## ")[0], parameters)


def test_every_argument_of_all_dags_is_documented() -> None:
    """The table before those of the three Dags has what all of them take."""
    from airflow_reindex_provider.dags.common import StreamDag

    shared = inspect.signature(StreamDag).parameters
    of_subclass = {name for name, p in shared.items() if p.default is p.empty and p.kind is p.KEYWORD_ONLY}
    assert of_subclass == {"prefix", "form", "max_active", "make_tasks"}
    before = TEXT["docs/api.md"].partition("\n## Dags\n")[2].partition("\n### ")[0]
    _expect_table(before, [p for name, p in shared.items() if name not in of_subclass])


def _expect_table(section: str, parameters: Iterable[inspect.Parameter]) -> None:
    rows = re.findall(r"^\| `([*\w]+)` \| (.*?) \|", section, re.M)
    parameters = list(parameters)
    expected = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    assert {row for row, _ in rows} - {"**kwargs"} == expected
    by_place = {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert {row for row, default in rows if "*first*" in default or "*second*" in default} == by_place


def test_every_error_is_documented() -> None:
    """The table of errors has all of them, and says which are retried."""
    table = dict(re.findall(r"^\| `(\w+Error)` \| (.+?) \|$", TEXT["docs/api.md"], re.M))
    own = {n: e for n, e in vars(errors).items() if inspect.isclass(e) and issubclass(e, errors.ReindexError)}
    assert set(table) == set(own)
    for name, error in own.items():
        child = issubclass(error, ConfigurationError) and error is not ConfigurationError
        assert table[name].endswith("a `ConfigurationError`") == child, name


# -- tables that repeat what the code says


def test_progress_record_is_documented() -> None:
    """docs/progress.md explains every field of the record, and every status."""
    batch = Batch("s", "g", 0, 1, Window(None, Position("1")), 1, mode=Mode.INCREMENTAL)
    record = Progress(batch, "incremental", MemoryReporter()).record(Status.RUNNING, "")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", TEXT["docs/progress.md"], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(record) | {"try_number"} | {str(s) for s in Status} <= named


@pytest.mark.parametrize(
    ("page", "form"),
    [
        ("docs/backfill.md", "WINDOW_PARAMS"),
        ("docs/rebuild.md", "REBUILD_PARAMS"),
        ("docs/groups.md", "GROUP_REBUILD_PARAMS"),
        ("docs/sweep.md", "SWEEP_PARAMS"),
        ("docs/maintenance.md", "MAINTENANCE_PARAMS"),
    ],
)
def test_trigger_forms_are_documented(page: str, form: str) -> None:
    """The pages explain every field of the forms."""
    from airflow_reindex_provider.dags import forms

    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", TEXT[page], re.M)
    assert set(getattr(forms, form)) <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_delays_of_parked_documents_are_documented() -> None:
    """docs/parked-documents.md has the delays that the code has."""
    stated = re.findall(r"^\| \d\w+ time \| (\d+) minutes \|$", TEXT["docs/parked-documents.md"], re.M)
    assert [int(m) for m in stated] == [retry_delay(n + 1).total_seconds() / 60 for n in range(len(stated))]
    assert len(stated) == 5
    assert (
        f"| every further time | {retry_delay(6).total_seconds() / 60:.0f} minutes |"
        in TEXT["docs/parked-documents.md"]
    )


def test_benchmark_figures_are_those_of_the_command() -> None:
    """docs/benchmarks.md has a row for each figure that `make bench` prints, with its limit."""
    source = "".join(path.read_text() for path in (ROOT / "tests/benchmarks").glob("*.py"))
    printed = set(re.findall(r'Figure\.\w+\(\s*"(\w+)"', source))
    stated = re.findall(r"^\| `(\w+)` \|", TEXT["docs/benchmarks.md"], re.M)
    assert set(stated) == printed
    assert len(stated) == len(printed)


def test_changelog_has_the_version() -> None:
    """The newest heading of the change log is the package's version."""
    newest = re.search(r"^## \[(.+?)\]", TEXT["CHANGELOG.md"], re.M)
    assert newest
    assert newest[1] == airflow_reindex_provider.__version__


def test_lowest_versions_are_those_of_the_package() -> None:
    """The README's lowest versions are those that pyproject.toml declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert any(requirement.startswith("apache-airflow>=3.3.0") for requirement in project["dependencies"])
    assert "Airflow 3.3 or newer, Python 3.11 or newer" in TEXT["README.md"]


# -- SQL, on a real Postgres

_SHOP = """
CREATE TABLE public.products (id bigint PRIMARY KEY, title text, description text, category text, price numeric,
                              updated_at timestamptz NOT NULL, deleted_at timestamptz);
INSERT INTO public.products VALUES (1, 'red lamp', 'two of them', 'lamp', 5, now() - interval '1 hour', NULL);
"""


def test_sql_of_the_source_page_runs(database: Database) -> None:
    """After the page's statements the index is found, and a change that says nothing of its time moves the cursor."""
    source = PostgresSource(database.conn_id, table="public.products", primary_key="id", cursor_field="updated_at")
    with database.connect() as connection:
        connection.execute(_SHOP)
        with source.open() as session:
            assert "CREATE INDEX" in session.survey().warnings[0]
        for _, text in _blocks("sql", "docs/postgres-source.md"):
            connection.execute(text)
        changed = connection.execute("UPDATE products SET price = 6 RETURNING updated_at = now()")
        assert changed.fetchone() == (True,)
    with source.open() as session:
        assert session.survey().warnings == ()


def test_sql_of_the_target_page_runs(database: Database) -> None:
    """The page's search finds the document; a column that was added as the page says is filled by the next change."""
    source = PostgresSource(
        database.conn_id, table="public.products", primary_key="id", cursor_field="updated_at", margin=timedelta(0)
    )
    runner = Runner(
        source=source,
        target=PostgresTarget(
            database.conn_id, index="public.products_index", full_text=FullText(("title", "description"))
        ),
    )
    with database.connect() as connection:
        connection.execute(_SHOP)
        generation = runner.run().plan.generation
        search, index, column = (text for _, text in _blocks("sql", "docs/postgres-target.md"))
        assert [row[:2] for row in connection.execute(search)] == [(1, "red lamp")]
        for text in (index, column):
            for statement in text.replace("products_index_20261123t172543", generation).split(";"):
                connection.execute(statement)
        connection.execute("ALTER TABLE products ADD COLUMN maker text")
        connection.execute("UPDATE products SET maker = 'Anna', updated_at = now()")
        assert runner.run().counts.updated == 1
        assert connection.execute("SELECT maker FROM products_index").fetchall() == [("Anna",)]


# -- grants

_ROLES = ("shop_reader", "search_writer", "search_reader", "checkpoint_keeper")


@pytest.fixture
def roles(postgres: EmbeddedPostgres, database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A database with the table that docs/grants.md speaks of, without its grants; roles are dropped afterwards."""
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE public.products (id bigint PRIMARY KEY, title text, updated_at timestamptz NOT NULL);"
            "CREATE INDEX ON public.products (updated_at, id);"
            "INSERT INTO public.products VALUES (1, 'lamp', now() - interval '1 hour')"
        )
        try:
            yield connection
        finally:
            for role in _ROLES:
                if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
                    connection.execute(f"DROP OWNED BY {role} CASCADE")
                    connection.execute(f"DROP ROLE {role}")


def _as(role: str, database: Database, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """An Airflow connection for the role; its id."""
    socket = quote(str(postgres.socket_dir), safe="")
    monkeypatch.setenv(f"AIRFLOW_CONN_{role.upper()}", f"postgres://{role}@{socket}/{database.name}")
    return role


def _granted(left_out: str = "") -> str:
    """All SQL of docs/grants.md, in its order, but for the one line."""
    lines = "".join(text for _, text in _blocks("sql", "docs/grants.md")).splitlines()
    assert not left_out or left_out in lines
    return "\n".join(line for line in lines if line != left_out)


def _run(database: Database, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(
        source=PostgresSource(
            _as("shop_reader", database, postgres, monkeypatch),
            table="public.products",
            primary_key="id",
            cursor_field="updated_at",
        ),
        target=PostgresTarget(_as("search_writer", database, postgres, monkeypatch), index="public.products_index"),
        store=TableCheckpoint(_as("checkpoint_keeper", database, postgres, monkeypatch)),
    )
    assert runner.run().counts.created == 1


def test_grants_are_enough(
    postgres: EmbeddedPostgres,
    database: Database,
    roles: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the statements of the page, and no others, a stream runs, and whoever searches sees the view."""
    roles.execute(_granted())
    _run(database, postgres, monkeypatch)
    roles.execute("SET ROLE search_reader")
    assert roles.execute("SELECT title FROM public.products_index").fetchall() == [("lamp",)]
    roles.execute("RESET ROLE")


@pytest.mark.parametrize(
    ("left_out", "said", "remedy"),
    [
        (
            "GRANT SELECT ON public.products TO shop_reader;",
            "permission denied for table",
            'GRANT SELECT ON "public"."products" TO "shop_reader";',
        ),
        (
            "GRANT pg_read_all_stats TO shop_reader;",
            "cannot see other sessions' transactions",
            'GRANT pg_read_all_stats TO "shop_reader";',
        ),
        (
            "GRANT USAGE, CREATE ON SCHEMA public TO search_writer;",
            "permission denied for schema",
            'GRANT USAGE, CREATE ON SCHEMA "public" TO "search_writer";',
        ),
        (
            "GRANT SELECT, INSERT, UPDATE, DELETE ON public.reindex_checkpoint TO checkpoint_keeper;",
            "may not use the table",
            'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "public"."reindex_checkpoint" TO "checkpoint_keeper";',
        ),
    ],
)
def test_each_grant_is_asked_for(
    left_out: str,
    said: str,
    remedy: str,
    postgres: EmbeddedPostgres,
    database: Database,
    roles: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without one of the statements the run fails with the words of the page and prints the statement."""
    roles.execute(_granted(left_out))
    assert f"`{said}`" in TEXT["docs/grants.md"]
    with pytest.raises(ConfigurationError) as raised:
        _run(database, postgres, monkeypatch)
    assert said in str(raised.value)
    assert remedy in str(raised.value)

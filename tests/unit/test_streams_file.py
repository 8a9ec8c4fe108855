"""Streams in a YAML file: the Dags are those of Python, and what is wrong has a line and a remedy."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path

import jsonschema
import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.dag_processing.processor import _serialize_dags
from airflow.serialization.serialized_objects import DagSerialization
from bad_stream_files import GOOD, OF_A_STREAM, WHOLE

import airflow_reindex_provider
from airflow_reindex_provider import MaintenanceDag, RebuildDag, ReindexDag, Stream, SweepDag, Watch, WatchDag
from airflow_reindex_provider.dags.common import StreamDag
from airflow_reindex_provider.streamfile.jobs import JOBS, job_class, job_model, watch_model
from airflow_reindex_provider.streamfile.kinds import GIVEN, KINDS
from airflow_reindex_provider.streamfile.models import model_of
from airflow_reindex_provider.streamfile.problems import StreamFileError
from airflow_reindex_provider.streamfile.reading import read_streams
from airflow_reindex_provider.streamfile.schema import file_schema
from airflow_reindex_provider.streamfile.values import Unsayable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EVERY = HERE / "every_option.yaml"
Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Writes a file of streams."""

    def write(text: str, name: str = "streams.yaml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def dag_file(folder: Path, call: str = 'ReindexDags("streams.yaml")') -> DagBag:
    """What a Dag processor finds in a Dag file of two lines."""
    file = folder / "dag_of_streams.py"
    file.write_text(f"from airflow_reindex_provider import ReindexDags\n{call}\n")
    return DagBag(str(file), bundle_path=folder)


def test_the_dags_are_those_of_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every option of every class, in a file and in Python: what Airflow keeps of the Dags is the same."""
    monkeypatch.syspath_prepend(str(HERE))
    import said_in_python

    bag = dag_file(tmp_path, f'ReindexDags("{EVERY}")')
    assert bag.import_errors == {}
    said = {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in bag.dags.items()}
    made = {}
    for dag in said_in_python.dags():
        dag.fileloc, dag.relative_fileloc = bag.dags[dag.dag_id].fileloc, bag.dags[dag.dag_id].relative_fileloc
        made[dag.dag_id] = DagSerialization.to_dict(dag)
    assert said.keys() == made.keys()
    for dag_id, kept in made.items():
        assert said[dag_id] == kept, dag_id


def test_every_field_is_said() -> None:
    """The file above gives each field of each class that a stream is made of: one that is new fails here until it does."""
    said: dict[str, set[str]] = {}
    parts = {"source": "postgres", "checkpoint": "variable", "cache": "postgres"}
    whole = yaml.safe_load(EVERY.read_text())
    for stream in whole["streams"].values():
        said.setdefault("Stream", set()).update(stream)
        given = {**stream, "cache": stream.get("embed", {}).get("cache", {})}
        for part in ("source", "target", "checkpoint", "cache"):
            joined = {**whole["defaults"].get(part, {}), **given.get(part, {})}
            kind = joined.pop("type", parts.get(part))
            said.setdefault(f"{part} {kind}", set()).update(joined)
        if model := stream.get("embed", {}).get("model"):
            said.setdefault(f"model {model.pop('type')}", set()).update(model)
        for child in stream.get("source", {}).get("children", ()):
            said.setdefault(f"child {child.pop('type', 'child')}", set()).update(child)
    for kind in KINDS:
        assert {f.name for f in fields(kind.made) if f.name != "_"} - GIVEN <= said[f"{kind.part} {kind.word}"], kind
    assert {f.name for f in fields(Stream)} - {"name"} <= said["Stream"]


def test_every_class_can_be_named() -> None:
    """A public class that a stream may be made of is a kind of the file's, or within one."""
    named = {kind.made for kind in KINDS} | {job_class(job) for job in JOBS} | {Stream, Watch}
    public = [getattr(airflow_reindex_provider, name) for name in airflow_reindex_provider.__all__]
    for name, made in zip(airflow_reindex_provider.__all__, public, strict=True):
        if isinstance(made, type) and (is_dataclass(made) or issubclass(made, StreamDag)):
            within = any(made.__name__ in str(f.type) for other in public if is_dataclass(other) for f in fields(other))
            assert made in named or within or "Operator" in name or "Sensor" in name, name


def test_every_argument_of_the_dags_can_be_said() -> None:
    """Those of the class, and those that all Dags of a stream have."""
    import inspect

    for job, made in (("reindex", ReindexDag), ("rebuild", RebuildDag), ("sweep", SweepDag)):
        arguments = {*inspect.signature(made).parameters, "dag_id", "start_date", "catchup", "pool", "task_args"}
        assert arguments - {"stream", "kwargs"} <= job_model(job).model_fields.keys()
    for job, made, first in (("clean_up", MaintenanceDag, "streams"), ("watch", WatchDag, "watched")):
        arguments = {*inspect.signature(made).parameters}
        assert arguments - {first, "kwargs"} <= job_model(job).model_fields.keys()
    assert {f.name for f in fields(Watch)} - {"stream", "_"} <= watch_model().model_fields.keys()


def test_a_field_of_an_unknown_type_fails() -> None:
    """Whoever adds an option decides how a file says it."""
    from dataclasses import make_dataclass

    made = make_dataclass("Made", [("when", "complex", 1j)])
    made.__module__ = __name__
    with pytest.raises(Unsayable, match="complex"):
        model_of(made)


@pytest.mark.parametrize(("text", "line", "says"), WHOLE.values(), ids=WHOLE)
def test_what_is_wrong_with_the_file(text: str, line: int, says: str, put: Put) -> None:
    """It has a line and a remedy."""
    with pytest.raises(StreamFileError) as told:
        read_streams(put(text), variables={})
    assert (told.value.problems[0].place.line, told.value.problems[0].stream) == (line, None)
    assert says in str(told.value)
    assert str(told.value).startswith(f"streams.yaml, line {line}: ")


@pytest.mark.parametrize(("text", "line", "says"), OF_A_STREAM.values(), ids=OF_A_STREAM)
def test_what_is_wrong_with_a_stream(text: str, line: int, says: str, put: Put) -> None:
    """It has a line and a remedy, and the stream beside it is there."""
    name = next(iter(yaml.safe_load(text)["streams"] or {}))
    good = GOOD.replace("products:", "beside:", 1).partition("streams:\n")[2]
    bad, beside = read_streams(put(text + good), variables={"DB_PASSWORD": "a.b"})
    assert [(p.place.line, p.stream) for p in bad.problems] == [(line, name)]
    assert says in bad.problems[0].says
    assert bad.stream is None
    assert (beside.problems, [job.dag_id for job, _ in beside.jobs]) == ((), ["reindex_beside"])


def test_there_are_forty_bad_files() -> None:
    assert len(WHOLE) + len(OF_A_STREAM) >= 40


def test_a_bad_stream_is_an_import_error_of_its_own(put: Put, tmp_path: Path) -> None:
    """As Airflow's processor tells it: under a name that is not the Dag file's, so that the others' Dags stay."""
    put(GOOD + "  orders:\n    source: {tabel: public.orders}\n")
    bag = dag_file(tmp_path)
    serialised, errors = _serialize_dags(bag, logging.getLogger("test"))  # type: ignore[arg-type]  # it only logs
    assert bag.import_errors == {}
    assert [dag.dag_id for dag in serialised] == ["reindex_products"]
    assert list(errors) == ["streams.yaml (stream orders)"]
    assert "line 8, stream 'orders': source.tabel is not known. Did you mean table?" in next(iter(errors.values()))


def test_what_airflow_refuses_is_the_stream_s_own_too(put: Put, tmp_path: Path) -> None:
    """A Dag that Airflow does not take costs the other streams nothing."""
    orders = GOOD.partition("streams:\n")[2].replace("products:", "orders:", 1)
    put(GOOD + orders.replace("{}", "{dag_id: not/an/id}"))
    bag = dag_file(tmp_path)
    serialised, errors = _serialize_dags(bag, logging.getLogger("test"))  # type: ignore[arg-type]  # it only logs
    assert bag.import_errors == {}
    assert [dag.dag_id for dag in serialised] == ["reindex_products"]
    assert "line 10, stream 'orders': reindex: " in errors["streams.yaml (stream orders)"]


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("clean_up: {retian: 1}", "clean_up.retian is not known. Did you mean retain?"),
        ("clean_up: {dag_id: not/an/id}", "clean_up: "),
        ("watch: {}", "watch.notifiers is missing: Airflow notifiers"),
        (
            "watch: {notifiers: [5]}",
            "watch.notifiers[0] takes a Python object by its module and its name, or a mapping",
        ),
        ("watch: {notifiers: [math.pi]}", "no stream says what is promised of it: write watch: {fresh_within: 15min}"),
        ("watch: {dag_id: reindex_products, notifiers: [math.pi]}", "is that of stream 'products' already"),
    ],
)
def test_what_is_wrong_with_a_dag_of_all_costs_the_streams_nothing(
    says: str, told: str, put: Put, tmp_path: Path
) -> None:
    put(GOOD.replace("streams:", f"{says}\nstreams:"))
    bag = dag_file(tmp_path)
    serialised, errors = _serialize_dags(bag, logging.getLogger("test"))  # type: ignore[arg-type]  # it only logs
    assert bag.import_errors == {}
    assert [dag.dag_id for dag in serialised] == ["reindex_products"]
    (name,) = errors
    assert name == f"streams.yaml ({says.partition(':')[0]})"
    assert "streams.yaml, line 2: " in errors[name]
    assert told in errors[name]


def test_a_clean_up_and_a_watch_of_all_streams(put: Put, tmp_path: Path) -> None:
    """What is promised of all streams stands in the defaults; a stream that is wrong is out of the sight of both."""
    orders = GOOD.partition("streams:\n")[2]
    put(
        GOOD.replace(
            "streams:", "defaults: {watch: {fresh_within: 1h}}\nclean_up: {}\nwatch: {notifiers: [math.pi]}\nstreams:"
        )
        + orders.replace("products:", "orders:", 1)
        + "    watch: {most_parked: 3}\n"
        + "  wrong: {source: {tabel: x}}\n"
    )
    dags = dag_file(tmp_path).dags
    assert [s.name for s in dags["reindex_maintenance"].task_dict["find"].streams] == ["products", "orders"]
    watched = {w.stream.name: w for w in dags["reindex_watch"].task_dict["watch"].watched}
    assert {name: (str(w.fresh_within), w.most_parked) for name, w in watched.items()} == {
        "products": ("1:00:00", None),
        "orders": ("1:00:00", 3),
    }


def test_a_mistake_in_the_defaults_is_told_once(put: Put) -> None:
    text = GOOD.replace("streams:", "defaults:\n  batch: 5\nstreams:")
    more = GOOD.partition("streams:\n")[2].replace("products:", "orders:", 1)
    with pytest.raises(StreamFileError) as told:
        read_streams(put(text + more))
    assert [str(p) for p in told.value.problems] == [
        "streams.yaml, line 3: batch is not known. Did you mean batch_size?"
    ]


def test_overlays_and_variables(put: Put) -> None:
    """What an overlay says counts over the file, what is null in it is as it is by itself; values come from the environment."""
    path = put(GOOD.replace("reindex: {}", "reindex: {schedule: '@daily', pool: narrow}\n    batch_size: ${SIZE:-5}"))
    production = put(
        "streams:\n  products:\n    target: {index: '${PREFIX}products'}\n    reindex: {schedule: 5min, pool: null}\n",
        "production.yaml",
    )
    (plain,) = read_streams(path, variables={})
    (laid,) = read_streams(path, [production], variables={"PREFIX": "live.", "SIZE": "7"})
    assert plain.stream is not None
    assert laid.stream is not None
    assert (plain.stream.batch_size, laid.stream.batch_size) == (5, 7)
    assert (plain.stream.target.index, laid.stream.target.index) == ("public.products_index", "live.products")
    assert plain.jobs[0][0].arguments == {"schedule": "@daily", "pool": "narrow"}
    assert {str(v) for v in laid.jobs[0][0].arguments.values()} == {"0:05:00"}
    with pytest.raises(StreamFileError, match=r"production.yaml, line 1: the file cannot be read"):
        read_streams(path, [path.with_name("gone") / "production.yaml"])


def test_a_stream_may_name_another_kind_than_the_defaults(put: Put) -> None:
    """Nothing of the kind that the defaults have gets into it."""
    text = GOOD.replace("streams:", "defaults: {target: {type: opensearch, conn_id: search, compress: true}}\nstreams:")
    (entry,) = read_streams(put(text))
    assert entry.problems == ()


def test_words_are_those_of_yaml_1_2(put: Put) -> None:
    """`on` is a word and `1:30` is none of seconds, as editors have it; a date is text."""
    text = GOOD.replace("table: public.products", "table: on").replace(
        "    reindex", "    initial_value: 2026-01-01\n    reindex"
    )
    (entry,) = read_streams(put(text))
    assert entry.stream is not None
    assert (entry.stream.source.table, entry.stream.first_cursor) == ("on", "2026-01-01")


def test_a_stream_and_a_dag_that_are_not_enabled(put: Put) -> None:
    (entry,) = read_streams(put(GOOD + "    sweep: {enabled: false}\n"))
    assert [job.dag_id for job, _ in entry.jobs] == ["reindex_products"]
    (entry,) = read_streams(put(GOOD + "    enabled: false\n"))
    assert (entry.jobs, entry.problems) == ((), ())


def test_a_task_makes_its_own_dag_alone(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(GOOD + "    sweep: {}\n")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "sweep_products")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "report")
    assert list(dag_file(tmp_path).dags) == ["sweep_products"]


def test_a_changed_schedule_keeps_dag_and_checkpoint(put: Put, tmp_path: Path) -> None:
    """The id of the Dag and the name of the stream are those of the key."""
    put(GOOD)
    before = dag_file(tmp_path).dags["reindex_products"]
    put(GOOD.replace("reindex: {}", "reindex: {schedule: '*/5 * * * *'}"))
    after = dag_file(tmp_path).dags["reindex_products"]
    assert before.task_dict["extract"].stream == after.task_dict["extract"].stream


# -- the JSON Schema


def test_the_published_schema_is_that_of_the_code() -> None:
    """`airflow reindex schema` writes docs/reindex.schema.json."""
    jsonschema.Draft202012Validator.check_schema(file_schema())
    assert json.loads((ROOT / "docs" / "reindex.schema.json").read_text()) == json.loads(json.dumps(file_schema()))


def schema_errors(text: str) -> list[str]:
    found = jsonschema.Draft202012Validator(file_schema()).iter_errors(yaml.safe_load(text))
    return [error.message for error in found]


@pytest.mark.parametrize("path", [EVERY, ROOT / "dags" / "example_reindex_file.yaml"], ids=lambda path: path.name)
def test_the_schema_takes_what_is_right(path: Path) -> None:
    assert schema_errors(path.read_text()) == []


@pytest.mark.parametrize(
    "case",
    ["misspelt field", "unknown kind", "argument of another Dag", "cron of six fields", "size in words", "empty job"],
)
def test_the_schema_finds_what_is_wrong(case: str) -> None:
    """An editor marks it before anybody runs it."""
    assert schema_errors(OF_A_STREAM[case][0]) != []

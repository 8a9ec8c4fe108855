"""What an engine, a template or somebody by hand makes of an index: checked before anything is written, told with the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from airflow_reindex_provider.core.cursors import CursorType
from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError, TransientError
from airflow_reindex_provider.core.model import Chunk, Counts, Document, Field, Format, Position, Schema
from airflow_reindex_provider.core.planning import told_of
from airflow_reindex_provider.targets.elasticsearch import ElasticsearchTarget
from airflow_reindex_provider.targets.opensearch import OpenSearchTarget
from airflow_reindex_provider.targets.search.conditions import require_as_made, require_writable
from airflow_reindex_provider.targets.search.indexes import Held
from airflow_reindex_provider.targets.search.session import SearchTargetSession
from airflow_reindex_provider.targets.search.target import SearchTarget
from airflow_reindex_provider.testing.search_engine import SearchEngine

pytestmark = pytest.mark.versions

TARGETS: Mapping[str, type[SearchTarget]] = {"opensearch": OpenSearchTarget, "elasticsearch": ElasticsearchTarget}
STAMP = "20260101t000000"


@pytest.fixture(params=sorted(TARGETS))
def engine(request: pytest.FixtureRequest) -> SearchEngine:
    engine: SearchEngine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def target(engine: SearchEngine) -> Iterator[SearchTarget]:
    target = TARGETS[engine.name](engine.name, index=f"conditions-{uuid4().hex[:8]}")
    yield target
    for name in engine.call("GET", f"/{target.index}*?expand_wildcards=all") or {}:
        engine.call("DELETE", f"/{name}")


def schema(*columns: str) -> Schema:
    texts = (Field(name, "text", "text") for name in columns)
    return Schema((Field("id", "bigint", "bigint"), *texts), ("id",), CursorType.INTEGER)


def write(session: SearchTargetSession, name: str, of: Schema, values: Mapping[str, Any]) -> Counts:
    with session.writer(name, of, Format.ROWS) as writer:
        return writer.write(Chunk(Position("1"), Format.ROWS, [Document(("1",), 1, {"id": 1, **values})])).counts


def load(target: SearchTarget, of: Schema, values: Mapping[str, Any]) -> Counts:
    with target.open("s") as session:
        name = session.create_first(target.generation_name(STAMP), of)
        counts = write(session, name, of, values)
        session.promote(name)
    return counts


@contextmanager
def refused(kind: type[ReindexError] = ConfigurationError) -> Iterator[list[str]]:
    """The one message, which is made of whole sentences."""
    said: list[str] = []
    with pytest.raises(kind) as caught:
        yield said
    said.append(str(caught.value))
    prose = re.sub(r"""'[^']*'|"[^"]*"|\.\.\.""", "", said[0])
    assert re.search(r"\.\s*\.|[a-z)\]] If |: \.", prose) is None, said[0]
    assert said[0].endswith("."), said[0]


@contextmanager
def template(engine: SearchEngine, target: SearchTarget, **body: Any) -> Iterator[None]:
    """An index template that matches the target's generations."""
    name = f"t-{target.index}"
    engine.call("PUT", f"/_index_template/{name}", {"index_patterns": [f"{target.index}_*"], "priority": 900, **body})
    try:
        yield
    finally:
        engine.call("DELETE", f"/_index_template/{name}")


# -- names and numbers of columns


def test_names_that_an_engine_keeps_for_itself(engine: SearchEngine, target: SearchTarget) -> None:
    """Each field that the engine itself says is in every document, and each that looks like one: refused with the column's name
    and how to give it another one, before anything is made; or the document arrives as it is."""
    engine.call("PUT", f"/{target.index}-probe/_doc/1?refresh=true", {"a": 1})
    fields = engine.call("GET", f"/{target.index}-probe/_field_caps?fields=*")["fields"]
    own = sorted(name for name in fields if name.startswith("_"))
    assert {"_id", "_source", "_index"} <= set(own)
    taken = 0
    for name in dict.fromkeys([*own, "_type", "_all", "_meta", "_reindex_version", "type", "properties", "a b", "*"]):
        of = schema(name)
        try:
            counts = load(target, of, {name: "v"})
        except ConfigurationError:
            with refused() as said:
                load(target, of, {name: "v"})
            assert f"{name!r} is the engine's own field" in said[0]
            assert f'SELECT "{name}" AS ' in said[0]
            assert engine.call("GET", f"/{target.generation_name(STAMP)}") is None
            continue
        taken += 1
        assert (counts.created, counts.failures) in ((1, 0), (0, 1))
        if counts.created:
            assert engine.documents(target.index) == {"1": {"id": 1, name: "v"}}
        engine.call("DELETE", f"/{target.generation_name(STAMP)}")
    assert taken >= 6


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ([".a"], "'.a'"),
        (["a..b"], "'a..b'"),
        (["."], "'.'"),
        (["a", "a.b"], "'a.b' is a field within 'a'"),
    ],
)
def test_names_with_dots(engine: SearchEngine, target: SearchTarget, columns: Sequence[str], says: str) -> None:
    """A dot stands between an object and its field: where that cannot be, the column is named, and how to name it otherwise."""
    with refused() as said:
        load(target, schema(*columns), dict.fromkeys(columns, "v"))
    assert says in said[0]
    assert "AS " in said[0]
    assert engine.call("GET", f"/{target.generation_name(STAMP)}") is None


def test_more_fields_than_an_index_takes(engine: SearchEngine, target: SearchTarget) -> None:
    """The error names the setting and a number, and that number is enough."""
    of = schema(*(f"c{n}" for n in range(600)))
    with refused() as said:
        load(target, of, {})
    assert "1,201 fields" in said[0]
    match = re.search(r'settings=\{"index\.mapping\.total_fields\.limit": (\d+)\}', said[0])
    assert match, said[0]
    more = type(target)(engine.name, index=target.index, settings={"index.mapping.total_fields.limit": int(match[1])})
    assert load(more, of, {"c7": "x"}) == Counts(created=1)


@pytest.mark.parametrize(
    ("setting", "mappings"),
    [
        ("index.mapping.depth.limit", {"a": {"properties": {"b": {"properties": {"c": {"type": "keyword"}}}}}}),
        ("index.mapping.nested_fields.limit", {"a": {"type": "nested"}, "b": {"type": "nested"}}),
        ("index.mapping.field_name_length.limit", {"long": {"type": "keyword"}}),
    ],
)
def test_other_limits(engine: SearchEngine, target: SearchTarget, setting: str, mappings: dict[str, Any]) -> None:
    """Each names its setting."""
    narrow = type(target)(
        engine.name,
        index=target.index,
        settings={setting: 2 if "depth" in setting else 1 if "nested" in setting else 3},
        mappings={"properties": mappings},
    )
    with refused() as said:
        load(narrow, schema(), {})
    assert f'settings={{"{setting}": more}}' in said[0]


# -- what templates and others make of an index


@pytest.mark.parametrize(
    ("mappings", "says"),
    [
        ({"_source": {"enabled": False}}, "_source"),
        ({"_source": {"excludes": ["body"]}}, "excludes=['body']"),
        ({"_source": {"includes": ["id"]}}, "includes=['id']"),
        ({"_routing": {"required": True}}, '"_routing": {"required": true}'),
    ],
)
@pytest.mark.parametrize("by", ["author", "template"])
def test_mappings_that_lose_documents(
    engine: SearchEngine, target: SearchTarget, mappings: dict[str, Any], says: str, by: str
) -> None:
    """Whoever they come from: refused, and nothing is left behind."""
    if by == "author":
        target = type(target)(engine.name, index=target.index, mappings=mappings)
        with refused() as said:
            load(target, schema("body"), {"body": "x"})
    else:
        with template(engine, target, template={"mappings": mappings}), refused() as said:
            load(target, schema("body"), {"body": "x"})
    assert says in said[0]
    assert engine.call("GET", f"/{target.generation_name(STAMP)}") is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"template": {"aliases": {"everything": {}}}}, "the alias 'everything'"),
        ({"template": {"settings": {"index.final_pipeline": "p"}}}, "index.final_pipeline='p'"),
        ({"template": {"settings": {"index.default_pipeline": "p"}}}, "index.default_pipeline='p'"),
        ({"template": {"settings": {"index.blocks.write": True}}}, "index.blocks.write"),
        ({"data_stream": {}}, "index_patterns"),
    ],
    ids=["alias", "final pipeline", "default pipeline", "block", "data stream"],
)
def test_templates_that_nobody_thought_of(
    engine: SearchEngine, target: SearchTarget, body: dict[str, Any], says: str
) -> None:
    """A template that matches a generation's name, for a first load and for a rebuild: refused, and nothing is left behind."""
    with template(engine, target, **body), target.open("s") as session:
        for make in (session.create_first, session.create):
            with refused() as said:
                make(target.generation_name(STAMP), schema("body"))
            assert says in said[0]
            assert session.generations() == []
    with target.open("s") as session:
        assert session.create_first(target.generation_name(STAMP), schema("body"))


def test_a_template_that_is_public_itself(engine: SearchEngine, target: SearchTarget) -> None:
    """A template with the public name as an alias would show an empty index to everybody: refused."""
    with template(engine, target, template={"aliases": {target.index: {}}}), refused() as said:
        load(target, schema("body"), {"body": "x"})
    assert f"the alias {target.index!r}" in said[0]
    assert engine.call("GET", f"/{target.index}") is None


def test_a_pipeline_that_is_stated_runs(engine: SearchEngine, target: SearchTarget) -> None:
    """It is the author's then: the engine runs it, or says what it lacks."""
    meant = type(target)(engine.name, index=target.index, settings={"final_pipeline": "nowhere"})
    with meant.open("s") as session:
        name = session.create_first(meant.generation_name(STAMP), schema("body"))
        assert write(session, name, schema("body"), {"body": "x"}) == Counts(failures=1)


@pytest.mark.parametrize(
    ("setting", "kind", "says"),
    [
        ("index.blocks.write", ConfigurationError, "Lift the block: PUT /{name}/_settings"),
        ("index.blocks.read_only", ConfigurationError, "Lift the block: PUT /{name}/_settings"),
        ("index.blocks.read_only_allow_delete", TransientError, "Free disk space"),
        ("index.final_pipeline", ConfigurationError, 'settings={{"index.final_pipeline": "true"}}'),
    ],
)
def test_an_index_that_takes_no_writes(
    engine: SearchEngine, target: SearchTarget, setting: str, kind: type[ReindexError], says: str
) -> None:
    """Set since the generation was made: said before a row is read, with the setting and what lifts it; and by the engine's own
    answer, if it is set while a run writes."""
    of = schema("body")
    assert load(target, of, {"body": "x"}) == Counts(created=1)
    name = target.generation_name(STAMP)
    engine.call("PUT", f"/{name}/_settings", {setting: "true"})
    try:
        with target.open("s") as session, refused(kind) as said:
            write(session, name, of, {"body": "y"})
        assert setting in said[0]
        assert says.format(name=name) in said[0]
    finally:
        engine.call("PUT", f"/{name}/_settings", {setting: None})
    with target.open("s") as session, session.writer(name, of, Format.ROWS) as writer:
        if setting in ("index.blocks.write", "index.blocks.read_only"):
            engine.call("PUT", f"/{name}/_settings", {setting: True})
            with refused() as said:
                writer.write(Chunk(Position("1"), Format.ROWS, [Document(("1",), 1, {"id": 1})]))
            assert says.format(name=name) in said[0]
            assert setting in said[0]
            engine.call("PUT", f"/{name}/_settings", {setting: None})


def test_a_closed_index(engine: SearchEngine, target: SearchTarget) -> None:
    """Said before a row is read, and while a run writes."""
    of = schema("body")
    load(target, of, {"body": "x"})
    name = target.generation_name(STAMP)
    with target.open("s") as session:
        with session.writer(name, of, Format.ROWS) as writer:
            engine.call("POST", f"/{name}/_close")
            with refused() as said:
                writer.write(Chunk(Position("1"), Format.ROWS, [Document(("1",), 1, {"id": 1})]))
            assert "closed" in said[0]
            assert "_open" in said[0]
        with refused() as said:
            write(session, name, of, {"body": "y"})
        assert f"POST /{name}/_open" in said[0]


def test_a_data_stream_with_the_public_name(opensearch: SearchEngine) -> None:
    """Found before anything is made. The test distribution of Elasticsearch has no data streams."""
    target = OpenSearchTarget("opensearch", index=f"conditions-{uuid4().hex[:8]}")
    opensearch.call(
        "PUT",
        f"/_index_template/{target.index}",
        {"index_patterns": [target.index], "priority": 900, "data_stream": {}},
    )
    opensearch.call("PUT", f"/_data_stream/{target.index}")
    try:
        with refused() as said:
            load(target, schema("body"), {"body": "x"})
        assert "an index or a data stream of this name" in said[0]
    finally:
        opensearch.call("DELETE", f"/_data_stream/{target.index}")
        opensearch.call("DELETE", f"/_index_template/{target.index}")


def test_acknowledged_is_on_disk(engine: SearchEngine, target: SearchTarget) -> None:
    """Whatever a template says; an author who states otherwise is warned at every run."""
    of, name = schema("body"), target.generation_name(STAMP)
    with template(engine, target, template={"settings": {"index.translog.durability": "async"}}):
        load(target, of, {"body": "x"})
    settings = engine.call("GET", f"/{name}/_settings?flat_settings=true")[name]["settings"]
    assert settings["index.translog.durability"] == "request"
    with target.open("s") as session:
        assert told_of(session, name, of) == ()
    engine.call("PUT", f"/{name}/_settings", {"index.translog.durability": "async"})
    with target.open("s") as session:
        (warning,) = told_of(session, name, of)
        assert "before they are on disk (index.translog.durability=async)" in warning
        write(session, name, of, {"body": "x"})


def held(mapping: dict[str, Any] | None = None, **settings: str) -> Held:
    return Held("i_1", {}, mapping or {}, {name.replace("__", "."): value for name, value in settings.items()}, {})


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (held(index__mode="time_series"), "index.mode='time_series'"),
        (held(index__mode="logsdb"), "index.mode='logsdb'"),
        (held(index__mapping__source__mode="synthetic"), "index.mapping.source.mode='synthetic'"),
        (held({"_source": {"mode": "synthetic"}}), "_source"),
        (held({"_source": {"mode": "disabled"}}), "_source"),
    ],
)
def test_modes_in_which_documents_are_not_kept(found: Held, says: str) -> None:
    """Modes that the test distributions do not have, or that a newer engine brings: all but those that are known as harmless."""
    with refused() as said:
        require_as_made(found, aliases=(), label="l")
    assert says in said[0]


def test_a_lifecycle_has_to_be_stated() -> None:
    """A policy that comes from a template would delete the index one day."""
    found = held(index__lifecycle__name="30-days")
    with refused() as said:
        require_writable(found, stated={}, label="l")
    assert "index.lifecycle.name='30-days'" in said[0]
    require_writable(found, stated={"index.lifecycle.name": "30-days"}, label="l")


def test_what_is_harmless() -> None:
    """An index as the engines make it."""
    found = held({"_source": {"enabled": True}}, index__mode="standard", index__mapping__source__mode="stored")
    require_as_made(found, aliases=("a",), label="l")
    require_writable(held(index__default_pipeline="_none", index__blocks__write="false"), stated={}, label="l")

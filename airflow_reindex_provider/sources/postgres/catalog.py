"""What Postgres says of tables: their columns and indexes, and all that their survey has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from airflow_reindex_provider.databases.postgres.types import has_one_text
from airflow_reindex_provider.sources.postgres.shape import Shape
from airflow_reindex_provider.sources.postgres.stamps import STAMPS
from airflow_reindex_provider.sources.postgres.standing import RELATION_KINDS, STANDING, TREE
from airflow_reindex_provider.sources.postgres.survey import ask

if TYPE_CHECKING:
    import psycopg

_MEMBERS = f"""
WITH RECURSIVE {
    TREE.format(
        roots="SELECT c.oid, m.name FROM unnest(%(schemas)s::name[], %(relations)s::name[], %(columns)s::name[])"
        " AS m(schema, relation, name) JOIN pg_namespace n ON n.nspname = m.schema"
        " JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = m.relation"
    )
}
SELECT json_build_object('standing', {STANDING}, 'stamps', {STAMPS}, 'functions', (
  SELECT json_agg(DISTINCT n.nspname || '.' || p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE p.proname = ANY (%(functions)s::name[]) AND n.nspname <> 'information_schema'
    AND CASE n.nspname WHEN 'pg_catalog' THEN p.provolatile = 'v' AND p.proname NOT IN ('clock_timestamp', 'timeofday')
                       ELSE p.provolatile <> 'i' END))
"""


TYPE_KINDS = frozenset("bcdemrp")
"""pg_type.typtype: base, composite, domain, enum, multirange, range; and pseudo-types, such as a query's record."""
GENERATED_KINDS = frozenset({"", "s", "v"})
"""pg_attribute.attgenerated: what is computed from the row's other columns is as they are, stored or not."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalogue has it. ``base`` and ``base_kind`` are of a domain's type.

    :ivar kind: pg_type.typtype. :ivar generated: pg_attribute.attgenerated. :ivar deterministic: of its collation.
    :ivar fixed_text: whether its text can be indexed.
    """

    name: str
    not_null: bool
    kind: str
    builtin: bool
    type: str
    declared: str
    base: str | None = None
    base_kind: str | None = None
    generated: str = ""
    fixed_text: bool = False
    deterministic: bool = True

    @property
    def is_known(self) -> bool:
        """Whether it is of a kind that somebody has decided on."""
        return self.own_kind in TYPE_KINDS and self.generated in GENERATED_KINDS

    @property
    def own_type(self) -> str:
        """The type whose values it has: a domain adds conditions to another's."""
        return self.base or self.type

    @property
    def has_one_text(self) -> bool:
        """Whether its equal values are written the same (``core.keys``)."""
        return self.own_kind == "e" or (self.deterministic and has_one_text(self.base or self.declared))

    @property
    def own_kind(self) -> str:
        return self.base_kind or self.kind


_TOLD = tuple(field.name for field in fields(Column))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What :func:`~airflow_reindex_provider.sources.postgres.survey.ask` has found of a relation, with times as text."""

    kind: str | None
    columns: tuple[Column, ...]
    indexes: tuple[dict[str, Any], ...]
    children: tuple[dict[str, Any], ...]
    """All that an index of the relation does not reach: inherited children, and partitions of another server."""
    facts: dict[str, Any]

    @property
    def named_children(self) -> str:
        """The first of them, for a message."""
        names = [child["name"] for child in self.children]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    @property
    def keeps_keys(self) -> bool:
        """Whether a unique index can promise that a key stands for one row."""
        return self.kind is not None and RELATION_KINDS[self.kind].keeps_keys and not self.children

    @property
    def is_view(self) -> bool:
        """Whether its rows are made of those of others, as a query's are."""
        return self.kind is None or self.kind == "v"

    @property
    def alone(self) -> Catalogue:
        """The relation without its children."""
        return replace(self, children=())

    @property
    def tombstone_indexes(self) -> Catalogue:
        """The same questions about the indexes of the tombstones' table."""
        return replace(self.alone, indexes=tuple(self.facts["tombstones"]["indexes"] or ()))

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)

    def has_index_on(self, columns: tuple[str, ...]) -> bool:
        """Whether a whole-table btree begins with exactly these columns, in this order, ascending; of each child too."""
        own = (self.indexes, *(child["indexes"] for child in self.children))
        return all(_serves(indexes, columns) for indexes in own)

    def children_without_index(self, columns: tuple[str, ...]) -> list[list[str]]:
        """Schema and name of each child that could have one."""
        return [c["path"] for c in self.children if c["kind"] != "f" and not _serves(c["indexes"], columns)]

    def is_unique(self, columns: tuple[str, ...]) -> bool:
        """Whether a unique index covers some of the columns and nothing else, so that all together are unique."""
        return any(
            i["unique"] and i["as_columns"] and None not in i["columns"] and set(i["columns"]) <= set(columns)
            for i in self.indexes
        )


def _serves(indexes: Iterable[dict[str, Any]] | None, columns: tuple[str, ...]) -> bool:
    return any(i["btree"] and i["plain"] and tuple(i["columns"][: len(columns)]) == columns for i in indexes or ())


def read_catalogues(
    connection: psycopg.Connection[Any],
    asked: Sequence[tuple[str | None, str, str | None]],
    *,
    lag: Any,
    margin: Any,
    zone: str,
) -> list[Catalogue]:
    """One for each relation in ``asked``: its quoted name, or None for a query, which has no catalogue of its own; its cursor
    column; and the quoted name of its tombstones' table, where it has some."""
    relations, cursors, tombstones = (list(part) for part in zip(*asked, strict=True))
    named = {
        "relations": relations,
        "cursors": cursors,
        "tombstones": tombstones,
        "lag": lag,
        "margin": margin,
        "zone": zone,
    }
    return [_catalogue(facts) for facts in ask(connection, named)]


def _catalogue(facts: dict[str, Any]) -> Catalogue:
    found = facts["relation"]
    return Catalogue(
        kind=found["kind"] if found else None,
        columns=tuple(Column(**{name: c[name] for name in _TOLD}) for c in facts["columns"] or ()),
        indexes=tuple(facts["indexes"] or ()),
        children=tuple(facts["children"] or ()),
        facts=facts,
    )


def read_members(connection: psycopg.Connection[Any], shape: Shape) -> dict[str, Any]:
    """The facts ``standing`` and ``stamps`` of the tables that a view or a query reads, and ``functions``: those that it calls
    and whose answers may change while the row does not."""
    stamped = {stamp[:2] for stamp in shape.stamps}
    asked = [*shape.stamps, *((*relation, "") for relation in shape.relations if relation not in stamped)]
    schemas, relations, columns = (list(part) for part in zip(*asked, strict=True)) if asked else ([], [], [])
    named = {"schemas": schemas, "relations": relations, "columns": columns, "functions": list(shape.calls)}
    row = connection.execute(_MEMBERS, named).fetchone()
    assert row is not None
    facts: dict[str, Any] = row[0]
    return facts

"""Documents that are made of several tables: what an author says of them. Data alone, without a connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, cast

from airflow_reindex_provider.core.errors import ConfigurationError

Names = str | tuple[str, ...]

MAX_ROWS = 10_000


def names_of(value: Names) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


class _Sayable:
    """What JSON can say."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(cast("Any", self)) if f.name != "_"}


class _Nesting(_Sayable):
    """What has children of its own."""

    __slots__ = ()

    kind: ClassVar[str]
    children: tuple[Child | Parent, ...]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **super().to_json(), "children": [child.to_json() for child in self.children]}


@dataclass(frozen=True, slots=True)
class Through(_Sayable):
    """The join table of a many-to-many relation.

    :param table: ``schema.table``, taken literally.
    :param foreign_key: its columns that hold the key of the row that the list belongs to.
    :param target_key: its columns that hold the key of a row of the list.
    :param cursor_field: the column that every change of its rows moves forward.
    :param tombstones: as of :class:`Child`.
    """

    table: str
    _: KW_ONLY
    foreign_key: Names
    target_key: Names
    cursor_field: str
    tombstones: bool | str = True

    def __post_init__(self) -> None:
        for name in ("foreign_key", "target_key"):
            object.__setattr__(self, name, names_of(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class Child(_Nesting):
    """One to many: a list of objects, one for each row of another table that refers to this one. With ``through``, many to many.

    :param name: of the field in the document.
    :param table: ``schema.table``, taken literally.
    :param foreign_key: its columns that hold the key of the row that the list belongs to, in the order of that key.
    :param cursor_field: the column that every change of its rows moves forward; of the same type as the source's own.
    :param through: the join table, instead of a ``foreign_key``.
    :param primary_key: its key; default ``id``.
    :param columns: what an object has; default: all columns.
    :param order_by: columns that the list is ordered by, ascending, before the key; default: the key alone.
    :param row_filter: SQL condition on its columns; a row for which it is not true is not in the list.
    :param soft_delete_column: true, or any value but ``f`` and ``false`` in a column that is not boolean, takes a row out.
    :param tombstones: what left a list is recorded by triggers in a table beside this one, see ``install_tombstones``. True for
        the table's name, the foreign key's and ``_tombstones``, with underscores between them, or another name. False is the
        author's word that no row is ever deleted, and none goes from one list to another.
    :param max_rows: a document whose list has more rows, with all that is nested in them and those that are filtered out, is
        parked; default 10,000.
    :param children: of each row in turn.
    """

    name: str
    _: KW_ONLY
    table: str
    cursor_field: str
    foreign_key: Names = ()
    through: Through | None = None
    primary_key: Names = "id"
    columns: tuple[str, ...] | None = None
    order_by: Names = ()
    row_filter: str | None = None
    soft_delete_column: str | None = None
    tombstones: bool | str = True
    max_rows: int = MAX_ROWS
    children: tuple[Child | Parent, ...] = ()

    kind: ClassVar[str] = "child"

    def __post_init__(self) -> None:
        _settle(self, "foreign_key", "primary_key", "order_by")
        if (self.through is None) == (not self.foreign_key):
            raise ConfigurationError(f"Child {self.name!r}: give either foreign_key or through.")
        if self.max_rows < 1:
            raise ConfigurationError(f"Child {self.name!r}: max_rows starts at 1.")

    def to_json(self) -> dict[str, Any]:
        # A dataclass with slots is another class than the one that super() knows.
        return {**_Nesting.to_json(self), "through": self.through and self.through.to_json()}


@dataclass(frozen=True, slots=True)
class Parent(_Nesting):
    """Many to one: an object, of the row that this one refers to; NULL where there is none.

    :param name: of the field in the document.
    :param table: ``schema.table``, taken literally.
    :param via: the columns of the referring row that hold the other's key, in the order of ``primary_key``.
    :param cursor_field, primary_key, columns, row_filter, soft_delete_column, children: as of :class:`Child`.
    :param tombstones: its deletions are recorded, as of :class:`Child`; False where a foreign key constraint forbids them.
    """

    name: str
    _: KW_ONLY
    table: str
    via: Names
    cursor_field: str
    primary_key: Names = "id"
    columns: tuple[str, ...] | None = None
    row_filter: str | None = None
    soft_delete_column: str | None = None
    tombstones: bool | str = True
    children: tuple[Child | Parent, ...] = ()

    kind: ClassVar[str] = "parent"

    def __post_init__(self) -> None:
        _settle(self, "via", "primary_key")


_KINDS: Mapping[str, type[Child] | type[Parent]] = {c.kind: c for c in (Child, Parent)}


def children_of(values: Iterable[Child | Parent | Mapping[str, Any]]) -> tuple[Child | Parent, ...]:
    """Those, and what ``to_json`` made of some."""
    return tuple(v if isinstance(v, Child | Parent) else _child_of(v) for v in values)


def _child_of(value: Mapping[str, Any]) -> Child | Parent:
    arguments = {name: given for name, given in value.items() if name != "kind"}
    if arguments.get("through"):
        arguments["through"] = Through(**arguments["through"])
    return _KINDS[value["kind"]](**arguments)


def _settle(part: Child | Parent, *names: str) -> None:
    for name in names:
        object.__setattr__(part, name, names_of(getattr(part, name)))
    if part.columns is not None:
        object.__setattr__(part, "columns", tuple(part.columns))
    object.__setattr__(part, "children", children_of(part.children))
    if not part.name or not part.primary_key:
        raise ConfigurationError(f"{part.kind.title()} {part.name!r} of {part.table!r} needs a name and a primary_key.")

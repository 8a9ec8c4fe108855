"""What a document is made of, as a tree of sets of rows, and the rules that every source of such documents follows.

A *part* is the set of a table's rows whose columns ``on`` have the values that the columns ``to`` of an owner's row have: the
reviews of a product, the one brand that it refers to, the rows of a join table. Each part has its losses: what left the set of
an owner is recorded with the owner's value and the time.

* A document's version is the greatest cursor value among its row, the rows of its parts, and their losses.
* Whatever changes a document leaves such a value behind that is at or past the horizon of every read before it, and nothing
  lowers a version: so of two states that were read, the later one has the greater version.
* A document lies in a window if its version does. One of its parts has that very value, so a window's documents are among
  the owners of what each table has in it, and no other row needs to be looked at.
* A loss may be forgotten if the same set has a later one, or a row with a value as late; or if it has no owner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.sources.sql.children import MAX_ROWS, Child, Parent, names_of


@dataclass(frozen=True, slots=True)
class Part:
    """:ivar path: names from the document down, with dots. :ivar many: whether it is a list, and not an object.
    :ivar losses: name of the table that has its losses; None where the author says that there are none.
    :ivar inlined: it stands in the place of its owner: of a row of a join table, what the row points at."""

    name: str
    path: str
    table: str
    on: tuple[str, ...]
    to: tuple[str, ...]
    primary_key: tuple[str, ...]
    cursor_field: str
    many: bool
    columns: tuple[str, ...] | None
    order_by: tuple[str, ...]
    row_filter: str | None
    soft_delete_column: str | None
    losses: str | None
    max_rows: int
    parts: tuple[Part, ...]
    inlined: bool = False

    @property
    def is_join(self) -> bool:
        """Whether it is the table between a row and those of a list."""
        return any(part.inlined for part in self.parts)

    def require_cursor_of_its_own(self, label: str) -> None:
        """:raises ConfigurationError: what joins it to its owner has the cursor in it, so a change would leave the list."""
        if self.cursor_field in self.on:
            raise ConfigurationError(f"{label}: cursor_field cannot be part of what {self.path!r} is joined by.")

    def walk(self) -> Iterator[Part]:
        yield self
        for part in self.parts:
            yield from part.walk()


def parts_of(label: str, key: tuple[str, ...], children: Sequence[Child | Parent]) -> tuple[Part, ...]:
    """Of the rows with this key.

    :raises ConfigurationError: keys that do not match, or two fields of one name."""
    found = tuple(_part(label, "", key, child) for child in children)
    _require_names(label, "", found)
    return found


def _part(label: str, above: str, key: tuple[str, ...], child: Child | Parent) -> Part:
    path = f"{above}{child.name}"
    own_key = names_of(child.primary_key)
    below = tuple(_part(label, f"{path}.", own_key, c) for c in child.children)
    _require_names(label, path, below)
    content = Part(
        name=child.name,
        path=path,
        table=child.table,
        on=own_key,
        to=(),
        primary_key=own_key,
        cursor_field=child.cursor_field,
        many=False,
        columns=child.columns,
        order_by=(),
        row_filter=child.row_filter,
        soft_delete_column=child.soft_delete_column,
        losses=None,
        max_rows=MAX_ROWS,
        parts=below,
    )
    if isinstance(child, Parent):
        return _joined(label, content, on=own_key, to=names_of(child.via), tombstones=child.tombstones)
    order = tuple(dict.fromkeys((*names_of(child.order_by), *own_key)))
    if child.through is None:
        listed = _joined(label, content, on=names_of(child.foreign_key), to=key, tombstones=child.tombstones)
        return replace(listed, many=True, order_by=order, max_rows=child.max_rows)
    through = child.through
    target = names_of(through.target_key)
    inner = _joined(label, content, on=own_key, to=target, tombstones=child.tombstones)
    inner = replace(inner, inlined=True, order_by=order)
    join = replace(
        content,
        table=through.table,
        primary_key=(*names_of(through.foreign_key), *target),
        cursor_field=through.cursor_field,
        columns=(),
        row_filter=None,
        soft_delete_column=None,
        parts=(inner,),
    )
    join = _joined(label, join, on=names_of(through.foreign_key), to=key, tombstones=through.tombstones)
    return replace(join, many=True, max_rows=child.max_rows)


def _joined(label: str, part: Part, *, on: tuple[str, ...], to: tuple[str, ...], tombstones: bool | str) -> Part:
    if len(on) != len(to):
        raise ConfigurationError(
            f"{label}: {part.path} joins ({', '.join(on)}) of {part.table} to ({', '.join(to)}), which are not as many columns:"
            " name all columns of the key, in its order."
        )
    # A dot in a column's name would end a schema's.
    columns = "_".join(on).replace(".", "_")
    losses = f"{part.table}_{columns}_tombstones" if tombstones is True else tombstones or None
    return replace(part, on=on, to=to, losses=losses)


def _require_names(label: str, path: str, parts: Sequence[Part]) -> None:
    names = [part.name for part in parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"{label}: {path or 'the document'} has two children of the name {twice!r}.")

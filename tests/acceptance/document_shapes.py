"""Documents of any shape: tables by chance, their relations, what one statement says of them, and changes of their rows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shape_words import Words

from airflow_reindex_provider.sources.sql.children import Child, Parent, Through

# What needs quoting, and what statements call things themselves.
NAMES = (
    "plain",
    "UPPER",
    "with space",
    'quo"te',
    "ünï",
    "select",
    "x",
    "d",
    "r",
    "t",
    "u",
    "l",
    "p1",
    "c1",
    "l1",
    "k0",
)
NAMES += ("value", "latest", "n", "o0", "per%cent", "bra{ce}", "it's", "shown", "asked", "doc", "dot.t")
KEYS = (range(1, 8), range(1, 3))
"""Of the first and second column of a key: few, so that rows meet."""


@dataclass(eq=False)
class Table:
    """:ivar referring: of each of its foreign keys, by its columns, the table. :ivar joins: it has no key but these."""

    words: Words
    schema: str
    name: str
    key: tuple[str, ...]
    types: tuple[str, ...]
    cursor: str
    body: str
    gone: str
    joins: bool = False
    partitioned: bool = False
    referring: dict[tuple[str, ...], Table] = field(default_factory=dict)

    @property
    def dotted(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        return f"{self.words.quoted(self.schema)}.{self.words.quoted(self.name)}"

    @property
    def columns(self) -> list[str]:
        return [*self.key, self.cursor, self.body, self.gone, *(name for key in self.referring for name in key)]

    @property
    def identity(self) -> tuple[str, ...]:
        return tuple(name for key in self.referring for name in key) if self.joins else self.key

    def insert(self, row: Mapping[str, str]) -> str:
        return f"INSERT INTO {self.sql} ({self.words.quoted(*row)}) VALUES ({', '.join(row.values())})"


@dataclass(eq=False)
class Relation:
    """:ivar by: its columns in the referring table: the child's, the owner's of a parent, or the join table's."""

    name: str
    kind: str
    owner: Table
    table: Table
    by: tuple[str, ...]
    join: Table | None
    target: tuple[str, ...]
    hides: bool
    filters: bool
    ordered: bool
    below: list[Relation] = field(default_factory=list)

    def child(self) -> Child | Parent:
        table = self.table
        said: dict[str, Any] = {
            "table": table.dotted,
            "primary_key": table.key,
            "cursor_field": table.cursor,
            "columns": (*table.key, table.body),
            "soft_delete_column": table.gone if self.hides else None,
            "row_filter": f"{table.words.quoted(table.body)} <> 'spam' -- said by its author" if self.filters else None,
            "children": tuple(relation.child() for relation in self.below),
        }
        if self.kind == "parent":
            return Parent(self.name, via=self.by, **said)
        order = table.body if self.ordered else ()
        if self.join is None:
            return Child(self.name, foreign_key=self.by, order_by=order, **said)
        through = Through(self.join.dotted, foreign_key=self.by, target_key=self.target, cursor_field=self.join.cursor)
        return Child(self.name, through=through, order_by=order, **said)

    def value(self, owner: str) -> str:
        """As a subquery of a statement in which ``owner`` is the owner's row."""
        words, table, own, join = self.table.words, self.table, f"{owner}_{id(self)}", f"{owner}_{id(self)}_j"
        fields = [(name, f"{own}.{words.quoted(name)}") for name in (*table.key, table.body)]
        fields += [(relation.name, relation.value(own)) for relation in self.below]
        source = f"{table.sql} AS {own}"
        shown = [f"{own}.{words.quoted(table.gone)} IS NOT TRUE"] if self.hides else []
        shown += [f"({own}.{words.quoted(table.body)} <> 'spam') IS TRUE"] if self.filters else []
        if self.kind == "parent":
            return words.object(fields, f"{source} WHERE {words.same(own, table.key, owner, self.by, shown)}")
        row = own
        if self.join is not None:
            row = join
            source += f" JOIN {self.join.sql} AS {join} ON {words.same(join, self.target, own, table.key)}"
        order = [f"{own}.{words.quoted(name)}" for name in ([table.body] if self.ordered else []) + [*table.key]]
        return words.objects(fields, f"{source} WHERE {words.same(row, self.by, owner, self.owner.key, shown)}", order)


class Shape:
    """A document by chance: three levels of children at the most, of some eight tables."""

    def __init__(self, chance: random.Random, words: Words) -> None:
        self._chance = chance
        self._words = words
        self.tables: list[Table] = []
        self.root = self._table()
        self.relations = self._below(self.root, 0)
        self._name_apart(self.root, self.relations)

    # -- what there is

    def _name(self, taken: Sequence[str] = ()) -> str:
        while (name := self._chance.choice(NAMES)) in taken:
            pass
        return name

    def _table(self, *, joins: bool = False) -> Table:
        chance, taken = self._chance, [t.name for t in self.tables]
        columns: list[str] = []
        for _ in range(5):
            columns.append(self._name(columns))
        width = 0 if joins else chance.choice((1, 1, 2))
        types = tuple(chance.choice(list(self._words.types)) for _ in range(width))
        name = self._name([*taken, "dot.t"])
        own, other = self._words.schemas
        schema = chance.choice((own, own, other))
        made = Table(
            self._words, schema, name, tuple(columns[3 : 3 + width]), types, columns[0], columns[1], columns[2], joins
        )
        made.partitioned = not joins and chance.random() < 0.15
        self.tables.append(made)
        return made

    def _refer(self, table: Table, to: Table) -> tuple[str, ...]:
        columns: list[str] = []
        for _ in to.types:
            columns.append(self._name([*table.columns, *columns]))
        table.referring[tuple(columns)] = to
        return tuple(columns)

    def _below(self, owner: Table, depth: int) -> list[Relation]:
        chance, found = self._chance, []
        for _ in range(chance.choice((1, 2, 3) if depth == 0 else (0, 0, 1, 1, 2) if depth < 3 else (0,))):
            if len(self.tables) > 7:
                break
            kind = chance.choice(("child", "parent", "through"))
            # The owner itself may be among these: a category has a category above it.
            known = chance.random() < 0.2
            table = chance.choice([t for t in self.tables if not t.joins]) if known else self._table()
            join = self._table(joins=True) if kind == "through" else None
            by = self._refer(join or (owner if kind == "parent" else table), table if kind == "parent" else owner)
            target = self._refer(join, table) if join else ()
            hides, filters, ordered = (chance.random() < 0.3 for _ in range(3))
            relation = Relation("", kind, owner, table, by, join, target, hides, filters, ordered)
            relation.below = [] if known else self._below(table, depth + 1)
            found.append(relation)
        return found

    def _name_apart(self, owner: Table, relations: Sequence[Relation]) -> None:
        for relation in relations:
            relation.name = self._name([*owner.columns, *(r.name for r in relations)])
            self._name_apart(relation.table, relation.below)

    def ddl(self) -> Iterator[str]:
        yield self._words.schema()
        for number, table in enumerate(self.tables):
            yield from self._words.table(table, number)

    def constraints(self) -> Iterator[str]:
        """Foreign keys, of which some cannot be added to the rows that are there."""
        for table in self.tables:
            for key, to in table.referring.items():
                if self._chance.random() < 0.5:
                    how = "CASCADE" if table.joins else self._chance.choice(("CASCADE", "SET NULL"))
                    quoted = self._words.quoted
                    yield (
                        f"ALTER TABLE {table.sql} ADD FOREIGN KEY ({quoted(*key)}) REFERENCES {to.sql}"
                        f" ({quoted(*to.key)}) {self._words.rule(how)}"
                    )

    @property
    def fields(self) -> tuple[str, ...]:
        return (*self.root.key, self.root.body, *(relation.name for relation in self.relations))

    def said(self) -> str:
        """What one statement says that the documents are."""
        row = [f"root.{self._words.quoted(name)}" for name in (*self.root.key, self.root.body)]
        values = [relation.value("root") for relation in self.relations]
        return f"SELECT {', '.join(row + values)} FROM {self.root.sql} AS root ORDER BY {', '.join(row[:-1])}"

    # -- what happens

    def rows(self) -> Iterator[list[str]]:
        """To begin with."""
        for table in self.tables:
            for _ in range(12):
                yield self._changes(table)["put"][1]

    def change(self, *, stays_open: bool = False) -> list[str]:
        """A row that comes, changes, goes, gets another key or belongs to something else; or many.

        :param stays_open: its transaction does, so that it may lock no table: whoever reads one would wait for it."""
        kinds = self._changes(self._chance.choice(self.tables))
        names = [name for name in kinds if name != "truncate" or not stays_open]
        (kind,) = self._chance.choices(names, [kinds[name][0] for name in names])
        return kinds[kind][1]

    def _changes(self, table: Table) -> Mapping[str, tuple[float, list[str]]]:
        """Each kind with how often it happens."""
        chance, words, quoted = self._chance, self._words, self._words.quoted
        identity = self._values(table)
        where = " AND ".join(f"{quoted(name)} = {value}" for name, value in identity.items())
        if table.joins and chance.random() < 0.5:
            # All links of one side.
            where = where.split(" AND ")[0]
        body = words.literal(chance.choice(("spam", "a", "b", f"b{chance.randint(1, 99)}", 'é\n"\\')))
        row = {**identity, **{k: v for key in table.referring for k, v in self._reference(table, key).items()}}
        row[table.body] = body
        update, delete = f"UPDATE {table.sql} SET", f"DELETE FROM {table.sql} WHERE {where}"
        moved = self._reference(table, chance.choice(list(table.referring))) if table.referring else {}
        moves = ", ".join(f"{quoted(name)} = {value}" for name, value in moved.items())
        rekeyed = ", ".join(f"{quoted(name)} = {value}" for name, value in self._values(table).items())
        return {
            "put": (3, [words.put(table, row, list(identity))]),
            "change": (3, [f"{update} {quoted(table.body)} = {body} WHERE {where}"]),
            "move": (4 if moves else 0, [f"{update} {moves} WHERE {where}"]),
            "hide": (2, [f"{update} {quoted(table.gone)} = {chance.choice(('true', 'false', 'NULL'))} WHERE {where}"]),
            "rename": (2, [f"{update} {rekeyed} WHERE {where}"]),
            "delete": (4, [delete]),
            "put back": (1, [delete, table.insert(row)]),
            "delete many": (1, [delete.replace(" = ", " <= ")]),
            "change all": (0.5, [f"{update} {quoted(table.body)} = {body}"]),
            "truncate": (0.3, [words.empty(table)]),
        }

    def _values(self, table: Table) -> dict[str, str]:
        if table.joins:
            return {k: v for key in table.referring for k, v in self._reference(table, key, may_lack=False).items()}
        return {n: self._value(kind, i) for i, (n, kind) in enumerate(zip(table.key, table.types, strict=True))}

    def _reference(self, table: Table, key: tuple[str, ...], *, may_lack: bool = True) -> dict[str, str]:
        """Some columns of a key may be NULL, and the others not."""
        types = table.referring[key].types
        lacks = may_lack and not table.joins
        return {
            name: "NULL" if lacks and self._chance.random() < 0.1 else self._value(kind, place)
            for place, (name, kind) in enumerate(zip(key, types, strict=True))
        }

    def _value(self, kind: str, place: int) -> str:
        return self._words.types[kind].format(self._chance.choice(KEYS[place]))

"""Documents of a generation, read by key: compared, or copied to another generation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from airflow_reindex_provider.core.model import Document, Key, Rejection
from airflow_reindex_provider.targets.lance.keys import one_of
from airflow_reindex_provider.targets.lance.layout import DELETED, KEY, OWN, VERSION, Layout
from airflow_reindex_provider.targets.lance.passages import COLUMNS
from airflow_reindex_provider.targets.lance.rows import Rows
from airflow_reindex_provider.targets.row_passages import HASHES, PASSAGES, own

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

_READ_AT_ONCE = 1_000
_FORGOTTEN = f"target.{DELETED} AND target.{VERSION} < source.{VERSION}"


def differing(documents: Sequence[Document], table: Table) -> list[tuple[Key, str]]:
    """Those that the table holds with the same version and other values, with the first column that differs."""
    rows = Rows(table.schema)
    keys = Layout.of(table.schema).key_texts
    wanted = {keys.text(document.key): document for document in documents}
    found: list[tuple[Key, str]] = []
    for part in _parts(list(wanted), table):
        for held in part.to_pylist():
            document = wanted[held[KEY]]
            if held[VERSION] != document.version:
                continue
            refused: list[Rejection] = []
            made = rows.of([document], refused).to_pylist()
            passages = [passage.hash.hex() for passage in own(document)]
            if refused:
                found.append((document.key, refused[0].reason))
            elif document.passages and (held[HASHES] or []) != passages:
                found.append((document.key, PASSAGES))
            elif names := [
                name for name in table.schema.names if name not in COLUMNS and not _same(made[0][name], held[name])
            ]:
                found.append((document.key, names[0]))
    return found


def carried(keys: Sequence[Key], here: Table, there: Table) -> int:
    """Copy the documents of these keys that the one table holds and the other has nothing newer of; says how many."""
    ours, theirs = Layout.of(here.schema), Layout.of(there.schema)
    if ours.key != theirs.key:
        return 0
    shared = [*OWN, *(name for name in ours.columns if name in theirs.columns)]
    rows = Rows(there.schema)
    count = 0
    for part in _parts([ours.key_texts.text(key) for key in keys], here, f"NOT {DELETED}"):
        refused: list[Rejection] = []
        copied = rows.of(rows.documents(part.select(shared)), refused)
        if ours.recipe is not None and ours.recipe == theirs.recipe:
            copied = _with_passages(copied, part)
        merge = there.merge_insert(KEY).when_matched_update_all(where=_FORGOTTEN).when_not_matched_insert_all()
        done = merge.execute(copied, on_bad_vectors="null")
        count += done.num_inserted_rows + done.num_updated_rows
    return count


def _with_passages(copied: pa.Table, part: pa.Table) -> pa.Table:
    """Those that the rows have in the table that they come from; of another recipe they come with the next run."""
    import pyarrow.compute as pc

    places = pc.index_in(copied[KEY], value_set=part[KEY])
    for name in COLUMNS:
        at = copied.schema.get_field_index(name)
        copied = copied.set_column(at, copied.schema.field(at), part[name].take(places))
    return copied


def _parts(keys: Sequence[str], table: Table, condition: str = "true") -> Iterator[pa.Table]:
    for at in range(0, len(keys), _READ_AT_ONCE):
        where = f"{one_of(keys[at : at + _READ_AT_ONCE], KEY)} AND {condition}"
        found = table.search().where(where).to_arrow()
        if found.num_rows:
            yield found


def _same(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)

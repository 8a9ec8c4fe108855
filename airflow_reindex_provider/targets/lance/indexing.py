"""Indexes of a generation's table, and how it is kept in few files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow_reindex_provider.core.errors import ConfigurationError, ReindexError
from airflow_reindex_provider.targets.lance.definition import LanceDefinition
from airflow_reindex_provider.targets.lance.layout import KEY
from airflow_reindex_provider.targets.lance.storage import latest
from airflow_reindex_provider.targets.row_passages import HASHES

if TYPE_CHECKING:
    from lancedb.table import Table

log = logging.getLogger(__name__)

SMALL_FILES = 40
"""Each commit makes one; from so many on a search takes notice."""
LEAST_VECTORS = 256
"""Of fewer LanceDB makes no index."""
KEEP_VERSIONS = timedelta(days=1)
"""How long somebody may go on reading a table as it was."""


def build_indexes(table: Table, target: LanceDefinition) -> None:
    """Those that are not there yet. Rows that are written later are found without, until the table is tidied.

    :raises ConfigurationError: LanceDB cannot build one."""
    own = {KEY: "BTree", **({HASHES: "LabelList"} if target.passages else {})}
    for column, kind in {**own, **target.indexes}.items():
        if _has_index(table, column):
            continue
        config = _config(kind, target.label)
        if _is_of_vectors(kind) and table.count_rows(f"`{column}` IS NOT NULL") < LEAST_VECTORS:
            log.info("%s has too few vectors for an index on %s: a search looks at all of them.", table.name, column)
            continue
        log.info("Building an index of kind %s on %s of %s.", kind, column, table.name)
        try:
            table.create_index(column, config=config)
        except (ValueError, RuntimeError) as error:
            latest(table)
            if _has_index(table, column):
                # Somebody else has built it meanwhile.
                continue
            if "retry" in str(error).lower():
                raise
            raise ConfigurationError(
                f"{target.label}: LanceDB cannot build the index {kind!r} on {column!r} that indexes= names: {error}"
            ) from error


def keep_tidy(table: Table, target: LanceDefinition, explained: Callable[[], AbstractContextManager[None]]) -> None:
    """Join small files, drop those of old versions, and bring new rows into the indexes, where there is reason to."""
    try:
        with explained():
            if cast("Any", table.stats())["fragment_stats"]["num_small_fragments"] < SMALL_FILES:
                return
            if table.list_indices():
                build_indexes(table, target)
            table.optimize(cleanup_older_than=KEEP_VERSIONS)
    except ReindexError as error:
        # Another writer has come between, say: the documents are written, and the next run tidies.
        log.info("%s is left in many files for now: %s", table.name, error)


def _has_index(table: Table, column: str) -> bool:
    return any(column in index.columns for index in table.list_indices())


def _is_of_vectors(kind: str) -> bool:
    return "ivf" in kind.lower() or "hnsw" in kind.lower()


def _config(kind: str, label: str) -> Any:
    from lancedb import index

    kinds = [name for name in index.__all__ if name != "IndexConfig"]
    if kind not in kinds:
        raise ConfigurationError(f"{label}: indexes= names the kind {kind!r}. LanceDB has: {', '.join(kinds)}.")
    return getattr(index, kind)(**({"distance_type": "cosine"} if _is_of_vectors(kind) else {}))

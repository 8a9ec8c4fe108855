"""Streams out of Dag files, imported into this process as ``airflow dags test`` does it, with what Airflow keeps for them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.dag import DagModel
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_reindex_provider.checkpoints.asset import AssetCheckpoint
from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
from airflow_reindex_provider.cli.ending import FAILED, MISTAKEN, Ending
from airflow_reindex_provider.control.carried import REINDEX
from airflow_reindex_provider.control.status.catalogue import StreamEntry
from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.findings import warning
from airflow_reindex_provider.core.model import Checkpoint, Finding
from airflow_reindex_provider.stream import Stream

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class ReadVariables(VariableCheckpoint):
    """The checkpoints in Variables, for a process that is no task and may use Airflow's database. It changes none."""

    def _text(self, key: str) -> str | None:
        with create_session() as session:
            variable = session.scalar(select(Variable).where(Variable.key == key))
            return None if variable is None else variable.get_val()

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        raise ConfigurationError("The command line only reads checkpoints: what changes them is a run.")

    def reset(self, stream: str, generation: str) -> None:
        raise ConfigurationError("The command line only reads checkpoints: what changes them is a run.")


class UnreadAssets(AssetCheckpoint):
    """The checkpoints in an asset's state, which tasks alone reach."""

    def load(self, stream: str, generation: str) -> Checkpoint:
        raise ConfigurationError(
            f"Stream {stream!r} keeps its checkpoint in the state of asset {self.name!r}, which only a task reads: give --as-run."
        )

    def check(self) -> Iterator[Finding]:
        yield warning("store", f"Only a task reads the state of asset {self.name!r}: --as-run lets one look.")


def stream_of(session: Session, entry: StreamEntry, file: str | None) -> Stream:
    """From the Dag file that Airflow knows it by, or from the one given.

    :raises Ending: the file is not here, cannot be imported, or has no such stream."""
    if file is not None:
        found = streams_in(Path(file))
    else:
        dag = entry.dag_of(REINDEX) or entry.dags[0]
        found = streams_in(*_place(session, dag.dag_id))
    return named(found, entry.name, file or "its Dag file")


def named(found: Mapping[str, Stream], name: str, file: str) -> Stream:
    """:raises Ending: there is none of this name."""
    if name not in found:
        raise Ending(MISTAKEN, f"No stream {name!r} is in {file}: it has {', '.join(found) or 'none'}.")
    return found[name]


@cache
def streams_in(path: Path, root: Path | None = None) -> dict[str, Stream]:
    """All that the Dags of a file carry, by name. It is imported once.

    :param root: of its bundle. :raises Ending: see :func:`stream_of`."""
    if not path.exists():
        raise Ending(
            MISTAKEN,
            f"There is no {path} on this machine. Name the Dag file with --file, or give --as-run: a run has it.",
        )
    # What Airflow's own commands do that have connections of the metadata database to read.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    bag = BundleDagBag(dag_folder=str(path), bundle_path=root or path.resolve().parent, safe_mode=False)
    if bag.import_errors:
        told = "\n".join(error.strip() for error in bag.import_errors.values())
        raise Ending(FAILED, f"{path} cannot be imported:\n{told}")
    return {stream.name: _readable(stream) for dag in bag.dags.values() for task in dag.tasks for stream in _of(task)}


def _of(task: Any) -> Iterator[Stream]:
    held = getattr(task, "stream", None) or getattr(task, "partial_kwargs", {}).get("stream")
    if isinstance(held, Stream):
        yield held


def _readable(stream: Stream) -> Stream:
    store = stream.checkpoint
    if isinstance(store, VariableCheckpoint):
        return replace(stream, checkpoint=ReadVariables(store.prefix))
    return replace(stream, checkpoint=UnreadAssets(store.asset)) if isinstance(store, AssetCheckpoint) else stream


def _place(session: Session, dag_id: str) -> tuple[Path, Path]:
    """A Dag's file, and the root of its bundle."""
    model = session.get(DagModel, dag_id)
    if model is None or not model.bundle_name or not model.relative_fileloc:
        raise Ending(FAILED, f"Airflow does not say where the file of Dag {dag_id!r} is. Name it with --file.")
    try:
        bundles = DagBundlesManager()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        bundle = bundles.get_bundle(model.bundle_name)
        bundle.initialize()
        root = Path(bundle.path)
    except Exception as error:
        # Whatever a bundle may do: it may be configured elsewhere alone, or be fetched from another machine.
        raise Ending(
            MISTAKEN,
            f"The bundle {model.bundle_name!r} of Dag {dag_id!r} cannot be had on this machine: {error}. Name the Dag file with"
            " --file, or give --as-run: a run has it.",
        ) from error
    return root / model.relative_fileloc, root

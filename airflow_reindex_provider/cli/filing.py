"""Commands about files of streams, and the doctor's way into one. Nothing here asks Airflow's database."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_reindex_provider.checkpoints.asset import AssetCheckpoint
from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
from airflow_reindex_provider.cli.commands import showing
from airflow_reindex_provider.core.findings import ok
from airflow_reindex_provider.core.model import Finding
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.streamfile.problems import Problem
from airflow_reindex_provider.streamfile.reading import read_streams
from airflow_reindex_provider.streamfile.schema import file_schema

SUFFIXES = (".yaml", ".yml")


class UnaskedVariables(VariableCheckpoint):
    """The checkpoints in Variables, of which a file says nothing: none is known."""

    def _text(self, key: str) -> str | None:
        return None

    def check(self) -> Iterator[Finding]:
        yield ok("store", "Airflow's Variables, which were not asked for.")


@dataclass(frozen=True)
class UnaskedAssets(AssetCheckpoint):
    """The same of those in an asset's state."""

    def check(self) -> Iterator[Finding]:
        yield ok("store", f"The state of asset {self.name!r}, which was not asked for.")


def streams_of_file(path: Path, overlays: Sequence[Path]) -> Iterator[tuple[str, Stream | None, tuple[Problem, ...]]]:
    """Each stream with its name, or with what is wrong with it; those that are not enabled are left out.

    :raises StreamFileError: something is wrong that no stream has caused alone."""
    for entry in read_streams(path, overlays):
        if entry.problems or entry.stream is not None:
            yield entry.name, entry.stream and _unasked(entry.stream), entry.problems


def _unasked(stream: Stream) -> Stream:
    store = stream.checkpoint
    if isinstance(store, VariableCheckpoint):
        return replace(stream, checkpoint=UnaskedVariables(store.prefix))
    return replace(stream, checkpoint=UnaskedAssets(store.asset)) if isinstance(store, AssetCheckpoint) else stream


@showing
def schema_command(args: Namespace) -> None:
    print(json.dumps(file_schema(), indent=1, ensure_ascii=False))

"""The Dags of all streams of a file: two lines in a Dag file."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_parsing_context

from airflow_reindex_provider.core.errors import ReindexError
from airflow_reindex_provider.operators.watch import Watch
from airflow_reindex_provider.stream import Stream
from airflow_reindex_provider.streamfile.items import alone, fill
from airflow_reindex_provider.streamfile.problems import Place, Problem
from airflow_reindex_provider.streamfile.reading import WATCH, Entry, read_file
from airflow_reindex_provider.streamfile.refused import RefusedStreamDag

log = logging.getLogger(__name__)


class ReindexDags:
    """The Dags that a file of streams asks for; they register themselves.

    A stream of which the file says something wrong has none: it is an import error of its own in Airflow, with line and remedy,
    and the Dags of the others are there.

    :param path: of the file, relative to the Dag file.
    :param overlays: files laid over it, one over the other, for what is different in one environment.
    :raises StreamFileError: something is wrong with the file that no stream has caused alone.
    :ivar dags: by id. :ivar streams: by name, for a Dag of one's own. :ivar watched: what is promised of them, for a WatchDag of
        one's own. :ivar problems: of what has no Dags.
    """

    def __init__(self, path: str | os.PathLike[str], *, overlays: Sequence[str | os.PathLike[str]] = ()) -> None:
        self.dags: dict[str, DAG] = {}
        self.streams: dict[str, Stream] = {}
        self.watched: list[Watch] = []
        self.problems: list[Problem] = []
        beside = sys._getframe(1).f_globals.get("__file__")
        folder = Path(beside).resolve().parent if beside else Path.cwd()
        first, *rest = (folder / _expanded(given) for given in (path, *overlays))
        file = read_file(first, rest)
        wanted = _wanted((*file.entries, *file.of_all))
        for entry in file.entries:
            made, problems = _made(entry, wanted, entry.stream)
            if problems:
                self._refuse(entry, problems)
                continue
            if entry.stream is not None:
                self.streams[entry.name] = entry.stream
            if entry.watch is not None:
                self.watched.append(entry.watch)
            for dag in made:
                self.dags[dag.dag_id] = _register(dag)
        for entry in file.of_all:
            made, problems = _made(entry, wanted, self.watched if entry.name == WATCH else [*self.streams.values()])
            if problems:
                self._refuse(entry, problems)
            for dag in made:
                self.dags[dag.dag_id] = _register(dag)

    def _refuse(self, entry: Entry, problems: tuple[Problem, ...]) -> None:
        self.problems += problems
        for problem in problems:
            log.error("%s", problem)
        dag_id = f"refused_{len(self.problems)}"
        _register(RefusedStreamDag(dag_id=dag_id, name=entry.name, problems=problems, auto_register=False))


def _wanted(entries: Sequence[Entry]) -> str | None:
    """The one Dag that is needed here: a task needs its own alone."""
    dag_id = get_parsing_context().dag_id
    return dag_id if any(job.dag_id == dag_id for entry in entries for job, _ in entry.jobs) else None


def _made(entry: Entry, wanted: str | None, of: Any) -> tuple[list[DAG], tuple[Problem, ...]]:
    """:param of: what the Dags take first."""
    dags: list[DAG] = []
    for job, place in () if entry.problems else entry.jobs:
        if wanted not in (None, job.dag_id):
            continue
        try:
            dag = job.make(of)
            dag.validate()
        except Exception as error:
            # Whatever Airflow or the class has against it, the others' Dags are to be there.
            told = str(error) if isinstance(error, ReindexError) else f"{type(error).__name__}: {error}"
            stream = None if entry.stream is None else entry.name
            return [], (Problem(place, f"{job.job}: {' '.join(told.split())}", stream),)
        dags.append(dag)
    return dags, entry.problems


def _register(dag: DAG) -> Any:
    """Once it is whole: Airflow takes a Dag for its own as its context is left, be it half made."""
    dag.auto_register = True
    with dag:
        return dag


def _expanded(path: str | os.PathLike[str]) -> str:
    told: list[str] = []
    text = fill(os.fspath(path), os.environ, told.append)
    if told:
        raise alone(Place(os.fspath(path), 1), told[0])
    return text

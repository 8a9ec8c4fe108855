"""Which streams there are, and which Dags carry them: from the serialised Dags, never from anybody's Dag files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.models.asset import AssetModel, TaskInletAssetReference
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.serialized_dag import SerializedDagModel
from sqlalchemy import func, select

from airflow_reindex_provider.control.carried import ROLES, Carried, read_carried

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_SCHEME = "reindex://"
_MOST_SEEN = 4096


@dataclass(frozen=True, slots=True)
class CarryingDag:
    """A Dag, as far as it is about one stream.

    :ivar streams: all that it carries. :ivar roles: what it does for this one, of ``carried.ROLES``. :ivar fields: of its
        trigger form. :ivar interval_s: the width of its next data interval; None where it has none."""

    dag_id: str
    streams: tuple[str, ...]
    roles: tuple[str, ...]
    paused: bool
    schedule: str | None
    next_run_at: datetime | None
    interval_s: float | None
    has_import_errors: bool
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """A stream that some Dag carries. :ivar about: as the Dag says that was parsed last."""

    about: Carried
    dags: tuple[CarryingDag, ...]

    @property
    def name(self) -> str:
        return self.about.stream

    def dag_of(self, role: str) -> CarryingDag | None:
        """The one that does this for the stream: the first by id, one that is not paused before one that is."""
        return min((d for d in self.dags if role in d.roles), key=lambda d: (d.paused, d.dag_id), default=None)


def list_streams(
    session: Session, *, readable: Callable[[Collection[str]], Collection[str]] | None = None
) -> dict[str, StreamEntry]:
    """By name, in order. Two statements, and a third for Dags that have not been seen before.

    :param readable: picks those that may be seen of the Dags with these ids; what others carry is as if it were not there. None
        is all.
    """
    dags = {row.dag_id: row for row in session.execute(_carrying())}
    if readable is not None:
        seen = readable(dags.keys())
        dags = {dag_id: row for dag_id, row in dags.items() if dag_id in seen}
    found: dict[str, list[tuple[datetime, Carried, CarryingDag]]] = {}
    for dag_id, (about, fields) in _serialised(session, dags).items():
        row = dags[dag_id]
        by_stream: dict[str, list[Carried]] = {}
        for carried in about:
            by_stream.setdefault(carried.stream, []).append(carried)
        for name, of_stream in by_stream.items():
            roles = {carried.role for carried in of_stream}
            dag = _carrying_dag(row, tuple(by_stream), tuple(role for role in ROLES if role in roles), fields)
            found.setdefault(name, []).append((row.last_parsed_time, of_stream[0], dag))
    return {
        name: StreamEntry(
            max(told, key=lambda t: (t[0] is not None, t[0]))[1],
            tuple(sorted((t[2] for t in told), key=lambda d: d.dag_id)),
        )
        for name, told in sorted(found.items())
    }


def _carrying() -> Any:
    """The Dags with a task that has a stream's asset among its inlets."""
    return select(
        DagModel.dag_id,
        DagModel.is_paused,
        DagModel.timetable_summary,
        DagModel.next_dagrun_create_after,
        DagModel.next_dagrun_data_interval_start,
        DagModel.next_dagrun_data_interval_end,
        DagModel.has_import_errors,
        DagModel.last_parsed_time,
    ).where(
        DagModel.is_stale.is_(False),
        DagModel.dag_id.in_(
            select(TaskInletAssetReference.dag_id)
            .join(AssetModel, AssetModel.id == TaskInletAssetReference.asset_id)
            .where(AssetModel.uri.startswith(_SCHEME))
        ),
    )


def _carrying_dag(row: Any, streams: tuple[str, ...], roles: tuple[str, ...], fields: frozenset[str]) -> CarryingDag:
    start, end = row.next_dagrun_data_interval_start, row.next_dagrun_data_interval_end
    return CarryingDag(
        dag_id=row.dag_id,
        streams=streams,
        roles=roles,
        paused=bool(row.is_paused),
        # As Airflow writes that there is none.
        schedule=None if row.timetable_summary == "None" else row.timetable_summary,
        next_run_at=row.next_dagrun_create_after,
        interval_s=(end - start).total_seconds() if start and end else None,
        has_import_errors=bool(row.has_import_errors),
        fields=fields,
    )


_Told = tuple[tuple[Carried, ...], frozenset[str]]
_seen: dict[tuple[str, str], _Told] = {}
"""What versions of Dags say, by the hash of their text: each is read once in the life of a process."""


def _serialised(session: Session, dag_ids: Iterable[str]) -> Mapping[str, _Told]:
    wanted = list(dag_ids)
    if not wanted:
        return {}
    newest = (
        select(DagVersion.dag_id, func.max(DagVersion.version_number).label("number"))
        .where(DagVersion.dag_id.in_(wanted))
        .group_by(DagVersion.dag_id)
        .subquery()
    )
    rows = session.execute(
        select(SerializedDagModel.dag_id, SerializedDagModel.dag_hash, SerializedDagModel.id)
        .join(DagVersion, DagVersion.id == SerializedDagModel.dag_version_id)
        .join(newest, (newest.c.dag_id == DagVersion.dag_id) & (newest.c.number == DagVersion.version_number))
    ).all()
    told = {row.dag_id: seen for row in rows if (seen := _seen.get((row.dag_id, row.dag_hash)))}
    if unknown := [row.id for row in rows if row.dag_id not in told]:
        if len(_seen) + len(unknown) > _MOST_SEEN:
            _seen.clear()
        for model in session.scalars(select(SerializedDagModel).where(SerializedDagModel.id.in_(unknown))):
            told[model.dag_id] = _seen[model.dag_id, model.dag_hash] = _read(model.data or {})
    return told


def _read(data: Mapping[str, Any]) -> _Told:
    dag = data.get("dag", {})
    tasks = [task.get("__var", {}) for task in dag.get("tasks", ())]
    about = tuple(found for task in tasks if (found := read_carried(task.get("doc_json"))))
    return about, frozenset(name for name, _ in dag.get("params", ()))

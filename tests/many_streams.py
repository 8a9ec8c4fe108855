"""A metadata database with many streams in it: copies of one that was parsed, each with runs that published what runs publish."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

TEMPLATE = "template"
_DAG_ID = f"reindex_{TEMPLATE}"
_INTERVAL = timedelta(hours=1)


def fill(metadata: Any, numbers: range, *, runs: int) -> None:
    """Streams ``stream_0000`` and so on, each with a ReindexDag and so many runs of it, one of them under way.

    :param metadata: a :class:`tests.metadata.Metadata`, where the Dag of stream ``template`` was parsed."""
    with metadata.session() as session:
        for table, rows in _copies(session, numbers):
            session.execute(table.insert(), rows)
        for table, rows in _runs(session, numbers, runs):
            session.execute(table.insert(), rows)
        session.commit()


def _copies(session: Any, numbers: range) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    from airflow.models.asset import AssetModel, TaskInletAssetReference
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel

    def rows(model: Any, *where: Any) -> list[dict[str, Any]]:
        table = model.__table__
        return [dict(row._mapping) for row in session.execute(table.select().where(*where))]

    dag, version, serialised, asset, inlet = (
        model.__table__ for model in (DagModel, DagVersion, SerializedDagModel, AssetModel, TaskInletAssetReference)
    )
    (of_dag,) = rows(DagModel, dag.c.dag_id == _DAG_ID)
    (of_version,) = rows(DagVersion, version.c.dag_id == _DAG_ID)
    (of_text,) = rows(SerializedDagModel, serialised.c.dag_id == _DAG_ID)
    (of_asset,) = rows(AssetModel, asset.c.uri.startswith(f"reindex://{TEMPLATE}"))
    of_inlets = rows(TaskInletAssetReference, inlet.c.dag_id == _DAG_ID)
    first = 1000
    ids = {number: str(uuid.uuid4()) for number in numbers}
    yield dag, [{**of_dag, "dag_id": _dag_id(n)} for n in numbers]
    yield version, [{**of_version, "id": uuid.UUID(ids[n]), "dag_id": _dag_id(n)} for n in numbers]
    text = json.dumps(of_text["data"])
    yield (
        serialised,
        [
            {
                **of_text,
                "id": uuid.uuid4(),
                "dag_id": _dag_id(n),
                "dag_version_id": uuid.UUID(ids[n]),
                "data": json.loads(text.replace(TEMPLATE, _name(n))),
                "dag_hash": f"{n:032}",
            }
            for n in numbers
        ],
    )
    yield (
        asset,
        [
            {**of_asset, "id": first + n, **{c: of_asset[c].replace(TEMPLATE, _name(n)) for c in ("name", "uri")}}
            for n in numbers
        ],
    )
    yield inlet, [{**row, "dag_id": _dag_id(n), "asset_id": first + n} for n in numbers for row in of_inlets]


def _runs(session: Any, numbers: range, runs: int) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import func, select

    version_of = {v.dag_id: v.id for v in session.scalars(select(DagVersion))}
    log_template = session.scalar(select(func.max(DagRun.__table__.c.log_template_id))) or 1
    first = (session.scalar(select(func.max(DagRun.id))) or 0) + 1
    now = datetime.now(UTC)
    of_runs: list[dict[str, Any]] = []
    of_tasks: list[dict[str, Any]] = []
    of_xcoms: list[dict[str, Any]] = []
    for place, number in enumerate(numbers):
        for nth in range(runs):
            id = first + place * runs + nth
            began = now - _INTERVAL * (runs - nth)
            last = nth == runs - 1
            run_id = f"scheduled__{began.isoformat()}"
            of_runs.append(
                {
                    "id": id,
                    "dag_id": _dag_id(number),
                    "run_id": run_id,
                    "run_type": "scheduled",
                    "state": "running" if last else "success",
                    "run_after": began,
                    "queued_at": began,
                    "start_date": began,
                    "end_date": None if last else began + timedelta(minutes=1),
                    "conf": {},
                    "log_template_id": log_template,
                    "created_dag_version_id": version_of[_dag_id(number)],
                    "clear_number": 0,
                    "span_status": "not_started",
                }
            )
            for task_id, map_index, key, value in _published(number, began, under_way=last):
                of_tasks.append(
                    {
                        "id": uuid.uuid4(),
                        "dag_id": _dag_id(number),
                        "run_id": run_id,
                        "task_id": task_id,
                        "map_index": map_index,
                        "state": "running" if last else "success",
                        "try_number": 1,
                        "max_tries": 0,
                        "dag_version_id": version_of[_dag_id(number)],
                        "pool": "default_pool",
                        "pool_slots": 1,
                        "span_status": "not_started",
                    }
                )
                of_xcoms.append(
                    {
                        "dag_run_id": id,
                        "task_id": task_id,
                        "map_index": map_index,
                        "key": key,
                        "dag_id": _dag_id(number),
                        "run_id": run_id,
                        "value": json.dumps(value),
                        "timestamp": began,
                        "dag_result": False,
                    }
                )
    yield DagRun.__table__, of_runs
    yield TaskInstance.__table__, of_tasks
    yield XComModel.__table__, of_xcoms


def _published(number: int, began: datetime, *, under_way: bool) -> Iterator[tuple[str, int, str, dict[str, Any]]]:
    """By task, map index and key: a plan and a closing record, or the progress of two batches."""
    about = {"stream": _name(number), "rows": 1000, "mode": "incremental", "horizon": began.isoformat(), "warnings": []}
    yield "extract", -1, "reindex_plan", about
    if under_way:
        for batch in range(2):
            progress = {
                "stream": _name(number),
                "status": "running",
                "total": 500,
                "processed": 250,
                "message": "Writes.",
            }
            yield "index", batch, "reindex_progress", progress
        return
    generations = [
        {"name": f"public.{_name(number)}_index_20260101t00000{n}", "live": n == 2, "served": True, "documents": 10_000}
        for n in range(3)
    ]
    standing = {
        "stream": _name(number),
        "at": began.isoformat(),
        "fresh_until": (began - timedelta(seconds=5)).isoformat(),
        "documents": 10_000,
        "generations": generations,
        "parked": {"count": 1, "documents": [{"key": ["1"], "reason": "no", "attempts": 1}]},
    }
    yield "checkpoint", -1, "reindex_standing", standing


def _name(number: int) -> str:
    return f"stream_{number:04}"


def _dag_id(number: int) -> str:
    return f"reindex_{_name(number)}"

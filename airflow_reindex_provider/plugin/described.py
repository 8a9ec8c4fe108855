"""What the routes take and answer, for the OpenAPI page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_reindex_provider.control.status.records import RunStatus, StreamStatus
from airflow_reindex_provider.control.status.scheduler import SchedulerStatus
from airflow_reindex_provider.plugin.problems import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]


@dataclass
class Can:
    """Something that you may do to the stream: POST .../acts/{name}, with what ``schema`` describes as the body."""

    name: str
    says: str
    schema: dict[str, Any]
    needed: list[str]


@dataclass
class May:
    cancel: bool
    answer: bool


@dataclass
class StreamList:
    """``recent`` of a stream has its last five runs; runs come without their batches, recent ones without their ``result``."""

    streams: list[StreamStatus]
    total: int
    at: str
    scheduler: SchedulerStatus


@dataclass
class StreamDetail:
    """Of the runs, ``run`` alone has its batches."""

    stream: StreamStatus
    can: list[Can]
    may: May
    at: str
    scheduler: SchedulerStatus


@dataclass
class RunList:
    runs: list[RunStatus]
    total: int


@dataclass
class StartedRun:
    dag_id: str
    run_id: str
    created: bool


@dataclass
class CancelledRun:
    cancelled: bool


@dataclass
class AnsweredTask:
    task_id: str


_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "A URN for programs; about:blank where the status says all."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what to do about it."},
        "dag_id": {"type": "string", "description": "Of the run that is in the way."},
        "run_id": {"type": "string"},
        "error_id": {"type": "string", "description": "By which the api-server's log names the error."},
    },
}
_PROBLEM = {"content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA}}}
_ALWAYS: Responses = {
    401: {"description": "Nobody has signed in.", **_PROBLEM},
    403: {"description": "You may not do this.", **_PROBLEM},
    422: {"description": "Parameters or arguments are wrong.", **_PROBLEM},
    503: {"description": "Airflow's database is busy; nothing was changed.", **_PROBLEM},
}
_HIDDEN: Responses = {404: {"description": "There is no such thing that you may see.", **_PROBLEM}}
_WRITING: Responses = {
    400: {"description": "The body is no JSON object.", **_PROBLEM},
    409: {"description": "It cannot be done now, since another run is under way or the Dag does not run.", **_PROBLEM},
    413: {"description": "The body is too long.", **_PROBLEM},
    415: {"description": "The body is not said to be JSON.", **_PROBLEM},
}


def _model(model: Any, says: str) -> dict[str, Any]:
    return {"model": model, "description": says}


LIST_ANSWER: Responses = {200: _model(StreamList, "The streams."), **_ALWAYS}
DETAIL_ANSWER: Responses = {200: _model(StreamDetail, "The stream."), **_ALWAYS, **_HIDDEN}
RUNS_ANSWER: Responses = {200: _model(RunList, "The runs."), **_ALWAYS, **_HIDDEN}
RUN_ANSWER: Responses = {200: _model(RunStatus, "The run."), **_ALWAYS, **_HIDDEN}
STARTED: Responses = {
    201: _model(StartedRun, "The run that was started."),
    200: _model(StartedRun, "The run that does this already."),
    **_ALWAYS,
    **_HIDDEN,
    **_WRITING,
}
CANCELLED: Responses = {200: _model(CancelledRun, "Whether it was under way."), **_ALWAYS, **_HIDDEN, **_WRITING}
ANSWERED: Responses = {200: _model(AnsweredTask, "The task that had asked."), **_ALWAYS, **_HIDDEN, **_WRITING}


def takes(says: str, properties: dict[str, Any] | None = None) -> dict[str, Any]:
    """The body of a route, which reads it itself. :param properties: by name, all needed; None is any."""
    schema: dict[str, Any] = {"type": "object"}
    if properties is not None:
        schema |= {"properties": properties, "required": list(properties), "additionalProperties": False}
    return {"requestBody": {"description": says, "content": {"application/json": {"schema": schema}}}}

"""What a file says of the Dags of a stream: the arguments of their classes, of Airflow's Dag, and of tasks."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, WithJsonSchema, create_model

from airflow_reindex_provider.streamfile.models import Own, Said, descriptions, model_of
from airflow_reindex_provider.streamfile.values import Called, Duration, Named, Unsayable, said, takes

JOBS = {
    "reindex": "dags.reindex:ReindexDag",
    "rebuild": "dags.rebuild:RebuildDag",
    "sweep": "dags.sweep:SweepDag",
}
"""Dag classes of a stream by the word that a file has for them."""
OF_ALL = {"clean_up": "dags.maintenance:MaintenanceDag", "watch": "dags.watch:WatchDag"}
"""Those that the streams of a file have together."""
_PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
# Of Airflow's Dag: what it sets itself, or what one that is made of a file has no use for.
_NOT_SAID = {"self", "dag_id", "task_group", "auto_register", "sla_miss_callback", "kwargs"}


def _cron(value: Any) -> str:
    from croniter import croniter

    if isinstance(value, str) and (value in _PRESETS or (len(value.split()) == 5 and croniter.is_valid(value))):
        return value
    raise takes(
        f"a cron expression of five fields like '*/5 * * * *', a duration like 10min, or one of {', '.join(_PRESETS)}"
    )


def _zone(value: Any) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(value)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise takes("a time zone like Europe/Berlin") from error
    return str(value)


def _param(value: Any) -> Any:
    from airflow.sdk import Param

    if isinstance(value, dict) and "default" in value:
        return Param(value["default"], **{key: inner for key, inner in value.items() if key != "default"})
    return value


def _asset(value: Any) -> Any:
    from airflow.sdk import Asset

    if isinstance(value, str):
        stream = value.removeprefix("reindex.")
        return Asset(name=value, uri=f"reindex://{stream}") if stream != value else Asset(name=value)
    if isinstance(value, dict) and value and value.keys() <= {"name", "uri", "group", "extra"}:
        return Asset(**value)
    raise takes("the name of an asset, reindex.products say, or a mapping with its name and uri")


def _notifier(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, dict) and "type" in value):
        return value
    raise takes("a Python object by its module and its name, or a mapping with its class as type and its arguments")


_NOTIFIER_SCHEMA = {"type": ["string", "object"]}
_CRON_SCHEMA = {
    "type": "string",
    "pattern": rf"^({'|'.join(_PRESETS)}|\s*\S+(\s+\S+){{4}}\s*|.*\$\{{.*)$",
    "examples": ["*/5 * * * *", "@daily"],
}
Cron = Annotated[str, BeforeValidator(_cron), WithJsonSchema(_CRON_SCHEMA)]
Zone = Annotated[str, BeforeValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})]
OneParam = Annotated[Any, BeforeValidator(_param), WithJsonSchema({})]
OneAsset = Annotated[Any, BeforeValidator(_asset), WithJsonSchema({"type": ["string", "object"]})]


@dataclass(frozen=True)
class OnChanges:
    """A schedule that is made once there is the stream. :ivar arguments: of ``changes_of``."""

    arguments: dict[str, Any]


class Changes(Said):
    """Runs once a change is safe to read."""

    poll_interval: Duration | None = Field(None, description="Between two looks of the watcher; default 2s.")
    at_most_every: Duration | None = Field(None, description="Between two runs that it starts; default 10s.")
    at_least_every: Duration | Cron | None = Field(
        None, description="A run then as well, whatever it has seen; default @hourly."
    )

    def made(self) -> OnChanges:
        return OnChanges(self.arguments())


class Scheduled(Said):
    """A schedule that is neither cron nor a duration."""

    changes: Changes | None = Field(None, description="A run once a change is safe to read: {} for its defaults.")

    assets: list[OneAsset] | None = Field(None, description="Assets whose update starts a run: names, or name and uri.")
    python: Named | None = Field(None, description="A Python object: whatever a Dag's schedule may be.")

    def made(self) -> Any:
        if self.changes is not None:
            return self.changes.made()
        return self.assets if self.python is None else self.python


def _schedule(value: Any) -> Any:
    # One error in place of one for each thing that it might be.
    if isinstance(value, (dict, Scheduled)) or value is None:
        return value
    if isinstance(value, str) and re.fullmatch(r"[\d\s.]+[a-z].*", value):
        return value
    return _cron(value)


Schedule = Annotated[Duration | Cron | Scheduled | None, BeforeValidator(_schedule)]
_SPECIAL: dict[str, Any] = {
    "schedule": Schedule,
    "params": dict[str, OneParam],
    "user_defined_macros": dict[str, Named],
    "user_defined_filters": dict[str, Named],
    "deadline": Named | list[Named],
    "template_undefined": Named,
    "tags": list[StrictStr],
    "allowed_run_types": list[StrictStr],
    "retry_policy": Named,
    "executor_config": dict[str, Any],
    "inlets": list[OneAsset],
    "outlets": list[OneAsset],
    "notifiers": list[Annotated[Named | Own, BeforeValidator(_notifier), WithJsonSchema(_NOTIFIER_SCHEMA)]],
}


def _loose(name: str, annotation: Any, module: str) -> Any:
    """Of an argument of Airflow's: what a later version brings is taken as it stands."""
    if name in _SPECIAL:
        return _SPECIAL[name]
    text = str(annotation)
    if re.search(r"Callback|Hook\b", text):
        return Called | list[Called]
    try:
        return said(text, module, _unknown)
    except Unsayable:
        return Any


def _unknown(name: str, found: Any) -> Any:
    raise Unsayable(name)


@cache
def task_args() -> Any:
    """Arguments of all operators of a Dag."""
    from airflow.sdk import BaseOperator

    known = {
        parameter.name: (_loose(parameter.name, parameter.annotation, BaseOperator.__module__), Field(default=None))
        for parameter in inspect.signature(BaseOperator.__init__).parameters.values()
        if parameter.name not in {"self", "kwargs", "task_id", "dag", "task_group", "default_args", "sla"}
    }
    return create_model("TaskArguments", __base__=Said, __doc__=None, **known)  # type: ignore[call-overload]


@cache
def job_model(job: str) -> type[Said]:
    """Of one Dag: the arguments of its class, and those of every Dag."""
    from airflow.sdk import DAG

    from airflow_reindex_provider.dags.common import StreamDag

    made = job_class(job)
    required: set[str] = set()
    told = {**descriptions(DAG), **descriptions(made)}
    found: dict[str, Any] = {}
    for name, annotation in DAG.__annotations__.items():
        if name in inspect.signature(DAG).parameters and name not in _NOT_SAID:
            found[name] = _loose(name, annotation, DAG.__module__)
    for owner in (StreamDag, made) if job in JOBS else (made,):
        for parameter in inspect.signature(owner).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and not (
                owner is StreamDag and parameter.default is parameter.empty
            ):
                name = parameter.name
                if parameter.default is parameter.empty:
                    required.add(name)
                found[name] = _SPECIAL.get(name) or _own(name, str(parameter.annotation), owner.__module__)
    found["default_args"] = task_args()
    found["task_args"] = task_args()
    given: dict[str, Any] = {
        name: (kind, Field(default=... if name in required else None, description=told.get(name) or None))
        for name, kind in found.items()
    }
    given["enabled"] = (StrictBool, Field(default=True, description="Whether there is such a Dag."))
    given["timezone"] = (Zone, Field(default="UTC", description="Of a cron expression."))
    return create_model(made.__name__, __base__=Said, __doc__=None, **given)


def _own(name: str, annotation: str, module: str) -> Any:
    return task_args() if name == "task_args" else said(annotation, module, _unknown)


def job_class(job: str) -> type:
    module, _, name = {**JOBS, **OF_ALL}[job].partition(":")
    return getattr(import_module(f"airflow_reindex_provider.{module}"), name)  # type: ignore[no-any-return]


def watch_model() -> type[Said]:
    """Of what is promised of one stream."""
    from airflow_reindex_provider.operators.watch import Watch

    return model_of(Watch, without=frozenset({"stream"}))


@dataclass(frozen=True, slots=True)
class Job:
    """A Dag that a file asks for. :ivar arguments: of its class."""

    job: str
    dag_id: str
    arguments: dict[str, Any]

    @classmethod
    def of(cls, job: str, stream: str | None, said: Said) -> Job | None:
        """None of one that is not enabled. :param stream: its name; None of a Dag of all of them."""
        arguments = said.arguments()
        if not arguments.pop("enabled", True):
            return None
        if zone := arguments.pop("timezone", None):
            arguments["schedule"] = _in_zone(job, arguments.get("schedule"), zone)
        by_itself = f"{job}_{stream}" if stream else inspect.signature(job_class(job)).parameters["dag_id"].default
        return cls(job, arguments.get("dag_id") or by_itself, arguments)

    def make(self, stream: Any) -> Any:
        """:param stream: what its class takes first: of a Dag of all streams, a list."""
        arguments = dict(self.arguments)
        if isinstance(on := arguments.get("schedule"), OnChanges):
            from airflow_reindex_provider.dags.changed import changes_of

            arguments["schedule"] = changes_of(stream, **on.arguments)
        return job_class(self.job)(stream, auto_register=False, **arguments)


def _in_zone(job: str, schedule: Any, zone: str) -> Any:
    from airflow.sdk import CronDataIntervalTimetable, CronTriggerTimetable

    if not isinstance(schedule, str) or schedule in ("@once", "@continuous"):
        return schedule
    # As the class itself makes one of a cron expression alone, in UTC: with data intervals where it can be backfilled.
    return (CronDataIntervalTimetable if job == "reindex" else CronTriggerTimetable)(schedule, timezone=zone)

"""A run that was asked to do something else than its Dag is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_reindex_provider.control.acts import ACTION, ARGUMENTS, STREAM, act_of
from airflow_reindex_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.stream import Stream


@dataclass(frozen=True, slots=True)
class Asked:
    action: str
    arguments: dict[str, Any]


def asked_of(context: Context, stream: Stream) -> Asked | None:
    """What the run's conf asks for; None where that is the Dag's own work. A run that is about another stream of the same Dag
    ends the task as skipped.

    :raises ConfigurationError: the conf has arguments of an action without its name, beside it, or that are no object; or it does
        not say which stream of the Dag the action is about."""
    run: Any = context["dag_run"]
    conf: dict[str, Any] = run.conf or {}
    action, arguments, asked = conf.get(ACTION), conf.get(ARGUMENTS), conf.get(STREAM)
    others = _others(context, stream)
    if asked in others:
        raise AirflowSkipException(f"The run is for stream {asked!r}.")
    if not action:
        if arguments:
            raise ConfigurationError(
                f"Run {run.run_id!r}: its conf has {ARGUMENTS!r} and no {ACTION!r} to do with them."
            )
        return None
    if asked != stream.name and (others or asked is not None):
        raise ConfigurationError(
            f"Run {run.run_id!r}: its conf has to say which stream the action is about: {STREAM!r}, one of"
            f" {', '.join(map(repr, sorted([stream.name, *others])))}, and not {asked!r}."
        )
    if arguments is not None and not isinstance(arguments, dict):
        raise ConfigurationError(
            f"Run {run.run_id!r}: {ARGUMENTS!r} in its conf is an object, with the action's arguments."
        )
    _require_inside(run, conf, str(action), context)
    return Asked(str(action), dict(arguments or {}))


def _others(context: Context, stream: Stream) -> set[str]:
    """Names of the other streams of the Dag."""
    dag: Any = context["dag"]
    found = {getattr(getattr(task, "stream", None), "name", stream.name) for task in dag.tasks}
    return found - {stream.name}


def _require_inside(run: Any, conf: dict[str, Any], action: str, context: Context) -> None:
    """:raises ConfigurationError: an argument stands beside the action, where nothing reads it. Other tasks of an author's own
    Dag may read what they like."""
    dag: Any = context["dag"]
    beside = [key for key, value in conf.items() if value and key not in (ACTION, ARGUMENTS, STREAM)]
    if not getattr(dag, "reads_all_conf", False):
        beside = [key for key in beside if key in act_of(action).properties]
    if beside:
        raise ConfigurationError(
            f"Run {run.run_id!r}: {', '.join(map(repr, beside))} in its conf is read by nothing, since it asks for {action!r}."
            f" Write its arguments into {ARGUMENTS!r}."
        )

"""A run that was asked to do something else than its Dag is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_reindex_provider.control.acts import ACTION, ARGUMENTS, STREAM
from airflow_reindex_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.stream import Stream


@dataclass(frozen=True, slots=True)
class Asked:
    action: str
    arguments: dict[str, Any]


def asked_of(context: Context, stream: Stream) -> Asked | None:
    """What the run's conf asks for; None where that is the Dag's own work. A run that asks another stream of the same Dag ends
    the task as skipped.

    :raises ConfigurationError: the conf has arguments of an action without its name, or they are no object."""
    run: Any = context["dag_run"]
    conf: dict[str, Any] = run.conf or {}
    action, arguments = conf.get(ACTION), conf.get(ARGUMENTS)
    if not action:
        if arguments:
            raise ConfigurationError(
                f"Run {run.run_id!r}: its conf has {ARGUMENTS!r} and no {ACTION!r} to do with them."
            )
        return None
    if conf.get(STREAM) not in (None, stream.name):
        raise AirflowSkipException(f"The run is for stream {conf[STREAM]!r}.")
    if arguments is not None and not isinstance(arguments, dict):
        raise ConfigurationError(
            f"Run {run.run_id!r}: {ARGUMENTS!r} in its conf is an object, with the action's arguments."
        )
    return Asked(str(action), dict(arguments or {}))

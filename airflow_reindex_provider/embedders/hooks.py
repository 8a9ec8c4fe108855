"""How the official hooks of providers are come by, and what is said where one cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_reindex_provider.core.errors import ConfigurationError


@contextmanager
def installed(label: str, extra: str) -> Iterator[None]:
    """For imports. :raises ConfigurationError: one is not there; ``extra`` brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{label}: the Python module {error.name} is not installed on this worker:"
            f" pip install 'airflow-reindex-provider[{extra}]'."
        ) from error


@contextmanager
def connected(label: str, conn_id: str, kind: str) -> Iterator[None]:
    """For a hook that looks its connection up. :raises ConfigurationError: there is none; ``kind`` is what to add, in words."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        yield
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"{label}: there is no such connection: add {kind} connection with this id (Admin > Connections, `airflow"
            f" connections add {conn_id}`, or AIRFLOW_CONN_{conn_id.upper()})."
        ) from error

"""Who types the commands."""

from __future__ import annotations

from airflow.utils.platform import getuser
from airflow.utils.types import DagRunTriggeredByType

from airflow_reindex_provider.control.steering import By


def who() -> By:
    return By(name=getuser(), through=DagRunTriggeredByType.CLI)

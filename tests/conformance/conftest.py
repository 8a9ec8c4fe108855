"""What several files here share beyond the fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_task import AirflowTask


@pytest.fixture(scope="session")
def task(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowTask]:
    """A task of a Dag on a metadata database of its own, running for the whole session."""
    with AirflowTask(tmp_path_factory.mktemp("airflow") / "home", migrated) as running:
        yield running

"""A file of streams in a real Airflow: one of them is wrong, and costs the other nothing."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from streams_under_test import until

from airflow_reindex_provider.testing.airflow import Airflow
from airflow_reindex_provider.testing.rest import RestError

pytestmark = pytest.mark.overlaps


def test_a_bad_stream_is_an_import_error_and_the_other_runs(airflow: Airflow, stream):
    """Its error has a place of its own in the UI, with line and remedy; the Dag beside it is there, and indexes."""
    filed = stream("filed")
    filed.insert(range(1, 8), updated_at="now() - interval '1 minute'")
    filed.run()
    assert set(filed.index) == set(range(1, 8))

    # Airflow forgets it whenever it looks for files, as it does when another file of the folder is to be parsed again.
    token = airflow.rest.get("/dags/reindex_filed/details")["file_token"]
    told = until(lambda: _parsed(airflow, token), "the import error")
    assert told["filename"] == "streams_in_a_file.yaml (stream misspelt)"
    says = "streams_in_a_file.yaml, line 11, stream 'misspelt': source.tabel is not known. Did you mean table?"
    assert says in told["stack_trace"]
    shown = airflow.rest.get("/dags/reindex_filed")
    assert (shown["is_stale"], shown["has_import_errors"]) == (False, False)


def _parsed(airflow: Airflow, token: str) -> dict[str, Any] | None:
    """The file is parsed once more, and the error looked for for a while."""
    # It answers with a conflict while the one before still waits.
    with contextlib.suppress(RestError):
        airflow.rest.call("PUT", f"/api/v2/parseDagFile/{token}")
    until_then = time.monotonic() + 10
    while time.monotonic() < until_then:
        for error in airflow.rest.get("/importErrors")["import_errors"]:
            if "misspelt" in error["filename"]:
                return error
    return None

"""A file of streams in a real Airflow: one of them is wrong, and costs the other nothing."""

from __future__ import annotations

import pytest
from streams_under_test import until

from airflow_reindex_provider.testing.airflow import Airflow

pytestmark = pytest.mark.overlaps


def test_a_bad_stream_is_an_import_error_and_the_other_runs(airflow: Airflow, stream):
    """Its error has a place of its own in the UI, with line and remedy; the Dag beside it is there, and indexes."""
    filed = stream("filed")
    filed.insert(range(1, 8), updated_at="now() - interval '1 minute'")
    filed.run()
    assert set(filed.index) == set(range(1, 8))

    errors = until(lambda: airflow.rest.get("/importErrors")["import_errors"], "the import error")
    (told,) = [error for error in errors if "misspelt" in error["filename"]]
    assert told["filename"] == "streams_in_a_file.yaml (stream misspelt)"
    assert (
        "streams_in_a_file.yaml, line 11, stream 'misspelt': source.tabel is not known. Did you mean table?"
        in (told["stack_trace"])
    )
    shown = airflow.rest.get("/dags/reindex_filed")
    assert (shown["is_stale"], shown["has_import_errors"]) == (False, False)

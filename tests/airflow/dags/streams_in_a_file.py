"""Streams of a file, of which one is wrong. See test_streams_file."""

from airflow_reindex_provider import ReindexDags

ReindexDags("streams_in_a_file.yaml", overlays=["streams_in_a_file.${REINDEX_TEST_STAGE:-tests}.yaml"])

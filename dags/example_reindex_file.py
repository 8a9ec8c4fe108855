"""Streams of a YAML file: whoever reviews or changes them reads no Python."""

from __future__ import annotations

from airflow_reindex_provider import ReindexDags

made = ReindexDags("example_reindex_file.yaml")
